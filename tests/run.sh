#!/bin/sh
# Runs the tests; see tests/run.py, or `sh tests/run.sh --help`.
exec python3 "$(dirname "$0")/run.py" "$@"
