//! The launcher between the runtime and a function's process: `sb internal-launch`.
//!
//! It sets what must hold before the function's first instruction, and replaces itself by the function. The process
//! dies with the runtime, whatever kills that. It leads a process group of its own, and has its memory limit.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setpgid, setrlimit,
};

/// The first argument that makes `sb` the launcher.
pub const LAUNCH: &str = "internal-launch";
/// Stands for a memory limit that there is not.
pub(super) const NO_LIMIT: &str = "unlimited";

/// Files that a function may have open.
const FILES: u64 = 1024;

/// Becomes the function's process; returns only when that failed.
///
/// `args` are those after [`LAUNCH`]: the runtime's process id, the memory limit in bytes or [`NO_LIMIT`], the program, its arguments.
pub fn launch(args: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut args = args.into_iter();
    let number = |word: OsString| word.to_str()?.parse::<u64>().ok();
    let memory = |word: OsString| if word == NO_LIMIT { Some(None) } else { number(word).map(Some) };
    let (Some(parent), Some(memory)) = (args.next().and_then(number), args.next().and_then(memory)) else {
        return io::Error::new(
            io::ErrorKind::InvalidInput,
            "the launcher is started by the local target only",
        );
    };
    let Some(program) = args.next() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no program to launch");
    };
    match confine(parent, memory) {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(error) => error,
    }
}

fn confine(parent: u64, memory: Option<u64>) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The runtime may have died before the line above took effect.
    if u64::try_from(Pid::as_raw(getppid())).ok() != Some(parent) {
        return Err(io::Error::other("the local target is gone"));
    }
    setpgid(None, None)?;
    // Data rather than address space: interpreters reserve far more addresses than they ever use, and that is
    // not what a function's memory size means.
    if let Some(memory) = memory {
        setrlimit(Resource::Data, Rlimit { current: Some(memory), maximum: Some(memory) })?;
    }
    // Lambda's (quotas: "File descriptors 1,024"), whatever the runtime has.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let files = Some(maximum.map_or(FILES, |maximum| maximum.min(FILES)));
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum })?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}
