#!/bin/sh
# Hook of a self-hosted GitHub runner, before the first step of each job
# (ACTIONS_RUNNER_HOOK_JOB_STARTED=/usr/local/lib/pnwatch/job-started.sh): takes the cache
# endpoint away from a job that cannot reach it, so that the build is slower instead of hanging.
#
# pnwatch once: 0 reachable, the endpoint stays · 1 not reachable, it is emptied for the job's
# steps through $GITHUB_ENV · 2 could not measure, or no endpoint was handed: the endpoint stays
# as it is, since nothing is proven against it (PNWATCH_ON_UNMEASURED=drop empties it then too).
#
# Never fails a job: it ends with 0 whatever happens, within the budget and a tenth.
set -u

endpoint=${TUIST_CACHE_ENDPOINT:-}
budget=${PNWATCH_BUDGET:-500ms}
code=0
if [ -n "${GITHUB_ENV:-}" ]; then
    "${PNWATCH:-pnwatch}" once --budget "$budget" --fallback-env "$GITHUB_ENV" || code=$?
else
    "${PNWATCH:-pnwatch}" once --budget "$budget" || code=$?
fi
case $code in
    0) ;;
    1) echo "::warning title=pnwatch once::the cache is not reachable; this job runs without it" ;;
    *)
        # 2; 126 or 127 without the command; above 128 by a signal: nothing was measured.
        if [ -n "$endpoint" ] && [ "${PNWATCH_ON_UNMEASURED:-keep}" = drop ] &&
            [ -n "${GITHUB_ENV:-}" ]; then
            echo 'TUIST_CACHE_ENDPOINT=' >>"$GITHUB_ENV"
        fi
        ;;
esac
exit 0
