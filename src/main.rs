//! Parses arguments, starts the runtime, returns an exit code.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use sb::provider::local;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|first| first.to_str()) {
        Some(local::LAUNCH) => {
            // Returns only when the program could not be started: as in shells, 127.
            let error = local::launch(arguments);
            // Its standard error is the function's log.
            let _ = writeln!(std::io::stderr(), "the function could not be started: {error}");
            ExitCode::from(127)
        }
        Some(local::SERVE) => serve_local(arguments.next().map(PathBuf::from).unwrap_or_default()),
        _ => ExitCode::SUCCESS,
    }
}

fn serve_local(state_dir: PathBuf) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    // What went wrong stands in the runtime's log.
    let ended = runtime.block_on(local::serve(&state_dir));
    runtime.shutdown_background();
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
