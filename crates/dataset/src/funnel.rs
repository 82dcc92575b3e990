//! Which functions of a dataset are fit for a load: step by step, with counts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::error::DatasetError;
use crate::model::{FunctionTotals, Totals};

/// Seconds of a day, as whole numbers.
const DAY: u64 = 86_400;

/// On which days a function must reach the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateDays {
    /// On the first day that is read: what the study did.
    First,
    /// On this day.
    Day(u32),
    /// On any of the days.
    Any,
    /// On all of them.
    All,
}

/// What makes a function fit.
#[derive(Clone, Debug)]
pub struct Criteria {
    /// Functions with one of these triggers are left out.
    pub without_triggers: Vec<String>,
    /// The mean rate of a day, in invocations per second, 0 or more.
    pub min_rate: f64,
    /// When the rate must be reached.
    pub rate_days: RateDays,
}

impl Default for Criteria {
    /// Those of the study: no timers, and one invocation a second on the first day.
    fn default() -> Self {
        Self { without_triggers: vec!["timer".to_owned()], min_rate: 1.0, rate_days: RateDays::First }
    }
}

/// A step of the funnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `total`, `available`, `no_timer` or `rate`.
    pub step: &'static str,
    /// Different keys that are left.
    pub functions: u64,
    /// Rows that a join of the days' tables has for them. Keys that repeat within a day multiply there.
    pub rows: u64,
}

/// Rate classes of a day without gaps or overlaps: a class begins with its lower limit, in invocations a day.
pub const RATE_CLASSES: [(&str, u64); 6] =
    [("idle", 0), ("few", 1), ("medium", 24), ("high", 1_440), ("very_high", 86_400), ("extreme", 864_000)];

/// The study's classes, from and to, both included. They overlap.
pub const STUDY_CLASSES: [(&str, u64, u64); 9] = [
    ("zero", 0, 0),
    ("few", 0, 24),
    ("few_min5", 5, 24),
    ("medium", 24, 1_440),
    ("high", 1_440, u64::MAX),
    ("high_max10k", 1_440, 10_000),
    ("high_max60k", 1_440, 60_000),
    ("high_max100k", 1_440, 100_000),
    ("very_high", 86_400, u64::MAX),
];

/// The study's class above all others, in invocations a day.
pub const STUDY_EXTREME: u64 = 864_000;

/// How many of the available functions have a trigger and a rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The class.
    pub class: &'static str,
    /// The trigger; empty where the dataset does not say.
    pub trigger: String,
    /// Different keys.
    pub functions: u64,
    /// Rows of a join of the days' tables.
    pub rows: u64,
}

/// What a dataset holds, and how many functions are fit for a load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The funnel, from all functions to those that are fit.
    pub funnel: Vec<Step>,
    /// The available functions by class of [`RATE_CLASSES`] and trigger, on the day of the classes.
    pub classes: Vec<ClassCount>,
    /// The same by the study's classes, which overlap.
    pub study_classes: Vec<ClassCount>,
    /// Functions with several triggers. Each trigger counts as a function of its own.
    pub several_triggers: u64,
    /// Of these, the functions that are listed every day, but under no trigger on all days.
    pub changed_trigger: u64,
}

impl Criteria {
    fn rate_places(&self, totals: &Totals) -> Result<Vec<usize>, DatasetError> {
        match self.rate_days {
            RateDays::First => Ok(vec![0]),
            RateDays::Any | RateDays::All => Ok((0..totals.days.len()).collect()),
            RateDays::Day(day) => totals.place_of(day).map(|place| vec![place]).ok_or_else(|| {
                DatasetError::request(
                    format!("the dataset has no day {day}"),
                    "name one of the days that are read, or `any` or `all`",
                )
            }),
        }
    }

    fn is_enough(&self, total: u64) -> bool {
        total as f64 >= self.min_rate * DAY as f64
    }

    fn has_trigger(&self, function: &FunctionTotals) -> bool {
        self.without_triggers.iter().any(|trigger| trigger == function.key.trigger())
    }

    /// The functions that are fit, in the order of their keys.
    ///
    /// # Errors
    /// The day whose rate counts is none of the dataset.
    pub fn fit<'a>(&self, totals: &'a Totals) -> Result<Vec<&'a FunctionTotals>, DatasetError> {
        let places = self.rate_places(totals)?;
        let is_fast = |function: &FunctionTotals| {
            let mut days = places.iter().map(|place| function.per_day[*place].unwrap_or_default());
            match self.rate_days {
                RateDays::All => days.all(|total| self.is_enough(total)),
                _ => days.any(|total| self.is_enough(total)),
            }
        };
        let available = totals.functions.iter().filter(|function| function.is_available());
        Ok(available.filter(|function| !self.has_trigger(function) && is_fast(function)).collect())
    }

    /// Counts the functions at each step.
    ///
    /// # Errors
    /// As [`Criteria::fit`].
    pub fn summary(&self, totals: &Totals) -> Result<Summary, DatasetError> {
        let step = |step, functions: &[&FunctionTotals], rows: u64| Step {
            step,
            functions: functions.len() as u64,
            rows,
        };
        let rows =
            |functions: &[&FunctionTotals]| functions.iter().map(|function| joined_rows(function)).sum();
        let all: Vec<&FunctionTotals> = totals.functions.iter().collect();
        let available: Vec<&FunctionTotals> =
            all.iter().filter(|function| function.is_available()).copied().collect();
        let mut funnel =
            vec![step("total", &all, rows(&all)), step("available", &available, rows(&available))];
        if totals.has_triggers() {
            let kept: Vec<&FunctionTotals> =
                available.iter().filter(|function| !self.has_trigger(function)).copied().collect();
            funnel.push(step("no_timer", &kept, rows(&kept)));
        }
        let fit = self.fit(totals)?;
        let places = self.rate_places(totals)?;
        // A join has a row for each row of the day whose rate counts, with the total of that row alone.
        let fit_rows = match *places {
            [place] => {
                let kept = available.iter().filter(|function| !self.has_trigger(function));
                kept.map(|function| rows_where(function, place, |total| self.is_enough(total))).sum()
            }
            _ => rows(&fit),
        };
        funnel.push(step("rate", &fit, fit_rows));
        let place = if let [place] = *places { place } else { 0 };
        let (several_triggers, changed_trigger) = triggers(totals);
        let partition = RATE_CLASSES.iter().enumerate().map(|(index, (class, from))| {
            let to = RATE_CLASSES.get(index + 1).map_or(u64::MAX, |(_, next)| next - 1);
            (*class, *from, to)
        });
        let study = STUDY_CLASSES.into_iter().chain([("extreme", STUDY_EXTREME, u64::MAX)]);
        Ok(Summary {
            funnel,
            classes: classes(&available, place, partition),
            study_classes: classes(&available, place, study),
            several_triggers,
            changed_trigger,
        })
    }
}

/// Rows of a join of the days' tables: the product of the rows of each day on which the function is listed.
fn joined_rows(function: &FunctionTotals) -> u64 {
    let days = 0..function.per_day.len();
    days.map(|day| function.rows_of(day).max(1)).fold(1, u64::saturating_mul)
}

/// As [`joined_rows`], of the rows of one day whose own total is accepted.
fn rows_where(function: &FunctionTotals, place: usize, is_accepted: impl Fn(u64) -> bool) -> u64 {
    if function.repeated.is_empty() {
        return u64::from(function.per_day[place].is_some_and(is_accepted));
    }
    let own = function.rows_of(place).max(1);
    let accepted = function.row_totals(place).into_iter().filter(|total| is_accepted(*total)).count() as u64;
    joined_rows(function) / own * accepted
}

fn classes(
    available: &[&FunctionTotals],
    place: usize,
    classes: impl Iterator<Item = (&'static str, u64, u64)>,
) -> Vec<ClassCount> {
    let mut found = Vec::new();
    for (class, from, to) in classes {
        let mut by_trigger: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for function in available {
            let range = from..=to;
            let is_in = function.per_day[place].is_some_and(|total| range.contains(&total));
            let rows = rows_where(function, place, |total| range.contains(&total));
            if is_in || rows > 0 {
                let counts = by_trigger.entry(function.key.trigger()).or_default();
                counts.0 += u64::from(is_in);
                counts.1 += rows;
            }
        }
        found.extend(by_trigger.into_iter().map(|(trigger, (functions, rows))| ClassCount {
            class,
            trigger: trigger.to_owned(),
            functions,
            rows,
        }));
    }
    found
}

/// How many functions have several triggers, and how many of those are there every day under changing ones.
fn triggers(totals: &Totals) -> (u64, u64) {
    let mut several = 0;
    let mut changed = 0;
    let mut same: BTreeMap<&str, Vec<&FunctionTotals>> = BTreeMap::new();
    // Keys that differ in the trigger follow one another, so only neighbours need to be kept.
    let names: Vec<&str> = totals.functions.iter().map(|function| function.key.without_trigger()).collect();
    let repeated: BTreeSet<&str> =
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    for (function, name) in totals.functions.iter().zip(&names) {
        if repeated.contains(name) {
            same.entry(name).or_default().push(function);
        }
    }
    for functions in same.values() {
        several += 1;
        let every_day = (0..totals.days.len())
            .all(|day| functions.iter().any(|function| function.per_day[day].is_some()));
        changed += u64::from(every_day && !functions.iter().any(|function| function.is_available()));
    }
    (several, changed)
}
