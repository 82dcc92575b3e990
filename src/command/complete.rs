//! `sb completions SHELL`, and what its scripts ask while somebody types.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};

use super::Outcome;
use super::manifest::{in_reach, is_plan};
use super::report::last_invocation;
use crate::cli::{self, Shell};
use crate::exit_code::Exit;
use crate::run::{Request, find_run};
use crate::settings::Settings;
use crate::store::Store;
use crate::terminal::Terminal;
use crate::workspace::Workspace;
use sb_plan::benchmark::{Benchmark, Phase};
use sb_plan::manifest::read::Disk;
use sb_plan::rules::rules;
use sb_plan::validate;
use sb_workload::pattern::Pattern;

pub(super) fn script(terminal: &Terminal, shell: Shell) -> Outcome {
    terminal.data(match shell {
        Shell::Bash => include_str!("complete/sb.bash"),
        Shell::Fish => include_str!("complete/sb.fish"),
        Shell::Zsh => include_str!("complete/sb.zsh"),
    })?;
    Ok(Exit::Done)
}

/// What the word at the cursor can become: a line each, with what it means behind a tab. No line at all: a file.
pub(super) fn candidates(terminal: &Terminal, settings: &Settings, words: &[OsString]) -> Outcome {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (typed, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut command = cli::command();
    command.build();
    let mut lines = String::new();
    for (value, meaning) in Place::after(&command, before).candidates(settings, typed) {
        if value.starts_with(typed) {
            let meaning = meaning.lines().next().unwrap_or_default();
            lines += &if meaning.is_empty() { format!("{value}\n") } else { format!("{value}\t{meaning}\n") };
        }
    }
    if !lines.is_empty() {
        terminal.data(&lines)?;
    }
    Ok(Exit::Done)
}

/// A word, and what it means.
type Candidate = (String, String);

/// Where the cursor is.
struct Place<'a> {
    command: &'a Command,
    /// The option whose value comes next.
    option: Option<&'a Arg>,
    /// Positional arguments before.
    positionals: usize,
    /// Behind `--`, words are those of another program.
    is_foreign: bool,
    /// Values of options and positional arguments that were typed, by id.
    given: BTreeMap<&'a str, String>,
}

impl<'a> Place<'a> {
    fn after(command: &'a Command, words: &[String]) -> Self {
        let mut place =
            Self { command, option: None, positionals: 0, is_foreign: false, given: BTreeMap::new() };
        for word in words {
            place.pass(word);
        }
        place
    }

    fn pass(&mut self, word: &str) {
        if let Some(option) = self.option.take() {
            self.given.insert(option.get_id().as_str(), word.to_owned());
        } else if word == "--" {
            self.is_foreign = true;
        } else if word.starts_with('-') && word.len() > 1 {
            let (name, value) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let Some(option) = self.named(name).filter(|option| option.get_action().takes_values()) else {
                return;
            };
            match value {
                Some(value) => {
                    self.given.insert(option.get_id().as_str(), value.to_owned());
                }
                None => self.option = Some(option),
            }
        } else if let Some(inner) = self.command.find_subcommand(word) {
            (self.command, self.positionals) = (inner, 0);
        } else {
            if let Some(argument) = self.positional() {
                self.given.insert(argument.get_id().as_str(), word.to_owned());
            }
            self.positionals += 1;
        }
    }

    fn named(&self, name: &str) -> Option<&'a Arg> {
        self.command.get_arguments().find(|argument| match name.strip_prefix("--") {
            Some(long) => argument.get_long() == Some(long),
            None => argument.get_short() == name.chars().last(),
        })
    }

    /// The positional argument that comes next; the last may be repeated.
    fn positional(&self) -> Option<&'a Arg> {
        let all: Vec<_> = self.command.get_positionals().collect();
        let is_many = |argument: &&&Arg| argument.get_num_args().is_some_and(|count| count.max_values() > 1);
        all.get(self.positionals).or_else(|| all.last().filter(is_many)).copied()
    }

    fn candidates(&self, settings: &Settings, typed: &str) -> Vec<Candidate> {
        if self.is_foreign {
            return vec![];
        }
        if let Some(option) = self.option {
            return self.values(settings, option);
        }
        if let Some((name, _)) = typed.split_once('=').filter(|_| typed.starts_with("--")) {
            let values = self.named(name).map(|option| self.values(settings, option)).unwrap_or_default();
            return values.into_iter().map(|(value, meaning)| (format!("{name}={value}"), meaning)).collect();
        }
        if typed.starts_with('-') {
            return self.options();
        }
        let commands = self.command.get_subcommands().filter(|inner| !inner.is_hide_set()).map(|inner| {
            (inner.get_name().to_owned(), inner.get_about().map(ToString::to_string).unwrap_or_default())
        });
        let values = self.positional().map(|argument| self.values(settings, argument)).unwrap_or_default();
        commands.chain(values).collect()
    }

    fn options(&self) -> Vec<Candidate> {
        let shown = self.command.get_arguments().filter(|argument| !argument.is_hide_set());
        shown
            .filter_map(|argument| {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                Some((format!("--{}", argument.get_long()?), help))
            })
            .collect()
    }

    /// What an argument can be: the values that it always has, or those that this folder has.
    fn values(&self, settings: &Settings, argument: &Arg) -> Vec<Candidate> {
        let fixed: Vec<_> = argument
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| {
                (value.get_name().to_owned(), value.get_help().map(ToString::to_string).unwrap_or_default())
            })
            .collect();
        if !fixed.is_empty() {
            return fixed;
        }
        let mut settings = settings.clone();
        settings.file = self.given.get("shared:manifest").map(PathBuf::from).or(settings.file);
        settings.target = self.given.get("shared:target").cloned().or(settings.target);
        settings.state_dir = self.given.get("shared:state").map(PathBuf::from).or(settings.state_dir);
        let here = Here(settings);
        match (self.command.get_name(), argument.get_id().as_str()) {
            (_, "shared:target") => here.targets(),
            ("up", "shared:params") => vec![],
            (_, "shared:params") => here.params(),
            ("new", "target") => ["aws", "local", "aws,local"].map(plain).to_vec(),
            ("shell", "step") => here.manifest_steps(),
            ("shell", "image") => here.images(),
            (_, "run") | ("report", "what") | ("compare", "before" | "after") => here.runs(),
            (_, "step") => here.steps(self.given.get("run")),
            (_, "plan") => here.plans(),
            (_, "load") if argument.is_positional() => loads(),
            ("get" | "set", "name") => here.values(),
            ("logs", "function") => here.functions(self.given.get("name")),
            ("down" | "trace" | "logs", "name") => here.local_targets(),
            ("man", "command") => commands(),
            ("explain", "rule") => {
                rules().map(|rule| (rule.code.to_owned(), rule.summary().to_owned())).collect()
            }
            ("show" | "path", "id") => here.traces(),

            _ => vec![],
        }
    }
}

/// Of an invocation's traces: nobody looks through more.
const MOST_TRACES: usize = 200;

fn plain(word: impl Into<String>) -> Candidate {
    (word.into(), String::new())
}

fn loads() -> Vec<Candidate> {
    let patterns =
        Pattern::ALL.map(|pattern| (pattern.name().to_owned(), "a pattern from production".to_owned()));
    let constant = ("constant".to_owned(), "with --rate and --duration".to_owned());
    let users = ("users".to_owned(), "with --users and --duration".to_owned());
    [constant, users].into_iter().chain(patterns).collect()
}

fn commands() -> Vec<Candidate> {
    let command = cli::command();
    let shown = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    shown.map(|inner| plain(inner.get_name())).collect()
}

/// What the folder has, and its workspace. Where something cannot be read, there are no candidates.
struct Here(Settings);

impl Here {
    fn benchmark(&self) -> Option<std::sync::Arc<Benchmark>> {
        validate::benchmark(&Disk, &self.0.manifest().ok()?).value
    }

    fn targets(&self) -> Vec<Candidate> {
        self.benchmark().map(|found| found.targets.keys().map(plain).collect()).unwrap_or_default()
    }

    fn params(&self) -> Vec<Candidate> {
        let name = |name: &String| plain(format!("{name}="));
        self.benchmark().map(|found| found.params.keys().map(name).collect()).unwrap_or_default()
    }

    fn images(&self) -> Vec<Candidate> {
        self.benchmark().map(|found| found.images.keys().map(plain).collect()).unwrap_or_default()
    }

    fn manifest_steps(&self) -> Vec<Candidate> {
        let Some(benchmark) = self.benchmark() else { return vec![] };
        let target = match &self.0.target {
            Some(name) => benchmark.targets.get(name),
            None => benchmark.targets.values().next(),
        };
        let steps = target.map(|target| target.deploy.iter().chain(&target.invoke).chain(&target.cleanup));
        let path = |phase, name: &str| match phase {
            Phase::Deploy => format!("deploy/{name}"),
            Phase::Invoke => format!("invoke/{name}"),
            Phase::Cleanup => format!("cleanup/{name}"),
        };
        steps.into_iter().flatten().map(|step| plain(path(step.phase, &step.name))).collect()
    }

    fn plans(&self) -> Vec<Candidate> {
        let files = in_reach(&self.0, &[]).map(|reach| reach.files).unwrap_or_default();
        let plans = files.iter().filter(|file| is_plan(file));
        plans.map(|file| plain(file.strip_prefix(".").unwrap_or(file).display().to_string())).collect()
    }

    fn local_targets(&self) -> Vec<Candidate> {
        let targets = self.0.workspace_here().local_targets();
        let running = targets.iter().filter(|folder| sb_local::find(folder).is_some());
        running.filter_map(|folder| Some(plain(folder.file_name()?.to_string_lossy()))).collect()
    }

    fn functions(&self, name: Option<&String>) -> Vec<Candidate> {
        let folder = self.0.workspace_here().local_target(name.map_or("local", String::as_str));
        let functions = sb_local::find(&folder).map(|running| running.functions).unwrap_or_default();
        functions.into_iter().map(plain).collect()
    }

    fn workspace(&self) -> Workspace {
        self.0.known_workspace().unwrap_or_else(|_| self.0.workspace_here())
    }

    /// Looks at the state; a `.sb` is never made.
    fn state<T>(&self, workspace: &Workspace, look: impl AsyncFnOnce(Store) -> Option<T>) -> Option<T> {
        let store = Store::look(workspace).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(look(store))
    }

    fn runs(&self) -> Vec<Candidate> {
        let runs = self.state(&self.workspace(), async |store| store.runs().await.ok());
        let meaning = |ended: bool| if ended { "has ended" } else { "has not ended" };
        let runs = runs.unwrap_or_default();
        runs.iter().map(|row| (row.id.to_string(), meaning(row.ended.is_some()).to_owned())).collect()
    }

    fn steps(&self, run: Option<&String>) -> Vec<Candidate> {
        let steps = self.state(&self.workspace(), async |store| {
            let row = match run {
                Some(name) => find_run(&store, name).await.ok()?,
                None => store.runs().await.ok()?.into_iter().next()?,
            };
            let (_, graph) = Request::read(&row).ok()?.rebuild(&store, &row.id).ok()?;
            Some(graph.graph.node_weights().map(|step| plain(step.id.to_string())).collect())
        });
        steps.unwrap_or_default()
    }

    /// Of the last measurement that has any, as `sb trace show` looks for them.
    fn traces(&self) -> Vec<Candidate> {
        let last = async |store: Store| last_invocation(&store).await.ok().flatten();
        let Some(folder) = self.state(&self.workspace(), last) else { return vec![] };
        let Ok(file) = std::fs::File::open(folder.join("invocations.csv")) else { return vec![] };
        let Ok(rows) = sb_measurement::InvocationReader::new(std::io::BufReader::new(file)) else {
            return vec![];
        };
        let rows = rows.filter_map(Result::ok).take(MOST_TRACES);
        rows.map(|row| (row.trace_id, row.request)).collect()
    }

    /// Parameters and outputs of the deployment.
    fn values(&self) -> Vec<Candidate> {
        let Some(benchmark) = self.benchmark() else { return vec![] };
        let workspace = self.0.workspace(Path::new(&benchmark.path));
        let rows = self.state(&workspace, async |store| store.deployments().await.ok()).unwrap_or_default();
        let row = rows.into_iter().find(|row| {
            row.benchmark == benchmark.name
                && self.0.target.as_ref().is_none_or(|target| *target == row.target)
        });
        let outputs = row.map(|row| row.outputs).unwrap_or_default();
        benchmark.params.keys().chain(outputs.keys()).map(plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, expected: &[&str]) {
        let mut words: Vec<String> = words.split(' ').map(Into::into).collect();
        let typed = words.pop().unwrap();
        let mut command = cli::command();
        command.build();
        let matches = cli::command().get_matches_from(["sb", "version"]);
        let settings = Settings::resolve(cli::Given::of(&matches)).unwrap();
        let found = Place::after(&command, &words).candidates(&settings, &typed);
        let found: Vec<_> =
            found.iter().map(|(value, _)| value.as_str()).filter(|value| value.starts_with(&typed)).collect();
        assert_eq!(found, expected, "{words:?} {typed}");
    }

    #[test]
    fn commands_options_and_their_values_are_offered_where_they_belong() {
        check("an", &["analyze-traces", "analyze-triggers"]);
        check("plan g", &["graph"]);
        check("plan graph p.toml --format ", &["dot", "mermaid", "json"]);
        check("plan graph --format=m", &["--format=mermaid"]);
        check("logs --fol", &["--follow"]);
        check("logs --form", &[]);
        check("invoke fl", &["fluctuating", "fluctuating-20rps", "fluctuating-72rps"]);
        check("-v invoke con", &["constant"]);
        check("invoke --executor h", &["host"]);
        check("invoke --rate ", &[]);
        check("shell debian:12 -- c", &[]);
        check("completions ", &["bash", "fish", "zsh"]);
        check("help pl", &["plan"]);
    }
}
