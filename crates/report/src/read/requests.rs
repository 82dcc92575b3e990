//! The requests that a load sent: `k6_metrics.csv`, or `invocations.csv` of our own load generator.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use memchr::memmem::find;

use super::number::{fixed, rounded};
use super::plain;
use super::records::{Fields, Record, Records};
use crate::execution::{Sent, Times};
use crate::note::{BadRows, Note};
use sb_measurement::{COLUMNS, Outcome, RequestType, RequestTypes, TypeId, counted};

/// The id of a trace: 32 hexadecimal digits as two numbers, whichever way they are written.
pub(super) type TraceId = [u64; 2];

/// Marks a request whose type the critical path decides.
pub(super) const BY_PATH: TypeId = TypeId::MAX;

/// `1-<8 digits>-<24 digits>` or 32 digits; `None`: it is no such id.
pub(super) fn trace_id(text: &[u8]) -> Option<TraceId> {
    let nibbles = |text: &[u8], lower_only: bool| {
        text.iter().try_fold(0_u64, |value, byte| {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' if !lower_only => byte - b'A' + 10,
                _ => return None,
            };
            Some(value << 4 | u64::from(digit))
        })
    };
    match text {
        [b'1', b'-', rest @ ..] if rest.len() == 33 && rest[8] == b'-' => {
            let high = nibbles(&rest[..8], true)? << 32 | nibbles(&rest[9..17], true)?;
            Some([high, nibbles(&rest[17..], true)?])
        }
        _ if text.len() == 32 => Some([nibbles(&text[..16], false)?, nibbles(&text[16..], false)?]),
        _ => None,
    }
}

/// The requests of an execution, and which traces belong to them.
pub(super) struct Requests {
    pub(super) sent: Sent,
    /// Names of the types, by number.
    pub(super) types: Vec<Arc<str>>,
    by_id: HashMap<TraceId, Joined, foldhash::fast::RandomState>,
    /// Ids that are not of the usual form.
    by_text: HashMap<Box<[u8]>, Joined, foldhash::fast::RandomState>,
    /// Requests behind the first of their trace, by the place of that trace.
    further: HashMap<u32, Vec<TypeId>>,
    pub(super) notes: Vec<Note>,
    /// Whether every row is [`plain`].
    pub(super) is_plain: bool,
}

/// The type of the first request of a trace, and what became of its requests.
#[derive(Clone, Copy)]
struct Joined {
    kind: TypeId,
    /// The place of its entry of `further`, where it has further requests. The highest bit: a request failed.
    further: u32,
}

const FAILED: u32 = 1 << 31;
const NONE: u32 = FAILED - 1;

/// What is known of the requests of a trace.
pub(super) struct OfTrace<'r> {
    /// The type of the first.
    pub(super) kind: TypeId,
    /// The types of the others.
    pub(super) further: &'r [TypeId],
    /// Whether one failed.
    pub(super) has_failed: bool,
}

impl Requests {
    fn new() -> Self {
        Self {
            sent: Sent::default(),
            types: Vec::new(),
            by_id: HashMap::default(),
            by_text: HashMap::default(),
            further: HashMap::new(),
            notes: Vec::new(),
            is_plain: false,
        }
    }

    fn join(&mut self, id: &[u8], kind: TypeId, has_failed: bool) {
        if id.is_empty() {
            return;
        }
        let failed = if has_failed { FAILED } else { 0 };
        let fresh = Joined { kind, further: NONE | failed };
        let known = match trace_id(id) {
            Some(id) => match self.by_id.entry(id) {
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(fresh);
                    return;
                }
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            },
            None => match self.by_text.entry(id.into()) {
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(fresh);
                    return;
                }
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            },
        };
        if known.further & NONE == NONE {
            known.further = self.further.len() as u32 | known.further & FAILED;
        }
        known.further |= failed;
        self.further.entry(known.further & NONE).or_default().push(kind);
    }

    /// What is known of the requests of a trace; `None`: it has no request.
    pub(super) fn of_trace(&self, id: TraceId) -> Option<OfTrace<'_>> {
        self.by_id.get(&id).map(|joined| self.known(*joined))
    }

    /// As [`of_trace`](Self::of_trace), by an id that is not of the usual form.
    pub(super) fn of_text(&self, id: &[u8]) -> Option<OfTrace<'_>> {
        self.by_text.get(id).map(|joined| self.known(*joined))
    }

    fn known(&self, joined: Joined) -> OfTrace<'_> {
        OfTrace {
            kind: joined.kind,
            further: self.further.get(&(joined.further & NONE)).map_or(&[], Vec::as_slice),
            has_failed: joined.further & FAILED != 0,
        }
    }
}

/// Counts equal times that follow each other before they are looked up.
#[derive(Default)]
struct Counter {
    counts: BTreeMap<i64, u64>,
    last: i64,
    of_last: u64,
}

impl Counter {
    fn add(&mut self, time: i64) {
        if time != self.last {
            self.flush();
            self.last = time;
        }
        self.of_last += 1;
    }

    fn flush(&mut self) {
        if self.of_last > 0 {
            *self.counts.entry(self.last).or_default() += self.of_last;
            self.of_last = 0;
        }
    }

    fn into_times(mut self) -> Times {
        self.flush();
        Times::of_counts(self.counts)
    }
}

/// Where columns are in a header.
fn place(header: &Fields, record: Record<'_>, name: &str) -> Option<usize> {
    (0..header.len()).find(|place| header.raw(record, *place) == name.as_bytes())
}

/// Where the columns of a file are; the message names one that is missing.
pub(super) fn places<const N: usize>(
    header: &Fields,
    record: Record<'_>,
    names: [&str; N],
) -> Result<[usize; N], String> {
    let mut found = [0; N];
    for (found, name) in found.iter_mut().zip(names) {
        *found = place(header, record, name)
            .ok_or_else(|| format!("it has no column `{name}`, so it is not read; is the file complete?"))?;
    }
    Ok(found)
}

/// A file of requests whose header was read.
struct Opened<const N: usize> {
    records: Records<File>,
    /// The fields of the header, until a record is split.
    fields: Fields,
    /// Where the columns are that it must have.
    places: [usize; N],
    /// Where those are that it may have.
    optional: Vec<Option<usize>>,
    /// How many columns it has.
    columns: usize,
    /// Whether the header is [`plain`].
    is_plain: bool,
}

/// Opens a file of requests. Of one that is empty or lacks a column, what is wrong.
fn open<const N: usize>(
    path: &Path,
    names: [&str; N],
    optional: &[&str],
) -> io::Result<Result<Opened<N>, Note>> {
    let mut records = Records::new(sb_durable::open_in_folder(path)?);
    let mut fields = Fields::default();
    let Some(header) = records.next()? else { return Ok(Err(Note::warning(path, "the file is empty"))) };
    fields.split(header);
    let places = match places(&fields, header, names) {
        Ok(places) => places,
        Err(message) => return Ok(Err(Note::warning(path, message))),
    };
    let optional = optional.iter().map(|name| place(&fields, header, name)).collect();
    let columns = fields.len();
    let is_plain = plain::record(header, &fields);
    Ok(Ok(Opened { records, fields, places, optional, columns, is_plain }))
}

/// Reads `k6_metrics.csv`: its rows of `http_req_duration` are the requests.
pub(super) fn read_k6(path: &Path, mut types: RequestTypes, as_published: bool) -> io::Result<Requests> {
    const METRIC: &[u8] = b"http_req_duration";
    const DROPPED: &[u8] = b"dropped_iterations";
    let mut all = Requests::new();
    let names = ["metric_name", "timestamp", "metric_value", "method", "url", "extra_tags"];
    let opened = match open(path, names, &["name", "status", "expected_response"])? {
        Ok(opened) => opened,
        Err(note) => {
            all.notes.push(note);
            return Ok(all);
        }
    };
    let Opened { mut records, mut fields, places, optional, columns, mut is_plain } = opened;
    let [metric, time, value, method, url, tags] = places;
    let [name, status, expected] = [0, 1, 2].map(|at: usize| optional.get(at).copied().flatten());
    let mut times = Counter::default();
    let mut bad = BadRows::default();
    let mut without_latency = BadRows::default();
    let mut seen = LastTime::default();
    let mut kinds = Vec::new();
    while let Some(record) = records.next()? {
        if metric == 0 {
            // Most rows are other metrics, and are not split. The name may be in quotes, as every field may be.
            let bytes = record.bytes.strip_prefix(b"\"").unwrap_or(record.bytes);
            if !bytes.starts_with(METRIC) && !record.is_broken && !bytes.starts_with(DROPPED) {
                is_plain = is_plain && plain::unsplit(record, columns);
                continue;
            }
        }
        fields.split(record);
        is_plain = is_plain && plain::record(record, &fields) && fields.len() == columns;
        if fields.raw(record, metric) == DROPPED {
            is_plain = is_plain && plain::number(fields.raw(record, value));
        }
        if record.is_broken {
            bad.add(record.line, || "a quote is never closed, or the row is too long".to_owned());
            continue;
        }
        // The study's definitions do not know iterations that k6 dropped.
        let is_dropped = !as_published && fields.raw(record, metric) == DROPPED;
        if fields.raw(record, metric) != METRIC && !is_dropped {
            continue;
        }
        if fields.len() != columns {
            bad.add(record.line, || {
                format!("it has {} instead of {columns}", counted(fields.len(), "field"))
            });
            continue;
        }
        if is_dropped {
            let text = fields.raw(record, value);
            let count = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
            match count.filter(|count| count.is_finite() && *count >= 0.0) {
                Some(count) => all.sent.dropped = all.sent.dropped.saturating_add(count as u64),
                None => bad.add(record.line, || wrong("metric_value", text, "a number of iterations")),
            }
            continue;
        }
        let Some(at) = seen.seconds(fields.raw(record, time)) else {
            bad.add(record.line, || wrong("timestamp", fields.raw(record, time), "a time in seconds"));
            continue;
        };
        // The row alone says that a request was sent; without a time it has no latency.
        let nanos = rounded(fields.raw(record, value), 6).unwrap_or_else(|| {
            without_latency.add(record.line, || {
                wrong("metric_value", fields.raw(record, value), "a time in milliseconds")
            });
            NO_LATENCY
        });
        is_plain = is_plain && plain::number(fields.raw(record, value));
        let text = |place: Option<usize>| place.map_or(Cow::Borrowed(&b""[..]), |at| fields.text(record, at));
        let (method, address) = (fields.text(record, method), fields.text(record, url));
        let kind = match types.of_request(&method, &address, &text(name)) {
            RequestType::Known(kind) => kind,
            RequestType::ByPath => BY_PATH,
        };
        times.add(at);
        kinds.push(kind);
        all.sent.latency_nanos.push(nanos);
        let has_failed = has_failed(&text(expected), &text(status));
        all.sent.failed.push(has_failed);
        let tags = fields.text(record, tags);
        let id = if as_published { id_as_published(&tags) } else { id_of_tags(&tags).into() };
        all.join(&id, kind, has_failed);
    }
    all.sent.not_sent = all.sent.dropped;
    all.sent.times = times.into_times();
    all.sent.kinds = kinds;
    all.types = types.into_names();
    all.notes.extend(bad.into_notes(path));
    all.notes.extend(without_latency.into_notes_of(path, "the request counts as sent, without a latency"));
    all.is_plain = is_plain && all.notes.is_empty();
    Ok(all)
}

fn wrong(column: &str, text: &[u8], expected: &str) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(60)]);
    format!("column `{column}`: `{text}` is not {expected}")
}

/// k6 says whether an answer was as expected; otherwise its status does.
fn has_failed(expected: &[u8], status: &[u8]) -> bool {
    match expected {
        b"true" => false,
        b"false" => true,
        _ => !matches!(status, [b'1'..=b'3', _, _] | b""),
    }
}

/// Times repeat from row to row.
#[derive(Default)]
struct LastTime {
    text: Vec<u8>,
    micros: i64,
}

impl LastTime {
    /// Seconds as microseconds.
    fn seconds(&mut self, text: &[u8]) -> Option<i64> {
        if self.text != text || text.is_empty() {
            self.micros = rounded(text, 6)?;
            self.text.clear();
            self.text.extend_from_slice(text);
        }
        Some(self.micros)
    }
}

/// Whatever is left when the text before the id is taken out.
fn id_as_published(tags: &[u8]) -> Cow<'_, [u8]> {
    const BEFORE: &[u8] = b"xray_header=Root=";
    match find(tags, BEFORE) {
        None => tags.into(),
        Some(0) => tags[BEFORE.len()..].into(),
        Some(at) => [&tags[..at], &tags[at + BEFORE.len()..]].concat().into(),
    }
}

/// The id in the tag `xray_header`, or in `trace_id`.
fn id_of_tags(tags: &[u8]) -> &[u8] {
    let mut id: &[u8] = b"";
    for tag in tags.split(|byte| *byte == b'&') {
        if let Some(header) = tag.strip_prefix(b"xray_header=") {
            let root = header.split(|byte| *byte == b';').find_map(|part| part.strip_prefix(b"Root="));
            return root.unwrap_or(header);
        }
        if let Some(found) = tag.strip_prefix(b"trace_id=") {
            id = found;
        }
    }
    id
}

/// Reads our `invocations.csv`. Requests that never left this machine are counted apart.
pub(super) fn read_invocations(path: &Path, mut types: RequestTypes) -> io::Result<Requests> {
    let mut all = Requests::new();
    let names = ["request", "trace_id", "planned", "sent", "answered", "outcome"];
    let checked = ["invocation", "latency_ms", "latency_from_planned_ms", "status"];
    let opened = match open(path, names, &checked)? {
        Ok(opened) => opened,
        Err(note) => {
            all.notes.push(note);
            return Ok(all);
        }
    };
    let Opened { mut records, mut fields, places, optional, columns, mut is_plain } = opened;
    let [request, id, planned, sent, answered, outcome] = places;
    let checked = [0, 1, 2, 3].map(|at: usize| optional.get(at).copied().flatten());
    // They stand where our load generator writes them.
    is_plain = is_plain
        && columns == COLUMNS.len()
        && places == [1, 2, 3, 4, 5, 9]
        && checked == [Some(0), Some(6), Some(7), Some(8)];
    let mut times = Vec::new();
    let mut due = Vec::new();
    let mut bad = BadRows::default();
    while let Some(record) = records.next()? {
        if !record.is_complete {
            all.notes.push(Note::warning(
                path,
                "its last line was cut off: the load was killed; the line is left out",
            ));
            break;
        }
        fields.split(record);
        if record.is_broken || fields.len() != columns {
            bad.add(record.line, || {
                format!("it has {} instead of {columns}", counted(fields.len(), "field"))
            });
            continue;
        }
        let time = |place: usize| match fields.raw(record, place) {
            b"" => Ok(None),
            text => fixed(text, 6).map(Some).ok_or(place),
        };
        let (Ok(planned), Ok(sent), Ok(answered)) = (time(planned), time(sent), time(answered)) else {
            bad.add(record.line, || "a time is not in seconds".to_owned());
            continue;
        };
        is_plain = is_plain
            && plain::record(record, &fields)
            && plain_invocation(record, &fields, [planned, sent, answered]);
        due.extend(planned);
        let outcome = fields.raw(record, outcome);
        let Some(sent) = sent else {
            if outcome == b"dropped" {
                all.sent.dropped += 1;
            }
            all.sent.not_sent += 1;
            continue;
        };
        let name = fields.text(record, request);
        let name = String::from_utf8_lossy(&name);
        let kind = types.id(sb_measurement::of_cell(&name));
        times.push(answered.unwrap_or(sent));
        all.sent.kinds.push(kind);
        match answered {
            Some(answered) => all.sent.latency_nanos.push(answered.saturating_sub(sent).saturating_mul(1000)),
            None => {
                all.sent.unanswered += 1;
                all.sent.latency_nanos.push(NO_LATENCY);
            }
        }
        all.sent.failed.push(outcome != b"ok");
        all.join(fields.raw(record, id), kind, outcome != b"ok");
    }
    all.sent.times = Times::of_all(times);
    all.sent.planned = (!due.is_empty()).then(|| Times::of_all(due));
    all.types = types.into_names();
    all.notes.extend(bad.into_notes(path));
    all.is_plain = is_plain && all.notes.is_empty();
    Ok(all)
}

/// Whether the columns of a row of ours hold what they should, and agree. The times are those of the row.
fn plain_invocation(
    record: Record<'_>,
    fields: &Fields,
    [planned, sent, answered]: [Option<i64>; 3],
) -> bool {
    let [number, _, _, times @ .., latency, from_planned, status, outcome] =
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|place| fields.raw(record, place));
    let since = |begin: Option<i64>| answered?.checked_sub(begin?);
    plain::count(number)
        && times.iter().all(|time| time.is_empty() || plain::time(time))
        && (sent.is_some() || answered.is_none())
        && plain::millis(latency, since(sent))
        && plain::millis(from_planned, since(planned))
        && matches!(status, [] | [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'])
        && Outcome::ALL.iter().any(|known| known.name().as_bytes() == outcome)
}

/// In the place of the latency of a request that was not answered.
pub(crate) const NO_LATENCY: i64 = i64::MIN;

/// How many records a file has, its header apart.
pub(super) fn count_rows(input: impl Read) -> io::Result<u64> {
    let mut records = Records::new(input);
    let mut count = 0_u64;
    while records.next()?.is_some() {
        count += 1;
    }
    Ok(count.saturating_sub(1))
}

impl Requests {
    /// Once all traces are joined.
    pub(super) fn forget_ids(&mut self) {
        (self.by_id, self.by_text, self.further) = Default::default();
    }
}
