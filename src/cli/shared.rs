//! Options that several commands share. A command has only those that mean something to it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use sb_plan::plan::Executor;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    Text,
    Json,
    Dot,
    Mermaid,
    Csv,
    K6,
    /// Annotations of GitHub Actions.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit XML, a test for each file.
    Junit,
    /// For a pull request.
    Markdown,
    /// Stacks for flame graphs, one per line.
    Folded,
    /// Profiles for speedscope.
    Speedscope,
    Svg,
    /// Trace events of Chrome, for Perfetto.
    Chrome,
    Jaeger,
}

impl OutputFormat {
    const ALL: [Self; 15] = [
        Self::Text,
        Self::Json,
        Self::Dot,
        Self::Mermaid,
        Self::Csv,
        Self::K6,
        Self::Github,
        Self::Sarif,
        Self::Junit,
        Self::Markdown,
        Self::Folded,
        Self::Speedscope,
        Self::Svg,
        Self::Chrome,
        Self::Jaeger,
    ];
    /// Another word for text.
    const HUMAN: &str = "human";

    fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Dot => "dot",
            Self::Mermaid => "mermaid",
            Self::Csv => "csv",
            Self::K6 => "k6",
            Self::Github => "github",
            Self::Sarif => "sarif",
            Self::Junit => "junit",
            Self::Markdown => "markdown",
            Self::Folded => "folded",
            Self::Speedscope => "speedscope",
            Self::Svg => "svg",
            Self::Chrome => "chrome",
            Self::Jaeger => "jaeger",
        }
    }

    fn value(self) -> PossibleValue {
        let value = PossibleValue::new(self.word());
        if self == Self::Text { value.alias(Self::HUMAN) } else { value }
    }

    fn named(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|format| format.word() == word || (*format == Self::Text && word == Self::HUMAN))
            .ok_or_else(|| format!("there is no format `{word}`"))
    }
}

/// A shared option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shared {
    Manifest,
    /// As `Manifest`, for a command that means all manifests below the folder unless one is named.
    OneManifest,
    Target,
    Executor,
    /// As `Executor`, of a plan, which may name one itself.
    PlanExecutor,
    /// As `Executor`, for what was deployed already.
    SameExecutor,
    Params,
    /// As `Params`, hidden: the command takes no parameters, and says which command does.
    NoParams,
    /// As `Executor`, hidden: the command runs no commands, but follows others that got the option.
    NoExecutor,
    State,
    Verbose,
    InsideTmux,
}

/// Which shared options and output formats the commands of a line have; the first format is the default.
type Row = (&'static [&'static str], &'static [Shared], &'static [OutputFormat]);

const ROWS: &[Row] = {
    use OutputFormat::{
        Chrome, Csv, Dot, Folded, Github, Jaeger, Json, Junit, K6, Markdown, Mermaid, Sarif, Speedscope, Svg,
        Text,
    };
    use Shared::{
        Executor, InsideTmux, Manifest, NoExecutor, NoParams, OneManifest, Params, PlanExecutor,
        SameExecutor, State, Target, Verbose,
    };
    &[
        (&["run"], &[Params, PlanExecutor, State, Verbose, InsideTmux], &[Text, Json]),
        (&["resume"], &[State, Verbose, InsideTmux], &[Text, Json]),
        (&["prepare", "test"], &[Manifest, Target, Params, Executor, State, Verbose], &[Text, Json]),
        (&["invoke"], &[Manifest, Target, NoParams, SameExecutor, State, Verbose], &[Text, Json]),
        (&["get-traces", "analyze-traces"], &[Manifest, Target, NoParams, NoExecutor, State], &[Text, Json]),
        (&["cleanup"], &[Manifest, Target, NoParams, SameExecutor, State, Verbose], &[]),
        (&["shell"], &[Manifest, Target, Params, Executor, State], &[]),
        (&["config show", "config get"], &[Manifest, Target, NoExecutor, State], &[Text, Json]),
        (&["config set"], &[Manifest, Target, NoExecutor, State], &[]),
        (&["runs", "status", "report", "why", "leaks", "ui"], &[State], &[Text, Json]),
        (&["report compare"], &[State], &[Text, Json, Markdown]),
        (&["logs", "trace show"], &[State], &[]),
        (&["trace path", "trace list", "trace what-if"], &[State], &[Text, Json]),
        (&["trace aggregate"], &[State], &[Text, Json, Folded, Speedscope, Svg]),
        (&["trace export"], &[State], &[Chrome, Speedscope, Jaeger, Folded]),
        (&["validate"], &[OneManifest], &[Text, Json, Github, Sarif, Junit]),
        (&["fmt"], &[OneManifest], &[]),
        (&["explain"], &[], &[Text, Json]),
        (&["plan show"], &[Params], &[Text, Json]),
        (&["plan graph"], &[Params], &[Dot, Mermaid, Json]),
        (&["plan estimate"], &[Params, PlanExecutor, State], &[Text, Json]),
        (&["workload show"], &[], &[Text, Json]),
        (&["workload generate"], &[], &[Csv, K6, Json]),
        (&["dataset summarize"], &[], &[Text, Json, Markdown]),
        (&["dataset classify"], &[], &[Text, Csv, Json]),
        (&["dataset select"], &[], &[Text, Json]),
        (&["dataset mix"], &[Target], &[Text, Json]),
        (&["analyze-triggers", "remote setup", "version"], &[], &[Text, Json]),
        (&["init", "doctor"], &[OneManifest, Target, PlanExecutor], &[Text, Json]),
        (&["login"], &[Executor], &[]),
        (&["check-credentials"], &[Executor], &[Text, Json]),
        (&["logout"], &[Executor, State], &[]),
        (&["local up"], &[Params, State], &[Text, Json]),
        (&["local status", "local trace"], &[State], &[Text, Json]),
        (&["local down", "local logs"], &[State], &[]),
    ]
};

/// Ids that no option of a command's own can have.
mod id {
    pub(super) const MANIFEST: &str = "shared:manifest";
    pub(super) const TARGET: &str = "shared:target";
    pub(super) const EXECUTOR: &str = "shared:executor";
    pub(super) const PARAMS: &str = "shared:params";
    pub(super) const STATE: &str = "shared:state";
    pub(super) const VERBOSE: &str = "shared:verbose";
    pub(super) const INSIDE_TMUX: &str = "shared:inside-tmux";
    pub(super) const FORMAT: &str = "shared:format";
}

impl Shared {
    fn option(self) -> Arg {
        let params = Arg::new(id::PARAMS)
            .short('p')
            .long("param")
            .value_name("NAME=VALUE")
            .action(ArgAction::Append)
            .help("Set a parameter; may be repeated");
        let executor = Arg::new(id::EXECUTOR)
            .long("executor")
            .value_name("EXECUTOR")
            .env("SB_EXECUTOR")
            .value_parser(
                PossibleValuesParser::new(Executor::ALL.map(Executor::word))
                    .try_map(|word| word.parse::<Executor>()),
            )
            .help("Where commands run: in containers, or on this machine [default: docker]");
        let manifest = Arg::new(id::MANIFEST)
            .short('f')
            .long("file")
            .value_name("PATH")
            .value_parser(value_parser!(PathBuf))
            .help("The application's manifest [default: the only one in this folder]");
        match self {
            Self::Manifest => manifest,
            Self::OneManifest => manifest.help("Only this manifest [default: every one below this folder]"),
            Self::Target => Arg::new(id::TARGET)
                .short('t')
                .long("target")
                .value_name("NAME")
                .env("SB_TARGET")
                .help("A target of the manifest, if it has several"),
            Self::Executor => executor,
            Self::PlanExecutor => executor
                .help("Where commands run: in containers, or on this machine [default: the plan's, else docker]"),
            Self::SameExecutor => executor
                .help("Where commands run: in containers, or on this machine [default: as when it was deployed]"),
            Self::NoExecutor => executor.hide(true),
            Self::Params => params,
            Self::NoParams => params.hide(true),
            Self::State => Arg::new(id::STATE)
                .long("state-dir")
                .value_name("PATH")
                .env("SB_STATE_DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Folder of the state [default: the nearest .sb, else one at the root of the git work tree, else one beside the plan or manifest]"),
            Self::Verbose => Arg::new(id::VERBOSE)
                .short('v')
                .long("verbose")
                .action(ArgAction::SetTrue)
                .help("Show what every step prints, as it comes"),
            Self::InsideTmux => {
                Arg::new(id::INSIDE_TMUX).long("inside-tmux").value_name("NAME").hide(true)
            }
        }
    }
}

fn format(formats: &'static [OutputFormat]) -> Arg {
    let words = formats.iter().map(|format| format.value());
    let default = formats.first().map_or("text", |format| format.word());
    Arg::new(id::FORMAT)
        .long("format")
        .value_name("FORMAT")
        .default_value(default)
        .value_parser(PossibleValuesParser::new(words).try_map(|word| OutputFormat::named(&word)))
        .help("How results are written to standard output")
}

/// A command with the shared options that it and its commands have.
pub(super) fn with_options(command: Command) -> Command {
    ROWS.iter().fold(command, |command, (paths, options, formats)| {
        paths.iter().fold(command, |command, path| {
            let words: Vec<&str> = path.split(' ').collect();
            at(command, &words, &|command| {
                let options = options.iter().map(|option| option.option());
                let format = (!formats.is_empty()).then(|| format(formats));
                let args = options.chain(format);
                command.args(args.map(|option| option.hide_env_values(true)))
            })
        })
    })
}

fn at(command: Command, path: &[&str], change: &dyn Fn(Command) -> Command) -> Command {
    match path.split_first() {
        None => change(command),
        Some((name, rest)) => command.mut_subcommand(name, |command| at(command, rest, change)),
    }
}

/// What was given for the shared options.
#[derive(Debug)]
pub(crate) struct Given {
    pub file: Option<PathBuf>,
    pub target: Option<String>,
    pub executor: Option<Executor>,
    /// Text for a command that has no other form.
    pub format: OutputFormat,
    pub params: Vec<String>,
    pub state_dir: Option<PathBuf>,
    pub verbose: bool,
    pub inside_tmux: Option<String>,
}

impl Given {
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let mut own = matches;
        while let Some((_, matches)) = own.subcommand() {
            own = matches;
        }
        let params = own.try_get_many::<String>(id::PARAMS).ok().flatten();
        Self {
            file: value(own, id::MANIFEST),
            // A variable that is empty is as one that is not set.
            target: value::<String>(own, id::TARGET).filter(|target| !target.is_empty()),
            executor: value(own, id::EXECUTOR),
            format: value(own, id::FORMAT).unwrap_or(OutputFormat::Text),
            params: params.map(|params| params.cloned().collect()).unwrap_or_default(),
            state_dir: value(own, id::STATE),
            verbose: value(own, id::VERBOSE).unwrap_or_default(),
            inside_tmux: value(own, id::INSIDE_TMUX),
        }
    }
}

/// None, too, where the command does not have the option.
fn value<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Option<T> {
    matches.try_get_one::<T>(id).ok().flatten().cloned()
}

/// The words of the command line; shared options in front of the command are put behind it, where it has them.
pub(crate) fn words(given: impl IntoIterator<Item = OsString>, command: &Command) -> Vec<OsString> {
    const VALUED: [&str; 10] = [
        "-f",
        "--file",
        "-t",
        "--target",
        "--executor",
        "-p",
        "--param",
        "--state-dir",
        "--format",
        "--inside-tmux",
    ];
    const ALONE: [&str; 2] = ["-v", "--verbose"];
    let words: Vec<OsString> = given.into_iter().collect();
    let mut start = 1;
    while let Some(word) = words.get(start).and_then(|word| word.to_str()) {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        start += match (VALUED.contains(&name), value) {
            (true, None) => 2,
            (true, Some(_)) => 1,
            (false, _) if ALONE.contains(&word) => 1,
            (false, _) => break,
        };
    }
    let (mut end, mut reached) = (start, command);
    while let Some(next) = words.get(end).and_then(|word| reached.find_subcommand(word)) {
        reached = next;
        end += 1;
    }
    if start == 1 || end == start {
        return words;
    }
    [&words[..1], &words[start..end], &words[1..start], &words[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str) {
        let words = words(given.split(' ').map(Into::into), &crate::cli::command());
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn options_in_front_of_a_command_are_its_own() {
        check("sb -v --format json run plan.toml", "sb run -v --format json plan.toml");
        check("sb --state-dir logs logs -f", "sb logs --state-dir logs -f");
        check("sb --format=dot plan graph p.toml", "sb plan graph --format=dot p.toml");
        check("sb -f a.toml shell -- cat x", "sb shell -f a.toml -- cat x");
        check("sb logs -f deploy/stack", "sb logs -f deploy/stack");
        check("sb --help run", "sb --help run");
        check("sb --state-dir", "sb --state-dir");
    }

    #[test]
    fn every_row_names_a_command_and_none_is_named_twice() {
        let mut paths: Vec<_> = ROWS.iter().flat_map(|(paths, ..)| *paths).collect();
        for path in &paths {
            let top = crate::cli::command();
            let mut found = Some(&top);
            for word in path.split(' ') {
                found = found.and_then(|command| command.find_subcommand(word));
            }
            assert!(found.is_some(), "{path}");
        }
        let count = paths.len();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), count);
    }
}
