//! Which tracer wrote a file of traces.

use super::json::Reader;

/// A format of traces. Each span gets an origin, from which its activity follows ([`Activities`](crate::Activities)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The format that the first document looks like.
    #[default]
    Auto,
    /// AWS X-Ray, as BatchGetTraces returns traces: one a line. Origins are X-Ray's own, such as `AWS::Lambda::Function`.
    Xray,
    /// Azure Application Insights, results of queries over requests, dependencies and traces: one trace a line. Origins start
    /// with `Azure::`.
    AppInsights,
    /// OpenTelemetry, JSON exports of traces. Origins start with `OTel::`, after the kind of the span and the semantic
    /// conventions.
    Otlp,
}

/// Lines in which a document is looked for: the first ones may be damaged.
const LINES: usize = 64;

impl Source {
    /// The format of a file that starts with these bytes, unless one is given. A file that looks like nothing known is
    /// taken for X-Ray's.
    pub(crate) fn resolve(self, start: &[u8]) -> Self {
        if self != Self::Auto {
            return self;
        }
        let mut lines = start.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let by_line = |line: &[u8]| of_document(&String::from_utf8_lossy(line));
        lines
            .next()
            .and_then(by_line)
            // One document may be spread over lines.
            .or_else(|| by_line(start))
            .or_else(|| lines.take(LINES).find_map(by_line))
            .unwrap_or(Self::Xray)
    }
}

/// The JSON values of a text, one after another. Of a damaged one only its line is taken.
pub(crate) fn documents(text: &str) -> Vec<&str> {
    let mut rest = text.trim_start();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let mut reader = Reader::new(rest);
        let length = match reader.skip_value() {
            Ok(()) => reader.position(),
            Err(_) => rest.find('\n').unwrap_or(rest.len()),
        };
        let (document, after) = rest.split_at(length);
        found.push(document);
        rest = after.trim_start();
    }
    found
}

/// Where the JSON value at the start of a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueEnd {
    /// A JSON value of so many bytes.
    Complete(usize),
    /// The start of one.
    Incomplete,
    /// What no further text can complete.
    Damaged,
}

/// No literal or escape sequence (a surrogate pair is two) has more bytes.
const LONGEST_TOKEN: usize = 12;

/// Finds the end of the JSON value at the start of `bytes`. This separates traces that are spread over several lines.
/// `at_end` says that nothing follows the bytes.
pub(crate) fn value_end(bytes: &[u8], at_end: bool) -> ValueEnd {
    let (text, goes_on) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, !at_end),
        Err(error) => {
            let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            (valid, !at_end && error.error_len().is_none())
        }
    };
    let mut reader = Reader::new(text);
    match reader.skip_value() {
        Ok(()) => ValueEnd::Complete(reader.position()),
        // An escape sequence or a literal may be what is cut off.
        Err(error) if goes_on && error.at + LONGEST_TOKEN > text.len() => ValueEnd::Incomplete,
        Err(_) if bytes.is_empty() => ValueEnd::Incomplete,
        Err(_) => ValueEnd::Damaged,
    }
}

/// By the first key that only one tracer uses; the document need not be complete.
fn of_document(text: &str) -> Option<Source> {
    let mut reader = Reader::new(text);
    let mut key = reader.first_key().ok()?;
    while let Some(name) = key {
        match &*name {
            "Segments" | "Duration" | "LimitExceeded" => return Some(Source::Xray),
            "tables" | "attrs" => return Some(Source::AppInsights),
            "resourceSpans" | "batches" => return Some(Source::Otlp),
            _ => reader.skip_value().ok()?,
        }
        key = reader.next_key().ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_first_readable_document() {
        for (text, expected) in [
            (r#"{"Id":"1-a","Duration":1,"Segments":[]}"#, Source::Xray),
            ("{\n \"Id\": \"1-a\",\n \"Segments\": [", Source::Xray),
            (r#"{"tables":[{"name":"PrimaryResult","#, Source::AppInsights),
            ("\n\n{\"attrs\":{}}", Source::AppInsights),
            (r#"{"resourceSpans":[]}"#, Source::Otlp),
            ("{\n  \"resourceSpans\": [\n", Source::Otlp),
            ("{\"reso\n{\"resourceSpans\":[]}", Source::Otlp),
            ("\u{1}damaged\n{\"schema\":[1,{}],\"tables\":[]}", Source::AppInsights),
            ("", Source::Xray),
            ("[7]", Source::Xray),
        ] {
            assert_eq!(Source::Auto.resolve(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(Source::Otlp.resolve(b"{\"tables\":[]}"), Source::Otlp);
    }
}
