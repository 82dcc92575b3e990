//! Datasets in which the time goes down the file: Azure Functions 2021, IBM Code Engine, Huawei 2023 and 2025.
//!
//! Azure 2021: `AzureFunctionsInvocationTrace2021.md` in <https://github.com/Azure/AzurePublicDataset>. Huawei:
//! <https://github.com/sir-lab/data-release>. IBM: <https://github.com/ubc-cirrus-lab/ibm-cloud-code-engine-traces>.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use foldhash::fast::RandomState;

use crate::azure2019::shortened;
use crate::cells::{cells, line_of, quoted};
use crate::dataset::{Format, Options};
use crate::decimal::{ATTO, seconds};
use crate::error::DatasetError;
use crate::files::Files;
use crate::lines::{Lines, whole};
use crate::model::{DayTotals, FunctionTotals, Key, Notes, Totals, Window};

/// Takes what a reader finds.
trait Sink {
    /// Whether anything of this day matters.
    fn wants(&self, day: u32) -> bool;
    /// A number for the key; none if the key does not matter.
    fn id(&mut self, key: &str) -> Option<u32>;
    /// So many invocations in a minute, 1 to 1440, of a day.
    fn add(&mut self, id: u32, day: u32, minute: u16, count: u64);
    /// An invocation that begins in such a minute, with its start since the first day in 10⁻¹⁸ s and its duration.
    fn begins(&mut self, id: u32, day: u32, minute: u16, _: i128, _: i128) {
        self.add(id, day, minute, 1);
    }
    /// A row, or an invocation that has one.
    fn row(&mut self, day: u32);
    fn notes(&mut self) -> &mut Notes;
}

/// Sums by day.
#[derive(Default)]
struct ByDay {
    days: Option<std::ops::RangeInclusive<u32>>,
    ids: HashMap<Box<str>, u32, RandomState>,
    sums: HashMap<(u32, u32), u64, RandomState>,
    rows: BTreeMap<u32, u64>,
    notes: Notes,
}

impl Sink for ByDay {
    fn wants(&self, day: u32) -> bool {
        self.days.as_ref().is_none_or(|days| days.contains(&day))
    }

    fn id(&mut self, key: &str) -> Option<u32> {
        if let Some(id) = self.ids.get(key) {
            return Some(*id);
        }
        let id = self.ids.len() as u32;
        self.ids.insert(key.into(), id);
        Some(id)
    }

    fn add(&mut self, id: u32, day: u32, _: u16, count: u64) {
        *self.sums.entry((id, day)).or_default() += count;
    }

    fn row(&mut self, day: u32) {
        *self.rows.entry(day).or_default() += 1;
    }

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}

/// The minutes of some functions in a window.
struct InWindow<'a> {
    window: Window,
    ids: HashMap<&'a str, u32, RandomState>,
    counts: Vec<Vec<u64>>,
    listed: BTreeSet<(u32, u32)>,
    notes: Notes,
}

impl Sink for InWindow<'_> {
    fn wants(&self, day: u32) -> bool {
        (self.window.day..=self.window.last_day()).contains(&day)
    }

    fn id(&mut self, key: &str) -> Option<u32> {
        self.ids.get(key).copied()
    }

    fn add(&mut self, id: u32, day: u32, minute: u16, count: u64) {
        self.listed.insert((id, day));
        if let Some(place) = self.window.place_of(day, minute) {
            self.counts[id as usize][place] += count;
        }
    }

    fn row(&mut self, _: u32) {}

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}

/// The single invocations of some functions in a window.
struct Single<'a> {
    window: Window,
    keys: std::collections::HashSet<&'a str, RandomState>,
    found: Vec<(i128, i128)>,
    notes: Notes,
}

impl Sink for Single<'_> {
    fn wants(&self, day: u32) -> bool {
        (self.window.day..=self.window.last_day()).contains(&day)
    }

    fn id(&mut self, key: &str) -> Option<u32> {
        self.keys.contains(key).then_some(0)
    }

    fn add(&mut self, _: u32, _: u32, _: u16, _: u64) {}

    fn begins(&mut self, _: u32, day: u32, minute: u16, start: i128, duration: i128) {
        if self.window.place_of(day, minute).is_some() {
            self.found.push((start, duration));
        }
    }

    fn row(&mut self, _: u32) {}

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}

/// Sums of the durations of functions in a window.
struct Durations<'a> {
    window: Window,
    ids: HashMap<&'a str, u32, RandomState>,
    sums: Vec<(i128, u64)>,
    notes: Notes,
}

impl Sink for Durations<'_> {
    fn wants(&self, day: u32) -> bool {
        (self.window.day..=self.window.last_day()).contains(&day)
    }

    fn id(&mut self, key: &str) -> Option<u32> {
        self.ids.get(key).copied()
    }

    fn add(&mut self, _: u32, _: u32, _: u16, _: u64) {}

    fn begins(&mut self, id: u32, day: u32, minute: u16, _: i128, duration: i128) {
        if self.window.place_of(day, minute).is_some() {
            let (sum, count) = &mut self.sums[id as usize];
            *sum = sum.saturating_add(duration);
            *count += 1;
        }
    }

    fn row(&mut self, _: u32) {}

    fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }
}

/// Mean durations of functions in a window, in seconds; none for a function without invocations there.
pub(crate) fn durations(
    files: &Files,
    names: &[String],
    format: Format,
    keys: &[Key],
    window: Window,
) -> Result<Vec<Option<f64>>, DatasetError> {
    let mut sink = Durations {
        window,
        ids: (0..).zip(keys).map(|(id, key)| (key.as_str(), id)).collect(),
        sums: vec![(0, 0); keys.len()],
        notes: Notes::default(),
    };
    read(files, names, format, &mut sink)?;
    let mean = |(sum, count): (i128, u64)| (count > 0).then(|| sum as f64 / ATTO as f64 / count as f64);
    Ok(sink.sums.into_iter().map(mean).collect())
}

/// Start and duration of each invocation in a window, in seconds since the window begins, by start.
pub(crate) fn invocations_of(
    files: &Files,
    names: &[String],
    format: Format,
    keys: &[Key],
    window: Window,
) -> Result<Vec<(f64, f64)>, DatasetError> {
    let mut sink = Single {
        window,
        keys: keys.iter().map(Key::as_str).collect(),
        found: Vec::new(),
        notes: Notes::default(),
    };
    read(files, names, format, &mut sink)?;
    sink.found.sort_unstable();
    let first_day = first_day(format);
    let minutes = i128::from(window.day - first_day.min(window.day)) * 1440 + i128::from(window.first) - 1;
    let begin = minutes * 60 * ATTO;
    // An invocation that began before the trace is counted in its first minute, and is sent at once.
    let since = |start: i128| (start - begin).max(0) as f64 / ATTO as f64;
    Ok(sink.found.iter().map(|(start, duration)| (since(*start), *duration as f64 / ATTO as f64)).collect())
}

/// The number of the first day.
fn first_day(format: Format) -> u32 {
    u32::from(!matches!(format, Format::HuaweiCounts | Format::HuaweiRequests))
}

pub(crate) fn totals(
    files: &Files,
    names: &[String],
    format: Format,
    options: &Options,
) -> Result<Totals, DatasetError> {
    let mut sums = ByDay { days: options.days.clone(), ..ByDay::default() };
    read(files, names, format, &mut sums)?;
    let numbers: Vec<u32> = sums.rows.keys().copied().collect();
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else {
        return Err(DatasetError::files(
            format!("`{}` has no invocation on the days that are read", files.path().display()),
            "name other days with --days",
        ));
    };
    let range = options.days.clone().unwrap_or(first..=last);
    sums.notes.missing_days = range.filter(|day| !sums.rows.contains_key(day)).collect();
    let places: BTreeMap<u32, usize> = numbers.iter().enumerate().map(|(place, day)| (*day, place)).collect();
    let mut days: Vec<DayTotals> =
        sums.rows.iter().map(|(day, rows)| DayTotals { day: *day, rows: *rows, invocations: 0 }).collect();
    let mut per_day: Vec<Box<[Option<u64>]>> = vec![vec![None; days.len()].into(); sums.ids.len()];
    for ((id, day), count) in sums.sums {
        let place = places[&day];
        per_day[id as usize][place] = Some(count);
        days[place].invocations += count;
    }
    // A column of a file may have no number on any of the days.
    let mut functions: Vec<FunctionTotals> = sums
        .ids
        .into_iter()
        .map(|(key, id)| FunctionTotals {
            key: Key::of(key),
            per_day: std::mem::take(&mut per_day[id as usize]),
            repeated: Vec::new(),
        })
        .filter(|function| function.per_day.iter().any(Option::is_some))
        .collect();
    functions.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(Totals { days, functions, notes: sums.notes })
}

pub(crate) fn minutes(
    files: &Files,
    names: &[String],
    format: Format,
    _: &Options,
    keys: &[Key],
    window: Window,
) -> Result<Vec<Option<Vec<u64>>>, DatasetError> {
    let mut sink = InWindow {
        window,
        ids: (0..).zip(keys).map(|(id, key)| (key.as_str(), id)).collect(),
        counts: vec![vec![0; window.minutes as usize]; keys.len()],
        listed: BTreeSet::new(),
        notes: Notes::default(),
    };
    read(files, names, format, &mut sink)?;
    let listed = sink.listed;
    let is_listed = |id| (window.day..=window.last_day()).all(|day| listed.contains(&(id, day)));
    Ok((0..).zip(sink.counts).map(|(id, counts)| is_listed(id).then_some(counts)).collect())
}

fn read(
    files: &Files,
    names: &[String],
    format: Format,
    sink: &mut (dyn Sink + Send),
) -> Result<(), DatasetError> {
    let shared = Mutex::new((sink, BTreeMap::<u32, String>::new()));
    files.each(names, 1, &|_, name, reader| {
        let mut shared = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (sink, days) = &mut *shared;
        let shown = files.shown(name);
        let mut lines = Lines::new(reader, &shown);
        match format {
            Format::HuaweiCounts => counts(&mut lines, *sink, days),
            Format::HuaweiRequests => requests(&mut lines, *sink),
            Format::Azure2021 | Format::Starts | Format::Azure2019 => {
                invocations(&mut lines, format == Format::Azure2021, *sink)
            }
        }
    })
}

const ANEW: &str = "get the file anew from the dataset, or remove the broken line";

fn text<'a>(lines: &Lines<'_>, column: usize, cell: &'a [u8]) -> Result<&'a str, DatasetError> {
    match std::str::from_utf8(cell) {
        Ok("") => Err(lines.wrong(Some(column), "the cell is empty", ANEW)),
        Ok(text) if text.contains('\0') => Err(lines.wrong(Some(column), "the cell holds a NUL byte", ANEW)),
        Ok(text) => Ok(text),
        Err(_) => Err(lines.wrong(Some(column), "the cell holds bytes that are no UTF-8", ANEW)),
    }
}

/// A time in seconds, as 10⁻¹⁸ s.
fn time(lines: &Lines<'_>, column: usize, cell: &[u8]) -> Result<i128, DatasetError> {
    seconds(cell).ok_or_else(|| {
        lines.wrong(Some(column), format!("`{}` is not a time in seconds", shortened(cell)), ANEW)
    })
}

fn header(lines: &mut Lines<'_>) -> Result<Vec<String>, DatasetError> {
    let Some(line) = lines.next()? else {
        return Err(lines.wrong(None, "the file is empty", "get the file anew from the dataset"));
    };
    let joined = lines.joined(line.clone())?;
    let line = joined.as_deref().unwrap_or_else(|| lines.bytes(line));
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    Ok(cells(line).iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect())
}

/// The cells of a record, as many as expected.
fn all_cells<'a>(
    lines: &Lines<'_>,
    record: &'a [u8],
    expected: usize,
) -> Result<Vec<Cow<'a, [u8]>>, DatasetError> {
    let cells = cells(record);
    if cells.len() == expected {
        return Ok(cells);
    }
    Err(lines.wrong(
        Some(cells.len().min(expected + 1)),
        format!("the line has {} cells, and the first line {expected}", cells.len()),
        ANEW,
    ))
}

/// The place of a column by its name.
fn place(lines: &Lines<'_>, header: &[String], name: &str) -> Result<usize, DatasetError> {
    header.iter().position(|column| column == name).ok_or_else(|| {
        lines.wrong(None, format!("there is no column `{name}`"), "get the file anew from the dataset")
    })
}

/// Counts an invocation where it began, with its start and duration. Days count from `first_day`.
fn add(
    lines: &Lines<'_>,
    sink: &mut dyn Sink,
    key: &str,
    (start, duration): (i128, i128),
    first_day: u32,
) -> Result<(), DatasetError> {
    let is_early = start < 0;
    let second = u64::try_from(start.max(0) / ATTO).unwrap_or(u64::MAX);
    let day = u32::try_from(second / 86_400).ok().and_then(|day| day.checked_add(first_day));
    let Some(day) = day else {
        return Err(lines.wrong(None, "the time lies beyond the end of any dataset", ANEW));
    };
    if !sink.wants(day) {
        return Ok(());
    }
    sink.notes().before_start += u64::from(is_early);
    sink.row(day);
    if let Some(id) = sink.id(key) {
        sink.begins(id, day, (second % 86_400 / 60 + 1) as u16, start, duration);
    }
    Ok(())
}

/// Azure 2021 has the end of each invocation, from which the start is computed; converted files have the start.
fn invocations(lines: &mut Lines<'_>, has_ends: bool, sink: &mut dyn Sink) -> Result<(), DatasetError> {
    let names = header(lines)?;
    let expected = ["app", "func", if has_ends { "end_timestamp" } else { "start_timestamp" }, "duration"];
    if names != expected {
        return Err(lines.wrong(
            None,
            format!("the columns are {}, not {}", names.join(","), expected.join(",")),
            "keep files of other forms in another folder",
        ));
    }
    let mut key = String::new();
    while let Some(line) = lines.next()? {
        let joined = lines.joined(line.clone())?;
        let record = joined.as_deref().unwrap_or_else(|| lines.bytes(line));
        let cells = all_cells(lines, record, expected.len())?;
        let (app, function) = (text(lines, 1, &cells[0])?, text(lines, 2, &cells[1])?);
        let (at, duration) = (time(lines, 3, &cells[2])?, time(lines, 4, &cells[3])?);
        if duration < 0 {
            return Err(lines.wrong(Some(4), "the duration is negative", ANEW));
        }
        key.clear();
        key.extend([",", &quoted(app), ",", &quoted(function), ","]);
        add(lines, sink, &key, (if has_ends { at - duration } else { at }, duration), 1)?;
    }
    Ok(())
}

/// Requests of Huawei 2025. Frontends are not recorded for all of them, so the worker's time counts.
fn requests(lines: &mut Lines<'_>, sink: &mut dyn Sink) -> Result<(), DatasetError> {
    let names = header(lines)?;
    let at = place(lines, &names, "time_worker")?;
    let cost = names.iter().position(|name| name == "totalCost_worker");
    let [function, user, pod] =
        [place(lines, &names, "funcName")?, place(lines, &names, "userID")?, place(lines, &names, "podID")?];
    let (mut key, mut full) = (String::new(), String::new());
    while let Some(line) = lines.next()? {
        let joined = lines.joined(line.clone())?;
        let record = joined.as_deref().unwrap_or_else(|| lines.bytes(line));
        let cells = all_cells(lines, record, names.len())?;
        let start = time(lines, at + 1, &cells[at])?;
        let duration = cost.map_or(Ok(0), |cost| time(lines, cost + 1, &cells[cost]))?;
        let pod_id = text(lines, pod + 1, &cells[pod])?;
        // `pool22-300-128-0003741797` is a pod of the pool `pool22-300-128`.
        let Some((pool, _)) = pod_id.rsplit_once('-') else {
            return Err(lines.wrong(Some(pod + 1), format!("`{pod_id}` names no pod of a pool"), ANEW));
        };
        let (name, user) =
            (text(lines, function + 1, &cells[function])?, text(lines, user + 1, &cells[user])?);
        key.clear();
        full.clear();
        full.extend([name, "---", user, "---", pool]);
        key.extend([&quoted(user), ",,", &quoted(&full), ","]);
        add(lines, sink, &key, (start, duration), 0)?;
    }
    Ok(())
}

/// Huawei's tables of counts: a row for each minute or second, a column for each function.
fn counts(
    lines: &mut Lines<'_>,
    sink: &mut dyn Sink,
    read: &mut BTreeMap<u32, String>,
) -> Result<(), DatasetError> {
    let names = header(lines)?;
    if names.get(..2).is_none_or(|names| *names != ["day", "time"]) {
        return Err(lines.wrong(
            Some(1),
            "the line does not begin with day,time",
            "keep other files elsewhere",
        ));
    }
    let mut ids = Vec::new();
    let mut seen = BTreeSet::new();
    for (column, name) in (3..).zip(&names[2..]) {
        if name.is_empty() || !seen.insert(name) {
            let problem =
                if name.is_empty() { "the column has no name" } else { "another column has this name" };
            return Err(lines.wrong(Some(column), problem, ANEW));
        }
        let owner = name.split("---").nth(1).unwrap_or_default();
        ids.push(sink.id(&line_of([owner, "", name, ""])));
    }
    // The sums of a minute are kept until it is over: a table by the second has sixty rows for each.
    let mut before: Option<u64> = None;
    while let Some(line) = lines.next()? {
        let line = lines.bytes(line);
        let mut cells = line.split(|byte| *byte == b',');
        let mut number = |column: usize| -> Result<u64, DatasetError> {
            let cell = cells.next().unwrap_or_default();
            whole(cell).ok_or_else(|| {
                lines.wrong(Some(column), format!("`{}` is not a whole number", shortened(cell)), ANEW)
            })
        };
        let (day, second) = (number(1)?, number(2)?);
        let Some(day) = u32::try_from(day).ok().filter(|day| second / 86_400 == u64::from(*day)) else {
            return Err(lines.wrong(Some(2), format!("second {second} is not on day {day}"), ANEW));
        };
        if before.is_some_and(|before| second <= before) {
            return Err(lines.wrong(Some(2), format!("second {second} does not follow the row above"), ANEW));
        }
        let of_file = lines.place(None).file;
        let other = read.entry(day).or_insert_with(|| of_file.clone());
        if *other != of_file {
            return Err(lines.wrong(
                Some(1),
                format!("day {day} is in `{other}`, too"),
                "keep one of the files",
            ));
        }
        before = Some(second);
        let minute = (second % 86_400 / 60 + 1) as u16;
        let is_wanted = sink.wants(day);
        if is_wanted {
            sink.row(day);
        }
        let mut found = 0;
        for (column, cell) in (3..).zip(cells) {
            found += 1;
            let Some(id) = ids.get(column - 3) else { continue };
            if cell.is_empty() {
                if is_wanted {
                    let notes = sink.notes();
                    notes.empty_cells += 1;
                    notes.first_empty.get_or_insert_with(|| lines.place(Some(column)));
                }
                continue;
            }
            let Some(count) = whole(cell) else {
                return Err(lines.wrong(
                    Some(column),
                    format!("`{}` is not a number of invocations", shortened(cell)),
                    "counts are whole numbers; delays and usages lie in other folders",
                ));
            };
            if let Some(id) = id
                && is_wanted
            {
                sink.add(*id, day, minute, count);
            }
        }
        if found != ids.len() {
            return Err(lines.wrong(
                Some(2 + found.min(ids.len() + 1)),
                format!("the line has {} cells, and the first line {}", found + 2, ids.len() + 2),
                ANEW,
            ));
        }
    }
    Ok(())
}
