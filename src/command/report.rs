//! The end of a run, and what it measured: `sb report`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use super::pages::{self, About};
use super::status::{last_run, open};
use super::tables;
use crate::cli::ReportArguments;
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::provider::retrieval::Retrieval;
use crate::run::{Request, What, find_run};
use crate::settings::Settings;
use crate::store::{Debt, RunRow, Store, StoreError};
use crate::terminal::{Style, Terminal};
use crate::watch::Watched;
use crate::watch::course::course;
use crate::watch::measured::{invocations, led_out, summaries};
use sb_analysis::{ApplicationSummary, Ink, Summaries, TRACE_FILES, render_summaries};
use sb_plan::event::Verdict;
use sb_plan::id::RunId;
use sb_report::{Note, Weight};

/// Folders of invocations, by application.
type Folders = BTreeMap<String, Vec<PathBuf>>;

/// The last run that sent load.
async fn last_measured(store: &Store) -> Result<RunRow, Failed> {
    for row in store.runs().await? {
        if Request::read(&row)?.parts.invoke {
            return Ok(row);
        }
    }
    last_run(store).await
}

pub(super) async fn report(terminal: &Terminal, settings: &Settings, arguments: &ReportArguments) -> Outcome {
    let (named, runs): (Vec<&PathBuf>, Vec<&PathBuf>) = arguments.what.iter().partition(|path| path.is_dir());
    let mut folders = Folders::new();
    let mut about = About { title: pages::title_of(&arguments.what), course: None };
    if named.is_empty() || !runs.is_empty() {
        let store = open(terminal, settings)?;
        let rows = match &runs[..] {
            [] => vec![last_measured(&store).await?],
            names => {
                let mut rows = Vec::new();
                for name in names {
                    rows.push(find_run(&store, &name.to_string_lossy()).await?);
                }
                rows
            }
        };
        if let [row] = &rows[..]
            && named.is_empty()
            && arguments.output.is_some()
        {
            about = of_run(&store, row).await?;
        }
        for row in rows {
            let state = store.state(&row.id).await?;
            let (plan, graph) = Request::read(&row)?.rebuild(&store, &row.id)?;
            for (folder, why) in led_out(&plan, &graph, &state) {
                terminal.say(&format!("{}: left out, since {why}", folder.display()));
            }
            for (application, found) in invocations(&plan, &graph, &state) {
                folders.entry(application).or_default().extend(found);
            }
        }
    }
    let sources = sources(&named, &folders);
    // First: a report of some folders must not pass for one of all.
    let mut known = gone(&folders);
    let count_gone = known.len();
    known.extend(tables::analyze(terminal, &sources)?);
    if let Some(output) = &arguments.output {
        // The summaries of the screen would read every file once more.
        if !folders.values().flatten().any(|folder| folder.is_dir()) {
            check_there(&folders)?;
        }
        let (mut report, left_out) = tables::compute(&sources, arguments)?;
        report.notes.splice(0..0, known);
        return tables::write(terminal, settings, &report, about, (&sources, &left_out), output);
    }
    let mut found = measured(&folders)?;
    let named_folders: Vec<PathBuf> = named.iter().map(|path| (*path).clone()).collect();
    let of_named = tables::summaries(&named_folders)?;
    found.groups.extend(of_named.groups);
    found.left_out.extend(of_named.left_out);
    tables::say_left_out(terminal, &found)?;
    if !found.groups.is_empty() {
        tables::say_notes(terminal, "folder gone:", known.iter().take(count_gone));
    }
    if (arguments.as_published || arguments.workload_traces.is_some()) && !settings.json() {
        let message = "the definitions of tables mean nothing to the screen";
        let help = "write the tables with `--output DIR`, or print them with `--format json`";
        return Err(Failed::helped(Exit::Usage, message, help));
    }
    if found.groups.is_empty() {
        return Err(Failed::helped(
            Exit::Failed,
            "nothing was measured: there are no requests and no valid traces",
            "name a folder that has `logs/<time>/` in or below it, or a run that sent load (`sb runs` lists them)",
        ));
    }
    if settings.json() {
        let (mut report, _) = tables::compute(&sources, arguments)?;
        report.notes.splice(0..0, known);
        return show_numbers(terminal, &found, &report);
    }
    show_summaries(terminal, settings, &found.groups)
}

/// The title and the course of a run.
async fn of_run(store: &Store, row: &RunRow) -> Result<About, Failed> {
    let mut watched = Watched::open(store.clone(), row.clone())?;
    watched.refresh(|_, _| {}).await?;
    Ok(About { title: format!("Run {}", row.id), course: Some(course(&watched)) })
}

/// What is read: the folders that were named, or those of runs.
fn sources(named: &[&PathBuf], folders: &Folders) -> Vec<PathBuf> {
    let there = folders.values().flatten().filter(|folder| folder.is_dir());
    named.iter().copied().chain(there).cloned().collect()
}

/// The folders of runs that are not there any more: how many, and each by its name. Nothing that they held counts anywhere.
fn gone(folders: &Folders) -> Vec<Note> {
    let all = || folders.values().flatten();
    let gone: Vec<&PathBuf> = all().filter(|folder| !folder.is_dir()).collect();
    if gone.is_empty() {
        return Vec::new();
    }
    let warning =
        |path: Option<PathBuf>, message: String| Note { weight: Weight::Warning, path, line: None, message };
    let count = format!(
        "{} of {} are not there any more, and count nowhere; name the folders where they are now: sb report FOLDER…",
        gone.len(),
        counted(all().count(), "invocation folder")
    );
    let each = gone.into_iter().map(|folder| {
        warning(
            Some(folder.clone()),
            "there is no such folder any more; what was measured in it is not known".to_owned(),
        )
    });
    std::iter::once(warning(None, count)).chain(each).collect()
}

/// All numbers as JSON.
fn show_numbers(terminal: &Terminal, summaries: &Summaries, report: &sb_report::Report) -> Outcome {
    let all = json!({
        "version": 1,
        "applications": summaries.groups,
        "as_published": report.as_published,
        "executions": report.executions,
        "groups": report.groups,
        "tables": report.tables,
        "notes": report.notes,
    });
    terminal.data(&format!("{all:#}"))?;
    Ok(Exit::Done)
}

/// The folder of the last invocation of the workspace's last run that has traces.
pub(super) async fn last_traces(terminal: &Terminal, settings: &Settings) -> Result<PathBuf, Failed> {
    match last_invocation(&open(terminal, settings)?).await? {
        Some(folder) => Ok(folder),
        None => Err(Failed::helped(
            Exit::Failed,
            "no invocation of this workspace has traces yet",
            "fetch them with `sb get-traces`, or name a file of traces",
        )),
    }
}

/// The folder of the last invocation that has traces.
pub(super) async fn last_invocation(store: &Store) -> Result<Option<PathBuf>, Failed> {
    for row in store.runs().await? {
        let state = store.state(&row.id).await?;
        let (plan, graph) = Request::read(&row)?.rebuild(store, &row.id)?;
        let found = invocations(&plan, &graph, &state)
            .into_values()
            .flatten()
            .rfind(|folder| TRACE_FILES.iter().any(|name| folder.join(name).is_file()));
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Empty: nothing was measured.
fn measured(folders: &Folders) -> Result<Summaries, Failed> {
    let summaries = summaries(folders);
    if summaries.groups.is_empty() {
        check_there(folders)?;
    }
    Ok(summaries)
}

/// Names the first folder that is not there.
fn check_there(folders: &Folders) -> Result<(), Failed> {
    let Some(gone) = folders.values().flatten().find(|folder| !folder.is_dir()) else { return Ok(()) };
    let message = format!("what was measured is not there any more: there is no folder `{}`", gone.display());
    let help = "name the folders where they are now: sb report FOLDER…";
    Err(Failed::helped(Exit::Failed, message, help))
}

/// The folders of a run's invocations that have traces; without a name, of the last run that has some.
pub(super) async fn traces_of_run(
    terminal: &Terminal,
    settings: &Settings,
    name: Option<&str>,
) -> Result<Vec<PathBuf>, Failed> {
    let store = open(terminal, settings)?;
    let rows = match name {
        Some(name) => vec![find_run(&store, name).await?],
        None => store.runs().await?,
    };
    for row in rows {
        let state = store.state(&row.id).await?;
        let (plan, graph) = Request::read(&row)?.rebuild(&store, &row.id)?;
        let has_traces = |folder: &PathBuf| TRACE_FILES.iter().any(|name| folder.join(name).is_file());
        let folders: Vec<PathBuf> =
            invocations(&plan, &graph, &state).into_values().flatten().filter(has_traces).collect();
        if !folders.is_empty() {
            return Ok(folders);
        }
    }
    let message = match name {
        Some(name) => format!("no invocation of the run `{name}` has traces"),
        None => "no invocation of this workspace has traces yet".to_owned(),
    };
    Err(Failed::helped(Exit::Failed, message, "fetch them with `sb get-traces`, or name a file of traces"))
}

fn show_report(terminal: &Terminal, settings: &Settings, folders: &Folders) -> Outcome {
    let found = measured(folders)?;
    tables::say_left_out(terminal, &found)?;
    show_summaries(terminal, settings, &found.groups)
}

fn show_summaries(terminal: &Terminal, settings: &Settings, summaries: &[ApplicationSummary]) -> Outcome {
    if summaries.is_empty() {
        terminal.say("nothing was measured");
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    if settings.json() {
        let _ = write!(text, "{:#}", json!({ "version": 1, "applications": summaries }));
    } else {
        let ink = if terminal.coloured { Ink::Coloured } else { Ink::Plain };
        render_summaries(&mut text, summaries, ink)
            .map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
    }
    terminal.data(&text)?;
    Ok(Exit::Done)
}

/// Whether something that a run has deployed, or the deployment that it works on, is still to be cleaned up.
async fn is_owed(store: &Store, run: &RunId, request: &Request) -> Result<bool, StoreError> {
    let own = match &request.what {
        What::Single { deployment, .. } => Some(deployment),
        What::Plan { .. } => None,
    };
    let mut owed = store.unpaid().await?.into_iter().filter(|row| row.debt == Debt::Owed);
    Ok(owed.any(|row| row.run == *run || Some(&row.id) == own))
}

/// The end of a run: what was measured, where it is, what is owed.
pub(super) async fn finish(
    terminal: &Terminal,
    settings: &Settings,
    store: &Store,
    run: &RunId,
    folders: &Folders,
    measurement: Verdict,
    cleanup: Verdict,
) -> Outcome {
    let Some(row) = store.run(run).await? else { return Ok(Exit::of_run(measurement, cleanup)) };
    let request = Request::read(&row)?;
    if request.parts.invoke || request.parts.analyze {
        show_report(terminal, settings, folders)?;
    }
    if request.parts.deploy && !request.parts.cleanup {
        show_outputs(terminal, settings, store, &request).await?;
    }
    if request.parts.get_traces {
        show_retrievals(terminal, settings, request.parts.invoke, folders)?;
    }
    let mut written = Vec::new();
    for folder in folders.values().flatten() {
        let names = written_since(folder, row.created_ms);
        if !names.is_empty() {
            written.push(format!("{}/", folder.display()));
            written.push(format!("    {}", names.join("  ")));
        }
    }
    if !written.is_empty() {
        terminal.say(&format!("{}\n  {}", terminal.paint(Style::Strong, "wrote"), written.join("\n  ")));
    }
    if request.parts.invoke && !folders.is_empty() {
        let command = terminal.command(&format!("report {run} --output DIR"));
        terminal.say(&format!("figures and tables: {command}"));
    }
    let exit = Exit::of_run(measurement, cleanup);
    let style = if exit == Exit::Done { Style::Good } else { Style::Bad };
    let cleaned = if cleanup == Verdict::None { String::new() } else { format!("; cleanup {cleanup}") };
    let measured = if measurement == Verdict::None { String::new() } else { format!(" {measurement}") };
    let text = format!("run {run}:{measured}{cleaned}");
    terminal.say(&terminal.paint(style, text.replace(":;", ":").as_str()));
    let keeps = request.parts.deploy && !request.parts.cleanup && exit != Exit::Done;
    if keeps && is_owed(store, run, &request).await? {
        let command = terminal.command("cleanup");
        terminal.say(&format!("what was deployed is still there: `{command}` removes it"));
    }
    if exit == Exit::CleanupOwed {
        let text = match cleanup {
            Verdict::Kept => {
                let command = terminal.command(&format!("cleanup {run}"));
                format!("what failed is still deployed: `{command}` removes it")
            }
            _ => format!("something may still be deployed: `{}` lists it", terminal.command("leaks")),
        };
        terminal.say(&text);
    }
    Ok(exit)
}

/// The files of a folder that were written from a moment on: not what an earlier command left there.
fn written_since(folder: &Path, since_ms: i64) -> Vec<String> {
    let since = UNIX_EPOCH + Duration::from_millis(u64::try_from(since_ms).unwrap_or(0));
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_new = |file: &std::fs::DirEntry| {
        file.metadata().and_then(|about| about.modified()).is_ok_and(|changed| changed >= since)
    };
    let mut names: Vec<_> =
        files.filter(is_new).map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// How complete the traces are: all of it where they are what was asked for, and otherwise what people should know.
fn show_retrievals(
    terminal: &Terminal,
    settings: &Settings,
    is_part: bool,
    folders: &Folders,
) -> Result<(), Failed> {
    let found = folders.values().flatten().filter_map(|folder| {
        let report = Retrieval::read(&folder.join(TRACE_FILES[0]))?;
        Some((folder, report))
    });
    if settings.json() && !is_part {
        let all: Vec<_> =
            found.map(|(folder, report)| json!({ "folder": folder, "retrieval": report })).collect();
        terminal.data(&format!("{:#}", json!({ "version": 1, "invocations": all })))?;
        return Ok(());
    }
    for (folder, report) in found {
        match report.shortfall() {
            Some(shortfall) => terminal.say(&format!("{}: {shortfall}", folder.display())),
            None if !is_part => {
                let by_time = match report.by_time {
                    0 => String::new(),
                    count => {
                        format!(", {count} of them by their time alone: invocations were sent without an id")
                    }
                };
                let linked = match report.linked {
                    0 => String::new(),
                    count => format!(", {count} of them by links"),
                };
                terminal.say(&format!(
                    "{}: {} found{by_time}{linked}",
                    folder.display(),
                    match report.found {
                        1 => "the trace".to_owned(),
                        count => format!("all {count} traces"),
                    }
                ));
            }
            None => {}
        }
    }
    Ok(())
}

async fn show_outputs(
    terminal: &Terminal,
    settings: &Settings,
    store: &Store,
    request: &Request,
) -> Result<(), Failed> {
    // A plan is always cleaned up.
    let What::Single { deployment, .. } = &request.what else { return Ok(()) };
    if let Some(row) = store.deployment(deployment).await? {
        if settings.json() {
            let all = json!({ "version": 1, "deployment": row.id, "outputs": row.outputs });
            terminal.data(&format!("{all:#}"))?;
            return Ok(());
        }
        for (name, value) in &row.outputs {
            terminal.data(&format!("{name} = {}", sb_workload::template::plain_text(value)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_gone_are_counted_and_named() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| root.path().join(name);
        std::fs::create_dir(folder("a")).unwrap();
        let mut folders = Folders::from([("shop".to_owned(), vec![folder("a")])]);
        assert_eq!(gone(&folders), []);
        folders.insert("todo".to_owned(), vec![folder("b"), folder("c")]);
        let notes = gone(&folders);
        assert_eq!(notes.len(), 3);
        assert!(
            notes[0].message.starts_with("2 of 3 invocation folders are not there any more"),
            "{notes:?}"
        );
        let paths: Vec<_> = notes[1..].iter().filter_map(|note| note.path.clone()).collect();
        assert_eq!(paths, [folder("b"), folder("c")]);
        assert!(notes.iter().all(|note| note.weight == Weight::Warning));
        assert_eq!(sources(&[], &folders), [folder("a")]);
    }
}
