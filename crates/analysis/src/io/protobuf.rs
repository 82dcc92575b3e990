//! Files of OTLP in protobuf, as lines of its JSON: requests one after the other (`ExportTraceServiceRequest`, which is also
//! `TracesData`), with or without their lengths before them. However long the file is, no more is held than what one resource
//! sends in one request.
//!
//! | before each request | written by |
//! |---|---|
//! | nothing | a request that was kept as it came; several of them in a row are one |
//! | four bytes, the length with the highest byte first | the file exporter of OpenTelemetry's Collector; with `compression: zstd`, each request is compressed |
//! | the length as a number of variable length | `writeDelimitedTo`, and others like it |

use std::io::{self, BufReader, Read};

use crate::read::otlp_protobuf::to_json;

/// Bytes of spans that become one line.
const LINE: usize = 1 << 20;

/// The most bytes that one resource may send in one request, and that a compressed request may have.
const LONGEST: u64 = 256 << 20;

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Of a request and of a message within it: the field that leads to spans.
const RESOURCE_SPANS: u64 = 1;
const SCOPE_SPANS: u64 = 2;
const SPANS: u64 = 2;

/// Bytes whose length was written before them.
const BYTES: u64 = 2;

/// What stands before each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    FourBytes,
    Variable,
}

/// The framing of a file that starts with these bytes; none for what is no OTLP in protobuf with spans.
pub(super) fn framing(start: &[u8]) -> Option<Framing> {
    let four_bytes = |rest: &mut &[u8]| {
        let (length, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        Some(u64::from(u32::from_be_bytes(*length)))
    };
    if leads_to_span(start, &WAY) == Some(true) {
        return Some(Framing::Nothing);
    }
    let four_bytes = || are_requests(start, four_bytes).then_some(Framing::FourBytes);
    let variable = || are_requests(start, varint).then_some(Framing::Variable);
    // A length of four bytes starts with a zero below 16 MiB, and one of variable length only if it is zero.
    if start.first() == Some(&0) { four_bytes().or_else(variable) } else { variable().or_else(four_bytes) }
}

/// Do these bytes start with requests, before each of which `length` reads its length? The first ones may have no spans.
fn are_requests(mut start: &[u8], length: impl Fn(&mut &[u8]) -> Option<u64>) -> bool {
    while let Some(length) = length(&mut start) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (request, rest) = start.split_at(length.min(start.len()));
        match leads_to_span(request, &WAY) {
            _ if request.starts_with(&ZSTD) => return true,
            Some(is_span) => return is_span,
            None => start = rest,
        }
    }
    false
}

/// A field of a message.
struct Field<'b> {
    number: u64,
    kind: u64,
    /// Cut off where the message is.
    content: &'b [u8],
    is_whole: bool,
}

/// The next field; none at the end, and where there is none of a kind that OTLP has.
fn field<'b>(bytes: &mut &'b [u8]) -> Option<Field<'b>> {
    let key = varint(bytes)?;
    let (number, kind) = (key >> 3, key & 7);
    let length = match kind {
        0 => {
            let before = *bytes;
            varint(bytes)?;
            return Some(Field {
                number,
                kind,
                content: &before[..before.len() - bytes.len()],
                is_whole: true,
            });
        }
        1 => 8,
        BYTES => usize::try_from(varint(bytes)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (content, rest) = bytes.split_at(length.min(bytes.len()));
    *bytes = rest;
    Some(Field { number, kind, content, is_whole: content.len() == length })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a field that holds bytes.
fn push_field(number: u64, content: &[u8], out: &mut Vec<u8>) {
    push_varint(number << 3 | BYTES, out);
    push_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// The fields on the way from a request to a span, and those that may stand beside them.
const WAY: [(u64, &[u64]); 3] = [(RESOURCE_SPANS, &[]), (SCOPE_SPANS, &[1, 3, 1000]), (SPANS, &[1, 3])];

/// Is there a span where a request has one? Metrics and logs have something else there (false). None where there is nothing: a
/// resource or a scope may have no spans.
fn leads_to_span(mut message: &[u8], way: &[(u64, &[u64])]) -> Option<bool> {
    let [(wanted, others), further @ ..] = way else { return Some(is_span(message)) };
    while !message.is_empty() {
        match field(&mut message) {
            Some(found) if found.number == *wanted && found.kind == BYTES => {
                match leads_to_span(found.content, further) {
                    None => {}
                    found => return found,
                }
            }
            Some(found) if found.kind == BYTES && others.contains(&found.number) => {}
            _ => return Some(false),
        }
    }
    None
}

/// Is this a span, or the start of one? Its trace has an id of 16 bytes. Fields come in any order, each of its own kind.
fn is_span(mut message: &[u8]) -> bool {
    /// Numbers of 8 bytes, of 4, and of variable length.
    const NUMBERS: [(u64, &[u64]); 3] = [(1, &[7, 8]), (5, &[16]), (0, &[6, 10, 12, 14])];
    while let Some(found) = field(&mut message) {
        if found.number == 1 {
            return found.kind == BYTES && found.is_whole && found.content.len() == 16;
        }
        let number = NUMBERS.iter().find(|(_, fields)| fields.contains(&found.number));
        if found.number <= 16 && found.kind != number.map_or(BYTES, |(kind, _)| *kind) {
            return false;
        }
    }
    false
}

/// The requests of a file as lines of JSON.
pub(super) struct Requests<R> {
    input: BufReader<R>,
    framing: Framing,
    /// Bytes of the file that were read.
    at: u64,
    lines: Vec<u8>,
    /// How much of the lines was given away.
    given: usize,
}

impl<R: Read> Requests<R> {
    pub(super) fn new(input: R, framing: Framing) -> Self {
        let input = BufReader::with_capacity(1 << 16, input);
        Self { input, framing, at: 0, lines: Vec::new(), given: 0 }
    }

    /// Makes the lines of what comes next; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        match self.framing {
            Framing::Nothing => self.read_field(),
            Framing::FourBytes => {
                let mut length = [0; 4];
                match self.fill(&mut length)? {
                    0 => return Ok(false),
                    4 => self.read_request(u64::from(u32::from_be_bytes(length))),
                    _ => Err(self.cut_off()),
                }
                .map(|()| true)
            }
            Framing::Variable => match self.read_varint()? {
                Some(length) => self.read_request(length).map(|()| true),
                None => Ok(false),
            },
        }
    }

    /// Reads a field of a request that goes on to the end of the file.
    fn read_field(&mut self) -> io::Result<bool> {
        let Some(key) = self.read_varint()? else { return Ok(false) };
        let length = match key & 7 {
            0 => return self.read_varint()?.map(|_| true).ok_or_else(|| self.cut_off()),
            1 => 8,
            BYTES => self.read_varint()?.ok_or_else(|| self.cut_off())?,
            5 => 4,
            kind => {
                return Err(
                    self.damaged(&format!("field {} is of kind {kind}, which there is not", key >> 3))
                );
            }
        };
        let content = self.take(length)?;
        if (key >> 3, key & 7) == (RESOURCE_SPANS, BYTES) {
            add_lines(&content, &mut self.lines);
        }
        Ok(true)
    }

    /// Reads a request of so many bytes, compressed or not.
    fn read_request(&mut self, length: u64) -> io::Result<()> {
        let mut request = self.take(length)?;
        if request.starts_with(&ZSTD) {
            let mut plain = Vec::new();
            let decoder = zstd::stream::read::Decoder::new(&*request)?;
            let read = decoder.take(LONGEST + 1).read_to_end(&mut plain);
            if let Err(error) = read {
                return Err(self.damaged(&format!("a request cannot be decompressed: {error}")));
            }
            if plain.len() as u64 > LONGEST {
                return Err(self.too_long());
            }
            request = plain;
        }
        let mut rest = &*request;
        while !rest.is_empty() {
            match field(&mut rest) {
                Some(Field { is_whole: false, .. }) | None => {
                    add_lost(
                        "a request ends within a field, or has one of a kind that there is not",
                        &mut self.lines,
                    );
                    break;
                }
                Some(found) if (found.number, found.kind) == (RESOURCE_SPANS, BYTES) => {
                    add_lines(found.content, &mut self.lines);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Reads as many bytes as there are room and file; returns how many.
    fn fill(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut used = 0;
        while used < room.len() {
            match self.input.read(&mut room[used..]) {
                Ok(0) => break,
                Ok(more) => used += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.at += used as u64;
        Ok(used)
    }

    /// None at the end of the file.
    fn read_varint(&mut self) -> io::Result<Option<u64>> {
        let mut bytes = [0; 10];
        for place in 0..bytes.len() {
            match self.fill(&mut bytes[place..=place])? {
                0 if place == 0 => return Ok(None),
                0 => return Err(self.cut_off()),
                _ if bytes[place] < 0x80 => return Ok(varint(&mut &bytes[..=place])),
                _ => {}
            }
        }
        Err(self.damaged("a number has more than ten bytes"))
    }

    fn take(&mut self, length: u64) -> io::Result<Vec<u8>> {
        if length > LONGEST {
            return Err(self.too_long());
        }
        let mut content = Vec::new();
        let found = self.input.by_ref().take(length).read_to_end(&mut content)?;
        self.at += found as u64;
        if (found as u64) < length { Err(self.cut_off()) } else { Ok(content) }
    }

    fn cut_off(&self) -> io::Error {
        let message = format!("OTLP in protobuf ends within a message, at byte {}", self.at);
        io::Error::new(io::ErrorKind::UnexpectedEof, message)
    }

    fn damaged(&self, what: &str) -> io::Error {
        let message = format!("OTLP in protobuf is damaged before byte {}: {what}", self.at);
        io::Error::new(io::ErrorKind::InvalidData, message)
    }

    fn too_long(&self) -> io::Error {
        let message = format!(
            "before byte {}, OTLP in protobuf has a message of more than {} MiB; export smaller batches",
            self.at,
            LONGEST >> 20
        );
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}

impl<R: Read> Read for Requests<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.lines.len() {
            self.lines.clear();
            self.given = 0;
            if !self.advance()? {
                return Ok(0);
            }
        }
        let length = out.len().min(self.lines.len() - self.given);
        out[..length].copy_from_slice(&self.lines[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

/// Appends the spans of a resource, in lines of a bounded number of spans: a request with very many of them would not be read
/// as a whole.
fn add_lines(resource_spans: &[u8], lines: &mut Vec<u8>) {
    let mut around = Vec::new();
    let mut scopes = Vec::new();
    let mut rest = resource_spans;
    while !rest.is_empty() {
        match field(&mut rest) {
            Some(Field { is_whole: false, .. }) | None => {
                return add_lost("the spans of a resource end within a field", lines);
            }
            Some(found) if (found.number, found.kind) == (SCOPE_SPANS, BYTES) => scopes.push(found.content),
            // The resource itself may come after its spans.
            Some(found) if found.kind == BYTES => push_field(found.number, found.content, &mut around),
            Some(_) => {}
        }
    }
    for scope in scopes {
        let mut spans = Vec::new();
        let mut rest = scope;
        while !rest.is_empty() {
            match field(&mut rest) {
                Some(Field { is_whole: false, .. }) | None => {
                    add_line(&around, &spans, lines);
                    return add_lost("the spans of a scope end within a field", lines);
                }
                Some(found) if (found.number, found.kind) == (SPANS, BYTES) => {
                    push_field(SPANS, found.content, &mut spans);
                    if spans.len() > LINE {
                        add_line(&around, &std::mem::take(&mut spans), lines);
                    }
                }
                Some(_) => {}
            }
        }
        add_line(&around, &spans, lines);
    }
}

/// Appends a line of the fields of a resource and of spans.
fn add_line(around: &[u8], spans: &[u8], lines: &mut Vec<u8>) {
    if spans.is_empty() {
        return;
    }
    let mut resource_spans = around.to_vec();
    push_field(SCOPE_SPANS, spans, &mut resource_spans);
    let mut request = Vec::new();
    push_field(RESOURCE_SPANS, &resource_spans, &mut request);
    match to_json(request.into()) {
        Ok(json) => {
            lines.extend_from_slice(json.as_bytes());
            lines.push(b'\n');
        }
        Err(error) => add_lost(&error.to_string(), lines),
    }
}

/// Appends a line that the reader of documents refuses with this reason.
fn add_lost(reason: &str, lines: &mut Vec<u8>) {
    let line = serde_json::json!({ "resourceSpans": reason });
    lines.extend_from_slice(line.to_string().as_bytes());
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: [u8; 16] = [0xab; 16];

    fn of(number: u64, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_field(number, content, &mut out);
        out
    }

    fn time(number: u8, at: u64) -> Vec<u8> {
        [&[number << 3 | 1][..], &at.to_le_bytes()].concat()
    }

    fn span(id: u64, parent: Option<u64>) -> Vec<u8> {
        let parent = parent.map(|parent| of(4, &parent.to_be_bytes())).unwrap_or_default();
        let start = 1_700_000_000_000_000_000 + id * 1_000_000;
        let times = [time(7, start), time(8, 1_700_000_001_000_000_000 - id * 1_000_000)].concat();
        [of(1, &TRACE), of(2, &id.to_be_bytes()), parent, of(5, format!("s{id}").as_bytes()), times].concat()
    }

    fn request(ids: std::ops::Range<u64>) -> Vec<u8> {
        let spans: Vec<u8> = ids.flat_map(|id| of(2, &span(id, id.checked_sub(1)))).collect();
        let service = [of(1, b"service.name"), of(2, &of(1, b"web"))].concat();
        // The resource comes last, which protobuf allows.
        of(1, &[of(2, &[of(1, &of(1, b"library")), spans].concat()), of(1, &of(1, &service))].concat())
    }

    fn framed(framing: Framing, requests: &[Vec<u8>]) -> Vec<u8> {
        let frame = |request: &Vec<u8>| {
            let mut out = Vec::new();
            match framing {
                Framing::Nothing => {}
                Framing::FourBytes => out.extend(u32::try_from(request.len()).unwrap().to_be_bytes()),
                Framing::Variable => push_varint(request.len() as u64, &mut out),
            }
            out.extend_from_slice(request);
            out
        };
        requests.iter().flat_map(frame).collect()
    }

    fn lines_of(file: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        Requests::new(file, framing(file).unwrap()).read_to_string(&mut text)?;
        Ok(text)
    }

    /// How many spans the one trace of these lines has, and what could not be read.
    fn spans_of(lines: &str) -> (usize, Vec<String>) {
        let (mut spans, mut lost) = (0, Vec::new());
        for recorded in crate::read::otlp::read(lines) {
            match recorded {
                Ok(recorded) => spans += recorded.spans.len(),
                Err(rejected) => lost.push(rejected.reason.message()),
            }
        }
        (spans, lost)
    }

    #[test]
    fn requests_are_read_however_they_are_framed() {
        let requests = [request(0..3), request(3..4), request(4..10)];
        for kind in [Framing::Nothing, Framing::FourBytes, Framing::Variable] {
            let file = framed(kind, &requests);
            assert_eq!(framing(&file), Some(kind));
            // From the start of a file alone, too.
            assert_eq!(framing(&file[..80]), Some(kind));
            assert_eq!(spans_of(&lines_of(&file).unwrap()), (10, Vec::new()), "{kind:?}");
        }
        let compressed = requests.map(|request| zstd::encode_all(&*request, 1).unwrap());
        let file = framed(Framing::FourBytes, &compressed);
        assert_eq!(spans_of(&lines_of(&file).unwrap()), (10, Vec::new()));
    }

    #[test]
    fn what_comes_before_the_first_span_does_not_matter() {
        let without_spans = [
            Vec::new(),
            of(1, &[]),
            of(1, &[of(1, &of(1, b"web")), of(2, &of(1, &of(1, b"library")))].concat()),
        ];
        // The ids come last.
        let late =
            [of(5, b"s3"), time(7, 1), time(8, 2), vec![6 << 3, 2], of(2, &[7; 8]), of(1, &TRACE)].concat();
        let late = of(1, &of(2, &of(2, &late)));
        for first in without_spans {
            for kind in [Framing::Nothing, Framing::FourBytes, Framing::Variable] {
                for (second, count) in [(request(0..3), 3), (late.clone(), 1)] {
                    let file = framed(kind, &[first.clone(), second]);
                    // Without lengths, an empty request is nothing.
                    assert_eq!(framing(&file), Some(kind), "{first:?}");
                    assert_eq!(spans_of(&lines_of(&file).unwrap()), (count, Vec::new()), "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn a_file_is_known_by_its_content_and_analysed() {
        let file = framed(Framing::FourBytes, &[request(0..3), request(3..4)]);
        for file in [file.clone(), zstd::encode_all(&*file, 1).unwrap()] {
            let mut rows = Vec::new();
            let input = io::Cursor::new(file);
            let summary = crate::io::analyze::analyze(input, &mut rows, io::sink(), &|_| {}).unwrap();
            assert_eq!((summary.valid, summary.invalid), (1, 0));
            assert!(String::from_utf8(rows).unwrap().contains("abababab"));
        }
    }

    #[test]
    fn many_spans_of_one_resource_are_read_in_parts() {
        let file = request(0..40_000);
        let lines = lines_of(&file).unwrap();
        assert!(lines.lines().count() > 2, "{}", lines.lines().count());
        assert!(lines.lines().all(|line| line.contains(r#""stringValue":"web""#)));
        assert_eq!(spans_of(&lines), (40_000, Vec::new()));
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_an_error_or_touches_its_own_request() {
        let requests = [request(0..3), request(3..4)];
        for kind in [Framing::Nothing, Framing::FourBytes, Framing::Variable] {
            let file = framed(kind, &requests);
            let error = lines_of(&file[..file.len() - 5]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{kind:?}: {error}");
        }
        // A name that is a number, in a request of its own.
        let damaged = of(1, &of(2, &of(2, &[of(1, &TRACE), vec![5 << 3, 1]].concat())));
        let file = framed(Framing::FourBytes, &[request(0..3), damaged, request(3..4)]);
        let (spans, lost) = spans_of(&lines_of(&file).unwrap());
        assert_eq!((spans, lost.len()), (4, 1));
        assert!(lost[0].contains("not an ExportTraceServiceRequest in protobuf"), "{lost:?}");
    }

    #[test]
    fn other_files_are_no_otlp_in_protobuf() {
        let with_first_field = |first: Vec<u8>| of(1, &of(2, &of(2, &first)));
        let metric = with_first_field([of(1, b"name"), of(2, b"what it is")].concat());
        let log = with_first_field(time(1, 7));
        let late_log = with_first_field([vec![2 << 3, 9], of(5, b"text"), of(9, &TRACE)].concat());
        let zeros = [0; 64];
        for other in [
            &b"\n\n\n\n{\n"[..],
            b"{}",
            b"",
            b"\n",
            b"\n{\n  \"resourceSpans\": [",
            &metric,
            &log,
            &late_log,
            &zeros,
        ] {
            assert_eq!(framing(other), None, "{other:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_of_any_kind_are_read_without_a_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), place in 0_usize..300, kind in 0..3,
        ) {
            let kind = [Framing::Nothing, Framing::FourBytes, Framing::Variable][kind as usize];
            let mut file = framed(kind, &[request(0..2)]);
            file.splice(place.min(file.len())..(place + bytes.len() / 2).min(file.len()).max(place.min(file.len())), bytes);
            let mut text = Vec::new();
            let _ = Requests::new(&*file, kind).read_to_end(&mut text);
            framing(&file);
        }
    }
}
