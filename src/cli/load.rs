//! What is sent, and what a load may lose.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use sb_plan::plan::GivenTolerances;

/// When a run asks before it starts.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Start without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Ask first if the run is predicted to take longer
    #[arg(long, value_name = "DURATION", default_value = "4h", env = "SB_CONFIRM_DURATION", value_parser = humantime::parse_duration)]
    pub confirm_duration: Duration,
    /// Ask first if the run is predicted to cost more than this many US dollars
    #[arg(long, value_name = "USD", default_value_t = 10.0, env = "SB_CONFIRM_COST_USD")]
    pub confirm_cost_usd: f64,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct KeepArguments {
    /// If a step fails, leave its deployment in place; `sb cleanup RUN` removes it later
    #[arg(long)]
    pub keep_on_failure: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ToleranceArguments {
    /// Share of requests (0 to 1) that may fail; above it, a trial is invalid (exit code 5) [default: the load's, or 0.01]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub max_error_rate: Option<f64>,
    /// Share of planned invocations (0 to 1) that may be dropped; above it, a trial is invalid [default: the load's, or 0.01]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub max_dropped: Option<f64>,
}

impl ToleranceArguments {
    pub(crate) fn given(self) -> GivenTolerances {
        GivenTolerances { max_error_rate: self.max_error_rate, max_dropped: self.max_dropped }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share is from 0 to 1: 0.05 is five percent".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// How many requests to send one after another, or `constant`, or `users`, or a pattern (steady, fluctuating,
    /// spikes, jump, bursty; with -20rps or -72rps others), or a CSV file with the column `InvocationsPerMinute`
    #[arg(allow_negative_numbers = true)]
    pub load: Option<String>,
    /// Invocations per second; for patterns and CSV files, the mean
    #[arg(long, allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// Length of a load of `constant` or `users`, for example 90s
    #[arg(long, value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// For `users`: how many send at once, each waiting for its answer
    #[arg(long, value_name = "NUMBER")]
    pub users: Option<u64>,
    /// For `users`: pause before a user sends again: 2s, min=1s,max=3s, mean=2s, or median=1s,p99=10s [default: 0s]
    #[arg(long, value_name = "TIME")]
    pub think_time: Option<String>,
    /// For patterns and CSV files: multiply the recorded rate by this
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true, conflicts_with = "rate")]
    pub scale_factor: Option<f64>,
    /// How rates are multiplied: `linear`, or `compound`, which raises high rates more than low ones
    #[arg(long, value_name = "TYPE")]
    pub scale_type: Option<String>,
    /// For patterns and CSV files: leave this much out at the beginning [default: 3m]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub skip: Option<Duration>,
    /// For patterns and CSV files: seed of the fluctuation within a minute [default: 0]
    #[arg(long = "load-seed", value_name = "SEED")]
    pub load_seed: Option<u64>,
    /// For patterns and CSV files: arrivals within a second: even, uniform or poisson
    #[arg(long, value_name = "PROCESS")]
    pub arrivals: Option<String>,
    /// Play the load this many times faster
    #[arg(long, allow_negative_numbers = true)]
    pub speed: Option<f64>,
    /// Expected time of an answer, from which k6's virtual users are counted [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub expected_latency: Option<Duration>,
    /// JSON file with options for k6, instead of a load; for workloads with a script
    #[arg(long, value_name = "FILE", conflicts_with_all = ["load", "rate", "duration", "users", "think_time", "scale_factor", "scale_type", "skip", "load_seed", "arrivals", "speed", "expected_latency"])]
    pub k6_options: Option<PathBuf>,
    /// File with the keys that `[load]` has in a plan
    #[arg(long = "load", value_name = "FILE", conflicts_with_all = ["load", "rate", "duration", "users", "think_time", "scale_factor", "scale_type", "skip", "load_seed", "arrivals", "speed", "expected_latency", "k6_options"])]
    pub load_file: Option<PathBuf>,
}

impl LoadArguments {
    /// Whether a number of requests, a shape or a file is given.
    pub(crate) fn says_how_many(&self) -> bool {
        self.load.is_some() || self.k6_options.is_some() || self.load_file.is_some()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkloadCommand {
    /// Plot the rates of a load, or of an invocation
    #[command(after_help = "Examples:\n  \
        sb workload show fluctuating                             as recorded\n  \
        sb workload show spikes --rate 20 --svg spikes.svg       as an image\n  \
        sb workload show --load load.toml                        a load written as in plans\n  \
        sb workload show logs/2026-01-31_12-00-00                planned, sent and answered")]
    Show {
        #[command(flatten)]
        load: LoadArguments,
        /// Write an SVG image to this file instead
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Write the rates of a load per second, or as options for k6
    #[command(after_help = "Examples:\n  \
        sb workload generate jump --rate 20 > jump.csv           columns second,invocations\n  \
        sb workload generate trace.csv --scale-factor 2 --format k6 > options.json")]
    Generate {
        #[command(flatten)]
        load: LoadArguments,
    },
}
