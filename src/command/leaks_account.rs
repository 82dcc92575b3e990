//! `sb leaks --account`: what deployments of any workspace have left in the AWS account.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use super::status::open;
use crate::exit_code::Exit;
use crate::provider::stacks::account::{Leftover, find, remove_leftover};
use crate::provider::stacks::{Aws, Names, StackError};
use crate::settings::Settings;
use crate::store::{Debt, Store};
use crate::terminal::Terminal;

/// What was asked for.
pub(super) struct Asked {
    /// None: the one that the environment or the profile says.
    pub region: Option<String>,
    pub remove: bool,
    /// Removes without a question.
    pub yes: bool,
}

impl From<StackError> for Failed {
    fn from(error: StackError) -> Self {
        Self::message(Exit::Failed, error.message)
    }
}

pub(super) async fn leaks(terminal: &Terminal, settings: &Settings, asked: &Asked) -> Outcome {
    let aws = Aws::open(asked.region.as_deref()).await?;
    let found = find(&aws).await?;
    let in_use = in_use(&open(terminal, settings)?).await?;
    let (busy, found): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|left| in_use.contains(&left.deployment));
    let mut left = found.len();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    if settings.json() {
        let all: Vec<_> = found.iter().map(|left| to_json(left, aws.region())).collect();
        let all = json!({ "version": 1, "region": aws.region(), "deployments": all, "in_use": busy.len() });
        terminal.data(&format!("{all:#}"))?;
    } else {
        let text: String = found.iter().map(|left| to_text(left, aws.region(), now_ms)).collect();
        terminal.data(&text)?;
    }
    if !busy.is_empty() {
        terminal
            .say(&format!("deployments of runs of this workspace that go on, left alone: {}", busy.len()));
    }
    if asked.remove {
        for one in &found {
            let question = format!("remove everything of `{}`? [y/N] ", one.deployment);
            let agreed = if asked.yes { Some(true) } else { terminal.ask(&question)? };
            match agreed {
                Some(true) => {}
                Some(false) => continue,
                None => {
                    return Err(Failed::helped(
                        Exit::Usage,
                        "there is no terminal to ask on, and nothing was removed",
                        "`sb leaks --account --remove --yes` removes all that is listed",
                    ));
                }
            }
            // One that cannot be removed does not keep the others.
            match remove_leftover(&aws, one, &|line| terminal.say(line)).await {
                Ok(rest) if rest.is_empty() => {
                    left -= 1;
                    terminal.say(&format!("removed everything of {}", one.deployment));
                }
                Ok(rest) => {
                    terminal.say(&format!("still there, to be removed by hand: {}", rest.join(", ")));
                }
                Err(error) => {
                    terminal.say(&format!("cannot remove `{}`: {}", one.deployment, error.message));
                }
            }
        }
    }
    if found.is_empty() {
        terminal.say(&format!(
            "nothing in {} carries the tag of a deployment; other regions are looked at with `--region`",
            aws.region()
        ));
    }
    Ok(if left == 0 { Exit::Done } else { Exit::CleanupOwed })
}

/// The tags of deployments that live runners of this workspace work on.
async fn in_use(store: &Store) -> Result<BTreeSet<String>, Failed> {
    let mut tags = BTreeSet::new();
    for row in store.unpaid().await? {
        if row.debt != Debt::Owed || store.runner_of(&row.run).is_none() {
            continue;
        }
        let records = std::fs::read_dir(store.workspace().stacks(&row.id)).into_iter().flatten().flatten();
        for record in records {
            if let Ok(Some(names)) = crate::attempt::read_json::<Names>(&record.path()) {
                tags.insert(names.deployment);
            }
        }
    }
    Ok(tags)
}

fn to_text(left: &Leftover, region: &str, now_ms: i64) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}  {region}", left.deployment);
    let workspace = left.workspace.as_deref().unwrap_or("not known");
    let run = left.run.as_deref().unwrap_or("not known");
    let _ = writeln!(text, "  workspace {workspace}, run {run}");
    if let Some(made) = left.made_ms {
        let minutes = u64::try_from((now_ms - made) / 60_000).unwrap_or(0);
        let age = std::time::Duration::from_secs(minutes * 60);
        let _ = writeln!(text, "  made {} ago", humantime::format_duration(age));
    }
    for (name, status) in &left.stacks {
        let _ = writeln!(text, "  stack {name}  {status}");
    }
    for arn in &left.resources {
        let _ = writeln!(text, "  {arn}");
    }
    text
}

fn to_json(left: &Leftover, region: &str) -> serde_json::Value {
    let stacks: Vec<_> =
        left.stacks.iter().map(|(name, status)| json!({ "name": name, "status": status })).collect();
    json!({
        "deployment": left.deployment,
        "region": region,
        "workspace": left.workspace,
        "run": left.run,
        "made_unix_ms": left.made_ms,
        "stacks": stacks,
        "resources": left.resources,
    })
}
