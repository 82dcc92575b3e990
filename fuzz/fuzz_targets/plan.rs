//! The bytes are a plan over one sound manifest.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    sb_fuzz::check_plan(bytes);
});
