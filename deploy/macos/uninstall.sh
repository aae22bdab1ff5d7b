#!/bin/sh
# Removes the prober from a Mac host. May be run again at any time.
#
#   sudo sh uninstall.sh [--purge]      --purge: configuration, token and logs too
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=places.sh
. "$here/places.sh"

purge=no
case ${1:-} in
    '') ;;
    --purge) purge=yes ;;
    *) fail "$1 is not known; usage: uninstall.sh [--purge]" ;;
esac
need_root_on_a_mac
bootout || fail "launchd does not let go of $job; see: launchctl print $job"
rm -f "$plist" "$binary" "$rotation" "$pid_file"
# What an interrupted installation may have left.
for place in "$plist" "$binary" "$rotation" "$settings/pnwatch.yaml" "$settings/token"; do
    rm -f "$place".new.[0-9]* "$place".old.[0-9]*
done
if [ "$purge" = yes ]; then
    rm -rf "$settings"
    rm -f "$log" "$log".[0-9]*
    say "removed, with its configuration and logs"
else
    say "removed; $settings and $log stay (--purge removes them)"
fi
