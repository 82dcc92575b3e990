//! The sole writer to standard output (data) and standard error (for people).

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;

/// Cheap to clone; bars drawn through it never tear the lines it prints.
#[derive(Clone, Debug)]
pub struct Terminal {
    bars: MultiProgress,
    /// Standard error is a terminal that understands colours and movement.
    pub lively: bool,
    /// Standard output is a terminal that understands colours.
    pub coloured: bool,
}

impl Terminal {
    /// Looks at the streams and at NO_COLOR and TERM.
    pub fn detect() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            bars: MultiProgress::new(),
            lively: io::stderr().is_terminal() && !plain,
            coloured: io::stdout().is_terminal() && !plain,
        }
    }

    /// Columns of standard output; 100 where it is no terminal.
    pub fn width(&self) -> usize {
        let term = console::Term::stdout();
        if term.is_term() { usize::from(term.size().1).max(40) } else { 100 }
    }

    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Data. A reader that has gone away (`| head`) is no error.
    pub fn data(&self, text: &str) -> io::Result<()> {
        let written = self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                out.write_all(b"\n")?;
            }
            out.flush()
        });
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// A line for people. Nobody to read it is no error.
    pub fn say(&self, text: &str) {
        self.bars.suspend(|| {
            let mut out = io::stderr().lock();
            let _ = out.write_all(text.as_bytes());
            if !text.ends_with('\n') {
                let _ = out.write_all(b"\n");
            }
        });
    }

    /// Asks a person a question that is answered with yes or no; none when there is no terminal to ask on.
    pub fn ask(&self, question: &str) -> io::Result<Option<bool>> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(None);
        }
        self.bars.suspend(|| {
            let mut out = io::stderr().lock();
            out.write_all(question.as_bytes())?;
            out.flush()?;
            let mut answer = String::new();
            io::stdin().read_line(&mut answer)?;
            Ok(Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
        })
    }

    /// Emphasis for standard error, where it shows.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if self.lively { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
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
