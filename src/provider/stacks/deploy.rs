//! A template becomes a stack, from whatever state the stack is in.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aws_sdk_cloudformation::types::{
    Capability, ChangeSetStatus, ChangeSetType, ExecutionStatus, Parameter, Tag,
};
use rand::RngExt as _;
use sb_sam::Template;

use super::assembly::StackFile;
use super::call::call;
use super::events::{Tell, Took, follow, log_of};
use super::package::{Packaged, package};
use super::{Aws, Names, Stack, StackError};

const PAUSE: Duration = Duration::from_millis(300);
/// Between looks at a change set that is being made; the transform of SAM takes some seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// States in which a stack can be used and updated.
const USABLE: [&str; 4] =
    ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"];

/// What is to be deployed.
pub(crate) struct Wanted<'a> {
    pub names: &'a Names,
    pub model: &'a Template,
    /// The template's file name, for messages.
    pub file: &'a str,
    /// Its folder, from which its paths count.
    pub folder: &'a Path,
    /// Files are read below it alone, whatever links a step has made.
    pub root: &'a Path,
    pub parameters: BTreeMap<String, String>,
    pub tags: Vec<(String, String)>,
    /// More that is uploaded than the template names by paths.
    pub files: &'a [StackFile],
    /// A folder for archives, until they are uploaded.
    pub scratch: &'a Path,
}

/// What is there afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deployed {
    pub outputs: BTreeMap<String, String>,
    /// Of the last operation that this call has seen. Empty: nothing was to be changed.
    pub took: Vec<Took>,
}

/// Where a deployment begins.
enum Begin {
    Create,
    Update,
}

/// Deploys, or goes on with what an earlier call has begun.
///
/// # Errors
/// The template or its code cannot be packaged; AWS refuses; the stack is another deployment's; or a resource cannot be made.
pub(crate) async fn deploy(aws: &Aws, wanted: &Wanted<'_>, tell: Tell<'_>) -> Result<Deployed, StackError> {
    let (begin, mut took) = settle(aws, wanted, tell).await?;
    let Names { stack: name, bucket, .. } = wanted.names;
    let packaged = package(aws, bucket, wanted, tell).await?;
    if let Some(set) = change_set(aws, wanted, &packaged, &begin, tell).await? {
        let stack = found(aws, name).await?;
        let mut log = log_of(aws, &stack.id).await?;
        execute(aws, name, &set).await?;
        // A stack whose operation has not begun yet looks as before.
        let ended = loop {
            let ended = follow(aws, &stack.id, &mut log, tell).await?;
            if !["REVIEW_IN_PROGRESS", stack.status.as_str()].contains(&ended.status())
                || !is_open(aws, name, &set).await?
            {
                break ended;
            }
            tokio::time::sleep(PAUSE).await;
        };
        let did = match begin {
            Begin::Create => "be created",
            Begin::Update => "be updated",
        };
        expect_complete(&ended, wanted, did)?;
        took = ended.took();
    }
    let stack = found(aws, name).await?;
    if !USABLE.contains(&stack.status.as_str()) {
        return Err(StackError::other(format!(
            "the stack `{name}` is {} now: something else works on it",
            stack.status
        )));
    }
    Ok(Deployed { outputs: stack.outputs, took })
}

async fn found(aws: &Aws, name: &str) -> Result<Stack, StackError> {
    aws.stack(name).await?.ok_or_else(|| gone(name))
}

fn gone(name: &str) -> StackError {
    StackError::other(format!(
        "the stack `{name}` was deleted by someone else while it was deployed; deploy again when that has ended"
    ))
}

fn expect_complete(ended: &super::events::Ended, wanted: &Wanted<'_>, did: &str) -> Result<(), StackError> {
    let name = &wanted.names.stack;
    match ended.status() {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE" => Ok(()),
        status if status.starts_with("DELETE_") => Err(gone(name)),
        _ => Err(ended.failure(name, did, Some((wanted.model, wanted.file)))),
    }
}

/// Brings the stack into a state from which it can be created or updated.
async fn settle(aws: &Aws, wanted: &Wanted<'_>, tell: Tell<'_>) -> Result<(Begin, Vec<Took>), StackError> {
    let name = &wanted.names.stack;
    let Some(mut stack) = aws.stack(name).await? else { return Ok((Begin::Create, Vec::new())) };
    stack.expect_ours(wanted.names)?;
    let mut took = Vec::new();
    if stack.is_moving() {
        tell(&format!("goes on with {name}, which is {}", stack.status));
        let is_deletion = stack.status.starts_with("DELETE_");
        let ended = follow(aws, &stack.id, &mut super::events::Log::default(), tell).await?;
        let Some(now) = ended.stack.clone() else {
            // Made anew below: an earlier cleanup was on its way.
            return Ok((Begin::Create, Vec::new()));
        };
        if !is_deletion {
            expect_complete(&ended, wanted, "be deployed")?;
            took = ended.took();
        }
        stack = now;
    }
    match stack.status.as_str() {
        status if USABLE.contains(&status) => Ok((Begin::Update, took)),
        // Such a stack can only be deleted; one in review has nothing but plans.
        "REVIEW_IN_PROGRESS" | "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED"
        | "DELETE_FAILED" => {
            tell(&format!("{name} is {} from before: it is deleted and made anew", stack.status));
            super::remove::delete_stack(aws, wanted.names, &stack, tell).await?;
            Ok((Begin::Create, Vec::new()))
        }
        status => {
            let no_reason = || "AWS says no reason".to_owned();
            // What could not be brought back says more than that it could not.
            let cause = log_of(aws, &stack.id).await?.last_failure();
            let words = cause.or_else(|| stack.reason.clone()).unwrap_or_else(no_reason);
            let repair = match status {
                "UPDATE_ROLLBACK_FAILED" => format!(
                    ", or `aws cloudformation continue-update-rollback --stack-name {name}` brings it back once the cause is gone"
                ),
                _ => String::new(),
            };
            let what = format!(
                "the stack `{name}` is {status}, from which it cannot be updated (`sb cleanup` removes it; then deploy again{repair})"
            );
            Err(StackError::said(what, &words))
        }
    }
}

/// Makes a change set. None: nothing would change.
async fn change_set(
    aws: &Aws,
    wanted: &Wanted<'_>,
    packaged: &Packaged,
    begin: &Begin,
    tell: Tell<'_>,
) -> Result<Option<String>, StackError> {
    let name = &wanted.names.stack;
    // A name of its own each time: what an earlier call has planned was planned with the values of that call.
    let set = format!("sb-{:016x}", rand::rng().random::<u64>());
    let parameters: Vec<Parameter> = wanted
        .parameters
        .iter()
        .map(|(key, value)| Parameter::builder().parameter_key(key).parameter_value(value).build())
        .collect();
    let tags: Vec<Tag> =
        wanted.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
    let (body, url) = match packaged {
        Packaged::Body(text) => (Some(text.clone()), None),
        Packaged::Url(url) => (None, Some(url.clone())),
    };
    let kind = match begin {
        Begin::Create => ChangeSetType::Create,
        Begin::Update => ChangeSetType::Update,
    };
    let made = call(|| {
        aws.cloudformation
            .create_change_set()
            .stack_name(name)
            .change_set_name(&set)
            .change_set_type(kind.clone())
            .set_template_body(body.clone())
            .set_template_url(url.clone())
            .set_parameters(Some(parameters.clone()))
            .set_tags(Some(tags.clone()))
            .capabilities(Capability::CapabilityIam)
            .capabilities(Capability::CapabilityNamedIam)
            .capabilities(Capability::CapabilityAutoExpand)
            .send()
    })
    .await;
    match made {
        Ok(_) => {}
        // The answer to an earlier try was lost.
        Err(refused) if refused.code == "AlreadyExistsException" => {}
        // Some answer so at once.
        Err(refused) if is_nothing(&refused.text) => return Ok(None),
        Err(refused) => {
            return Err(StackError::refused(
                &format!("CloudFormation refuses {} as `{name}`", wanted.file),
                &refused,
            ));
        }
    }
    let mut pause = PAUSE;
    loop {
        let described =
            call(|| aws.cloudformation.describe_change_set().stack_name(name).change_set_name(&set).send())
                .await
                .map_err(|refused| {
                    StackError::refused(&format!("cannot look at the change set of `{name}`"), &refused)
                })?;
        match described.status() {
            Some(ChangeSetStatus::CreateComplete) => return Ok(Some(set)),
            Some(ChangeSetStatus::Failed) => {
                let reason = described.status_reason().unwrap_or("AWS says no reason");
                if is_nothing(reason) {
                    discard(aws, name, &set).await?;
                    return Ok(None);
                }
                return Err(StackError::said(
                    format!("CloudFormation refuses {} as `{name}`", wanted.file),
                    reason,
                ));
            }
            _ => tell(&format!("waiting for the change set of {name}")),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn is_nothing(reason: &str) -> bool {
    ["didn't contain changes", "No updates are to be performed"].iter().any(|words| reason.contains(words))
}

/// Removes a change set, if there is one.
async fn discard(aws: &Aws, name: &str, set: &str) -> Result<(), StackError> {
    let removed =
        call(|| aws.cloudformation.delete_change_set().stack_name(name).change_set_name(set).send()).await;
    match removed {
        Err(refused) if !refused.text.contains("NotFound") && !refused.text.contains("does not exist") => {
            Err(StackError::refused(&format!("cannot remove the change set of `{name}`"), &refused))
        }
        _ => Ok(()),
    }
}

/// Starts a change set, once: the token tells CloudFormation that a request that comes again is the same.
async fn execute(aws: &Aws, name: &str, set: &str) -> Result<(), StackError> {
    let started = call(|| {
        aws.cloudformation
            .execute_change_set()
            .stack_name(name)
            .change_set_name(set)
            .client_request_token(set)
            .send()
    })
    .await;
    match started {
        Ok(_) => Ok(()),
        // The answer to an earlier try was lost: it has begun.
        Err(refused) if ["InvalidChangeSetStatus", "ChangeSetNotFound"].contains(&refused.code.as_str()) => {
            if is_open(aws, name, set).await? {
                return Err(StackError::refused(
                    &format!("cannot start the deployment of `{name}`"),
                    &refused,
                ));
            }
            Ok(())
        }
        Err(refused) => {
            Err(StackError::refused(&format!("cannot start the deployment of `{name}`"), &refused))
        }
    }
}

/// Whether a change set waits to be executed. One that is gone was executed.
async fn is_open(aws: &Aws, name: &str, set: &str) -> Result<bool, StackError> {
    let described =
        call(|| aws.cloudformation.describe_change_set().stack_name(name).change_set_name(set).send()).await;
    match described {
        Ok(described) => Ok(matches!(
            described.execution_status(),
            Some(
                ExecutionStatus::Available
                    | ExecutionStatus::ExecuteInProgress
                    | ExecutionStatus::Unavailable
            )
        )),
        Err(refused) if refused.text.contains("NotFound") || refused.text.contains("does not exist") => {
            Ok(false)
        }
        Err(refused) => {
            Err(StackError::refused(&format!("cannot look at the change set of `{name}`"), &refused))
        }
    }
}
