//! The raw shape of a load on the command line.

use std::path::PathBuf;
use std::time::Duration;

/// What `sb invoke` and its like were told about the load.
#[derive(Clone, Debug, Default)]
pub struct LoadArguments {
    /// `10`, `constant`, `users`, the name of a pattern, or a CSV file; none: one invocation.
    pub load: Option<String>,
    /// Invocations per second.
    pub rate: Option<f64>,
    /// How many virtual users send in a closed loop.
    pub users: Option<u64>,
    /// How long they think: `2s`, `min=1s,max=3s`, `mean=2s` or `median=1s,p99=10s`.
    pub think_time: Option<String>,
    /// How long a constant load, or one of users, lasts.
    pub duration: Option<Duration>,
    /// Rates of a pattern or file, times this.
    pub scale_factor: Option<f64>,
    /// How a pattern or file is brought to another size.
    pub scale_type: Option<String>,
    /// What is left out at the beginning of a pattern or file, in whole seconds.
    pub skip: Option<Duration>,
    /// Of every random choice of the load.
    pub seed: Option<u64>,
    /// When the invocations of a second leave: `even`, `uniform` or `poisson`.
    pub arrivals: Option<String>,
    /// What an answer is expected to take.
    pub expected_latency: Option<Duration>,
    /// Plays the load this many times faster.
    pub speed: Option<f64>,
    /// A file of options for k6, instead of a load.
    pub k6_options: Option<PathBuf>,
    /// Share of requests that may fail, 0 to 1.
    pub max_error_rate: Option<f64>,
    /// Share of invocations that may be dropped, 0 to 1.
    pub max_dropped: Option<f64>,
    /// How late an invocation may be sent.
    pub max_lateness: Option<Duration>,
    /// What relative paths count from; absolute.
    pub folder: PathBuf,
}
