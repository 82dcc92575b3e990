//! What changed between two runs: `sb report compare`.

use std::path::{Path, PathBuf};

use super::Outcome;
use super::output::Failed;
use super::status::open;
use crate::cli::{Levels, OutputFormat};
use crate::exit_code::Exit;
use crate::run::{Request, find_run};
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::watch::measured::invocations;
use sb_analysis::{
    Comparison, Ink, RunMeasurements, comparison_markdown, comparison_text, invocation_folders, measure,
};

pub(super) async fn compare(
    terminal: &Terminal,
    settings: &Settings,
    [before, after]: [&Path; 2],
    levels: Option<&Levels>,
    allowed: Option<f64>,
) -> Outcome {
    let mut first = side(terminal, settings, before).await?;
    let mut second = if before == after { first.clone() } else { side(terminal, settings, after).await? };
    if let Some(Levels { factor, before, after }) = levels {
        first = at_level(&first, factor, before)?;
        second = at_level(&second, factor, after)?;
    }
    let comparison = Comparison::of(&first, &second)
        .map_err(|error| Failed::message(Exit::Failed, format!("cannot compare the two: {error}")))?;
    let ink = if terminal.coloured { Ink::Coloured } else { Ink::Plain };
    let mut text = String::new();
    let regressions = allowed.map(|allowed| (allowed, comparison.regressions(allowed)));
    match settings.format {
        OutputFormat::Json => {
            let json = serde_json::json!({
                "version": Comparison::VERSION,
                "comparison": comparison,
                "allowed": allowed,
                "regressions": regressions.as_ref().map(|(_, found)| found),
                "vanished": comparison.vanished(),
            });
            text = format!("{json:#}");
        }
        OutputFormat::Markdown => comparison_markdown(&mut text, &comparison)
            .map_err(|error| Failed::message(Exit::Failed, error.to_string()))?,
        _ => comparison_text(&mut text, &comparison, ink)
            .map_err(|error| Failed::message(Exit::Failed, error.to_string()))?,
    }
    terminal.data(&text)?;
    match regressions {
        Some((allowed, found)) => gate(terminal, &comparison, allowed, found),
        None => Ok(Exit::Done),
    }
}

/// Whether something surely got worse by more than is allowed, or is not there any more. What cannot be judged is never
/// taken for unchanged.
fn gate(
    terminal: &Terminal,
    comparison: &Comparison,
    allowed: f64,
    found: Vec<sb_analysis::Regression>,
) -> Outcome {
    let percent = allowed * 100.0;
    let vanished = comparison.vanished();
    if !vanished.is_empty() {
        let lines: Vec<String> = vanished.iter().map(|group| format!("  {}", group.words())).collect();
        terminal.say(&format!(
            "measured before the change, and nothing of it after:\n{}\nmeasure the same again, or compare without \
             --fail-on-regression if this is meant",
            lines.join("\n")
        ));
    }
    if !found.is_empty() {
        let lines: Vec<String> = found
            .iter()
            .map(|one| match one.quantity {
                "failed" => format!(
                    "  {}: failed requests, {:.1} % before and {:.1} % after",
                    one.group,
                    one.first * 100.0,
                    one.second * 100.0
                ),
                quantity => format!(
                    "  {}: {quantity} {}, {:.3} ms before and {:.3} ms after",
                    one.group, one.statistic, one.first, one.second
                ),
            })
            .collect();
        terminal.say(&format!("regression of more than {percent} %:\n{}", lines.join("\n")));
        return Ok(Exit::Regressed);
    }
    if !vanished.is_empty() {
        return Ok(Exit::Regressed);
    }
    let incomplete: Vec<String> = [&comparison.first, &comparison.second]
        .into_iter()
        .filter(|side| side.left_out > 0)
        .map(|side| {
            let folders = if side.left_out == 1 { "folder" } else { "folders" };
            format!("{} {folders} of `{}`", side.left_out, side.name)
        })
        .collect();
    if !incomplete.is_empty() {
        return Err(Failed::helped(
            Exit::Failed,
            format!(
                "the comparison is incomplete, so it cannot show that nothing got worse: left out as damaged: {}",
                incomplete.join(", ")
            ),
            "restore or remove the folders that the remarks name, or measure again",
        ));
    }
    if !comparison.says_anything() {
        return Err(Failed::helped(
            Exit::Failed,
            "nothing can be said about regressions: no group has at least three trials, and three of several \
             deployments, with enough requests on both sides",
            "measure more trials: `per_deployment` or `repetitions` in the plan's [trials]",
        ));
    }
    let unjudged: Vec<String> = comparison.unjudged().map(sb_analysis::GroupChange::words).collect();
    if !unjudged.is_empty() {
        terminal
            .say(&format!("not judged, as there are too few trials or requests: {}", unjudged.join("; ")));
    }
    let gone: Vec<String> = comparison.only_first.iter().map(sb_analysis::LoneGroup::words).collect();
    if !gone.is_empty() {
        terminal.say(&format!("not judged, as no trace began so after the change: {}", gone.join("; ")));
    }
    Ok(Exit::Done)
}

/// What a side measured at one level of a factor.
fn at_level(side: &RunMeasurements, factor: &str, level: &str) -> Result<RunMeasurements, Failed> {
    let levels = side.levels(factor);
    if levels.contains(level) {
        return Ok(side.at_level(factor, level));
    }
    let help = if levels.is_empty() {
        "name a factor of the plan's [matrix], or a label".to_owned()
    } else {
        format!("it was measured at {}", Vec::from_iter(levels).join(", "))
    };
    Err(Failed::helped(Exit::Failed, format!("nothing was measured at {factor}={level}"), help))
}

/// What a run or a folder measured.
async fn side(terminal: &Terminal, settings: &Settings, what: &Path) -> Result<RunMeasurements, Failed> {
    let name = what.to_string_lossy().into_owned();
    let folders =
        if what.is_dir() { vec![what.to_owned()] } else { folders_of(terminal, settings, &name).await? };
    let broken = |error: sb_analysis::ReportError| Failed::message(Exit::Failed, error.to_string());
    super::tables::analyze(terminal, &folders)?;
    let found = invocation_folders(&folders).map_err(broken)?;
    let measured = measure(&name, &found).map_err(broken)?;
    if measured.is_empty() {
        return Err(Failed::helped(
            Exit::Failed,
            format!(
                "`{name}` has no measurements: no invocations.csv, k6_metrics.csv or trace_breakdown.csv with rows"
            ),
            "name a run that sent load (`sb runs` lists them), or a folder such as logs/",
        ));
    }
    Ok(measured)
}

async fn folders_of(terminal: &Terminal, settings: &Settings, name: &str) -> Result<Vec<PathBuf>, Failed> {
    let store = open(terminal, settings)?;
    let row = find_run(&store, name).await?;
    let state = store.state(&row.id).await?;
    let (plan, graph) = Request::read(&row)?.rebuild(&store, &row.id)?;
    let folders: Vec<PathBuf> = invocations(&plan, &graph, &state).into_values().flatten().collect();
    if let Some(gone) = folders.iter().find(|folder| !folder.is_dir()) {
        let message =
            format!("what `{name}` measured is not there any more: there is no folder `{}`", gone.display());
        return Err(Failed::helped(Exit::Failed, message, "name the folders where they are now"));
    }
    Ok(folders)
}
