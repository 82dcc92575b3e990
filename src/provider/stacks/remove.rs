//! A stack and all that came with it are removed, and each service is asked whether something is left.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cloudformation::types::ResourceStatus;

use super::call::call;
use super::events::{Tell, follow, log_of};
use super::purge::{empty_bucket, has_bucket, has_log_group, remove_bucket, remove_log_group};
use super::services::{is_there, tagged};
use super::{Aws, Had, Names, Stack, StackError, executions};

/// Deletions of a stack whose buckets are filled meanwhile.
const DELETIONS: usize = 3;
/// A deletion that was asked for begins within this.
const BEGINS_AFTER: Duration = Duration::from_millis(300);

/// Removes the stack, its buckets with everything in them, its log groups and the uploaded code, and fails if something with the
/// deployment's tag is left. `keep` writes down what the stack had, before it is deleted.
///
/// # Errors
/// AWS refuses something, cannot be reached, or something is left: the message names it.
pub(crate) async fn remove(
    aws: &Aws,
    names: &mut Names,
    keep: &(dyn Fn(&Names) -> Result<(), StackError> + Send + Sync),
    tell: Tell<'_>,
) -> Result<(), StackError> {
    let found = aws.stack(&names.stack).await?;
    if let Some(stack) = &found
        && let Err(theirs) = stack.expect_ours(names)
    {
        // Ours is gone, or was never made. What was uploaded for it is ours all the same.
        remove_bucket(aws, &names.bucket, tell).await?;
        return Err(theirs);
    }
    if let Some(mut stack) = found {
        // Only a creation can be given up.
        if stack.is_moving() && !stack.status.starts_with("CREATE_") && !stack.status.starts_with("DELETE_") {
            tell(&format!("waits for {}, which is {}", stack.name, stack.status));
            follow(aws, &stack.id, &mut log_of(aws, &stack.id).await?, tell).await?;
            if let Some(now) = aws.stack(&stack.id).await? {
                stack = now;
            }
        }
        names.had.add(had(&resources(aws, &stack).await?));
        keep(names)?;
        delete_stack(aws, names, &stack, tell).await?;
    }
    for bucket in &names.had.buckets {
        // Of a stack that someone else has deleted, a bucket with content may be left; the tag says whose it is.
        if has_bucket(aws, bucket).await? && bucket_is_ours(aws, bucket, names).await? {
            remove_bucket(aws, bucket, tell).await?;
        }
    }
    for group in &names.had.log_groups {
        // Lambda makes a group anew, without tag and without end, for what it logs when the stack is gone.
        remove_log_group(aws, group).await?;
    }
    remove_bucket(aws, &names.bucket, tell).await?;
    let left = left(aws, names).await?;
    if left.is_empty() {
        return Ok(());
    }
    Err(StackError::other(format!(
        "still there after the cleanup of `{}`: {} (a resource with `DeletionPolicy: Retain` must be removed by hand)",
        names.stack,
        left.into_iter().collect::<Vec<_>>().join(", ")
    )))
}

/// Notes what of the stack may outlive it.
pub(crate) async fn note(aws: &Aws, names: &mut Names) -> Result<(), StackError> {
    if let Some(stack) = aws.stack(&names.stack).await? {
        names.had.add(had(&resources(aws, &stack).await?));
    }
    Ok(())
}

impl Had {
    fn add(&mut self, more: Self) {
        for (to, from) in [(&mut self.buckets, more.buckets), (&mut self.log_groups, more.log_groups)] {
            for name in from {
                if !to.contains(&name) {
                    to.push(name);
                }
            }
        }
    }
}

/// One of a stack.
struct Resource {
    kind: String,
    /// As its service calls it.
    name: String,
}

/// What a stack has and can be named. What it failed to make is not its own: of a bucket whose name was taken, the name leads to
/// somebody's bucket.
async fn resources(aws: &Aws, stack: &Stack) -> Result<Vec<Resource>, StackError> {
    let mut resources = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let page = call(|| {
            let request = aws.cloudformation.list_stack_resources().stack_name(&stack.id);
            request.set_next_token(token.clone()).send()
        })
        .await
        .map_err(|refused| {
            StackError::refused(&format!("cannot list what `{}` has", stack.name), &refused)
        })?;
        resources.extend(page.stack_resource_summaries().iter().filter_map(|resource| {
            let name = resource.physical_resource_id().filter(|name| !name.is_empty())?;
            let is_not_there = matches!(
                resource.resource_status(),
                Some(ResourceStatus::CreateFailed | ResourceStatus::DeleteComplete)
            );
            let kind = resource.resource_type().unwrap_or_default();
            (!is_not_there).then(|| Resource { kind: kind.to_owned(), name: name.to_owned() })
        }));
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(resources);
        }
    }
}

/// The kinds of what a stack has.
pub(super) async fn kinds(aws: &Aws, stack: &Stack) -> Result<Vec<String>, StackError> {
    Ok(resources(aws, stack).await?.into_iter().map(|resource| resource.kind).collect())
}

/// The names of a kind.
fn of_kind<'a>(resources: &'a [Resource], kind: &'a str) -> impl Iterator<Item = &'a str> {
    resources.iter().filter(move |one| one.kind == kind).map(|one| one.name.as_str())
}

/// What of a stack may outlive it.
fn had(resources: &[Resource]) -> Had {
    let functions = of_kind(resources, "AWS::Lambda::Function").map(|name| format!("/aws/lambda/{name}"));
    let groups = of_kind(resources, "AWS::Logs::LogGroup").map(str::to_owned);
    // Stages are resources of their own.
    let stages = of_kind(resources, "AWS::ApiGateway::RestApi").flat_map(|api| {
        let stages = of_kind(resources, "AWS::ApiGateway::Stage");
        stages.map(move |stage| format!("API-Gateway-Execution-Logs_{api}/{stage}"))
    });
    Had {
        buckets: of_kind(resources, "AWS::S3::Bucket").map(str::to_owned).collect(),
        log_groups: functions.chain(groups).chain(stages).collect(),
    }
}

/// Stops what runs in a stack, empties its buckets and deletes it, until it is gone.
pub(super) async fn delete_stack(
    aws: &Aws,
    names: &Names,
    stack: &Stack,
    tell: Tell<'_>,
) -> Result<(), StackError> {
    let resources = resources(aws, stack).await?;
    let mut failure = None;
    for deletion in 1..=DELETIONS {
        for machine in of_kind(&resources, "AWS::StepFunctions::StateMachine") {
            executions::stop(aws, machine, tell).await?;
        }
        for bucket in of_kind(&resources, "AWS::S3::Bucket") {
            empty_bucket(aws, bucket, tell).await?;
        }
        let mut log = log_of(aws, &stack.id).await?;
        let token = format!("{}-delete-{deletion}", names.stack);
        call(|| aws.cloudformation.delete_stack().stack_name(&stack.id).client_request_token(&token).send())
            .await
            .map_err(|refused| {
                StackError::refused(&format!("cannot delete the stack `{}`", stack.name), &refused)
            })?;
        tokio::time::sleep(BEGINS_AFTER).await;
        let ended = follow(aws, &stack.id, &mut log, tell).await?;
        if ended.stack.is_none() {
            return Ok(());
        }
        let undeleted = ended.undeleted();
        failure = Some(if undeleted.is_empty() {
            ended.failure(&stack.name, "be deleted", None)
        } else {
            StackError::said(
                format!("the stack `{}` could not be deleted", stack.name),
                &undeleted.join("; "),
            )
        });
    }
    Err(failure
        .unwrap_or_else(|| StackError::other(format!("the stack `{}` could not be deleted", stack.name))))
}

/// Whether a bucket carries the deployment's tag.
async fn bucket_is_ours(aws: &Aws, bucket: &str, names: &Names) -> Result<bool, StackError> {
    match call(|| aws.s3.get_bucket_tagging().bucket(bucket).send()).await {
        Ok(found) => Ok(found
            .tag_set()
            .iter()
            .any(|tag| tag.key() == super::DEPLOYMENT_TAG && tag.value() == names.deployment)),
        Err(refused) if ["NoSuchTagSet", "NoSuchBucket"].contains(&refused.code.as_str()) => Ok(false),
        Err(refused) => Err(StackError::refused(&format!("cannot read the tags of `{bucket}`"), &refused)),
    }
}

/// What is still there.
async fn left(aws: &Aws, names: &Names) -> Result<BTreeSet<String>, StackError> {
    let mut left = BTreeSet::new();
    if aws.stack(&names.stack).await?.is_some() {
        left.insert(format!("the stack {}", names.stack));
    }
    for bucket in names.had.buckets.iter().chain([&names.bucket]) {
        if has_bucket(aws, bucket).await? {
            left.insert(format!("the bucket {bucket}"));
        }
    }
    for group in &names.had.log_groups {
        if has_log_group(aws, group).await? {
            left.insert(format!("the log group {group}"));
        }
    }
    for (arn, tags) in tagged(aws, Some(&names.deployment)).await? {
        // The deployments of two workspaces, or two stacks of one, may be called the same.
        let of_stack = tags.get("aws:cloudformation:stack-name");
        if of_stack.is_some_and(|stack| *stack != names.stack) {
            continue;
        }
        if is_there(aws, &arn).await? {
            left.insert(arn);
        }
    }
    Ok(left)
}
