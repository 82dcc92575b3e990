//! The command line as a whole, with its commands in groups.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::{Cli, shared};

/// The commands in the order in which a newcomer meets them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run", &["run", "resume", "test", "cleanup"]),
    ("Write and check", &["new", "validate", "fmt", "explain", "plan", "workload", "dataset"]),
    ("Look", &["status", "ui", "logs", "why", "report", "trace", "runs", "leaks"]),
    (
        "Single steps",
        &[
            "prepare",
            "invoke",
            "wait",
            "get-traces",
            "analyze-traces",
            "analyze-triggers",
            "config",
            "shell",
            "local",
        ],
    ),
    (
        "Set up",
        &[
            "doctor",
            "init",
            "login",
            "logout",
            "check-credentials",
            "remote",
            "completions",
            "man",
            "schema",
            "version",
            "help",
        ],
    ),
];

/// What clap knows of the command line: commands, the options that they share, and the help.
pub(crate) fn full() -> Command {
    let command = shared::with_options(Cli::command());
    let groups = groups(&command);
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{groups}\nOptions:\n{{options}}{{after-help}}"
    ))
}

fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        let _ = write!(text, "\n{title}:\n");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            // clap adds `help` by itself, when it parses.
            let about = about.unwrap_or_else(|| "Show the help of a command".to_owned());
            let _ = writeln!(text, "  {name:<18} {about}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> Command {
        let mut command = full();
        command.build();
        command
    }

    fn each(command: &Command, path: &str, visit: &mut dyn FnMut(&str, &Command)) {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let path = format!("{path} {}", inner.get_name());
            if !inner.is_hide_set() {
                each(inner, &path, visit);
                visit(&path, inner);
            }
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        built().debug_assert();
    }

    #[test]
    fn every_command_is_in_one_group() {
        let command = built();
        let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
        let mut shown: Vec<_> = shown.map(Command::get_name).collect();
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        shown.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(shown, grouped);
    }

    #[test]
    fn every_command_explains_its_arguments_and_has_an_example_that_is_accepted() {
        each(&built(), "sb", &mut |path, command| {
            assert!(command.get_about().is_some(), "{path} says what it does");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "{path}: `{}` has a description", argument.get_id());
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.split_once("Example").map(|(_, examples)| examples).unwrap_or_default();
            let mut lines = examples.lines().filter_map(|line| line.trim().strip_prefix("sb ")).peekable();
            assert!(lines.peek().is_some(), "{path} has an example");
            for line in lines {
                accepts(line);
            }
        });
        let after = full().get_after_help().map(ToString::to_string).unwrap_or_default();
        after.lines().filter_map(|line| line.trim().strip_prefix("sb ")).for_each(accepts);
    }

    /// The commands in backticks, and behind `with: `, of messages; and the lines of documents that begin with `sb`.
    #[test]
    fn every_command_that_a_message_or_a_document_suggests_is_accepted() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut seen, mut wrong) = (0, Vec::new());
        for folder in ["src", "crates", "docs", "README.md"] {
            for file in files(&root.join(folder)) {
                let text = std::fs::read_to_string(&file).unwrap();
                let is_code = file.extension().is_some_and(|end| end == "rs");
                // What tests write is theirs.
                let text = if is_code { text.split("#[cfg(test)]").next().unwrap() } else { &text };
                for command in suggested(text, is_code) {
                    seen += 1;
                    let parsed = full().try_get_matches_from(words(&command));
                    // A command may only be named, and a word that is filled in may stand for one of a few.
                    let is_wrong = |error: &clap::Error| {
                        use clap::error::ErrorKind::{
                            DisplayHelpOnMissingArgumentOrSubcommand, InvalidValue, MissingRequiredArgument,
                            ValueValidation,
                        };
                        let harmless = [
                            DisplayHelpOnMissingArgumentOrSubcommand,
                            InvalidValue,
                            MissingRequiredArgument,
                            ValueValidation,
                        ];
                        error.use_stderr() && !harmless.contains(&error.kind())
                    };
                    if let Some(error) = parsed.err().filter(is_wrong) {
                        wrong.push(format!("{}: `{command}`\n{error}", file.display()));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(seen > 200, "{seen}");
    }

    fn files(path: &std::path::Path) -> Vec<std::path::PathBuf> {
        if path.is_file() {
            let is_read = path.extension().is_some_and(|end| end == "rs" || end == "md");
            return if is_read && !path.ends_with("tests.rs") { vec![path.to_owned()] } else { vec![] };
        }
        std::fs::read_dir(path).unwrap().flatten().flat_map(|item| files(&item.path())).collect()
    }

    fn suggested(text: &str, is_code: bool) -> Vec<String> {
        let mut found = Vec::new();
        for line in text.lines() {
            let line = line.trim();
            if is_code && line.starts_with("//") {
                continue;
            }
            let quoted = line.split('`').skip(1).step_by(2);
            found.extend(quoted.filter(|quoted| quoted.starts_with("sb ")).map(str::to_owned));
            let (_, behind) = line.split_once("with: ").unwrap_or_default();
            if let Some(command) = behind.strip_prefix("sb ") {
                found.push(format!("sb {}", command.split('"').next().unwrap_or_default()));
            }
            if !is_code && line.starts_with("sb ") {
                let command = line.split(" #").next().unwrap_or_default();
                let command = command.split("  ").next().unwrap_or_default();
                found.extend(command.split(" && ").map(str::to_owned));
            }
        }
        found
            .retain(|command| !command.contains('…') && !command.ends_with('\\') && !command.contains(" | "));
        found
    }

    /// A command as a shell splits it; what stands in braces or is another program's is one word.
    fn words(command: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut is_braced = false;
        for word in command.split(['>', '<', ';']).next().unwrap_or_default().split_whitespace() {
            if is_braced {
                is_braced = !word.contains('}');
                continue;
            }
            is_braced = word.contains('{') && !word.contains('}');
            match word.find('{') {
                // A value that is filled in: none, or an option with its words, or one word.
                Some(0) => words.push("x".to_owned()),
                Some(at) => words.push(format!("{}x", &word[..at])),
                None => words.push(word.trim_matches(['\'', '"']).to_owned()),
            }
        }
        words
    }

    /// What stands behind two spaces explains the example, and what stands behind `|`, `>` or `&&` is not ours.
    #[track_caller]
    fn accepts(line: &str) {
        let example = line.split("  ").next().unwrap_or_default();
        let ours = example.split(" | ").next().unwrap_or_default().split(" > ").next().unwrap_or_default();
        for part in ours.split(" < ").next().unwrap_or_default().split(" && ") {
            let words = part.trim().trim_start_matches("sb ").split(' ');
            let parsed = full().try_get_matches_from(std::iter::once("sb").chain(words));
            assert!(parsed.is_ok(), "`sb {part}`: {}", parsed.unwrap_err());
        }
    }
}
