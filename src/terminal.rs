//! The sole writer to standard output (data) and standard error (for people).

mod forgiving;
mod raw;
mod suggestion;

use std::io::{self, IsTerminal, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressDrawTarget};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FileType;

use forgiving::Forgiving;
pub(crate) use raw::RawMode;
pub(crate) use suggestion::Missing;

use crate::printable::{Unfinished, printable_lines, without_sequences};

/// How often bars are drawn at most, a second.
const REDRAWN: u8 = 20;

/// Cheap to clone; bars drawn through it never tear the lines it prints.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    bars: MultiProgress,
    /// Standard error is a terminal that understands colours and movement.
    pub lively: bool,
    /// Standard output is a terminal that understands colours.
    pub coloured: bool,
    /// What commands in messages lack to work where they are pasted, once that is known.
    missing: Arc<OnceLock<Missing>>,
    /// Standard output is a terminal.
    is_screen: bool,
}

impl Terminal {
    /// Looks at the streams and at NO_COLOR and TERM.
    pub(crate) fn detect() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let lively = io::stderr().is_terminal() && !plain;
        let target = if lively {
            ProgressDrawTarget::term_like_with_hz(Box::new(Forgiving::stderr()), REDRAWN)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bars: MultiProgress::with_draw_target(target),
            lively,
            coloured: io::stdout().is_terminal() && !plain,
            missing: Arc::default(),
            is_screen: io::stdout().is_terminal(),
        }
    }

    /// From here on, commands in messages are completed so that they work where they are pasted.
    pub(crate) fn complete_commands(&self, missing: impl FnOnce() -> Missing) {
        self.missing.get_or_init(missing);
    }

    /// A command, given without `sb`, as it can be pasted.
    pub(crate) fn command(&self, words: &str) -> String {
        let missing = self.missing.get().map(|missing| missing.of(words)).unwrap_or_default();
        format!("sb {words}{missing}")
    }

    /// Columns of standard output; 100 where it is no terminal.
    pub(crate) fn width(&self) -> usize {
        let term = console::Term::stdout();
        if term.is_term() { usize::from(term.size().1).max(40) } else { 100 }
    }

    /// Rows of standard error, where it is a terminal.
    pub(crate) fn rows(&self) -> usize {
        usize::from(console::Term::stderr().size().0)
    }

    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Whether nobody reads standard output any more: the reader of its pipe, or its terminal, is gone. Who follows
    /// something asks now and then, since it may be long until there is something to write.
    pub(crate) fn is_abandoned(&self) -> bool {
        let out = io::stdout();
        let mut asked = [PollFd::new(&out, PollFlags::empty())];
        let asked_at_once = rustix::event::poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        asked_at_once.is_ok() && asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    /// Returns when nobody reads standard output any more.
    pub(crate) async fn abandoned(&self) {
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        while !self.is_abandoned() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Data. A reader that has gone away (`| head`) is no error, nor is a terminal that has. Escape sequences of foreign
    /// text are taken out.
    pub(crate) fn data(&self, text: &str) -> io::Result<()> {
        let text =
            if self.is_screen { printable_lines(text, self.coloured) } else { without_sequences(text) };
        let written = self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                out.write_all(b"\n")?;
            }
            out.flush()
        });
        match written {
            Err(error) if is_gone(&error) => Ok(()),
            other => other,
        }
    }

    /// A value that a program may want exactly as it is; on a terminal it is as [`Terminal::data`].
    pub(crate) fn value(&self, text: &str) -> io::Result<()> {
        if self.is_screen { self.data(text) } else { self.copy(&mut text.as_bytes()) }
    }

    /// Data as it is: nothing is added. A reader that has gone away is an error, so that who follows a log can end.
    pub(crate) fn raw(&self, bytes: &[u8]) -> io::Result<()> {
        self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        })
    }

    /// A piece of what a step or a function wrote. On a terminal nothing of it is left but text and colours; elsewhere it stays
    /// as it is. A reader that has gone away is an error. `before` is kept from piece to piece of one log.
    pub(crate) fn foreign(&self, before: &mut Unfinished, piece: &[u8]) -> io::Result<()> {
        if !self.is_screen {
            return self.raw(piece);
        }
        self.raw(before.printable(piece, self.coloured).as_bytes())
    }

    /// Foreign data from a file, however large it is, as [`Terminal::foreign`]; ends with a line end. A reader that has gone
    /// away is no error.
    pub(crate) fn copy(&self, file: &mut impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let mut last = b'\n';
        let mut before = Unfinished::default();
        let mut copied = || loop {
            let length = file.read(&mut buffer)?;
            match buffer[..length].last() {
                Some(byte) => last = *byte,
                None if last == b'\n' => return Ok(()),
                None => return self.raw(b"\n"),
            }
            self.foreign(&mut before, &buffer[..length])?;
        };
        match copied() {
            Err(error) if is_gone(&error) => Ok(()),
            other => other,
        }
    }

    /// As [`Terminal::raw`], to standard error.
    pub(crate) fn raw_error(&self, bytes: &[u8]) -> io::Result<()> {
        self.bars.suspend(|| io::stderr().lock().write_all(bytes))
    }

    /// Whether somebody types and reads: standard input and output are terminals.
    pub(crate) fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Rows and columns of the terminal that somebody reads.
    pub(crate) fn size(&self) -> (u16, u16) {
        console::Term::stdout().size()
    }

    /// Emphasis for standard output, where it shows.
    pub(crate) fn paint_data(&self, style: Style, text: &str) -> String {
        let text = printable_lines(text, false);
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.into_owned() }
    }

    /// A part of standard output that is drawn again and again; only where [`Terminal::coloured`].
    pub(crate) fn screen(&self) -> Screen<'_> {
        Screen { terminal: self, drawn: 0, size: (0, 0) }
    }

    /// A line for people. Nobody to read it is no error. Of foreign text in it no more than colours is left.
    pub(crate) fn say(&self, text: &str) {
        let completed = self.missing.get().map(|missing| missing.complete(text));
        let text = printable_lines(completed.as_deref().unwrap_or(text), self.lively);
        self.bars.suspend(|| {
            let mut out = io::stderr().lock();
            let _ = out.write_all(text.as_bytes());
            if !text.ends_with('\n') {
                let _ = out.write_all(b"\n");
            }
        });
    }

    /// Asks a person a question that is answered with yes or no; none when there is no terminal to ask on.
    pub(crate) fn ask(&self, question: &str) -> io::Result<Option<bool>> {
        let answer = self.answer(question)?;
        Ok(answer.map(|answer| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")))
    }

    /// What a person answers to a question; none when there is no terminal to ask on.
    pub(crate) fn answer(&self, question: &str) -> io::Result<Option<String>> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(None);
        }
        let question = printable_lines(question, self.lively);
        self.bars.suspend(|| {
            let mut out = io::stderr().lock();
            out.write_all(question.as_bytes())?;
            out.flush()?;
            let mut answer = String::new();
            io::stdin().read_line(&mut answer)?;
            Ok(Some(answer.trim().to_owned()))
        })
    }

    /// Emphasis for standard error, where it shows. The text has no colours of its own any more.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        let text = printable_lines(text, false);
        if self.lively { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.into_owned() }
    }
}

/// Whether standard output could not be written because its reader is gone: of a pipe, or a terminal. A disk fails with
/// the same error as a terminal that is gone, so the kind of file tells them apart.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    let is_device = || {
        let found = rustix::fs::fstat(io::stdout());
        found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice)
    };
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::PIPE) => true,
        Some(rustix::io::Errno::IO) => is_device(),
        _ => false,
    }
}

/// Lines at the end of standard output that are replaced as a whole.
#[derive(Debug)]
pub(crate) struct Screen<'a> {
    terminal: &'a Terminal,
    drawn: usize,
    size: (u16, u16),
}

impl Screen<'_> {
    /// Rows and columns.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (rows, columns) = console::Term::stdout().size();
        (usize::from(rows).max(5), usize::from(columns).max(20))
    }

    /// Draws lines over those that were drawn before. None may be longer than the screen is wide, nor may they be more
    /// than it has rows.
    pub(crate) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let size = console::Term::stdout().size();
        let mut text = String::new();
        if self.drawn > 0 {
            // When the window has another size, what was drawn has been wrapped anew: it starts at the top.
            let back = if size == self.size {
                format!("\x1b[{}A\r", self.drawn)
            } else {
                "\x1b[H\x1b[2J".to_owned()
            };
            text.push_str(&back);
        }
        for line in lines {
            text.push_str("\x1b[2K");
            text.push_str(&printable_lines(line, true));
            text.push('\n');
        }
        text.push_str("\x1b[0J");
        self.drawn = lines.len();
        self.size = size;
        self.terminal.raw(text.as_bytes())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Good,
    Bad,
    Warning,
    Faint,
    Strong,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warning => "33",
            Self::Faint => "2",
            Self::Strong => "1",
        }
    }
}
