#!/bin/sh
# Builds each function into .build/functions/NAME/bootstrap: a static program for Lambda's x86-64 machines, or with `local` for this one.
# With `azure`, it builds the archive for Azure.
set -eu
[ "${1-}" != azure ] || exec sh "$(dirname "$0")/azure/build.sh"
cd "$(dirname "$0")/functions"
architecture=amd64
[ "${1-}" != local ] || architecture=$(go env GOHOSTARCH)
for command in cmd/*/; do
    name=$(basename "$command")
    CGO_ENABLED=0 GOOS=linux GOARCH="$architecture" go build -trimpath -buildvcs=false -tags lambda.norpc -ldflags "-s -w" \
        -o "../.build/functions/$name/bootstrap" "./$command"
done
