//! `.dockerignore`, by Docker's rules. Patterns are rooted in the context (not so in `.gitignore`). The last one that
//! matches decides, and `!` makes an exception. A pattern that matches a folder covers what is in it.

use globset::{GlobBuilder, GlobMatcher};

/// The rules of one `.dockerignore`.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: String,
    /// Any of them; see [`spellings`].
    globs: Vec<GlobMatcher>,
    exception: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("line {line} of the .dockerignore, `{pattern}`, is no valid pattern: {source}; correct or remove it")]
pub(crate) struct IgnoreError {
    pub line: usize,
    pub pattern: String,
    source: globset::Error,
}

impl Rules {
    pub(super) fn parse(text: &str) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (exception, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let Some(pattern) = cleaned(pattern) else { continue };
            let globs = spellings(&pattern)
                .iter()
                .map(|glob| {
                    let glob =
                        GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build()?;
                    Ok(glob.compile_matcher())
                })
                .collect::<Result<_, globset::Error>>()
                .map_err(|source| IgnoreError { line: index + 1, pattern: line.to_owned(), source })?;
            rules.push(Rule { pattern, globs, exception });
        }
        Ok(Self { rules })
    }

    /// Whether a path, relative to the context and with `/` between its parts, is left out.
    pub(super) fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            // A rule that would change nothing need not be tried.
            if rule.exception == excluded && ancestors_and_self(path).any(|path| rule.matches(path)) {
                excluded = !rule.exception;
            }
        }
        excluded
    }

    /// Whether an excluded folder must be entered all the same, since an exception names something in it.
    pub(super) fn may_hold_exceptions(&self, folder: &str) -> bool {
        let prefix = format!("{folder}/");
        self.rules.iter().any(|rule| rule.exception && format!("{}/", rule.pattern).starts_with(&prefix))
    }
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        self.globs.iter().any(|glob| glob.is_match(path))
    }
}

fn ancestors_and_self(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end]).chain([path])
}

/// Lexically shortest form without a leading slash, as Go's `filepath.Clean` gives it; `None` for an empty pattern
/// and for the context itself, which cannot be left out.
fn cleaned(pattern: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Docker's pattern as globs. Docker lets `**` stand for any number of folders anywhere (`a**b` matches `ab` and
/// `ax/y/b`), a glob only between slashes; and Docker knows no `{a,b}`.
fn spellings(pattern: &str) -> Vec<String> {
    let mut whole = vec![String::new()];
    let mut rest = pattern;
    loop {
        let Some((before, after)) = split_at_double_star(rest) else {
            append(&mut whole, &braces_escaped(rest));
            return whole;
        };
        append(&mut whole, &braces_escaped(before));
        let after_slash = after.strip_prefix('/');
        let starts_a_part = before.is_empty() || before.ends_with('/');
        match (starts_a_part, after_slash, after.is_empty()) {
            // `a/**`, `**`: everything from here.
            (true, _, true) => append(&mut whole, "**"),
            // `a**`: anything that goes on like this, at any depth.
            (false, _, true) => fork(&mut whole, "*", "*/**"),
            // `**/b`, `a/**/b`, and `**b`, which means the same.
            (true, _, false) => append(&mut whole, "**/"),
            // `a**/b`, `a**b`
            (false, _, false) => fork(&mut whole, "", "*/**/"),
        }
        rest = after_slash.unwrap_or(after);
        if rest.is_empty() {
            return whole;
        }
    }
}

fn split_at_double_star(pattern: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (index, character) in pattern.char_indices() {
        if !escaped && pattern[index..].starts_with("**") {
            return Some((&pattern[..index], pattern[index..].trim_start_matches('*')));
        }
        escaped = !escaped && character == '\\';
    }
    None
}

fn append(all: &mut [String], text: &str) {
    for one in all {
        one.push_str(text);
    }
}

fn fork(all: &mut Vec<String>, left: &str, right: &str) {
    let mut others = all.clone();
    append(all, left);
    append(&mut others, right);
    all.append(&mut others);
}

fn braces_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut escaped = false;
    for character in text.chars() {
        match character {
            '{' | '}' if !escaped => {
                out.push('[');
                out.push(character);
                out.push(']');
            }
            character => out.push(character),
        }
        escaped = !escaped && character == '\\';
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, excluded: &[&str], kept: &[&str]) {
        let rules = Rules::parse(text).unwrap();
        for path in excluded {
            assert!(rules.excludes(path), "`{path}` should be left out by {text:?}");
        }
        for path in kept {
            assert!(!rules.excludes(path), "`{path}` should be kept by {text:?}");
        }
    }

    #[test]
    fn patterns_are_rooted_and_cover_what_is_in_a_folder() {
        check(
            "node_modules\n",
            &["node_modules", "node_modules/a/b.js"],
            &["app/node_modules", "node_modules2"],
        );
        check("/build/\n./x/../y", &["build/a", "y"], &["a/build", "x"]);
        check("*.log", &["a.log"], &["a/b.log", "a.logs"]);
        check("*/temp*", &["a/temp", "a/temporary.txt"], &["temp", "a/b/temp"]);
        check("temp?", &["tempa"], &["temp", "tempab", "a/tempa"]);
        check("[ab].txt", &["a.txt"], &["c.txt"]);
    }

    #[test]
    fn two_stars_stand_for_any_number_of_folders() {
        check("**/*.py", &["a.py", "x/a.py", "x/y/a.py"], &["a.pyc"]);
        check("docs/**", &["docs/a", "docs/a/b"], &["docs", "doc"]);
        check("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["az", "b/a/z"]);
        check("**", &["a", "a/b"], &[]);
        check("a**", &["a", "ab", "ab/c", "a/c"], &["ba"]);
        check("a**z", &["az", "ab/z", "ab/c/z", "a/z"], &["abz", "b/az"]);
        check("**z", &["z", "x/z"], &["xz"]);
    }

    #[test]
    fn the_last_match_decides() {
        check("*\n!keep.txt", &["a", "a/keep.txt"], &["keep.txt"]);
        check("*.md\n!README*.md\nREADME-secret.md", &["a.md", "README-secret.md"], &["README.md"]);
        check("docs\n!docs/api", &["docs/x"], &["docs/api", "docs/api/x"]);
        check("!a\na", &["a"], &[]);
    }

    #[test]
    fn comments_blank_lines_and_what_docker_does_not_know() {
        check("# a\n\n  \n  b  \r\n", &["b"], &["# a", "a"]);
        check("{a,b}", &["{a,b}"], &["a", "b"]);
        check("\\#x\n\\!y", &["#x", "!y"], &["x", "y"]);
        check(".\n/", &[], &["a"]);
        let error = Rules::parse("ok\n[z-a]\n").unwrap_err();
        assert_eq!((error.line, error.pattern.as_str()), (2, "[z-a]"));
    }

    #[test]
    fn a_folder_is_entered_for_an_exception_that_names_it() {
        let rules = Rules::parse("*\n!src/app/main.py\n!**/x").unwrap();
        assert!(rules.may_hold_exceptions("src") && rules.may_hold_exceptions("src/app"));
        assert!(!rules.may_hold_exceptions("lib"), "as Docker does it: `**/x` opens no folder");
    }
}
