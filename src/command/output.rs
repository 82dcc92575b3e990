//! How commands fail, and how problems are shown.

use similar::TextDiff;

use crate::exit_code::Exit;
use crate::printable::counted;
use crate::run::{FileEdit, RunError};
use crate::settings::SettingsError;
use crate::store::{LockError, StoreError};
use crate::terminal::{Style, Terminal};
use sb_plan::manifest::problem::{Checked, Problem};

/// A command that could not do its work.
pub(super) struct Failed {
    pub(super) exit: Exit,
    why: Why,
}

enum Why {
    /// Everything has been said.
    Said,
    Report(miette::Report),
    Run(Box<RunError>),
}

impl Failed {
    pub(super) fn message(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, why: Why::Report(miette::miette!("{}", message.into())) }
    }

    /// With a way out.
    pub(super) fn helped(exit: Exit, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { exit, why: Why::Report(miette::miette!(help = help.into(), "{}", message.into())) }
    }

    pub(super) fn said(exit: Exit) -> Self {
        Self { exit, why: Why::Said }
    }

    pub(super) fn show(&self, terminal: &Terminal) {
        match &self.why {
            Why::Said => {}
            Why::Report(report) => terminal.say(&render(terminal, report.as_ref())),
            Why::Run(error) => {
                show_details(terminal, error);
                if !matches!(**error, RunError::Invalid(_)) {
                    terminal.say(&render(terminal, &**error));
                }
            }
        }
    }
}

impl From<SettingsError> for Failed {
    fn from(error: SettingsError) -> Self {
        Self { exit: Exit::Usage, why: Why::Report(miette::Report::new(error)) }
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

impl From<RunError> for Failed {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Store(error) => error.into(),
            RunError::Lock(error) => error.into(),
            RunError::Io(error) => error.into(),
            error => Self { exit: exit_of(&error), why: Why::Run(Box::new(error)) },
        }
    }
}

fn exit_of(error: &RunError) -> Exit {
    match error {
        RunError::Invalid(_) | RunError::ChangedInvalid { .. } | RunError::MissingVariables { .. } => {
            Exit::InvalidManifest
        }
        RunError::NoRun { .. } | RunError::SeveralRuns { .. } | RunError::Table { .. } => Exit::Usage,
        RunError::Stored { .. } | RunError::Drive { .. } | RunError::Store(_) => Exit::Store,
        RunError::NotRetired { .. } => Exit::CleanupOwed,
        RunError::LeftWhileChanging { .. } => Exit::Interrupted,
        RunError::Lock(_) | RunError::Alive { .. } => Exit::Locked,
        RunError::DeploymentInUse { .. }
        | RunError::Unfinished { .. }
        | RunError::Changing { .. }
        | RunError::Changed { .. }
        | RunError::NotKept { .. }
        | RunError::ChangeIncomplete { .. }
        | RunError::Engine(_)
        | RunError::OtherEngine { .. }
        | RunError::Locks(_)
        | RunError::Io(_) => Exit::Failed,
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::message(Exit::Failed, error.to_string())
    }
}

/// How many problems are shown with their places: nobody reads more, and each costs a look through the file.
const MOST_SHOWN: usize = 100;

/// A diagnostic as people read it: with the source line, coloured where that shows.
pub(super) fn render(terminal: &Terminal, diagnostic: &dyn miette::Diagnostic) -> String {
    let theme = if terminal.lively {
        miette::GraphicalTheme::unicode()
    } else {
        miette::GraphicalTheme::unicode_nocolor()
    };
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(theme)
        .with_width(110)
        .with_links(false)
        .with_break_words(false);
    if handler.render_report(&mut text, &Unbroken(diagnostic)).is_err() {
        return diagnostic.to_string();
    }
    text.chars().map(Unbroken::shown).collect()
}

/// A diagnostic whose commands (words in backticks) and paths are not broken into lines: each can be copied and pasted.
#[derive(Debug)]
struct Unbroken<'a>(&'a dyn miette::Diagnostic);

impl Unbroken<'_> {
    /// Characters of private use stand for those at which a line may be broken.
    const PRIVATE: u32 = 0xe000;

    fn joined(text: &str) -> String {
        let mut joined = String::new();
        for (index, part) in text.split('`').enumerate() {
            if index > 0 {
                joined.push('`');
            }
            if index % 2 == 0 || part.contains('\n') {
                for word in part.split_inclusive(char::is_whitespace) {
                    if word.contains('/') {
                        let end = word.trim_end().len();
                        joined.extend(word[..end].chars().map(Self::bound));
                        joined.push_str(&word[end..]);
                    } else {
                        joined.push_str(word);
                    }
                }
            } else {
                joined.extend(part.chars().map(Self::bound));
            }
        }
        joined
    }

    fn bound(letter: char) -> char {
        let is_breakable = letter.is_ascii() && !letter.is_ascii_alphanumeric() && !letter.is_ascii_control();
        let private = char::from_u32(Self::PRIVATE + letter as u32);
        private.filter(|_| is_breakable).unwrap_or(letter)
    }

    fn shown(letter: char) -> char {
        (letter as u32)
            .checked_sub(Self::PRIVATE)
            .filter(|code| *code < 0x80)
            .and_then(char::from_u32)
            .unwrap_or(letter)
    }
}

impl std::fmt::Display for Unbroken<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&Self::joined(&self.0.to_string()))
    }
}

impl std::error::Error for Unbroken<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl miette::Diagnostic for Unbroken<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.code()
    }

    fn severity(&self) -> Option<miette::Severity> {
        self.0.severity()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        let help = self.0.help()?.to_string();
        Some(Box::new(Self::joined(&help)))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.0.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        self.0.labels()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        self.0.related()
    }
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
    show_each(terminal, problems);
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    if errors > 0 {
        terminal.say(&counted(errors, "error"));
    }
}

/// As [`show_problems`], without their number.
pub(super) fn show_each(terminal: &Terminal, problems: &[Problem]) {
    let (first, last) = problems.split_at(problems.len().min(MOST_SHOWN));
    for problem in first {
        terminal.say(&render(terminal, &problem.for_screen()));
    }
    if !last.is_empty() {
        let more = counted(last.len(), "more problem");
        terminal.say(&format!("and {more}; `sb validate --format json` lists all of them"));
    }
}

/// What belongs above the message of an error.
fn show_details(terminal: &Terminal, error: &RunError) {
    match error {
        RunError::Invalid(problems) | RunError::ChangedInvalid { problems, .. } => {
            show_problems(terminal, problems);
        }
        RunError::MissingVariables { warnings, .. } => show_problems(terminal, warnings),
        RunError::Changed { edits, consequences, .. } => {
            for edit in edits {
                show_difference(terminal, edit);
            }
            terminal.say(&consequences.to_string());
        }
        _ => {}
    }
}

fn show_difference(terminal: &Terminal, edit: &FileEdit) {
    let name = edit.path.display();
    let Some(now) = &edit.now else {
        terminal.say(&format!("{name}: cannot be read any more"));
        return;
    };
    let header = [format!("{name} (of the run)"), format!("{name} (now)")];
    show_lines(terminal, &edit.before, now, &header);
}

/// A file that was changed, as a difference.
pub(super) fn show_change(terminal: &Terminal, path: &std::path::Path, before: &str, after: &str) {
    let header = [path.display().to_string(), format!("{} (corrected)", path.display())];
    show_lines(terminal, before, after, &header);
}

fn show_lines(terminal: &Terminal, before: &str, after: &str, [old, new]: &[String; 2]) {
    let difference = TextDiff::from_lines(before, after);
    let text = difference.unified_diff().context_radius(3).header(old, new).to_string();
    let painted: Vec<_> = text
        .lines()
        .map(|line| match line.as_bytes().first() {
            Some(b'+') => terminal.paint(Style::Good, line),
            Some(b'-') => terminal.paint(Style::Bad, line),
            _ => line.to_owned(),
        })
        .collect();
    terminal.say(&painted.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, whole: &[&str]) {
        let joined = Unbroken::joined(text);
        assert_eq!(joined.chars().map(Unbroken::shown).collect::<String>(), text);
        for part in whole {
            let bound: String = part.chars().map(Unbroken::bound).collect();
            assert!(joined.contains(&bound), "{part}");
            assert!(!bound.contains([' ', '-', '/', '.']), "{part}");
        }
    }

    #[test]
    fn commands_and_paths_are_never_broken_into_lines() {
        check("use `sb resume x-1 --anew`, or not", &["sb resume x-1 --anew"]);
        check("the state `/a-b/c-d.e/.sb` is gone", &["/a-b/c-d.e/.sb"]);
        check("it lies outside of /a-b/c-d, as\n./x-y/z says", &["/a-b/c-d,", "./x-y/z"]);
        check("well-known words", &[]);
    }
}
