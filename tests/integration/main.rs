//! Tests that need the built program, or more of the machine than one module.

mod host;
