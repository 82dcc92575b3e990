//! What this process inherits from whoever started it, and does not pass on to what it starts.
//!
//! A new program keeps the mask of blocked signals, the signals that are ignored, and the limits of the process that
//! starts it. `nohup`, cron, a shell in the background and test runners set them. Under them, a step would behave
//! differently from one started at a prompt. For example, `wait` of a shell hangs while SIGCHLD is blocked.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use nix::sys::signal::SigSet;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use signal_hook::consts::{FORBIDDEN, SIGFPE, SIGILL, SIGPIPE, SIGSEGV, SIGTTIN, SIGTTOU};

/// Gives this process, and all that it starts from now on, the default mask and dispositions of signals. To be called
/// before the process has other threads, since each thread has a mask of its own.
///
/// A signal that was ignored still has no effect on this process: it gets a handler that does nothing. The kernel puts
/// handlers back to the default in a new program, but not what is ignored. The standard library does so for SIGPIPE.
///
/// A process that may have a terminal (`of_terminal`) goes on ignoring SIGTTIN and SIGTTOU, since a handler would make
/// it try again for ever what the kernel refuses to a process in the background. What runs steps has none.
pub(crate) fn reset_signals(of_terminal: bool) {
    // A mask that cannot be emptied is one that the kernel does not know.
    let _ = SigSet::empty().thread_set_mask();
    let kept = |signal: &i32| {
        *signal == SIGPIPE
            // SIGKILL and SIGSTOP cannot be ignored, and faults not be handled.
            || FORBIDDEN.contains(signal)
            || (of_terminal && [SIGTTIN, SIGTTOU].contains(signal))
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for signal in ignored(&status).filter(|signal| !kept(signal)) {
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    if ignored(&status).any(|signal| FAULTS.contains(&signal)) {
        begin_again_with_faults();
    }
}

/// What the processor tells a program that does wrong. No safe code can handle them, nor put them back to the default.
const FAULTS: [i32; 3] = [SIGILL, SIGFPE, SIGSEGV];

/// Starts this program anew, in this process, without ignored faults: a step that ignores them ends of them all the same when it
/// does wrong, and not when they are sent to it, as by `abort` of some runtimes. It needs the program `env` of GNU, which puts
/// dispositions back; where there is another one, they stay as they are.
fn begin_again_with_faults() {
    let resetting = || {
        let mut env = Command::new("env");
        env.arg("--default-signal=ILL,FPE,SEGV");
        env
    };
    // Only where that has an effect: else this would never end.
    let seen = resetting().args(["cat", "/proc/self/status"]).stderr(Stdio::null()).output();
    let is_reset = seen.is_ok_and(|seen| {
        let status = String::from_utf8_lossy(&seen.stdout).into_owned();
        seen.status.success()
            && status.contains("SigIgn:")
            && !ignored(&status).any(|signal| FAULTS.contains(&signal))
    });
    if let (true, Ok(program)) = (is_reset, std::env::current_exe()) {
        // Returns only when it fails, and then this process goes on as it is.
        let _ = resetting().arg(program).args(std::env::args_os().skip(1)).exec();
    }
}

/// The limit on open files under which this process was started, once it was raised.
static FILES_BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process have as many open files as it may: each step under way takes a few.
pub(crate) fn raise_open_files() {
    FILES_BEFORE.get_or_init(|| {
        let before = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
        before
    });
}

/// Gives a child of this process, which has not begun with its work, the limit on open files that this process was
/// started under: some programs take a time in proportion to it, and none should behave differently under `sb`.
pub(crate) fn give_back_open_files(child: u32) {
    let child = i32::try_from(child).ok().and_then(Pid::from_raw);
    if let (Some(before), Some(child)) = (FILES_BEFORE.get(), child) {
        let current = before.current.map(|current| current.max(FEWEST_FILES));
        let _ = prlimit(Some(child), Resource::Nofile, Rlimit { current, ..*before });
    }
}

/// Open files without which `sb` and its supervisors cannot work: the state, the runtime, and the pipes of a step.
const FEWEST_FILES: u64 = 64;

/// Why `sb` cannot work under the limits of this process, and what to do about it.
pub(crate) struct TooTight {
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

/// Whether there is room for what any command needs: better to say so before a deployment than in the middle of it.
pub(crate) fn check_room() -> Result<(), TooTight> {
    let has_files = || getrlimit(Resource::Nofile).current.is_none_or(|limit| limit >= FEWEST_FILES);
    if !has_files() {
        raise_open_files();
    }
    if !has_files() {
        return Err(TooTight {
            message: format!(
                "this process may have only {} open files, and `sb` needs at least {FEWEST_FILES}",
                open_files()
            ),
            help: "raise the limit with `ulimit -n 1024`, then run the same command again",
        });
    }
    room_for_threads().map_err(|error| TooTight {
        message: format!("the threads of `sb` cannot be started: {error}"),
        help: "end other processes, or raise the limit on processes and threads with `ulimit -u 4096`; then run the same command again",
    })
}

/// Starts as many threads as the runtime and the state will have, and ends them again: the runtime itself panics where
/// there is no room for them.
fn room_for_threads() -> io::Result<()> {
    const BESIDE: usize = 4;
    const STACK: usize = 16 * 1024;
    let wanted = std::thread::available_parallelism().map_or(1, usize::from) + BESIDE;
    // They wait until the sender is gone.
    let (stay, gone) = std::sync::mpsc::channel::<()>();
    let gone = Arc::new(std::sync::Mutex::new(gone));
    let mut threads = Vec::new();
    let mut started = Ok(());
    for _ in 0..wanted {
        let gone = Arc::clone(&gone);
        let wait = move || drop(gone.lock().map(|gone| gone.recv()));
        match std::thread::Builder::new().stack_size(STACK).spawn(wait) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                started = Err(error);
                break;
            }
        }
    }
    drop(stay);
    for thread in threads {
        let _ = thread.join();
    }
    started
}

/// Whether a process could not be started for want of descriptors, processes or memory.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.contains(&Errno::from_raw_os_error(code)))
}

/// How many files this process may have open.
pub(crate) fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// The signals that a process ignores, by its `/proc/PID/status`.
fn ignored(status: &str) -> impl Iterator<Item = i32> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(move |signal| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_signals_are_read_from_the_status_of_a_process() {
        let of = |status| ignored(status).collect::<Vec<_>>();
        assert_eq!(
            of("Name:\tsb\nSigBlk:\t0000000000000001\nSigIgn:\t8000000000001007\n"),
            [1, 2, 3, 13, 64]
        );
        assert_eq!(of("SigIgn:\t0000000000000000\n"), [0; 0]);
        assert_eq!(of(""), [0; 0]);
    }
}
