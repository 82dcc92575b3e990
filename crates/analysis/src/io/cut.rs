//! Whether a file of documents in JSON ends within one: it was cut off while it was written or copied.

use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::de::IgnoredAny;

use super::input::{Input, STANDARD_INPUT, with_path};
use crate::read::LONGEST;

/// Whether a file ends within a document of JSON. The file is read once more, so this is for files of which something could
/// not be read.
///
/// False where it cannot be told: of the standard input, of another format, and where the last document is damaged otherwise.
///
/// # Errors
/// The file cannot be read.
pub fn ends_within_document(path: &Path) -> io::Result<bool> {
    if path == Path::new(STANDARD_INPUT) {
        return Ok(false);
    }
    let input = BufReader::with_capacity(1 << 16, Input::open(path)?);
    is_cut(input).map_err(|error| with_path(&error, "read", path))
}

fn is_cut(mut input: impl BufRead) -> io::Result<bool> {
    let mut documents = serde_json::Deserializer::from_reader(&mut input).into_iter::<IgnoredAny>();
    match documents.find_map(Result::err) {
        None => return Ok(false),
        Some(error) if error.is_eof() => return Ok(true),
        Some(error) if error.is_io() => return Err(error.into()),
        Some(_) => {}
    }
    // A document before the last one is damaged: the last line may be a document by itself.
    let mut last = Vec::new();
    let mut is_over = false;
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        for &byte in bytes {
            if is_over && !byte.is_ascii_whitespace() {
                last.clear();
                is_over = false;
            }
            is_over |= byte == b'\n';
            if !is_over && last.len() <= LONGEST {
                last.push(byte);
            }
        }
        let length = bytes.len();
        input.consume(length);
    }
    let starts_document = last.trim_ascii_start().starts_with(b"{");
    Ok(starts_document && serde_json::from_slice::<IgnoredAny>(&last).is_err_and(|error| error.is_eof()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(is_cut(text.as_bytes()).unwrap(), expected, "{text}");
    }

    #[test]
    fn a_file_that_ends_within_a_document_is_cut() {
        for whole in
            ["", "\n", "{\"a\": [1, \"}\"]}\n", "{}\n{}\n\n", "[{\n\"a\": 1\n}]", "\"1-a\"", "no JSON"]
        {
            check(whole, false);
        }
        for cut in ["{\"a\": [1, ", "{}\n{\"a\": \"x", "{\n  \"a\": {\n", "[{}, {}", "{}\n{\"a\": tr"] {
            check(cut, true);
        }
        // After a damaged line, the last one counts; and what is damaged otherwise was not cut.
        check("{\"a\" 1}\n{}\n{\"a\": [\n\n", true);
        check("{\"a\": \"x\n{}\n{\"a\": [1", true);
        check("{\"a\" 1}\n{}\n", false);
        check("{}\n{\"a\" 1}", false);
    }
}
