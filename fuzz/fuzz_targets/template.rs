//! The bytes are a SAM template.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        sb_fuzz::check_template(text);
    }
});
