//! This terminal, passed through to a command elsewhere: keys, output, the size of the window, and the end.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::output::Failed;
use crate::container::{ContainerError, Piece, Session};
use crate::exit_code::Exit;
use crate::terminal::{RawMode, Terminal};

/// More than any file of credentials.
const LONGEST_PASTE: usize = 1 << 20;

/// Standard input, read on a thread of its own, which takes nothing more when this is dropped: what is typed then is for the
/// shell.
struct Keys {
    arrived: mpsc::Receiver<Vec<u8>>,
    _stop: PipeWriter,
}

impl Keys {
    fn listen() -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let (sender, arrived) = mpsc::channel(16);
        std::thread::spawn(move || read(&sender, &stopped));
        Ok(Self { arrived, _stop: stop })
    }

    /// None: the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        self.arrived.recv().await
    }
}

fn read(sender: &mpsc::Sender<Vec<u8>>, stopped: &PipeReader) {
    let input = io::stdin();
    let mut buffer = [0; 16 * 1024];
    loop {
        let (keys, stop) = (input.as_fd(), stopped.as_fd());
        let mut ready = [PollFd::new(&keys, PollFlags::IN), PollFd::new(&stop, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) if !ready[1].revents().is_empty() => return,
            Ok(_) => {}
        }
        // Not through the buffer of the library, which may hold more than it gives.
        match rustix::io::read(input.as_fd(), &mut buffer) {
            Ok(0) => return,
            Ok(length) if sender.blocking_send(buffer[..length].to_vec()).is_err() => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Signals that would end this program and leave the terminal as it is.
struct BothEnds {
    signals: Vec<(i32, Signal)>,
}

impl BothEnds {
    fn watch() -> io::Result<Self> {
        let kinds =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        let watched = |kind: SignalKind| Ok((kind.as_raw_value(), signal(kind)?));
        Ok(Self { signals: kinds.into_iter().map(watched).collect::<io::Result<_>>()? })
    }

    async fn next(&mut self) -> i32 {
        let waits = self.signals.iter_mut().map(|(number, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *number
            })
        });
        futures_util::future::select_all(waits).await.0
    }
}

/// Connects this terminal, or these streams, with a command until it has ended; its exit code is the outcome.
pub(super) async fn pass_through(terminal: &Terminal, mut session: Session) -> Result<Exit, Failed> {
    let mut ends = BothEnds::watch()?;
    let mut windows = signal(SignalKind::window_change())?;
    let mut keys = Keys::listen()?;
    let raw = if terminal.is_interactive() { RawMode::enter()? } else { None };
    let mut open = true;
    let mut ended_by = None;
    loop {
        tokio::select! {
            piece = session.next() => match piece {
                // Nobody reads any more.
                Some(piece) if show(terminal, &piece).is_err() => {
                    session.kill().await.map_err(failed)?;
                    break;
                }
                Some(_) => {}
                None => break,
            },
            typed = keys.next(), if open => match typed {
                Some(bytes) => session.send(&bytes).await,
                None => {
                    open = false;
                    session.close_input().await;
                }
            },
            _ = windows.recv() => {
                let (rows, columns) = terminal.size();
                session.resize(rows, columns).await;
            }
            number = ends.next() => {
                ended_by = Some(number);
                session.kill().await.map_err(failed)?;
                break;
            }
        }
    }
    let code = session.end().await.map_err(failed)?;
    drop(raw);
    Ok(match ended_by {
        Some(_) => Exit::Interrupted,
        None => Exit::of_command(code),
    })
}

fn show(terminal: &Terminal, piece: &Piece) -> io::Result<()> {
    match piece {
        Piece::Output(bytes) => terminal.raw(bytes),
        Piece::Error(bytes) => terminal.raw_error(bytes),
    }
}

fn failed(error: ContainerError) -> Failed {
    Failed::message(Exit::Failed, error.to_string())
}

/// What is pasted into this terminal until Ctrl-D, which shows none of it; or all that is piped in. None: given up.
pub(super) async fn paste(terminal: &Terminal, question: &str) -> Result<Option<Vec<u8>>, Failed> {
    let mut ends = BothEnds::watch()?;
    // Before anybody is asked: an answer that comes at once must not show either.
    let raw = RawMode::enter()?;
    let mut keys = Keys::listen()?;
    if raw.is_some() {
        terminal.say(&format!("{question}\r\n"));
    }
    let mut text = Vec::new();
    let given = loop {
        tokio::select! {
            typed = keys.next() => {
                let Some(bytes) = typed else { break Some(text) };
                if raw.is_none() {
                    text.extend(bytes);
                } else if let Some(done) = type_into(&mut text, &bytes) {
                    break done.then_some(text);
                }
                if text.len() > LONGEST_PASTE {
                    break Some(text);
                }
            }
            _ = ends.next() => break None,
        }
    };
    if raw.is_some() {
        drop(raw);
        terminal.say("");
    }
    Ok(given)
}

/// Keys as they come from a terminal in raw mode; true at Ctrl-D, false at Ctrl-C.
fn type_into(text: &mut Vec<u8>, keys: &[u8]) -> Option<bool> {
    for key in keys {
        match key {
            3 => return Some(false),
            4 => return Some(true),
            // Terminals send a carriage return for the end of a line.
            b'\r' => text.push(b'\n'),
            8 | 127 => drop(text.pop()),
            _ => text.push(*key),
        }
    }
    None
}

/// Runs a program of this machine in this terminal, which is the program's own meanwhile: Ctrl-C is for it.
pub(super) async fn run_here(mut command: tokio::process::Command) -> io::Result<Exit> {
    let mut ends = BothEnds::watch()?;
    let mut child = command.spawn()?;
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended?,
            number = ends.next() => {
                // Those that the terminal makes reach the program by themselves; it may not care.
                if let (Some(id), true) = (child.id(), number == 1 || number == 15) {
                    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
                    if let (Some(id), Some(signal)) = (id, rustix::process::Signal::from_named_raw(number)) {
                        let _ = kill_process(id, signal);
                    }
                }
            }
        }
    };
    let code = ended.code().or(ended.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(Exit::of_command(i64::from(code)))
}

#[cfg(test)]
mod tests {
    use super::type_into;

    #[track_caller]
    fn check(keys: &str, text: &str, ended: Option<bool>) {
        let mut typed = Vec::new();
        assert_eq!(type_into(&mut typed, keys.as_bytes()), ended);
        assert_eq!(String::from_utf8(typed).unwrap(), text);
    }

    #[test]
    fn keys_make_a_text_until_control_d() {
        check("a\rb", "a\nb", None);
        check("ab\x7fc\x04rest", "ac", Some(true));
        check("ab\x03", "ab", Some(false));
        check("\x7f\x04", "", Some(true));
    }
}
