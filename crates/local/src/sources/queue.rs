//! Lambda's poller of a queue: batches of messages become invocations, and what was worked on is deleted.
//!
//! A poller asks when it is told that something was sent, and once a second besides, for messages that were delayed or come back.
//! It asks only when the function may run: what has to wait, waits in the queue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::super::clock::Stamp;
use super::super::context::{TraceContext, new_request_id, new_segment_id};
use super::super::instances::{Function, Permit};
use super::super::invoke::{Call, Runtime};
use super::super::segment::{Flags, Head, Segment, Subsegment, fields};
use super::super::service_client::ServiceError;
use super::name_of;
use sb_daemon::Lifetime;
use sb_sam::{Pattern, Source};

/// How often a queue is looked at that nobody is known to have sent to.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Waiting times while the function is throttled: doubled from the first to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// What SQS hands out, and deletes, at once.
const AT_ONCE: usize = 10;
/// Without a limit of the source's own, the function's and the account's hold.
const NO_LIMIT: u32 = 1000;

pub(super) struct Poller {
    runtime: Arc<Runtime>,
    function: Arc<Function>,
    queue_arn: String,
    batch_size: usize,
    window: Duration,
    partial_failures: bool,
    filters: Vec<Pattern>,
    /// Batches that may be worked on at once.
    slots: Arc<Semaphore>,
    woken: Arc<Notify>,
}

impl Poller {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        function: Arc<Function>,
        source: &Source,
        woken: Arc<Notify>,
    ) -> Arc<Self> {
        let mut poller = Self {
            runtime,
            function,
            queue_arn: String::new(),
            batch_size: AT_ONCE,
            window: Duration::ZERO,
            partial_failures: false,
            filters: Vec::new(),
            slots: Arc::new(Semaphore::new(NO_LIMIT as usize)),
            woken,
        };
        if let Source::Sqs { queue_arn, batch_size, window, partial_failures, maximum_concurrency, filters } =
            source
        {
            // One batch after another keeps the order that a FIFO queue has.
            let limit = if queue_arn.strip_suffix(".fifo").is_some() {
                1
            } else {
                maximum_concurrency.unwrap_or(NO_LIMIT)
            };
            poller.queue_arn.clone_from(queue_arn);
            poller.batch_size = *batch_size as usize;
            poller.window = *window;
            poller.partial_failures = *partial_failures;
            poller.filters.clone_from(filters);
            poller.slots = Arc::new(Semaphore::new(limit as usize));
        }
        Arc::new(poller)
    }

    pub(super) async fn run(self: Arc<Self>, lifetime: Lifetime) {
        tokio::select! { () = lifetime.stopped() => {}, () = self.poll() => {} }
    }

    async fn poll(self: &Arc<Self>) {
        let mut complained = false;
        loop {
            let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
            let permit = self.admission().await;
            match self.batch().await {
                Ok(messages) if messages.is_empty() => {
                    drop((slot, permit));
                    let _ = tokio::time::timeout(LOOK_EVERY, self.woken.notified()).await;
                }
                Ok(messages) => {
                    complained = false;
                    let poller = self.clone();
                    tokio::spawn(async move {
                        let messages = poller.without_filtered(messages).await;
                        let messages = poller.without_lost(messages).await;
                        if messages.is_empty() {
                            return;
                        }
                        poller.runtime.machine.dynamics.trigger(&poller.function.spec.name).await;
                        poller.process(messages, permit, slot).await;
                    });
                }
                Err(error) => {
                    if !complained {
                        let queue = name_of(&self.queue_arn);
                        self.runtime.journal.note(&format!("queue `{queue}` cannot be polled: {error}"));
                    }
                    complained = true;
                    drop((slot, permit));
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Waits until the function may run.
    async fn admission(&self) -> Permit {
        let mut backoff = FIRST_BACKOFF;
        loop {
            if let Some(permit) = self.runtime.machine.admit_event(&self.function) {
                return permit;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// The messages of one invocation: what there is, or with a window what comes until that is over.
    async fn batch(&self) -> Result<Vec<Message>, ServiceError> {
        let mut messages = self.receive(self.batch_size).await?;
        if messages.is_empty() || self.window.is_zero() {
            return Ok(messages);
        }
        let until = Instant::now() + self.window;
        while messages.len() < self.batch_size {
            // A failure now must not lose those that are there.
            let more = self.receive(self.batch_size - messages.len()).await.unwrap_or_default();
            if more.is_empty() {
                let pause = until.min(Instant::now() + LOOK_EVERY);
                let _ = tokio::time::timeout_at(pause, self.woken.notified()).await;
            }
            messages.extend(more);
            if Instant::now() >= until {
                break;
            }
        }
        Ok(messages)
    }

    async fn receive(&self, wanted: usize) -> Result<Vec<Message>, ServiceError> {
        let Some(client) = &self.runtime.services else { return Ok(Vec::new()) };
        let input = json!({
            "QueueUrl": name_of(&self.queue_arn),
            "MaxNumberOfMessages": wanted.min(AT_ONCE),
            "WaitTimeSeconds": 0,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let mut output = client.sqs("ReceiveMessage", &input).await?;
        let received = self.runtime.now();
        let offset = self.runtime.machine.clock.offset();
        let messages = output["Messages"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(messages.into_iter().map(|message| Message::new(message, received, offset)).collect())
    }

    async fn process(&self, mut messages: Vec<Message>, permit: Permit, _slot: OwnedSemaphorePermit) {
        // SQS counts in milliseconds. Of messages that were sent within the same one, that which leads to the function began first,
        // so that there is one beginning.
        if let Some(first) = messages.iter_mut().min_by_key(|message| message.sent) {
            first.sent.0 -= 1;
        }
        let records: Vec<Value> = messages.iter().map(|message| self.record(message)).collect();
        let senders: Vec<&TraceContext> =
            messages.iter().filter_map(|message| message.sender.as_ref()).collect();
        let mut trace = TraceContext::from_header(None);
        trace.sampled = senders.is_empty() || senders.iter().any(|sender| sender.sampled);
        let heads: Vec<Head> = messages.iter().map(|message| self.queue_head(message)).collect();
        let Some(first) = heads.iter().min_by_key(|head| head.start) else { return };
        let call = Call {
            function: self.function.clone(),
            request_id: new_request_id(),
            payload: Bytes::from(json!({ "Records": records }).to_string()),
            client_context: None,
            trace: trace.under(&first.id),
        };
        let lambda = self.runtime.lambda_head(&call);
        self.runtime.open(&trace, &lambda);
        for (head, message) in heads.into_iter().zip(&messages) {
            self.runtime.close(&trace, &self.queue_segment(head, message));
        }
        let outcome = self.runtime.execute(&call, &lambda.id, permit).await;
        let flags = Flags::of_failure(outcome.result.is_err());
        let mut segment = self.runtime.lambda_segment(&call, lambda, 200, flags, Vec::new());
        let links = links(senders.into_iter());
        if !links.is_empty() {
            segment.fields.insert("links".to_owned(), links.into());
        }
        self.runtime.close(&trace, &segment);
        if let Ok(answer) = outcome.result {
            self.delete(done(&messages, &answer, self.partial_failures)).await;
        }
        // A function that failed leaves its messages: they come back after the queue's visibility timeout.
        self.woken.notify_one();
    }

    /// Deletes the messages that no filter lets through, as Lambda does, and gives the others back.
    async fn without_filtered(&self, messages: Vec<Message>) -> Vec<Message> {
        let (kept, other): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| self.passes(message));
        if !other.is_empty() {
            self.delete(other.iter().collect()).await;
        }
        kept
    }

    fn passes(&self, message: &Message) -> bool {
        self.filters.is_empty()
            || self.filters.iter().any(|filter| {
                let mut record = self.record(message);
                if filter.looks_into("body") {
                    let body = record["body"].as_str().unwrap_or_default();
                    record["body"] = serde_json::from_str(body).unwrap_or_default();
                }
                filter.matches(&record)
            })
    }

    /// Deletes the messages that shall be lost, and gives the others back.
    async fn without_lost(&self, messages: Vec<Message>) -> Vec<Message> {
        let dynamics = &self.runtime.machine.dynamics;
        let (lost, kept): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|_| dynamics.lose_message(&self.function.spec.name));
        if !lost.is_empty() {
            self.runtime.journal.note(&format!(
                "{} messages of `{}` were lost on purpose (`faults.lost_message`)",
                lost.len(),
                name_of(&self.queue_arn)
            ));
            self.delete(lost.iter().collect()).await;
        }
        kept
    }

    async fn delete(&self, messages: Vec<&Message>) {
        let Some(client) = &self.runtime.services else { return };
        for some in messages.chunks(AT_ONCE) {
            let entries: Vec<Value> = some
                .iter()
                .enumerate()
                .map(|(index, message)| json!({ "Id": index.to_string(), "ReceiptHandle": message.document["ReceiptHandle"] }))
                .collect();
            let input = json!({ "QueueUrl": name_of(&self.queue_arn), "Entries": entries });
            if let Err(error) = client.sqs("DeleteMessageBatch", &input).await {
                let queue = name_of(&self.queue_arn);
                self.runtime.journal.note(&format!(
                    "{} messages of `{queue}` were worked on and not deleted, so they will come again: {error}",
                    some.len()
                ));
            }
        }
    }

    /// The message as Lambda hands it to a function.
    fn record(&self, message: &Message) -> Value {
        let document = &message.document;
        let attributes: Map<String, Value> = document["MessageAttributes"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let mut attribute = json!({
                    "stringListValues": [], "binaryListValues": [], "dataType": value["DataType"],
                });
                for (to, from) in [("stringValue", "StringValue"), ("binaryValue", "BinaryValue")] {
                    if !value[from].is_null() {
                        attribute[to] = value[from].clone();
                    }
                }
                (name.clone(), attribute)
            })
            .collect();
        json!({
            "messageId": document["MessageId"],
            "receiptHandle": document["ReceiptHandle"],
            "body": document["Body"],
            "attributes": document["Attributes"],
            "messageAttributes": attributes,
            "md5OfBody": document["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self.queue_arn,
            "awsRegion": self.runtime.region,
        })
    }

    fn queue_head(&self, message: &Message) -> Head {
        Head {
            id: new_segment_id(),
            name: name_of(&self.queue_arn),
            parent: None,
            origin: "AWS::SQS::Queue",
            start: message.sent,
        }
    }

    /// The time that a message waited. X-Ray has no such segment: here it makes the wait visible.
    fn queue_segment(&self, head: Head, message: &Message) -> Segment {
        let waited = Subsegment {
            id: new_segment_id(),
            name: "Dwell Time".to_owned(),
            namespace: None,
            start: message.sent,
            end: message.received,
            flags: Flags::default(),
            fields: Map::new(),
        };
        let mut fields = fields(json!({ "aws": {
            "account_id": self.runtime.account,
            "message_id": message.document["MessageId"],
            "resource_names": [self.queue_arn],
        } }));
        if let Some(sender) = &message.sender {
            fields.insert("links".to_owned(), links([sender].into_iter()).into());
        }
        Segment { head, end: message.received, flags: Flags::default(), fields, subsegments: vec![waited] }
    }
}

struct Message {
    /// As SQS gave it.
    document: Value,
    sent: Stamp,
    received: Stamp,
    /// Of its `AWSTraceHeader`.
    sender: Option<TraceContext>,
}

impl Message {
    /// `offset` turns a stamp of the runtime's clock into microseconds since 1970.
    fn new(document: Value, received: Stamp, offset: i64) -> Self {
        let attributes = &document["Attributes"];
        let sent = attributes["SentTimestamp"].as_str().and_then(|text| text.parse::<i64>().ok());
        // SQS counts in milliseconds; and no wait has zero length.
        let sent = sent.map_or(received.0 - 1, |sent| (sent * 1000 - offset).min(received.0 - 1));
        let header = attributes["AWSTraceHeader"].as_str();
        let sender = header
            .filter(|header| header.contains("Root="))
            .map(|header| TraceContext::from_header(Some(header)));
        Self { sent: Stamp(sent), received, sender, document }
    }

    fn id(&self) -> &str {
        self.document["MessageId"].as_str().unwrap_or_default()
    }
}

/// Each sender once, as X-Ray's segments name linked spans.
fn links<'a>(senders: impl Iterator<Item = &'a TraceContext>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    senders
        .filter(|sender| seen.insert((&sender.root, &sender.parent)))
        .map(|sender| {
            let mut link = json!({ "trace_id": sender.root, "attributes": {} });
            if let Some(parent) = &sender.parent {
                link["id"] = json!(parent);
            }
            link
        })
        .collect()
}

/// The messages that an answer says are done. With partial failures the answer names the others; one that cannot be understood, or names
/// a message that was not in the batch, means that all failed.
fn done<'a>(messages: &'a [Message], answer: &Bytes, partial_failures: bool) -> Vec<&'a Message> {
    if !partial_failures {
        return messages.iter().collect();
    }
    let answer: Value = match serde_json::from_slice(answer) {
        Ok(answer) => answer,
        Err(_) if answer.is_empty() => Value::Null,
        Err(_) => return Vec::new(),
    };
    let failures = match &answer["batchItemFailures"] {
        Value::Null => return messages.iter().collect(),
        Value::Array(failures) => failures,
        _ => return Vec::new(),
    };
    let failed: Option<BTreeSet<&str>> =
        failures.iter().map(|failure| failure["itemIdentifier"].as_str()).collect();
    match failed {
        Some(failed) if failed.iter().all(|id| messages.iter().any(|message| message.id() == *id)) => {
            messages.iter().filter(|message| !failed.contains(message.id())).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str) -> Message {
        Message::new(json!({ "MessageId": id, "Attributes": { "SentTimestamp": "5" } }), Stamp(9_000), 0)
    }

    #[track_caller]
    fn check(partial: bool, answer: &str, expected: &[&str]) {
        let messages = [message("a"), message("b")];
        let done = done(&messages, &Bytes::from(answer.to_owned()), partial);
        assert_eq!(done.iter().map(|message| message.id()).collect::<Vec<_>>(), expected, "{answer}");
    }

    #[test]
    fn an_answer_says_which_messages_are_done() {
        check(false, r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, &["a", "b"]);
        for all in ["", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
            check(true, all, &["a", "b"]);
        }
        check(true, r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, &["b"]);
        for none in [
            "no JSON",
            r#"{"batchItemFailures":7}"#,
            r#"{"batchItemFailures":[{}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#,
        ] {
            check(true, none, &[]);
        }
    }

    #[test]
    fn a_wait_has_a_length_and_ends_when_the_message_was_received() {
        assert_eq!(message("a").sent, Stamp(5_000));
        let late = json!({ "Attributes": { "SentTimestamp": "10" } });
        assert_eq!(Message::new(late, Stamp(9_000), 0).sent, Stamp(8_999));
    }
}
