//! The bytes are a file of X-Ray traces.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    sb_fuzz::check_file(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        sb_fuzz::check_text(text);
    }
});
