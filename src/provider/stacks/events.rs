//! What happens to a stack, followed until it ends.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use sb_sam::Template;

use super::call::call;
use super::{Aws, Class, Stack, StackError};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Events may be told some seconds after what they tell of. The cause of a failure is worth more patience than a time.
const FAILURE_SETTLES: Duration = Duration::from_secs(10);
const SUCCESS_SETTLES: Duration = Duration::from_secs(3);

/// Who hears how far it is.
pub(crate) type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// One thing that has happened to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StackEvent {
    pub id: String,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    pub resource: String,
    pub kind: String,
    pub status: String,
    pub reason: String,
    /// Of the stack itself.
    pub of_stack: bool,
}

/// How long a resource took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Took {
    pub resource: String,
    pub kind: String,
    pub milliseconds: u64,
}

/// How an operation has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// None: the stack is gone.
    pub stack: Option<Stack>,
    /// Of the last operation, in the order of their times.
    pub events: Vec<StackEvent>,
}

impl Ended {
    pub(super) fn status(&self) -> &str {
        self.stack.as_ref().map_or("DELETE_COMPLETE", |stack| stack.status.as_str())
    }

    fn is_failure(&self) -> bool {
        self.status().contains("FAILED") || self.status().contains("ROLLBACK")
    }

    /// Whether the events tell what has happened. A stack that is gone needs none, and neither does one that was only planned.
    fn is_told(&self) -> bool {
        let last = self.events.iter().rev().find(|event| event.of_stack);
        let is_over = last.is_some_and(|event| event.status == self.status());
        self.stack.is_none()
            || self.status() == "REVIEW_IN_PROGRESS"
            || is_over && (!self.is_failure() || self.cause().is_some())
    }

    /// How long each resource took, in the order of their ends.
    pub(super) fn took(&self) -> Vec<Took> {
        let mut begun: BTreeMap<&str, i64> = BTreeMap::new();
        let mut took = Vec::new();
        for event in self.events.iter().filter(|event| !event.of_stack) {
            if event.status.ends_with("_IN_PROGRESS") {
                begun.entry(&event.resource).or_insert(event.at_ms);
            } else if event.status.ends_with("_COMPLETE") {
                let since = begun.remove(event.resource.as_str()).unwrap_or(event.at_ms);
                let milliseconds = u64::try_from(event.at_ms - since).unwrap_or(0);
                took.push(Took { resource: event.resource.clone(), kind: event.kind.clone(), milliseconds });
            }
        }
        took
    }

    /// The resources whose deletion failed, each with AWS's words.
    pub(super) fn undeleted(&self) -> Vec<String> {
        let failed = self.events.iter().filter(|event| !event.of_stack && event.status == "DELETE_FAILED");
        let mut last: BTreeMap<&str, &StackEvent> = BTreeMap::new();
        failed.for_each(|event| {
            last.insert(&event.resource, event);
        });
        last.values()
            .map(|event| format!("`{}` ({}): {}", event.resource, event.kind, event.reason))
            .collect()
    }

    /// The first cause: which resource failed, and AWS's words. What was given up because of it does not count.
    pub(super) fn cause(&self) -> Option<&StackEvent> {
        let failed = |event: &&StackEvent| event.status.ends_with("_FAILED") && !event.of_stack;
        let given_up = |event: &&StackEvent| {
            ["creation cancelled", "update cancelled", "Creation cancelled"]
                .iter()
                .any(|words| event.reason.contains(words))
        };
        self.events.iter().find(|event| failed(event) && !given_up(event))
    }

    /// The failure of an operation, for people. `did` is what was tried: `be created`.
    pub(super) fn failure(&self, name: &str, did: &str, template: Option<(&Template, &str)>) -> StackError {
        let what = format!("the stack `{name}` could not {did}");
        if let Some(cause) = self.cause() {
            let line = template.and_then(|(model, file)| {
                Some(format!(", line {} of {file}", model.line_of(&cause.resource)?))
            });
            let place = format!("`{}` ({}{})", cause.resource, cause.kind, line.unwrap_or_default());
            return StackError::said(format!("{what}: {place}"), &cause.reason);
        }
        let words = self.events.iter().filter(|event| event.of_stack && !event.reason.is_empty());
        let words =
            words.map(|event| event.reason.as_str()).find(|reason| !reason.starts_with("User Initiated"));
        let of_stack = self.stack.as_ref().and_then(|stack| stack.reason.as_deref());
        match words.or(of_stack) {
            Some(words) => StackError::said(what, words),
            None => StackError::other(format!(
                "{what}: it is {}, and AWS says no reason; look at `aws cloudformation describe-stack-events \
                 --stack-name {name}`",
                self.status()
            )),
        }
    }
}

/// What is known of the events of one stack.
#[derive(Default)]
pub(super) struct Log {
    known: HashSet<String>,
    events: Vec<StackEvent>,
}

impl Log {
    /// Reads what is new. Pages come newest first; one that brings nothing new ends the reading.
    async fn read(&mut self, aws: &Aws, id: &str) -> Result<Vec<StackEvent>, StackError> {
        let mut new = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = call(|| {
                aws.cloudformation.describe_stack_events().stack_name(id).set_next_token(token.clone()).send()
            })
            .await
            .map_err(|refused| StackError::refused("cannot read the events of the stack", &refused))?;
            let mut some_new = false;
            for event in page.stack_events() {
                let Some(event_id) = event.event_id() else { continue };
                if !self.known.insert(event_id.to_owned()) {
                    continue;
                }
                some_new = true;
                let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
                new.push(StackEvent {
                    id: event_id.to_owned(),
                    at_ms: event.timestamp().and_then(|time| time.to_millis().ok()).unwrap_or_default(),
                    resource: text(event.logical_resource_id()),
                    kind: text(event.resource_type()),
                    status: event.resource_status().map(|it| it.as_str().to_owned()).unwrap_or_default(),
                    reason: text(event.resource_status_reason()),
                    of_stack: event.physical_resource_id().is_some()
                        && event.physical_resource_id() == event.stack_id(),
                });
            }
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() || !some_new {
                break;
            }
        }
        // Newest first, and two of one moment in that order, too.
        new.reverse();
        new.sort_by_key(|event| event.at_ms);
        self.events.extend(new.iter().cloned());
        self.events.sort_by_key(|event| event.at_ms);
        Ok(new)
    }

    /// The last resource that failed, with AWS's words.
    pub(super) fn last_failure(&self) -> Option<String> {
        let failed = |event: &&StackEvent| {
            event.status.ends_with("_FAILED") && !event.of_stack && !event.reason.is_empty()
        };
        let event = self.events.iter().rev().find(failed)?;
        Some(format!("`{}` ({}): {}", event.resource, event.kind, event.reason))
    }

    /// The events since the last operation began.
    fn of_last_operation(&self) -> Vec<StackEvent> {
        let begins = |event: &StackEvent| {
            event.of_stack
                && ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"]
                    .contains(&event.status.as_str())
        };
        let start = self.events.iter().rposition(begins).unwrap_or(0);
        self.events[start..].to_vec()
    }
}

/// What has already happened is not told again.
pub(super) async fn log_of(aws: &Aws, id: &str) -> Result<Log, StackError> {
    let mut log = Log::default();
    log.read(aws, id).await?;
    Ok(log)
}

/// Waits until nothing is under way any more. `id` is the stack's id, which a stack that is made again does not have.
pub(super) async fn follow(aws: &Aws, id: &str, log: &mut Log, tell: Tell<'_>) -> Result<Ended, StackError> {
    let mut pause = FIRST_PAUSE;
    // When it was first seen at rest.
    let mut since: Option<Instant> = None;
    let mut begun: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        let stack = aws.stack(id).await?;
        // A stack that is gone may have no events any more.
        let new = match log.read(aws, id).await {
            Err(error) if stack.is_none() && error.class == Class::Other => Vec::new(),
            read => read?,
        };
        for event in new.iter().filter(|event| !event.of_stack) {
            if event.status.ends_with("_IN_PROGRESS") {
                begun.entry(event.resource.clone()).or_insert(event.at_ms);
            }
            let took = begun.get(&event.resource).map(|since| (event.at_ms - since) as f64 / 1000.0);
            let mut line = format!("{} ({}): {}", event.resource, event.kind, event.status);
            if let Some(took) = took.filter(|_| !event.status.ends_with("_IN_PROGRESS")) {
                line += &format!(" after {took:.1} s");
            }
            if !event.reason.is_empty() {
                line += &format!(": {}", event.reason);
            }
            tell(&line);
        }
        if !stack.as_ref().is_some_and(Stack::is_moving) {
            let ended = Ended { stack, events: log.of_last_operation() };
            let settles = if ended.is_failure() { FAILURE_SETTLES } else { SUCCESS_SETTLES };
            if ended.is_told() || since.get_or_insert_with(Instant::now).elapsed() > settles {
                return Ok(ended);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}
