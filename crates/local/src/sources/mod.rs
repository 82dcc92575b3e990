//! What invokes functions besides HTTP and the Invoke API: queues, buckets, topics, buses and schedules.
//!
//! As on AWS, a notification of a bucket or a topic, and an event of a bus, continues the trace of the call that caused it. A batch of
//! messages of a queue begins a trace of its own, which is linked with the traces of their senders. A stream and a
//! schedule begin a new one.

mod bucket;
mod bus;
mod queue;
mod stream;
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;

pub(super) use bucket::changes;
pub(super) use bus::BusEvent;
pub(super) use topic::Publication;

use super::context::{TraceContext, new_request_id, new_segment_id};
use super::instances::Function;
use super::invoke::{Call, Runtime};
use super::segment::Head;
use sb_daemon::Lifetime;
use sb_sam::{Service, Source, Timing};

/// The event sources of an application, as far as something else must tell them what happened.
pub(super) struct Sources {
    runtime: Arc<Runtime>,
    /// Name of a queue, and who waits for its messages.
    queues: Vec<(String, Arc<Notify>)>,
    buckets: Vec<bucket::Notification>,
    topics: BTreeMap<String, topic::Topic>,
    /// Names of the template's buses.
    buses: Vec<String>,
    rules: Vec<bus::Rule>,
}

impl Sources {
    /// Starts what needs no call from outside: pollers and clocks.
    pub(crate) fn start(
        runtime: &Arc<Runtime>,
        application: &sb_sam::Application,
        lifetime: &Lifetime,
    ) -> Arc<Self> {
        let mut sources = Self {
            runtime: runtime.clone(),
            queues: Vec::new(),
            buckets: Vec::new(),
            topics: BTreeMap::new(),
            buses: application.buses.clone(),
            rules: Vec::new(),
        };
        for resource in &application.resources {
            if let Service::SnsTopic { traced, .. } = resource.service {
                sources.topics.insert(resource.arn.clone(), topic::Topic::new(&resource.name, traced));
            }
        }
        for subscription in &application.subscriptions {
            if let Some(topic) = sources.topics.get_mut(&subscription.topic_arn) {
                topic.queues.push(topic::Subscriber {
                    name: name_of(&subscription.queue_arn),
                    raw: subscription.raw,
                    filter: subscription.filter.clone(),
                });
            }
        }
        for event in &application.sources {
            let found =
                runtime.functions.values().find(|function| function.spec.logical_id == event.function);
            let Some(function) = found.cloned() else { continue };
            match &event.source {
                Source::Sqs { queue_arn, .. } => {
                    let woken = Arc::new(Notify::new());
                    sources.queues.push((name_of(queue_arn), woken.clone()));
                    let poller = queue::Poller::new(runtime.clone(), function, &event.source, woken);
                    tokio::spawn(poller.run(lifetime.clone()));
                }
                Source::S3 { bucket, events, prefix, suffix } => sources.buckets.push(bucket::Notification {
                    id: event.name.clone(),
                    function,
                    bucket: bucket.clone(),
                    events: events.clone(),
                    prefix: prefix.clone(),
                    suffix: suffix.clone(),
                }),
                Source::Sns { topic_arn, filter } => {
                    if let Some(topic) = sources.topics.get_mut(topic_arn) {
                        topic.functions.push((function, filter.clone()));
                    }
                }
                Source::Bus { bus, pattern, input } => sources.rules.push(bus::Rule {
                    bus: bus.clone(),
                    pattern: pattern.clone(),
                    // It was checked with the template.
                    input: input.as_ref().and_then(|text| serde_json::from_str(text).ok()),
                    function,
                }),
                Source::Stream(stream) => {
                    if let Some(client) = runtime.services.clone() {
                        let (runtime, source) = (runtime.clone(), stream.clone());
                        let poller = stream::Poller { runtime, client, function, source };
                        tokio::spawn(poller.run(lifetime.clone()));
                    }
                }
                Source::Schedule { timing, input, of_scheduler } => {
                    let name = event.name.clone();
                    let event = match input {
                        Some(input) => Scheduled::Input(input.clone()),
                        None if *of_scheduler => Scheduled::Scheduler(name.clone()),
                        None => Scheduled::Rule(name.clone()),
                    };
                    let clock = schedule(runtime.clone(), function, name, timing.clone(), event);
                    let lifetime = lifetime.clone();
                    tokio::spawn(async move {
                        tokio::select! { () = lifetime.stopped() => {}, () = clock => {} }
                    });
                }
            }
        }
        Arc::new(sources)
    }

    /// Whether anything waits for what happens in this bucket.
    pub(crate) fn watch_bucket(&self, name: &str) -> bool {
        self.buckets.iter().any(|notification| notification.bucket == name)
    }

    /// Something was put into a queue, or came back to it.
    pub(crate) fn wake_queue(&self, name: &str) {
        self.queues.iter().filter(|(queue, _)| queue == name).for_each(|(_, poller)| poller.notify_one());
    }
}

/// A delivery that is under way. Its trace is not complete until this is dropped: the caller may have ended before.
pub(super) struct Delivery {
    runtime: Arc<Runtime>,
    trace: TraceContext,
    segment: String,
}

impl Delivery {
    /// Begins with the answer to the call that caused it.
    pub(crate) fn new(runtime: &Arc<Runtime>, origin: &'static str, trace: TraceContext) -> Self {
        let head = Head {
            id: new_segment_id(),
            name: origin.to_owned(),
            parent: trace.parent.clone(),
            origin,
            start: runtime.now(),
        };
        let segment = head.id.clone();
        if trace.sampled {
            runtime.recorder.expect(&trace.root, head);
        }
        Self { runtime: Arc::clone(runtime), trace, segment }
    }

    pub(crate) fn trace(&self) -> TraceContext {
        self.trace.clone()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.runtime.recorder.no_longer_expect(&self.trace.root, &self.segment);
    }
}

/// The trace of a call, for all that it sets off. A trace has one root: where the call belongs to no span, the first of them is it, and the
/// others begin traces of their own.
struct Onward {
    trace: TraceContext,
    given: bool,
}

impl Onward {
    fn new(trace: TraceContext) -> Self {
        Self { trace, given: false }
    }

    fn next(&mut self) -> TraceContext {
        if self.trace.parent.is_none() && std::mem::replace(&mut self.given, true) {
            TraceContext { sampled: self.trace.sampled, ..TraceContext::from_header(None) }
        } else {
            self.trace.clone()
        }
    }
}

/// Invokes a function as a service does: asynchronously.
fn invoke(runtime: &Arc<Runtime>, function: &Arc<Function>, payload: &Value, trace: TraceContext) {
    let call = Call {
        function: function.clone(),
        request_id: new_request_id(),
        payload: Bytes::from(payload.to_string()),
        client_context: None,
        trace,
    };
    if !runtime.enqueue(call) {
        runtime.journal.note(&format!(
            "an event for `{}` was lost: the queue of asynchronous events is full",
            function.spec.name
        ));
    }
}

/// The event of a schedule.
enum Scheduled {
    /// As the template has it.
    Input(String),
    /// That of the rule of this name.
    Rule(String),
    /// That of the schedule of EventBridge Scheduler of this name.
    Scheduler(String),
}

impl Scheduled {
    fn event(&self, time: Timestamp, runtime: &Runtime) -> Value {
        let (region, account) = (&runtime.region, &runtime.account);
        let (source, arn, detail) = match self {
            Self::Input(input) => return serde_json::from_str(input).unwrap_or_else(|_| json!(input)),
            Self::Rule(name) => {
                ("aws.events", format!("arn:aws:events:{region}:{account}:rule/{name}"), json!({}))
            }
            // Its detail is a text.
            Self::Scheduler(name) => (
                "aws.scheduler",
                format!("arn:aws:scheduler:{region}:{account}:schedule/default/{name}"),
                json!("{}"),
            ),
        };
        json!({
            "version": "0",
            "id": new_request_id(),
            "detail-type": "Scheduled Event",
            "source": source,
            "account": account,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "region": region,
            "resources": [arn],
            "detail": detail,
        })
    }
}

async fn schedule(
    runtime: Arc<Runtime>,
    function: Arc<Function>,
    name: String,
    timing: Timing,
    event: Scheduled,
) {
    let mut last = Timestamp::now();
    loop {
        let Some(next) = timing.after(last) else {
            runtime.journal.note(&format!("schedule `{name}` has ended: it names no time after {last}"));
            return;
        };
        // In parts, since the clock may be set, and stands still in a machine that sleeps.
        while let Ok(left) = Duration::try_from(next.duration_since(Timestamp::now()))
            && !left.is_zero()
        {
            tokio::time::sleep(left.min(Duration::from_mins(1))).await;
        }
        // What a machine that slept has missed is not made up for.
        let now = Timestamp::now();
        last = if now.duration_since(next).as_secs() < 60 { next } else { now };
        let event = event.event(next, &runtime);
        invoke(&runtime, &function, &event, TraceContext::from_header(None));
    }
}

/// The last part of an ARN, or of a queue's URL.
pub(super) fn name_of(address: &str) -> String {
    address.rsplit([':', '/']).next().unwrap_or(address).to_owned()
}

/// `2026-11-26T10:00:00.000Z`
pub(super) fn timestamp() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
