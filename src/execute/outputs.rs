//! What a step wrote, as outputs for later steps.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::Produced;
use sb_plan::benchmark::{Output, OutputSource};

/// Reads all outputs of a step, or says which one is missing and why.
pub(super) fn capture(
    outputs: &BTreeMap<String, Output>,
    stdout: &[u8],
    folder: &Path,
) -> Result<BTreeMap<String, Produced>, String> {
    let stdout = String::from_utf8_lossy(stdout);
    outputs
        .iter()
        .map(|(name, output)| {
            let value = match (read(&output.source, &stdout, folder), &output.default) {
                (Ok(value), _) => value,
                (Err(_), Some(default)) => default.clone(),
                (Err(problem), None) => return Err(format!("output `{name}`: {problem}")),
            };
            Ok((name.clone(), Produced { value, secret: output.secret }))
        })
        .collect()
}

/// The secrets among what a step wrote that failed: nobody gets them, and its log must not keep them.
pub(super) fn lost_secrets(outputs: &BTreeMap<String, Output>, stdout: &[u8], folder: &Path) -> Vec<Value> {
    let stdout = String::from_utf8_lossy(stdout);
    let secret = outputs.values().filter(|output| output.secret);
    secret.filter_map(|output| read(&output.source, &stdout, folder).ok()).collect()
}

fn read(source: &OutputSource, stdout: &str, folder: &Path) -> Result<Value, String> {
    match source {
        OutputSource::Json(pointer) => json(stdout, pointer, "standard output"),
        OutputSource::Regex(pattern) => {
            let regex = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
            let found = regex
                .captures(stdout)
                .ok_or_else(|| format!("nothing in standard output matches `{pattern}`"))?;
            Ok(found.get(1).or(found.get(0)).map_or("", |part| part.as_str()).into())
        }
        OutputSource::Line(number) => {
            let lines: Vec<_> = stdout.lines().collect();
            let index = if *number < 0 {
                lines.len().checked_sub(usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX))
            } else {
                usize::try_from(*number - 1).ok()
            };
            let line = index.and_then(|index| lines.get(index));
            line.map(|line| (*line).into())
                .ok_or_else(|| format!("standard output has {} lines, not line {number}", lines.len()))
        }
        OutputSource::Stdout => Ok(stdout.strip_suffix('\n').unwrap_or(stdout).into()),
        OutputSource::File { path, json: pointer } => {
            let path = folder.join(path);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
            match pointer {
                Some(pointer) => json(&text, pointer, &format!("`{}`", path.display())),
                None => Ok(text.strip_suffix('\n').unwrap_or(&text).into()),
            }
        }
    }
}

fn json(text: &str, pointer: &str, place: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{place} is not JSON: {error}"))?;
    // A query that finds nothing answers `null`, as the AWS CLI's `--query` does.
    let found = value.pointer(pointer).filter(|found| !found.is_null());
    found.cloned().ok_or_else(|| format!("the JSON in {place} has nothing at `{pointer}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(source: OutputSource, stdout: &str, expected: Result<Value, &str>) {
        let found = read(&source, stdout, Path::new("/nowhere"));
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
        check(OutputSource::Line(-1), "one\ntwo\n", Ok(json!("two")));
        check(OutputSource::Line(1), "one\ntwo\n", Ok(json!("one")));
        check(OutputSource::Line(3), "one\ntwo\n", Err("has 2 lines"));
        check(OutputSource::Line(-3), "one\ntwo\n", Err("has 2 lines"));
        check(OutputSource::Line(i64::MIN), "one\n", Err("has 1 lines"));
        check(OutputSource::Stdout, "one\ntwo\n", Ok(json!("one\ntwo")));
        check(OutputSource::File { path: "gone".into(), json: None }, "", Err("cannot read"));
    }

    #[test]
    fn a_default_stands_in_for_what_is_missing() {
        let output = |default| Output { source: OutputSource::Line(9), default, secret: false };
        let outputs = |default| BTreeMap::from([("x".to_owned(), output(default))]);
        let found = capture(&outputs(Some(json!("d"))), b"", Path::new("/")).unwrap();
        assert_eq!(found["x"].value, json!("d"));
        assert!(capture(&outputs(None), b"", Path::new("/")).unwrap_err().starts_with("output `x`: "));
    }
}
