//! Parses arguments, starts the runtime, returns an exit code.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before everything else: a supervisor must be light and have one thread.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == sb::host::SUPERVISE_ARGUMENT) {
        let dir = arguments.next().unwrap_or_default();
        return if sb::host::supervise(Path::new(&dir)).is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    ExitCode::SUCCESS
}
