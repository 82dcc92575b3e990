//! `--tmux`: a run in a session of its own, which outlives the terminal that it was started from.
//!
//! The session has a window `progress` with the run itself, and a window `log` with `sb logs -f`. The run opens the
//! second once it has a name. Arguments, working folder and environment reach the run by a file that only the user
//! can read. It is removed once it was read. A tmux server hands its own old environment to what it starts, and all
//! users of the machine see the arguments of tmux.
//!
//! The run is found again by what stands in options of its pane: people rename sessions and windows, and move panes.
//!
//! When the run has ended, its windows stay as they are (`remain-on-exit`), with the exit code below. The next `sb
//! run --tmux` of the plan starts in the same pane. Tmux itself refuses that while the pane's process lives. No
//! session is ever ended, since people may have opened windows of their own in it.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sb_durable::{Durability, Options};
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::output::{Failed, accept};
use super::status::{look, open};
use crate::exit_code::Exit;
use crate::printable::printable_lines;
use crate::run::{Request, expect_none_alive, find_run};
use crate::settings::Settings;
use crate::store::expect_own;
use crate::terminal::Terminal;
use crate::workspace::{Workspace, absolute};
use sb_plan::id::RunId;
use sb_plan::manifest::read::Disk;
use sb_plan::plan::Overrides;
use sb_plan::validate;

/// The hidden argument under which this program becomes the run in a window.
pub(super) const LAUNCH: &str = "internal-tmux";

/// What the run in the window is to be started with.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Launch {
    arguments: Vec<OsString>,
    folder: OsString,
    environment: Vec<(OsString, OsString)>,
}

pub(super) async fn run(terminal: &Terminal, settings: &Settings, plan: &Path, anew: bool) -> Outcome {
    let path = absolute(plan);
    // What is wrong with it is better said here than in a window that nobody looks at yet.
    let overrides = Overrides {
        params: settings.params.clone(),
        executor: settings.executor,
        seed: None,
        tolerances: sb_plan::plan::GivenTolerances::default(),
        environment: settings.environment.clone(),
    };
    let plan = accept(terminal, validate::plan(&Disk, &path, &overrides))?;
    let workspace = settings.workspace(&path);
    expect_own(&workspace)?;
    let identity = identity(workspace.folder(), &path.display().to_string());
    let session = find(&session_name(&plan.name), &identity, None)?;
    // One that runs elsewhere: its terminal, or the server of its session, may be gone.
    if !anew && !matches!(session, TmuxSession::Running(_)) {
        expect_none_alive(&look(terminal, settings, &workspace)?, &path).await?;
    }
    enter(terminal, &workspace, &identity, session, None)
}

pub(super) async fn resume(
    terminal: &Terminal,
    settings: &Settings,
    run: Option<&str>,
) -> Result<Option<Exit>, Failed> {
    let store = open(terminal, settings)?;
    let row = match run {
        Some(name) => Some(find_run(&store, name).await?),
        None => store.runs().await?.into_iter().find(|row| row.ended.is_none()),
    };
    let Some(row) = row else { return Ok(None) };
    let identity = identity(store.folder(), &Request::read(&row)?.title());
    let session = find(&session_name(plan_name(&row.id)), &identity, Some(&row.id))?;
    if matches!(session, TmuxSession::Free(_) | TmuxSession::Ended(_)) && store.runner_of(&row.id).is_some() {
        // It runs, and not in a session: the refusal says where.
        return Ok(None);
    }
    let named = run.is_none().then(|| row.id.to_string());
    enter(terminal, store.workspace(), &identity, session, named).map(Some)
}

/// In a pane's options: what the run in it is for, which run it is, and whose log it shows.
const OF: &str = "@sb-of";
const RUN: &str = "@sb-run";
const LOG: &str = "@sb-log";

/// Once a run has a name: the window with its log, and the name as an option of the run's pane. Best effort: a run does
/// not fail because nobody can watch it.
pub(super) fn show_log(state: &Path, run: &RunId) {
    let (Ok(sb), Ok(pane)) = (std::env::current_exe(), std::env::var("TMUX_PANE")) else { return };
    let call = |commands: &[&[&OsStr]]| -> Option<String> {
        let said = String::from_utf8_lossy(&tmux(commands).ok()?.stdout).trim().to_owned();
        (!said.is_empty()).then_some(said)
    };
    let name = words(&["set-option", "-p", "-t", &pane, RUN, run.as_str()]);
    let here = words(&["display-message", "-p", "-t", &pane, "#{window_id}"]);
    let Some(here) = call(&[&name, &here]) else { return };
    let mut new = words(&["new-window", "-d", "-P", "-F", "#{pane_id}", "-a", "-t", &here, "-n", "log"]);
    new.extend::<[&OsStr; 3]>([sb.as_ref(), "--state-dir".as_ref(), state.as_ref()]);
    new.extend(words(&["logs", "--follow", "--run", run.as_str()]));
    let Some(log) = call(&[&new]) else { return };
    let remain = words(&["set-window-option", "-t", &log, "remain-on-exit", "on"]);
    let of = words(&["set-option", "-p", "-t", &log, LOG, &pane]);
    call(&[&remain, &of]);
}

/// Becomes the run: called in the window, with the file that [`enter`] wrote. Returns only when that fails.
pub(super) fn launch(file: &Path) -> String {
    let read = || -> std::io::Result<Launch> {
        let bytes = std::fs::read(file)?;
        std::fs::remove_file(file)?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    let launch = match read() {
        Ok(launch) => launch,
        Err(error) => return format!("cannot read `{}`: {error}", file.display()),
    };
    let Some((program, arguments)) = launch.arguments.split_first() else {
        return "there is nothing to start".to_owned();
    };
    // What the window is, only tmux knows.
    const OF_THE_WINDOW: [&str; 3] = ["TMUX", "TMUX_PANE", "TERM"];
    let of_the_window = OF_THE_WINDOW.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let error = Command::new(program)
        .args(arguments)
        .current_dir(&launch.folder)
        .env_clear()
        .envs(launch.environment)
        .envs(of_the_window)
        .exec();
    format!("cannot start {}: {error}", program.to_string_lossy())
}

/// What a session is for: the plan, in its workspace. As a digest, since it is a value of tmux and a word of its lists.
fn identity(state: &Path, title: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(format!("{}|{title}", state.display())))
}

/// `sb-PLAN`, without what tmux gives a meaning to.
fn session_name(plan: &str) -> String {
    let name: String =
        plan.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    format!("sb-{name}")
}

/// The plan's name in `20260131-120000-quickstart-7f3a`.
fn plan_name(run: &RunId) -> &str {
    let name = run.as_str().splitn(3, '-').nth(2).unwrap_or(run.as_str());
    name.rsplit_once('-').map_or(name, |(name, _)| name)
}

/// Where a run is, or could be.
#[derive(Debug, PartialEq, Eq)]
enum TmuxSession {
    /// There is none yet; the name is free.
    Free(String),
    /// The run goes on.
    Running(TmuxPane),
    /// The run has ended, and its pane is still there.
    Ended(TmuxPane),
}

/// A pane that a run was started in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TmuxPane {
    /// `%7`: the same for as long as the server lives.
    id: String,
    /// `$3`
    session: String,
    /// As it is called now.
    session_name: String,
    is_dead: bool,
    of: String,
    run: String,
    /// Of a pane that shows a log: the pane of its run.
    log_of: String,
}

impl TmuxPane {
    const SHOWN: &str =
        "#{pane_id} #{session_id} #{pane_dead} #{@sb-of} #{@sb-run} #{@sb-log} #{session_name}";

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(7, ' ').map(str::to_owned);
        let mut next = || words.next();
        Some(Self {
            id: next()?,
            session: next()?,
            is_dead: next()? == "1",
            of: next()?,
            run: next()?,
            log_of: next()?,
            session_name: next()?,
        })
    }
}

/// The panes of all sessions; none where no server runs.
fn panes() -> Result<Vec<TmuxPane>, Failed> {
    let listed = tmux(&[&words(&["list-panes", "-a", "-F", TmuxPane::SHOWN])])?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().filter_map(TmuxPane::parse).collect())
}

/// Where this plan runs, or has run, or a name for its session. Another workspace may have a plan of the same name.
fn find(name: &str, identity: &str, run: Option<&RunId>) -> Result<TmuxSession, Failed> {
    let (dead, live): (Vec<_>, Vec<_>) =
        panes()?.into_iter().filter(|pane| pane.of == identity).partition(|pane| pane.is_dead);
    // Another run of the plan may be in it. One that has no name yet has just begun.
    if let Some(pane) = live.into_iter().find(|pane| run.is_none_or(|run| pane.run == run.as_str())) {
        return Ok(TmuxSession::Running(pane));
    }
    if let Some(pane) = dead.into_iter().next() {
        return Ok(TmuxSession::Ended(pane));
    }
    let mut candidates = vec![name.to_owned(), format!("{name}-{}", &identity[..4])];
    if let Some((_, suffix)) = run.and_then(|run| run.as_str().rsplit_once('-')) {
        candidates.push(format!("{name}-{suffix}"));
    }
    for name in candidates {
        let exact = format!("={name}");
        if !tmux(&[&words(&["has-session", "-t", &exact])])?.status.success() {
            return Ok(TmuxSession::Free(name));
        }
    }
    let help = "`tmux ls` shows the sessions, `tmux kill-session -t NAME` ends one; or leave --tmux out";
    Err(Failed::helped(Exit::Failed, format!("other sessions have the name `{name}` already"), help))
}

/// Starts the run in its session, if it does not run there already, and shows it where there is a terminal.
fn enter(
    terminal: &Terminal,
    workspace: &Workspace,
    identity: &str,
    session: TmuxSession,
    run: Option<String>,
) -> Outcome {
    let starts = !matches!(session, TmuxSession::Running(_));
    let (target, name) = match session {
        TmuxSession::Running(pane) => {
            let name = pane.session_name;
            terminal
                .say(&format!("it runs in tmux session `{name}` already: joining it, nothing is started"));
            (pane.session, name)
        }
        TmuxSession::Ended(pane) => {
            start(workspace, run, &pane.session_name, |launch| start_again(&pane, launch))?;
            (pane.session, pane.session_name)
        }
        TmuxSession::Free(name) => {
            start(workspace, run, &name, |launch| start_session(&name, identity, launch))?;
            (format!("={name}"), name)
        }
    };
    if starts {
        expect_begun(terminal, identity, &name)?;
    }
    let inside = std::env::var_os("TMUX").is_some_and(|socket| !socket.is_empty());
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if inside && interactive && tmux(&[&words(&["switch-client", "-t", &target])])?.status.success() {
        terminal.say(&format!("the run is in tmux session `{name}`"));
    } else if interactive && !inside {
        let ended = Command::new("tmux").args(["attach-session", "-t", &target]).status()?;
        if !ended.success() {
            terminal.say("tmux could not show the session (see above)");
        }
        terminal.say(&format!(
            "left tmux session `{name}`, which goes on: `tmux attach -t {name}` returns to it"
        ));
    } else {
        terminal.say(&format!(
            "the run is in tmux session `{name}`: `tmux attach -t {name}` shows it, `sb status --watch` tells how far it is"
        ));
    }
    Ok(Exit::Done)
}

/// How long a run may take to get its name, before it is believed to be on its way.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

/// Waits until the run in the session has its name. One that ends before has not begun: nobody looks at its window, so
/// what the window shows is reported here, with the exit code.
fn expect_begun(terminal: &Terminal, identity: &str, name: &str) -> Result<(), Failed> {
    let deadline = Instant::now() + BEGINS_WITHIN;
    while Instant::now() < deadline {
        let Some(pane) = panes()?.into_iter().find(|pane| pane.of == identity) else { return Ok(()) };
        if !pane.run.is_empty() {
            return Ok(());
        }
        if pane.is_dead {
            let code = ended_with(&pane)?;
            if code == Exit::Done {
                return Ok(());
            }
            let shown = tmux(&[&words(&["capture-pane", "-p", "-J", "-S", "-100", "-t", &pane.id])])?;
            let shown = String::from_utf8_lossy(&shown.stdout);
            let lines: Vec<_> = shown.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
            let message = format!(
                "the command in tmux session `{name}` ended before its run began. It printed:\n{}",
                printable_lines(&lines.join("\n"), false)
            );
            let help = format!("`tmux attach -t {name}` shows all of it");
            return Err(Failed::helped(code, message, help));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    terminal.say(&format!("the run has not begun after {} s", BEGINS_WITHIN.as_secs()));
    Ok(())
}

/// The exit code of a pane whose process has ended.
fn ended_with(pane: &TmuxPane) -> Result<Exit, Failed> {
    let status = words(&["display-message", "-p", "-t", &pane.id, "#{pane_dead_status}"]);
    // tmux 3.3 sometimes misses the signal of an ended child, and knows no status then. The end of another child makes it
    // look at all of them.
    let another = words(&["run-shell", "true"]);
    for _ in 0..20 {
        let said = tmux(&[&another, &status])?;
        if let Ok(code) = String::from_utf8_lossy(&said.stdout).trim().parse() {
            return Ok(Exit::of_command(code));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Exit::Failed)
}

/// Starts this command, without `--tmux`, in a session: `make` calls tmux with the words that launch it.
fn start(
    workspace: &Workspace,
    run: Option<String>,
    name: &str,
    make: impl FnOnce(&[&OsStr]) -> Result<Output, Failed>,
) -> Result<(), Failed> {
    let sb = std::env::current_exe()?;
    let mut arguments = vec![sb.clone().into_os_string(), "--inside-tmux".into(), name.into()];
    arguments.extend(std::env::args_os().skip(1).filter(|word| word != "--tmux"));
    arguments.extend(run.map(OsString::from));
    let launch = Launch {
        arguments,
        folder: std::env::current_dir()?.into_os_string(),
        environment: std::env::vars_os().collect(),
    };
    let file = write_launch(workspace, name, &launch)?;
    let made = make(&[sb.as_os_str(), LAUNCH.as_ref(), file.as_os_str()]);
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        let _ = std::fs::remove_file(&file);
    }
    let made = made?;
    if made.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
    if said.contains("duplicate session") || said.contains("still active") {
        let message = format!("tmux session `{name}` was started by another process at this moment");
        return Err(Failed::helped(Exit::Locked, message, "the same command again joins it"));
    }
    let help = "see whether `tmux new-session` works by itself, or leave --tmux out: a run outlives its terminal \
                anyway (its steps go on, and `sb resume` takes them up)";
    Err(Failed::helped(Exit::Failed, format!("tmux could not start the run in a session: {said}"), help))
}

fn start_session(name: &str, identity: &str, launch: &[&OsStr]) -> Result<Output, Failed> {
    let size = console::Term::stdout().size_checked();
    let (rows, columns) = size.map_or((50, 200), |(rows, columns)| (rows, columns));
    let (rows, columns) = (rows.to_string(), columns.to_string());
    let session = format!("={name}:");
    let mut new: Vec<&OsStr> =
        words(&["new-session", "-d", "-s", name, "-n", "progress", "-x", &columns, "-y", &rows]);
    new.extend(launch);
    let commands: [&[&OsStr]; 4] = [
        &new,
        // Before anything can end in it: the commands of one call are carried out without a break.
        &words(&["set-window-option", "-t", &session, "remain-on-exit", "on"]),
        &words(&["set-option", "-t", &session, "destroy-unattached", "off"]),
        &words(&["set-option", "-p", "-t", &session, OF, identity]),
    ];
    tmux(&commands)
}

/// In the pane of a run that has ended. Without `-k`, tmux refuses to respawn a pane whose process lives.
fn start_again(pane: &TmuxPane, launch: &[&OsStr]) -> Result<Output, Failed> {
    let mut respawn = words(&["respawn-pane", "-t", &pane.id]);
    respawn.extend(launch);
    let commands: [&[&OsStr]; 3] = [
        &respawn,
        &words(&["set-option", "-p", "-u", "-t", &pane.id, RUN]),
        &words(&["clear-history", "-t", &pane.id]),
    ];
    let started = tmux(&commands)?;
    if started.status.success() {
        // What shows the log of the run before, and has ended.
        for log in panes()?.iter().filter(|log| log.log_of == pane.id && log.is_dead) {
            tmux(&[&words(&["kill-pane", "-t", &log.id])])?;
        }
    }
    Ok(started)
}

fn write_launch(workspace: &Workspace, name: &str, launch: &Launch) -> Result<PathBuf, Failed> {
    let folder = workspace.tmux();
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.{}.json", std::process::id()));
    // In the place of one that is left over, which others may hold open.
    let options = Options::new().private().survives(Durability::Processes);
    sb_durable::write(&path, options, &serde_json::to_vec(launch).map_err(std::io::Error::from)?)
        .map_err(std::io::Error::from)?;
    Ok(path)
}

fn words<'a>(words: &[&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(|word| OsStr::new(*word)).collect()
}

/// Calls tmux with several commands at once. Where it listens is for tmux to say: TMUX, TMUX_TMPDIR.
fn tmux(commands: &[&[&OsStr]]) -> Result<Output, Failed> {
    let mut call = Command::new("tmux");
    for (index, command) in commands.iter().enumerate() {
        if index > 0 {
            call.arg(";");
        }
        call.args(command.iter().map(|word| unbroken(word)));
    }
    call.stdin(Stdio::null()).output().map_err(|error| {
        let help = "install it (`apt-get install tmux`), or leave --tmux out: when the terminal goes away the run goes on, \
                    and `sb status --watch` in a new one shows it";
        Failed::helped(Exit::Failed, format!("tmux cannot be started: {error}"), help)
    })
}

/// A semicolon at the end of a word would end the command.
fn unbroken(word: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    match word.as_bytes().split_last() {
        Some((b';', rest)) => {
            let mut bytes = rest.to_vec();
            bytes.extend(b"\\;");
            OsString::from_vec(bytes)
        }
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_after_the_plan_and_so_is_that_of_its_runs() {
        for (plan, run, session) in [
            ("quickstart", "20260131-120000-quickstart-7f3a", "sb-quickstart"),
            ("my-plan", "20260131-120000-my-plan-0000", "sb-my-plan"),
            ("slow@local", "20260131-120000-slow-local-7f3a", "sb-slow-local"),
            ("a.b:c d", "20260131-120000-a-b-c-d-7f3a", "sb-a-b-c-d"),
        ] {
            assert_eq!(session_name(plan), session);
            assert_eq!(session_name(plan_name(&RunId::new(run))), session);
        }
    }

    #[test]
    fn a_word_never_ends_a_command_of_tmux() {
        for (word, expected) in [("a", "a"), ("a;", "a\\;"), (";", "\\;"), ("a;b", "a;b"), ("", "")] {
            assert_eq!(unbroken(OsStr::new(word)), expected);
        }
    }
}
