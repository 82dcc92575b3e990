//! The bytes are a `benchmark.toml`; where their first byte is `y`, the rest of them is a `benchmark.yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match bytes.strip_prefix(b"y") {
        Some(yaml) => sb_fuzz::check_manifest("benchmark.yaml", yaml),
        None => sb_fuzz::check_manifest("benchmark.toml", bytes),
    }
});
