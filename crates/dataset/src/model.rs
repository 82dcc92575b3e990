//! The one form of all datasets: functions, and what is known of each minute or day.

use std::fmt;

use serde::Serialize;

use crate::cells::{cells, line_of, quoted};
use crate::error::Place;

/// Minutes of a day.
pub const MINUTES_PER_DAY: u16 = 1440;
/// Seconds of a day.
pub const SECONDS_PER_DAY: f64 = 86_400.0;

/// What tells the functions of a dataset apart: owner, application, function and trigger. What a dataset does not name is empty.
///
/// Keys are ordered by their bytes, the owner first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The four names as cells of a line of CSV.
    text: Box<str>,
    /// The names, where one of them needs quotation marks there.
    names: Option<Box<[Box<str>; 4]>>,
}

impl Key {
    /// A key of these four names.
    pub fn new(owner: &str, app: &str, function: &str, trigger: &str) -> Self {
        Self::of(line_of([owner, app, function, trigger]).into())
    }

    /// Of a text that [`line_of`] made of the four names.
    pub(crate) fn of(text: Box<str>) -> Self {
        let names = text.contains('"').then(|| {
            let mut cells = cells(text.as_bytes()).into_iter();
            let mut next = || String::from_utf8_lossy(&cells.next().unwrap_or_default()).into();
            Box::new([next(), next(), next(), next()])
        });
        Self { text, names }
    }

    fn part(&self, index: usize) -> &str {
        match &self.names {
            Some(names) => &names[index],
            None => self.text.split(',').nth(index).unwrap_or_default(),
        }
    }

    /// The first names as cells of a line of CSV.
    fn first(&self, count: usize) -> &str {
        let behind: usize = (count..4).map(|index| quoted(self.part(index)).len() + 1).sum();
        &self.text[..self.text.len() - behind]
    }

    /// Whose function it is.
    pub fn owner(&self) -> &str {
        self.part(0)
    }

    /// The application that the function belongs to.
    pub fn app(&self) -> &str {
        self.part(1)
    }

    /// The function. In some datasets it is unique within its application only.
    pub fn function(&self) -> &str {
        self.part(2)
    }

    /// What calls the function: `http`, `timer` …; empty where the dataset does not say.
    pub fn trigger(&self) -> &str {
        self.part(3)
    }

    /// The key without its trigger, as cells of a line of CSV.
    pub(crate) fn without_trigger(&self) -> &str {
        self.first(3)
    }

    /// Owner and application, as cells of a line of CSV.
    pub(crate) fn application(&self) -> &str {
        self.first(2)
    }

    /// The four names as cells of a line of CSV: in quotation marks where they need them.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// What a dataset holds of one function, by day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionTotals {
    /// Which function.
    pub key: Key,
    /// Invocations on each day of [`Totals::days`]; none where the function is not listed.
    pub per_day: Box<[Option<u64>]>,
    /// Totals of the second and later rows of a day that repeat the key: the place of the day, and the row's total. They
    /// are part of `per_day`.
    pub repeated: Vec<(usize, u64)>,
}

impl FunctionTotals {
    /// Whether the function is listed on every day.
    pub fn is_available(&self) -> bool {
        self.per_day.iter().all(Option::is_some)
    }

    /// How many rows a day has for the function.
    pub(crate) fn rows_of(&self, day: usize) -> u64 {
        let repeated = self.repeated.iter().filter(|(of, _)| *of == day).count() as u64;
        u64::from(self.per_day[day].is_some()) + repeated
    }

    /// The totals of the single rows of a day.
    pub(crate) fn row_totals(&self, day: usize) -> Vec<u64> {
        let Some(total) = self.per_day[day] else { return Vec::new() };
        let mut rows: Vec<u64> =
            self.repeated.iter().filter(|(of, _)| *of == day).map(|(_, total)| *total).collect();
        rows.push(total - rows.iter().sum::<u64>());
        rows
    }
}

/// What one day of a dataset holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DayTotals {
    /// The number of the day, as the dataset counts.
    pub day: u32,
    /// Rows with counts, or invocations where each has a row.
    pub rows: u64,
    /// Invocations of all functions.
    pub invocations: u64,
}

/// What was found while reading, and is neither an error nor silently passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// Rows whose key an earlier row of the same day has. They are added to it, minute by minute.
    pub repeated_rows: u64,
    /// Cells without a number.
    pub empty_cells: u64,
    /// Where the first of them is.
    #[serde(skip)]
    pub first_empty: Option<Place>,
    /// Invocations that began before the trace did. They are counted in its first minute.
    pub before_start: u64,
    /// Days within the range that the dataset does not have.
    pub missing_days: Vec<u32>,
}

impl Notes {
    pub(crate) fn add(&mut self, other: Self) {
        self.repeated_rows += other.repeated_rows;
        self.empty_cells += other.empty_cells;
        self.before_start += other.before_start;
        if self.first_empty.is_none() {
            self.first_empty = other.first_empty;
        }
        self.missing_days.extend(other.missing_days);
    }

    /// Each as a sentence for people.
    pub fn sentences(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.repeated_rows > 0 {
            found.push(format!(
                "{} a key of the same day; they are added up minute by minute",
                match self.repeated_rows {
                    1 => "1 row repeats".to_owned(),
                    rows => format!("{} repeat", counted(rows, "row")),
                }
            ));
        }
        if let Some(place) = &self.first_empty {
            found.push(format!(
                "{} without a number, the first in {place}; each counts as no invocation",
                counted(self.empty_cells, "cell")
            ));
        }
        if self.before_start > 0 {
            found.push(format!(
                "{} before the start of the trace, counted in its first minute",
                counted(self.before_start, "invocation")
            ));
        }
        if !self.missing_days.is_empty() {
            let days: Vec<String> = self.missing_days.iter().map(u32::to_string).collect();
            found.push(format!(
                "{} not in the dataset: {}",
                counted(days.len() as u64, "day"),
                days.join(", ")
            ));
        }
        found
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// All functions of a dataset, by day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The days, in order.
    pub days: Vec<DayTotals>,
    /// The functions, in the order of their keys.
    pub functions: Vec<FunctionTotals>,
    /// What was noticed.
    pub notes: Notes,
}

impl Totals {
    /// Whether the dataset says what calls its functions.
    pub fn has_triggers(&self) -> bool {
        self.functions.iter().any(|function| !function.key.trigger().is_empty())
    }

    /// The place of a day in [`Totals::days`].
    pub fn place_of(&self, day: u32) -> Option<usize> {
        self.days.iter().position(|totals| totals.day == day)
    }
}

/// Some minutes of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// The number of the day, as the dataset counts.
    pub day: u32,
    /// The first minute, 1 to 1440: minute 1 is 00:00–00:01, and minute 600 is 09:59–10:00.
    pub first: u16,
    /// How many minutes, 1 or more. A window that passes the end of a day continues on the next.
    pub minutes: u32,
}

impl Window {
    /// The place of a minute in the window.
    pub(crate) fn place_of(&self, day: u32, minute: u16) -> Option<usize> {
        let per_day = u64::from(MINUTES_PER_DAY);
        let at = u64::from(day) * per_day + u64::from(minute);
        let start = u64::from(self.day) * per_day + u64::from(self.first);
        let place = at.checked_sub(start)?;
        (place < u64::from(self.minutes)).then_some(place as usize)
    }

    /// The last day that the window reaches.
    pub fn last_day(&self) -> u32 {
        let before = u64::from(self.first.saturating_sub(1)) + u64::from(self.minutes.saturating_sub(1));
        let days = before / u64::from(MINUTES_PER_DAY);
        self.day.saturating_add(u32::try_from(days).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_reaches_the_day_of_its_last_minute() {
        let last = |first, minutes| Window { day: 3, first, minutes }.last_day();
        assert_eq!((last(1, 1440), last(1, 1441), last(1440, 1), last(1440, 2)), (3, 4, 3, 4));
        // What is no window has an answer, too.
        assert_eq!((last(0, 0), last(1440, u32::MAX)), (3, 3 + 2_982_617));
        let window = Window { day: 1, first: 1440, minutes: 2 };
        assert_eq!((window.place_of(1, 1440), window.place_of(2, 1)), (Some(0), Some(1)));
        assert_eq!((window.place_of(1, 1439), window.place_of(2, 2)), (None, None));
    }

    #[test]
    fn a_key_gives_its_names_back() {
        let key = Key::new("o", "a", "f", "http");
        assert_eq!((key.owner(), key.app(), key.function(), key.trigger()), ("o", "a", "f", "http"));
        assert_eq!(key.without_trigger(), "o,a,f");
        let unnamed = Key::new("", "", "f", "");
        assert_eq!((unnamed.owner(), unnamed.function(), unnamed.trigger()), ("", "f", ""));
        let names = ["a,b", "\"", "line\nbreak", "x\"y\""];
        let [owner, app, function, trigger] = names;
        let key = Key::new(owner, app, function, trigger);
        assert_eq!([key.owner(), key.app(), key.function(), key.trigger()], names);
        assert_eq!(key.to_string(), "\"a,b\",\"\"\"\",\"line\nbreak\",\"x\"\"y\"\"\"");
        assert_eq!(key.without_trigger(), "\"a,b\",\"\"\"\",\"line\nbreak\"");
        assert_eq!((key.application(), Key::of(key.as_str().into())), ("\"a,b\",\"\"\"\"", key.clone()));
    }
}
