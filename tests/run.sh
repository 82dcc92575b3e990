#!/bin/sh
# Runs all tests and says at the end how many ran and how many were skipped, and why.
# Tests that need a tool, a Docker engine, Node.js or k6, are marked `ignored`: they run where it is, and are counted as skipped where it is not.
# With the argument `docker`: those alone that need an engine, which all have the word in their path.
set -u
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

count() { # the sum of the numbers before a word in cargo's closing lines
    grep '^test result:' "$log" | sed -n "s/.* \([0-9][0-9]*\) $1.*/\1/p" | awk '{sum += $1} END {print sum + 0}'
}

run() { # run cargo test, show and keep what it prints
    status=$(mktemp) || exit 1
    { cargo test --no-fail-fast "$@" 2>&1; echo $? > "$status"; } | tee "$log"
    read -r code < "$status"
    rm -f "$status"
    [ "$code" -eq 0 ] || failed_runs=$((failed_runs + 1))
}

without=""
reasons=""
lacks() { # tests with this in their path, and why they cannot run
    without="$without --skip $1"
    reasons="$reasons${reasons:+; }$2"
}
docker version > /dev/null 2>&1 || lacks docker "no Docker engine answers"
command -v podman > /dev/null || lacks podman "there is no Podman"
k6 version > /dev/null 2>&1 || lacks k6:: "there is no k6"
command -v node > /dev/null || lacks local::node "there is no Node.js"
{ command -v javac && command -v mvn; } > /dev/null || lacks local::java "there is no JDK or no Maven"
{ [ -x /usr/sbin/sshd ] && command -v rsync > /dev/null; } || lacks sshd "sshd or rsync is missing"
command -v moto_server > /dev/null || lacks moto "moto_server (PyPI: moto[server]) is missing"
[ "$(id -u)" -eq 0 ] || lacks stress "disks of their own are mounted by root only"

failed_runs=0
if [ "${1-}" = docker ]; then
    docker version > /dev/null || exit 1
    run -- --ignored docker $without
    passed=$(count passed)
    failed=$(count failed)
    echo
    [ -z "$reasons" ] || echo "skipped: $reasons"
    echo "tests that need a Docker engine: $passed passed, $failed failed"
    [ "$passed" -gt 0 ] && [ "$failed" -eq 0 ] && [ "$failed_runs" -eq 0 ]
    exit
fi
run
passed=$(count passed)
failed=$(count failed)
skipped=$(count ignored)
if [ "$skipped" -gt 0 ]; then
    run -- --ignored $without # helpers of other tests among them
    passed=$((passed + $(count passed)))
    failed=$((failed + $(count failed)))
    skipped=$((skipped - $(count passed) - $(count failed)))
fi

# The applications: unit tests of their functions, templates, k6 scripts, deployments against a stand-in of AWS.
status=$(mktemp) || exit 1
{ python3 tests/applications/check.py 2>&1; echo $? > "$status"; } | tee "$log"
read -r code < "$status"
rm -f "$status"
[ "$code" -eq 0 ] || failed_runs=$((failed_runs + 1))
applications() { # a number of the last line
    sed -n "s/^applications: .*\b\([0-9][0-9]*\) $1.*/\1/p" "$log" | tail -n 1 | grep . || echo 0
}
passed=$((passed + $(applications passed)))
failed=$((failed + $(applications failed)))
skipped=$((skipped + $(applications skipped)))
more=$(sed -n 's/^skipped: //p' "$log" | tail -n 1)
reasons="$reasons${reasons:+${more:+; }}$more"

echo
[ "$skipped" -eq 0 ] || echo "skipped: $reasons"
echo "tests: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$failed_runs" -eq 0 ]
