#!/bin/sh
# Puts the functions and their dependencies, as the lock file has them, into .build/function: for Lambda's Python 3.12 on x86-64, whatever
# machine builds, or with `local` for the Python of this machine. Lambda takes 250 MiB of unpacked code: tests of the libraries, and
# what botocore knows of services other than S3 and X-Ray (of which its SDK makes a client), stay out.
set -eu
cd "$(dirname "$0")"

python=python3
! python3.12 -c "" 2> /dev/null || python=python3.12
version=$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

built_for=3.12
wheels="--implementation cp --python-version 3.12
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64"
if [ "${1-}" = local ]; then
    built_for=$version
    wheels=""
fi

key=$({ echo "$version $built_for $wheels"; cat build.sh functions/requirements.txt; } | sha256sum | cut -d ' ' -f 1)
if [ "$(cat .build/key 2> /dev/null || true)" != "$key" ]; then
    rm -rf .build/key .build/function
    $python -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-compile --no-deps --require-hashes \
        --only-binary :all: $wheels \
        --target .build/function --requirement functions/requirements.txt
    find .build/function -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
    find .build/function/botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name xray -exec rm -rf {} +
    rm -rf .build/function/bin
    # Without bytecode every cold start compiles the libraries anew, since Lambda's code is read-only. Each Python makes its own.
    if [ "$version" = "$built_for" ]; then
        $python -m compileall -q --invalidation-mode unchecked-hash .build/function
    else
        echo "build.sh: Python $version makes no bytecode for 3.12: cold starts will take longer than they need to" >&2
    fi
    echo "$key" > .build/key
fi
cp functions/*.py .build/function/

size=$(du -sk .build/function | cut -f 1)
if [ -n "$wheels" ] && [ "$size" -gt $((250 * 1024)) ]; then
    echo "build.sh: $size KiB are more than Lambda takes, 250 MiB unpacked" >&2
    exit 1
fi
echo "$size KiB in .build/function"
