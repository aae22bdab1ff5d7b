#!/bin/sh
# `pnwatch gate` from environment variables, as action.yml sets them; any pipeline may use it.
#
#   PNWATCH_URL     the exporter's page listener
#   GATE_ACCOUNT, GATE_NODE     names, separated by blanks or line breaks
#   GATE_ALL        `true` = every account
#   GATE_FOR, GATE_MIN_VANTAGES, GATE_COVERAGE, GATE_FRESH, GATE_SINCE, GATE_BUDGET,
#   GATE_BASELINE, GATE_TIMEOUT, GATE_TOKEN_FILE, GATE_OVERRIDE     as the options of
#                   `pnwatch gate`; empty = not given
#   GATE_ACTIVE     `true` = the vantages check now (needs GATE_TOKEN_FILE)
#   GATE_FORMAT     text, json, junit or github (the default)
#   PNWATCH         the command, `pnwatch` by default
#
# Exit codes are those of `pnwatch gate`: 0 go on; everything else = stop.
set -eu
# Names are split at blanks, never expanded to files.
set -f

command=${PNWATCH:-pnwatch}
if ! command -v "$command" >/dev/null 2>&1; then
    echo "pnwatch gate: the command $command is not on this runner; install it, or set PNWATCH" >&2
    if [ -z "${GATE_OVERRIDE:-}" ]; then
        exit 78
    fi
    # One line, whatever the reason holds.
    reason=$(printf '%s' "$GATE_OVERRIDE" | tr -c '[:alnum:] .,:;/_-' ' ')
    echo "GATE OVERRIDDEN, going on: $reason"
    if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
        printf '### pnwatch gate\n\n> **Overridden, without the command pnwatch:** %s\n' "$reason" \
            >>"$GITHUB_STEP_SUMMARY"
    fi
    if [ -n "${GITHUB_OUTPUT:-}" ]; then
        printf 'verdict=unknown\nok=true\noverridden=true\nheadline=overridden\n' >>"$GITHUB_OUTPUT"
    fi
    exit 0
fi

set -- gate "--format=${GATE_FORMAT:-github}"
for name in ${GATE_ACCOUNT:-}; do set -- "$@" "--account=$name"; done
for name in ${GATE_NODE:-}; do set -- "$@" "--node=$name"; done
case ${GATE_ALL:-false} in
    true | 1) set -- "$@" --all ;;
    false | 0 | '') ;;
    *)
        echo "pnwatch gate: GATE_ALL is neither true nor false" >&2
        exit 64
        ;;
esac
case ${GATE_ACTIVE:-false} in
    true | 1) set -- "$@" --active ;;
    false | 0 | '') ;;
    *)
        echo "pnwatch gate: GATE_ACTIVE is neither true nor false" >&2
        exit 64
        ;;
esac
[ -z "${GATE_FOR:-}" ] || set -- "$@" "--for=$GATE_FOR"
[ -z "${GATE_MIN_VANTAGES:-}" ] || set -- "$@" "--min-vantages=$GATE_MIN_VANTAGES"
[ -z "${GATE_COVERAGE:-}" ] || set -- "$@" "--coverage=$GATE_COVERAGE"
[ -z "${GATE_FRESH:-}" ] || set -- "$@" "--fresh=$GATE_FRESH"
[ -z "${GATE_SINCE:-}" ] || set -- "$@" "--since=$GATE_SINCE"
[ -z "${GATE_BUDGET:-}" ] || set -- "$@" "--budget=$GATE_BUDGET"
[ -z "${GATE_BASELINE:-}" ] || set -- "$@" "--baseline=$GATE_BASELINE"
[ -z "${GATE_TIMEOUT:-}" ] || set -- "$@" "--timeout=$GATE_TIMEOUT"
[ -z "${GATE_TOKEN_FILE:-}" ] || set -- "$@" "--token-file=$GATE_TOKEN_FILE"
[ -z "${GATE_OVERRIDE:-}" ] || set -- "$@" "--override=$GATE_OVERRIDE"

exec "$command" "$@"
