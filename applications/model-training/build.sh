#!/bin/sh
# Puts the function and its dependencies, as the lock file has them, into .build/function: for Lambda's Python 3.12 on x86-64, whatever
# machine builds. Lambda takes 250 MiB of unpacked code: tests of the libraries, and what botocore knows of services other than
# S3 and X-Ray (of which its SDK makes a client), stay out.
set -eu
cd "$(dirname "$0")"

key=$(cat build.sh functions/requirements.txt | sha256sum | cut -d ' ' -f 1)
if [ "$(cat .build/key 2> /dev/null || true)" != "$key" ]; then
    rm -rf .build/key .build/function
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-compile --no-deps --require-hashes \
        --implementation cp --python-version 3.12 --only-binary :all: \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 \
        --target .build/function --requirement functions/requirements.txt
    find .build/function -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
    find .build/function/botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name xray -exec rm -rf {} +
    rm -rf .build/function/bin
    echo "$key" > .build/key
fi
cp functions/*.py .build/function/

size=$(du -sk .build/function | cut -f 1)
if [ "$size" -gt $((250 * 1024)) ]; then
    echo "build.sh: $size KiB are more than Lambda takes, 250 MiB unpacked" >&2
    exit 1
fi
echo "$size KiB in .build/function"
