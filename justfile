# Everything a contributor runs. `just` is also on PyPI as rust-just.

# what CI runs
default: check test

# what CI checks before the tests: format, spelling, English, the runner of the tests, lints, documentation
check:
    cargo fmt --all --check
    if command -v typos > /dev/null; then typos; else echo "skipped: there is no typos (PyPI: typos)"; fi
    python3 tests/prose.py
    python3 tests/test_run.py
    python3 tests/test_prose.py
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# tests: all, or parts and needs such as `just test unit integration` (see `sh tests/run.sh --help`)
test *WORDS:
    sh tests/run.sh {{WORDS}}

# the tests that need a container engine, and no others
test-docker:
    sh tests/run.sh docker

# write schemas/ anew from the types
schemas:
    SB_UPDATE_SCHEMAS=1 cargo test --workspace --lib schema

# write docs/rules.md anew from the rules
rules:
    SB_UPDATE_RULES=1 cargo test --workspace --lib rules

# do to runs what happens to them in bad weeks: `just torture plan`, `quickstart`, `damage`, `mutate`, `week`; by default all
torture WHAT="plan quickstart damage signals limits mutate week" *ARGS:
    #!/bin/sh
    set -e
    cargo build --release
    for what in {{WHAT}}; do python3 tests/torture.py $what {{ARGS}}; done

# measurements: `just bench load`, `steps`, `start`, `analyze`, `fetch`, `estimate`, `plan`, `local`, `report`, `what_if`, `dataset`, `mix`
bench NAME *ARGS:
    #!/bin/sh
    set -e
    if [ -f benches/{{NAME}}.rs ]; then
        cargo bench --bench {{NAME}} -- {{ARGS}}
    else
        cargo build --release
        python3 benches/{{NAME}}.py {{ARGS}}
    fi

# look for inputs that break a reader of traces, or `manifest`, `plan`, `template`, on one core (needs cargo-fuzz and a nightly toolchain)
fuzz TARGET="xray_documents" RUNS="10000000":
    #!/bin/sh
    set -e
    cd fuzz
    mkdir -p corpus/{{TARGET}}
    case {{TARGET}} in
    manifest) seeds=$(ls ../examples/*/benchmark.toml ../applications/*/benchmark.toml) dictionary= ;;
    plan) seeds=$(ls ../plans/*.toml) dictionary= ;;
    template) seeds=$(ls ../examples/*/template.yaml ../applications/*/template.yaml) dictionary= ;;
    *) seeds=$(ls seeds/{{TARGET}}/*) dictionary=-dict=json.dict ;;
    esac
    for seed in $seeds; do cp "$seed" "corpus/{{TARGET}}/$(echo "$seed" | tr / -)"; done
    cargo +nightly fuzz run -O -a -s none {{TARGET}} corpus/{{TARGET}} -- $dictionary -runs={{RUNS}} -max_len=4096

# licences, bans and sources of dependencies; advisories where their database can be reached
deny:
    cargo deny check licenses bans sources
    cargo deny check advisories || echo "skipped: advisories (is their database in reach?)"

# deploy and clean up applications against a stand-in of AWS (moto), and keep what was verified in applications/verified.json
verify-applications *NAMES:
    cargo build
    python3 tests/applications/verify.py --keep {{NAMES}}
