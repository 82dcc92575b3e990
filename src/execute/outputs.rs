//! What a step wrote, as outputs for later steps.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::Produced;
use sb_plan::benchmark::{Output, OutputSource};
use sb_workload::document;

/// Outputs are taken from at most so many bytes of standard output or of a file: what is read whole stays in memory, and
/// a runner that runs out of it can clean up nothing.
const MOST: u64 = 16 << 20;

/// Reads all outputs of a step, or says which one is missing and why. `stdout` is the file that holds standard output.
pub(super) fn capture(
    outputs: &BTreeMap<String, Output>,
    stdout: &Path,
    folder: &Path,
) -> Result<BTreeMap<String, Produced>, String> {
    outputs
        .iter()
        .map(|(name, output)| {
            let value = match (read(&output.source, stdout, folder), &output.default) {
                (Ok(value), _) => value,
                (Err(_), Some(default)) => default.clone(),
                (Err(problem), None) => return Err(format!("output `{name}`: {problem}")),
            };
            Ok((name.clone(), Produced { value, secret: output.secret }))
        })
        .collect()
}

/// The secrets among what a step wrote that failed: nobody gets them, and its log must not keep them.
pub(super) fn lost_secrets(outputs: &BTreeMap<String, Output>, stdout: &Path, folder: &Path) -> Vec<Value> {
    let secret = outputs.values().filter(|output| output.secret);
    secret.filter_map(|output| read(&output.source, stdout, folder).ok()).collect()
}

fn read(source: &OutputSource, stdout: &Path, folder: &Path) -> Result<Value, String> {
    const STDOUT: &str = "standard output";
    match source {
        OutputSource::Json(pointer) => json(&Excerpt::start(stdout, STDOUT)?.whole()?, pointer, STDOUT),
        OutputSource::Regex(pattern) => {
            let regex = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
            let excerpt = Excerpt::start(stdout, STDOUT)?;
            let found = regex
                .captures(&excerpt.text)
                .ok_or_else(|| format!("nothing in {} matches `{pattern}`", excerpt.name()))?;
            // A group that has no part in a match has no value; without a group, all that matches is the value.
            let part = found.get(usize::from(found.len() > 1));
            part.map(|part| part.as_str().into())
                .ok_or_else(|| format!("the group of `{pattern}` matches nothing in {}", excerpt.name()))
        }
        OutputSource::Line(number) => {
            let excerpt =
                if *number < 0 { Excerpt::end(stdout, STDOUT)? } else { Excerpt::start(stdout, STDOUT)? };
            let lines: Vec<_> = excerpt.text.lines().collect();
            let index = if *number < 0 {
                lines.len().checked_sub(usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX))
            } else {
                usize::try_from(*number - 1).ok()
            };
            let line = index.and_then(|index| lines.get(index));
            line.map(|line| (*line).into())
                .ok_or_else(|| format!("{} has {} lines, not line {number}", excerpt.name(), lines.len()))
        }
        OutputSource::Stdout => Ok(without_end(Excerpt::start(stdout, STDOUT)?.whole()?).into()),
        OutputSource::File { path, json: pointer } => {
            let path = folder.join(path);
            let name = format!("`{}`", path.display());
            let text = Excerpt::start(&path, &name)?.whole()?;
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

impl<'a> Excerpt<'a> {
    fn start(path: &Path, place: &'a str) -> Result<Self, String> {
        Self::read(path, place, false).map_err(|error| format!("cannot read {place}: {error}"))
    }

    fn end(path: &Path, place: &'a str) -> Result<Self, String> {
        Self::read(path, place, true).map_err(|error| format!("cannot read {place}: {error}"))
    }

    fn read(path: &Path, place: &'a str, is_end: bool) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
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
    let found =
        document::value_at(text, pointer).map_err(|error| format!("{place} is not JSON: {error}"))?;
    // A query that finds nothing answers `null`, as the AWS CLI's `--query` does.
    found.filter(|found| !found.is_null()).ok_or_else(|| format!("the JSON in {place} has nothing at `{pointer}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(source: OutputSource, stdout: &str, expected: Result<Value, &str>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), stdout).unwrap();
        let found = read(&source, file.path(), Path::new("/nowhere"));
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
        check(OutputSource::Line(i64::MIN), "one\n", Err("has 1 lines"));
        check(OutputSource::Stdout, "one\ntwo\n", Ok(json!("one\ntwo")));
        check(OutputSource::File { path: "gone".into(), json: None }, "", Err("cannot read"));
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
        let found = capture(&outputs(Some(json!("d"))), Path::new("/dev/null"), Path::new("/")).unwrap();
        assert_eq!(found["x"].value, json!("d"));
        assert!(
            capture(&outputs(None), Path::new("/dev/null"), Path::new("/"))
                .unwrap_err()
                .starts_with("output `x`: ")
        );
    }
}
