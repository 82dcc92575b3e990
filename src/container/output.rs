//! The output of a container in the attempt's folder: complete, and nothing twice, however often it is read again.
//!
//! The engine keeps the output and always tells it from the beginning, in the same order. So what is already in
//! the files is skipped by counting, which is exact after a crash in the middle of a write, too. Where the engine keeps
//! the last part only, it cannot be counted: the files are written anew.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use bollard::container::LogOutput;

use crate::attempt::{KeptLog, LOG_FILE, STDOUT_FILE};

/// The engine cuts lines that are longer.
const PIECE: usize = 16 * 1024;

/// One reading of a container's output, from its beginning.
pub(super) struct Output {
    log: Sink,
    stdout: Sink,
    /// Per stream: the last piece, if it may have lost the end of its line. See [`Output::push`].
    unended: [bool; 2],
    /// The end of what stderr said, enough to recognise the words of the container's init.
    pub(super) stderr_tail: Vec<u8>,
}

enum Sink {
    Whole {
        file: BufWriter<File>,
        skip: u64,
    },
    Last(KeptLog),
    /// So many more bytes.
    First(BufWriter<File>, u64),
}

impl Output {
    /// With a limit, of the log the last part is kept, and of standard output the first.
    pub(super) fn open(dir: &Path, limit: Option<u64>) -> io::Result<Self> {
        let whole = |name| {
            let file = sb_durable::private().append(true).create(true).open(dir.join(name))?;
            let skip = file.metadata()?.len();
            Ok::<_, io::Error>(Sink::Whole { file: BufWriter::new(file), skip })
        };
        let (log, stdout) = match limit {
            None => (whole(LOG_FILE)?, whole(STDOUT_FILE)?),
            Some(limit) => {
                let path = dir.join(STDOUT_FILE);
                let stdout = sb_durable::private().write(true).create(true).truncate(true).open(path)?;
                let log = KeptLog::create(&dir.join(LOG_FILE), Some(limit))?;
                (Sink::Last(log), Sink::First(BufWriter::new(stdout), limit))
            }
        };
        Ok(Self { log, stdout, unended: [false; 2], stderr_tail: Vec::new() })
    }

    /// The engine's `local` log keeps bytes as they are, but engine 20.10 loses the line feed of a line that it
    /// had to cut (the last piece of 16 KiB and more). Such a piece is recognised by what follows: pieces that
    /// are neither full nor ended come last, so if another one follows, a line feed was lost. Not recoverable are that
    /// of the very last line, and those of lines whose length is an exact multiple of 16 KiB.
    pub(super) fn push(&mut self, piece: &LogOutput) -> io::Result<()> {
        let (stream, bytes) = match piece {
            LogOutput::StdOut { message } => (0, message),
            LogOutput::StdErr { message } => (1, message),
            // Without a terminal these are scraps of a broken connection.
            LogOutput::Console { .. } | LogOutput::StdIn { .. } => return Ok(()),
        };
        if bytes.is_empty() {
            return Ok(());
        }
        if self.unended[stream] {
            self.write(stream, b"\n")?;
        }
        self.write(stream, bytes)?;
        self.unended[stream] = bytes.len() < PIECE && bytes.last() != Some(&b'\n');
        Ok(())
    }

    /// What was pushed is in the files when this returns: call it whenever nothing more is there to be pushed.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.log.flush()?;
        self.stdout.flush()
    }

    fn write(&mut self, stream: usize, bytes: &[u8]) -> io::Result<()> {
        const ENOUGH: usize = 4096;
        self.log.write(bytes)?;
        if stream == 0 {
            return self.stdout.write(bytes);
        }
        self.stderr_tail.extend_from_slice(bytes);
        let surplus = self.stderr_tail.len().saturating_sub(ENOUGH);
        self.stderr_tail.drain(..surplus);
        Ok(())
    }
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let at_most = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX).min(bytes.len());
        match self {
            Self::Whole { file, skip } => {
                let known = at_most(*skip);
                *skip -= known as u64;
                file.write_all(&bytes[known..])
            }
            Self::Last(log) => log.write(bytes),
            Self::First(file, left) => {
                let kept = at_most(*left);
                *left -= kept as u64;
                file.write_all(&bytes[..kept])
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Whole { file, .. } | Self::First(file, _) => file.flush(),
            Self::Last(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn out(text: &str) -> LogOutput {
        LogOutput::StdOut { message: text.to_owned().into() }
    }

    fn err(text: &str) -> LogOutput {
        LogOutput::StdErr { message: text.to_owned().into() }
    }

    #[track_caller]
    fn check(pieces: &[LogOutput], log: &str, stdout: &str) {
        let total: usize = log.len();
        // Broken off after any number of pieces, and in the middle of a write.
        for known in 0..=pieces.len() {
            for torn in [0, 1, 3] {
                let dir = tempfile::tempdir().unwrap();
                let mut first = Output::open(dir.path(), None).unwrap();
                for piece in &pieces[..known] {
                    first.push(piece).unwrap();
                }
                first.flush().unwrap();
                for name in [LOG_FILE, STDOUT_FILE] {
                    let file = File::options().write(true).open(dir.path().join(name)).unwrap();
                    let length = file.metadata().unwrap().len();
                    file.set_len(length.saturating_sub(torn)).unwrap();
                }
                let mut again = Output::open(dir.path(), None).unwrap();
                for piece in pieces {
                    again.push(piece).unwrap();
                }
                again.flush().unwrap();
                assert_eq!(
                    fs::read_to_string(dir.path().join(LOG_FILE)).unwrap(),
                    log,
                    "{known} {torn} {total}"
                );
                assert_eq!(fs::read_to_string(dir.path().join(STDOUT_FILE)).unwrap(), stdout);
            }
        }
    }

    #[test]
    fn reading_again_adds_what_is_missing_and_nothing_else() {
        check(&[out("a\n"), err("b\n"), out("c\n"), out("tail")], "a\nb\nc\ntail", "a\nc\ntail");
        check(&[], "", "");
    }

    #[test]
    fn a_line_feed_that_the_engine_lost_is_put_back() {
        let full = "x".repeat(PIECE);
        check(
            &[out(&full), out("rest"), err("between\n"), out("next\n")],
            &format!("{full}restbetween\n\nnext\n"),
            &format!("{full}rest\nnext\n"),
        );
        check(
            &[out(&full), out("rest\n"), out("next")],
            &format!("{full}rest\nnext"),
            &format!("{full}rest\nnext"),
        );
        check(
            &[out(&full), out(&full), out("end")],
            &format!("{full}{full}end"),
            &format!("{full}{full}end"),
        );
    }
}
