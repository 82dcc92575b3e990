//! Lambda's pollers of streams: one for each shard of a Kinesis stream, or for the changes of a table. Records come in order; a batch that
//! fails is tried again until it succeeds, or as often as the source says.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::super::context::{TraceContext, new_request_id};
use super::super::instances::Function;
use super::super::invoke::{Call, Runtime};
use super::super::segment::Flags;
use super::super::service_client::{ServiceClient, ServiceError};
use super::name_of;
use sb_daemon::Lifetime;
use sb_sam::StreamSource;

/// Before a failed batch is tried again, and while the function is throttled: doubled from the first to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(5);
/// The base rates at which Lambda asks: <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>, and the same for DynamoDB.
const KINESIS_EVERY: Duration = Duration::from_secs(1);
const DYNAMODB_EVERY: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub(super) struct Poller {
    pub runtime: Arc<Runtime>,
    pub client: ServiceClient,
    pub function: Arc<Function>,
    pub source: StreamSource,
}

/// What a batch came to.
enum Attempt {
    Done,
    /// The first so many records are done.
    Failed(usize),
}

impl Poller {
    /// Polls every shard that there is now, until the runtime stops.
    pub(super) async fn run(self, lifetime: Lifetime) {
        tokio::select! { () = lifetime.stopped() => {}, () = self.poll_all() => {} }
    }

    async fn poll_all(self) {
        match self.shards().await {
            Ok(shards) => {
                let polling = shards.into_iter().map(|(id, iterator)| self.poll(id, iterator));
                futures_util::future::join_all(polling).await;
            }
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&self, error: &ServiceError) {
        self.runtime.journal.note(&format!("stream `{}` cannot be polled: {error}", self.source.arn));
    }

    async fn ask(&self, operation: &str, input: &Value) -> Result<Value, ServiceError> {
        let (service, target) = if self.source.kinesis {
            ("kinesis", "Kinesis_20131202")
        } else {
            ("dynamodb", "DynamoDBStreams_20120810")
        };
        self.client.json(service, target, operation, input).await
    }

    /// Id and iterator of each shard.
    async fn shards(&self) -> Result<Vec<(String, String)>, ServiceError> {
        let (stream, shards) = if self.source.kinesis {
            let stream = json!({ "StreamName": name_of(&self.source.arn) });
            let listed = self.ask("ListShards", &stream).await?;
            (stream, listed["Shards"].clone())
        } else {
            // `…:table/NAME/stream/local`: the label that the service gave is not known beforehand.
            let table = self.source.arn.split('/').nth(1).unwrap_or_default();
            let listed = self.ask("ListStreams", &json!({ "TableName": table })).await?;
            let stream = json!({ "StreamArn": listed["Streams"][0]["StreamArn"] });
            let described = self.ask("DescribeStream", &stream).await?;
            (stream, described["StreamDescription"]["Shards"].clone())
        };
        let mut found = Vec::new();
        for shard in shards.as_array().into_iter().flatten() {
            let mut input = stream.clone();
            input["ShardId"] = shard["ShardId"].clone();
            input["ShardIteratorType"] =
                json!(if self.source.from_start { "TRIM_HORIZON" } else { "LATEST" });
            let output = self.ask("GetShardIterator", &input).await?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            found.push((text(&shard["ShardId"]), text(&output["ShardIterator"])));
        }
        Ok(found)
    }

    async fn poll(&self, shard: String, mut iterator: String) {
        let every = if self.source.kinesis { KINESIS_EVERY } else { DYNAMODB_EVERY };
        let mut complained = false;
        loop {
            let input = json!({ "ShardIterator": iterator, "Limit": self.source.batch_size });
            match self.ask("GetRecords", &input).await {
                Ok(output) => {
                    complained = false;
                    if let Some(next) = output["NextShardIterator"].as_str() {
                        next.clone_into(&mut iterator);
                    }
                    let found = output["Records"].as_array().map_or(&[][..], Vec::as_slice);
                    let full = found.len() as u64 == u64::from(self.source.batch_size);
                    let records = found.iter().map(|record| self.record(&shard, record));
                    let records = records.filter(|record| self.passes(record)).collect();
                    self.work_on(records).await;
                    if full {
                        continue;
                    }
                }
                Err(error) => {
                    if !complained {
                        self.complain(&error);
                    }
                    complained = true;
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Gives records to the function until it has taken them all, or its attempts are used up.
    async fn work_on(&self, mut records: Vec<Value>) {
        let mut backoff = FIRST_BACKOFF;
        let mut attempts = 0_u64;
        while !records.is_empty() {
            let done = match self.invoke(&records).await {
                Attempt::Done => return,
                Attempt::Failed(done) => done,
            };
            // Progress is a batch of its own.
            attempts = if done > 0 { 0 } else { attempts + 1 };
            records.drain(..done);
            if self.source.retries.is_some_and(|retries| attempts > u64::from(retries)) {
                self.runtime.journal.note(&format!(
                    "{} records of `{}` were given up by `{}` after {attempts} attempts",
                    records.len(),
                    self.source.arn,
                    self.function.spec.name
                ));
                return;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    async fn invoke(&self, records: &[Value]) -> Attempt {
        let mut backoff = FIRST_BACKOFF;
        let permit = loop {
            if let Some(permit) = self.runtime.machine.admit_event(&self.function) {
                break permit;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        };
        // Records do not say whose trace they belong to: a new one begins, as on AWS.
        let call = Call {
            function: self.function.clone(),
            request_id: new_request_id(),
            payload: Bytes::from(json!({ "Records": records }).to_string()),
            client_context: None,
            trace: TraceContext::from_header(None),
        };
        let head = self.runtime.lambda_head(&call);
        self.runtime.open(&call.trace, &head);
        let result = self.runtime.execute(&call, &head.id, permit).await.result;
        let flags = Flags::of_failure(result.is_err());
        let segment = self.runtime.lambda_segment(&call, head, 200, flags, Vec::new());
        self.runtime.close(&call.trace, &segment);
        match result {
            Err(_) => Attempt::Failed(0),
            Ok(answer) if self.source.partial_failures => judge(records, &answer),
            Ok(_) => Attempt::Done,
        }
    }

    fn passes(&self, record: &Value) -> bool {
        self.source.filters.is_empty()
            || self.source.filters.iter().any(|filter| {
                if !self.source.kinesis {
                    return filter.matches(record);
                }
                let mut fields = record["kinesis"].clone();
                let data =
                    fields["data"].as_str().and_then(|data| STANDARD.decode(data).ok()).unwrap_or_default();
                fields["data"] = if filter.looks_into("data") {
                    serde_json::from_slice(&data).unwrap_or_default()
                } else {
                    json!(String::from_utf8_lossy(&data))
                };
                filter.matches(&fields)
            })
    }

    /// The record as Lambda hands it to a function.
    fn record(&self, shard: &str, record: &Value) -> Value {
        if !self.source.kinesis {
            let mut record = record.clone();
            record["eventSourceARN"] = json!(self.source.arn);
            return record;
        }
        json!({
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": record["SequenceNumber"],
                "data": record["Data"],
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"],
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": format!("{shard}:{}", record["SequenceNumber"].as_str().unwrap_or_default()),
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": format!("arn:aws:iam::{}:role/local", self.runtime.account),
            "awsRegion": self.runtime.region,
            "eventSourceARN": self.source.arn,
        })
    }
}

/// With partial failures the answer names the first record that failed: all before it are done.
fn judge(records: &[Value], answer: &Bytes) -> Attempt {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let failures = match &answer["batchItemFailures"] {
        Value::Null => return Attempt::Done,
        Value::Array(failures) if failures.is_empty() => return Attempt::Done,
        Value::Array(failures) => failures,
        _ => return Attempt::Failed(0),
    };
    let number = |record: &Value| {
        let number =
            record.pointer("/kinesis/sequenceNumber").or_else(|| record.pointer("/dynamodb/SequenceNumber"));
        number.and_then(Value::as_str).map(str::to_owned)
    };
    let failed: Vec<Option<usize>> = failures
        .iter()
        .map(|failure| {
            let id = failure["itemIdentifier"].as_str()?;
            records.iter().position(|record| number(record).as_deref() == Some(id))
        })
        .collect();
    // A record that is not there, and the whole batch has failed.
    Attempt::Failed(failed.into_iter().min().flatten().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: Option<usize>) {
        let records: Vec<Value> =
            ["7", "8", "9"].iter().map(|number| json!({ "kinesis": { "sequenceNumber": number } })).collect();
        let done = match judge(&records, &Bytes::from(answer.to_owned())) {
            Attempt::Done => None,
            Attempt::Failed(done) => Some(done),
        };
        assert_eq!(done, expected, "{answer}");
    }

    #[test]
    fn an_answer_says_from_which_record_on_to_try_again() {
        for done in ["", "null", "{}", r#"{"batchItemFailures":[]}"#] {
            check(done, None);
        }
        check(r#"{"batchItemFailures":[{"itemIdentifier":"9"},{"itemIdentifier":"8"}]}"#, Some(1));
        check(r#"{"batchItemFailures":[{"itemIdentifier":"9"},{"itemIdentifier":"no"}]}"#, Some(0));
        check(r#"{"batchItemFailures":7}"#, Some(0));
    }
}
