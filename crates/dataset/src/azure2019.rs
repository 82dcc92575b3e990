//! Azure Functions 2019: a file a day, a row for each function, a column for each minute.
//!
//! The form is that of `AzureFunctionsDataset2019.md` in <https://github.com/Azure/AzurePublicDataset>.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;

use foldhash::fast::RandomState;

use crate::cells::{cells, line_of};
use crate::dataset::{Empty, Options};
use crate::error::DatasetError;
use crate::files::{Files, bare};
use crate::lines::{Fault, Lines, sum, sum_with_empty, whole};
use crate::model::{DayTotals, FunctionTotals, Key, MINUTES_PER_DAY, Notes, Totals, Window};

const STEM: &str = "invocations_per_function_md.anon.d";
const NAMES: [&str; 4] = ["HashOwner", "HashApp", "HashFunction", "Trigger"];
/// Days of the published dataset.
const DAYS: std::ops::RangeInclusive<u32> = 1..=14;
const MINUTES: usize = MINUTES_PER_DAY as usize;

/// The day of a file, by its name. Others, such as copies with another ending, have none.
pub(crate) fn day_of(name: &str) -> Option<u32> {
    let number = bare(name).strip_prefix(STEM)?.strip_suffix(".csv")?;
    (number.len() == 2).then(|| number.parse().ok()).flatten()
}

/// The files of the days that are asked for, each day once.
pub(crate) fn days(files: &Files, options: &Options) -> Result<Vec<(u32, String)>, DatasetError> {
    let mut found: Vec<(u32, String)> =
        files.names().iter().filter_map(|name| Some((day_of(name)?, name.clone()))).collect();
    found.sort();
    if let Some([first, second]) =
        found.windows(2).find_map(|pair| <&[_; 2]>::try_from(pair).ok().filter(|[a, b]| a.0 == b.0))
    {
        return Err(DatasetError::files(
            format!(
                "day {} is there twice: `{}` and `{}`",
                first.0,
                files.shown(&first.1),
                files.shown(&second.1)
            ),
            "keep one of them in the folder",
        ));
    }
    let wanted = options.days.clone().unwrap_or(DAYS);
    let missing: Vec<String> = wanted
        .clone()
        .filter(|day| found.iter().all(|(there, _)| there != day))
        .map(|day| format!("{STEM}{day:02}.csv"))
        .collect();
    if !missing.is_empty() {
        let first = missing.first().map_or("", String::as_str);
        return Err(DatasetError::files(
            match missing.len() {
                1 => format!("`{}` has no file `{first}`", files.path().display()),
                more => format!(
                    "`{}` has no file `{first}`, and {} other days are missing",
                    files.path().display(),
                    more - 1
                ),
            },
            "get the missing files, or name the days that are there, for example --days 1-7",
        ));
    }
    found.retain(|(day, _)| wanted.contains(day));
    Ok(found)
}

/// Totals of the days of a function, and those of the rows that repeat its key.
type Days = (Box<[Option<u64>]>, Vec<(usize, u64)>);

/// What one thread has read.
#[derive(Default)]
struct Part {
    ids: HashMap<Box<str>, u32, RandomState>,
    functions: Vec<Days>,
    notes: Notes,
}

impl Part {
    /// Keys that are there already cost one look, and no copy.
    fn add(&mut self, key: &str, days: usize, day: usize, total: u64) {
        let id = match self.ids.get(key) {
            Some(id) => *id as usize,
            None => {
                self.ids.insert(key.into(), self.functions.len() as u32);
                self.functions.push((vec![None; days].into(), Vec::new()));
                self.functions.len() - 1
            }
        };
        let (per_day, repeated) = &mut self.functions[id];
        match &mut per_day[day] {
            Some(sum) => {
                *sum += total;
                repeated.push((day, total));
                self.notes.repeated_rows += 1;
            }
            free => *free = Some(total),
        }
    }
}

pub(crate) fn totals(files: &Files, options: &Options) -> Result<Totals, DatasetError> {
    let days = days(files, options)?;
    let names: Vec<String> = days.iter().map(|(_, name)| name.clone()).collect();
    let sums = Mutex::new(vec![DayTotals::default(); days.len()]);
    // A thread takes a free part, and makes one when none is free: there are no more parts than threads.
    let parts: Mutex<Vec<Part>> = Mutex::default();
    let locked = |error: std::sync::PoisonError<_>| error.into_inner();
    files.each(&names, options.threads, &|at, name, reader| {
        let mut part = parts.lock().unwrap_or_else(locked).pop().unwrap_or_default();
        let mut of_day = DayTotals { day: days[at].0, ..DayTotals::default() };
        let shown = files.shown(name);
        rows(reader, &shown, &mut |lines, key, cells| {
            let total = match sum(cells, MINUTES) {
                Ok(total) => total,
                Err(Fault::Empty(cell)) if options.empty == Empty::Zero => {
                    let (total, empty) =
                        sum_with_empty(cells, MINUTES).map_err(|fault| wrong(lines, cells, fault))?;
                    part.notes.empty_cells += empty;
                    part.notes.first_empty.get_or_insert_with(|| lines.place(Some(cell + 5)));
                    total
                }
                Err(fault) => return Err(wrong(lines, cells, fault)),
            };
            of_day.rows += 1;
            of_day.invocations = of_day.invocations.checked_add(total).ok_or_else(|| {
                lines.wrong(
                    None,
                    "the counts of this day add up to more than 64 bits",
                    "check the counts of the file",
                )
            })?;
            part.add(key, days.len(), at, total);
            Ok(())
        })?;
        sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[at] = of_day;
        parts.lock().unwrap_or_else(locked).push(part);
        Ok(())
    })?;
    let parts = parts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (functions, notes) = joined(parts);
    Ok(Totals {
        days: sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
        functions,
        notes,
    })
}

/// Every day was read by one thread, so no day is in two parts.
fn joined(parts: Vec<Part>) -> (Vec<FunctionTotals>, Notes) {
    let mut notes = Notes::default();
    let mut all: HashMap<Box<str>, FunctionTotals, RandomState> = HashMap::default();
    for mut part in parts {
        notes.add(std::mem::take(&mut part.notes));
        for (key, id) in part.ids {
            let (per_day, repeated) = std::mem::take(&mut part.functions[id as usize]);
            match all.get_mut(&key) {
                None => {
                    let totals = FunctionTotals { key: Key::of(key.clone()), per_day, repeated };
                    all.insert(key, totals);
                }
                Some(totals) => {
                    for (sum, more) in totals.per_day.iter_mut().zip(per_day) {
                        *sum = sum.or(more);
                    }
                    totals.repeated.extend(repeated);
                }
            }
        }
    }
    let mut functions: Vec<FunctionTotals> = all.into_values().collect();
    functions.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    for function in &mut functions {
        function.repeated.sort_unstable();
    }
    (functions, notes)
}

/// Minutes of some functions. Rows of one key are added up. None for a function that is not listed on a day of the window.
pub(crate) fn minutes(
    files: &Files,
    options: &Options,
    keys: &[Key],
    window: Window,
) -> Result<Vec<Option<Vec<u64>>>, DatasetError> {
    let days: Vec<(u32, String)> = days(files, options)?
        .into_iter()
        .filter(|(day, _)| (window.day..=window.last_day()).contains(day))
        .collect();
    let ids: HashMap<&str, usize, RandomState> =
        keys.iter().enumerate().map(|(id, key)| (key.as_str(), id)).collect();
    let names: Vec<String> = days.iter().map(|(_, name)| name.clone()).collect();
    let found = Mutex::new(vec![(vec![0_u64; window.minutes as usize], 0_u32); keys.len()]);
    files.each(&names, 1, &|at, name, reader| {
        let shown = files.shown(name);
        let mut listed = vec![false; keys.len()];
        let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        rows(reader, &shown, &mut |lines, key, cells| {
            let Some(id) = ids.get(key) else { return Ok(()) };
            let mut count = 0;
            for (minute, cell) in (1_u16..).zip(cells.split(|byte| *byte == b',')) {
                count = usize::from(minute);
                let place = window.place_of(days[at].0, minute);
                let value = match (cell, options.empty) {
                    ([], Empty::Refuse) => return Err(wrong(lines, cells, Fault::Empty(count - 1))),
                    ([], Empty::Zero) => 0,
                    (cell, _) => {
                        whole(cell).ok_or_else(|| wrong(lines, cells, Fault::NotANumber(count - 1)))?
                    }
                };
                if let Some(place) = place {
                    found[*id].0[place] += value;
                }
            }
            if count != MINUTES {
                return Err(wrong(lines, cells, Fault::Count(count)));
            }
            if !std::mem::replace(&mut listed[*id], true) {
                found[*id].1 += 1;
            }
            Ok(())
        })
    })?;
    let reached = window.last_day() - window.day + 1;
    let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(found.into_iter().map(|(minutes, days)| (days == reached).then_some(minutes)).collect())
}

/// A file of a day that has percentiles, of which the mean is read.
struct MeansFile {
    stem: &'static str,
    /// The first columns: so many names of the key, then the mean and its weight.
    columns: &'static [&'static str],
    key: usize,
    mean: usize,
    weight: usize,
}

const DURATIONS: MeansFile = MeansFile {
    stem: "function_durations_percentiles.anon.d",
    columns: &["HashOwner", "HashApp", "HashFunction", "Average", "Count"],
    key: 3,
    mean: 3,
    weight: 4,
};

const MEMORY: MeansFile = MeansFile {
    stem: "app_memory_percentiles.anon.d",
    columns: &["HashOwner", "HashApp", "SampleCount", "AverageAllocatedMb"],
    key: 2,
    mean: 3,
    weight: 2,
};

impl MeansFile {
    /// The means of some keys, weighted over repeated rows. None where the file is not there. A key that has no row, or
    /// whose rows have no weight, is not in it.
    fn read<'a>(
        &self,
        files: &Files,
        day: u32,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<Option<HashMap<&'a str, f64, RandomState>>, DatasetError> {
        let wanted = format!("{}{day:02}.csv", self.stem);
        let Some(name) = files.names().iter().find(|name| bare(name) == wanted) else { return Ok(None) };
        let sums: HashMap<&str, (f64, f64), RandomState> = keys.map(|key| (key, (0.0, 0.0))).collect();
        let sums = Mutex::new(sums);
        files.each(std::slice::from_ref(name), 1, &|_, name, reader| {
            let shown = files.shown(name);
            let mut sums = sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let mut lines = Lines::new(reader, &shown);
            let header = lines.next()?.map(|line| lines.bytes(line).to_vec()).unwrap_or_default();
            let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&header);
            let mut found = cells(header).into_iter();
            for (column, name) in (1..).zip(self.columns) {
                if found.next().as_deref() != Some(name.as_bytes()) {
                    return Err(lines.wrong(
                        Some(column),
                        format!("the column is not called `{name}`"),
                        format!("the first line of this file begins with {}", self.columns.join(",")),
                    ));
                }
            }
            while let Some(line) = lines.next()? {
                let joined = lines.joined(line.clone())?;
                let cells = cells(joined.as_deref().unwrap_or_else(|| lines.bytes(line)));
                if cells.len() < self.columns.len() {
                    let last = self.columns[self.columns.len() - 1];
                    return Err(lines.wrong(
                        None,
                        format!("the line ends before the column `{last}`"),
                        WHOLE,
                    ));
                }
                let names = cells[..self.key].iter().map(|cell| std::str::from_utf8(cell));
                // No key of the invocations holds what is no UTF-8.
                let Ok(names) = names.collect::<Result<Vec<_>, _>>() else { continue };
                let Some((weighted, weight)) = sums.get_mut(line_of(names).as_str()) else { continue };
                let number = |column: usize| {
                    let text = std::str::from_utf8(&cells[column]).ok();
                    let number = text.and_then(|text| text.parse::<f64>().ok());
                    number.filter(|number| number.is_finite() && *number >= 0.0).ok_or_else(|| {
                        let problem = format!("`{}` is no number of 0 or more", shortened(&cells[column]));
                        lines.wrong(Some(column + 1), problem, WHOLE)
                    })
                };
                let (mean, times) = (number(self.mean)?, number(self.weight)?);
                *weighted += mean * times;
                *weight += times;
            }
            Ok(())
        })?;
        let sums = sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = sums.into_iter().filter(|(_, (_, weight))| *weight > 0.0);
        Ok(Some(known.map(|(key, (weighted, weight))| (key, weighted / weight)).collect()))
    }
}

/// Mean durations of functions in seconds, from the day's file of percentiles. None where the file is not there. Keys with
/// several triggers share the durations of their function.
pub(crate) fn durations(
    files: &Files,
    keys: &[Key],
    day: u32,
) -> Result<Option<Vec<Option<f64>>>, DatasetError> {
    let Some(means) = DURATIONS.read(files, day, keys.iter().map(Key::without_trigger))? else {
        return Ok(None);
    };
    let mean = |key: &Key| means.get(key.without_trigger()).map(|milliseconds| milliseconds / 1000.0);
    Ok(Some(keys.iter().map(mean).collect()))
}

/// Mean memory of functions in MB: that of the application, divided by its number of functions among the keys. None where the
/// day's file of percentiles is not there.
pub(crate) fn memory(
    files: &Files,
    keys: &[Key],
    day: u32,
) -> Result<Option<Vec<Option<f64>>>, DatasetError> {
    let apps: Vec<&str> = keys.iter().map(Key::application).collect();
    let Some(means) = MEMORY.read(files, day, apps.iter().copied())? else { return Ok(None) };
    let mut functions: HashMap<&str, u32, RandomState> = HashMap::default();
    for app in &apps {
        *functions.entry(app).or_default() += 1;
    }
    let share = |app: &&str| means.get(app).map(|megabytes| megabytes / f64::from(functions[app]));
    Ok(Some(apps.iter().map(share).collect()))
}

/// Takes the key and the cells of a row.
type TakeRow<'a> = &'a mut dyn FnMut(&Lines<'_>, &str, &[u8]) -> Result<(), DatasetError>;

/// Gives the key and the cells of each row of a day, behind a header that is checked.
fn rows(reader: &mut dyn Read, shown: &str, act: TakeRow<'_>) -> Result<(), DatasetError> {
    let mut lines = Lines::new(reader, shown);
    header(&mut lines)?;
    while let Some(range) = lines.next()? {
        let line = lines.bytes(range.clone());
        let names = end_of_names(line);
        if memchr::memchr(b'"', &line[..names.unwrap_or(line.len())]).is_some() {
            let joined = lines.joined(range.clone())?;
            let record = joined.unwrap_or_else(|| lines.bytes(range).to_vec());
            let (key, numbers) = with_quotes(&lines, &record)?;
            act(&lines, &key, &numbers)?;
            continue;
        }
        let Some(end) = names else {
            let cells: Vec<&[u8]> = line.split(|byte| *byte == b',').collect();
            return Err(match cells.iter().take(NAMES.len()).position(|cell| cell.is_empty()) {
                Some(place) if place + 1 < cells.len() => {
                    lines.wrong(Some(place + 1), format!("`{}` is empty", NAMES[place]), WHOLE)
                }
                _ => too_short(&lines, if line.is_empty() { 0 } else { cells.len() }),
            });
        };
        let Ok(key) = std::str::from_utf8(&line[..end]) else {
            return Err(lines.wrong(Some(1), "the names hold bytes that are no UTF-8", WHOLE));
        };
        refuse_zeros(&lines, key)?;
        act(&lines, key, &line[end + 1..])?;
    }
    Ok(())
}

/// Where the names of a row without quotation marks end. None: one of them is empty, or there are not enough.
fn end_of_names(line: &[u8]) -> Option<usize> {
    let mut commas = memchr::memchr_iter(b',', line);
    let mut end = None;
    for _ in NAMES {
        let comma = commas.next()?;
        // A name has at least one letter.
        if end.map_or(0, |end: usize| end + 1) == comma {
            return None;
        }
        end = Some(comma);
    }
    end
}

/// No text has a NUL: a disk that lost its blocks gives them back as zeros.
fn refuse_zeros(lines: &Lines<'_>, name: &str) -> Result<(), DatasetError> {
    match memchr::memchr(0, name.as_bytes()) {
        None => Ok(()),
        Some(_) => Err(lines.wrong(Some(1), "the names hold a NUL byte", WHOLE)),
    }
}

/// The key and the other cells of a row with quotation marks.
fn with_quotes(lines: &Lines<'_>, record: &[u8]) -> Result<(String, Vec<u8>), DatasetError> {
    let cells = cells(record);
    if cells.len() <= NAMES.len() {
        return Err(too_short(lines, cells.len()));
    }
    let (names, numbers) = cells.split_at(NAMES.len());
    let mut found = Vec::new();
    for (column, name) in (1..).zip(names) {
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(lines.wrong(Some(column), "the names hold bytes that are no UTF-8", WHOLE));
        };
        refuse_zeros(lines, name)?;
        if name.is_empty() {
            return Err(lines.wrong(Some(column), format!("`{}` is empty", NAMES[column - 1]), WHOLE));
        }
        found.push(name);
    }
    Ok((line_of(found), numbers.join(&b',')))
}

fn too_short(lines: &Lines<'_>, cells: usize) -> DatasetError {
    let problem = match cells {
        0 => "the line is empty".to_owned(),
        _ => format!("the line ends after {cells} of {} cells", MINUTES + NAMES.len()),
    };
    lines.wrong(Some(cells.max(1)), problem, WHOLE)
}

const WHOLE: &str = "get the file anew from the dataset, or remove the broken line";

fn header(lines: &mut Lines<'_>) -> Result<(), DatasetError> {
    let Some(line) = lines.next()? else {
        return Err(lines.wrong(None, "the file is empty", "get the file anew from the dataset"));
    };
    let line = lines.bytes(line);
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let expected = NAMES.map(str::to_owned).into_iter().chain((1..=MINUTES).map(|minute| minute.to_string()));
    let mut found = cells(line).into_iter();
    for (column, name) in (1..).zip(expected) {
        let cell = found.next();
        let cell = cell.as_deref();
        if cell != Some(name.as_bytes()) {
            let problem = match cell {
                None => format!("the header ends before the column `{name}`"),
                Some(cell) => format!("the column is called `{}`, not `{name}`", shortened(cell)),
            };
            return Err(lines.wrong(Some(column), problem, HEADER));
        }
    }
    match found.next() {
        None => Ok(()),
        Some(cell) => Err(lines.wrong(
            Some(MINUTES + NAMES.len() + 1),
            format!("there is a column `{}` behind minute {MINUTES}", shortened(&cell)),
            HEADER,
        )),
    }
}

const HEADER: &str = "the first line of a file of 2019 is HashOwner,HashApp,HashFunction,Trigger,1,2,…,1440";

fn wrong(lines: &Lines<'_>, cells: &[u8], fault: Fault) -> DatasetError {
    let first = NAMES.len() + 1;
    match fault {
        Fault::Empty(cell) => lines.wrong(
            Some(first + cell),
            format!("the cell of minute {} is empty", cell + 1),
            "get the file anew, or count empty cells as no invocation with --empty zero",
        ),
        Fault::NotANumber(cell) => {
            let text = cells.split(|byte| *byte == b',').nth(cell).unwrap_or_default();
            lines.wrong(
                Some(first + cell),
                format!("`{}` is not a number of invocations", shortened(text)),
                WHOLE,
            )
        }
        Fault::Count(count) => lines.wrong(
            Some(NAMES.len() + count.min(MINUTES + 1)),
            format!("the line has {count} minutes, not {MINUTES}"),
            WHOLE,
        ),
    }
}

/// A cell as a message shows it.
pub(crate) fn shortened(cell: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(cell).chars().take(40).collect();
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
