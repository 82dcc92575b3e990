//! One file per subcommand; wiring only.

mod compare;
mod complete;
mod config;
mod dataset;
mod doctor;
mod estimate;
mod explain;
mod fix;
mod fmt;
mod forget;
mod from_template;
mod history;
mod init;
mod leaks;
mod leaks_account;
mod local;
mod login;
mod logs;
mod man;
mod manifest;
mod misc;
mod new;
mod output;
mod pages;
mod passthrough;
mod paths;
mod plan;
mod preflight;
mod problems;
mod remote;
mod report;
mod run;
mod runs;
mod sampling;
mod shell;
mod single;
mod status;
mod tables;
mod tmux;
mod trace;
mod triggers;
mod ui;
mod watch;
mod what_if;
mod why;
mod workload;

use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches as _;

use crate::cli::{self, Cli, Command, Given, PlanCommand};
use crate::exit_code::Exit;
use crate::inherited;
use crate::role;
use crate::settings::Settings;
use crate::terminal::Terminal;

use crate::run::{Edited, Request};
use crate::workspace::absolute;
use output::Failed;

/// What a command comes to.
type Outcome = Result<Exit, Failed>;

/// The roles in which this program starts copies of itself; none when a person started it.
pub fn hidden() -> Option<ExitCode> {
    role::take().or_else(|| {
        let mut arguments = std::env::args_os().skip(1);
        let (role, file) = (arguments.next()?, arguments.next()?);
        (role == tmux::LAUNCH).then(|| role::end(Err(tmux::launch(Path::new(&file)))))
    })
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let mut command = cli::command();
    let words = cli::words(std::env::args_os(), &command);
    let matches = command.try_get_matches_from_mut(words).unwrap_or_else(|error| error.exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    let terminal = Terminal::detect();
    let outcome = Settings::resolve(Given::of(&matches))
        .map_err(Failed::from)
        .and_then(|settings| dispatch(&terminal, &settings, cli.command));
    match outcome {
        Ok(exit) => exit.into(),
        Err(failed) => {
            failed.show(&terminal);
            failed.exit.into()
        }
    }
}

fn dispatch(terminal: &Terminal, settings: &Settings, command: Command) -> Outcome {
    match command {
        Command::Validate { paths, strict, fix } => {
            manifest::validate(terminal, settings, &paths, manifest::Manner { strict, fix })
        }
        Command::Fmt { paths, check } => fmt::fmt(terminal, settings, &paths, check),
        Command::Explain { rule } => explain::explain(terminal, settings, rule.as_deref()),
        Command::New { folder: Some(folder), from: None, target } => {
            new::new(terminal, &folder, target.as_deref().unwrap_or(new::BOTH))
        }
        Command::New { folder: None, from, target: None } => from_template::new(terminal, from.as_deref()),
        Command::New { folder, from, .. } => Err(new::contradiction(folder.as_deref(), from.as_deref())),
        Command::Schema { kind } => misc::schema(terminal, kind),
        Command::Completions { shell } => complete::script(terminal, shell),
        Command::Complete { words } => complete::candidates(terminal, settings, &words),
        Command::Man { command, into } => man::man(terminal, &command, into.as_deref()),
        Command::Version => misc::version(terminal, settings),
        Command::Wait { duration } => {
            misc::wait(terminal, duration);
            Ok(Exit::Done)
        }
        Command::Plan(command) if !matches!(command, PlanCommand::Estimate { .. }) => {
            plan::plan(terminal, settings, command)
        }
        Command::Workload(command) => workload::workload(terminal, settings, command),
        Command::Dataset(command) => dataset::dataset(terminal, settings, command),
        Command::AnalyzeTraces { files, output, write, jobs, method } if !files.is_empty() => {
            trace::analyze(terminal, settings, &files, output.as_deref(), write, jobs, &method)
        }
        Command::AnalyzeTriggers { files } => triggers::analyze(terminal, settings, &files),
        other => {
            inherited::check_room()
                .map_err(|tight| Failed::helped(Exit::Failed, tight.message, tight.help))?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
            let outcome = runtime.block_on(with_runtime(terminal, settings, other));
            // Whatever still blocks a thread must not delay the end: steps go on under their supervisors.
            runtime.shutdown_background();
            outcome
        }
    }
}

async fn with_runtime(terminal: &Terminal, settings: &Settings, command: Command) -> Outcome {
    use sb_plan::graph::Parts;
    match command {
        Command::Run { plan, tmux: true, anew, .. } => tmux::run(terminal, settings, &plan, anew).await,
        Command::Run { plan, seed, tmux: false, anew, keep, tolerances, confirm } => {
            let path = absolute(&plan);
            let request = Request::plan(path)
                .executor(settings.executor)
                .seed(seed)
                .tolerances(tolerances.given())
                .keep_on_failure(keep.keep_on_failure);
            run::run_plan(terminal, settings, request, anew, &confirm).await
        }
        Command::Plan(PlanCommand::Estimate { plan, assume }) => {
            estimate::show(terminal, settings, &plan, &assume).await
        }
        Command::Resume { run, tmux, accept_changes, as_started } => {
            let files = match (accept_changes, as_started) {
                (true, _) => Edited::Accept,
                (_, true) => Edited::AsStarted,
                _ => Edited::Refuse,
            };
            if tmux && let Some(exit) = tmux::resume(terminal, settings, run.as_deref()).await? {
                return Ok(exit);
            }
            run::resume(terminal, settings, run.as_deref(), files).await
        }
        Command::Runs { limit } => runs::runs(terminal, settings, limit).await,
        Command::Status { run, watch, all } => status::status(terminal, settings, run, watch, all).await,
        Command::Report(arguments) => match &arguments.command {
            Some(cli::ReportCommand::Compare { before, after, levels, fail_on_regression }) => {
                let sides = [before.as_path(), after.as_ref().unwrap_or(before)];
                compare::compare(terminal, settings, sides, levels.as_ref(), *fail_on_regression).await
            }
            None => report::report(terminal, settings, &arguments).await,
        },
        Command::Logs(arguments) => logs::logs(terminal, settings, arguments).await,
        Command::Ui { run, port } => ui::ui(terminal, settings, run, port).await,
        Command::Why { step, run } => why::why(terminal, settings, &step, run).await,
        Command::Leaks { forget: Some(deployment), yes, .. } => {
            forget::forget(terminal, settings, &deployment, yes).await
        }
        Command::Leaks { account: true, deployments, region, target, remove, force, yes, .. } => {
            let asked = leaks_account::Asked { deployments, region, target, remove, force, yes };
            leaks_account::leaks(terminal, settings, &asked).await
        }
        Command::Leaks { remove, force, .. } => {
            let what = match (remove, force) {
                (false, _) => leaks::Remove::None,
                (true, false) => leaks::Remove::Ended,
                (true, true) => leaks::Remove::All,
            };
            leaks::leaks(terminal, settings, what).await
        }
        Command::Prepare => single::part(terminal, settings, Parts { deploy: true, ..Parts::NONE }).await,
        Command::Invoke { load, tolerances } => {
            single::invoke(terminal, settings, load, tolerances.given()).await
        }
        Command::GetTraces => {
            single::part(terminal, settings, Parts { get_traces: true, ..Parts::NONE }).await
        }
        Command::AnalyzeTraces { .. } => {
            single::part(terminal, settings, Parts { analyze: true, ..Parts::NONE }).await
        }
        Command::Cleanup { run: Some(run) } => run::clean_up(terminal, settings, &run).await,
        Command::Cleanup { run: None } => {
            single::part(terminal, settings, Parts { cleanup: true, ..Parts::NONE }).await
        }
        Command::Test { load, tolerances, keep } => {
            single::test(terminal, settings, load, tolerances.given(), keep.keep_on_failure).await
        }
        Command::Init { provider, xray_sampling, region } => {
            init::init(terminal, settings, provider, xray_sampling, region.as_deref()).await
        }
        Command::Doctor => doctor::doctor(terminal, settings).await,
        Command::Remote(command) => remote::remote(terminal, settings, command).await,
        Command::Login { provider, prompt } => login::login(terminal, settings, provider, prompt).await,
        Command::Logout { provider, yes } => login::logout(terminal, settings, provider, yes).await,
        Command::CheckCredentials { provider } => login::check(terminal, settings, provider).await,
        Command::Shell { image, step, command } => {
            shell::shell(terminal, settings, image.as_deref(), step.as_deref(), command).await
        }
        Command::Config(command) => config::config(terminal, settings, command).await,
        Command::Trace(command) => trace::trace(terminal, settings, command).await,
        Command::Local(command) => local::local(terminal, settings, command).await,
        // The rest needs no runtime and was dispatched before.
        Command::Validate { .. }
        | Command::Fmt { .. }
        | Command::Explain { .. }
        | Command::New { .. }
        | Command::Schema { .. }
        | Command::Completions { .. }
        | Command::Complete { .. }
        | Command::Man { .. }
        | Command::Version
        | Command::Wait { .. }
        | Command::AnalyzeTriggers { .. }
        | Command::Workload(_)
        | Command::Dataset(_)
        | Command::Plan(_) => Ok(Exit::Usage),
    }
}
