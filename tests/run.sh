#!/bin/sh
# Runs all tests and says at the end how many ran and how many were skipped, and why.
# Tests that need a Docker engine are marked `ignored`: they run when an engine answers, and are counted as skipped when none does.
# With the argument `docker`: those alone, which all have the word in their path.
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
# Disks of their own are mounted by root only; a tool that is missing fails no test.
without=""
reasons=""
[ "$(id -u)" -eq 0 ] || { without="$without --skip stress"; reasons="$reasons those that mount a disk need root;"; }
command -v podman > /dev/null || { without="$without --skip podman"; reasons="$reasons those of Podman, which is not there;"; }
if [ "${1-}" = docker ]; then
    docker version > /dev/null || exit 1
    run -- --ignored docker $without
    passed=$(count passed)
    failed=$(count failed)
    echo
    [ -z "$reasons" ] || echo "skipped:$reasons"
    echo "tests that need a Docker engine: $passed passed, $failed failed"
    [ "$passed" -gt 0 ] && [ "$failed" -eq 0 ] && [ "$failed_runs" -eq 0 ]
    exit
fi
run
passed=$(count passed)
failed=$(count failed)
skipped=$(count ignored)
if [ "$skipped" -gt 0 ]; then
    if docker version > /dev/null 2>&1; then
        run -- --ignored $without
    else
        # Helpers of other tests are ignored too, and need no engine.
        run -- --ignored --skip docker $without
        reasons="$reasons those that need a Docker engine, and none answers;"
    fi
    passed=$((passed + $(count passed)))
    failed=$((failed + $(count failed)))
    skipped=$((skipped - $(count passed) - $(count failed)))
fi

echo
[ -z "$reasons" ] || echo "skipped:$reasons"
echo "tests: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$failed_runs" -eq 0 ]
