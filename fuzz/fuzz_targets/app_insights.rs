//! The bytes are a result of Application Insights queries: one trace.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        sb_fuzz::check_app_insights(text);
    }
});
