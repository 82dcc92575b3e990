//! Reads AWS X-Ray traces as BatchGetTraces returns them: one object per trace, in which each segment is a JSON
//! document inside of a JSON string.

use std::borrow::Cow;

use super::json::{Decoded, JsonError, Next, Notation, Reader};
use crate::invalid::{Invalid, Rejected};
use crate::span::{Flags, Link, Parent, Precision, Recorded, Span, settle};

/// The origin whose span carries the URL of the request.
const GATEWAY: &str = "AWS::ApiGateway::Stage";

/// Room for what is read of one trace, to be used again for the next.
#[derive(Debug, Default)]
pub struct Documents {
    text: Decoded,
    /// Where each document ends in the text.
    ends: Vec<usize>,
    open: Vec<OpenSpan>,
}

/// The id of a trace of which only the start is there; none where the id comes later.
pub(crate) fn id_in_start(start: &[u8], documents: &mut Documents) -> Option<String> {
    let valid = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
    };
    record(valid, documents).err().and_then(|rejected| rejected.id)
}

/// Reads the spans of one trace: `{"Id": …, "Duration": seconds, "Segments": [{"Document": "…"}]}`. Other keys are passed over. A
/// text that is only an id stands for a trace that X-Ray did not deliver.
pub(crate) fn record<'a>(text: &'a str, documents: &'a mut Documents) -> Result<Recorded<'a>, Rejected> {
    // Where anything is out of the ordinary, all documents are decoded first; that also finds what is wrong.
    match record_embedded(text, documents) {
        Some(recorded) => Ok(recorded),
        None => record_decoded(text, documents),
    }
}

fn record_embedded<'a>(text: &'a str, documents: &mut Documents) -> Option<Recorded<'a>> {
    let mut found =
        SegmentSpans { spans: Vec::new(), links: Vec::new(), defect: None, open: &mut documents.open };
    let (mut reader, mut id) = (Reader::new(text), None);
    let (duration, limit_exceeded) = read_envelope(&mut reader, &mut id, &mut found).ok()?;
    reader.end().ok()?;
    let SegmentSpans { spans, links, defect, .. } = found;
    let (spans, links) = settle(spans, links);
    let precision = Precision::XRay;
    defect.is_none().then_some(Recorded { id: id?, duration, spans, links, precision, limit_exceeded })
}

/// The id in a text that is nothing else.
pub(super) fn id_alone(text: &str) -> Option<String> {
    let mut reader = Reader::new(text);
    if reader.next().ok()? != Next::String {
        return None;
    }
    let id = reader.string().ok()?.into_owned();
    (id.starts_with("1-") && reader.end().is_ok()).then_some(id)
}

fn record_decoded<'a>(text: &'a str, documents: &'a mut Documents) -> Result<Recorded<'a>, Rejected> {
    if let Some(id) = id_alone(text) {
        return Err(Rejected { id: Some(id), reason: Invalid::Unprocessed });
    }
    let (mut reader, mut id) = (Reader::new(text), None);
    let rejected = |id: Option<Cow<'_, str>>, error: JsonError| Rejected {
        id: id.map(Cow::into_owned),
        reason: malformed("trace", &error),
    };
    let (duration, limit_exceeded) = match read_envelope(&mut reader, &mut id, documents) {
        Ok(envelope) => envelope,
        Err(error) => return Err(rejected(id, error)),
    };
    let Some(id) = id else { return Err(Rejected { id: None, reason: missing("trace", "Id") }) };
    match reader.end() {
        Ok(()) => {
            let recorded = read_documents(id, duration, documents)?;
            Ok(Recorded { limit_exceeded, ..recorded })
        }
        Err(error) => Err(rejected(Some(id), error)),
    }
}

/// The trace's id, the traces that its segments link to as their causes, and those that they name as caused by them
/// (`aws.xray.reserved.reference_type` is `child`), each once; none where it cannot be read.
pub fn linked_traces(text: &str, documents: &mut Documents) -> Option<(String, Vec<String>, Vec<String>)> {
    let (mut causes, mut caused): (Vec<String>, Vec<String>) = Default::default();
    if memchr::memmem::find(text.as_bytes(), b"links").is_none() {
        let (mut reader, mut id) = (Reader::new(text), None);
        read_envelope(&mut reader, &mut id, &mut Unread).ok()?;
        return Some((id?.into_owned(), causes, caused));
    }
    let Recorded { id, links, .. } = record(text, documents).ok()?;
    for link in links {
        let traces = if link.to_child { &mut caused } else { &mut causes };
        if link.trace != id && traces.iter().all(|known| *known != link.trace) {
            traces.push(link.trace.into_owned());
        }
    }
    Some((id.into_owned(), causes, caused))
}

/// What becomes of the documents of a trace while its envelope is read.
trait Segments<'a> {
    /// A list of segments starts, and replaces what was before.
    fn start(&mut self);

    fn document(&mut self, reader: &mut Reader<'a>) -> Result<(), JsonError>;
}

/// Decodes them, to be read when all are known.
impl Segments<'_> for Documents {
    fn start(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn document(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        if reader.next()? == Next::Object {
            let from = reader.position();
            reader.skip_value()?;
            self.text.push(&reader.text[from..reader.position()]);
        } else {
            reader.string_into(&mut self.text)?;
        }
        self.ends.push(self.text.len());
        Ok(())
    }
}

/// Passes over them.
struct Unread;

impl<'a> Segments<'a> for Unread {
    fn start(&mut self) {}

    fn document(&mut self, reader: &mut Reader<'a>) -> Result<(), JsonError> {
        reader.skip_value()
    }
}

/// Reads their spans.
struct SegmentSpans<'a, 'open> {
    spans: Vec<Span<'a>>,
    links: Vec<Link<'a>>,
    /// The first field that is missing.
    defect: Option<Invalid>,
    open: &'open mut Vec<OpenSpan>,
}

impl<'a> Segments<'a> for SegmentSpans<'a, '_> {
    fn start(&mut self) {
        self.spans.clear();
        self.links.clear();
        self.defect = None;
    }

    fn document(&mut self, reader: &mut Reader<'a>) -> Result<(), JsonError> {
        // The console shows documents as what they are, not within strings.
        if reader.next()? == Next::Object {
            return self.read(reader);
        }
        Reader::within_string(reader, |reader| self.read(reader))
    }
}

impl<'a> SegmentSpans<'a, '_> {
    /// Reads a segment's document: the segment, then its subsegments depth first.
    fn read<N: Notation>(&mut self, reader: &mut Reader<'a, N>) -> Result<(), JsonError> {
        self.open.clear();
        let Self { spans, links, defect, open } = self;
        Document { reader, spans, links, defect, open }.read()
    }
}

/// Returns the duration, and whether X-Ray left out parts of the trace.
fn read_envelope<'a>(
    reader: &mut Reader<'a>,
    id: &mut Option<Cow<'a, str>>,
    segments: &mut impl Segments<'a>,
) -> Result<(Option<f64>, bool), JsonError> {
    segments.start();
    let (mut duration, mut limit_exceeded) = (None, false);
    let mut key = reader.first_key()?;
    while let Some(name) = key {
        match &*name {
            "Id" => *id = Some(reader.string()?),
            "Duration" => duration = optional(reader, Reader::number)?,
            "LimitExceeded" => limit_exceeded = flag(reader)?,
            "Segments" | "Spans" => read_segments(reader, segments)?,
            _ => reader.skip_value()?,
        }
        key = reader.next_key()?;
    }
    Ok((duration, limit_exceeded))
}

fn read_segments<'a>(reader: &mut Reader<'a>, segments: &mut impl Segments<'a>) -> Result<(), JsonError> {
    segments.start();
    let mut more = reader.first_element()?;
    while more {
        let at = reader.position();
        reader.next()?;
        let start = reader.at;
        let (mut found, mut is_document) = (false, false);
        let mut key = reader.first_key()?;
        while let Some(name) = key {
            if name == "Document" {
                if found {
                    return Err(JsonError { what: "a second Document in a segment", at: reader.position() });
                }
                found = true;
                segments.document(reader)?;
            } else {
                is_document |= name == "start_time";
                reader.skip_value()?;
            }
            key = reader.next_key()?;
        }
        if !found && is_document {
            reader.at = start;
            segments.document(reader)?;
            found = true;
        }
        if !found {
            return Err(JsonError { what: "a segment without Document", at });
        }
        more = reader.next_element()?;
    }
    Ok(())
}

fn read_documents<'a>(
    id: Cow<'a, str>,
    duration: Option<f64>,
    documents: &'a mut Documents,
) -> Result<Recorded<'a>, Rejected> {
    let rejected = |reason, id: Cow<'_, str>| Rejected { id: Some(id.into_owned()), reason };
    let mut found =
        SegmentSpans { spans: Vec::new(), links: Vec::new(), defect: None, open: &mut documents.open };
    let mut from = 0;
    for &to in &documents.ends {
        let text = match documents.text.text(from, to) {
            Ok(text) => text,
            // Decoding text gives text; this is for what the types cannot express.
            Err(error) => return Err(rejected(Invalid::Malformed { detail: error.to_string() }, id)),
        };
        let mut reader = Reader::new(text);
        if let Err(error) = found.read(&mut reader).and_then(|()| reader.end()) {
            return Err(rejected(malformed("segment document", &error), id));
        }
        from = to;
    }
    let SegmentSpans { spans, links, defect, .. } = found;
    let (spans, links) = settle(spans, links);
    // A span in progress lacks its end, so that reason goes before a missing field.
    let unfinished = duration.is_none() || spans.iter().any(|span| span.flags.in_progress);
    if let Some(reason) = defect.filter(|_| !unfinished) {
        return Err(rejected(reason, id));
    }
    let precision = Precision::XRay;
    Ok(Recorded { id, duration, spans, links, precision, limit_exceeded: false })
}

/// A segment's document that is being read.
struct Document<'a, 'out, N> {
    reader: &'out mut Reader<'a, N>,
    spans: &'out mut Vec<Span<'a>>,
    links: &'out mut Vec<Link<'a>>,
    /// The first field that is missing.
    defect: &'out mut Option<Invalid>,
    /// The spans whose objects are open, and for each whether its id, name, start and end were found.
    open: &'out mut Vec<OpenSpan>,
}

#[derive(Clone, Copy, Debug)]
struct OpenSpan {
    place: usize,
    has_id: bool,
    has_name: bool,
    has_subsegments: bool,
}

impl<'a, N: Notation> Document<'a, '_, N> {
    fn read(&mut self) -> Result<(), JsonError> {
        let mut key = self.enter()?;
        loop {
            // Within the innermost open span; an inner loop per object would cost call stack per level.
            while let Some(name) = key {
                if name == "subsegments" && self.reader.next()? != Next::Null {
                    if std::mem::replace(&mut self.innermost()?.has_subsegments, true) {
                        return Err(self.error("a second list of subsegments"));
                    }
                    if self.reader.first_element()? {
                        key = self.enter()?;
                        continue;
                    }
                } else {
                    self.field(&name)?;
                }
                key = self.reader.next_key()?;
            }
            self.leave()?;
            if self.open.is_empty() {
                return Ok(());
            }
            key = if self.reader.next_element()? { self.enter()? } else { self.reader.next_key()? };
        }
    }

    /// Starts a span as a part of the innermost open one.
    fn enter(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        let key = self.reader.first_key()?;
        let parent = self.open.last().map_or(Parent::None, |open| Parent::Enclosing(open.place));
        self.open.push(OpenSpan {
            place: self.spans.len(),
            has_id: false,
            has_name: false,
            has_subsegments: false,
        });
        self.spans.push(Span {
            id: Cow::Borrowed(""),
            name: Cow::Borrowed(""),
            origin: None,
            url: None,
            start: f64::NAN,
            end: f64::NAN,
            flags: Flags::default(),
            parent,
        });
        Ok(key)
    }

    fn leave(&mut self) -> Result<(), JsonError> {
        let open = *self.innermost()?;
        self.open.pop();
        let span = &mut self.spans[open.place];
        if span.origin.as_deref() != Some(GATEWAY) {
            span.url = None;
        }
        let missing_field = [
            ("id", open.has_id),
            ("name", open.has_name),
            ("start_time", !span.start.is_nan()),
            ("end_time", !span.end.is_nan() || span.flags.in_progress),
        ]
        .into_iter()
        .find(|(_, found)| !found);
        if let Some((field, _)) = missing_field
            && self.defect.is_none()
        {
            *self.defect = Some(missing(&format!("span {}", span.id), field));
        }
        Ok(())
    }

    fn field(&mut self, name: &str) -> Result<(), JsonError> {
        let place = self.innermost()?.place;
        let is_segment = self.open.len() == 1;
        let reader = &mut *self.reader;
        let span = &mut self.spans[place];
        match name {
            "id" => {
                span.id = reader.string()?;
                self.innermost()?.has_id = true;
            }
            "name" => {
                span.name = reader.string()?;
                self.innermost()?.has_name = true;
            }
            "start_time" => span.start = optional(reader, Reader::number)?.unwrap_or(f64::NAN),
            "end_time" => span.end = optional(reader, Reader::number)?.unwrap_or(f64::NAN),
            "parent_id" if is_segment => {
                span.parent = optional(reader, Reader::string)?.map_or(Parent::None, Parent::Id);
            }
            "origin" => span.origin = optional(reader, Reader::string)?,
            "error" => span.flags.error = flag(reader)?,
            "fault" => span.flags.fault = flag(reader)?,
            "throttle" => span.flags.throttle = flag(reader)?,
            "in_progress" => span.flags.in_progress = flag(reader)?,
            "http" => span.url = read_url(reader)?,
            "links" => read_links(reader, place, is_segment, self.links)?,
            _ => reader.skip_value()?,
        }
        Ok(())
    }

    fn innermost(&mut self) -> Result<&mut OpenSpan, JsonError> {
        let at = self.reader.position();
        self.open.last_mut().ok_or(JsonError { what: "a field outside of a segment", at })
    }

    fn error(&self, what: &'static str) -> JsonError {
        JsonError { what, at: self.reader.position() }
    }
}

/// `http.request.url`; anything of another shape is no URL.
fn read_url<'a, N: Notation>(reader: &mut Reader<'a, N>) -> Result<Option<Cow<'a, str>>, JsonError> {
    let mut url = None;
    in_object(reader, |reader, key| {
        if key != "request" {
            return reader.skip_value();
        }
        in_object(reader, |reader, key| {
            if key == "url" && reader.next()? == Next::String {
                url = Some(reader.string()?);
                Ok(())
            } else {
                reader.skip_value()
            }
        })
    })?;
    Ok(url)
}

/// `[{"trace_id": …, "id": …, "attributes": {…}}]`: what a segment says of the spans that caused it; the span may be missing.
/// Of a subsegment, links count only to what it caused. Anything of another shape is no link.
fn read_links<'a, N: Notation>(
    reader: &mut Reader<'a, N>,
    from: usize,
    is_segment: bool,
    links: &mut Vec<Link<'a>>,
) -> Result<(), JsonError> {
    if reader.next()? != Next::Array {
        return reader.skip_value();
    }
    let mut more = reader.first_element()?;
    while more {
        let (mut trace, mut span, mut to_child) = (None, None, false);
        in_object(reader, |reader, key| {
            if key == "attributes" {
                return in_object(reader, |reader, key| {
                    if key == "aws.xray.reserved.reference_type" && reader.next()? == Next::String {
                        to_child = reader.string()? == "child";
                        return Ok(());
                    }
                    reader.skip_value()
                });
            }
            let field = match key {
                "trace_id" => &mut trace,
                "id" => &mut span,
                _ => return reader.skip_value(),
            };
            if reader.next()? == Next::String {
                *field = Some(reader.string()?);
                return Ok(());
            }
            reader.skip_value()
        })?;
        if let Some(trace) = trace.filter(|_| is_segment || to_child) {
            links.push(Link { from, to_child, trace, span: span.unwrap_or_default() });
        }
        more = reader.next_element()?;
    }
    Ok(())
}

/// Calls `field` for each key of the next value, which must then read the value; passes over what is no object.
fn in_object<'a, N: Notation>(
    reader: &mut Reader<'a, N>,
    mut field: impl FnMut(&mut Reader<'a, N>, &str) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    if reader.next()? != Next::Object {
        return reader.skip_value();
    }
    let mut key = reader.first_key()?;
    while let Some(name) = key {
        field(reader, &name)?;
        key = reader.next_key()?;
    }
    Ok(())
}

/// The study's analyzer takes any value for a statement: zero, an empty text, list or object, `false` and `null` deny it, and
/// all others affirm it, the text `"false"` included.
fn flag<N: Notation>(reader: &mut Reader<'_, N>) -> Result<bool, JsonError> {
    match reader.next()? {
        Next::Boolean => reader.boolean(),
        Next::Null => reader.null().map(|()| false),
        Next::Number => Ok(reader.number()? != 0.0),
        Next::String => Ok(!reader.string()?.is_empty()),
        Next::Array => {
            let is_filled = reader.first_element()?;
            let mut more = is_filled;
            while more {
                reader.skip_value()?;
                more = reader.next_element()?;
            }
            Ok(is_filled)
        }
        Next::Object => {
            let mut is_filled = false;
            in_object(reader, |reader, _| {
                is_filled = true;
                reader.skip_value()
            })?;
            Ok(is_filled)
        }
    }
}

/// A value that may be `null`.
fn optional<'a, N: Notation, T>(
    reader: &mut Reader<'a, N>,
    read: impl FnOnce(&mut Reader<'a, N>) -> Result<T, JsonError>,
) -> Result<Option<T>, JsonError> {
    if reader.next()? == Next::Null {
        reader.null()?;
        Ok(None)
    } else {
        read(reader).map(Some)
    }
}

fn malformed(what: &str, error: &JsonError) -> Invalid {
    Invalid::Malformed { detail: format!("{what}: {error}") }
}

fn missing(what: &str, field: &str) -> Invalid {
    Invalid::Malformed { detail: format!("{what} has no `{field}`") }
}
