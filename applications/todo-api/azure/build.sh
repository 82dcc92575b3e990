#!/bin/sh
# Builds .build/azure.zip: the functions' descriptions and one static program that serves them all.
set -eu
cd "$(dirname "$0")/../functions"
mkdir -p ../.build
CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -trimpath -buildvcs=false -ldflags "-s -w" -o ../.build/azure-handler ./azure
set -- ../.build/azure-handler=handler ../azure/host.json=host.json
for function in ../azure/*/function.json; do
    name=$(basename "$(dirname "$function")")
    set -- "$@" "$function=$name/function.json"
done
# A ZIP is replaced as a whole: deployments may be built side by side.
go run ./azure/pack "../.build/azure.zip.$$" "$@"
mv "../.build/azure.zip.$$" ../.build/azure.zip
