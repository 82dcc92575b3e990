#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

pub mod document;
pub mod http;
pub mod k6_options;
mod noise;
mod origin;
pub mod pattern;
pub mod schedule;
pub mod template;
pub mod upscale;
pub mod users;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::origin::{Minutes, Origin};
use self::upscale::Scaling;
use self::users::ThinkTime;
use crate::template::Template;

/// What is sent: weighted requests and sequences of requests, checked, paths made absolute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// The requests that an invocation may send alone.
    pub requests: Vec<Request>,
    /// The sequences that it may send instead.
    #[serde(default)]
    pub sequences: Vec<Sequence>,
    /// Until a request counts as timed out, where it does not say so itself.
    pub timeout: Duration,
    /// How all of them are sent.
    #[serde(default)]
    pub settings: Settings,
}

impl Workload {
    /// How many requests and sequences there are for an invocation to choose from.
    pub fn choices(&self) -> usize {
        self.requests.len() + self.sequences.len()
    }

    /// Where all of its requests go.
    pub fn urls(&self) -> impl Iterator<Item = &Template> {
        let sequences = self.sequences.iter().flat_map(|sequence| &sequence.requests);
        self.requests.iter().chain(sequences).map(|request| &request.url)
    }
}

/// Requests that one invocation sends one after another, each when the one before was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// Also the request type by which reports group.
    pub name: String,
    /// Relative share among the requests and sequences of the workload, above 0.
    pub weight: f64,
    /// In the order in which they are sent; at least one.
    pub requests: Vec<Request>,
}

/// How the native load generator speaks to servers, and what it writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `None`: HTTP/1.1 over http, and what the server prefers over https.
    pub http_version: Option<HttpVersion>,
    /// Otherwise every request has a connection of its own.
    pub connection_reuse: bool,
    /// Certificates (PEM) that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Otherwise any certificate will do.
    pub verify_certificates: bool,
    /// Which header carries the trace id of an invocation.
    pub trace_header: TraceHeader,
    /// Cookies of an answer are sent with the later requests of its sequence.
    pub cookies: bool,
    /// Whether `k6_metrics.csv` is written: some 13 rows for each request.
    pub k6_metrics: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http_version: None,
            connection_reuse: true,
            ca_file: None,
            verify_certificates: true,
            trace_header: TraceHeader::Both,
            cookies: false,
            k6_metrics: true,
        }
    }
}

/// A version of HTTP that the native load generator speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: agreed in the TLS handshake over https, without asking over http.
    Http2,
}

/// Which header tells the application an invocation's trace id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceHeader {
    /// `X-Amzn-Trace-Id`.
    Xray,
    /// `traceparent` of W3C Trace Context.
    Traceparent,
    /// Both of them, with the same id.
    #[default]
    Both,
    /// Neither: requests cannot be found among traces.
    None,
}

/// One kind of request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Also the request type by which reports group.
    pub name: String,
    /// Relative share among the requests of the workload, above 0.
    pub weight: f64,
    /// The HTTP method: `GET`.
    pub method: String,
    /// Where it goes. Values after the start are percent-encoded.
    pub url: Template,
    /// Names and values, in the order of the manifest.
    pub headers: Vec<(String, Template)>,
    /// What is sent after the headers.
    pub body: Body,
    /// Which answers count as a success.
    #[serde(default)]
    pub expect: Expect,
    /// In place of the workload's.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// What the later requests of a sequence know as `extracted.NAME`.
    #[serde(default)]
    pub extract: Vec<Extract>,
}

/// A value taken from an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extract {
    /// The name after `extracted.`.
    pub name: String,
    /// Where the value is found.
    pub source: ExtractSource,
}

/// Where an [`Extract`] finds its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtractSource {
    /// What a JSON pointer finds in the body.
    Json(String),
    /// The group of a regular expression, or all that it matches, in the body.
    Regex(String),
    /// A header, or what a regular expression finds in it.
    Header {
        /// The header's name; letter case does not matter.
        name: String,
        /// None: all of the header's value.
        regex: Option<String>,
    },
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// There is none.
    Empty,
    /// `body = "…"`: rendered with values as they are, or JSON-escaped where `json` is true
    /// (the content-type header says JSON, or the body starts with `{` or `[`).
    Text {
        /// The text, with placeholders.
        template: Template,
        /// Whether values are escaped for JSON.
        json: bool,
    },
    /// `body_file`: sent byte for byte.
    File(PathBuf),
}

/// Which answers count as a success: all that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expect {
    /// Accepted status codes; empty: every 2xx and 3xx.
    pub status: Vec<u16>,
    /// A text that the body holds.
    pub contains: Option<String>,
    /// Values at JSON pointers of the body.
    pub json: Vec<(String, serde_json::Value)>,
    /// A regular expression that matches in the body.
    pub regex: Option<String>,
}

/// When it is sent, and what makes the result unusable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// How many invocations, and when.
    pub shape: LoadShape,
    /// Plays the load this many times faster (above 0; 1 is real time).
    pub speed: f64,
    /// What an answer is expected to take, where somebody said so: see [`Load::expected_latency`].
    #[serde(default)]
    pub expected_latency: Option<Duration>,
    /// What makes the result unusable.
    pub tolerances: Tolerances,
    /// Whether the first invocations send each request and each sequence of the workload once, in its order, before they
    /// are chosen by weight. A script chooses by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub each_once: bool,
}

impl Load {
    /// Where nothing is said.
    pub const EXPECTED_LATENCY: Duration = Duration::from_secs(1);

    /// In real time, with the default tolerances.
    pub fn new(shape: LoadShape) -> Self {
        Self {
            shape,
            speed: 1.0,
            expected_latency: None,
            tolerances: Tolerances::default(),
            each_once: false,
        }
    }

    /// What an answer is expected to take: so many virtual users are made ready in the options for k6.
    pub fn expected_latency(&self) -> Duration {
        self.expected_latency.unwrap_or(Self::EXPECTED_LATENCY)
    }

    /// How many invocations are under way at once, at the highest rate, when each takes as long as expected.
    pub fn peak_concurrency(&self) -> f64 {
        let at_rate = |rate: f64| (rate * self.speed * self.expected_latency().as_secs_f64()).max(1.0);
        match &self.shape {
            LoadShape::Iterations { .. } => 1.0,
            LoadShape::Constant { rate, .. } => at_rate(*rate),
            LoadShape::Stages { start_rate, stages } => {
                at_rate(stages.iter().map(|stage| stage.target).fold(*start_rate, f64::max))
            }
            LoadShape::Trace(trace) => {
                at_rate(f64::from(trace.per_second().into_iter().max().unwrap_or_default()))
            }
            LoadShape::Bursts { size, at } => {
                let span = self.expected_latency().as_secs_f64() * self.speed;
                *size as f64 * most_within(at, span) as f64
            }
            LoadShape::Replay(replay) => {
                let span = self.expected_latency().as_secs_f64() * self.speed;
                most_within(&replay.at, span) as f64
            }
            LoadShape::Users { users, .. } => *users as f64,
            LoadShape::K6(options) => k6_options::most_users(options),
        }
    }
}

/// How many of some times, which are sorted, lie within any span of so many seconds; its end does not belong to it.
fn most_within(at: &[Duration], span: f64) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (place, time) in at.iter().enumerate() {
        while first < place && time.as_secs_f64() - at[first].as_secs_f64() >= span {
            first += 1;
        }
        most = most.max(place + 1 - first);
    }
    most
}

/// How many invocations are sent, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LoadShape {
    /// One invocation after another: the next is sent when the last was answered.
    Iterations {
        /// How many, 1 or more.
        iterations: u64,
    },
    /// Open loop, evenly spaced, `rate` invocations per second.
    Constant {
        /// Invocations per second, above 0.
        rate: f64,
        /// For how long they are sent.
        duration: Duration,
    },
    /// Open loop, ramping linearly from stage to stage, starting at `start_rate` per second.
    Stages {
        /// Invocations per second at the start, 0 or more.
        start_rate: f64,
        /// One after another; at least one.
        stages: Vec<Stage>,
    },
    /// Open loop, after invocations per minute of a production trace.
    Trace(TraceLoad),
    /// `size` invocations together at each of these times from the start, earliest first.
    Bursts {
        /// Invocations of each burst, 1 or more.
        size: u64,
        /// Time of each burst since the start of the load.
        at: Vec<Duration>,
    },
    /// Open loop: an invocation at each of some recorded times.
    Replay(ReplayLoad),
    /// Closed loop: each of so many virtual users sends an invocation, waits for its answer, thinks, and sends the next.
    Users {
        /// How many, 1 or more. All begin at once.
        users: u64,
        /// After this time no invocation begins; those that are under way come to their end.
        duration: Duration,
        /// Between an answer and the next invocation of the same user.
        think_time: ThinkTime,
    },
    /// What k6 reads from these options: how much that is, only k6 knows.
    K6(serde_json::Value),
}

/// Rates of a trace, brought from minutes to seconds when the load is planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceLoad {
    /// The pattern's name, or the file's.
    pub name: String,
    /// Invocations in each minute, 0 or more.
    pub per_minute: Vec<f64>,
    /// What is left out at the beginning, in whole seconds.
    pub skip: Duration,
    /// How the rates are brought to another size.
    pub scaling: Scaling,
    /// Of the fluctuation within minutes, and of random arrivals.
    pub seed: u64,
    /// When the invocations of a second leave.
    pub arrivals: ArrivalProcess,
    /// Where the numbers are from.
    #[serde(default)]
    pub origin: Origin,
}

/// Invocations of a production trace, each at its own time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayLoad {
    /// The file's name.
    pub name: String,
    /// Time of each invocation since the start of the load, before `speed`, earliest first.
    pub at: Vec<Duration>,
    /// Where the times are from.
    #[serde(default)]
    pub origin: Origin,
}

/// When the invocations of a second leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrivalProcess {
    /// At equal distances.
    #[default]
    Even,
    /// Each at a random moment; the number per second stays as planned.
    Uniform,
    /// A Poisson process with the second's rate as its mean, so that the number is random too.
    Poisson,
}

impl TraceLoad {
    /// Invocations in all: the sum of [`per_second`](Self::per_second), mostly without the work that those take.
    pub fn total(&self) -> u64 {
        let skip = self.skip.as_secs();
        let whole_minutes = skip.is_multiple_of(60).then(|| usize::try_from(skip / 60).ok()).flatten();
        let known = whole_minutes
            .filter(|_| self.arrivals != ArrivalProcess::Poisson)
            .and_then(|minutes| upscale::total(self.per_minute.get(minutes..)?, self.scaling));
        known.unwrap_or_else(|| self.per_second().into_iter().map(u64::from).sum())
    }

    /// No second has more invocations than this, before `speed`, or, for a Poisson process, no second has a higher mean. It takes
    /// no work; infinite where it says nothing.
    pub fn most_per_second(&self) -> f64 {
        let skip = usize::try_from(self.skip.as_secs()).unwrap_or(usize::MAX);
        upscale::most_per_second(&self.per_minute, skip, self.scaling)
    }

    /// Invocations in each second, before `speed`.
    pub fn per_second(&self) -> Vec<u32> {
        use rand::SeedableRng as _;
        use rand_distr::{Distribution as _, Poisson};

        let skip = usize::try_from(self.skip.as_secs()).unwrap_or(usize::MAX);
        let mut counts = upscale::per_second(&self.per_minute, skip, self.scaling, self.seed);
        if self.arrivals == ArrivalProcess::Poisson {
            let mut random = rand::rngs::ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(1));
            for count in &mut counts {
                // Refused only for a mean of zero, which is zero.
                *count =
                    Poisson::new(f64::from(*count)).map_or(0, |poisson| poisson.sample(&mut random) as u32);
            }
        }
        counts
    }
}

/// A part of [`LoadShape::Stages`]: the rate changes linearly from that of the stage before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Invocations per second at the end of the stage.
    pub target: f64,
    /// How long the stage lasts.
    pub duration: Duration,
}

/// A trial that misses one of these is marked invalid. Shares lie in 0..=1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerances {
    /// Share of requests that may fail.
    #[serde(deserialize_with = "share")]
    pub max_error_rate: f64,
    /// Share of planned invocations that may be dropped.
    #[serde(deserialize_with = "share")]
    pub max_dropped: f64,
    /// How late an invocation may be sent. `None`: no limit.
    pub max_lateness: Option<Duration>,
}

/// Runs that versions before 0.3 recorded have `null` for no limit.
fn share<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(1.0))
}

impl Default for Tolerances {
    /// Strict enough that a broken application is no result, and that a hiccup of the network spoils none.
    fn default() -> Self {
        Self { max_error_rate: 0.01, max_dropped: 0.01, max_lateness: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_peak(shape: LoadShape, speed: f64, latency_ms: u64, expected: f64) {
        let expected_latency = Duration::from_millis(latency_ms);
        let load = Load { speed, expected_latency: Some(expected_latency), ..Load::new(shape) };
        assert!((load.peak_concurrency() - expected).abs() < 1e-9, "{}", load.peak_concurrency());
    }

    #[test]
    fn the_peak_of_a_load_is_its_highest_rate_times_what_an_answer_takes() {
        let minute = Duration::from_mins(1);
        check_peak(LoadShape::Iterations { iterations: 1000 }, 10.0, 5000, 1.0);
        check_peak(LoadShape::Constant { rate: 100.0, duration: minute }, 1.0, 2500, 250.0);
        check_peak(LoadShape::Constant { rate: 0.1, duration: minute }, 1.0, 100, 1.0);
        let stages = [30.0, 10.0].map(|target| Stage { target, duration: minute }).to_vec();
        check_peak(LoadShape::Stages { start_rate: 5.0, stages }, 2.0, 1000, 60.0);
        let think_time = ThinkTime::Fixed(minute);
        check_peak(LoadShape::Users { users: 30, duration: minute, think_time }, 5.0, 1000, 30.0);
        check_peak(LoadShape::Bursts { size: 500, at: vec![Duration::ZERO] }, 1.0, 1, 500.0);
        // Three of these five are under way at once, and all of them when they are played ten times faster.
        let at: Vec<Duration> = [0, 400, 800, 1200, 5000].map(Duration::from_millis).to_vec();
        check_peak(LoadShape::Bursts { size: 2, at: at.clone() }, 1.0, 1000, 6.0);
        check_peak(LoadShape::Bursts { size: 2, at }, 10.0, 1000, 10.0);
        let trace = TraceLoad {
            name: "t".to_owned(),
            per_minute: vec![60.0, 120.0],
            skip: Duration::ZERO,
            scaling: Scaling::None,
            seed: 1,
            arrivals: ArrivalProcess::Even,
            origin: Origin::default(),
        };
        let highest = f64::from(trace.per_second().into_iter().max().unwrap());
        assert!(highest >= 2.0);
        check_peak(LoadShape::Trace(trace), 1.0, 1000, highest);
    }
}
