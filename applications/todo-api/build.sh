#!/bin/sh
# Builds each function into .build/functions/NAME/bootstrap: a static program for Lambda's x86-64 machines.
set -eu
cd "$(dirname "$0")/functions"
for command in cmd/*/; do
    name=$(basename "$command")
    CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -trimpath -buildvcs=false -tags lambda.norpc -ldflags "-s -w" \
        -o "../.build/functions/$name/bootstrap" "./$command"
done
