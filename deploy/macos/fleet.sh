#!/bin/sh
# Rolls the prober out to Mac hosts over plain ssh, one after the other, and prints each host's
# version before and after. The first host that fails ends it: the others keep what they have.
#
#   sh fleet.sh versions HOSTS
#   sh fleet.sh install HOSTS BINARY [SETTINGS]
#
# HOSTS: a file with one ssh destination per line (`#` begins a comment). SETTINGS: a folder
# with HOST.yaml (configuration) and HOST.token per host, taken where they exist. The remote
# user needs sudo without a password. What ssh needs (user, jump host, keys) goes into
# ~/.ssh/config.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
usage() {
    printf 'usage: fleet.sh versions HOSTS | fleet.sh install HOSTS BINARY [SETTINGS]\n' >&2
    exit 64
}
remote() { ssh -n -o BatchMode=yes -o ConnectTimeout=10 -- "$@"; }
version_of() {
    remote "$1" 'test -x /usr/local/bin/tuist-pnwatch && /usr/local/bin/tuist-pnwatch --version || echo none' 2>/dev/null ||
        echo unreachable
}
hosts() {
    [ -r "$1" ] || { printf 'fleet.sh: cannot read %s\n' "$1" >&2; return 66; }
    list=$(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$1")
    [ -n "$list" ] || { printf 'fleet.sh: %s names no host\n' "$1" >&2; return 66; }
    # What begins with `-` would be an option of ssh.
    case "
$list" in
        *"
-"*) printf 'fleet.sh: a host in %s begins with -\n' "$1" >&2; return 66 ;;
    esac
    printf '%s\n' "$list"
}

[ $# -ge 2 ] || usage
action=$1 list=$(hosts "$2") || exit $?
case $action in
    versions)
        for host in $list; do printf '%-30s %s\n' "$host" "$(version_of "$host")"; done
        exit 0
        ;;
    install) [ $# -ge 3 ] || usage ;;
    *) usage ;;
esac

new=$3 settings=${4:-}
[ -f "$new" ] || { printf 'fleet.sh: %s is no file\n' "$new" >&2; exit 66; }
for host in $list; do
    before=$(version_of "$host")
    if [ "$before" = unreachable ]; then
        printf '%-30s unreachable; stopped here\n' "$host" >&2
        exit 1
    fi
    folder=$(remote "$host" 'mktemp -d /tmp/pnwatch.XXXXXX')
    case $folder in /tmp/pnwatch.*) ;; *) printf '%-30s gave no folder\n' "$host" >&2; exit 1 ;; esac
    scp -q -o BatchMode=yes -- "$here/install.sh" "$here/places.sh" "$here/verify.sh" \
        "$here/newsyslog.conf" "$here/dev.tuist.pnwatch.plist" "$host:$folder/"
    scp -q -o BatchMode=yes -- "$new" "$host:$folder/tuist-pnwatch"
    options="--binary $folder/tuist-pnwatch"
    for pair in config:yaml token:token; do
        file=$settings/$host.${pair#*:}
        if [ -n "$settings" ] && [ -f "$file" ]; then
            scp -q -p -o BatchMode=yes -- "$file" "$host:$folder/${pair%%:*}"
            options="$options --${pair%%:*} $folder/${pair%%:*}"
        fi
    done
    result=0
    remote "$host" "sudo -n sh $folder/install.sh $options" || result=$?
    remote "$host" "rm -rf $folder" || true
    printf '%-30s %s -> %s\n' "$host" "$before" "$(version_of "$host")"
    if [ "$result" != 0 ]; then
        printf '%-30s failed; stopped here, the hosts after it are untouched\n' "$host" >&2
        exit 1
    fi
done
