//! What a benchmark sends: requests, or a k6 script.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::Image;
use sb_workload::Workload;
use sb_workload::template::Template;

/// What a benchmark sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    /// Requests, which the native load generator sends.
    Requests(Arc<Workload>),
    /// A k6 script.
    Script(Arc<Script>),
}

/// A k6 script.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Absolute.
    pub path: PathBuf,
    /// What it finds in `__ENV`.
    pub env: BTreeMap<String, Template>,
    /// Laid over those of the load.
    pub options: Value,
    /// For containers.
    pub image: Image,
    /// Addresses of Docker engines that share the load; empty: it leaves from where steps run.
    pub generators: Vec<String>,
}
