#!/bin/sh
# Runs all tests and says at the end how many ran and how many were skipped, and why.
# Tests that need a Docker engine are marked `ignored`: they run when an engine answers, and are counted as skipped when none does.
set -u
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

count() { # the sum of the numbers before a word in cargo's closing lines
    grep '^test result:' "$log" | sed -n "s/.* \([0-9][0-9]*\) $1.*/\1/p" | awk '{sum += $1} END {print sum + 0}'
}

run() { # run cargo test, show and keep what it prints
    status=$(mktemp) || exit 1
    { cargo test "$@" 2>&1; echo $? > "$status"; } | tee "$log"
    read -r code < "$status"
    rm -f "$status"
    [ "$code" -eq 0 ] || failed_runs=$((failed_runs + 1))
}

failed_runs=0
run
# Disks of their own are mounted by root only.
mounts=""
[ "$(id -u)" -eq 0 ] || mounts="--skip stress"
passed=$(count passed)
failed=$(count failed)
skipped=$(count ignored)
reasons=""
if [ "$skipped" -gt 0 ]; then
    if docker version > /dev/null 2>&1; then
        run -- --ignored $mounts
        passed=$((passed + $(count passed)))
        failed=$((failed + $(count failed)))
        skipped=0
    else
        # Helpers of other tests are ignored too, and need no engine.
        run -- --ignored --skip docker $mounts
        ran=$(count passed)
        passed=$((passed + ran))
        failed=$((failed + $(count failed)))
        skipped=$((skipped - ran))
        reasons="$skipped tests need a Docker engine, and none answers"
    fi
fi

echo
[ -z "$reasons" ] || echo "skipped: $reasons"
echo "tests: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$failed_runs" -eq 0 ]
