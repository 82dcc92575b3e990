//! The roles in which a program starts copies of itself: supervisors, loads, local targets, receivers, functions.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::execute::{K6_ARGUMENT, LOAD_ARGUMENT, run_k6};
use crate::host;
use crate::inherited;
use crate::provider::otlp;
use crate::terminal::Terminal;

/// Takes the role that the command line gives; `None` when a person started the program. To be called before anything
/// else: these copies must start fast, and the mask of blocked signals is emptied for this thread and later ones.
pub fn take() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next();
    let role =
        role.and_then(|role| role.to_str().filter(|role| role.starts_with("internal-")).map(str::to_owned));
    inherited::reset_signals(role.is_none());
    let role = role?;
    let rest: Vec<_> = arguments.collect();
    let ended: Result<(), String> = match (role.as_str(), rest.as_slice()) {
        // The folder is for people who look at the list of processes: orders come on stdin.
        (host::SUPERVISE_ARGUMENT, [_folder]) => host::supervise().map_err(|error| error.to_string()),
        (LOAD_ARGUMENT, [spec, progress]) => sb_load::run_from_file(Path::new(spec), Path::new(progress))
            .map(drop)
            .map_err(|error| error.to_string()),
        (K6_ARGUMENT, [spec, progress]) => {
            run_k6(Path::new(spec), Path::new(progress)).map(drop).map_err(|error| error.to_string())
        }
        (sb_local::SERVE, [state]) => serve(sb_local::serve(Path::new(state))),
        (otlp::SERVE, [state]) => serve(otlp::serve(Path::new(state))),
        // Returns only when the program could not be started: as in shells, 127.
        (sb_local::LAUNCH, _) => {
            let error = sb_local::launch(rest);
            Terminal::detect().say(&format!("the function could not be started: {error}"));
            return Some(ExitCode::from(127));
        }
        _ => return None,
    };
    Some(end(ended))
}

/// This program, for starting copies of it. The kernel knows it by this path also after its file was removed or replaced:
/// a run may take days, and `sb` may be updated meanwhile.
pub fn program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Says why a role ended, where something went wrong.
pub(crate) fn end(ended: Result<(), String>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            Terminal::detect().say(&message);
            ExitCode::FAILURE
        }
    }
}

fn serve(daemon: impl Future<Output = Result<(), impl ToString>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let ended = runtime.block_on(daemon);
    runtime.shutdown_background();
    ended.map_err(|error| error.to_string())
}
