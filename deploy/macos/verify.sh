#!/bin/sh
# Says whether the prober of this Mac host stands as it should: one line per check.
#
#   sudo sh verify.sh       exit code 0: all good, 1: something is not
set -u
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=places.sh
. "$here/places.sh"
need_root_on_a_mac

bad=0
check() { # WHAT TO-DO COMMAND…
    what=$1 advice=$2
    shift 2
    if "$@" >/dev/null 2>&1; then
        printf 'ok    %s\n' "$what"
    else
        printf 'FAIL  %s: %s\n' "$what" "$advice"
        bad=1
    fi
}
owned() { [ "$(stat -f '%Su:%Sg %Lp' "$2")" = "root:wheel $1" ]; }
has_pid() { [ -n "$(pid)" ]; }
serves() { [ "$(curl -s -m 3 -o /dev/null -w '%{http_code}' "http://127.0.0.1:${PNWATCH_PORT:-9763}/$1")" = 200 ]; }

check "property list" "install again: launchd reads only root:wheel 644" owned 644 "$plist"
check "property list is well-formed" "install again" plutil -lint "$plist"
check "program" "install again" owned 755 "$binary"
check "signature" "install again: Apple silicon kills what is not signed" codesign --verify --strict "$binary"
check "configuration" "$binary check --config $settings/pnwatch.yaml says what is wrong" "$binary" check --config "$settings/pnwatch.yaml"
check "log rotation" "install again" test -f "$rotation"
check "job is loaded" "launchctl bootstrap system $plist" loaded
check "job runs" "look at the end of $log" has_pid
check "alive" "look at the end of $log" serves livez
check "ready" "look at the end of $log" serves readyz
exit "$bad"
