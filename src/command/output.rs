//! How commands fail, and how problems are shown.

use crate::exit_code::Exit;
use crate::settings::SettingsError;
use crate::store::{LockError, StoreError};
use crate::terminal::Terminal;
use sb_plan::manifest::problem::{Checked, Problem};

/// A command that could not do its work.
pub(super) struct Failed {
    pub(super) exit: Exit,
    /// None: everything has been said.
    report: Option<miette::Report>,
}

impl Failed {
    pub(super) fn message(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, report: Some(miette::miette!("{}", message.into())) }
    }

    /// With a way out.
    pub(super) fn helped(exit: Exit, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { exit, report: Some(miette::miette!(help = help.into(), "{}", message.into())) }
    }

    pub(super) fn said(exit: Exit) -> Self {
        Self { exit, report: None }
    }

    pub(super) fn show(&self, terminal: &Terminal) {
        if let Some(report) = &self.report {
            terminal.say(&render(terminal, report.as_ref()));
        }
    }
}

impl From<SettingsError> for Failed {
    fn from(error: SettingsError) -> Self {
        Self { exit: Exit::Usage, report: Some(miette::Report::new(error)) }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::message(Exit::Store, error.to_string())
    }
}

impl From<LockError> for Failed {
    fn from(error: LockError) -> Self {
        let exit = match error {
            LockError::Held { .. } => Exit::Locked,
            LockError::Io { .. } => Exit::Store,
        };
        Self::message(exit, error.to_string())
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::message(Exit::Failed, error.to_string())
    }
}

/// A diagnostic as people read it: with the source line, coloured where that shows.
pub(super) fn render(terminal: &Terminal, diagnostic: &dyn miette::Diagnostic) -> String {
    let theme = if terminal.lively {
        miette::GraphicalTheme::unicode()
    } else {
        miette::GraphicalTheme::unicode_nocolor()
    };
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_width(110).with_links(false);
    if handler.render_report(&mut text, diagnostic).is_err() {
        text = diagnostic.to_string();
    }
    text
}

/// As [`accept`], of what was typed on the command line.
pub(super) fn accept_arguments<T>(terminal: &Terminal, checked: Checked<T>) -> Result<T, Failed> {
    accept(terminal, checked).map_err(|failed| Failed { exit: Exit::Usage, ..failed })
}

/// Shows all problems; gives the value when none was an error.
pub(super) fn accept<T>(terminal: &Terminal, checked: Checked<T>) -> Result<T, Failed> {
    show_problems(terminal, &checked.problems);
    checked.value.ok_or(Failed::said(Exit::InvalidManifest))
}

pub(super) fn show_problems(terminal: &Terminal, problems: &[Problem]) {
    for problem in problems {
        terminal.say(&render(terminal, problem));
    }
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    if errors > 0 {
        terminal.say(&format!("{errors} error{}", if errors == 1 { "" } else { "s" }));
    }
}
