//! Parses arguments, starts the runtime, returns an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Supervisors, loads and launched functions are this same program: they must start fast, so they branch off
    // before anything else is set up.
    sb::command::hidden().unwrap_or_else(sb::command::main)
}
