//! Invocations with their segments: what every way into a function shares.
//!
//! The shapes are those of AWS X-Ray. An `AWS::Lambda` segment is under the caller's span. Under it, or under an
//! attempt of an asynchronous event, is an `AWS::Lambda::Function` segment. That one has Invocation and Overhead, and
//! before the function's own start Initialization (of a cold start only).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::{Map, json};
use tokio::sync::Semaphore;

use super::clock::Stamp;
use super::context::{TraceContext, new_segment_id};
use super::instances::{Caller, Function, Machine, Outcome, Permit, failure};
use super::recorder::Recorder;
use super::runtime_api::Job;
use super::segment::{Flags, Head, Segment, Subsegment, fields};
use super::service_client::ServiceClient;
use sb_daemon::Journal;

/// The running application.
pub(super) struct Runtime {
    pub machine: Arc<Machine>,
    pub recorder: Recorder,
    /// By name.
    pub functions: BTreeMap<String, Arc<Function>>,
    pub region: String,
    pub account: String,
    /// Places in the queue of asynchronous events.
    pub queue: Arc<Semaphore>,
    /// Before the first retry of a failed event; twice as long before the second.
    pub retry_delay: Duration,
    /// One JSON object per event that was given up.
    pub dead_letters: PathBuf,
    pub journal: Journal,
    /// Where the template has tables, buckets, queues or topics.
    pub services: Option<ServiceClient>,
    /// The services as functions find them, where event sources hear of it.
    pub aws: Option<ServiceClient>,
}

/// A request to run a function.
#[derive(Clone)]
pub(super) struct Call {
    pub function: Arc<Function>,
    pub request_id: String,
    pub payload: Bytes,
    pub client_context: Option<String>,
    /// The parent is the span that the new segment hangs under.
    pub trace: TraceContext,
}

/// What a synchronous caller gets.
#[derive(Debug)]
pub(super) enum Answer {
    Payload(Bytes),
    /// The error document of the function.
    Failed(Bytes),
    Throttled,
}

impl Runtime {
    pub(crate) fn now(&self) -> Stamp {
        self.machine.clock.now()
    }

    /// The function of this name or ARN (with or without a qualifier).
    pub(crate) fn function(&self, name_or_arn: &str) -> Option<&Arc<Function>> {
        let name = match name_or_arn.split_once(":function:") {
            Some((_, rest)) => rest,
            None => name_or_arn,
        };
        self.functions.get(name.split(':').next().unwrap_or(name))
    }

    /// Runs a function and waits for its answer.
    pub(crate) async fn call(self: &Arc<Self>, call: Call, caller: Caller) -> Answer {
        let head = self.lambda_head(&call);
        self.open(&call.trace, &head);
        let (answer, status, failed) = match self.machine.admit_caller(&call.function, caller).await {
            None => (Answer::Throttled, 429, false),
            Some(permit) => match self.execute(&call, &head.id, permit).await.result {
                Ok(body) => (Answer::Payload(body), 200, false),
                Err(error) => (Answer::Failed(error), 200, true),
            },
        };
        let flags = if failed { Flags::FAULT } else { Flags::of_status(status) };
        self.close(&call.trace, &self.lambda_segment(&call, head, status, flags, Vec::new()));
        answer
    }

    /// One execution, with the function's segment under `parent`.
    pub(crate) async fn execute(self: &Arc<Self>, call: &Call, parent: &str, permit: Permit) -> Outcome {
        let function = &call.function;
        let head = Head {
            id: new_segment_id(),
            name: function.spec.name.clone(),
            parent: Some(parent.to_owned()),
            origin: "AWS::Lambda::Function",
            start: self.now(),
        };
        self.open(&call.trace, &head);
        let invocation = new_segment_id();
        let job = Job {
            request_id: call.request_id.clone(),
            payload: call.payload.clone(),
            timeout: function.spec.timeout,
            arn: function.spec.arn.clone(),
            trace: call.trace.under(&invocation).to_string(),
            client_context: call.client_context.clone(),
        };
        let outcome = if self.machine.dynamics.function_error(&function.spec.name) {
            let begun = self.now();
            let message = "the function failed on purpose (`faults.function_error` of the target)";
            Outcome {
                result: Err(failure("Sb.DeclaredFault", message)),
                initialization: None,
                delivered: Some(begun),
                answered: Stamp(begun.0 + 1),
            }
        } else {
            call.function.run(&self.machine, permit, job).await
        };
        if call.trace.sampled {
            self.close(&call.trace, &self.function_segment(&call.function, head, invocation, &outcome));
        }
        outcome
    }

    fn function_segment(
        &self,
        function: &Function,
        mut head: Head,
        invocation: String,
        outcome: &Outcome,
    ) -> Segment {
        let flags = Flags::of_failure(outcome.result.is_err());
        let part = |id: String, name: &str, start: Stamp, end: Stamp, flags: Flags, fields: Map<_, _>| {
            Subsegment { id, name: name.to_owned(), namespace: None, start, end, flags, fields }
        };
        let mut subsegments = Vec::new();
        // Never of zero length: the critical path would visit the last child twice.
        let end = self.now().max(Stamp(outcome.answered.0 + 1));
        if let Some((from, to)) = outcome.initialization {
            let failed = Flags::of_failure(outcome.delivered.is_none());
            let aws = fields(json!({ "aws": { "function_arn": function.spec.arn } }));
            subsegments.push(part(new_segment_id(), "Initialization", from, to, failed, aws));
            head.start = to;
        }
        if let Some(delivered) = outcome.delivered {
            head.start = delivered;
            subsegments.push(part(invocation, "Invocation", delivered, outcome.answered, flags, Map::new()));
            subsegments.push(part(
                new_segment_id(),
                "Overhead",
                outcome.answered,
                end,
                Flags::default(),
                Map::new(),
            ));
        }
        let fields = fields(json!({ "aws": {
            "account_id": self.account,
            "function_arn": function.spec.arn,
            "resource_names": [function.spec.name],
        } }));
        Segment { head, end, flags, fields, subsegments }
    }

    pub(crate) fn lambda_head(&self, call: &Call) -> Head {
        Head {
            id: new_segment_id(),
            name: call.function.spec.name.clone(),
            parent: call.trace.parent.clone(),
            origin: "AWS::Lambda",
            start: self.now(),
        }
    }

    /// The `AWS::Lambda` segment, ending now.
    pub(crate) fn lambda_segment(
        &self,
        call: &Call,
        head: Head,
        status: u16,
        flags: Flags,
        subsegments: Vec<Subsegment>,
    ) -> Segment {
        let fields = fields(json!({
            "http": { "response": { "status": status } },
            "aws": { "request_id": call.request_id },
            "resource_arn": call.function.spec.arn,
        }));
        Segment { head, end: self.now(), flags, fields, subsegments }
    }

    pub(crate) fn open(&self, trace: &TraceContext, head: &Head) {
        if trace.sampled {
            self.recorder.open(&trace.root, head.clone());
        }
    }

    pub(crate) fn close(&self, trace: &TraceContext, segment: &Segment) {
        if trace.sampled {
            self.recorder.close(&trace.root, segment);
        }
    }
}
