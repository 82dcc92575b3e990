//! Which tracer wrote a file of traces.

use super::json::{JsonError, Next, Reader};
use super::{shapes, xray};

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
const LINES: usize = 65;

impl Source {
    /// What the format is called in messages.
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "any format",
            Self::Xray => "X-Ray",
            Self::AppInsights => "Application Insights",
            Self::Otlp => "OpenTelemetry",
        }
    }

    /// The format of a file that starts with these bytes, unless one is given. A file that looks like nothing known is
    /// taken for X-Ray's.
    pub(crate) fn resolve(self, start: &[u8]) -> Self {
        self.find(start).unwrap_or(Self::Xray)
    }

    /// Like [`Self::resolve`]; none for what looks like nothing known.
    pub(crate) fn find(self, start: &[u8]) -> Option<Self> {
        if self != Self::Auto {
            return Some(self);
        }
        let mut lines = first_lines(start);
        let by_line = |line: &[u8]| of_document(&String::from_utf8_lossy(line));
        lines
            .next()
            .and_then(by_line)
            // One document may be spread over lines.
            .or_else(|| by_line(start))
            .or_else(|| lines.find_map(by_line))
    }

    /// The other format that a file which starts with these bytes has. A document of this format says that it is of this one:
    /// damage may make another look like something else.
    pub(crate) fn contradicted(self, start: &[u8]) -> Option<Self> {
        let found = Self::Auto.find(start).filter(|&found| self != Self::Auto && found != self)?;
        let is_own = |line: &[u8]| of_document(&String::from_utf8_lossy(line)) == Some(self);
        (!first_lines(start).any(is_own)).then_some(found)
    }
}

/// The first lines of a file that are not empty.
fn first_lines(start: &[u8]) -> impl Iterator<Item = &[u8]> {
    start.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).take(LINES)
}

/// The JSON values of a text, one after another. A damaged one takes what [`after_damaged`] says.
pub(crate) fn documents(text: &str) -> Vec<&str> {
    let mut rest = text.trim_start();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let mut reader = Reader::new(rest);
        let length = match reader.skip_value() {
            // What a comma or a bracket follows is a part of a document that is damaged before it.
            Ok(()) if !rest[reader.position()..].trim_start().starts_with([',', ']', '}']) => {
                reader.position()
            }
            _ => after_damaged(rest.as_bytes()).unwrap_or(rest.len()),
        };
        let (document, after) = rest.split_at(length);
        found.push(document);
        rest = after.trim_start();
    }
    found
}

/// How the documents of a text are laid out over lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Each has a line of its own.
    No,
    /// Over several lines, of which only the first and the last are not indented.
    Indented,
    /// Over several lines, of which any may be the first of a document.
    Flat,
}

impl Spread {
    /// By the first two lines that are not empty. If the first one ends within a value, and the second does not start one, values
    /// are spread over lines. (A damaged first line of an ordinary file is followed by an ordinary line.)
    pub(crate) fn of(first: &[u8], second: &[u8]) -> Self {
        let is_indented = second.starts_with(b" ") || second.starts_with(b"\t");
        let (first, second) = (first.trim_ascii(), second.trim_ascii());
        let starts_value = second.starts_with(b"{")
            && !first.starts_with(b"[")
            && !is_indented
            && !matches!(second, b"{")
            && !matches!(value_end(second, true), ValueEnd::Complete(length) if second[length..].trim_ascii().starts_with(b","));
        let is_open = first.starts_with(b"{") || first.starts_with(b"[");
        // What JSON may go on with.
        let goes_on = second.first().is_some_and(|byte| b"{}[]\",:-0123456789tfn".contains(byte));
        if !is_open || !goes_on || starts_value || matches!(value_end(first, true), ValueEnd::Complete(_)) {
            Self::No
        } else if is_indented {
            Self::Indented
        } else {
            Self::Flat
        }
    }
}

/// Where the next document may begin after a damaged one at the start of `bytes`; none where the rest may be of the damaged
/// one. A part of a document must not pass for one: a cut-off export would become a trace of a few of its spans.
pub(crate) fn after_damaged(bytes: &[u8]) -> Option<usize> {
    let first = memchr::memchr(b'\n', bytes)?;
    let mut lines = bytes[first + 1..].split(|&byte| byte == b'\n');
    let second = lines.find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    match Spread::of(&bytes[..first], second) {
        Spread::No => Some(first + 1),
        Spread::Indented => memchr::memmem::find(bytes, b"\n{").map(|end| end + 1),
        Spread::Flat => None,
    }
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
    if xray::id_alone(text).is_some() {
        return Some(Source::Xray);
    }
    let mut has_id = false;
    by_keys(text, &mut has_id).or(has_id.then_some(Source::Xray))
}

fn by_keys(text: &str, has_id: &mut bool) -> Option<Source> {
    let mut reader = Reader::new(text);
    while reader.next().ok()? == Next::Array {
        if !reader.first_element().ok()? {
            return None;
        }
    }
    let mut key = reader.first_key().ok()?;
    while let Some(name) = key {
        match &*name {
            // Spans that CloudWatch retrieved are of either kind.
            "Spans" if memchr::memmem::find(text.as_bytes(), b"startTimeUnixNano").is_some() => {
                return Some(Source::Otlp);
            }
            // Tempo lists traces without spans so, too.
            "traces" if memchr::memmem::find(text.as_bytes(), b"\"projectId\"").is_some() => {
                return Some(Source::Otlp);
            }
            "Segments" | "Spans" | "Duration" | "LimitExceeded" => return Some(Source::Xray),
            "Id" if reader.next().ok()? == Next::String => *has_id = reader.string().ok()?.starts_with("1-"),
            "tables" | "attrs" | "itemType" | "operation_Id" => return Some(Source::AppInsights),
            key if shapes::is_key(key) => return Some(Source::Otlp),
            _ => reader.skip_value().ok()?,
        }
        key = reader.next_key().ok()?;
    }
    None
}

/// Is this the start of a list of X-Ray's traces, as tools give them?
pub(crate) fn is_list_of_xray(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start));
    let mut reader = Reader::new(&text);
    match reader.next() {
        Ok(Next::Array) => of_document(&text) == Some(Source::Xray),
        Ok(Next::Object) => has_list_of_traces(&mut reader).unwrap_or(false),
        _ => false,
    }
}

fn has_list_of_traces(reader: &mut Reader<'_>) -> Result<bool, JsonError> {
    let mut key = reader.first_key()?;
    while let Some(name) = key {
        if name == "Traces" && reader.next()? == Next::Array {
            return Ok(true);
        }
        reader.skip_value()?;
        key = reader.next_key()?;
    }
    Ok(false)
}

/// A file that is of no known format, or of another one than was named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the format of {place} is {problem}: {what}; {way_out}")]
pub struct UnknownFormat {
    place: String,
    problem: &'static str,
    what: String,
    way_out: &'static str,
}

/// Formats that are known by a key, and what to do about them.
const OTHERS: [(&str, &str, &str); 4] = [
    ("traceEvents", "this is a trace of Chrome", KNOWN),
    (
        "TraceSummaries",
        "these are summaries of X-Ray, without the traces",
        "fetch the traces with `aws xray batch-get-traces --trace-ids ID…`",
    ),
    (
        "UnprocessedTraceIds",
        "this answer of X-Ray has no traces",
        "fetch them again with `aws xray batch-get-traces --trace-ids ID…`",
    ),
    (
        "RetrievalToken",
        "this is the token of a retrieval, without the traces",
        "fetch the traces with `aws xray list-retrieved-traces --retrieval-token TOKEN`",
    ),
];

const KNOWN: &str = "`sb` reads traces of X-Ray, Application Insights, OpenTelemetry (JSON, protobuf), Jaeger, Zipkin and Tempo; \
                     if it is one of these, name it with `--source`";

impl UnknownFormat {
    pub(crate) fn of(start: &[u8]) -> Self {
        let (place, problem) = ("the input".to_owned(), "unknown");
        let Ok(text) = std::str::from_utf8(&start[..start.len().min(1 << 12)]).or_else(|error| {
            let valid = error.valid_up_to();
            std::str::from_utf8(if valid > 1_000 { &start[..valid] } else { b"\xff" })
        }) else {
            let what = "this is no text, and no OTLP in protobuf that starts with a span".to_owned();
            return Self {
                place,
                problem,
                what,
                way_out: "export the traces as JSON, or as OTLP in protobuf",
            };
        };
        let keys = keys(text);
        if let Some((_, what, way_out)) =
            OTHERS.iter().find(|(key, ..)| keys.iter().any(|found| found == key))
        {
            return Self { place, problem, what: (*what).to_owned(), way_out };
        }
        let what = if keys.is_empty() {
            let line = text.trim_start().lines().next().unwrap_or_default();
            let short: String = line.chars().take(40).collect();
            format!("it starts with `{}`", short.escape_debug())
        } else {
            format!("this is JSON with the keys `{}`", keys.join("`, `"))
        };
        Self { place, problem, what, way_out: KNOWN }
    }

    /// What is `found`, where another format was `given`.
    pub(crate) fn other(given: Source, found: Source) -> Self {
        Self {
            place: "the input".to_owned(),
            problem: "another one than `--source` says",
            what: format!("it looks like {}, not like {}", found.name(), given.name()),
            way_out: "leave `--source` out, or name the file of that format",
        }
    }

    pub(crate) fn in_file(self, path: &std::path::Path) -> Self {
        Self { place: format!("`{}`", path.display()), ..self }
    }
}

/// The first keys of the first object.
fn keys(text: &str) -> Vec<String> {
    let mut reader = Reader::new(text);
    let mut found = Vec::new();
    while matches!(reader.next(), Ok(Next::Array)) && matches!(reader.first_element(), Ok(true)) {}
    let mut key = reader.first_key();
    while let Ok(Some(name)) = key {
        found.push(name.chars().take(40).collect());
        if found.len() == 5 || reader.skip_value().is_err() {
            break;
        }
        key = reader.next_key();
    }
    found
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
            (r#"[{"Id":"1-a","Segments":[]}]"#, Source::Xray),
            (r#"{"resource_logs":[]}"#, Source::Otlp),
            (r#"{"data":[{"traceID":"a"}]}"#, Source::Otlp),
            (r#"[[{"traceId":"a","id":"b"}]]"#, Source::Otlp),
            (r#"{"Id":"1-a","Spans":[{"Document":"{\"startTimeUnixNano\":1}"}]}"#, Source::Otlp),
            (r#"[{"itemType":"request"}]"#, Source::AppInsights),
        ] {
            assert_eq!(Source::Auto.resolve(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(Source::Otlp.resolve(b"{\"tables\":[]}"), Source::Otlp);
    }

    #[test]
    fn what_is_of_no_known_format_is_named() {
        for (text, what) in [
            (&b"{\"traceEvents\": []}"[..], "this is a trace of Chrome"),
            (b"{\"a\": 1, \"b\": {", "this is JSON with the keys `a`, `b`;"),
            (b"trace_id,start\n1,2\n", "it starts with `trace_id,start`;"),
            (b"\x0a\xff\xfe\x00", "this is no text, and no OTLP in protobuf"),
            (b"[7]", "it starts with `[7]`"),
        ] {
            assert_eq!(Source::Auto.find(text), None);
            let message = UnknownFormat::of(text).in_file("a.json".as_ref()).to_string();
            assert!(message.starts_with(&format!("the format of `a.json` is unknown: {what}")), "{message}");
        }
    }
}
