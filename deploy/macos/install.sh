#!/bin/sh
# Installs or upgrades the prober on a Mac host. May be run again at any time.
#
#   sudo sh install.sh --binary FILE [--config FILE] [--token FILE]
#
# --config goes to /etc/pnwatch/pnwatch.yaml, --token to /etc/pnwatch/token (both root alone);
# without them, what is there stays. If the new version does not stay up for five seconds,
# everything is put back as it was and the exit code is 1.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=places.sh
. "$here/places.sh"

new_binary='' new_config='' new_token=''
while [ $# -gt 0 ]; do
    case $1 in
        --binary) new_binary=${2:?--binary needs a file} ;;
        --config) new_config=${2:?--config needs a file} ;;
        --token) new_token=${2:?--token needs a file} ;;
        *) fail "$1 is not known; usage: install.sh --binary FILE [--config FILE] [--token FILE]" ;;
    esac
    shift 2
done
[ -n "$new_binary" ] || fail "--binary FILE is missing"
need_root_on_a_mac
for file in "$new_binary" ${new_config:+"$new_config"} ${new_token:+"$new_token"}; do
    [ -f "$file" ] || fail "$file is no file"
done
[ -n "$new_config" ] || [ -f "$settings/pnwatch.yaml" ] || fail "there is no configuration yet; give --config FILE"

# --- staged beside their places: a rename puts each in as a whole, on a new inode -----------
changed='' fresh_files=''

# Names of what is staged end so, of what was there before so.
new=.new.$$ old=.old.$$
clean() { for file in "$binary" "$plist" "$rotation" "$settings/pnwatch.yaml" "$settings/token"; do rm -f "$file$new"; done; }
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stage() { # FROM TO MODE
    mkdir -p "$(dirname "$2")"
    rm -f "$2$new"
    cp "$1" "$2$new"
    chmod "$3" "$2$new"
    chown root:wheel "$2$new"
}

stage "$new_binary" "$binary" 755
# Apple silicon kills what is not signed; one identity over all versions.
codesign --force --sign - --identifier "$label" "$binary$new"
version=$("$binary$new" --version) || fail "$new_binary does not run on this machine; is it the build for macOS arm64?"
stage "$here/$label.plist" "$plist" 644
plutil -lint "$plist$new" >/dev/null || fail "the property list is broken: $plist$new"
stage "$here/newsyslog.conf" "$rotation" 644
[ -z "$new_token" ] || stage "$new_token" "$settings/token" 600
[ -z "$new_config" ] || stage "$new_config" "$settings/pnwatch.yaml" 600

# --- put in, with what was there kept until the new version has proven itself ---------------
put() { # TO
    [ -e "$1$new" ] || return 0
    if [ -e "$1" ] && cmp -s "$1$new" "$1"; then
        rm -f "$1$new"
        return 0
    fi
    rm -f "$1$old"
    if [ -e "$1" ]; then ln "$1" "$1$old"; else fresh_files="$fresh_files $1"; fi
    mv -f "$1$new" "$1"
    changed="$changed $1"
}

back() {
    for file in "$binary" "$plist" "$rotation" "$settings/pnwatch.yaml" "$settings/token"; do
        if [ -e "$file$old" ]; then mv -f "$file$old" "$file"; fi
    done
    for file in $fresh_files; do rm -f "$file"; done
}

start() { # changed | same
    if [ "$1" = same ] && loaded; then
        launchctl kickstart -k "$job"
    else
        bootout && launchctl enable "$job" && launchctl bootstrap system "${plist#"$root"}"
    fi
}

# Up with one process for five seconds?
stays_up() {
    tries=0
    while first=$(pid) && [ -z "$first" ]; do
        tries=$((tries + 1))
        [ "$tries" -le 10 ] || return 1
        sleep 1
    done
    sleep 5
    [ "$(pid)" = "$first" ]
}

was_loaded=no
loaded && was_loaded=yes
put "$settings/token"
put "$settings/pnwatch.yaml"
put "$rotation"
put "$binary"
put "$plist"

plist_state=same
case $changed in *"$plist"*) plist_state=changed ;; esac
if [ -z "$changed" ] && [ -n "$(pid)" ]; then
    say "$version is installed and runs (pid $(pid)); nothing to do"
    exit 0
fi

wrong=''
# The strict check sees the files in their places; its words are for the person.
"$binary" check --config "$settings/pnwatch.yaml" >&2 || wrong="the configuration is refused (see above)"
started=no
if [ -z "$wrong" ]; then
    started=yes
    start "$plist_state" || wrong="launchd refused it"
fi
if [ -z "$wrong" ]; then
    stays_up || wrong="it did not stay up for five seconds; see $log"
fi
if [ -z "$wrong" ]; then
    for file in $changed; do rm -f "$file$old"; done
    say "$version runs (pid $(pid))"
    exit 0
fi

back
if [ "$was_loaded" = yes ]; then
    # A version that was never stopped needs no start.
    [ "$started" = no ] || start "$plist_state" || true
    fail "$version: $wrong. Put back as it was: $("$binary" --version) runs again (pid $(pid))"
fi
bootout || true
fail "$version: $wrong. Nothing was left installed; fix it and run this again"
