//! The raw shape of a load on the command line.

use std::path::PathBuf;
use std::time::Duration;

/// What `sb invoke` and its like were told about the load.
#[derive(Clone, Debug, Default)]
pub struct LoadArguments {
    /// `10`, `constant`, the name of a pattern, or a CSV file; none: one invocation.
    pub load: Option<String>,
    /// Invocations per second.
    pub rate: Option<f64>,
    pub duration: Option<Duration>,
    pub scale_factor: Option<f64>,
    pub scale_type: Option<String>,
    pub skip: Option<Duration>,
    pub seed: Option<u64>,
    pub arrivals: Option<String>,
    pub expected_latency: Option<Duration>,
    pub speed: Option<f64>,
    /// A file of options for k6, instead of a load.
    pub k6_options: Option<PathBuf>,
    pub max_error_rate: Option<f64>,
    pub max_dropped: Option<f64>,
    pub max_lateness: Option<Duration>,
    /// What relative paths count from; absolute.
    pub folder: PathBuf,
}
