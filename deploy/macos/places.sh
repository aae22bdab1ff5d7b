# Read by install.sh, uninstall.sh and verify.sh: where things stand, and how launchd is asked.
# PNWATCH_ROOT goes before every path (tests); launchd itself always sees the real ones.
# shellcheck shell=sh disable=SC2034

label=dev.tuist.pnwatch
job=system/$label
root=${PNWATCH_ROOT:-}
binary=$root/usr/local/bin/tuist-pnwatch
plist=$root/Library/LaunchDaemons/$label.plist
rotation=$root/etc/newsyslog.d/$label.conf
settings=$root/etc/pnwatch
log=$root/var/log/tuist-pnwatch.log
pid_file=$root/var/run/tuist-pnwatch.pid

say() { printf 'pnwatch: %s\n' "$*"; }
fail() {
    printf 'pnwatch: %s\n' "$*" >&2
    exit 1
}

need_root_on_a_mac() {
    [ "$(uname -s)" = Darwin ] || fail "this is $(uname -s), not macOS; on Linux use the chart (docs/deploy.md)"
    [ "$(id -u)" = 0 ] || fail "needs root: run it with sudo"
}

loaded() { launchctl print "$job" >/dev/null 2>&1; }

# The job's process, or nothing.
pid() { launchctl print "$job" 2>/dev/null | awk '$1 == "pid" && $2 == "=" { print $3; exit }'; }

# bootout answers before the job is gone; bootstrap would then fail with "already loaded".
bootout() {
    loaded || return 0
    launchctl bootout "$job" || true
    tries=0
    while loaded; do
        tries=$((tries + 1))
        [ "$tries" -le 20 ] || return 1
        sleep 1
    done
}
