//! `sb leaks --account`: what deployments of any workspace have left in the AWS account.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use super::status::open;
use crate::exit_code::Exit;
use crate::provider::stacks::account::{Leftover, find, remove_leftover};
use crate::provider::stacks::{Aws, Names, StackError, tag_value};
use crate::settings::Settings;
use crate::store::{Debt, Store, is_worked_in};
use crate::terminal::Terminal;
use crate::workspace::Workspace;
use crate::workspace::this_host;

/// What was asked for.
pub(super) struct Asked {
    /// Parts of the names of deployments; empty: all.
    pub deployments: Vec<String>,
    /// None: the one that the environment or the profile says.
    pub region: Option<String>,
    /// None: all.
    pub target: Option<String>,
    pub remove: bool,
    /// Removes what another machine may work on, too.
    pub force: bool,
    /// Removes without a question.
    pub yes: bool,
}

impl Asked {
    fn is_of(&self, left: &Leftover) -> bool {
        let is_named = self.deployments.is_empty()
            || self.deployments.iter().any(|part| left.deployment.contains(part.as_str()));
        is_named && self.target.as_ref().is_none_or(|target| left.target.as_ref() == Some(target))
    }
}

/// Whether somebody works on a deployment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    None,
    /// A live process of this machine does.
    Here,
    /// Its workspace is on another machine.
    Unknown,
}

impl From<StackError> for Failed {
    fn from(error: StackError) -> Self {
        Self::message(Exit::Failed, error.message)
    }
}

pub(super) async fn leaks(terminal: &Terminal, settings: &Settings, asked: &Asked) -> Outcome {
    let aws = Aws::open(asked.region.as_deref()).await?;
    let found = find(&aws).await?.into_iter().filter(|left| asked.is_of(left));
    let store = open(terminal, settings)?;
    let in_use = in_use(&store).await?;
    let (busy, found): (Vec<_>, Vec<_>) = found
        .map(|left| {
            let used =
                if in_use.contains(&left.deployment) { Use::Here } else { use_of(&left, store.workspace()) };
            (left, used)
        })
        .partition(|(_, used)| *used == Use::Here);
    let mut left = found.len();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    if settings.json() {
        let all: Vec<_> = found.iter().map(|(left, used)| to_json(left, *used, aws.region())).collect();
        let all = json!({ "version": 1, "region": aws.region(), "deployments": all, "in_use": busy.len() });
        terminal.data(&format!("{all:#}"))?;
    } else {
        let text: String =
            found.iter().map(|(left, used)| to_text(left, *used, aws.region(), now_ms)).collect();
        terminal.data(&text)?;
    }
    if !busy.is_empty() {
        terminal
            .say(&format!("deployments that a process of this machine works on, left alone: {}", busy.len()));
    }
    if asked.remove {
        for (one, used) in &found {
            if *used == Use::Unknown && !asked.force {
                let host = one.host.as_deref().unwrap_or_default();
                terminal.say(&format!(
                    "`{}` is left alone: a run on the machine `{host}` may work on it; `--force` removes it all the same",
                    one.deployment
                ));
                continue;
            }
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
        let which =
            if asked.deployments.is_empty() && asked.target.is_none() { "" } else { " that was asked for" };
        terminal.say(&format!(
            "nothing in {} carries the tag of a deployment{which}; other regions are looked at with `--region`",
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

/// Of what another workspace has made. A run of this one is known by its records.
fn use_of(left: &Leftover, own: &Workspace) -> Use {
    if left.host.as_ref().is_some_and(|host| *host != tag_value(&this_host())) {
        return Use::Unknown;
    }
    let Some(folder) = left.workspace.as_deref().map(Path::new) else { return Use::None };
    let is_own = tag_value(&own.folder().to_string_lossy()) == folder.to_string_lossy();
    if !is_own && is_worked_in(&Workspace::at(folder)) { Use::Here } else { Use::None }
}

fn to_text(left: &Leftover, used: Use, region: &str, now_ms: i64) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}  {region}", left.deployment);
    let workspace = left.workspace.as_deref().unwrap_or("not known");
    let run = left.run.as_deref().unwrap_or("not known");
    let host = match (&left.host, used) {
        (Some(host), Use::Unknown) => format!(" on the machine {host}"),
        _ => String::new(),
    };
    let _ = writeln!(text, "  workspace {workspace}{host}, run {run}");
    if let Some(made) = left.made_ms {
        let minutes = u64::try_from((now_ms - made) / 60_000).unwrap_or(0);
        let age = std::time::Duration::from_secs(minutes * 60);
        let _ = writeln!(text, "  made {} ago", humantime::format_duration(age));
    }
    let _ = writeln!(text, "  costs while unused: {}", left.idle.text());
    for (name, status) in &left.stacks {
        let _ = writeln!(text, "  stack {name}  {status}");
    }
    for arn in &left.resources {
        let _ = writeln!(text, "  {arn}");
    }
    text
}

fn to_json(left: &Leftover, used: Use, region: &str) -> serde_json::Value {
    let stacks: Vec<_> =
        left.stacks.iter().map(|(name, status)| json!({ "name": name, "status": status })).collect();
    json!({
        "deployment": left.deployment,
        "region": region,
        "target": left.target,
        "workspace": left.workspace,
        "host": left.host,
        "may_be_in_use": used == Use::Unknown,
        "run": left.run,
        "made_unix_ms": left.made_ms,
        "idle": {
            "usd_per_day_at_least": left.idle.usd_per_day,
            "stored": left.idle.stored,
            "unknown": left.idle.unknown,
        },
        "stacks": stacks,
        "resources": left.resources,
    })
}
