//! A step of a run's graph.

use std::sync::Arc;
use std::time::Duration;

use crate::benchmark::{Action, ManifestStep, Phase};
use crate::id::StepId;

/// A step of a run's graph: one thing that is tried, and that ends.
#[derive(Clone, Debug)]
pub struct Step {
    /// Unique in the run.
    pub id: StepId,
    /// Index of its deployment.
    pub deployment: usize,
    /// Index of its trial on the deployment, for the steps of a trial.
    pub trial: Option<usize>,
    /// Smaller goes first where several steps could start.
    pub rank: u32,
    /// What kind of step it is.
    pub kind: StepKind,
}

/// Where a [`Step`] comes from.
#[derive(Clone, Debug)]
pub enum StepKind {
    /// A step of the manifest.
    Manifest(Arc<ManifestStep>),
    /// A pause of the plan: it holds no slot.
    Pause {
        /// How long it lasts.
        duration: Duration,
        /// What the pause is for, in a word or two.
        why: &'static str,
    },
    /// Fetches the traces of a trial.
    GetTraces,
    /// Analyses the traces of a trial.
    AnalyzeTraces,
    /// Decides after a trial whether its deployment needs another one.
    Decide,
}

impl Step {
    /// The manifest's step, where it is one.
    pub fn manifest(&self) -> Option<&Arc<ManifestStep>> {
        match &self.kind {
            StepKind::Manifest(step) => Some(step),
            _ => None,
        }
    }

    /// Whether it removes what was deployed.
    pub fn is_cleanup(&self) -> bool {
        self.phase() == Some(Phase::Cleanup)
    }

    /// Whether it makes an application ready.
    pub fn is_deploy(&self) -> bool {
        self.phase() == Some(Phase::Deploy)
    }

    /// Sends load, or does whatever else the manifest does to invoke the application.
    pub fn is_invoke(&self) -> bool {
        self.phase() == Some(Phase::Invoke)
    }

    /// Whether it leaves a process or container that is kept alive until the deployment's cleanup.
    pub fn is_background(&self) -> bool {
        self.manifest().is_some_and(|step| matches!(step.action, Action::Background(_)))
    }

    /// The phase of the manifest's step. None: the plan has the step of its own.
    pub fn phase(&self) -> Option<Phase> {
        self.manifest().map(|step| step.phase)
    }

    /// How long it pauses, if that is all it does.
    pub fn pause(&self) -> Option<Duration> {
        match &self.kind {
            StepKind::Pause { duration, .. } => Some(*duration),
            StepKind::Manifest(step) => match step.action {
                Action::Wait(duration) => Some(duration),
                _ => None,
            },
            _ => None,
        }
    }

    /// What it does, in a word or two.
    pub fn action_name(&self) -> &'static str {
        match &self.kind {
            StepKind::Pause { why, .. } => why,
            StepKind::GetTraces => "get traces",
            StepKind::AnalyzeTraces => "analyze traces",
            StepKind::Decide => "decide",
            StepKind::Manifest(step) => match step.action {
                Action::Run(_) => "run",
                Action::Background(_) => "background",
                Action::StopBackground => "stop background",
                Action::Wait(_) => "wait",
                Action::WaitFor(_) => "wait for",
                Action::Load => "load",
                Action::LocalUp(_) => "local up",
                Action::LocalDown { .. } => "local down",
                Action::Tool(ref tool) => tool.tool.name(),
                Action::StackUp(ref up) if up.synthesis.is_some() => "cdk",
                Action::StackUp(_) => "stack up",
                Action::StackDown => "stack down",
                Action::OtlpUp => "receiver up",
                Action::OtlpDown => "receiver down",
            },
        }
    }
}
