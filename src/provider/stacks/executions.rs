//! Executions of state machines, stopped before their stack is deleted. An execution that waits for somebody keeps its state
//! machine, and so the stack, until it has waited long enough: a year, if the machine says nothing else.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::signed::Question;
use super::events::Tell;
use super::services::{answer, shown};
use super::{Aws, StackError};
use crate::printable::counted;

/// Executions to a page. A description has less than 1 kB.
const PAGE: u32 = 200;

/// A page of ListExecutions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    executions: Vec<Execution>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    execution_arn: String,
}

/// Stops what a state machine executes. One that is not there, or is being deleted, starts nothing any more.
///
/// # Errors
/// Step Functions refuses, or cannot be reached.
pub(super) async fn stop(aws: &Aws, machine: &str, tell: Tell<'_>) -> Result<(), StackError> {
    let mut stopped = 0;
    let mut token: Option<String> = None;
    loop {
        let mut wanted = json!({ "stateMachineArn": machine, "statusFilter": "RUNNING", "maxResults": PAGE });
        if let Some(token) = token {
            wanted["nextToken"] = Value::String(token);
        }
        // Express workflows have no list: they end within five minutes by themselves.
        let nothing = [
            "StateMachineDoesNotExist",
            "StateMachineDeleting",
            "StateMachineTypeNotSupported",
            "InvalidArn",
        ];
        let what = format!("cannot list what the state machine `{machine}` executes");
        let Some(page) = asked(aws, "AWSStepFunctions.ListExecutions", &wanted, &nothing, &what).await?
        else {
            break;
        };
        let page: Page = serde_json::from_slice(&page)
            .map_err(|error| StackError::other(format!("{what}: the answer cannot be read: {error}")))?;
        for Execution { execution_arn: arn } in page.executions {
            let wanted = json!({ "executionArn": arn, "cause": "the stack is deleted" });
            let what = format!("cannot stop the execution `{arn}`");
            let ended = ["ExecutionDoesNotExist"];
            asked(aws, "AWSStepFunctions.StopExecution", &wanted, &ended, &what).await?;
            stopped += 1;
        }
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    if stopped > 0 {
        tell(&format!("stopped {} of {machine}", counted(stopped, "execution")));
    }
    Ok(())
}

/// The answer of Step Functions. None: it refuses with one of the words of `nothing`.
async fn asked(
    aws: &Aws,
    target: &str,
    input: &Value,
    nothing: &[&str],
    what: &str,
) -> Result<Option<bytes::Bytes>, StackError> {
    let question = Question {
        service: "SFN",
        signed_as: "states",
        method: "POST",
        path: "/".to_owned(),
        headers: vec![("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target)],
        body: input.to_string(),
    };
    let (status, body) = answer(aws, &question).await.map_err(|reason| StackError::said(what, &reason))?;
    if (200..300).contains(&status) {
        return Ok(Some(body));
    }
    let text = shown(&body);
    if nothing.iter().any(|word| text.contains(word)) {
        return Ok(None);
    }
    Err(StackError::said(what, &format!("{status} {text}")))
}
