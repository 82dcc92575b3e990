//! A step that a manifest declares, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{Image, Retry};
use sb_sam::LocalSettings;
use sb_workload::template::Template;

/// The part of a deployment's life that a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before any trial: makes the application ready.
    Deploy,
    /// Once for each trial: sends load.
    Invoke,
    /// At the end, whatever happened: removes what was deployed.
    Cleanup,
}

/// A step as the manifest declares it, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestStep {
    /// The part of the deployment's life in which it runs.
    pub phase: Phase,
    /// Unique per phase and target; letters, digits, `-`, `_`.
    pub name: String,
    /// Names of steps of the same phase and target that must succeed first. Resolved: without `needs` in the
    /// file, the step before (none for the first).
    pub needs: Vec<String>,
    /// What it does.
    pub action: Action,
    /// What the files hold that it runs or deploys, as far as they were looked at.
    pub contents: BTreeMap<PathBuf, String>,
    /// Where and as what its command runs.
    pub environment: Environment,
    /// The step fails after this long. None: it may take any time.
    pub timeout: Option<Duration>,
    /// What follows a failure.
    pub retry: Retry,
    /// Whether what needs this step goes on although it failed.
    pub allow_failure: bool,
    /// Run in order after a failed attempt, before the next.
    pub recover: Vec<Recovery>,
    /// Values taken from what the step wrote, by the name after `outputs.`.
    pub outputs: BTreeMap<String, Output>,
    /// What an interruption means for it.
    pub on_interrupt: OnInterrupt,
    /// Named limits taken while the step runs.
    pub locks: Vec<String>,
}

/// A command that runs between a failed attempt and the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovery {
    /// What runs.
    pub command: Command,
    /// Where and as what it runs.
    pub environment: Environment,
}

/// Where and as what a command runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    /// None: that of [`Images::STEP`](super::Images::STEP).
    pub image: Option<Image>,
    /// The shell that runs a shell string; default `["sh", "-c"]`.
    pub shell: Vec<String>,
    /// Environment variables, by name.
    pub env: BTreeMap<String, Template>,
    /// Relative to the manifest's folder inside the root.
    pub workdir: Option<Template>,
    /// User (and group) in the container. None: the image's.
    pub user: Option<String>,
    /// Docker network. None: the engine's default.
    pub network: Option<String>,
    /// Limits of the container.
    pub limits: Limits,
    /// Kinds of credentials that the command may use, of [`CREDENTIALS`](crate::benchmark::CREDENTIALS).
    pub credentials: Vec<String>,
}

/// Limits of a container; none: as the engine has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Processors, from 0.01 to 1024.
    pub cpus: Option<f64>,
    /// Bytes of memory, 6 MiB or more.
    pub memory_bytes: Option<u64>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Runs a command.
    Run(Command),
    /// Pauses.
    Wait(Duration),
    /// Asks a URL until it answers.
    WaitFor(WaitFor),
    /// Drives the workload with the chosen load.
    Load,
    /// Starts the functions of a SAM template in the local target.
    LocalUp(Box<LocalUp>),
    /// Stops the local target.
    LocalDown {
        /// So many first attempts fail on purpose.
        failures: u32,
    },
    /// Deploys with the command line of a tool, or removes what it has deployed.
    Tool(Box<ToolStep>),
    /// Deploys a SAM or CloudFormation template as a stack on AWS.
    StackUp(Box<StackUp>),
    /// Removes the stack that the deploy step of the same name has made, and all that came with it.
    StackDown,
    /// Starts the receiver of OpenTelemetry.
    OtlpUp,
    /// Stops the receiver of OpenTelemetry.
    OtlpDown,
    /// Starts a command that is kept alive until the deployment's cleanup.
    Background(Box<Background>),
    /// Stops the background steps of the deployment.
    StopBackground,
}

impl Action {
    /// The command that it runs, whether the step waits for its end or not.
    pub fn command(&self) -> Option<&Command> {
        match self {
            Self::Run(command) => Some(command),
            Self::Background(background) => Some(&background.command),
            Self::Tool(tool) => Some(&tool.command),
            Self::StackUp(up) => up.synthesis.as_ref().map(|synthesis| &synthesis.command),
            _ => None,
        }
    }

    /// The template that it deploys, and the values for its parameters.
    pub fn template(&self) -> Option<(&Path, &BTreeMap<String, Template>)> {
        match self {
            Self::LocalUp(up) => Some((&up.template, &up.parameters)),
            Self::StackUp(up) if up.synthesis.is_none() => Some((&up.template, &up.parameters)),
            _ => None,
        }
    }
}

/// A command line that deploys, and that can remove what it has deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// The command line of Azure, with a Bicep template.
    Bicep,
    /// The AWS CDK, which synthesizes a template.
    Cdk,
    /// Terraform or OpenTofu.
    Terraform,
}

impl Tool {
    /// As the key of its steps is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bicep => "bicep",
            Self::Cdk => "cdk",
            Self::Terraform => "terraform",
        }
    }
}

/// What a tool is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolStep {
    /// The tool.
    pub tool: Tool,
    /// Does it.
    pub command: Command,
    /// Of the tool's own, by name, where they do not stand in the command.
    pub variables: BTreeMap<String, ToolValue>,
}

/// The value of a tool's variable.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolValue {
    /// The value.
    pub value: Template,
    /// Whether it is written as the tool's language writes lists and maps, and not as a text.
    pub is_expression: bool,
}

/// A template that becomes a stack on AWS.
#[derive(Clone, Debug, PartialEq)]
pub struct StackUp {
    /// The template, absolute; of a CDK application its folder.
    pub template: PathBuf,
    /// Of the template, beside the benchmark's.
    pub parameters: BTreeMap<String, Template>,
    /// What makes the template. None: it is there.
    pub synthesis: Option<Synthesis>,
}

/// The AWS CDK makes a template of an application.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthesis {
    /// Writes the assembly to the folder that it finds in `SB_TOOL_STATE`.
    pub command: Command,
    /// The stack of the application. None: its only one.
    pub stack: Option<String>,
}

/// A command that is kept alive from its deploy step to the end of the deployment's cleanup.
#[derive(Clone, Debug, PartialEq)]
pub struct Background {
    /// Stays in the foreground: when it ends, the background step has ended.
    pub command: Command,
    /// When what needs the step may start.
    pub ready: ReadyCondition,
    /// It fails when it is not ready after this long.
    pub ready_within: Duration,
}

/// When a background step counts as ready.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadyCondition {
    /// As soon as its program runs.
    AtOnce,
    /// A URL answers.
    Http {
        /// The URL.
        url: Template,
        /// The status that counts: 100 to 599.
        status: u16,
    },
    /// A TCP port of this machine takes connections: a number from 1 to 65535.
    Port(Template),
    /// A regular expression matches something that it has printed.
    Log(String),
}

/// What the local target is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalUp {
    /// The template, absolute.
    pub template: PathBuf,
    /// Of the template, beside the benchmark's.
    pub parameters: BTreeMap<String, Template>,
    /// URLs of stand-ins, by the name of the AWS service.
    pub services: BTreeMap<String, Template>,
    /// How the local target behaves.
    pub settings: LocalSettings,
    /// So many first attempts fail on purpose.
    pub failures: u32,
}

/// A command of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// One shell string; values in it are shell-quoted.
    Shell(Template),
    /// Words that meet no shell.
    Argv(Vec<Template>),
}

/// A URL that is asked until it answers as wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitFor {
    /// The URL.
    pub http: Template,
    /// The status that ends the wait: 100 to 599.
    pub status: u16,
    /// The step fails after this long.
    pub timeout: Duration,
}

/// A value that a step makes for later ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Where it is found.
    pub source: OutputSource,
    /// The value where it is not found. None: the step then fails.
    pub default: Option<Value>,
    /// Whether the value stays out of every journal, log, report and argument list.
    pub secret: bool,
}

/// Where an [`Output`] is found.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputSource {
    /// JSON pointer into what the step wrote to standard output.
    Json(String),
    /// First capture group (or the whole match) of the first match in standard output.
    Regex(String),
    /// Line of standard output; negative counts from the end, -1 is the last.
    Line(i64),
    /// All of standard output, the final line end cut off.
    Stdout,
    /// A file relative to the manifest's folder, whole or a JSON pointer into it.
    File {
        /// Relative to the manifest's folder.
        path: PathBuf,
        /// JSON pointer into the file. None: all of it.
        json: Option<String>,
    },
}

/// What the interruption of a runner means for a step that cannot be found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Run the step again as a new attempt.
    Rerun,
    /// Count the interruption as a failure of the step.
    Fail,
}
