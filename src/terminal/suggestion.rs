//! Commands that messages suggest, completed so that they work where they are pasted.

use std::borrow::Cow;

/// Commands that look for the state from the working directory.
const OF_STATE: &[&str] =
    &["cleanup", "leaks", "local", "logs", "report", "resume", "runs", "status", "trace", "ui", "why"];
/// Commands that look for a manifest in it.
const OF_MANIFEST: &[&str] =
    &["analyze-traces", "cleanup", "config", "get-traces", "invoke", "prepare", "shell", "test"];

/// Of these, those that run commands.
const OF_EXECUTOR: &[&str] = &["cleanup", "invoke", "prepare", "shell", "test"];

/// What commands need beyond what messages say; each empty, or words with a space before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// `--state-dir`, where the state is not that of the working directory.
    pub state: String,
    /// `--file`, as it was given.
    pub manifest: String,
    /// `--target`, as it was given.
    pub target: String,
    /// `--executor`, as it was given.
    pub executor: String,
}

impl Missing {
    /// Completes the commands of a message: words in backticks, or behind `with: ` at the end of a line.
    pub(super) fn complete<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if *self == Self::default() || !text.contains("sb ") {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut is_quoted = false;
        for (index, part) in text.split('`').enumerate() {
            if index > 0 {
                out.push('`');
            }
            out.push_str(part);
            if is_quoted && let Some(words) = part.strip_prefix("sb ") {
                out.push_str(&self.of(words));
            }
            is_quoted = !is_quoted;
        }
        Cow::Owned(out)
    }

    /// What is to follow a command, given without `sb`.
    pub(crate) fn of(&self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let name = words.next().unwrap_or_default();
        let has_operand = words.next().is_some_and(|word| !word.starts_with('-'));
        let has = |option: &str| command.split_whitespace().any(|word| word == option);
        let mut missing = String::new();
        let names_run = name == "cleanup" && has_operand;
        let names_file = has("--file") || has("-f");
        if OF_MANIFEST.contains(&name) && !names_run && !names_file {
            missing.push_str(&self.manifest);
            if !has("--target") {
                missing.push_str(&self.target);
            }
            if OF_EXECUTOR.contains(&name) && !has("--executor") {
                missing.push_str(&self.executor);
            }
        }
        if (OF_STATE.contains(&name) || OF_MANIFEST.contains(&name)) && !has("--state-dir") {
            missing.push_str(&self.state);
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_backticks_are_completed_and_nothing_else_is() {
        let missing = Missing {
            state: " --state-dir '/a b/.sb'".into(),
            manifest: " --file /a/benchmark.toml".into(),
            target: " --target aws".into(),
            executor: " --executor host".into(),
        };
        for (text, expected) in [
            ("`sb resume r1` goes on", "`sb resume r1 --state-dir '/a b/.sb'` goes on"),
            ("`sb cleanup r1`", "`sb cleanup r1 --state-dir '/a b/.sb'`"),
            (
                "`sb cleanup`",
                "`sb cleanup --file /a/benchmark.toml --target aws --executor host --state-dir '/a b/.sb'`",
            ),
            (
                "`sb config show`",
                "`sb config show --file /a/benchmark.toml --target aws --state-dir '/a b/.sb'`",
            ),
            ("`sb resume r --state-dir /x`", "`sb resume r --state-dir /x`"),
            ("`sb validate` says; `x` and sb resume", "`sb validate` says; `x` and sb resume"),
        ] {
            assert_eq!(missing.complete(text), expected);
        }
        assert_eq!(Missing::default().complete("`sb resume r1`"), "`sb resume r1`");
        // What is complete stays as it is, whichever of the options it needed.
        let missing = Missing {
            target: " --target aws".into(),
            executor: " --executor host".into(),
            ..Missing::default()
        };
        let once = missing.complete("`sb cleanup`").into_owned();
        assert_eq!(once, "`sb cleanup --target aws --executor host`");
        assert_eq!(missing.complete(&once), once);
    }
}
