//! `sb validate --fix`: corrections that are certain. Everything else in a file stays as it is, comments included.

use std::collections::BTreeMap;
use std::path::Path;

use super::output::{Failed, show_change};
use crate::terminal::Terminal;
use sb_plan::manifest::problem::{Fix, Problem};

/// Makes the corrections and shows them. True: something was changed.
pub(super) fn all(terminal: &Terminal, problems: &[Problem]) -> Result<bool, Failed> {
    let mut fixes: BTreeMap<&Path, (&str, Vec<&Fix>)> = BTreeMap::new();
    for problem in problems {
        if let Some(source) = problem.source.as_ref().filter(|_| !problem.fix.is_empty()) {
            fixes.entry(&source.path).or_insert_with(|| (source.text(), Vec::new())).1.extend(&problem.fix);
        }
    }
    let mut changed = false;
    for (path, (before, fixes)) in fixes {
        let after = applied(before, fixes);
        if after == before {
            continue;
        }
        write(path, before, &after)?;
        show_change(terminal, path, before, &after);
        changed = true;
    }
    Ok(changed)
}

/// A text with its fixes. Of two that overlap, the first counts.
fn applied(text: &str, mut fixes: Vec<&Fix>) -> String {
    fixes.sort_by_key(|fix| (fix.span.start, fix.span.end));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for fix in fixes.into_iter().filter(|fix| text.get(fix.span.clone()).is_some()) {
        if fix.span.start >= done {
            out.push_str(&text[done..fix.span.start]);
            out.push_str(&fix.text);
            done = fix.span.end;
        }
    }
    out + &text[done..]
}

/// Writes a file anew, unless it has changed meanwhile.
pub(super) fn write(path: &Path, before: &str, after: &str) -> std::io::Result<()> {
    // A link is followed: what it leads to is what was read.
    let path = path.canonicalize()?;
    let bytes = std::fs::read(&path)?;
    let mark: &[u8] = if bytes.starts_with(b"\xef\xbb\xbf") { &bytes[..3] } else { b"" };
    if &bytes[mark.len()..] != before.as_bytes() {
        let message = format!("{} has changed while it was read: run the command again", path.display());
        return Err(std::io::Error::other(message));
    }
    let permissions = path.metadata()?.permissions();
    let text = [mark, after.as_bytes()].concat();
    sb_durable::write(&path, sb_durable::Options::new(), &text).map_err(std::io::Error::other)?;
    std::fs::set_permissions(&path, permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixes_change_nothing_but_their_places() {
        let fix = |from: usize, to: usize, text: &str| Fix { span: from..to, text: text.to_owned() };
        let fixes = [fix(9, 13, "name"), fix(0, 4, "wait"), fix(2, 5, "overlaps"), fix(50, 60, "beyond")];
        assert_eq!(applied("wiat = 1\nnmae = 2 # é\n", fixes.iter().collect()), "wait = 1\nname = 2 # é\n");
    }
}
