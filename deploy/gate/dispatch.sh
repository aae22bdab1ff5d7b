# shellcheck shell=sh
# For a dispatch script in POSIX sh, which hands jobs their cache endpoint: source it, then call
# `pnwatch_guard` before the job starts.
#
#   . /usr/local/lib/pnwatch/dispatch.sh
#   pnwatch_guard
#   exec run-job
#
# pnwatch once: 0 reachable, the endpoint stays · 1 not reachable, TUIST_CACHE_ENDPOINT is unset
# (or set to PNWATCH_FALLBACK_URL) · 2 could not measure, or no endpoint: it stays as it is, since
# nothing is proven against it (PNWATCH_ON_UNMEASURED=drop takes it away then too).
#
# Returns 0 always; PNWATCH_ONCE holds the exit code. Safe under `set -eu`.
pnwatch_guard() {
    PNWATCH_ONCE=0
    "${PNWATCH:-pnwatch}" once --budget "${PNWATCH_BUDGET:-500ms}" || PNWATCH_ONCE=$?
    case $PNWATCH_ONCE in
        0) return 0 ;;
        1) ;;
        *) [ "${PNWATCH_ON_UNMEASURED:-keep}" = drop ] || return 0 ;;
    esac
    if [ -n "${PNWATCH_FALLBACK_URL:-}" ]; then
        TUIST_CACHE_ENDPOINT=$PNWATCH_FALLBACK_URL
        export TUIST_CACHE_ENDPOINT
    else
        unset TUIST_CACHE_ENDPOINT
    fi
    return 0
}
