//! What deployments have left in an account, told by tags alone: also when the state folder is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::call::call;
use super::events::Tell;
use super::idle::IdleCost;
use super::purge::{remove_bucket, remove_log_group};
use super::remove::{delete_stack, kinds, note};
use super::services::{is_there, tagged};
use super::{
    Aws, DEPLOYMENT_TAG, HOST_TAG, Had, Names, RUN_TAG, Stack, StackError, TARGET_TAG, WORKSPACE_TAG,
};

/// What one deployment has left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Leftover {
    /// The value of its tag.
    pub deployment: String,
    /// The folder of its state, where the tags say it.
    pub workspace: Option<String>,
    /// The machine that has the folder.
    pub host: Option<String>,
    pub target: Option<String>,
    pub run: Option<String>,
    /// Names and states of its stacks.
    pub stacks: Vec<(String, String)>,
    /// Other resources, which belong to none of the stacks.
    pub resources: Vec<String>,
    /// When its oldest stack was made, milliseconds since 1970. None: nothing tells.
    pub made_ms: Option<i64>,
    /// What it costs while nothing uses it.
    pub idle: IdleCost,
}

/// Looks for everything that carries a deployment's tag and is there, in the region.
///
/// # Errors
/// AWS refuses, or cannot be reached: what is there is then not known.
pub(crate) async fn find(aws: &Aws) -> Result<Vec<Leftover>, StackError> {
    let mut found: BTreeMap<String, Leftover> = BTreeMap::new();
    for stack in stacks(aws).await? {
        if !stack.tags.contains_key(DEPLOYMENT_TAG) {
            continue;
        }
        let kinds = kinds(aws, &stack).await?;
        let Some(left) = of(&mut found, &stack.tags) else { continue };
        for kind in &kinds {
            left.idle.add_kind(kind);
        }
        left.made_ms = left.made_ms.into_iter().chain(stack.made_ms).min();
        left.stacks.push((stack.name, stack.status));
    }
    for (arn, tags) in tagged(aws, None).await? {
        if arn.contains(":cloudformation:") {
            continue;
        }
        let of_stack = tags.get("aws:cloudformation:stack-name");
        let goes_with_stack = tags
            .get(DEPLOYMENT_TAG)
            .and_then(|deployment| found.get(deployment))
            .is_some_and(|left| left.stacks.iter().any(|(name, _)| Some(name) == of_stack));
        if !goes_with_stack
            && is_there(aws, &arn).await?
            && let Some(left) = of(&mut found, &tags)
        {
            left.idle.add_arn(&arn);
            left.resources.push(arn);
        }
    }
    Ok(found.into_values().collect())
}

fn of<'a>(
    found: &'a mut BTreeMap<String, Leftover>,
    tags: &BTreeMap<String, String>,
) -> Option<&'a mut Leftover> {
    let deployment = tags.get(DEPLOYMENT_TAG)?;
    let left = found.entry(deployment.clone()).or_default();
    left.deployment.clone_from(deployment);
    for (known, tag) in [
        (&mut left.workspace, WORKSPACE_TAG),
        (&mut left.host, HOST_TAG),
        (&mut left.target, TARGET_TAG),
        (&mut left.run, RUN_TAG),
    ] {
        *known = known.take().or_else(|| tags.get(tag).cloned());
    }
    Some(left)
}

async fn stacks(aws: &Aws) -> Result<Vec<Stack>, StackError> {
    let mut stacks = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let page =
            call(|| aws.cloudformation.describe_stacks().set_next_token(token.clone()).send())
                .await
                .map_err(|refused| StackError::refused("cannot list the stacks of the account", &refused))?;
        stacks.extend(page.stacks().iter().map(Stack::read).filter(|it| it.status != "DELETE_COMPLETE"));
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(stacks);
        }
    }
}

/// Removes what one deployment has left; gives what could not be removed.
///
/// # Errors
/// AWS refuses something, or cannot be reached.
pub(crate) async fn remove_leftover(
    aws: &Aws,
    left: &Leftover,
    tell: Tell<'_>,
) -> Result<Vec<String>, StackError> {
    let mut log_groups = BTreeSet::new();
    for (name, _) in &left.stacks {
        let Some(stack) = aws.stack(name).await? else { continue };
        let mut names = Names {
            version: 1,
            stack: name.clone(),
            bucket: String::new(),
            region: None,
            deployment: left.deployment.clone(),
            had: Had::default(),
        };
        // It may be another one meanwhile.
        stack.expect_ours(&names)?;
        note(aws, &mut names).await?;
        delete_stack(aws, &names, &stack, tell).await?;
        log_groups.extend(names.had.log_groups);
    }
    for group in log_groups {
        remove_log_group(aws, &group).await?;
    }
    let mut rest = Vec::new();
    for arn in &left.resources {
        let name = arn.splitn(6, ':').nth(5).unwrap_or_default();
        match arn.split(':').nth(2) {
            Some("s3") => remove_bucket(aws, name, tell).await?,
            Some("logs") => {
                let group = name.strip_prefix("log-group:").unwrap_or(name).trim_end_matches(":*");
                remove_log_group(aws, group).await?;
            }
            _ => {}
        }
        if is_there(aws, arn).await? {
            rest.push(arn.clone());
        }
    }
    Ok(rest)
}
