//! Commands of commands: `sb plan`, `sb config`, `sb local`, `sb remote`, `sb report`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Show deployments, trials and steps of a plan as a tree
    #[command(
        after_help = "Examples:\n  sb plan show plans/quickstart.toml\n  sb plan show plans/quickstart.toml --summary"
    )]
    Show {
        /// The plan: a TOML or YAML file
        plan: PathBuf,
        /// Show only the numbers of deployments, trials and steps
        #[arg(long)]
        summary: bool,
    },
    /// Write the graph of a plan's steps
    #[command(after_help = "Example:\n  sb plan graph plans/quickstart.toml | dot -Tsvg > graph.svg")]
    Graph {
        /// The plan: a TOML or YAML file
        plan: PathBuf,
    },
    /// Predict how long a plan takes and what it costs
    #[command(after_help = "Examples:\n  \
            sb plan estimate plans/quickstart.toml\n  \
            sb plan estimate plans/exp1-latency-breakdown.toml --assume deploy=3m,cleanup=2m\n\n\
            Steps that ran here before count as measured. Of the others, --assume takes:\n\
            deploy, cleanup, command, local, wait_for, get_traces, analyze_traces, load_margin,\n\
            and invocation, for loads that send one request after another.")]
    Estimate {
        /// The plan: a TOML or YAML file
        plan: PathBuf,
        /// Assumed durations of steps that were never measured; several are separated by commas
        #[arg(long, value_name = "NAME=DURATION", value_delimiter = ',')]
        assume: Vec<String>,
    },
}
#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Show what changed between two runs, where on the path, and how sure that is
    #[command(after_help = "Examples:\n  \
            sb report compare quickstart-a1b2 quickstart-c3d4\n  \
            sb report compare before/logs after/logs --format markdown\n  \
            sb report compare main branch --fail-on-regression 5%    exit code 8 if something got slower\n  \
            sb report compare sizes-a1b2 --levels memory_size=512,1024    two levels of a factor of one run\n\n\
            Both are runs, or folders of invocations. Intervals are of 95 %, resampled by deployment and trial.")]
    Compare {
        /// Before: a run's id or a part of it, or a folder
        before: PathBuf,
        /// After: a run's id or a part of it, or a folder [default: BEFORE, with --levels]
        #[arg(required_unless_present = "levels")]
        after: Option<PathBuf>,
        /// Compare what was measured at one level of a factor with what was measured at another
        #[arg(long, value_name = "FACTOR=BEFORE,AFTER", value_parser = levels)]
        levels: Option<Levels>,
        /// End with exit code 8 if a latency or duration surely grew, by more than this share, if more requests failed,
        /// or if a group has nothing after the change
        #[arg(long, value_name = "SHARE", value_parser = share)]
        fail_on_regression: Option<f64>,
    },
}

/// Two levels of a factor, which are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    pub factor: String,
    pub before: String,
    pub after: String,
}

fn levels(text: &str) -> Result<Levels, String> {
    let (factor, levels) = text.split_once('=').unwrap_or_default();
    match levels.split_once(',') {
        Some((before, after)) if ![factor, before, after].contains(&"") && before != after => {
            Ok(Levels { factor: factor.to_owned(), before: before.to_owned(), after: after.to_owned() })
        }
        _ => Err("write a factor and two of its levels, such as memory_size=512,1024".to_owned()),
    }
}

/// A share of something, as `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    match number {
        Ok(share) if (0.0..=10.0).contains(&share) && (text.ends_with('%') || share < 1.0) => Ok(share),
        _ => Err("write a share such as 5% or 0.05".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show all values
    #[command(after_help = "Example:\n  sb config show")]
    Show,
    /// Print one value
    #[command(after_help = "Examples:\n  sb config get endpoint\n  sb config get params.memory_size")]
    Get {
        /// Name of the parameter or output; `params.` or `outputs.` in front says which
        name: String,
    },
    /// Set a parameter for the commands that follow
    #[command(after_help = "Example:\n  sb config set memory_size 1024")]
    Set {
        /// Name of the parameter
        name: String,
        /// Its new value
        value: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RemoteCommand {
    /// Install Docker, rsync and this sb on a machine, where they are missing
    #[command(
        after_help = "Uses your own ssh configuration and agent. Installs with apt-get, dnf or yum, as root or with sudo without a password.\n\
        docs/load-generator.md says which machine to choose.\n\n\
        Examples:\n  sb remote setup lg1\n  sb remote setup ec2-user@203.0.113.7 --dry-run"
    )]
    Setup {
        /// A name of ~/.ssh/config, or USER@ADDRESS
        host: String,
        /// Command that logs in to the machine
        #[arg(long, value_name = "COMMAND", default_value = "ssh", env = "SB_SSH")]
        ssh: String,
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Copy new logs folders of a machine to here
    #[command(after_help = "A copy that was interrupted continues where it was. The exit code is rsync's.\n\
        SB_DATA_SOURCE names the host, or HOST:FOLDER, or the folder there; SB_DATA_DIR the folder here.\n\n\
        Examples:\n  sb remote fetch lg1\n  sb remote fetch lg1:work/serverless --into data/lg1")]
    Fetch {
        /// HOST or HOST:FOLDER; HOST is a name of ~/.ssh/config, or USER@ADDRESS [default: SB_DATA_SOURCE]
        host: Option<String>,
        /// Folder on this machine [default: SB_DATA_DIR, else data/HOST/raw]
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Command that logs in to the machine
        #[arg(long, value_name = "COMMAND", default_value = "ssh", env = "SB_SSH")]
        ssh: String,
        /// Only show what would be copied
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LocalCommand {
    /// Start a local target from a SAM template; it runs until `sb local down`
    #[command(after_help = "`-p` sets a parameter of the template.\n\n\
            Examples:\n  sb local up -p MemorySize=512\n  sb local up --containers\n  sb local up --containers --image python3.12=lambda-python:mine\n  sb local up --service rekognition=http://127.0.0.1:8080")]
    Up {
        /// The SAM template
        #[arg(long, value_name = "FILE", default_value = "template.yaml")]
        template: PathBuf,
        /// Name of the local target, to start several
        #[arg(long, value_name = "NAME", default_value = "local", value_parser = runtime_name)]
        name: String,
        /// Run functions in containers (Docker or Podman) with AWS's base images
        #[arg(long)]
        containers: bool,
        /// Use another image for the functions of a runtime; may be repeated
        #[arg(long, value_name = "RUNTIME=IMAGE", requires = "containers", value_parser = parse_pair)]
        image: Vec<(String, String)>,
        /// Send calls of an AWS service to a stand-in at this URL; may be repeated
        #[arg(long, value_name = "NAME=URL", value_parser = parse_service)]
        service: Vec<(String, String)>,
    },
    /// Stop a local target
    #[command(after_help = "Examples:\n  sb local down\n  sb local down --name shop@local")]
    Down {
        /// Name of the local target
        #[arg(long, value_name = "NAME", default_value = "local", value_parser = runtime_name)]
        name: String,
    },
    /// List the local targets that are running in this workspace
    #[command(after_help = "Example:\n  sb local status")]
    Status,
    /// List the latest traces of a local target that is running, or draw one
    #[command(
        after_help = "Examples:\n  sb local trace                         the latest 20\n  sb local trace 1-6a1f --name shop@local   the one whose id starts with this"
    )]
    Trace {
        /// The trace's id, or its beginning
        id: Option<String>,
        /// List at most this many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Name of the local target [default: `local`, else the only one]
        #[arg(long, value_name = "NAME", value_parser = runtime_name)]
        name: Option<String>,
    },
    /// Print the log of a function, or of the local target itself
    #[command(after_help = "Examples:\n  sb local logs\n  sb local logs Hello --name hello-http@local -f")]
    Logs {
        /// The function's name in the template [default: the log of the local target itself]
        function: Option<String>,
        /// Follow the log until the local target stops
        #[arg(short, long)]
        follow: bool,
        /// Name of the local target [default: `local`, else the only one]
        #[arg(long, value_name = "NAME", value_parser = runtime_name)]
        name: Option<String>,
    },
}

/// A local target's name is that of a folder.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_a_percent_sign_or_is_below_one() {
        for (text, expected) in [("5%", 0.05), ("0.05", 0.05), ("12.5 %", 0.125), ("0", 0.0), ("150%", 1.5)] {
            assert!((share(text).unwrap() - expected).abs() < 1e-12, "{text}");
        }
        for wrong in ["5", "-1%", "x", "", "%", "NaN", "inf%", "2000%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
