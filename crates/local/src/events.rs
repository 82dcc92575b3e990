//! Asynchronous invocations: queued, retried, and kept as dead letters when nothing helped.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::clock::Stamp;
use super::context::new_segment_id;
use super::instances::Permit;
use super::invoke::{Call, Runtime};
use super::segment::{Flags, Segment, Subsegment, fields};
use super::sources::{Delivery, name_of, timestamp};

/// Waiting times while the function is throttled: doubled from the first to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LAST_BACKOFF: Duration = Duration::from_secs(2);

/// An event that was accepted: its segment ended with the answer 202, and gets its attempts as they happen.
struct Event {
    call: Call,
    segment: Segment,
    accepted: Instant,
    _place: OwnedSemaphorePermit,
}

impl Runtime {
    /// Queues an event. False: the queue is full.
    pub(crate) fn enqueue(self: &Arc<Self>, call: Call) -> bool {
        if self.machine.dynamics.lose_message(&call.function.spec.name) {
            let name = &call.function.spec.name;
            self.journal.note(&format!("an event for `{name}` was lost on purpose (`faults.lost_message`)"));
            return true;
        }
        let head = self.lambda_head(&call);
        let Ok(place) = self.queue.clone().try_acquire_owned() else {
            self.close(
                &call.trace,
                &self.lambda_segment(&call, head, 429, Flags::of_status(429), Vec::new()),
            );
            return false;
        };
        let segment = self.lambda_segment(&call, head, 202, Flags::default(), Vec::new());
        if call.trace.sampled {
            self.recorder.accept(&call.trace.root, &segment);
        }
        let event = Event { call, segment, accepted: Instant::now(), _place: place };
        let runtime = self.clone();
        tokio::spawn(async move { runtime.process(event).await });
        true
    }

    async fn process(self: Arc<Self>, mut event: Event) {
        let spec = &event.call.function.spec;
        let attempts = 1 + spec.retries;
        self.machine.dynamics.trigger(&spec.name).await;
        let mut last_error = Bytes::new();
        let mut attempt = 0;
        let reason = loop {
            if attempt == attempts {
                break "RetriesExhausted";
            }
            if attempt > 0 {
                tokio::time::sleep(self.retry_delay * attempt).await;
            }
            let Some(permit) = self.admission(&event).await else { break "EventAgeExceeded" };
            attempt += 1;
            let id = new_segment_id();
            let start = self.now();
            if attempt == 1 {
                event.segment.subsegments.push(dwell_time(event.segment.head.start, start));
            }
            let outcome = self.execute(&event.call, &id, permit).await;
            let failed = outcome.result.is_err();
            event.segment.subsegments.push(Subsegment {
                id,
                name: format!("Attempt #{attempt}"),
                namespace: None,
                start,
                end: self.now(),
                flags: Flags::of_failure(failed),
                fields: fields(json!({ "http": { "response": { "status": 200 } } })),
            });
            match outcome.result {
                Ok(_) => {
                    self.close(&event.call.trace, &event.segment);
                    return;
                }
                Err(error) => last_error = error,
            }
        };
        event.segment.flags = Flags::FAULT;
        // Who is told of the failure belongs to the trace, too.
        let _told = Delivery::new(&self, "AWS::Lambda", event.call.trace.clone());
        self.close(&event.call.trace, &event.segment);
        self.give_up(&event, reason, attempt, &last_error).await;
    }

    /// Waits until the function may run; none when the event has become too old meanwhile.
    async fn admission(&self, event: &Event) -> Option<Permit> {
        let mut backoff = FIRST_BACKOFF;
        loop {
            if event.accepted.elapsed() > event.call.function.spec.max_event_age {
                return None;
            }
            if let Some(permit) = self.machine.admit_event(&event.call.function) {
                return Some(permit);
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// Keeps an event that was given up in the file of dead letters, and tells those whom the function names: its dead-letter queue or topic
    /// gets the event, its destination on failure a record of what happened.
    ///
    /// Shapes: <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>.
    async fn give_up(&self, event: &Event, reason: &str, attempts: u32, error: &Bytes) {
        let text = |bytes: &Bytes| -> Value {
            serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
        };
        let call = &event.call;
        let spec = &call.function.spec;
        let mut record = json!({
            "version": "1.0",
            "timestamp": timestamp(),
            "requestContext": {
                "requestId": call.request_id,
                "functionArn": format!("{}:$LATEST", spec.arn),
                "condition": reason,
                "approximateInvokeCount": attempts,
            },
            "requestPayload": text(&call.payload),
        });
        let error = text(error);
        if attempts > 0 {
            record["responseContext"] =
                json!({ "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" });
            record["responsePayload"] = error.clone();
        }
        let mut letter = record.clone();
        letter["destination"] = json!(spec.on_failure.as_ref().or(spec.dead_letter.as_ref()));
        letter["traceId"] = json!(call.trace.root);
        let written = sb_durable::private()
            .create(true)
            .append(true)
            .open(&self.dead_letters)
            .and_then(|mut file| file.write_all(format!("{letter}\n").as_bytes()));
        if let Err(error) = written {
            self.journal.note(&format!("a dead letter could not be kept ({error}): {letter}"));
        }
        let trace = call.trace.under(&event.segment.head.id).to_string();
        if let Some(arn) = &spec.dead_letter {
            let message = error["errorMessage"].as_str().filter(|message| !message.is_empty());
            // At most 1 KB of it.
            let message: String = message.unwrap_or(reason).chars().take(1000).collect();
            let attributes = [
                ("RequestID", "String", call.request_id.as_str()),
                ("ErrorCode", "Number", "200"),
                ("ErrorMessage", "String", &message),
            ];
            self.tell(arn, &String::from_utf8_lossy(&call.payload), &attributes, &trace).await;
        }
        if let Some(arn) = &spec.on_failure {
            self.tell(arn, &record.to_string(), &[], &trace).await;
        }
    }

    /// Sends a message to a queue or a topic. `attributes` are name, data type and value.
    async fn tell(&self, arn: &str, message: &str, attributes: &[(&str, &str, &str)], trace: &str) {
        let Some(aws) = &self.aws else { return };
        let sent = if arn.contains(":sqs:") {
            let attributes: serde_json::Map<String, Value> = attributes
                .iter()
                .map(|(name, kind, value)| {
                    ((*name).to_owned(), json!({ "DataType": kind, "StringValue": value }))
                })
                .collect();
            let trace = json!({ "AWSTraceHeader": { "DataType": "String", "StringValue": trace } });
            let input = json!({
                "QueueUrl": name_of(arn),
                "MessageBody": message,
                "MessageAttributes": attributes,
                "MessageSystemAttributes": trace,
            });
            aws.sqs("SendMessage", &input).await.map(|_| ())
        } else {
            aws.publish(arn, message, attributes, trace).await
        };
        if let Err(error) = sent {
            self.journal.note(&format!("an event that failed did not reach `{arn}`: {error}"));
        }
    }
}

fn dwell_time(start: Stamp, end: Stamp) -> Subsegment {
    Subsegment {
        id: new_segment_id(),
        name: "Dwell Time".to_owned(),
        namespace: None,
        start,
        end,
        flags: Flags::default(),
        fields: serde_json::Map::new(),
    }
}
