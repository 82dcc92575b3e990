//! Tables, buckets, queues, topics and collections of faces: resources that services of their own provide.

use serde_json::{Map, Value as Json, json};

use super::filter::Pattern;
use super::intrinsics::Scope;
use super::machine::{Definition, MACHINE};
use super::tree::{Fault, Node, Value};
use super::{Application, DEFAULT_BUS, Reader, Resource, Source, entries, problem};

pub(super) const BUCKET: &str = "AWS::S3::Bucket";
pub(super) const TABLE: &str = "AWS::DynamoDB::Table";
pub(super) const SIMPLE_TABLE: &str = "AWS::Serverless::SimpleTable";
pub(super) const STREAM: &str = "AWS::Kinesis::Stream";
pub(super) const QUEUE: &str = "AWS::SQS::Queue";
pub(super) const TOPIC: &str = "AWS::SNS::Topic";
pub(super) const SUBSCRIPTION: &str = "AWS::SNS::Subscription";
pub(super) const BUS: &str = "AWS::Events::EventBus";
pub(super) const COLLECTION: &str = "AWS::Rekognition::Collection";

/// A resource that a service other than Lambda and API Gateway provides.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceResource {
    /// Key under `Resources`.
    pub logical_id: String,
    /// As the service knows it: the template's, or one made of stack and logical id.
    pub name: String,
    /// As other resources refer to it.
    pub arn: String,
    /// What it is.
    pub service: Service,
    /// Of the resource, 1-based.
    pub line: usize,
}

/// A kind of resource, with what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Service {
    /// `AWS::S3::Bucket`
    S3Bucket {
        /// It keeps every version of an object.
        versioned: bool,
    },
    /// `AWS::DynamoDB::Table` and `AWS::Serverless::SimpleTable`
    DynamoDbTable {
        /// Input of `CreateTable`, but for its name.
        definition: Json,
        /// Attribute whose time ends an item, of `TimeToLiveSpecification`.
        expires_by: Option<String>,
    },
    /// `AWS::Serverless::StateMachine`
    StateMachine {
        /// What it does.
        definition: Definition,
        /// Of type `EXPRESS`, else `STANDARD`.
        express: bool,
    },
    /// `AWS::Kinesis::Stream`
    KinesisStream {
        /// At least 1.
        shards: u32,
    },
    /// `AWS::SQS::Queue`
    SqsQueue {
        /// Attributes of `CreateQueue`: texts, and in `RedrivePolicy` an object.
        attributes: Map<String, Json>,
    },
    /// `AWS::SNS::Topic`
    SnsTopic {
        /// The topic records a segment of its own.
        traced: bool,
        /// It keeps the order of its messages.
        fifo: bool,
    },
    /// `AWS::Rekognition::Collection`, of faces. The template's own name for it is known; the rest is a stand-in's.
    RekognitionCollection,
}

impl Service {
    /// The AWS service that only a stand-in can provide on the local target, by its name in signatures.
    pub fn needs_stand_in(&self) -> Option<&'static str> {
        match self {
            Self::RekognitionCollection => Some("rekognition"),
            _ => None,
        }
    }
}

/// Which messages a subscription gets.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicFilter {
    /// What a message must have.
    pub pattern: Pattern,
    /// It is about the message itself, which is JSON; else about its attributes.
    pub of_body: bool,
}

impl TopicFilter {
    /// Of `FilterPolicy` and `FilterPolicyScope`, as they stand in the template.
    pub(super) fn read(policy: &Json, scope: Option<&str>) -> Result<Self, String> {
        let of_body = match scope {
            None | Some("MessageAttributes") => false,
            Some("MessageBody") => true,
            Some(other) => {
                return Err(format!("FilterPolicyScope is MessageAttributes or MessageBody, not `{other}`"));
            }
        };
        Ok(Self { pattern: Pattern::read(policy)?, of_body })
    }
}

/// What a topic passes on to a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Where messages come from.
    pub topic_arn: String,
    /// Where they go.
    pub queue_arn: String,
    /// The message as it was published, without the envelope.
    pub raw: bool,
    /// None: all are passed on.
    pub filter: Option<TopicFilter>,
    /// Of the resource, 1-based.
    pub line: usize,
}

/// Properties of a bucket that change nothing for the functions of one application.
const HARMLESS_OF_BUCKET: [&str; 7] = [
    "BucketName",
    "BucketEncryption",
    "LifecycleConfiguration",
    "OwnershipControls",
    "PublicAccessBlockConfiguration",
    "Tags",
    "AccessControl",
];
/// What `CreateTable` takes as it stands in a template.
const OF_TABLE: [&str; 5] =
    ["AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes", "LocalSecondaryIndexes"];
/// What a queue does with its messages; all else changes nothing on one machine.
const OF_QUEUE: [&str; 9] = [
    "ContentBasedDeduplication",
    "DelaySeconds",
    "FifoQueue",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "VisibilityTimeout",
    "DeduplicationScope",
    "FifoThroughputLimit",
];
/// In seconds.
const DEFAULT_VISIBILITY_TIMEOUT: u64 = 30;
const HARMLESS_OF_QUEUE: [&str; 6] = [
    "QueueName",
    "Tags",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
    "RedriveAllowPolicy",
];
const HARMLESS_OF_TOPIC: [&str; 6] =
    ["TopicName", "DisplayName", "KmsMasterKeyId", "Tags", "SignatureVersion", "DeliveryStatusLogging"];
/// A bus is nothing but its name: the runtime itself passes events on.
pub(super) const HARMLESS_OF_BUS: [&str; 3] = ["Name", "Description", "Tags"];
const HARMLESS_OF_COLLECTION: [&str; 2] = ["CollectionId", "Tags"];
const HARMLESS_OF_TABLE: [&str; 7] = [
    "TableName",
    "Tags",
    "SSESpecification",
    "PointInTimeRecoverySpecification",
    "DeletionProtectionEnabled",
    "TableClass",
    "ContributorInsightsSpecification",
];

impl Reader<'_> {
    /// The resource, if it is one of these.
    pub(super) fn service(&mut self, resource: &Resource<'_>, scope: &Scope<'_>) -> Option<ServiceResource> {
        let service = match resource.kind {
            BUCKET => {
                let mut versioned = false;
                for entry in entries(resource.properties) {
                    match entry.key.as_str() {
                        "VersioningConfiguration" => {
                            let status = entry.node.get("Status").map_or(Ok(None), |node| scope.text(node));
                            match status {
                                Ok(status) => versioned = status.as_deref() == Some("Enabled"),
                                Err(fault) => self.problems.push(problem(Some(resource.id), fault)),
                            }
                        }
                        key if HARMLESS_OF_BUCKET.contains(&key) => {}
                        key => self.not_there(resource, entry.line, key),
                    }
                }
                Service::S3Bucket { versioned }
            }
            COLLECTION => {
                self.only(resource, &HARMLESS_OF_COLLECTION);
                Service::RekognitionCollection
            }
            TABLE | SIMPLE_TABLE => self.table(resource, scope)?,
            MACHINE => self.machine(resource, scope)?,
            STREAM => self.stream(resource, scope)?,
            QUEUE => self.queue(resource, scope)?,
            TOPIC => self.topic(resource, scope),
            _ => return None,
        };
        let referent = scope.resources.get(resource.id)?;
        let attribute = |name: &str| referent.attributes.get(name).cloned();
        let name = ["QueueName", "TopicName", "Name"].into_iter().find_map(attribute);
        Some(ServiceResource {
            logical_id: resource.id.to_owned(),
            name: name.unwrap_or_else(|| referent.reference.clone()),
            arn: attribute("Arn").unwrap_or_default(),
            service,
            line: resource.line,
        })
    }

    fn queue(&mut self, resource: &Resource<'_>, scope: &Scope<'_>) -> Option<Service> {
        let mut attributes = Map::new();
        for entry in entries(resource.properties) {
            let key = entry.key.as_str();
            let value = match key {
                "RedrivePolicy" => {
                    scope.resolve(&entry.node).and_then(|node| node.as_ref().map(input).transpose())
                }
                key if OF_QUEUE.contains(&key) => scope.text(&entry.node).map(|text| text.map(Json::String)),
                key if HARMLESS_OF_QUEUE.contains(&key) => continue,
                _ => {
                    self.not_there(resource, entry.line, key);
                    continue;
                }
            };
            match value {
                Ok(value) => attributes.extend(value.map(|value| (key.to_owned(), value))),
                Err(fault) => {
                    self.problems.push(problem(Some(resource.id), fault));
                    return None;
                }
            }
        }
        Some(Service::SqsQueue { attributes })
    }

    fn stream(&mut self, resource: &Resource<'_>, scope: &Scope<'_>) -> Option<Service> {
        let mut shards = 1;
        for entry in entries(resource.properties) {
            match entry.key.as_str() {
                "ShardCount" => {
                    let text = scope.text(&entry.node).ok().flatten().unwrap_or_default();
                    let Some(count) = text.parse().ok().filter(|count| (1..=100).contains(count)) else {
                        let message =
                            format!("ShardCount is `{text}`: it must be a whole number from 1 to 100");
                        self.error(Some(resource.id), entry.line, message);
                        return None;
                    };
                    shards = count;
                }
                "Name" | "Tags" | "RetentionPeriodHours" | "StreamEncryption" | "StreamModeDetails" => {}
                key => self.not_there(resource, entry.line, key),
            }
        }
        Some(Service::KinesisStream { shards })
    }

    fn topic(&mut self, resource: &Resource<'_>, scope: &Scope<'_>) -> Service {
        let (mut traced, mut fifo) = (false, false);
        for entry in entries(resource.properties) {
            let is = |value: &str| scope.text(&entry.node).is_ok_and(|text| text.as_deref() == Some(value));
            match entry.key.as_str() {
                "TracingConfig" => traced = is("Active"),
                "FifoTopic" => fifo = is("true"),
                key if HARMLESS_OF_TOPIC.contains(&key) => {}
                key => self.not_there(resource, entry.line, key),
            }
        }
        Service::SnsTopic { traced, fifo }
    }

    /// A subscription of a queue to a topic.
    pub(super) fn subscription(
        &mut self,
        resource: &Resource<'_>,
        scope: &Scope<'_>,
    ) -> Option<Subscription> {
        if resource.kind != SUBSCRIPTION {
            return None;
        }
        let mut subscription = Subscription {
            topic_arn: String::new(),
            queue_arn: String::new(),
            raw: false,
            filter: None,
            line: resource.line,
        };
        let mut protocol = String::new();
        let (mut policy, mut policy_scope) = (None, None);
        for entry in entries(resource.properties) {
            let text = || scope.text(&entry.node).map(Option::unwrap_or_default);
            let read = match entry.key.as_str() {
                "FilterPolicy" => {
                    scope.json(&entry.node).map(|json| policy = json.map(|json| (json, entry.line)))
                }
                "FilterPolicyScope" => scope.text(&entry.node).map(|text| policy_scope = text),
                "TopicArn" => text().map(|text| subscription.topic_arn = text),
                "Endpoint" => text().map(|text| subscription.queue_arn = text),
                "Protocol" => text().map(|text| protocol = text),
                "RawMessageDelivery" => text().map(|text| subscription.raw = text == "true"),
                // Here a queue takes what it is given.
                "RedrivePolicy" | "Region" => Ok(()),
                key => {
                    self.not_there(resource, entry.line, key);
                    Ok(())
                }
            };
            if let Err(fault) = read {
                self.problems.push(problem(Some(resource.id), fault));
                return None;
            }
        }
        if protocol != "sqs" {
            let message = format!(
                "subscriptions with protocol `{protocol}` are not supported by the local target: `sqs` is, and functions subscribe by an event of type SNS"
            );
            self.unsupported(resource.id, resource.line, message);
            return None;
        }
        if let Some((policy, line)) = policy {
            match TopicFilter::read(&policy, policy_scope.as_deref()) {
                Ok(filter) => subscription.filter = Some(filter),
                Err(message) => {
                    self.error(Some(resource.id), line, format!("FilterPolicy: {message}"));
                    return None;
                }
            }
        }
        Some(subscription)
    }

    /// What functions and topics wait for must be in the template: there is nothing else here.
    pub(super) fn check_sources(&mut self, application: &Application) {
        let has = |arn: &str| application.resources.iter().any(|resource| resource.arn == arn);
        let functions =
            application.sources.iter().filter_map(|source| Some((source.source.arn()?, source.line)));
        let topics = application.subscriptions.iter().flat_map(|subscription| {
            [&subscription.topic_arn, &subscription.queue_arn].map(|arn| (arn.clone(), subscription.line))
        });
        for (arn, line) in functions.chain(topics).collect::<Vec<_>>() {
            if !has(&arn) {
                let message = format!(
                    "`{arn}` is no queue, topic, bucket, table or stream of this template: the local target has no others"
                );
                self.error(None, line, message);
            }
        }
        for source in &application.sources {
            if let Source::Bus { bus, .. } = &source.source
                && bus != DEFAULT_BUS
                && !application.buses.contains(bus)
            {
                let message = format!(
                    "`{bus}` is no bus of this template: the local target has those, and `{DEFAULT_BUS}`"
                );
                self.error(Some(&source.function), source.line, message);
            }
            let Source::Sqs { queue_arn, .. } = &source.source else { continue };
            let queue = application.resources.iter().find(|resource| resource.arn == *queue_arn);
            let function =
                application.functions.iter().find(|function| function.logical_id == source.function);
            let (Some(Service::SqsQueue { attributes }), Some(function)) =
                (queue.map(|queue| &queue.service), function)
            else {
                continue;
            };
            let hidden = attributes.get("VisibilityTimeout").and_then(Json::as_str);
            let hidden = hidden.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_VISIBILITY_TIMEOUT);
            if hidden < function.timeout.as_secs() {
                let message = format!(
                    "Lambda refuses a queue whose VisibilityTimeout ({hidden} s) is shorter than the function's Timeout ({} s): a message would come back while it is worked on",
                    function.timeout.as_secs()
                );
                self.error(Some(&source.function), source.line, message);
            }
        }
    }

    fn table(&mut self, resource: &Resource<'_>, scope: &Scope<'_>) -> Option<Service> {
        let mut definition = Map::new();
        let mut expires_by = None;
        let simple = resource.kind == SIMPLE_TABLE;
        let mut primary = ("id".to_owned(), "S");
        let mut take = || -> Result<Vec<(usize, String)>, Fault> {
            let mut not_there = Vec::new();
            for entry in entries(resource.properties) {
                let key = entry.key.as_str();
                if OF_TABLE.contains(&key) {
                    if let Some(node) = scope.resolve(&entry.node)? {
                        definition.insert(key.to_owned(), input(&node)?);
                    }
                } else if key == "ProvisionedThroughput" {
                    if let Some(node) = scope.resolve(&entry.node)? {
                        definition.insert(key.to_owned(), throughput(&node)?);
                    }
                } else if key == "StreamSpecification" {
                    let view =
                        entry.node.get("StreamViewType").map(|node| scope.text(node)).transpose()?.flatten();
                    let view = view.unwrap_or_else(|| "NEW_AND_OLD_IMAGES".to_owned());
                    definition
                        .insert(key.to_owned(), json!({ "StreamEnabled": true, "StreamViewType": view }));
                } else if key == "PrimaryKey" && simple {
                    let text = |key: &str| {
                        let node = entry.node.get(key);
                        node.map_or(Ok(None), |node| scope.text(node))
                    };
                    if let Some(name) = text("Name")? {
                        primary.0 = name;
                    }
                    primary.1 = match text("Type")?.as_deref() {
                        None | Some("String") => "S",
                        Some("Number") => "N",
                        Some("Binary") => "B",
                        Some(other) => {
                            let message = format!(
                                "the type of a primary key is String, Number or Binary, not `{other}`"
                            );
                            return Err(Fault::new(entry.line, message));
                        }
                    };
                } else if key == "TimeToLiveSpecification" {
                    let node = entry.node.get("AttributeName");
                    expires_by = node.map(|node| scope.text(node)).transpose()?.flatten();
                } else if !HARMLESS_OF_TABLE.contains(&key) {
                    not_there.push((entry.line, entry.key.clone()));
                }
            }
            if simple {
                let (name, kind) = &primary;
                definition.insert(
                    "AttributeDefinitions".to_owned(),
                    json!([{ "AttributeName": name, "AttributeType": kind }]),
                );
                definition
                    .insert("KeySchema".to_owned(), json!([{ "AttributeName": name, "KeyType": "HASH" }]));
            }
            for needed in ["AttributeDefinitions", "KeySchema"] {
                if !definition.contains_key(needed) {
                    return Err(Fault::new(resource.line, format!("a table needs `{needed}`")));
                }
            }
            Ok(not_there)
        };
        match take() {
            Ok(not_there) => {
                for (line, key) in not_there {
                    self.not_there(resource, line, &key);
                }
            }
            Err(fault) => {
                self.problems.push(problem(Some(resource.id), fault));
                return None;
            }
        }
        // What the template does not say means provisioned, and then the service asks how much.
        if !definition.contains_key("BillingMode") && !definition.contains_key("ProvisionedThroughput") {
            definition.insert("BillingMode".to_owned(), json!("PAY_PER_REQUEST"));
        }
        Some(Service::DynamoDbTable { definition: definition.into(), expires_by })
    }

    /// Reports all properties but these.
    pub(super) fn only(&mut self, resource: &Resource<'_>, properties: &[&str]) {
        for entry in entries(resource.properties) {
            if !properties.contains(&entry.key.as_str()) {
                self.not_there(resource, entry.line, &entry.key);
            }
        }
    }

    pub(super) fn not_there(&mut self, resource: &Resource<'_>, line: usize, key: &str) {
        let message = format!(
            "property `{key}` is not supported by the local target: remove it, or deploy to a cloud target"
        );
        self.unsupported(resource.id, line, message);
    }
}

/// A property as the input of an API: the same words, with numbers where the API has them.
fn input(node: &Node) -> Result<Json, Fault> {
    Ok(match &node.value {
        Value::Null => Json::Null,
        Value::Text(text) | Value::Plain(text) => json!(text),
        Value::List(items) => Json::Array(items.iter().map(input).collect::<Result<_, _>>()?),
        Value::Map(entries) => {
            let mut object = Map::new();
            for entry in entries {
                let value = match entry.key.as_str() {
                    "ProvisionedThroughput" => throughput(&entry.node)?,
                    _ => input(&entry.node)?,
                };
                object.insert(entry.key.clone(), value);
            }
            Json::Object(object)
        }
    })
}

fn throughput(node: &Node) -> Result<Json, Fault> {
    let mut object = Map::new();
    for entry in node.entries() {
        let number = entry
            .node
            .as_text()
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(|| Fault::new(entry.line, format!("`{}` must be a whole number", entry.key)))?;
        object.insert(entry.key.clone(), json!(number));
    }
    Ok(Json::Object(object))
}
