//! The rows of the state, with types of their own.

use std::path::PathBuf;

use serde_json::{Map, Value};

use sb_plan::event::Verdict;
use sb_plan::id::{DeploymentId, RunId};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunRow {
    pub id: RunId,
    /// Milliseconds since the epoch.
    pub created_ms: i64,
    /// What was asked for, as the command wrote it.
    pub request: String,
    /// Of measurement and of cleanup, once every step has ended. Follows from the run's events.
    pub ended: Option<(Verdict, Verdict)>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeploymentRow {
    pub id: DeploymentId,
    pub run: RunId,
    pub benchmark: String,
    pub target: String,
    pub manifest: PathBuf,
    pub opened_ms: i64,
    pub debt: Debt,
    pub params: Map<String, Value>,
    pub outputs: Map<String, Value>,
    pub logs: Option<PathBuf>,
}

/// Whether a deployment's cleanup is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Debt {
    /// No deploy step has started.
    Open,
    Owed,
    Paid,
}

impl Debt {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Owed => "owed",
            Self::Paid => "paid",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Owed, Self::Paid].into_iter().find(|debt| debt.as_str() == text)
    }
}
