//! The bytes are a file of OTLP in protobuf.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sb_fuzz::check_otlp_protobuf(bytes));
