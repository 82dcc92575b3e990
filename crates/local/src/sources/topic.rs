//! Topics: what is published goes to functions and to queues at once.
//!
//! moto would pass messages on to queues, too, but without their trace: it knows of no subscription, and the runtime delivers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::context::{TraceContext, new_segment_id};
use super::super::instances::Function;
use super::super::invoke_api::percent_decode;
use super::super::segment::{Flags, Head, Segment, Subsegment, fields};
use super::{Onward, Sources, invoke, timestamp};
use sb_sam::TopicFilter;

pub(super) struct Topic {
    name: String,
    /// It records a segment of its own.
    traced: bool,
    pub functions: Vec<(Arc<Function>, Option<TopicFilter>)>,
    pub queues: Vec<Subscriber>,
}

/// A queue that gets what is published.
pub(super) struct Subscriber {
    pub name: String,
    /// The message without the envelope.
    pub raw: bool,
    pub filter: Option<TopicFilter>,
}

impl Topic {
    pub(super) fn new(name: &str, traced: bool) -> Self {
        Self { name: name.to_owned(), traced, functions: Vec::new(), queues: Vec::new() }
    }
}

/// A message for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    topic_arn: String,
    message: String,
    subject: Option<String>,
    /// Name, data type, value.
    attributes: Vec<(String, String, String)>,
}

impl Publication {
    /// The messages of a call of `Publish` or `PublishBatch`, in the query protocol.
    pub(crate) fn of(body: &[u8]) -> Vec<Self> {
        let form: BTreeMap<String, String> = String::from_utf8_lossy(body)
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (percent_decode(name), percent_decode(&value.replace('+', " "))))
            .collect();
        let topic_arn = form.get("TopicArn").or_else(|| form.get("TargetArn")).cloned().unwrap_or_default();
        let read = |prefix: &str| {
            let text = |name: &str| form.get(&format!("{prefix}{name}")).cloned();
            let attribute = |index: usize| {
                let text = |name: &str| text(&format!("MessageAttributes.entry.{index}.{name}"));
                let value = text("Value.StringValue").or_else(|| text("Value.BinaryValue"))?;
                Some((text("Name")?, text("Value.DataType")?, value))
            };
            Some(Self {
                topic_arn: topic_arn.clone(),
                message: text("Message")?,
                subject: text("Subject"),
                attributes: (1..).map_while(attribute).collect(),
            })
        };
        match form.get("Action").map(String::as_str) {
            Some("Publish") => read("").into_iter().collect(),
            Some("PublishBatch") => (1..)
                .map_while(|index| read(&format!("PublishBatchRequestEntries.member.{index}.")))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a subscription with this filter gets it.
    fn passes(&self, filter: Option<&TopicFilter>) -> bool {
        let Some(filter) = filter else { return true };
        if filter.of_body {
            let body: Result<Value, _> = serde_json::from_str(&self.message);
            return body.is_ok_and(|body| filter.pattern.matches(&body));
        }
        let read = |kind: &str, value: &str| match kind {
            "Number" | "String.Array" => serde_json::from_str(value).ok(),
            kind if kind.starts_with("String") => Some(json!(value)),
            _ => None,
        };
        let attributes: Map<String, Value> = self
            .attributes
            .iter()
            .filter_map(|(name, kind, value)| Some((name.clone(), read(kind, value)?)))
            .collect();
        filter.pattern.matches(&attributes.into())
    }

    fn envelope(&self, id: &str, functions: bool) -> Value {
        let attributes: Map<String, Value> = self
            .attributes
            .iter()
            .map(|(name, kind, value)| (name.clone(), json!({ "Type": kind, "Value": value })))
            .collect();
        // The same words, but for the capitals of two.
        let (certificate, unsubscribe) = if functions {
            ("SigningCertUrl", "UnsubscribeUrl")
        } else {
            ("SigningCertURL", "UnsubscribeURL")
        };
        let mut envelope = json!({
            "Type": "Notification",
            "MessageId": id,
            "TopicArn": self.topic_arn,
            "Message": self.message,
            "Timestamp": timestamp(),
            "SignatureVersion": "1",
            "Signature": "local",
            certificate: "http://127.0.0.1/",
            unsubscribe: "http://127.0.0.1/",
        });
        if self.subject.is_some() || functions {
            envelope["Subject"] = json!(self.subject);
        }
        if !attributes.is_empty() || functions {
            envelope["MessageAttributes"] = attributes.into();
        }
        envelope
    }
}

impl Sources {
    /// Delivers what was published; `answer` is the service's, with an id for each message.
    pub(crate) async fn published(&self, messages: Vec<Publication>, answer: &str, trace: TraceContext) {
        let mut onward = Onward::new(trace);
        let ids = answer.split("<MessageId>").skip(1).filter_map(|rest| rest.split_once("</MessageId>"));
        for (message, (id, _)) in messages.iter().zip(ids) {
            if let Some(topic) = self.topics.get(&message.topic_arn) {
                self.deliver(topic, message, id, &mut onward).await;
            }
        }
    }

    async fn deliver(&self, topic: &Topic, message: &Publication, id: &str, causes: &mut Onward) {
        // Without a segment of the topic's own, its functions hang on what has called it.
        let trace = &if topic.traced { causes.next() } else { causes.trace.clone() };
        let head = Head {
            id: new_segment_id(),
            name: topic.name.clone(),
            parent: trace.parent.clone(),
            origin: "AWS::SNS",
            start: self.runtime.now(),
        };
        if topic.traced {
            self.runtime.open(trace, &head);
        }
        for (function, filter) in &topic.functions {
            if !message.passes(filter.as_ref()) {
                continue;
            }
            let record = json!({
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": format!("{}:{}", message.topic_arn, function.spec.logical_id),
                "Sns": message.envelope(id, true),
            });
            let onward = if topic.traced { trace.under(&head.id) } else { causes.next() };
            invoke(&self.runtime, function, &json!({ "Records": [record] }), onward);
        }
        let mut failed = false;
        let mut deliveries = Vec::new();
        for Subscriber { name: queue, raw, .. } in
            topic.queues.iter().filter(|queue| message.passes(queue.filter.as_ref()))
        {
            let (delivery, start) = (new_segment_id(), self.runtime.now());
            let onward = if topic.traced { trace.under(&delivery) } else { trace.clone() };
            let mut input = json!({
                "QueueUrl": queue,
                "MessageBody": if *raw { message.message.clone() } else { message.envelope(id, false).to_string() },
                "MessageSystemAttributes": {
                    "AWSTraceHeader": { "DataType": "String", "StringValue": onward.to_string() },
                },
            });
            if *raw {
                let attributes: Map<String, Value> = message
                    .attributes
                    .iter()
                    .map(|(name, kind, value)| {
                        let field = if kind.starts_with("Binary") { "BinaryValue" } else { "StringValue" };
                        (name.clone(), json!({ "DataType": kind, field: value }))
                    })
                    .collect();
                input["MessageAttributes"] = attributes.into();
            }
            let Some(client) = &self.runtime.services else { continue };
            let sent = client.sqs("SendMessage", &input).await;
            deliveries.push(Subsegment {
                id: delivery,
                name: "SQS".to_owned(),
                namespace: Some("aws"),
                start,
                end: self.runtime.now(),
                flags: Flags::of_failure(sent.is_err()),
                fields: fields(json!({ "aws": { "operation": "SendMessage", "queue_url": queue } })),
            });
            match sent {
                Ok(_) => self.wake_queue(queue),
                Err(error) => {
                    failed = true;
                    let topic = &topic.name;
                    self.runtime
                        .journal
                        .note(&format!("a message of `{topic}` did not reach `{queue}`: {error}"));
                }
            }
        }
        if topic.traced {
            let fields = fields(json!({ "aws": {
                "account_id": self.runtime.account, "message_id": id, "resource_names": [message.topic_arn],
            } }));
            let end = self.runtime.now();
            let flags = Flags::of_failure(failed);
            self.runtime.close(trace, &Segment { head, end, flags, fields, subsegments: deliveries });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_from_a_form() {
        let body = "Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A0%3At&Message=a+b%2Bc&Subject=s\
            &MessageAttributes.entry.1.Name=kind&MessageAttributes.entry.1.Value.DataType=String\
            &MessageAttributes.entry.1.Value.StringValue=x";
        let expected = Publication {
            topic_arn: "arn:aws:sns:us-east-1:0:t".to_owned(),
            message: "a b+c".to_owned(),
            subject: Some("s".to_owned()),
            attributes: vec![("kind".to_owned(), "String".to_owned(), "x".to_owned())],
        };
        assert_eq!(Publication::of(body.as_bytes()), [expected]);
        let batch = "Action=PublishBatch&TopicArn=t&PublishBatchRequestEntries.member.1.Id=1\
            &PublishBatchRequestEntries.member.1.Message=one&PublishBatchRequestEntries.member.2.Message=two";
        let read = Publication::of(batch.as_bytes());
        assert_eq!(read.iter().map(|message| message.message.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        for other in ["", "Action=Subscribe&TopicArn=t", "Action=Publish&TopicArn=t", "%"] {
            assert!(Publication::of(other.as_bytes()).is_empty(), "{other}");
        }
    }
}
