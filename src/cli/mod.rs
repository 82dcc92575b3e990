//! Command-line arguments: types only. What they mean is resolved in [`crate::settings`] and [`crate::command`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use sb_plan::plan::{Executor, GivenTolerances};

#[derive(Debug, Parser)]
#[command(
    name = "sb",
    version,
    about = "Runs declared serverless benchmarks and tells where the time goes",
    long_about = "Runs serverless-application benchmarks that are declared in a benchmark.toml, collects their distributed traces, \
                  and breaks the latency of each down into activities along its critical path.",
    after_help = "Examples:\n  \
        sb run plans/quickstart.toml        a whole plan: deploy, load, traces, analysis, cleanup\n  \
        sb validate                         check every manifest and plan below this folder\n  \
        sb test                             the application in this folder, once through everything\n  \
        sb prepare && sb invoke 10          deploy it, then send ten invocations\n  \
        sb status --watch                   how far the last run is, until it ends\n  \
        sb resume                           go on with the last run after a crash\n\n\
        Exit codes: 0 done, 1 a step failed, 2 wrong arguments, 3 invalid manifest, 4 a cleanup is owed,\n\
        5 a trial missed its tolerances, 6 locked by another process, 7 state cannot be written, 130 stopped.",
    propagate_version = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The words of the command line; in `sb logs`, `-f` is `--follow`, as people know it from `tail`, and not the common
/// option `--file`, which means nothing there.
pub(crate) fn words(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = given.into_iter().collect();
    let command = Cli::command();
    let takes_value = |word: &str| {
        command.get_arguments().any(|argument| {
            let named = argument.get_short().is_some_and(|short| word == format!("-{short}"))
                || argument.get_long().is_some_and(|long| word == format!("--{long}"));
            named && argument.get_action().takes_values()
        })
    };
    let mut place = 1;
    while let Some(word) = words.get(place).map(|word| word.to_string_lossy().into_owned()) {
        if word == "local" {
            place += 1;
            continue;
        }
        if word == "logs" {
            for word in words[place + 1..].iter_mut().filter(|word| *word == "-f") {
                *word = "--follow".into();
            }
            break;
        }
        if !word.starts_with('-') {
            break;
        }
        place += if takes_value(&word) { 2 } else { 1 };
    }
    words
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Manifest of the application [default: the only one in this folder]
    #[arg(short, long, global = true, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Target to deploy to, where the manifest has several
    #[arg(short, long, global = true, value_name = "NAME")]
    pub target: Option<String>,
    /// Where steps run [default: the plan's, else docker]
    #[arg(long, global = true, value_name = "EXECUTOR", env = "SB_EXECUTOR", value_parser = executor_parser())]
    pub executor: Option<Executor>,
    /// How results are written to standard output
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub format: OutputFormat,
    /// Set a parameter of the manifest; may be repeated
    #[arg(short, long = "param", global = true, value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Folder of the state [default: the nearest .sb, else at the root of the git work tree]
    #[arg(long, global = true, value_name = "PATH", env = "SB_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Show the output of every step as it comes
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// The tmux session that `--tmux` made around this run
    #[arg(long, global = true, value_name = "NAME", hide = true)]
    pub inside_tmux: Option<String>,
}

fn executor_parser() -> impl TypedValueParser<Value = Executor> {
    PossibleValuesParser::new(Executor::ALL.map(Executor::word)).try_map(|word| word.parse::<Executor>())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people; `human` is another name of it
    #[value(alias = "human")]
    Text,
    Json,
    /// Graphviz; for `sb plan graph`, and its default
    Dot,
    /// For `sb plan graph`
    Mermaid,
    /// For `sb analyze-traces FILE`: trace_breakdown.parquet as well
    Parquet,
    /// For `sb workload generate`, and its default
    Csv,
    /// Options for k6; for `sb workload generate`
    K6,
    /// Annotations of GitHub Actions; for `sb validate`
    Github,
    /// SARIF 2.1.0, for code scanning; for `sb validate`
    Sarif,
    /// JUnit XML, a test for each file; for `sb validate`
    Junit,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a plan: every application through deploy, load, traces, analysis and cleanup
    #[command(after_help = "Example:\n  sb run plans/quickstart.toml --seed 7")]
    Run {
        plan: PathBuf,
        /// Seed of everything drawn at random [default: the plan's]
        #[arg(long)]
        seed: Option<u64>,
        /// In a tmux session of its own, which outlives this terminal; if the plan's session runs already, join it
        #[arg(long)]
        tmux: bool,
        /// Begin a run although one of this plan goes on, or has not ended and still has something deployed
        #[arg(long)]
        anew: bool,
        #[command(flatten)]
        keep: KeepArguments,
        #[command(flatten)]
        tolerances: ToleranceArguments,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Go on with a run whose runner was killed or left
    #[command(
        after_help = "A run whose plan or manifests were edited since is refused, with the difference, until one of\n\
            --accept-changes and --as-started says what is meant."
    )]
    Resume {
        /// [default: the last run that has not ended]
        run: Option<String>,
        /// Go on with the files as they are now: what has not changed is kept, the rest runs again
        #[arg(long, conflicts_with = "as_started")]
        accept_changes: bool,
        /// Go on with the files as they were when the run was started
        #[arg(long)]
        as_started: bool,
        /// In a tmux session of its own, which outlives this terminal; if the run's session runs already, join it
        #[arg(long)]
        tmux: bool,
    },
    /// List runs, the newest first
    Runs {
        /// At most so many
        #[arg(short, long, value_name = "N", default_value = "20")]
        limit: usize,
    },
    /// Show runs and deployments, or how far one run is
    #[command(
        after_help = "Examples:\n  sb status --watch                  the last run, until it ends\n  sb status quickstart --all         every step of the run that has this in its id"
    )]
    Status {
        /// A run's id, or a part of it
        run: Option<String>,
        /// Look every second until the run ends [default run: the last]; the exit code is the run's
        #[arg(short, long)]
        watch: bool,
        /// Every step, also of a run with very many
        #[arg(short, long, conflicts_with = "watch")]
        all: bool,
    },
    /// Watch a run in a web browser, on this machine or through an SSH tunnel
    #[command(
        after_help = "Example:\n  sb ui --port 8400          and, from afar: ssh -L 8400:127.0.0.1:8400 HOST"
    )]
    Ui {
        /// [default: the last run]
        #[arg(long)]
        run: Option<String>,
        /// [default: one that is free]
        #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
        port: u16,
    },
    /// Show what a run measured, or the invocation in a folder
    Report {
        /// A run, or folders of invocations [default: the last run]
        what: Vec<PathBuf>,
    },
    /// Print the log of a step of a run
    #[command(
        after_help = "Examples:\n  sb logs deploy/stack\n  sb logs -f                 whatever runs, until the run ends"
    )]
    Logs(LogsArguments),
    /// Say why a step ran, ran again, was skipped or is waiting, and what comes next
    #[command(after_help = "Example:\n  sb why deploy/stack")]
    Why {
        /// A step's id, or the end of it
        step: String,
        /// [default: the last run]
        #[arg(long)]
        run: Option<String>,
    },
    /// List deployments whose cleanup is owed, and containers of runs that nobody drives
    Leaks {
        /// Remove the containers of runs that have ended
        #[arg(long)]
        remove: bool,
        /// Those of runs that could be resumed, too
        #[arg(long, requires = "remove")]
        force: bool,
    },
    /// Write a folder with an application that works, to start from
    #[command(
        after_help = "Example:\n  sb new shop --target aws,local      manifest, template, a function in Python with a test, README"
    )]
    New {
        /// The folder, which is made; its last part is the application's name. `--target` says what it can be deployed to [default: aws,local]
        #[arg(value_name = "NAME")]
        folder: PathBuf,
    },
    /// Check manifests and plans; nothing is run
    #[command(
        after_help = "Examples:\n  sb validate\n  sb validate applications plans/quickstart.toml --format json\n  sb validate --strict --format github   in CI\n  sb validate --fix\n\nEach problem names its rule: `sb explain RULE` says why there is such a rule."
    )]
    Validate {
        /// Files, or folders to search [default: this folder]
        paths: Vec<PathBuf>,
        /// Exit with code 3 after warnings, too
        #[arg(long)]
        strict: bool,
        /// Correct what is certain, such as misspelt keys, and show the changes
        #[arg(long)]
        fix: bool,
    },
    /// Explain a rule of `sb validate`; without one, list all rules
    #[command(after_help = "Examples:\n  sb explain\n  sb explain unknown-key")]
    Explain {
        /// The code of the rule, as problems name it
        rule: Option<String>,
    },
    /// Work with plans without running them
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Deploy the application
    Prepare,
    /// Send load to the deployed application
    #[command(after_help = "Examples:\n  \
        sb invoke                                      once\n  \
        sb invoke 10                                   ten times, one after another\n  \
        sb invoke constant --rate 20 --duration 90s    20 a second, whatever the answers\n  \
        sb invoke fluctuating --rate 37                a pattern of production, 37 a second on average\n  \
        sb invoke trace.csv --scale-factor 2           a trace of your own, doubled\n  \
        sb invoke --load load.toml                     a load as plans have it")]
    Invoke {
        #[command(flatten)]
        load: LoadArguments,
        #[command(flatten)]
        tolerances: ToleranceArguments,
    },
    /// Wait, for example until traces are complete
    #[command(after_help = "Example:\n  sb wait 5s")]
    Wait {
        #[arg(value_parser = humantime::parse_duration)]
        duration: Duration,
    },
    /// Fetch the traces of the last invocation
    #[command(alias = "get_traces")]
    GetTraces,
    /// Extract critical paths and break the latency of traces down
    #[command(
        alias = "analyze_traces",
        after_help = "Examples:\n  \
            sb analyze-traces                                 the last invocation\n  \
            sb analyze-traces traces.json.zst                 writes trace_breakdown.csv beside it\n  \
            sb analyze-traces logs --write both               every traces.json below a folder, as CSV and as Parquet\n  \
            sb analyze-traces spans.json --source otlp        spans of OpenTelemetry\n  \
            sb analyze-traces traces.json --activities my.toml --repair clock-skew\n  \
            sb analyze-traces traces.json --join-linked       senders and receivers of messages as one trace"
    )]
    AnalyzeTraces {
        /// Files of traces (X-Ray, Application Insights or OTLP; also .gz and .zst), or folders to search for
        /// traces.json [default: the last invocation's]
        files: Vec<PathBuf>,
        /// Tables of the valid traces to write
        #[arg(long, value_name = "TABLES", default_value = "csv", requires = "files")]
        write: WrittenTables,
        /// Threads [default: one per processor]
        #[arg(short, long, value_name = "N", requires = "files")]
        jobs: Option<std::num::NonZeroUsize>,
        #[command(flatten)]
        method: MethodArguments,
    },
    /// Measure how long triggers take between two functions on Azure
    #[command(
        alias = "analyze_triggers",
        after_help = "Writes trigger.csv and invalid_traces.csv beside each file.\n\n\
            Example:\n  sb analyze-triggers logs/2022-04-15_21-58-52/traces.json"
    )]
    AnalyzeTriggers {
        /// Files of Application Insights results, one JSON object per trace (also .gz and .zst), or folders to search for traces.json
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Look at single traces
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Look at loads without sending anything
    #[command(subcommand)]
    Workload(WorkloadCommand),
    /// Clean the deployment up, or all that a run has left
    #[command(after_help = "Examples:\n  \
        sb cleanup                     the application in this folder\n  \
        sb cleanup 20260131-120000     what that run kept (`sb leaks` lists it)")]
    Cleanup {
        /// [default: the deployment of the application in this folder]
        run: Option<String>,
    },
    /// Deploy, invoke, get and analyse traces, clean up
    Test {
        #[command(flatten)]
        load: LoadArguments,
        #[command(flatten)]
        tolerances: ToleranceArguments,
        #[command(flatten)]
        keep: KeepArguments,
    },
    /// Get the images that the manifests in reach need, or set an account up
    #[command(
        after_help = "Pulls and builds what is missing, and says what each image is for: those of steps, and the command lines\n\
        of the providers whose credentials targets ask for. SB_IMAGES names a table that replaces default images.\n\n\
        Examples:\n  \
        sb init                                        every manifest below this folder\n  \
        sb init --file benchmark.toml --target aws     one application, on one target\n  \
        sb init aws --xray-sampling                    a sampling rule by which X-Ray keeps every trace"
    )]
    Init {
        provider: Option<Provider>,
        /// Create the X-Ray sampling rule NoSampling in the account: every request of every service is traced
        #[arg(long, requires = "provider")]
        xray_sampling: bool,
    },
    /// Log in to a provider, for steps that ask for its credentials
    #[command(
        after_help = "Asks with the provider's own command line, in its image, and keeps the answers in the engine's volume P-secrets.\n\
            With --executor host, steps use your own files: the provider's command line is run on this machine.\n\n\
            Examples:\n  \
            sb login aws                                   asks, as `aws configure` does\n  \
            sb login aws --prompt                          paste a credentials file, which is not shown\n  \
            sb login google --prompt < key.json            the key of a service account\n  \
            sb check-credentials aws                       whose they are"
    )]
    Login {
        provider: Provider,
        /// Take a file that is pasted, or piped in, instead of asking: see docs/providers.md for each provider's
        #[arg(long)]
        prompt: bool,
    },
    /// Forget a provider's credentials: the engine's volume is removed
    #[command(after_help = "Example:\n  sb logout aws")]
    Logout {
        provider: Provider,
        /// Even if a run may still need them
        #[arg(short, long)]
        yes: bool,
    },
    /// Say whose credentials steps will use
    #[command(
        alias = "check_credentials",
        after_help = "Exit code 1: nobody is logged in, or the credentials do not hold.\n\nExamples:\n  \
            sb check-credentials aws\n  sb check-credentials azure --executor host --format json"
    )]
    CheckCredentials { provider: Provider },
    /// Open a shell where a step of the application would run: its files, environment, credentials, user and network
    #[command(after_help = "Examples:\n  \
            sb shell                                the image of steps that name none, with the target's credentials\n  \
            sb shell deploy                         the image that the manifest calls so\n  \
            sb shell --step deploy/stack            exactly what that step gets\n  \
            sb shell debian:12 -- cat /etc/os-release\n\n\
            The exit code is the command's.")]
    Shell {
        /// An alias of [images], or a reference [default: the step's]
        image: Option<String>,
        /// As this step of the target: PHASE/NAME, or NAME
        #[arg(long, value_name = "STEP")]
        step: Option<String>,
        /// Run this instead of a shell
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Values of the deployment: parameters and outputs
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The local target
    #[command(subcommand)]
    Local(LocalCommand),
    /// A machine that sends the load, reached by ssh
    #[command(subcommand)]
    Remote(RemoteCommand),
    /// Print the JSON Schema of a file format
    Schema { kind: SchemaKind },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  sb completions bash > ~/.local/share/bash-completion/completions/sb")]
    Completions { shell: clap_complete::Shell },
    /// Print the version
    Version,
}

/// Who takes credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    Aws,
    Azure,
    Google,
    Ibm,
    Pulumi,
}

/// When a run asks before it starts.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Start without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Ask when the run is predicted to take longer
    #[arg(long, value_name = "DURATION", default_value = "4h", env = "SB_CONFIRM_DURATION", value_parser = humantime::parse_duration)]
    pub confirm_duration: Duration,
    /// Ask when the run is predicted to cost more (US dollars)
    #[arg(long, value_name = "USD", default_value_t = 10.0, env = "SB_CONFIRM_COST_USD")]
    pub confirm_cost_usd: f64,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// A step's id, or the end of it [default: what runs, else the last that failed, else the last]
    pub step: Option<String>,
    /// Go on as the log grows, and with the next attempt, until the step has ended (without a step: the run).
    /// Here, -f is short for this, not for --file
    #[arg(long)]
    pub follow: bool,
    /// [default: the last run]
    #[arg(long)]
    pub run: Option<String>,
    /// This attempt only, counted from 1 [default: the last]
    #[arg(long, value_name = "N", requires = "step", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
}

/// A format of traces, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SourceWord {
    /// What the first document looks like
    Auto,
    /// AWS X-Ray, as BatchGetTraces returns traces: one a line
    Xray,
    /// Azure Application Insights, results of queries: one trace a line
    AppInsights,
    /// OpenTelemetry, JSON exports of traces
    Otlp,
}

impl From<SourceWord> for sb_analysis::Source {
    fn from(word: SourceWord) -> Self {
        match word {
            SourceWord::Auto => Self::Auto,
            SourceWord::Xray => Self::Xray,
            SourceWord::AppInsights => Self::AppInsights,
            SourceWord::Otlp => Self::Otlp,
        }
    }
}

/// An algorithm, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AlgorithmWord {
    /// By definition, walked back from the end: parts never overlap and are never negative
    Exact,
    /// The study's, as published: the same rows as its analyzer
    #[value(alias = "servitrace")]
    Study,
    /// FIRM's, for synchronous traces: a reference to compare with
    Firm,
}

impl From<AlgorithmWord> for sb_analysis::Algorithm {
    fn from(word: AlgorithmWord) -> Self {
        match word {
            AlgorithmWord::Exact => Self::Exact,
            AlgorithmWord::Study => Self::Study,
            AlgorithmWord::Firm => Self::Firm,
        }
    }
}

/// How traces are read and explained; for files that are named.
#[derive(Debug, Args)]
pub(crate) struct MethodArguments {
    /// Format of the files
    #[arg(long, value_name = "FORMAT", default_value = "auto", requires = "files")]
    pub source: SourceWord,
    /// How the critical path is extracted
    #[arg(long, value_name = "NAME", default_value = "exact", requires = "files")]
    pub algorithm: AlgorithmWord,
    /// A TOML file that extends and overrides which activity spans belong to: [origins], [parts."ORIGIN"], [names], [linked]
    #[arg(long, value_name = "FILE", requires = "files")]
    pub activities: Option<PathBuf>,
    /// Recover traces that are invalid only for this; adds the column `repaired`
    #[arg(long, value_name = "WHAT", requires = "files")]
    pub repair: Option<RepairKind>,
    /// The most by which a repair moves one time
    #[arg(long, value_name = "DURATION", default_value = "10ms", requires = "repair", value_parser = humantime::parse_duration)]
    pub repair_limit: Duration,
    /// Make one trace of those that links connect, such as of who sends a message and of who gets it (X-Ray)
    #[arg(long, requires = "files")]
    pub join_linked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RepairKind {
    /// Clocks that differ by a few milliseconds
    ClockSkew,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct KeepArguments {
    /// Do not clean up a deployment of which a step failed: it stays owed until `sb cleanup RUN`
    #[arg(long)]
    pub keep_on_failure: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ToleranceArguments {
    /// Share of requests (0 to 1) that may fail before a trial is invalid (exit code 5) [default: the load's, or 0.01]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub max_error_rate: Option<f64>,
    /// Share of planned invocations (0 to 1) that may be dropped before a trial is invalid [default: the load's, or 0.01]
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
    /// A number of invocations one after another, `constant`, a pattern (steady, fluctuating, spikes, jump), or a
    /// CSV file with the column `InvocationsPerMinute`
    #[arg(allow_negative_numbers = true)]
    pub load: Option<String>,
    /// Invocations per second; of patterns and CSV files the mean
    #[arg(long, allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// How long a constant load lasts, for example 90s
    #[arg(long, value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Of patterns and CSV files: how much more than was traced
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true, conflicts_with = "rate")]
    pub scale_factor: Option<f64>,
    /// `linear`, or `compound`: high rates are raised more than low ones
    #[arg(long, value_name = "TYPE")]
    pub scale_type: Option<String>,
    /// Of patterns and CSV files: what is left out at the beginning [default: 3m]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub skip: Option<Duration>,
    /// Of patterns and CSV files: fixes the fluctuation within minutes [default: 0]
    #[arg(long = "load-seed", value_name = "SEED")]
    pub load_seed: Option<u64>,
    /// Of patterns and CSV files, within a second: even, uniform or poisson
    #[arg(long, value_name = "PROCESS")]
    pub arrivals: Option<String>,
    /// Play the load this many times faster
    #[arg(long, allow_negative_numbers = true)]
    pub speed: Option<f64>,
    /// What an answer is expected to take, for the virtual users of k6 [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub expected_latency: Option<Duration>,
    /// Options for k6 (JSON) instead of a load, for workloads with a script
    #[arg(long, value_name = "FILE", conflicts_with_all = ["load", "rate", "duration", "scale_factor", "scale_type", "skip", "load_seed", "arrivals", "speed", "expected_latency"])]
    pub k6_options: Option<PathBuf>,
    /// A file with the keys that `[load]` has in a plan
    #[arg(long = "load", value_name = "FILE", conflicts_with_all = ["load", "rate", "duration", "scale_factor", "scale_type", "skip", "load_seed", "arrivals", "speed", "expected_latency", "k6_options"])]
    pub load_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkloadCommand {
    /// Plot the rates of a load, or what became of one
    #[command(after_help = "Examples:\n  \
        sb workload show fluctuating                             as traced\n  \
        sb workload show spikes --rate 20 --svg spikes.svg       as an image\n  \
        sb workload show --load load.toml                        a load as plans have it\n  \
        sb workload show logs/2026-01-31_12-00-00                planned, sent and answered")]
    Show {
        #[command(flatten)]
        load: LoadArguments,
        /// Write an SVG image instead
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Write the rates of a load, per second, or as options for k6; nothing is sent
    #[command(after_help = "Examples:\n  \
        sb workload generate jump --rate 20 > jump.csv           columns second,invocations\n  \
        sb workload generate trace.csv --scale-factor 2 --format k6 > options.json")]
    Generate {
        #[command(flatten)]
        load: LoadArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// The deployments, trials and steps of a plan, as a tree
    Show {
        plan: PathBuf,
        /// Only how many there are
        #[arg(long)]
        summary: bool,
    },
    /// The graph of a plan's steps
    #[command(
        after_help = "Example:\n  sb plan graph plans/quickstart.toml --format dot | dot -Tsvg > graph.svg"
    )]
    Graph { plan: PathBuf },
    /// How long a plan will take, and what it will cost
    #[command(after_help = "Examples:\n  \
            sb plan estimate plans/quickstart.toml\n  \
            sb plan estimate plans/study.toml --assume deploy=3m,cleanup=2m\n\n\
            Assumptions: deploy, cleanup, command, local, wait_for, get_traces, analyze_traces, invocation (of loads that\n\
            send one after another), load_margin. Steps that earlier runs of this workspace had are taken as measured.")]
    Estimate {
        plan: PathBuf,
        /// Durations of steps that were never measured
        #[arg(long, value_name = "NAME=DURATION", value_delimiter = ',')]
        assume: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WrittenTables {
    Csv,
    Parquet,
    Both,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Draw a trace as a waterfall
    #[command(after_help = "Example:\n  sb trace show 1-5fbcfa0a --svg trace.svg")]
    Show {
        /// The trace's id, or the start of it
        id: String,
        /// A file of traces, or a folder with them [default: the last invocation's]
        file: Option<PathBuf>,
        /// Write the waterfall as an SVG image instead
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// Together with the traces that link to it, such as of who gets its messages
        #[arg(long)]
        join_linked: bool,
    },
    /// Print the critical path of a trace and its pieces of time
    Path {
        /// The trace's id, or the start of it
        id: String,
        /// A file of traces, or a folder with them [default: the last invocation's]
        file: Option<PathBuf>,
        /// Together with the traces that link to it, such as of who gets its messages
        #[arg(long)]
        join_linked: bool,
    },
    /// List traces
    List {
        /// A file of traces, or a folder with them [default: the last invocation's]
        file: Option<PathBuf>,
        /// Only so many, those that took longest first
        #[arg(long, value_name = "N")]
        slowest: Option<usize>,
        /// Together with the traces that link to them
        #[arg(long)]
        join_linked: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// All values
    Show,
    /// One value
    Get { name: String },
    /// Set a parameter of the deployment for the commands that follow
    Set { name: String, value: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RemoteCommand {
    /// Get a machine ready: Docker, rsync and this sb; what is there is left alone
    #[command(
        after_help = "Uses your own ssh configuration and agent. Installs with apt-get, dnf or yum, as root or by sudo without a password.\n\
        docs/load-generator.md says which machine to take.\n\n\
        Examples:\n  sb remote setup lg1\n  sb remote setup ec2-user@203.0.113.7 --dry-run"
    )]
    Setup {
        /// A name of ~/.ssh/config, or USER@ADDRESS
        host: String,
        /// The command that logs in
        #[arg(long, value_name = "COMMAND", default_value = "ssh", env = "SB_SSH")]
        ssh: String,
        /// Only look, and say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring the logs folders of a machine here: nothing else, and only what is new
    #[command(after_help = "What was broken off is gone on with. The exit code is rsync's.\n\
        SB_DATA_SOURCE names the host, or HOST:FOLDER, or the folder there; SB_DATA_DIR the folder here.\n\n\
        Examples:\n  sb remote fetch lg1\n  sb remote fetch lg1:work/serverless --into data/lg1")]
    Fetch {
        /// A name of ~/.ssh/config, or USER@ADDRESS, and :FOLDER [default: SB_DATA_SOURCE; its home folder]
        host: Option<String>,
        /// Folder here [default: SB_DATA_DIR, else data/HOST/raw]
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// The command that logs in
        #[arg(long, value_name = "COMMAND", default_value = "ssh", env = "SB_SSH")]
        ssh: String,
        /// Only say what would come
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LocalCommand {
    /// Start the runtime with a SAM template; it runs until `sb local down`
    #[command(
        after_help = "`-p` sets a parameter of the template.\n\nExamples:\n  sb local up -p MemorySize=512\n  sb local up --containers\n  sb local up --containers --image python3.12=lambda-python:mine\n  sb local up --service rekognition=http://127.0.0.1:8080"
    )]
    Up {
        #[arg(long, default_value = "template.yaml")]
        template: PathBuf,
        /// Name of the runtime, for several at once
        #[arg(long, default_value = "local", value_parser = runtime_name)]
        name: String,
        /// Run functions in containers (Docker or Podman), in AWS's base images
        #[arg(long)]
        containers: bool,
        /// Another image for functions of a runtime
        #[arg(long, value_name = "RUNTIME=IMAGE", requires = "containers", value_parser = parse_pair)]
        image: Vec<(String, String)>,
        /// A stand-in that answers calls of an AWS service, by the service's name in signatures; may be repeated
        #[arg(long, value_name = "NAME=URL", value_parser = parse_service)]
        service: Vec<(String, String)>,
    },
    /// Stop it
    Down {
        #[arg(long, default_value = "local", value_parser = runtime_name)]
        name: String,
    },
    /// The runtimes of this workspace
    Status,
    /// List the latest traces of a runtime that runs, or draw one
    #[command(
        after_help = "Examples:\n  sb local trace                         the latest 20\n  sb local trace 1-6a1f --name shop@local   the one whose id begins so"
    )]
    Trace {
        /// The trace's id, or how it begins
        id: Option<String>,
        /// So many are listed
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[arg(long, default_value = "local", value_parser = runtime_name)]
        name: String,
    },
    /// Print the log of a function, or of the runtime itself
    Logs {
        function: Option<String>,
        /// Go on as it grows, until the runtime ends; here `-f` is short for it
        #[arg(long)]
        follow: bool,
        #[arg(long, default_value = "local", value_parser = runtime_name)]
        name: String,
    },
}

/// A runtime's name is that of a folder.
fn runtime_name(text: &str) -> Result<String, String> {
    match text {
        "" | "." | ".." => Err("it names a folder of its own: letters and digits, such as `shop`".to_owned()),
        name => Ok(name.to_owned()),
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(runtime, image)| !runtime.is_empty() && !image.is_empty());
    let (runtime, image) = pair.ok_or("write RUNTIME=IMAGE, such as python3.12=lambda-python:mine")?;
    Ok((runtime.to_owned(), image.to_owned()))
}

fn parse_service(text: &str) -> Result<(String, String), String> {
    let (service, url) =
        text.split_once('=').ok_or("write NAME=URL, such as rekognition=http://127.0.0.1:8080")?;
    Ok((service.to_owned(), url.to_owned()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaKind {
    Benchmark,
    Plan,
    Workload,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    #[track_caller]
    fn check_follow(line: &str, follow: bool) {
        let words = super::words(line.split(' ').map(Into::into));
        match super::Cli::try_parse_from(words).unwrap().command {
            super::Command::Logs(arguments) => assert_eq!(arguments.follow, follow, "{line}"),
            super::Command::Local(super::LocalCommand::Logs { follow: given, .. }) => {
                assert_eq!(given, follow, "{line}");
            }
            _ => assert!(!follow, "{line}"),
        }
    }

    #[test]
    fn the_short_option_of_logs_is_to_follow() {
        check_follow("sb logs -f", true);
        check_follow("sb logs deploy/stack -f --run x", true);
        check_follow("sb -v --format json logs -f deploy/stack", true);
        check_follow("sb --state-dir logs logs --follow", true);
        check_follow("sb local logs app-Echo -f", true);
        check_follow("sb local logs app-Echo", false);
        check_follow("sb logs deploy/stack", false);
        check_follow("sb analyze-traces logs -f file", false);
        check_follow("sb --state-dir logs status -f file", false);
    }

    #[test]
    fn arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
