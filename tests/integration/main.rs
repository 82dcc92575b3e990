//! Tests that need the built program, or more of the machine than one module.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end there")]

mod host;
