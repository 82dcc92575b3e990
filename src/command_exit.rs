//! How a command ended: the words that every place where steps run shares.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandExit {
    /// The program ended by itself with this code; 0 is success.
    Code(i32),
    /// A signal that we did not send ended the program. In a container the engine reports a signal as code
    /// 128 + signal, so there a program that itself returns such a code is shown as ended by the signal.
    Signal(i32),
    /// The time limit passed; the program was told to stop, then killed.
    TimedOut,
    /// The program was stopped on request, or the request came before it started.
    Cancelled,
    /// The kernel ended the program because its memory limit was reached (containers only). Known from the engine, which
    /// on a busy machine sometimes misses it: such an end is then shown as signal 9.
    OutOfMemory,
    /// The program never ran.
    SpawnFailed { message: String },
    /// The program never ran: it is not there, or may not be executed.
    NoCommand { message: String },
    /// The program ended, but its output could not be kept whole (a full disk, mostly), so nothing may be read
    /// from it.
    OutputLost { message: String },
}

impl CommandExit {
    pub fn is_success(&self) -> bool {
        *self == CommandExit::Code(0)
    }
}

impl fmt::Display for CommandExit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandExit::Code(code) => write!(out, "exit code {code}"),
            CommandExit::Signal(signal) => {
                write!(out, "ended by {}", signal_in_words(*signal))
            }
            CommandExit::TimedOut => out.write_str("timed out"),
            CommandExit::Cancelled => out.write_str("cancelled"),
            CommandExit::OutOfMemory => out.write_str("out of memory"),
            CommandExit::SpawnFailed { message } | CommandExit::NoCommand { message } => {
                write!(out, "did not start: {message}")
            }
            CommandExit::OutputLost { message } => write!(out, "output lost: {message}"),
        }
    }
}

/// `SIGXFSZ (signal 25): it wrote beyond the limit on the size of files`: the name of a signal, and why a command mostly gets it.
pub(crate) fn signal_in_words(signal: i32) -> String {
    use nix::sys::signal::Signal;
    let Ok(known) = Signal::try_from(signal) else { return format!("signal {signal}") };
    let why = match known {
        Signal::SIGKILL => {
            "somebody killed it, or the kernel did because memory was short, which `dmesg` or `journalctl -k` says"
        }
        Signal::SIGXFSZ => {
            "a file grew beyond the limit on the size of files; `ulimit -f` shows the limit, in blocks"
        }
        Signal::SIGXCPU => "it used up its processor time; `ulimit -t` shows the limit, in seconds",
        Signal::SIGSEGV => "it used memory that is not its own, a fault of the program or of a library",
        Signal::SIGBUS => {
            "it used memory behind which nothing lies: mostly a file that was cut meanwhile, or a full disk or /dev/shm"
        }
        Signal::SIGABRT => "it gave itself up, mostly after a fault that the end of its log names",
        Signal::SIGILL => "the processor does not know an instruction of it: it was built for another kind",
        Signal::SIGFPE => "it divided by zero, or computed something else that has no result",
        Signal::SIGSYS => {
            "it made a system call that is forbidden here, mostly by a container's seccomp profile"
        }
        Signal::SIGPIPE => "it wrote to a pipe or connection that nobody reads any more",
        Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT => {
            "another process or a person asked it to end"
        }
        Signal::SIGALRM => "a timer ended that the program had set for itself",
        _ => return format!("{} (signal {signal})", known.as_str()),
    };
    format!("{} (signal {signal}): {why}", known.as_str())
}

/// What became of an attempt, seen from a runner that may just have been started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing was started. Start it again *in the same folder* (and under the same container name): should a
    /// start of the former runner still be under way, only one of the two runs the command.
    NotStarted,
    /// Waiting for it gives its end.
    Running,
    Ended(CommandExit),
    /// It was started, and it is no longer there, and how it ended is unknown. Nothing of it is left running.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(exit: CommandExit, json: &str, words: &str) {
        assert_eq!(serde_json::to_string(&exit).unwrap(), json);
        assert_eq!(serde_json::from_str::<CommandExit>(json).unwrap(), exit);
        assert_eq!(exit.to_string(), words);
    }

    #[test]
    fn the_stored_shape_of_an_exit_is_fixed() {
        check(CommandExit::Code(3), r#"{"code":3}"#, "exit code 3");
        check(
            CommandExit::Signal(25),
            r#"{"signal":25}"#,
            "ended by SIGXFSZ (signal 25): a file grew beyond the limit on the size of files; `ulimit -f` shows the limit, in \
             blocks",
        );
        check(CommandExit::Signal(10), r#"{"signal":10}"#, "ended by SIGUSR1 (signal 10)");
        check(CommandExit::Signal(40), r#"{"signal":40}"#, "ended by signal 40");
        check(CommandExit::TimedOut, r#""timed_out""#, "timed out");
        check(CommandExit::Cancelled, r#""cancelled""#, "cancelled");
        check(CommandExit::OutOfMemory, r#""out_of_memory""#, "out of memory");
        check(
            CommandExit::SpawnFailed { message: "no `x`".to_owned() },
            r#"{"spawn_failed":{"message":"no `x`"}}"#,
            "did not start: no `x`",
        );
        check(
            CommandExit::NoCommand { message: "no `y`".to_owned() },
            r#"{"no_command":{"message":"no `y`"}}"#,
            "did not start: no `y`",
        );
        check(
            CommandExit::OutputLost { message: "full".to_owned() },
            r#"{"output_lost":{"message":"full"}}"#,
            "output lost: full",
        );
    }
}
