#!/bin/sh
# The gate with nothing but curl: for runners without the pnwatch command.
#
#   sh curl.sh http://pnwatch:9761 'account=acme&for=30s&wait=1m'
#
# Exit codes as `pnwatch gate`: 0 open, 1 closed, 2 no verdict, 64 the question does not read,
# 69 monitor unreachable, 75 no answer in time, 78 what answers is no gate. Go on at 0 alone.
set -eu

if [ "$#" -ne 2 ]; then
    echo "usage: curl.sh URL QUERY" >&2
    exit 64
fi
# strict=1: only an open gate is HTTP 200. The status comes last, on a line of its own.
code=0
answer=$(curl --silent --show-error --connect-timeout 5 --max-time "${GATE_MAX_TIME:-660}" \
    --max-filesize 1048576 --write-out '\n%{http_code}' "$1/v1/gate?$2&strict=1") || code=$?
case $code in
    0) ;;
    28) echo "gate: no answer in time" >&2; exit 75 ;;
    *) echo "gate: the monitor is unreachable (curl exit code $code)" >&2; exit 69 ;;
esac
status=${answer##*
}
body=${answer%
*}
printf '%s\n' "$body"
case $status in
    200)
        # Any other service answers 200 too: the answer itself must say open.
        case $body in
            *'"ok":true'*'"verdict":"open"'*) exit 0 ;;
        esac
        echo "gate: what answers is not pnwatch's gate" >&2
        exit 78
        ;;
    503)
        case $body in
            *'"verdict":"closed"'*) exit 1 ;;
            *'"verdict":"unknown"'*) exit 2 ;;
        esac
        exit 69
        ;;
    400) exit 64 ;;
    408) exit 75 ;;
    5??) exit 69 ;;
esac
exit 78
