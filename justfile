# Everything a contributor runs. `just` is also on PyPI as rust-just.

# what CI runs
default: check test

# formatting and lints
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings

# all tests; those that need a Docker engine run when one answers
test:
    sh tests/run.sh

# the tests that need a Docker engine, and no others
test-docker:
    sh tests/run.sh docker

# write schemas/ anew from the types
schemas:
    SB_UPDATE_SCHEMAS=1 cargo test --lib schema

# kill -9 the runner at N random moments of the quickstart, resume, and check what is left
torture N="200" SEED="1" *ARGS:
    cargo build --release
    python3 tests/torture.py --kills {{N}} --seed {{SEED}} {{ARGS}}

# measurements: `just bench load`, `steps`, `start`, `analyze`, `fetch`, `estimate`, `plan`, `local`
bench NAME *ARGS:
    #!/bin/sh
    set -e
    if [ -f benches/{{NAME}}.rs ]; then
        cargo bench --bench {{NAME}} -- {{ARGS}}
    else
        cargo build --release
        python3 benches/{{NAME}}.py {{ARGS}}
    fi

# look for inputs that break a reader of traces, on one core (needs cargo-fuzz and a nightly toolchain)
fuzz TARGET="xray_documents" RUNS="10000000":
    cd fuzz && mkdir -p corpus/{{TARGET}} && \
    cargo +nightly fuzz run -O -a -s none {{TARGET}} corpus/{{TARGET}} seeds/{{TARGET}} -- -dict=json.dict -runs={{RUNS}} -max_len=4096

# licences, bans and sources of dependencies; advisories where their database can be reached
deny:
    cargo deny check licenses bans sources
    cargo deny check advisories || echo "skipped: advisories (is their database in reach?)"

# deploy and clean up applications against a stand-in of AWS (moto), and keep what was verified in applications/verified.json
verify-applications *NAMES:
    cargo build
    python3 tests/applications/verify.py --keep {{NAMES}}
