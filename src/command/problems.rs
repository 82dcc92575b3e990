//! Problems as other programs read them: annotations of GitHub Actions, SARIF, JUnit.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use sb_plan::manifest::problem::{Problem, Severity};
use sb_plan::rules::rules;

/// What `sb validate` has found, and where.
pub(super) struct Found<'a> {
    /// Every file that was checked.
    pub files: &'a [PathBuf],
    pub problems: &'a [Problem],
    /// The working directory: paths are relative to it where they lie in it.
    pub folder: &'a Path,
    /// Whether warnings fail, too.
    pub strict: bool,
}

impl Found<'_> {
    /// Whether a problem makes its file fail.
    pub(super) fn fails(&self, problem: &Problem) -> bool {
        problem.is_error() || (self.strict && problem.severity == Severity::Warning)
    }

    fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(self.folder).unwrap_or(path)
    }

    /// One line for each problem, as [GitHub Actions reads
    /// them](https://docs.github.com/actions/reference/workflow-commands-for-github-actions).
    pub(super) fn github(&self) -> String {
        let mut out = String::new();
        for problem in self.problems {
            let command = match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "notice",
            };
            let mut properties: Vec<(&str, String)> = Vec::new();
            if let Some(source) = &problem.source {
                properties.push(("file", self.relative(&source.path).display().to_string()));
            }
            if let (Some((line, column)), Some((end_line, end_column))) =
                (problem.line_column(), problem.end())
            {
                properties.push(("line", line.to_string()));
                properties.push(("endLine", end_line.to_string()));
                // Columns are allowed within one line only.
                if line == end_line {
                    properties.push(("col", column.to_string()));
                    properties.push(("endColumn", end_column.to_string()));
                }
            }
            properties.push(("title", problem.code.to_owned()));
            let properties: Vec<String> =
                properties.iter().map(|(name, value)| format!("{name}={}", property(value))).collect();
            let _ = writeln!(out, "::{command} {}::{}", properties.join(","), data(&text_of(problem)));
        }
        out
    }

    /// [SARIF 2.1.0](https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html): what code scanning reads.
    pub(super) fn sarif(&self) -> Value {
        let known: Vec<&str> = rules().map(|rule| rule.code).collect();
        let rules: Vec<Value> = rules()
            .map(|rule| {
                json!({
                    "id": rule.code,
                    "shortDescription": { "text": rule.summary() },
                    "fullDescription": { "text": rule.why },
                    "help": { "text": rule.explanation(), "markdown": rule.explanation() },
                    "defaultConfiguration": { "level": level(rule.severity) },
                })
            })
            .collect();
        let results: Vec<Value> = self
            .problems
            .iter()
            .map(|problem| {
                let mut result = json!({
                    "ruleId": problem.code,
                    "level": level(problem.severity),
                    "message": { "text": text_of(problem) },
                });
                if let Some(index) = known.iter().position(|code| *code == problem.code) {
                    result["ruleIndex"] = index.into();
                }
                if let Some(location) = self.location(problem) {
                    result["locations"] = json!([location]);
                }
                result
            })
            .collect();
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": { "name": "sb", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
                "columnKind": "unicodeCodePoints",
                "results": results,
            }],
        })
    }

    fn location(&self, problem: &Problem) -> Option<Value> {
        let source = problem.source.as_ref()?;
        let path = self.relative(&source.path);
        let mut artifact = json!({ "uri": uri(path) });
        if path.is_relative() {
            artifact["uriBaseId"] = "%SRCROOT%".into();
        }
        let mut physical = json!({ "artifactLocation": artifact });
        if let (Some((line, column)), Some((end_line, end_column))) = (problem.line_column(), problem.end()) {
            physical["region"] = json!({
                "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
            });
        }
        Some(json!({ "physicalLocation": physical }))
    }

    /// JUnit XML, which CI systems show as tests: one for each file.
    pub(super) fn junit(&self) -> String {
        let mut cases = String::new();
        let mut failures = 0;
        let of = |file: Option<&PathBuf>| {
            let is_of = move |problem: &&Problem| problem.source.as_ref().map(|source| &source.path) == file;
            self.problems.iter().filter(is_of).collect::<Vec<_>>()
        };
        // Problems may also be in files that others name, and in none at all.
        let mut files: Vec<Option<&PathBuf>> = self.files.iter().map(Some).collect();
        for file in self.problems.iter().map(|problem| problem.source.as_ref().map(|source| &source.path)) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        for file in &files {
            let name =
                file.map_or("command line".to_owned(), |file| self.relative(file).display().to_string());
            let (failed, told): (Vec<_>, Vec<_>) =
                of(*file).into_iter().partition(|problem| self.fails(problem));
            failures += usize::from(!failed.is_empty());
            let _ = write!(cases, "    <testcase classname=\"sb validate\" name=\"{}\"", xml(&name));
            if failed.is_empty() && told.is_empty() {
                cases.push_str("/>\n");
                continue;
            }
            cases.push_str(">\n");
            // Readers show one failure of a test: it has all problems.
            if let [first, ..] = failed.as_slice() {
                let lines: Vec<String> = failed.iter().map(|problem| line_of(problem, &name)).collect();
                let _ = writeln!(
                    cases,
                    "      <failure type=\"{}\" message=\"{}\">{}</failure>",
                    xml(first.code),
                    xml(&first.message),
                    xml(&lines.join("\n"))
                );
            }
            if !told.is_empty() {
                let lines: Vec<String> = told.iter().map(|problem| line_of(problem, &name)).collect();
                let _ = writeln!(cases, "      <system-out>{}</system-out>", xml(&lines.join("\n")));
            }
            cases.push_str("    </testcase>\n");
        }
        let count = files.len();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{count}\" failures=\"{failures}\">\n  \
             <testsuite name=\"sb validate\" tests=\"{count}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\">\n{cases}  \
             </testsuite>\n</testsuites>\n"
        )
    }
}

/// `shop/benchmark.toml:3:1: error: unknown key `nmae` (unknown-key)`, and the way out.
fn line_of(problem: &Problem, file: &str) -> String {
    let place = problem.line_column().map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
    format!("{file}{place}: {}: {} ({})", problem.severity.word(), text_of(problem), problem.code)
}

/// The message and the way out.
fn text_of(problem: &Problem) -> String {
    match &problem.help {
        Some(help) => format!("{}: {help}", problem.message),
        None => problem.message.clone(),
    }
}

fn level(severity: Severity) -> &'static str {
    severity.word()
}

/// The data of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A relative reference, or an address on this machine.
fn uri(path: &Path) -> String {
    let encode = |part: &std::ffi::OsStr| sb_workload::template::percent_encoded(&part.to_string_lossy());
    let parts: Vec<String> = path
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(encode(part)),
            _ => None,
        })
        .collect();
    format!("{}{}", if path.is_absolute() { "file:///" } else { "" }, parts.join("/"))
}

/// Text in XML. Characters that XML does not have become `?`.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push('\t'),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            letter if letter.is_control() && (letter as u32) < 0x20 => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}
