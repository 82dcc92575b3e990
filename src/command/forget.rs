//! `sb leaks --forget`: a deployment whose cleanup is owed, and which does not exist.

use std::fmt::Write as _;

use super::Outcome;
use super::output::Failed;
use super::status::tell;
use crate::exit_code::Exit;
use crate::run::Request;
use crate::schedule::now_ms;
use crate::settings::Settings;
use crate::store::{Change, Debt, DeploymentRow, RunRow, Store, event};
use crate::terminal::Terminal;
use sb_plan::event::{Event, FailureClass, Outcome as StepOutcome, Record};
use sb_plan::id::StepId;

/// Drops the debt of a deployment after a question. One that may exist must be named again: nothing else remembers it.
pub(super) async fn forget(terminal: &Terminal, settings: &Settings, name: &str, yes: bool) -> Outcome {
    let workspace = settings.known_workspace()?;
    terminal.complete_commands(|| settings.missing_in_commands(&workspace));
    // A state is not made to forget something in it.
    drop(Store::look(&workspace)?);
    if !workspace.database().exists() {
        return Err(unknown(name));
    }
    let store = Store::open(&workspace)?;
    tell(terminal, store.notes());
    let rows = store.deployments().await?;
    let owed = rows.into_iter().find(|row| row.id.as_str() == name && row.debt == Debt::Owed);
    let row = owed.ok_or_else(|| unknown(name))?;
    let _run = store.lock_run(&row.run)?;
    let _deployment = store.lock_deployment(&row.id)?;
    let run = store.run(&row.run).await?;
    if run.as_ref().is_some_and(|run| run.ended.is_none()) {
        return Err(Failed::helped(
            Exit::Failed,
            format!("run {} of `{name}` has not ended: it could be resumed, and would deploy", row.run),
            format!("`sb resume {0}` continues it, and `sb cleanup {0}` stops it and cleans up", row.run),
        ));
    }
    let records = store.events(&row.run).await?;
    let deploying = run.as_ref().and_then(|run| deploy_steps(&store, run, &row));
    let begun = deploying.map(|steps| begun(&steps, &records));
    confirm(terminal, &row, begun.as_deref(), yes)?;
    let paid = Event::DebtPaid { deployment: row.id.clone() };
    store
        .append(vec![
            event(&row.run, now_ms(), paid),
            Change::Debt { deployment: row.id.clone(), debt: Debt::Paid },
        ])
        .await?;
    terminal.say(&format!("`{name}` is forgotten: `sb leaks` does not list it any more"));
    Ok(Exit::Done)
}

fn unknown(name: &str) -> Failed {
    Failed::helped(
        Exit::Usage,
        format!("no cleanup is owed for a deployment `{name}`"),
        "`sb leaks` lists the deployments whose cleanup is owed",
    )
}

/// None: the run cannot be read any more.
fn deploy_steps(store: &Store, run: &RunRow, row: &DeploymentRow) -> Option<Vec<StepId>> {
    let request = Request::read(run).ok()?;
    let (_, graph) = request.rebuild(store, &run.id).ok()?;
    let naming = request.naming();
    let is_of = |deployment: usize| naming.name(&run.id, &graph.deployments[deployment]) == row.id;
    let steps = graph.graph.node_weights().filter(|step| step.is_deploy() && is_of(step.deployment));
    Some(steps.map(|step| step.id.clone()).collect())
}

/// The deploy steps that may have made something: all that were started, but those of which an end says that nothing of
/// them ever ran.
fn begun(deploying: &[StepId], records: &[Record]) -> Vec<StepId> {
    let never_ran = |outcome: &StepOutcome| match outcome {
        StepOutcome::Failed(failure) => {
            matches!(failure.class, FailureClass::NotStarted | FailureClass::EngineUnreachable)
        }
        StepOutcome::Skipped { .. } => true,
        _ => false,
    };
    let mut started = std::collections::BTreeMap::new();
    for record in records {
        match &record.event {
            Event::StepStarted { step, attempt, .. } => {
                started.insert((step.clone(), *attempt), true);
            }
            Event::StepEnded { step, attempt, outcome, .. } if never_ran(outcome) => {
                started.insert((step.clone(), *attempt), false);
            }
            _ => {}
        }
    }
    let may_have_made = |step: &StepId| started.iter().any(|((of, _), made)| of == step && *made);
    deploying.iter().filter(|step| may_have_made(step)).cloned().collect()
}

/// `begun`: the deploy steps that ran; none where that is not known.
fn confirm(
    terminal: &Terminal,
    row: &DeploymentRow,
    begun: Option<&[StepId]>,
    yes: bool,
) -> Result<(), Failed> {
    let kept = || Failed::message(Exit::Usage, format!("`{}` is still listed", row.id));
    if begun.is_some_and(<[StepId]>::is_empty) {
        let question = format!("no deploy step of `{}` ever ran. Forget it? [y/N] ", row.id);
        return match if yes { Some(true) } else { terminal.ask(&question)? } {
            Some(true) => Ok(()),
            Some(false) => Err(kept()),
            None => Err(Failed::helped(
                Exit::Usage,
                format!("no deploy step of `{}` ever ran, and there is no terminal to ask on", row.id),
                format!("`sb leaks --forget {} --yes` forgets it without asking", row.id),
            )),
        };
    }
    let mut what = format!("`{}` may still exist", row.id);
    match begun {
        Some(steps) => {
            let steps: Vec<_> = steps.iter().map(StepId::as_str).collect();
            let _ = write!(what, ": {} ran, and no cleanup succeeded since.", steps.join(", "));
        }
        None => what.push_str(": its run cannot be read any more."),
    }
    let _ = write!(what, "\nIts manifest is {}.", row.manifest.display());
    for (name, value) in row.params.iter().chain(&row.outputs) {
        let _ = write!(what, "\n  {name} = {}", sb_workload::template::plain_text(value));
    }
    what.push_str("\nAfter this, nothing here remembers it: look at the provider whether all of it is gone.");
    terminal.say(&what);
    match terminal.answer(&format!("Type `{}` to forget it: ", row.id))? {
        Some(typed) if typed == row.id.as_str() => Ok(()),
        Some(_) => Err(kept()),
        None => Err(Failed::helped(
            Exit::Usage,
            format!("`{}` may still exist, and there is no terminal to ask on", row.id),
            "`sb leaks` says how to clean it up; to forget it all the same, use a terminal",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(outcome: Option<StepOutcome>, expected: bool) {
        let step = StepId::new("a.1/deploy/stack");
        let mut records = vec![Record {
            at_ms: 1,
            event: Event::StepStarted { step: step.clone(), attempt: 1, logs: None, up_ms: None },
        }];
        if let Some(outcome) = outcome {
            let event = Event::StepEnded {
                step: step.clone(),
                attempt: 1,
                outcome,
                outputs: std::collections::BTreeMap::new(),
                invalid: vec![],
                took_ms: None,
                retry: false,
            };
            records.push(Record { at_ms: 2, event });
        }
        assert_eq!(begun(&[step], &records).len(), usize::from(expected));
    }

    #[test]
    fn what_may_have_made_something_is_told_from_what_never_ran() {
        check(Some(StepOutcome::failed(FailureClass::NotStarted, "no image")), false);
        check(Some(StepOutcome::failed(FailureClass::EngineUnreachable, "no engine")), false);
        check(Some(StepOutcome::failed(FailureClass::NoCommand, "its second line")), true);
        check(Some(StepOutcome::failed(FailureClass::Step, "exit code 1")), true);
        check(Some(StepOutcome::Succeeded), true);
        check(Some(StepOutcome::Interrupted), true);
        check(None, true);
        assert_eq!(begun(&[StepId::new("a.1/deploy/stack")], &[]), Vec::<StepId>::new());
    }
}
