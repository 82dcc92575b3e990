//! The rules that files are checked by: what each says, why, and an example of it broken and kept.
//!
//! This one table makes help (`sb explain`), the document `docs/rules.md` and the lists in SARIF files. The examples
//! are tested: the wrong one breaks its rule and no other, the right one breaks none.

mod benchmarks;
mod files;
mod plans;
mod requests;

use std::fmt::Write as _;

use crate::manifest::problem::Severity;

/// What a file must keep to.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name in output, stable: `unknown-key`.
    pub code: &'static str,
    /// How bad it is when the rule is broken, at most.
    pub severity: Severity,
    /// How bad it is in milder cases, where there are such.
    pub milder: Option<Severity>,
    /// Whose examples they are.
    pub about: About,
    /// Why there is such a rule, in whole sentences.
    pub why: &'static str,
    /// A part of a file that breaks the rule; empty where a file cannot show it.
    pub wrong: &'static str,
    /// The same, mended.
    pub right: &'static str,
    pub(crate) depends: Depends,
}

/// Which file examples are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// `benchmark.toml`.
    Manifest,
    /// `plans/*.toml`.
    Plan,
    /// None: the rule is about the bytes of a file, or about the command line.
    Other,
}

/// On what else in the files it depends whether a rule is broken. What was reported as wrong is left out of later checks, and
/// must not be reported again as missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Depends {
    /// On the value alone.
    Nothing,
    /// On other keys of the same table.
    Table,
    /// On what is called so in one of these tables.
    Names(&'static [&'static str]),
    /// On anything in the file.
    File,
}

const fn error(code: &'static str, about: About, depends: Depends, text: [&'static str; 3]) -> Rule {
    let [why, wrong, right] = text;
    Rule { code, severity: Severity::Error, milder: None, about, why, wrong, right, depends }
}

const fn warning(code: &'static str, about: About, depends: Depends, text: [&'static str; 3]) -> Rule {
    Rule { severity: Severity::Warning, ..error(code, about, depends, text) }
}

const TABLES: [&[Rule]; 4] = [files::RULES, benchmarks::RULES, requests::RULES, plans::RULES];

/// Every rule, by kind of file.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    TABLES.into_iter().flatten()
}

/// The rule with this code.
pub fn rule(code: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.code == code)
}

impl Severity {
    /// `error`, `warning` or `note`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl Rule {
    /// A rule that is broken with another severity, too.
    const fn or(self, milder: Severity) -> Self {
        Self { milder: Some(milder), ..self }
    }

    /// How bad it can be when the rule is broken, the worst first.
    pub fn severities(&self) -> impl Iterator<Item = Severity> {
        [Some(self.severity), self.milder].into_iter().flatten()
    }

    /// `error`, `warning`, `error or warning`, or `error or note`.
    pub fn severity_words(&self) -> String {
        self.severities().map(Severity::word).collect::<Vec<_>>().join(" or ")
    }

    /// The first sentence of the reason.
    pub fn summary(&self) -> &'static str {
        self.why.split_inclusive(". ").next().unwrap_or(self.why).trim_end()
    }

    /// As Markdown, without its heading.
    pub fn explanation(&self) -> String {
        let mut out = format!("{}\n", self.why);
        for (title, example) in [("Wrong", self.wrong), ("Right", self.right)] {
            if !example.is_empty() {
                let _ = write!(out, "\n{title}:\n\n```toml\n{}\n```\n", example.trim());
            }
        }
        out
    }
}

/// The document about all rules, in Markdown.
pub fn document() -> String {
    let mut out = String::from(
        "# Rules\n\n\
         `sb validate` checks manifests and plans by these rules. `sb explain RULE` prints one of them, and `sb explain` lists all.\n\
         This file is generated from `crates/plan/src/rules`: `just rules` writes it anew.\n\n\
         Examples are parts of files: what a file needs besides is left out. The codes are stable. A problem of the severity\n\
         `error` makes a file unusable. A `warning` does so with `sb validate --strict`.\n\
         A rule with two severities gives one of them, depending on what is found. A `note` makes no file unusable.\n\n\
         | rule | severity | in short |\n|---|---|---|\n",
    );
    for rule in rules() {
        let _ = writeln!(
            out,
            "| [`{0}`](#{0}) | {1} | {2} |",
            rule.code,
            rule.severity_words(),
            rule.summary().replace('|', "\\|")
        );
    }
    for rule in rules() {
        let _ = write!(out, "\n## {}\n\n{}", rule.code, rule.explanation());
    }
    out
}

#[cfg(test)]
mod tests;
