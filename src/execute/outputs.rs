//! What a step wrote, as outputs for later steps.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::Produced;
use crate::printable::counted;
use sb_plan::benchmark::{Output, OutputSource};
use sb_workload::document;

/// Outputs are taken from at most so many bytes of standard output or of a file: what is read whole stays in memory, and
/// a runner that runs out of it can clean up nothing.
const MOST: u64 = 16 << 20;

/// Where the things are that a step wrote.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    /// The file that holds standard output.
    pub(super) stdout: &'a Path,
    /// All files are below it, whatever links have been made since the manifest was checked.
    pub(super) root: &'a Path,
    /// Of the manifest, to which their paths are relative.
    pub(super) folder: &'a Path,
}

/// Reads all outputs of a step, or says which one is missing and why.
pub(super) fn capture(
    outputs: &BTreeMap<String, Output>,
    written: Written<'_>,
) -> Result<BTreeMap<String, Produced>, String> {
    outputs
        .iter()
        .map(|(name, output)| {
            let value = match (read(&output.source, written), &output.default) {
                (Ok(value), _) => value,
                (Err(_), Some(default)) => default.clone(),
                (Err(problem), None) => return Err(format!("output `{name}`: {problem}")),
            };
            Ok((name.clone(), Produced { value, secret: output.secret }))
        })
        .collect()
}

/// The secrets among what a step wrote that failed: nobody gets them, and its log must not keep them.
pub(super) fn lost_secrets(outputs: &BTreeMap<String, Output>, written: Written<'_>) -> Vec<Value> {
    let secret = outputs.values().filter(|output| output.secret);
    secret.filter_map(|output| read(&output.source, written).ok()).collect()
}

fn read(source: &OutputSource, written: Written<'_>) -> Result<Value, String> {
    match source {
        OutputSource::Json(pointer) => json(&written.stdout(false)?.whole()?, pointer, STDOUT),
        OutputSource::Regex(pattern) => {
            let regex = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
            let excerpt = written.stdout(false)?;
            let found = regex
                .captures(&excerpt.text)
                .ok_or_else(|| format!("nothing in {} matches `{pattern}`", excerpt.name()))?;
            // A group that has no part in a match has no value; without a group, all that matches is the value.
            let part = found.get(usize::from(found.len() > 1));
            part.map(|part| part.as_str().into())
                .ok_or_else(|| format!("the group of `{pattern}` matches nothing in {}", excerpt.name()))
        }
        OutputSource::Line(number) => {
            let excerpt = written.stdout(*number < 0)?;
            let lines: Vec<_> = excerpt.text.lines().collect();
            let index = if *number < 0 {
                lines.len().checked_sub(usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX))
            } else {
                usize::try_from(*number - 1).ok()
            };
            let line = index.and_then(|index| lines.get(index));
            line.map(|line| (*line).into()).ok_or_else(|| {
                format!("{} has {}, not line {number}", excerpt.name(), counted(lines.len(), "line"))
            })
        }
        OutputSource::Stdout => Ok(without_end(written.stdout(false)?.whole()?).into()),
        OutputSource::File { path, json: pointer } => {
            let name = format!("`{}`", path.display());
            let text = written.file(path, &name)?.whole()?;
            match pointer {
                Some(pointer) => json(&text, pointer, &name),
                None => Ok(without_end(text).into()),
            }
        }
    }
}

/// A piece of what a step wrote, [`MOST`] bytes of it at most.
struct Excerpt<'a> {
    text: String,
    /// Of all that was written.
    length: u64,
    place: &'a str,
    is_end: bool,
}

const STDOUT: &str = "standard output";

impl<'a> Written<'a> {
    fn stdout(self, is_end: bool) -> Result<Excerpt<'a>, String> {
        let excerpt = File::open(self.stdout).and_then(|file| Excerpt::read(file, STDOUT, is_end));
        excerpt.map_err(|error| format!("cannot read {STDOUT}: {error}"))
    }

    /// A file by its path relative to the manifest.
    fn file<'b>(self, path: &Path, name: &'b str) -> Result<Excerpt<'b>, String> {
        let path = self.folder.strip_prefix(self.root).unwrap_or(Path::new("")).join(path);
        let excerpt =
            sb_durable::open_beneath(self.root, &path).and_then(|file| Excerpt::read(file, name, false));
        excerpt.map_err(|error| format!("cannot read {name}: {error}"))
    }
}

impl<'a> Excerpt<'a> {
    fn read(mut file: File, place: &'a str, is_end: bool) -> io::Result<Self> {
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let length = found.len();
        if is_end {
            file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
        }
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        let text = document::text(&bytes).into_owned();
        Ok(Self { text, length, place, is_end })
    }

    fn whole(self) -> Result<String, String> {
        if self.length > MOST {
            return Err(format!(
                "{} has {} bytes, and outputs are taken from at most {MOST}: let the step print less, or write the value to a file of its own",
                self.place, self.length
            ));
        }
        Ok(self.text)
    }

    /// What was looked at, for messages.
    fn name(&self) -> String {
        let place = self.place;
        match (self.length > MOST, self.is_end) {
            (false, _) => place.to_owned(),
            (true, false) => format!("{place} (the first {MOST} of {} bytes)", self.length),
            (true, true) => format!("{place} (the last {MOST} of {} bytes)", self.length),
        }
    }
}

fn without_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

fn json(text: &str, pointer: &str, place: &str) -> Result<Value, String> {
    let found = document::exact_at(text, pointer).map_err(|error| format!("{place} is not JSON: {error}"))?;
    // A query that finds nothing answers `null`, as the AWS CLI's `--query` does.
    found
        .filter(|found| !found.is_null())
        .ok_or_else(|| format!("the JSON in {place} has nothing at `{pointer}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(source: OutputSource, stdout: &str, expected: Result<Value, &str>) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("app");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("stdout"), stdout).unwrap();
        std::fs::write(folder.join("there"), "{\"a\": 7}\n").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.join("out")).unwrap();
        std::os::unix::fs::symlink("../app/there", folder.join("within")).unwrap();
        let stdout = folder.join("stdout");
        let found = read(&source, Written { stdout: &stdout, root: root.path(), folder: &folder });
        match (&found, &expected) {
            (Err(problem), Err(part)) => assert!(problem.contains(part), "{problem}"),
            _ => assert_eq!(found, expected.map_err(str::to_owned)),
        }
    }

    #[test]
    fn outputs_are_read_from_what_a_step_wrote() {
        check(OutputSource::Json("/a/0/b".into()), r#"{"a": [{"b": 3}]}"#, Ok(json!(3)));
        check(OutputSource::Json("/a/1".into()), r#"{"a": []}"#, Err("nothing at `/a/1`"));
        check(OutputSource::Json("/a".into()), r#"{"a": null}"#, Err("nothing at `/a`"));
        check(OutputSource::Json(String::new()), "oops", Err("not JSON"));
        check(OutputSource::Regex(r"id: (\w+)".into()), "x\nid: abc\n", Ok(json!("abc")));
        check(OutputSource::Regex("b+".into()), "abbba", Ok(json!("bbb")));
        check(OutputSource::Regex("z".into()), "abbba", Err("matches `z`"));
        check(OutputSource::Regex("b(z)?".into()), "abbba", Err("the group of"));
        let large = "123456789012345678901234567890";
        check(OutputSource::Json("/n".into()), &format!("{{\"n\": {large}}}"), Ok(json!(large)));
        check(OutputSource::Line(-1), "one\ntwo\n", Ok(json!("two")));
        check(OutputSource::Line(1), "one\ntwo\n", Ok(json!("one")));
        check(OutputSource::Line(3), "one\ntwo\n", Err("has 2 lines"));
        check(OutputSource::Line(-3), "one\ntwo\n", Err("has 2 lines"));
        check(OutputSource::Line(i64::MIN), "one\n", Err("has 1 line,"));
        check(OutputSource::Stdout, "one\ntwo\n", Ok(json!("one\ntwo")));
        let file = |path: &str, json: Option<&str>| OutputSource::File {
            path: path.into(),
            json: json.map(str::to_owned),
        };
        check(file("gone", None), "", Err("cannot read"));
        check(file("there", None), "", Ok(json!("{\"a\": 7}")));
        check(file("within", Some("/a")), "", Ok(json!(7)));
        check(file("out", None), "", Err("it leads out of the root"));
        check(file("../app", None), "", Err("it is not a regular file"));
    }

    #[test]
    fn of_very_much_output_the_ends_are_looked_at_and_memory_has_a_bound() {
        let line = "0123456789abcde\n";
        let long = format!("first\n{}last\n", line.repeat(2 * MOST as usize / line.len()));
        check(OutputSource::Line(1), &long, Ok(json!("first")));
        check(OutputSource::Line(-1), &long, Ok(json!("last")));
        check(OutputSource::Regex("^f.*".into()), &long, Ok(json!("first")));
        check(OutputSource::Regex("^last".into()), &long, Err("(the first 16777216 of 33554443 bytes)"));
        check(
            OutputSource::Stdout,
            &long,
            Err("has 33554443 bytes, and outputs are taken from at most 16777216"),
        );
        check(OutputSource::Json(String::new()), &long, Err("outputs are taken from at most"));
    }

    #[test]
    fn a_default_stands_in_for_what_is_missing() {
        let output = |default| Output { source: OutputSource::Line(9), default, secret: false };
        let outputs = |default| BTreeMap::from([("x".to_owned(), output(default))]);
        let file = tempfile::NamedTempFile::new().unwrap();
        let nothing = Written { stdout: file.path(), root: Path::new("/"), folder: Path::new("/") };
        let found = capture(&outputs(Some(json!("d"))), nothing).unwrap();
        assert_eq!(found["x"].value, json!("d"));
        assert!(capture(&outputs(None), nothing).unwrap_err().starts_with("output `x`: "));
    }
}
