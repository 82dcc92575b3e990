//! Integration tests, in one binary.

#[expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
mod local;
#[expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
mod xray_fetch;
