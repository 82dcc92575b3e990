//! `sb dataset`: production traces of serverless platforms.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use sb_dataset::{Empty, PatternClass, RateDays};

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Count the functions of a dataset, step by step to those that are fit for a load
    #[command(after_help = "Examples:\n  \
        sb dataset summarize azurefunctions-dataset2019\n  \
        sb dataset summarize azurefunctions-dataset2019.tar.xz --format json\n  \
        sb dataset summarize traces --days 1-7 --min-rate 0.5 --rate-day any\n  \
        sb dataset summarize traces --figure funnel.svg")]
    Summarize {
        #[command(flatten)]
        source: SourceArguments,
        #[command(flatten)]
        fit: FitArguments,
        /// Write a figure of the steps, too: .svg, .png or .pdf
        #[arg(long, value_name = "FILE")]
        figure: Option<PathBuf>,
    },
    /// Draw functions that are fit, with a figure of each window and a page to name their patterns by eye
    #[command(
        after_help = "Writes sampled.csv, windows.csv, contact-sheet.html and a figure of each window.\n\n\
        Examples:\n  \
        sb dataset sample traces --output sample\n  \
        sb dataset sample traces --count 100 --window 20m --at 10:00,18:00 --seed 7 --output sample"
    )]
    Sample {
        #[command(flatten)]
        source: SourceArguments,
        #[command(flatten)]
        fit: FitArguments,
        #[command(flatten)]
        windows: WindowArguments,
        /// How many functions; all of them, if there are fewer
        #[arg(long, value_name = "N", default_value = "100")]
        count: usize,
        /// Seed of the choice
        #[arg(long, value_name = "SEED", default_value = "0")]
        seed: u64,
        /// The folder to write
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Name the pattern of each window of the functions that are fit, and the rule that decided
    #[command(
        after_help = "The patterns are steady, fluctuating, spikes, jump and idle; docs/datasets.md has the rules.\n\n\
        Examples:\n  \
        sb dataset classify traces\n  \
        sb dataset classify traces --labels trace_classification.csv      labels decide; how often rules agree\n  \
        sb dataset classify traces --at 10:00 --format csv > features.csv"
    )]
    Classify {
        #[command(flatten)]
        source: SourceArguments,
        #[command(flatten)]
        fit: FitArguments,
        #[command(flatten)]
        windows: WindowArguments,
        /// Labels by hand: a CSV file with the columns HashFunction, time1, time2 …, as the contact sheet saves it
        #[arg(long, value_name = "FILE")]
        labels: Option<PathBuf>,
    },
    /// List functions whose invocations have a pattern, those nearest to a rate first
    #[command(after_help = "Examples:\n  \
        sb dataset select traces --pattern spikes --rate 5\n  \
        sb dataset select traces --pattern jump --at 18:00 --format json")]
    Select {
        #[command(flatten)]
        source: SourceArguments,
        #[command(flatten)]
        fit: FitArguments,
        #[command(flatten)]
        windows: WindowArguments,
        /// steady, fluctuating, spikes or jump
        #[arg(long, value_parser = pattern)]
        pattern: PatternClass,
        /// Mean invocations per second of the window [default: in the order of the functions]
        #[arg(long, value_name = "RATE", value_parser = rate)]
        rate: Option<f64>,
        /// Labels by hand, which override the rules: see `sb dataset classify`
        #[arg(long, value_name = "FILE")]
        labels: Option<PathBuf>,
        /// List at most this many
        #[arg(short, long, value_name = "N", default_value = "20")]
        limit: usize,
    },
    /// Choose functions that together behave as all of the dataset, and write a plan that plays them
    #[command(
        after_help = "Each function is played by an application of the workspace: one that is invoked in the same way and takes\n\
        about as long. Writes the plan, and a folder of its name with the loads and mix.csv, which says who plays whom.\n\n\
        Examples:\n  \
        sb dataset mix traces --functions 50 --rate 200 --for 30m --output plans/mix.toml\n  \
        sb dataset mix traces --rate 50 --for 24h --speed 48 --output plans/day.toml      a day in half an hour\n  \
        sb dataset mix traces --rate 20 --applications applications --seed 7 --output plans/mix.toml"
    )]
    Mix {
        #[command(flatten)]
        source: SourceArguments,
        /// How many functions; all of them, if there are fewer
        #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        functions: u32,
        /// Mean invocations per second of all applications together [default: as traced]
        #[arg(long, value_name = "RATE", value_parser = rate)]
        rate: Option<f64>,
        /// How many minutes of the dataset are played: 20m, 1h
        #[arg(long = "for", value_name = "DURATION", default_value = "20m", value_parser = whole_minutes)]
        minutes: u32,
        /// The day, as the dataset counts [default: the first that is read]
        #[arg(long, value_name = "DAY")]
        day: Option<u32>,
        /// Where the minutes begin: a minute of the day from 1, or a time
        #[arg(long, value_name = "START", default_value = "600", value_parser = start)]
        at: u16,
        /// Play the minutes so many times as fast: a day at 48 takes half an hour
        #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
        speed: f64,
        /// Leave out functions with this trigger; may be repeated
        #[arg(long, value_name = "TRIGGER")]
        without: Vec<String>,
        /// Seed of the choice
        #[arg(long, value_name = "SEED", default_value = "0")]
        seed: u64,
        /// Manifests, or folders that are searched for them [default: this folder]
        #[arg(long, value_name = "PATH", num_args = 1..)]
        applications: Vec<PathBuf>,
        /// The plan to write; it must be where the applications can be reached from
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Replace a plan of an earlier mix, and the files beside it, although somebody has changed them
        #[arg(long)]
        force: bool,
    },
    /// Write minutes of a function as a CSV file for `sb invoke` and plans
    #[command(after_help = "Lines that begin with # say where the numbers are from.\n\n\
        Examples:\n  \
        sb dataset export 4a1f traces --from 600 --minutes 20 > trace.csv\n  \
        sb dataset export 4a1f traces --from 10:00 --window 1h --factor 0.5 --output trace.csv\n  \
        sb dataset export 4a1f traces --window 1h --invocations --output starts.csv\n  \
        sb dataset export 4a1f traces --trigger http --from 1430 --minutes 20 --into-next-day")]
    Export {
        /// The function: its hash, or its name in the dataset
        function: String,
        #[command(flatten)]
        source: SourceArguments,
        #[command(flatten)]
        windows: WindowArguments,
        /// Multiply each count by this, and round to a whole number; with --invocations, thin or multiply them
        #[arg(long, value_name = "FACTOR", default_value = "1", allow_negative_numbers = true)]
        factor: f64,
        /// The owner, if several have a function of this name
        #[arg(long, value_name = "NAME")]
        owner: Option<String>,
        /// The application, if several have a function of this name
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        /// What calls the function, if several triggers do
        #[arg(long, value_name = "TRIGGER")]
        trigger: Option<String>,
        /// Add up all functions that are meant
        #[arg(long)]
        sum: bool,
        /// Continue a window that passes the end of the day on the next day
        #[arg(long)]
        into_next_day: bool,
        /// Write the start of each invocation instead of counts, for `trace` of a load; of datasets that have them
        #[arg(long, conflicts_with = "plain")]
        invocations: bool,
        /// Leave out the lines that say where the numbers are from
        #[arg(long)]
        plain: bool,
        /// Write this file [default: the standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Which dataset, and what of it is read.
#[derive(Debug, Args)]
pub(crate) struct SourceArguments {
    /// The dataset: a folder, a file, or a tar or zip archive; files may be .gz, .zst or .xz [default: this folder]
    pub dataset: Option<PathBuf>,
    /// The days that are read: 1-14, or one day [default: all days that the dataset was published with]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub days: Option<RangeInclusive<u32>>,
    /// What an empty cell means: `refuse` (the file is broken) or `zero` (no invocation; they are counted)
    #[arg(long, value_name = "MEANING", default_value = "refuse", value_parser = empty)]
    pub empty: Empty,
}

/// Which functions are fit.
#[derive(Debug, Args)]
pub(crate) struct FitArguments {
    /// Leave out functions with this trigger; may be repeated [default: timer]
    #[arg(long, value_name = "TRIGGER")]
    pub without: Vec<String>,
    /// Leave out no trigger
    #[arg(long, conflicts_with = "without")]
    pub all_triggers: bool,
    /// Lowest mean of a day, in invocations per second
    #[arg(long, value_name = "RATE", default_value = "1", value_parser = rate)]
    pub min_rate: f64,
    /// When the rate must be reached: on the `first` day, on a day such as 3, on `any`, or on `all`
    #[arg(long, value_name = "DAY", default_value = "first", value_parser = rate_days)]
    pub rate_day: RateDays,
}

/// Which minutes.
#[derive(Debug, Args)]
pub(crate) struct WindowArguments {
    /// The day of the windows, as the dataset counts [default: the first that is read]
    #[arg(long, value_name = "DAY")]
    pub day: Option<u32>,
    /// Where windows begin: minutes of the day from 1, or times, separated by commas; minute 601 is 10:00–10:01 [default:
    /// the study's 600,1080; of an export 600]
    #[arg(long, visible_alias = "from", value_name = "START", value_delimiter = ',', value_parser = start)]
    pub at: Vec<u16>,
    /// Minutes of a window [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=14_400), conflicts_with = "window")]
    pub minutes: Option<u32>,
    /// The same as a duration: 20m, 1h
    #[arg(long, value_name = "DURATION", value_parser = whole_minutes)]
    pub window: Option<u32>,
}

fn days(text: &str) -> Result<RangeInclusive<u32>, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.trim().parse(), to.trim().parse()) {
        (Ok(from), Ok(to)) if from <= to && to < 10_000 => Ok(from..=to),
        _ => Err("write days as 1-14, or one day as 3".to_owned()),
    }
}

fn empty(text: &str) -> Result<Empty, String> {
    match text {
        "refuse" => Ok(Empty::Refuse),
        "zero" => Ok(Empty::Zero),
        _ => Err("write `refuse` or `zero`".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| "a rate is a number of invocations per second, 0 or more".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| (0.001..=100_000.0).contains(speed));
    speed.ok_or_else(|| "a speed is a number from 0.001 to 100000; 2 plays twice as fast".to_owned())
}

fn rate_days(text: &str) -> Result<RateDays, String> {
    match text {
        "first" => Ok(RateDays::First),
        "any" => Ok(RateDays::Any),
        "all" => Ok(RateDays::All),
        day => day
            .parse()
            .map(RateDays::Day)
            .map_err(|_| "write first, any, all, or the number of a day".to_owned()),
    }
}

/// A minute of the day, from 1: `10:00` begins minute 601.
fn start(text: &str) -> Result<u16, String> {
    let wrong = || "write a minute of the day from 1 to 1440, or a time from 00:00 to 23:59".to_owned();
    if let Some((hour, minute)) = text.split_once(':') {
        let hour: u16 = hour.parse().ok().filter(|hour| *hour < 24).ok_or_else(wrong)?;
        let minute: u16 = minute.parse().ok().filter(|minute| *minute < 60).ok_or_else(wrong)?;
        return Ok(60 * hour + minute + 1);
    }
    text.parse().ok().filter(|minute| (1..=1440).contains(minute)).ok_or_else(wrong)
}

fn whole_minutes(text: &str) -> Result<u32, String> {
    let duration: Duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let seconds = duration.as_secs();
    let is_whole = duration.subsec_nanos() == 0 && seconds.is_multiple_of(60);
    let minutes =
        u32::try_from(seconds / 60).ok().filter(|minutes| is_whole && (1..=14_400).contains(minutes));
    minutes.ok_or_else(|| "a window lasts whole minutes, from 1m to 10days".to_owned())
}

fn pattern(text: &str) -> Result<PatternClass, String> {
    let known = PatternClass::STUDY.map(PatternClass::name).join(", ");
    PatternClass::by_name(text).ok_or_else(|| format!("there is no pattern `{text}`, only {known} and idle"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_begins_the_minute_that_follows_it() {
        assert_eq!(start("00:00"), Ok(1));
        assert_eq!(start("10:00"), Ok(601));
        assert_eq!(start("23:59"), Ok(1440));
        assert_eq!(start("600"), Ok(600));
        for wrong in ["0", "1441", "24:00", "10:60", "x", "-1"] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
        assert_eq!(whole_minutes("1h"), Ok(60));
        assert!(whole_minutes("90s").is_err());
        assert_eq!(days("1-14"), Ok(1..=14));
        assert_eq!(days("3"), Ok(3..=3));
        assert!(days("4-1").is_err());
    }
}
