//! The valid traces of an execution: `trace_breakdown.csv`.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use sb_analysis::for_each_path;

use super::number::{count, duration, rounded};
use super::plain;
use super::records::{Fields, Records};
use super::requests::{BY_PATH, Requests, TraceId, places, trace_id};
use crate::execution::{ACTIVITIES, Traces, flag};
use crate::note::{BadRows, Note};
use sb_measurement::{NO_REQUEST, TypeId, UNKNOWN_REQUEST, counted, image_type, names_of};

/// Traces, and what joins them to their requests.
#[derive(Default)]
pub(super) struct TraceRows {
    pub(super) traces: Traces,
    ids: Vec<TraceId>,
    /// Ids that are not of the usual form, by the place of their trace.
    texts: Vec<(u32, Box<[u8]>)>,
    /// Of an application whose types depend on the path: the type of each trace by it.
    by_path: Vec<&'static str>,
    pub(super) notes: Vec<Note>,
    /// Whether every row is [`plain`].
    pub(super) is_plain: bool,
}

/// Columns that nothing here is made of: where they are there and hold what they should, the file is no damaged one.
const CHECKED: [&str; 3] = ["end_time", "services", "url"];

const COLUMNS: [&str; 8] = [
    "trace_id",
    "start_time",
    "duration",
    "num_cold_starts",
    "errors",
    "throttles",
    "faults",
    "longest_path_names",
];

/// Reads the rows. `by_path`: the names on the critical path decide on types.
pub(super) fn read(input: impl Read, path: &Path, by_path: bool) -> io::Result<TraceRows> {
    let mut all = TraceRows::default();
    let mut records = Records::new(input);
    let mut fields = Fields::default();
    let Some(header) = records.next()? else {
        all.notes.push(Note::warning(path, "the file is empty; analyse the traces again"));
        return Ok(all);
    };
    fields.split(header);
    let found = places(&fields, header, COLUMNS);
    let parts = places(&fields, header, ACTIVITIES);
    let ([id, start, took, cold, errors, throttles, faults, names], parts) = match (found, parts) {
        (Ok(found), Ok(parts)) => (found, parts),
        (Err(message), _) | (_, Err(message)) => {
            all.notes.push(Note::warning(path, message));
            return Ok(all);
        }
    };
    let columns = fields.len();
    let checked = places(&fields, header, CHECKED);
    all.is_plain = checked.is_ok() && plain::record(header, &fields);
    let [end, services, _] = checked.unwrap_or_default();
    let mut bad = BadRows::default();
    let mut starts = Vec::new();
    let traces = &mut all.traces;
    while let Some(record) = records.next()? {
        fields.split(record);
        if record.is_broken || fields.len() != columns {
            bad.add(record.line, || {
                if record.is_broken {
                    return "a quote is never closed, or the row is too long".to_owned();
                }
                format!("it has {} instead of {columns}", counted(fields.len(), "field"))
            });
            continue;
        }
        let raw = |place: usize| fields.raw(record, place);
        let mut wrong = |place: usize, column: &str, expected: &str| {
            bad.add(record.line, || {
                let text = String::from_utf8_lossy(&raw(place)[..raw(place).len().min(60)]).into_owned();
                format!("column `{column}`: `{text}` is not {expected}")
            });
        };
        let Some(begun) = rounded(raw(start), 6) else {
            wrong(start, "start_time", "a time in seconds");
            continue;
        };
        let Some(lasted) = duration(raw(took)) else {
            wrong(took, "duration", "a duration (H:MM:SS.ffffff)");
            continue;
        };
        let mut counts = [0; 4];
        let places = [cold, errors, throttles, faults];
        if let Some(at) = (0..4).find(|at| count(raw(places[*at])).map(|found| counts[*at] = found).is_none())
        {
            wrong(places[at], COLUMNS[3 + at], "a count");
            continue;
        }
        let mut micros = [0; ACTIVITIES.len()];
        let bad_part = (0..ACTIVITIES.len()).find(|at| match raw(parts[*at]) {
            b"" => false,
            text => duration(text).map(|found| micros[*at] = found).is_none(),
        });
        if let Some(at) = bad_part {
            wrong(parts[at], ACTIVITIES[at], "a duration (H:MM:SS.ffffff)");
            continue;
        }
        if traces.kinds.len() >= u32::MAX as usize {
            all.notes.push(Note::warning(path, "only the first 4,294,967,295 traces are read"));
            break;
        }
        let text = raw(id);
        all.ids.push(match trace_id(text) {
            Some(id) => id,
            None => {
                all.texts.push((traces.kinds.len() as u32, fields.text(record, id).as_ref().into()));
                [0; 2]
            }
        });
        all.is_plain = all.is_plain
            && plain::record(record, &fields)
            && [start, end].into_iter().all(|place| plain::number(raw(place)))
            && plain::duration(raw(took))
            && places.into_iter().all(|place| plain::count(raw(place)))
            && [services, names].into_iter().all(|place| plain::list(raw(place)))
            && parts.iter().all(|place| raw(*place).is_empty() || plain::duration(raw(*place)));
        starts.push(begun);
        traces.durations.push(lasted);
        for (part, micros) in traces.parts.iter_mut().zip(micros) {
            part.push(micros);
        }
        let [cold_starts, errors, throttles, faults] = counts;
        traces.cold_starts.push(cold_starts);
        let bit = |count: u32, bit: u8| if count > 0 { bit } else { 0 };
        traces
            .flags
            .push(bit(errors, flag::ERROR) | bit(throttles, flag::THROTTLE) | bit(faults, flag::FAULT));
        traces.kinds.push(0);
        if by_path {
            all.by_path.push(image_type(&names_of(&fields.text(record, names))));
        }
    }
    if let Some(first) = starts.iter().copied().min() {
        traces.first_start = Some(first);
        traces.starts = starts.into_iter().map(|start| start.saturating_sub(first)).collect();
    }
    traces.shrink();
    all.notes.extend(bad.into_notes(path));
    all.is_plain &= all.notes.is_empty();
    Ok(all)
}

/// What the traces themselves say of a critical path.
#[derive(Clone, Copy)]
pub(super) struct PathCounts {
    cold_starts: u64,
    functions: u32,
}

pub(super) type Paths = HashMap<TraceId, PathCounts, foldhash::fast::RandomState>;

/// Reads a file of traces: cold starts and functions on the critical path of each that can be explained.
pub(super) fn read_paths(file: &Path) -> io::Result<Paths> {
    let mut all = Paths::default();
    for_each_path(file, |id, cold_starts, functions| {
        if let (Some(id), Ok(functions)) = (trace_id(id.as_bytes()), u32::try_from(functions)) {
            all.insert(id, PathCounts { cold_starts, functions });
        }
    })?;
    Ok(all)
}

impl TraceRows {
    /// Takes over how many functions are on the paths. Not where the row counts other cold starts: it is of another path.
    pub(super) fn add_paths(&mut self, paths: &Paths) {
        let functions = self.ids.iter().zip(&self.traces.cold_starts).map(|(id, cold_starts)| {
            let known = paths.get(id).filter(|counts| counts.cold_starts == u64::from(*cold_starts));
            known.map_or(0, |counts| counts.functions)
        });
        self.traces.functions = functions.collect();
    }

    /// Gives each trace the type of its request. `as_published`: a trace counts once for each of its requests.
    pub(super) fn join(
        &mut self,
        requests: Option<&Requests>,
        as_published: bool,
        types: &mut Vec<Arc<str>>,
    ) {
        let mut number = |name: &str| -> TypeId {
            let known = types.iter().position(|known| &**known == name);
            let number = known.unwrap_or_else(|| {
                types.push(name.into());
                types.len() - 1
            });
            number as TypeId
        };
        let none = number(if as_published { NO_REQUEST } else { UNKNOWN_REQUEST });
        let by_path: Vec<(&str, TypeId)> = ["postFaceImage", "postNonFaceImage", "postImage"]
            .into_iter()
            .filter(|_| !self.by_path.is_empty())
            .map(|name| (name, number(name)))
            .collect();
        let resolve = |place: usize, kind: TypeId| match self.by_path.get(place) {
            Some(name) if kind == BY_PATH => {
                by_path.iter().find(|(known, _)| known == name).map_or(none, |(_, kind)| *kind)
            }
            _ if kind == BY_PATH => none,
            _ => kind,
        };
        let kinds = &mut self.traces.kinds;
        let again = &mut self.traces.again;
        let mut odd = self.texts.iter().peekable();
        for (place, id) in self.ids.iter().enumerate() {
            let found = match odd.next_if(|(at, _)| *at as usize == place) {
                Some((_, text)) => requests.and_then(|requests| requests.of_text(text)),
                None => requests.and_then(|requests| requests.of_trace(*id)),
            };
            let flags = &mut self.traces.flags[place];
            let Some(found) = found else {
                kinds[place] = none;
                if *flags != 0 {
                    *flags |= flag::FAILED;
                }
                continue;
            };
            if found.has_failed {
                *flags |= flag::FAILED;
            }
            kinds[place] = resolve(place, found.kind);
            if as_published {
                again.extend(found.further.iter().map(|kind| (place as u32, resolve(place, *kind))));
            }
        }
        self.ids = Vec::new();
        self.texts = Vec::new();
    }
}
