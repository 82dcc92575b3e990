//! Minutes of a function as a file for `sb invoke` and plans.

use std::fmt::Write as _;

use crate::dataset::Dataset;
use crate::error::DatasetError;
use crate::model::{FunctionTotals, Key, MINUTES_PER_DAY, Totals, Window};

/// The most invocations of a minute in an export: more can be sent by nobody, and sums stay far below 64 bits.
const MOST_PER_MINUTE: u64 = 10_000_000_000;

/// The column that loads are read from.
pub const COLUMN: &str = "InvocationsPerMinute";

/// Minutes on a line of the header.
const MINUTES_PER_LINE: usize = 60;

/// Lines for the head of a load's file: invocations in each minute of the dataset, before any factor. `sb` compares what it
/// plans with them.
pub fn original_lines(per_minute: &[u64]) -> String {
    let mut text = String::new();
    for minutes in per_minute.chunks(MINUTES_PER_LINE) {
        let minutes: Vec<String> = minutes.iter().map(u64::to_string).collect();
        let _ = writeln!(text, "# original per minute: {}", minutes.join(","));
    }
    text
}

/// A name for a line of the head of a file, where it must not end the line: a space stands for a line break.
pub fn in_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

/// Which function, by the names of its key. What is None does not matter.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The function's name: its hash.
    pub function: String,
    /// Its owner.
    pub owner: Option<String>,
    /// Its application.
    pub app: Option<String>,
    /// What calls it.
    pub trigger: Option<String>,
    /// Adds up the keys that are meant, where there are several.
    pub sum: bool,
}

/// What is exported of a dataset.
#[derive(Clone, Debug)]
pub struct Export {
    /// The functions that are added up, in the order of their keys; at least one.
    pub keys: Vec<Key>,
    /// The minutes.
    pub window: Window,
    /// What each count is multiplied with, above 0.
    pub factor: f64,
    /// Invocations in each minute of the dataset.
    pub original: Vec<u64>,
    /// The same, scaled and rounded to whole numbers, halves to even.
    pub per_minute: Vec<u64>,
    /// How many of the rows of the window's days repeat a key that is exported.
    pub repeated_rows: u64,
}

impl Wanted {
    fn is_meant(&self, key: &Key) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        self.function == key.function()
            && is(&self.owner, key.owner())
            && is(&self.app, key.app())
            && is(&self.trigger, key.trigger())
    }

    /// The functions that are meant.
    ///
    /// # Errors
    /// There is none, or one that is not listed on every day, or several and they are not to be added up.
    pub fn find<'a>(&self, totals: &'a Totals) -> Result<Vec<&'a FunctionTotals>, DatasetError> {
        let found: Vec<&FunctionTotals> =
            totals.functions.iter().filter(|function| self.is_meant(&function.key)).collect();
        if found.is_empty() {
            return Err(DatasetError::request(
                format!("there is no function `{}` with these names in the dataset", self.function),
                "`sb dataset select DIR` lists functions",
            ));
        }
        if found.len() > 1 && !self.sum {
            let keys: Vec<String> = found.iter().map(|function| differing(&function.key, &found)).collect();
            return Err(DatasetError::request(
                format!("the name `{}` belongs to {} keys: {}", self.function, found.len(), keys.join("; ")),
                "choose one with --owner, --app or --trigger, or add them up with --sum",
            ));
        }
        let count = totals.days.len();
        for function in &found {
            let listed = function.per_day.iter().filter(|day| day.is_some()).count();
            // Keys that are added up may stand in for each other: a function that changes its trigger is there every day.
            let covered = (0..count).all(|day| found.iter().any(|function| function.per_day[day].is_some()));
            if listed < count && !(self.sum && found.len() > 1 && covered) {
                let trigger = shown(function.key.trigger());
                return Err(DatasetError::request(
                    format!(
                        "the function `{}` (trigger {trigger}) is listed on {listed} of {count} days",
                        self.function
                    ),
                    "choose a function that is there every day, or name its days with --days",
                ));
            }
        }
        Ok(found)
    }
}

/// The names of a key that are not the same in all of the functions.
fn differing(key: &Key, functions: &[&FunctionTotals]) -> String {
    let parts = |key: &Key| {
        [("owner", key.owner()), ("app", key.app()), ("trigger", key.trigger())]
            .map(|(name, value)| format!("{name} {}", shown(value)))
    };
    let own = parts(key);
    let differs = |part: &String| functions.iter().any(|other| !parts(&other.key).contains(part));
    own.iter().filter(|part| differs(part)).cloned().collect::<Vec<_>>().join(", ")
}

fn shown(name: &str) -> &str {
    if name.is_empty() { "unknown" } else { name }
}

/// Reads minutes of a function and scales them.
///
/// # Errors
/// The function cannot be exported ([`Wanted::find`]), the window ends on another day and `into_next_day` is not set, or
/// the dataset is broken.
pub fn export(
    dataset: &Dataset,
    totals: &Totals,
    wanted: &Wanted,
    window: Window,
    factor: f64,
    into_next_day: bool,
) -> Result<Export, DatasetError> {
    if !(factor.is_finite() && factor > 0.0) {
        return Err(DatasetError::request(
            format!("the factor {factor} scales nothing"),
            "set a factor above 0",
        ));
    }
    if window.last_day() > window.day && !into_next_day {
        let left = u32::from(MINUTES_PER_DAY - window.first.min(MINUTES_PER_DAY)) + 1;
        return Err(DatasetError::request(
            format!(
                "{} minutes from minute {} pass the end of the day, which has {left} minutes left",
                window.minutes, window.first
            ),
            format!("set --minutes {left}, or continue on the next day with --into-next-day"),
        ));
    }
    let found = wanted.find(totals)?;
    let keys: Vec<Key> = found.iter().map(|function| function.key.clone()).collect();
    let days: Vec<usize> = (window.day..=window.last_day()).filter_map(|day| totals.place_of(day)).collect();
    let repeated_rows =
        found.iter().flat_map(|function| &function.repeated).filter(|(day, _)| days.contains(day)).count()
            as u64;
    let series = dataset.minutes(&keys, window)?;
    let mut sums = vec![0_u64; window.minutes as usize];
    for minutes in series.into_iter().flatten() {
        for (sum, count) in sums.iter_mut().zip(minutes) {
            *sum = sum.saturating_add(count);
        }
    }
    let per_minute: Vec<u64> =
        sums.iter().map(|count| (*count as f64 * factor).round_ties_even() as u64).collect();
    if let Some(most) = per_minute.iter().max().filter(|most| **most > MOST_PER_MINUTE) {
        return Err(DatasetError::request(
            format!("a minute would have {most} invocations, more than {MOST_PER_MINUTE}"),
            "lower --factor",
        ));
    }
    Ok(Export { keys, window, factor, original: sums, per_minute, repeated_rows })
}

/// The most invocations of an export with a row for each: a load takes a hundred times fewer.
const MOST_STARTS: f64 = 10_000_000.0;

/// Thins (`factor` below 1) or multiplies invocations with their starts in order. How many began up to any of them is multiplied
/// and rounded: so any period keeps its share to within one, quiet and busy times keep their proportion, and nothing is
/// left to chance. Added invocations lie evenly between one start and the next; behind the last, before `end` of the window.
fn scaled(invocations: Vec<(f64, f64)>, factor: f64, end: f64) -> Vec<(f64, f64)> {
    let until = |place: usize| (place as f64 * factor + 0.5).floor() as u64;
    let mut found = Vec::new();
    for (place, (start, duration)) in invocations.iter().copied().enumerate() {
        let copies = until(place + 1) - until(place);
        let gap = match (invocations.get(place + 1), place.checked_sub(1)) {
            (Some((next, _)), _) => next - start,
            (None, Some(before)) => (start - invocations[before].0).min(end - start),
            (None, None) => 0.0,
        };
        found.extend((0..copies).map(|copy| (start + gap * copy as f64 / copies as f64, duration)));
    }
    found
}

impl Export {
    /// Invocations per second, on average.
    pub fn mean_rate(&self) -> f64 {
        let total: u64 = self.per_minute.iter().sum();
        total as f64 / (60.0 * self.per_minute.len().max(1) as f64)
    }

    /// A file for `trace` of a load: the start of each invocation in seconds, after the lines of [`Export::to_csv`]. A load sends
    /// each at its time. The factor thins or multiplies them as [`scaled`] says.
    ///
    /// # Errors
    /// The dataset has counts only, nothing is left of the window, or a file is broken.
    pub fn to_starts_csv(&self, dataset: &Dataset) -> Result<String, DatasetError> {
        let invocations = dataset.invocations(&self.keys, self.window)?;
        if invocations.is_empty() {
            return Err(DatasetError::request("the window has no invocation", "choose another window"));
        }
        let count = invocations.len();
        let expected = count as f64 * self.factor;
        if expected > MOST_STARTS {
            return Err(DatasetError::request(
                format!("the window would have {expected:.0} invocations, more than {MOST_STARTS}"),
                "lower --factor, or choose a shorter window",
            ));
        }
        let end = 60.0 * f64::from(self.window.minutes);
        let invocations = scaled(invocations, self.factor, end);
        if invocations.is_empty() {
            return Err(DatasetError::request(
                format!("the factor {} leaves none of {count} invocations", self.factor),
                "raise --factor, or choose a longer window",
            ));
        }
        let mut text = self.facts(dataset);
        text.push_str("start_s,duration_s\n");
        for (start, duration) in invocations {
            // Rounding must not move the last start into a minute that the window does not have.
            let _ = writeln!(text, "{:.6},{duration:.6}", start.min(end - 1e-6));
        }
        Ok(text)
    }

    /// The file: lines that begin with `#` say where the numbers are from, then the column follows.
    pub fn to_csv(&self, dataset: &Dataset) -> String {
        self.facts(dataset) + &self.to_plain_csv()
    }

    /// Where the numbers are from, a line for each fact.
    fn facts(&self, dataset: &Dataset) -> String {
        let mut text = String::new();
        let place = dataset.file_of(self.window.day).unwrap_or_else(|| dataset.path().to_owned());
        let end = u32::from(self.window.first) + self.window.minutes - 1;
        let _ = writeln!(text, "# dataset: {}", dataset.format().name());
        let _ = writeln!(text, "# file: {}", in_line(&place.display().to_string()));
        for key in &self.keys {
            let parts = [
                ("owner", key.owner()),
                ("app", key.app()),
                ("function", key.function()),
                ("trigger", key.trigger()),
            ];
            let known: Vec<String> = parts
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| format!("{name} {}", in_line(value)))
                .collect();
            let _ = writeln!(text, "# {}", known.join(", "));
        }
        let _ = writeln!(text, "# window: day {}, minutes {} to {end}", self.window.day, self.window.first);
        let _ = writeln!(text, "# factor: {}", self.factor);
        text + &original_lines(&self.original)
    }

    /// The file without the lines that say where the numbers are from: what the study's analysis writes.
    pub fn to_plain_csv(&self) -> String {
        let mut text = format!("\"{COLUMN}\"\n");
        for count in &self.per_minute {
            let _ = writeln!(text, "{count}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::scaled;

    proptest! {
        #[test]
        fn any_period_keeps_its_share(
            gaps in prop::collection::vec(0_u16..50, 1..200),
            factor in 0.01_f64..4.0,
            from in 0_usize..200,
            length in 1_usize..200,
        ) {
            let mut at = 0.0;
            let starts: Vec<(f64, f64)> = gaps.iter().map(|gap| {
                at += f64::from(*gap);
                (at, f64::from(*gap))
            }).collect();
            let end = at + 10.0;
            let found = scaled(starts.clone(), factor, end);
            prop_assert!(found.iter().all(|(start, _)| *start < end));
            prop_assert!(found.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            // From one start to just before another: all that lies between belongs to the invocations there.
            let (first, behind) = (from.min(starts.len() - 1), (from + length).min(starts.len() - 1));
            let (begin, end) = (starts[first].0, starts[behind].0);
            let count = |list: &[(f64, f64)]| list.iter().filter(|(start, _)| (begin..end).contains(start)).count();
            let share = count(&starts) as f64 * factor;
            prop_assert!((count(&found) as f64 - share).abs() <= 1.0 + 1e-9, "{} of {share}", count(&found));
        }
    }

    #[test]
    fn a_factor_thins_or_fills_in() {
        let starts = vec![(0.0, 1.0), (10.0, 2.0), (14.0, 3.0)];
        assert_eq!(scaled(starts.clone(), 1.0, 60.0), starts);
        assert_eq!(scaled(starts.clone(), 0.5, 60.0), [(0.0, 1.0), (14.0, 3.0)]);
        let doubled = [(0.0, 1.0), (5.0, 1.0), (10.0, 2.0), (12.0, 2.0), (14.0, 3.0), (16.0, 3.0)];
        assert_eq!(scaled(starts.clone(), 2.0, 60.0), doubled);
        // The window ends a second later.
        assert_eq!(scaled(starts, 2.0, 15.0)[5], (14.5, 3.0));
    }
}
