#!/bin/sh
# Builds the functions: for Lambda, or with `azure` for Azure.
set -eu
folder=functions
[ "${1-}" != azure ] || folder=azure/functions
exec mvn --batch-mode --quiet -Duser.home="$HOME" --file "$folder/pom.xml" -DskipTests package
