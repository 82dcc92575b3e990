//! What invokes a function besides HTTP: queues, buckets, topics, buses and schedules.

use std::time::Duration;

use super::filter::Pattern;
use super::intrinsics::Scope;
use super::services::TopicFilter;
use super::timing::Timing;
use super::tree::{Entry, Fault, Node, Value};
use super::{Reader, Resource, entries, problem};

/// Something that invokes a function with what a service holds or says.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSource {
    /// Logical id of the function.
    pub function: String,
    /// Key under `Events`.
    pub name: String,
    /// Where the events come from.
    pub source: Source,
    /// Of the event, 1-based.
    pub line: usize,
}

/// Where the events of a function come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Messages of a queue, in batches.
    Sqs {
        /// The queue.
        queue_arn: String,
        /// 1 to 10 000, default 10.
        batch_size: u32,
        /// How long a batch is gathered: 0 to 300 s.
        window: Duration,
        /// `ReportBatchItemFailures`: the answer says which messages failed.
        partial_failures: bool,
        /// Batches at once: `ScalingConfig.MaximumConcurrency`, 2 to 1000.
        maximum_concurrency: Option<u32>,
        /// One of them lets a message through; none: all are let through.
        filters: Vec<Pattern>,
    },
    /// Objects of a bucket that are made or removed.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// `s3:ObjectCreated:*` and the like.
        events: Vec<String>,
        /// How keys of objects must begin.
        prefix: String,
        /// How they must end.
        suffix: String,
    },
    /// Messages of a topic, one by one.
    Sns {
        /// The topic.
        topic_arn: String,
        /// None: all messages.
        filter: Option<TopicFilter>,
    },
    /// Events of a bus of EventBridge, one by one.
    Bus {
        /// Name of the bus.
        bus: String,
        /// What an event must have.
        pattern: Pattern,
        /// What the function gets in place of the event: JSON.
        input: Option<String>,
    },
    /// Records of a stream, in batches.
    Stream(StreamSource),
    /// The time.
    Schedule {
        /// When.
        timing: Timing,
        /// The event; without it the one that EventBridge makes.
        input: Option<String>,
        /// It is one of EventBridge Scheduler, not a rule.
        of_scheduler: bool,
    },
}

impl Source {
    /// Of the queue, topic, bucket, table or stream; none of a bus or a schedule, which no dead-letter queue can be.
    pub(super) fn arn(&self) -> Option<String> {
        match self {
            Self::Sqs { queue_arn, .. } => Some(queue_arn.clone()),
            Self::Sns { topic_arn, .. } => Some(topic_arn.clone()),
            Self::S3 { bucket, .. } => Some(format!("arn:aws:s3:::{bucket}")),
            Self::Stream(stream) => stream.arn.split("/stream/").next().map(str::to_owned),
            Self::Bus { .. } | Self::Schedule { .. } => None,
        }
    }
}

/// A Kinesis stream, or the changes of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSource {
    /// Of the stream; of a table, `…:table/NAME/stream/local`.
    pub arn: String,
    /// A Kinesis stream, else a table's.
    pub kinesis: bool,
    /// 1 to 10 000, default 100.
    pub batch_size: u32,
    /// `StartingPosition` is `TRIM_HORIZON` rather than `LATEST`.
    pub from_start: bool,
    /// `ReportBatchItemFailures`: the answer says which record failed first.
    pub partial_failures: bool,
    /// Further attempts of a batch that failed; none: until it succeeds.
    pub retries: Option<u32>,
    /// One of them lets a record through; none: all are let through.
    pub filters: Vec<Pattern>,
}

/// The bus that every account has.
pub const DEFAULT_BUS: &str = "default";

/// The name of a bus, by its name or its ARN (`arn:aws:events:REGION:ACCOUNT:event-bus/NAME`).
pub fn bus_name(bus: &str) -> &str {
    bus.rsplit_once(":event-bus/").map_or(bus, |(_, name)| name)
}

const KINDS: &str = "Api, HttpApi, SQS, S3, SNS, DynamoDB, Kinesis, EventBridgeRule and Schedule";

impl Reader<'_> {
    /// Reads an event of a function that is no HTTP route; none when it is turned off.
    pub(super) fn source(
        &mut self,
        function: &Resource<'_>,
        event: &Entry,
        scope: &Scope<'_>,
    ) -> Option<EventSource> {
        let kind = event.node.get("Type").and_then(Node::as_text).unwrap_or_default();
        let properties = entries(event.node.get("Properties"));
        let read = || {
            let mut fields = Fields { properties, scope, line: event.line, known: Vec::new() };
            if fields.text("Enabled")?.as_deref() == Some("false")
                || fields.text("State")?.as_deref() == Some("DISABLED")
            {
                return Ok(None);
            }
            let source = match kind {
                "SQS" => fields.queue()?,
                "S3" => fields.bucket()?,
                "SNS" => fields.topic()?,
                "EventBridgeRule" | "CloudWatchEvent" => fields.bus()?,
                "DynamoDB" => fields.stream(false)?,
                "Kinesis" => fields.stream(true)?,
                "Schedule" => fields.schedule("Schedule")?,
                "ScheduleV2" => fields.schedule("ScheduleExpression")?,
                other => {
                    let message = format!(
                        "event `{}` of type `{other}` is not supported by the local target: {KINDS} are, and the Lambda Invoke API",
                        event.key
                    );
                    return Err(Fault::unsupported(event.line, message));
                }
            };
            fields.nothing_else(&event.key)?;
            Ok(Some(source))
        };
        match read() {
            Ok(source) => source.map(|source| EventSource {
                function: function.id.to_owned(),
                name: event.key.clone(),
                source,
                line: event.line,
            }),
            Err(fault) => {
                self.problems.push(problem(Some(function.id), fault));
                None
            }
        }
    }
}

/// The properties of one event, and which of them were asked for.
struct Fields<'a> {
    properties: &'a [Entry],
    scope: &'a Scope<'a>,
    line: usize,
    known: Vec<&'static str>,
}

impl Fields<'_> {
    fn node(&mut self, key: &'static str) -> Option<&Node> {
        self.known.push(key);
        self.properties.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>, Fault> {
        let scope = self.scope;
        self.node(key).map_or(Ok(None), |node| scope.text(node))
    }

    fn needed(&mut self, key: &'static str) -> Result<String, Fault> {
        self.text(key)?.ok_or_else(|| Fault::new(self.line, format!("the event needs `{key}`")))
    }

    fn number(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, Fault> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let value = text.parse().ok().filter(|value| range.contains(value));
        let (low, high) = (range.start(), range.end());
        value.map(Some).ok_or_else(|| {
            Fault::new(
                self.line,
                format!("{key} is `{text}`: it must be a whole number from {low} to {high}"),
            )
        })
    }

    /// One text, or a list of them.
    fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Fault> {
        let scope = self.scope;
        let Some(node) = self.node(key) else { return Ok(Vec::new()) };
        Ok(match scope.resolve(node)?.map(|node| node.value) {
            Some(Value::Text(text)) => vec![text],
            Some(Value::List(items)) => items.iter().filter_map(Node::as_text).map(str::to_owned).collect(),
            _ => Vec::new(),
        })
    }

    fn nothing_else(&self, event: &str) -> Result<(), Fault> {
        let extra = self.properties.iter().find(|entry| !self.known.contains(&entry.key.as_str()));
        extra.map_or(Ok(()), |extra| {
            let message = format!(
                "property `{}` of event `{event}` is not supported by the local target: remove it, or deploy to a cloud target",
                extra.key
            );
            Err(Fault::unsupported(extra.line, message))
        })
    }

    fn queue(&mut self) -> Result<Source, Fault> {
        let batch_size = self.number("BatchSize", 1..=10_000)?.unwrap_or(10);
        let window = self.number("MaximumBatchingWindowInSeconds", 0..=300)?.unwrap_or(0);
        if batch_size > 10 && window == 0 {
            let message = "a BatchSize above 10 needs a MaximumBatchingWindowInSeconds of at least 1";
            return Err(Fault::new(self.line, message));
        }
        let kinds = self.texts("FunctionResponseTypes")?;
        let scope = self.scope;
        let maximum = self.node("ScalingConfig").and_then(|node| node.get("MaximumConcurrency"));
        let maximum = maximum.map_or(Ok(None), |node| scope.text(node))?;
        let maximum_concurrency = match maximum {
            None => None,
            Some(text) => {
                let value = text.parse().ok().filter(|value| (2..=1000).contains(value));
                let message =
                    format!("MaximumConcurrency is `{text}`: it must be a whole number from 2 to 1000");
                Some(value.ok_or_else(|| Fault::new(self.line, message))?)
            }
        };
        Ok(Source::Sqs {
            queue_arn: self.needed("Queue")?,
            batch_size,
            window: Duration::from_secs(window.into()),
            partial_failures: kinds.iter().any(|kind| kind == "ReportBatchItemFailures"),
            maximum_concurrency,
            filters: self.filters()?,
        })
    }

    fn topic(&mut self) -> Result<Source, Fault> {
        let (scope, line) = (self.scope, self.line);
        let kind = self.text("FilterPolicyScope")?;
        let policy = self.node("FilterPolicy").map_or(Ok(None), |node| scope.json(node))?;
        let filter = policy.map(|policy| TopicFilter::read(&policy, kind.as_deref())).transpose();
        let filter = filter.map_err(|message| Fault::new(line, format!("FilterPolicy: {message}")))?;
        Ok(Source::Sns { topic_arn: self.needed("Topic")?, filter })
    }

    fn bus(&mut self) -> Result<Source, Fault> {
        self.known.extend(["RuleName", "RetryPolicy", "Target"]);
        let (scope, line) = (self.scope, self.line);
        let pattern = self.node("Pattern").map_or(Ok(None), |node| scope.json(node))?;
        let pattern = pattern.ok_or_else(|| Fault::new(line, "the event needs `Pattern`"))?;
        let pattern =
            Pattern::read(&pattern).map_err(|message| Fault::new(line, format!("Pattern: {message}")))?;
        let bus = self.text("EventBusName")?.unwrap_or_else(|| DEFAULT_BUS.to_owned());
        let input = self.text("Input")?;
        if let Some(text) = &input {
            serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map_err(|error| Fault::new(line, format!("Input is no JSON: {error}")))?;
        }
        Ok(Source::Bus { bus: bus_name(&bus).to_owned(), pattern, input })
    }

    /// `FilterCriteria`, whose patterns are JSON in texts.
    fn filters(&mut self) -> Result<Vec<Pattern>, Fault> {
        let scope = self.scope;
        let list = self.node("FilterCriteria").and_then(|node| node.get("Filters")).and_then(Node::as_list);
        let read = |filter: &Node| {
            let wrong = |message: String| Fault::new(filter.line, format!("FilterCriteria: {message}"));
            let text = filter.get("Pattern").map_or(Ok(None), |node| scope.text(node))?;
            let text = text.ok_or_else(|| wrong("a filter needs a `Pattern`".to_owned()))?;
            let pattern = serde_json::from_str(&text).map_err(|error| wrong(format!("`{text}`: {error}")))?;
            Pattern::read(&pattern).map_err(wrong)
        };
        list.unwrap_or_default().iter().map(read).collect()
    }

    fn stream(&mut self, kinesis: bool) -> Result<Source, Fault> {
        let retries = self.text("MaximumRetryAttempts")?.filter(|text| text != "-1");
        let retries = match retries {
            None => None,
            Some(_) => self.number("MaximumRetryAttempts", 0..=10_000)?,
        };
        let from_start = match self.needed("StartingPosition")?.as_str() {
            "TRIM_HORIZON" => true,
            "LATEST" => false,
            other => {
                let message =
                    format!("StartingPosition `{other}`: the local target has TRIM_HORIZON and LATEST");
                return Err(Fault::unsupported(self.line, message));
            }
        };
        let kinds = self.texts("FunctionResponseTypes")?;
        Ok(Source::Stream(StreamSource {
            arn: self.needed("Stream")?,
            kinesis,
            batch_size: self.number("BatchSize", 1..=10_000)?.unwrap_or(100),
            from_start,
            partial_failures: kinds.iter().any(|kind| kind == "ReportBatchItemFailures"),
            retries,
            filters: self.filters()?,
        }))
    }

    fn bucket(&mut self) -> Result<Source, Fault> {
        let bucket = self.needed("Bucket")?;
        let events = self.texts("Events")?;
        if let Some(other) = events
            .iter()
            .find(|event| !event.starts_with("s3:ObjectCreated:") && !event.starts_with("s3:ObjectRemoved:"))
        {
            let message = format!(
                "the local target has no S3 event `{other}`: s3:ObjectCreated:* and s3:ObjectRemoved:* it has"
            );
            return Err(Fault::unsupported(self.line, message));
        }
        if events.is_empty() {
            return Err(Fault::new(self.line, "the event needs `Events`"));
        }
        let scope = self.scope;
        let (mut prefix, mut suffix) = (String::new(), String::new());
        let rules = self.node("Filter").and_then(|node| node.get("S3Key")).and_then(|node| node.get("Rules"));
        for rule in rules.and_then(Node::as_list).unwrap_or_default() {
            let value = rule.get("Value").map_or(Ok(None), |node| scope.text(node))?.unwrap_or_default();
            match rule.get("Name").and_then(Node::as_text).map(str::to_ascii_lowercase).as_deref() {
                Some("prefix") => prefix = value,
                Some("suffix") => suffix = value,
                _ => return Err(Fault::new(rule.line, "a rule of a filter is called `prefix` or `suffix`")),
            }
        }
        Ok(Source::S3 { bucket, events, prefix, suffix })
    }

    fn schedule(&mut self, key: &'static str) -> Result<Source, Fault> {
        self.known.extend(["Name", "Description", "RetryPolicy"]);
        let text = self.needed(key)?;
        let zone = if key == "ScheduleExpression" { self.text("ScheduleExpressionTimezone")? } else { None };
        let timing = Timing::read(&text, zone.as_deref()).map_err(|message| Fault {
            // `at(…)`, which fires once, is the one kind that AWS has besides.
            unsupported: text.starts_with("at("),
            ..Fault::new(self.line, message)
        })?;
        let of_scheduler = key == "ScheduleExpression";
        Ok(Source::Schedule { timing, input: self.text("Input")?, of_scheduler })
    }
}
