//! Command-line arguments: types only. What they mean is resolved in [`crate::settings`] and [`crate::command`].
//!
//! Options that several commands share are not declared here: the table in [`shared`] says which command has which.

mod dataset;
mod help;
mod load;
mod nested;
mod shared;
mod traces;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use dataset::{DatasetCommand, FitArguments, SourceArguments, WindowArguments};
pub(crate) use help::full as command;
pub(crate) use load::{Confirm, KeepArguments, LoadArguments, ToleranceArguments, WorkloadCommand};
pub(crate) use nested::{ConfigCommand, Levels, LocalCommand, PlanCommand, RemoteCommand, ReportCommand};
pub(crate) use shared::{Given, OutputFormat, words};
pub(crate) use traces::{ColdStartsWord, MethodArguments, RepairKind, TraceCommand, WrittenTables};

#[derive(Debug, Parser)]
#[command(
    name = "sb",
    version,
    about = "Runs declared serverless benchmarks and shows where the time goes",
    long_about = "Runs serverless benchmarks that are declared in a benchmark.toml, fetches the trace of every request, and \
                  breaks each latency down into activities along its critical path.",
    after_help = "Examples:\n  \
        sb run plans/quickstart.toml        run a whole plan: deploy, load, traces, analysis, cleanup\n  \
        sb test                             the same for the application in this folder\n  \
        sb prepare && sb invoke 10          deploy it, then send ten requests\n  \
        sb status --watch                   follow the last run until it ends\n  \
        sb resume                           continue the last run after a crash\n\n\
        Exit codes: 0 done, 1 a step failed, 2 wrong arguments, 3 invalid manifest, 4 a cleanup is owed,\n\
        5 a trial missed its tolerances, 6 locked by another process, 7 state cannot be written,\n\
        8 a comparison found a regression, 130 stopped."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a plan: deploy, load, fetch and analyse traces, clean up
    #[command(after_help = "Examples:\n  \
        sb run plans/quickstart.toml\n  \
        sb run plans/quickstart.toml --seed 7 --yes     another seed, and no question before it starts\n  \
        sb run plans/quickstart.toml --tmux             in tmux: it outlives this terminal")]
    Run {
        /// The plan: a TOML or YAML file
        plan: PathBuf,
        /// Seed of all random numbers [default: the plan's]
        #[arg(long)]
        seed: Option<u64>,
        /// Run in a tmux session that outlives this terminal; join that session if the plan runs already
        #[arg(long)]
        tmux: bool,
        /// Start another run of this plan although one goes on, or has not ended and still has something deployed
        #[arg(long)]
        anew: bool,
        #[command(flatten)]
        keep: KeepArguments,
        #[command(flatten)]
        tolerances: ToleranceArguments,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Continue a run that crashed or was left
    #[command(
        after_help = "If the plan or a manifest was edited since the run started, `sb resume` shows the difference and stops.\n\
            Then choose --accept-changes or --as-started.\n\n\
            Examples:\n  \
            sb resume                       the last unfinished run\n  \
            sb resume quickstart            the run that has this in its id\n  \
            sb resume --accept-changes      with the files as they are now"
    )]
    Resume {
        /// The run's id, or a part of it [default: the last unfinished run]
        run: Option<String>,
        /// Use the files as they are now: keep results that still hold, and run the rest again
        #[arg(long, conflicts_with = "as_started")]
        accept_changes: bool,
        /// Use the files as they were when the run started
        #[arg(long)]
        as_started: bool,
        /// Run in a tmux session that outlives this terminal; join that session if the run is in it already
        #[arg(long)]
        tmux: bool,
    },
    /// Deploy the application, load it, fetch and analyse traces, clean up
    #[command(after_help = "Examples:\n  \
            sb test                                        each request of the manifest once\n  \
            sb test constant --rate 10 --duration 30s      ten a second, for 30 seconds\n  \
            sb test 20 --keep-on-failure                   twenty requests; if a step fails, leave it deployed")]
    Test {
        #[command(flatten)]
        load: LoadArguments,
        #[command(flatten)]
        tolerances: ToleranceArguments,
        #[command(flatten)]
        keep: KeepArguments,
    },
    /// Write a new application that works, or the manifest for your SAM template
    #[command(
        override_usage = "sb new NAME [--target TARGETS]\n       sb new [--from TEMPLATE]",
        after_help = "Examples:\n  \
            sb new shop                         manifest, template, a Python function with a test, README\n  \
            sb new shop --target local          without the part for AWS\n  \
            sb new                              a benchmark.toml for the SAM template in this folder\n  \
            sb new --from api/template.yaml     a benchmark.toml beside this template"
    )]
    New {
        /// The folder to create, which names the application
        #[arg(value_name = "NAME")]
        folder: Option<PathBuf>,
        /// Without NAME: the SAM template, each of whose routes becomes a request [default: this folder's]
        #[arg(long, value_name = "TEMPLATE")]
        from: Option<PathBuf>,
        /// With NAME: where it can be deployed: aws, local or both [default: aws,local]
        #[arg(short, long, value_name = "TARGETS")]
        target: Option<String>,
    },
    /// Check manifests and plans without running anything
    #[command(
        after_help = "Each problem names its rule, and `sb explain RULE` says why the rule is there.\n\nExamples:\n  sb validate\n  sb validate applications plans/quickstart.toml --format json\n  sb validate --strict --format github      in CI\n  sb validate --fix"
    )]
    Validate {
        /// Files to check, or folders to search [default: this folder]
        paths: Vec<PathBuf>,
        /// Exit with code 3 after warnings, too
        #[arg(long)]
        strict: bool,
        /// Correct what is certain, such as misspelt keys, and show the changes
        #[arg(long)]
        fix: bool,
    },
    /// Lay out manifests and plans: indentation, blank lines, spaces
    #[command(
        after_help = "Keys, their order, values and comments stay as they are. Files of YAML are left alone.\n\nExamples:\n  sb fmt\n  sb fmt applications plans/quickstart.toml\n  sb fmt --check                            in CI"
    )]
    Fmt {
        /// Files to lay out, or folders to search [default: this folder]
        paths: Vec<PathBuf>,
        /// Write nothing; show what would change, and exit with code 1 if anything would
        #[arg(long)]
        check: bool,
    },
    /// Explain a rule of `sb validate`, or list all rules
    #[command(after_help = "Examples:\n  sb explain\n  sb explain unknown-key")]
    Explain {
        /// The code of the rule, as problems name it [default: list all]
        rule: Option<String>,
    },
    /// Show a plan, its graph, its duration and its cost
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            sb plan show plans/quickstart.toml           its deployments, trials and steps\n  \
            sb plan estimate plans/quickstart.toml       how long it takes, and what it costs"
    )]
    Plan(PlanCommand),
    /// Deploy the application
    #[command(after_help = "Examples:\n  \
            sb prepare\n  \
            sb prepare -p memory_size=1024      with another value of a parameter\n  \
            sb prepare --target aws             where the manifest has several targets")]
    Prepare,
    /// Send load to the deployed application
    #[command(after_help = "Examples:\n  \
        sb invoke                                      one request\n  \
        sb invoke 10                                   ten, one after another\n  \
        sb invoke constant --rate 20 --duration 90s    20 a second, however long the answers take\n  \
        sb invoke fluctuating --rate 37                a pattern from production, 37 a second on average\n  \
        sb invoke trace.csv --scale-factor 2           your own trace, doubled\n  \
        sb invoke --load load.toml                     a load written as in plans")]
    Invoke {
        #[command(flatten)]
        load: LoadArguments,
        #[command(flatten)]
        tolerances: ToleranceArguments,
    },
    /// Wait, for example until traces are complete
    #[command(after_help = "Example:\n  sb wait 5s")]
    Wait {
        /// How long: 5s, 2m, 1h30m
        #[arg(value_parser = humantime::parse_duration)]
        duration: Duration,
    },
    /// Fetch the traces of the last invocation
    #[command(
        alias = "get_traces",
        after_help = "Examples:\n  sb get-traces\n  sb get-traces --format json        how many were found, and which are missing"
    )]
    GetTraces,
    /// Extract critical paths and break latencies down
    #[command(
        alias = "analyze_traces",
        after_help = "Examples:\n  \
            sb analyze-traces                                 the last invocation\n  \
            sb analyze-traces traces.json.zst                 writes trace_breakdown.csv beside the file\n  \
            sb analyze-traces logs --write both               all in a folder, as CSV and Parquet\n  \
            sb analyze-traces spans.json --source otlp        OpenTelemetry spans\n  \
            aws xray batch-get-traces --trace-ids ID | sb analyze-traces - --output results\n  \
            sb analyze-traces traces.json --activities my.toml --repair clock-skew\n  \
            sb analyze-traces traces.json --join-linked       sender and receiver of a message as one trace"
    )]
    AnalyzeTraces {
        /// Trace files (X-Ray, Application Insights, OTLP, Jaeger, Zipkin; also .gz and .zst), or folders to search for
        /// traces.json; `-` is the standard input [default: the last invocation's]
        files: Vec<PathBuf>,
        /// Folder for the results of one file [default: beside the file]
        #[arg(short, long, value_name = "DIR", requires = "files")]
        output: Option<PathBuf>,
        /// Which tables of valid traces to write
        #[arg(long, value_name = "TABLES", default_value = "csv", requires = "files")]
        write: WrittenTables,
        /// Number of threads [default: one per processor]
        #[arg(short, long, value_name = "N", requires = "files")]
        jobs: Option<std::num::NonZeroUsize>,
        #[command(flatten)]
        method: MethodArguments,
    },
    /// Delete what the application, or a run, has deployed
    #[command(after_help = "Examples:\n  \
        sb cleanup                     the application in this folder\n  \
        sb cleanup 20260131-120000     everything that this run left deployed (`sb leaks` lists such runs)")]
    Cleanup {
        /// The run's id, or a part of it [default: the application in this folder]
        run: Option<String>,
    },
    /// Show or set parameters and outputs of the deployed application
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            sb config show                       all parameters and outputs\n  \
            sb config get endpoint               one of them\n  \
            sb config set memory_size 1024       for the commands that follow"
    )]
    Config(ConfigCommand),
    /// Open a shell where a step runs: same files, environment, credentials, user and network
    #[command(after_help = "Examples:\n  \
            sb shell                                the default image, with the target's credentials\n  \
            sb shell node                           the image that the manifest calls `node`\n  \
            sb shell --step deploy/build            exactly what this step gets\n  \
            sb shell debian:12 -- cat /etc/os-release\n\n\
            The exit code is the command's.")]
    Shell {
        /// A name from the manifest's [images], or an image reference [default: the step's]
        image: Option<String>,
        /// Open it as for this step: PHASE/NAME, or NAME
        #[arg(long, value_name = "STEP")]
        step: Option<String>,
        /// Run this command instead of a shell
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// List runs, the newest first
    #[command(after_help = "Examples:\n  sb runs\n  sb runs --limit 5")]
    Runs {
        /// List at most this many
        #[arg(short, long, value_name = "N", default_value = "20")]
        limit: usize,
    },
    /// Show runs and deployments, or the progress of one run
    #[command(
        after_help = "Examples:\n  sb status                          all runs and deployments\n  sb status --watch                  the last run, until it ends\n  sb status quickstart --all         every step of the run that has this in its id"
    )]
    Status {
        /// The run's id, or a part of it
        run: Option<String>,
        /// Follow the run, or the last one, until it ends; the exit code is the run's
        #[arg(short, long)]
        watch: bool,
        /// List every step, even if there are very many
        #[arg(short, long, conflicts_with = "watch")]
        all: bool,
    },
    /// Show runs in a web browser, while they run and afterwards
    #[command(after_help = "Examples:\n  \
            sb ui\n  \
            sb ui --port 8400          from another machine: ssh -L 8400:127.0.0.1:8400 HOST")]
    Ui {
        /// The run's id, or a part of it [default: the last run]
        #[arg(long)]
        run: Option<String>,
        /// Port on 127.0.0.1 [default: a free one]
        #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
        port: u16,
    },
    /// Show what a run measured, or what changed between two
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  \
            sb report                               the last run\n  \
            sb report quickstart --format json      the run that has this in its id\n  \
            sb report logs/2026-01-31_12-00-00      one invocation\n  \
            sb report --output out                  its page, figures and tables, and a summary\n  \
            sb report data/raw --output out --as-published   a dataset, by the definitions of its study\n  \
            sb report compare main branch           what changed between two runs"
    )]
    Report(ReportArguments),
    /// Print the log of a step
    #[command(after_help = "Examples:\n  \
            sb logs                    what runs now, else what failed last\n  \
            sb logs deploy/stack       one step\n  \
            sb logs -f                 follow every step until the run ends")]
    Logs(LogsArguments),
    /// Explain why a step ran, ran again, was skipped or is waiting
    #[command(
        after_help = "Examples:\n  sb why deploy/stack                       in the last run that has this step\n  sb why deploy/stack --run quickstart      in the run that has this in its id"
    )]
    Why {
        /// The step's id, or the end of it
        step: String,
        /// The run's id, or a part of it [default: the last that has the step]
        #[arg(long)]
        run: Option<String>,
    },
    /// Show traces and their critical paths, one or many, and predict what a change would bring
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            sb trace list --slowest 5                the slowest traces of the last invocation\n  \
            sb trace show 1-5fbcfa0a                 one of them, by the beginning of its id\n  \
            sb trace aggregate                       all of the last run as one tree\n  \
            sb trace what-if                         which change would help most"
    )]
    Trace(TraceCommand),
    /// List what is still deployed, and containers that are left over
    #[command(after_help = "Examples:\n  \
            sb leaks\n  \
            sb leaks --remove          remove containers of runs that have ended\n  \
            sb leaks --account         what carries the tags of deployments in the AWS account\n  \
            sb leaks --account shop --target aws --remove   of these alone, asking first\n  \
            sb leaks --forget shop@aws           stop listing a deployment that does not exist; asks first",
            group = clap::ArgGroup::new("asks").args(["forget", "account"]))]
    Leaks {
        /// With --account: only deployments that have this in their names [default: all]
        #[arg(requires = "account")]
        deployments: Vec<String>,
        /// Remove the containers of runs that have ended; with --account, what was found, asking first
        #[arg(long)]
        remove: bool,
        /// With --remove: also remove those of runs that could be resumed; with --account, also those that another machine may
        /// work on
        #[arg(long, requires = "remove")]
        force: bool,
        /// Look in the AWS account for what any deployment has left, by its tags: also when a state folder is lost
        #[arg(long, conflicts_with = "forget")]
        account: bool,
        /// With --account: the AWS region [default: that of the environment or the profile]
        #[arg(long, requires = "account")]
        region: Option<String>,
        /// With --account: only deployments to this target
        #[arg(long, requires = "account")]
        target: Option<String>,
        /// Stop listing this deployment, which was never made or no longer exists; removes nothing
        #[arg(long, value_name = "DEPLOYMENT", conflicts_with = "remove")]
        forget: Option<String>,
        /// With --forget: do not ask about a deployment of which no deploy step ever started; with --account --remove: do not ask
        #[arg(short, long, requires = "asks")]
        yes: bool,
    },
    /// Show the rates of a load without sending anything
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            sb workload show fluctuating --rate 20           a plot of the rates\n  \
            sb workload generate jump --rate 20 > jump.csv   the same as numbers"
    )]
    Workload(WorkloadCommand),
    /// Turn production traces of serverless platforms into loads
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            sb dataset summarize azurefunctions-dataset2019          how many functions are fit\n  \
            sb dataset select traces --pattern spikes --rate 5       functions with a pattern\n  \
            sb dataset classify traces                               the pattern of each"
    )]
    Dataset(DatasetCommand),
    /// Measure how long Azure or AWS takes between a trigger and its function
    #[command(
        alias = "analyze_triggers",
        after_help = "Writes trigger.csv and invalid_traces.csv beside each file.\n\n\
            Example:\n  sb analyze-triggers logs/2022-04-15_21-58-52/traces.json"
    )]
    AnalyzeTriggers {
        /// Files of Application Insights or X-Ray, one JSON object per trace (also .gz and .zst), or folders to search for traces.json
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Pull and build the container images that the manifests need, or set up an account
    #[command(
        after_help = "Says what each image is for: steps, or the command lines of the providers whose credentials targets use.\n\
        SB_IMAGES names a table that replaces default images.\n\n\
        Examples:\n  \
        sb init                                        every manifest below this folder\n  \
        sb init --file benchmark.toml --target aws     one application, on one target\n  \
        sb init aws --xray-sampling                    let X-Ray keep every trace"
    )]
    Init {
        /// The provider whose account is set up
        #[arg(requires = "xray_sampling")]
        provider: Option<Provider>,
        /// Create the sampling rule NoSampling: X-Ray then traces every request of every service in the account
        #[arg(long, requires = "provider")]
        xray_sampling: bool,
        /// AWS region of the rule [default: AWS_REGION, else the profile's]
        #[arg(long, requires = "xray_sampling")]
        region: Option<String>,
    },
    /// Show what this machine can run, and how to get what is missing
    #[command(after_help = "Exit code 1: something that a manifest below this folder needs is missing.\n\n\
            Examples:\n  \
            sb doctor\n  \
            sb doctor --file benchmark.toml --executor host      for one application, on this machine")]
    Doctor,
    /// Log in to a provider, for steps that use its credentials
    #[command(
        after_help = "Runs the provider's own command line in its image, and keeps the answers in the container engine's volume P-secrets.\n\
            With --executor host, it runs the one on this machine, and steps use your own files.\n\n\
            Examples:\n  \
            sb login aws                                   asks as `aws configure` does\n  \
            sb login aws --prompt                          paste a credentials file, which is not shown\n  \
            sb login google --prompt < key.json            the key of a service account\n  \
            sb check-credentials aws                       shows who is logged in"
    )]
    Login {
        /// The provider
        provider: Provider,
        /// Read a file that is pasted or piped in, instead of asking; docs/providers.md describes each provider's
        #[arg(long)]
        prompt: bool,
    },
    /// Delete a provider's credentials from the container engine
    #[command(after_help = "Example:\n  sb logout aws")]
    Logout {
        /// The provider
        provider: Provider,
        /// Do not ask, even if a run may still need them
        #[arg(short, long)]
        yes: bool,
    },
    /// Show whose credentials steps will use
    #[command(
        alias = "check_credentials",
        after_help = "Exit code 1: nobody is logged in, or the credentials are refused.\n\nExamples:\n  \
            sb check-credentials aws\n  sb check-credentials azure --executor host --format json"
    )]
    CheckCredentials {
        /// The provider
        provider: Provider,
    },
    /// Start, stop and inspect the local target by itself
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            sb local up                  start one from template.yaml\n  \
            sb local status              what runs, and where\n  \
            sb local logs Hello -f       follow the log of a function\n  \
            sb local down                stop it"
    )]
    Local(LocalCommand),
    /// Set up a machine that sends the load, and fetch its results
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            sb remote setup lg1          install what sb needs on the machine lg1\n  \
            sb remote fetch lg1          copy its results to here"
    )]
    Remote(RemoteCommand),
    /// Print the JSON Schema of a file format
    #[command(after_help = "Example:\n  sb schema benchmark > benchmark.schema.json")]
    Schema {
        /// The file format
        kind: SchemaKind,
    },
    /// Print a completion script for a shell
    #[command(
        after_help = "It completes commands and options, and the patterns, runs, steps, targets and plans of the folder.\n\n\
            Examples:\n  \
            sb completions bash > ~/.local/share/bash-completion/completions/sb\n  \
            sb completions zsh > ~/.zfunc/_sb\n  \
            sb completions fish > ~/.config/fish/completions/sb.fish"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Show the manual page of sb, or of a command
    #[command(after_help = "Examples:\n  \
            sb man run\n  \
            sb man plan graph > sb-plan-graph.1\n  \
            sb man --into ~/.local/share/man/man1      write the pages of all commands")]
    Man {
        /// The command [default: sb itself]
        command: Vec<String>,
        /// Write the pages of all commands into this folder instead
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        into: Option<PathBuf>,
    },
    /// Print the version
    #[command(after_help = "Example:\n  sb version --format json")]
    Version,
    /// What completion scripts ask
    #[command(name = "__complete", hide = true, disable_help_flag = true)]
    Complete {
        /// The words before the cursor, without `sb`; the last is being typed
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
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

/// A shell that has completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Fish,
    Zsh,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    #[command(subcommand)]
    pub command: Option<ReportCommand>,
    /// Runs by their ids or a part of them, or folders with executions in or below them [default: the last run]
    pub what: Vec<PathBuf>,
    /// Write a report into this folder: a page, figures as SVG, PNG and PDF, tables as CSV and Parquet, a summary in Markdown
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Use the definitions of the published study in tables, its known faults included
    #[arg(long)]
    pub as_published: bool,
    /// Folder of invocation patterns to compare with [default: `workload_traces` near the folders]
    #[arg(long, value_name = "DIR")]
    pub workload_traces: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// The step's id, or the end of it [default: what runs now, else what failed last, else the last]
    pub step: Option<String>,
    /// Follow the log, and the next attempts, until the step has ended (without a step: the run)
    #[arg(short, long)]
    pub follow: bool,
    /// The run's id, or a part of it [default: the last run]
    #[arg(long)]
    pub run: Option<String>,
    /// Only this attempt, counted from 1 [default: the last]
    #[arg(long, value_name = "N", requires = "step", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaKind {
    Benchmark,
    Plan,
    Workload,
}
