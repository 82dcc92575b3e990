//! Workloads: WHAT is sent ([`Workload`]) and WHEN ([`Load`]). Pure: no clock, no network.

pub mod k6_options;
pub mod schedule;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::manifest::template::Template;

/// What is sent: weighted requests, checked, paths made absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    pub requests: Vec<Request>,
    /// Seconds until a request counts as timed out.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Also the request type by which reports group.
    pub name: String,
    /// Relative share among the requests of the workload, above 0.
    pub weight: f64,
    pub method: String,
    pub url: Template,
    pub headers: Vec<(String, Template)>,
    pub body: Body,
    pub expect: Expect,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    Empty,
    /// `body = "…"`: rendered with values as they are, or JSON-escaped where `json` is true
    /// (the content-type header says JSON, or the body starts with `{` or `[`).
    Text {
        template: Template,
        json: bool,
    },
    /// `body_file`: sent byte for byte.
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expect {
    /// Accepted status codes; empty: every 2xx and 3xx.
    pub status: Vec<u16>,
}

/// When it is sent, and what makes the result unusable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    pub shape: LoadShape,
    /// Plays the load this many times faster (above 0; 1 is real time).
    pub speed: f64,
    pub tolerances: Tolerances,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LoadShape {
    /// One invocation after another: the next is sent when the last was answered.
    Iterations { iterations: u64 },
    /// Open loop, evenly spaced, `rate` invocations per second.
    Constant { rate: f64, duration: Duration },
    /// Open loop, ramping linearly from stage to stage, starting at `start_rate` per second.
    Stages { start_rate: f64, stages: Vec<Stage> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Invocations per second at the end of the stage.
    pub target: f64,
    pub duration: Duration,
}

/// A trial that misses one of these is marked invalid. Shares lie in 0..=1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tolerances {
    pub max_error_rate: Option<f64>,
    pub max_dropped: Option<f64>,
    pub max_lateness: Option<Duration>,
}
