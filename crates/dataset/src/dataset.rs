//! A dataset on the disk, whatever its form.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::DatasetError;
use crate::files::Files;
use crate::model::{Key, MINUTES_PER_DAY, Totals, Window};
use crate::{azure2019, recognize, tall};

/// What an empty cell means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Empty {
    /// The file is broken.
    #[default]
    Refuse,
    /// No invocation. The cells are counted, and [`crate::Notes`] says so.
    Zero,
}

/// How a dataset is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The days that are read, as the dataset counts them. None: all that it was published with.
    pub days: Option<RangeInclusive<u32>>,
    /// What an empty cell means in a dataset that has none. Huawei's have: there, an empty cell is no invocation.
    pub empty: Empty,
    /// Files that are read at a time, 1 or more.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { days: None, empty: Empty::Refuse, threads }
    }
}

/// The forms that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Azure Functions 2019: counts per minute, a file a day.
    #[serde(rename = "azure-2019")]
    Azure2019,
    /// Azure Functions 2021, and what was converted to its form: a row for each invocation, with its end and duration.
    #[serde(rename = "azure-2021")]
    Azure2021,
    /// A row for each invocation, with its start and duration: what `docs/datasets.md` converts IBM's files to.
    Starts,
    /// Huawei 2023, and the counts of 2025: time down, functions across.
    HuaweiCounts,
    /// Huawei 2025: a row for each request.
    HuaweiRequests,
}

impl Format {
    /// Its name in messages and headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Azure2019 => "Azure Functions 2019",
            Self::Azure2021 => "Azure Functions 2021",
            Self::Starts => "invocations with starts",
            Self::HuaweiCounts => "Huawei, counts",
            Self::HuaweiRequests => "Huawei, requests",
        }
    }
}

/// A dataset: a folder, a file, or a tar or zip archive. Any of its files may be compressed with gzip, zstd or xz.
///
/// Every question reads the files anew, in one pass; memory grows with the number of functions, not with the files.
#[derive(Clone, Debug)]
pub struct Dataset {
    files: Files,
    format: Format,
    /// Of the format, in order.
    names: Vec<String>,
    options: Options,
}

impl Dataset {
    /// Recognizes the form of what lies at `path`.
    ///
    /// # Errors
    /// Nothing is there, or none of its files has a form that is known.
    pub fn open(path: &Path, options: Options) -> Result<Self, DatasetError> {
        let files = Files::open(path)?;
        let (format, names) = recognize::recognize(&files)?;
        Ok(Self { files, format, names, options })
    }

    /// Its form.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// Whether a file is one of the dataset's own, which nothing may replace.
    pub fn includes(&self, file: &Path) -> bool {
        self.files.include(file)
    }

    /// The file that holds a day, where each day has a file of its own.
    pub fn file_of(&self, day: u32) -> Option<PathBuf> {
        if self.format != Format::Azure2019 {
            return (self.names.len() == 1).then(|| PathBuf::from(self.files.shown(&self.names[0])));
        }
        let name = self.names.iter().find(|name| azure2019::day_of(name) == Some(day))?;
        Some(PathBuf::from(self.files.shown(name)))
    }

    /// How many invocations each function has on each day.
    ///
    /// # Errors
    /// A file is broken, or a day is missing.
    pub fn totals(&self) -> Result<Totals, DatasetError> {
        match self.format {
            Format::Azure2019 => azure2019::totals(&self.files, &self.options),
            format => tall::totals(&self.files, &self.names, format, &self.options),
        }
    }

    /// Start and duration of each invocation of the functions in a window, in seconds: starts since the window begins, in order.
    /// A duration is that of the dataset; Azure's and IBM's leave cold starts out.
    ///
    /// # Errors
    /// The dataset has counts only, or a file is broken.
    pub fn invocations(&self, keys: &[Key], window: Window) -> Result<Vec<(f64, f64)>, DatasetError> {
        if matches!(self.format, Format::Azure2019 | Format::HuaweiCounts) {
            return Err(DatasetError::request(
                format!("{} has counts only, and no time of a single invocation", self.format.name()),
                "export its minutes, which a load spreads by its seed",
            ));
        }
        tall::invocations_of(&self.files, &self.names, self.format, keys, window)
    }

    /// Mean durations of the functions in seconds, without cold starts where the dataset leaves them out. Azure 2019 has them
    /// in a file for each day: that of the window's first day is read, if it is there. None: the dataset has no durations.
    ///
    /// # Errors
    /// A file is broken.
    pub fn durations(&self, keys: &[Key], window: Window) -> Result<Option<Vec<Option<f64>>>, DatasetError> {
        match self.format {
            Format::Azure2019 => azure2019::durations(&self.files, keys, window.day),
            Format::HuaweiCounts => Ok(None),
            format => tall::durations(&self.files, &self.names, format, keys, window).map(Some),
        }
    }

    /// Mean memory of the functions in MB, on the window's first day. None: the dataset has none that is read, which is all but that of
    /// Azure 2019. There it is the application's, divided by its number of functions among the keys.
    ///
    /// # Errors
    /// A file is broken.
    pub fn memory(&self, keys: &[Key], window: Window) -> Result<Option<Vec<Option<f64>>>, DatasetError> {
        match self.format {
            Format::Azure2019 => azure2019::memory(&self.files, keys, window.day),
            _ => Ok(None),
        }
    }

    /// How many invocations each of the functions has in each minute of a window. None for a function that is not listed
    /// on every day of the window.
    ///
    /// # Errors
    /// A file is broken, or the window is not within the days that are read.
    pub fn minutes(&self, keys: &[Key], window: Window) -> Result<Vec<Option<Vec<u64>>>, DatasetError> {
        if !(1..=MINUTES_PER_DAY).contains(&window.first) || window.minutes == 0 {
            return Err(DatasetError::request(
                format!("a window of {} minutes from minute {} is none", window.minutes, window.first),
                "a day has the minutes 1 to 1440, and a window has at least one minute",
            ));
        }
        if let Some(days) = &self.options.days
            && !(days.contains(&window.day) && days.contains(&window.last_day()))
        {
            return Err(DatasetError::request(
                format!("the window reaches day {}, which is not read", window.last_day()),
                "name a window within the days of --days",
            ));
        }
        match self.format {
            Format::Azure2019 => {
                let days = azure2019::days(&self.files, &self.options)?;
                for day in window.day..=window.last_day() {
                    if days.iter().all(|(there, _)| *there != day) {
                        return Err(DatasetError::request(
                            format!("the window reaches day {day}, which the dataset does not have"),
                            "name a window within the days of the dataset",
                        ));
                    }
                }
                azure2019::minutes(&self.files, &self.options, keys, window)
            }
            format => tall::minutes(&self.files, &self.names, format, &self.options, keys, window),
        }
    }
}
