//! What a template declares beside functions and routes: resources of other services, event sources, state machines.

use std::time::Duration;

use serde_json::Value;

/// A resource that a service other than Lambda and API Gateway provides.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceResource {
    /// Key under `Resources`.
    pub logical_id: String,
    /// `AWS::SQS::Queue` and the like.
    pub kind: String,
    /// As the service knows it (`QueueName`, `BucketName` …): the template's, or one made of stack and logical id.
    pub name: String,
    /// Evaluated: without intrinsic functions, names filled in.
    pub properties: Value,
    pub line: usize,
}

/// Something that invokes a function with what a service holds or says.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSource {
    /// Logical id of the function.
    pub function: String,
    /// Key under `Events`.
    pub name: String,
    pub enabled: bool,
    pub source: Source,
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Sqs {
        queue_arn: String,
        /// 1 to 10 000, default 10.
        batch_size: u32,
        /// How long a batch is gathered: 0 to 300 s.
        window: Duration,
        /// `ReportBatchItemFailures`.
        partial_failures: bool,
        /// `ScalingConfig.MaximumConcurrency`.
        max_concurrency: Option<u32>,
    },
    S3 {
        bucket: String,
        /// `s3:ObjectCreated:*` and the like.
        events: Vec<String>,
        prefix: String,
        suffix: String,
    },
    Sns {
        topic_arn: String,
        /// `FilterPolicy`.
        filter: Option<Value>,
    },
    /// DynamoDB Streams or Kinesis.
    Stream {
        /// Of the table or the stream.
        arn: String,
        kinesis: bool,
        batch_size: u32,
        from_start: bool,
    },
    Schedule {
        every: Duration,
        input: Option<String>,
    },
    /// EventBridge, by pattern.
    Rule {
        bus: String,
        pattern: Value,
    },
}

/// A state machine of Step Functions.
#[derive(Clone, Debug, PartialEq)]
pub struct StateMachine {
    pub logical_id: String,
    pub name: String,
    pub arn: String,
    /// `EXPRESS` rather than `STANDARD`.
    pub express: bool,
    /// In the Amazon States Language, substitutions made.
    pub definition: Value,
    pub line: usize,
}
