//! Where functions find AWS (`AWS_ENDPOINT_URL`). The runtime answers calls of Lambda and X-Ray itself. Calls of a
//! service with a stand-in go there, and all others go on to the services. On the way messages get their sender's
//! trace, which moto does not give them, and event sources hear of what happened.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use super::context::TraceContext;
use super::http::{self, Answer};
use super::invoke::Runtime;
use super::invoke_api::{self, TRACE_HEADER, error, text};
use super::service_client::{client, whole};
use super::sources::{BusEvent, Delivery, Publication, Sources, changes, name_of};
use super::stand_in::StandIns;

/// More than the largest batch of messages, escaped.
const MAX_MESSAGES: usize = 8 * 1024 * 1024;

/// From the answer of a bucket or a bus to what it sets off. What came before the caller has read the answer would lie within the call, and no critical path
/// leads out of a call to what outlasts it.
const NOTIFIED_AFTER: Duration = Duration::from_millis(100);

pub(super) struct AwsProxy {
    runtime: Arc<Runtime>,
    sources: Arc<Sources>,
    /// `127.0.0.1:PORT`; none where the application has no resource for them.
    services: Option<String>,
    stand_ins: StandIns,
    client: Client<HttpConnector, Either<Incoming, Full<Bytes>>>,
}

impl AwsProxy {
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        sources: Arc<Sources>,
        services: Option<String>,
        stand_ins: StandIns,
    ) -> Self {
        Self { runtime, sources, services, stand_ins, client: client() }
    }

    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let service = service_of(&request).map(str::to_owned);
        if let Some("lambda" | "xray") = service.as_deref() {
            return invoke_api::answer(self.runtime.clone(), request).await;
        }
        self.runtime.machine.dynamics.service(service.as_deref().unwrap_or_default()).await;
        if let Some(stand_in) = service.as_deref().and_then(|service| self.stand_ins.of(service)) {
            return stand_in.answer(request, &self.runtime.journal).await;
        }
        let answer = match service.as_deref() {
            Some("sqs") => self.queue(request).await,
            Some("sns") => self.topic(request).await,
            Some("s3") => self.bucket(request).await,
            Some("events") => self.bus(request).await,
            _ => self.pass_on(request.map(Either::Left)).await,
        };
        answer.map_or_else(|refusal| refusal, |answer| answer.map(Full::new))
    }

    async fn queue(&self, request: Request<Incoming>) -> Result<Response<Bytes>, Answer> {
        let (mut request, mut body) = read(request).await?;
        let target = text(request.headers(), "x-amz-target").unwrap_or_default();
        let operation = target.strip_prefix("AmazonSQS.").unwrap_or_default().to_owned();
        let mut woken = None;
        if matches!(
            operation.as_str(),
            "SendMessage" | "SendMessageBatch" | "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch"
        ) && let Ok(mut input) = serde_json::from_slice::<Value>(&body)
        {
            woken = input["QueueUrl"].as_str().map(name_of);
            if operation.starts_with("Send")
                && let Some(header) = text(request.headers(), TRACE_HEADER.as_str())
                && add_trace(&mut input, header)
            {
                body = Bytes::from(input.to_string());
                request.headers_mut().remove(CONTENT_LENGTH);
            }
        }
        let answer = self.pass_on(request.map(|()| Either::Right(Full::new(body)))).await?;
        if let Some(queue) = woken {
            self.sources.wake_queue(&queue);
        }
        Ok(answer)
    }

    async fn topic(&self, request: Request<Incoming>) -> Result<Response<Bytes>, Answer> {
        let (request, body) = read(request).await?;
        let messages = Publication::of(&body);
        let trace = TraceContext::from_header(text(request.headers(), TRACE_HEADER.as_str()));
        let answer = self.pass_on(request.map(|()| Either::Right(Full::new(body)))).await?;
        if !messages.is_empty() && answer.status().is_success() {
            let said = String::from_utf8_lossy(answer.body()).into_owned();
            let sources = self.sources.clone();
            let delivery = Delivery::new(&self.runtime, "AWS::SNS", trace);
            tokio::spawn(async move { sources.published(messages, &said, delivery.trace()).await });
        }
        Ok(answer)
    }

    async fn bucket(&self, request: Request<Incoming>) -> Result<Response<Bytes>, Answer> {
        let change = changes(request.method(), request.uri(), request.headers())
            .filter(|change| self.sources.watch_bucket(change.bucket()));
        let trace = TraceContext::from_header(text(request.headers(), TRACE_HEADER.as_str()));
        let answer = self.pass_on(request.map(Either::Left)).await?;
        if let Some(change) = change
            && answer.status().is_success()
        {
            let (headers, said, sources) =
                (answer.headers().clone(), answer.body().clone(), self.sources.clone());
            let delivery = Delivery::new(&self.runtime, "AWS::S3", trace);
            tokio::spawn(async move {
                tokio::time::sleep(NOTIFIED_AFTER).await;
                sources.object_changed(change, &headers, &said, delivery.trace()).await;
            });
        }
        Ok(answer)
    }

    async fn bus(&self, request: Request<Incoming>) -> Result<Response<Bytes>, Answer> {
        let (request, body) = read(request).await?;
        if text(request.headers(), "x-amz-target") != Some("AWSEvents.PutEvents") {
            return self.pass_on(request.map(|()| Either::Right(Full::new(body)))).await;
        }
        let refuse = |message: &str| error(StatusCode::BAD_REQUEST, "ValidationException", message);
        let input = serde_json::from_slice::<Value>(&body)
            .map_err(|fault| refuse(&format!("the request is not JSON: {fault}")))?;
        let (output, events) = self.sources.put_events(&input).map_err(|message| refuse(&message))?;
        let trace = TraceContext::from_header(text(request.headers(), TRACE_HEADER.as_str()));
        let sources = self.sources.clone();
        let own = events.iter().filter_map(BusEvent::trace);
        let deliveries: Vec<Delivery> = own
            .chain([&trace])
            .map(|trace| Delivery::new(&self.runtime, "AWS::Events", trace.clone()))
            .collect();
        tokio::spawn(async move {
            tokio::time::sleep(NOTIFIED_AFTER).await;
            sources.events_put(events, trace);
            drop(deliveries);
        });
        let mut answer = Response::new(Bytes::from(output.to_string()));
        let kind = HeaderValue::from_static("application/x-amz-json-1.1");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(answer)
    }

    /// The `Host` stays: addresses in answers are made of it, and lead here.
    async fn pass_on(
        &self,
        mut request: Request<Either<Incoming, Full<Bytes>>>,
    ) -> Result<Response<Bytes>, Answer> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let Some(services) = &self.services else {
            let service = service_of(&request).unwrap_or("a request without a signature");
            let message = format!(
                "the local target has nothing for `{service}` here: the template has no table, bucket, queue or topic, and no stand-in is named for it"
            );
            self.runtime.journal.note(&message);
            return Err(error(StatusCode::BAD_REQUEST, "UnknownOperationException", &message));
        };
        let uri = Uri::builder().scheme("http").authority(services.as_str()).path_and_query(path).build();
        *request.uri_mut() =
            uri.map_err(|_| error(StatusCode::BAD_REQUEST, "InvalidRequest", "the address is malformed"))?;
        let failed = |message: String| {
            self.runtime.journal.note(&message);
            error(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &message)
        };
        let answer =
            self.client.request(request).await.map_err(|fault| {
                failed(format!("the services of the local target do not answer: {fault}"))
            })?;
        let mut answer = whole(answer)
            .await
            .map_err(|fault| failed(format!("the services of the local target broke off: {fault}")))?;
        // The body is whole now, and has its length.
        answer.headers_mut().remove(hyper::header::TRANSFER_ENCODING);
        answer.headers_mut().remove(hyper::header::CONNECTION);
        Ok(answer)
    }
}

/// A request and its body.
async fn read(request: Request<Incoming>) -> Result<(Request<()>, Bytes), Answer> {
    let (parts, body) = request.into_parts();
    match http::read_body(body, MAX_MESSAGES).await {
        Ok(body) => Ok((Request::from_parts(parts, ()), body)),
        Err(status) => Err(error(status, "InvalidRequest", "the request could not be read")),
    }
}

/// Gives each message the trace of the call that sends it, unless it has one. Whether any was changed.
fn add_trace(input: &mut Value, header: &str) -> bool {
    let add = |message: &mut Value| {
        let Some(message) = message.as_object_mut() else { return false };
        let attributes = message.entry("MessageSystemAttributes").or_insert_with(|| json!({}));
        let Some(attributes) = attributes.as_object_mut() else { return false };
        let given = attributes.contains_key("AWSTraceHeader");
        attributes
            .entry("AWSTraceHeader")
            .or_insert_with(|| json!({ "DataType": "String", "StringValue": header }));
        !given
    };
    match input.get_mut("Entries").and_then(Value::as_array_mut) {
        Some(entries) => entries.iter_mut().fold(false, |any, entry| add(entry) | any),
        None => add(input),
    }
}

/// The service that a call is for, from the scope of its signature: in a header, or in the query of a signed address.
fn service_of<B>(request: &Request<B>) -> Option<&str> {
    let scope = match request.headers().get(AUTHORIZATION).map(HeaderValue::to_str) {
        Some(Ok(header)) => header.split_once("Credential=")?.1.split([',', ' ']).next()?,
        _ => request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?,
    };
    // KEY/DATE/REGION/SERVICE/aws4_request; in a query the slashes are escaped.
    let mut parts = scope.split('/').flat_map(|part| part.split("%2F"));
    parts.nth(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: Option<&str>, uri: &str, expected: Option<&str>) {
        let mut request = Request::builder().uri(uri);
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        assert_eq!(service_of(&request.body(()).unwrap()), expected);
    }

    #[test]
    fn messages_get_the_trace_of_their_call_but_keep_one_of_their_own() {
        let own = json!({ "AWSTraceHeader": { "DataType": "String", "StringValue": "own" } });
        let call = json!({ "AWSTraceHeader": { "DataType": "String", "StringValue": "call" } });
        let mut one = json!({ "QueueUrl": "q", "MessageBody": "x" });
        assert!(add_trace(&mut one, "call"));
        assert_eq!(one["MessageSystemAttributes"], call);
        let mut many = json!({ "Entries": [{ "Id": "1", "MessageSystemAttributes": own }, { "Id": "2" }] });
        assert!(add_trace(&mut many, "call"));
        assert_eq!(many["Entries"][0]["MessageSystemAttributes"], own);
        assert_eq!(many["Entries"][1]["MessageSystemAttributes"], call);
        for mut odd in [
            json!(7),
            json!({ "MessageSystemAttributes": 7 }),
            json!({ "Entries": [7] }),
            json!({ "Entries": [] }),
        ] {
            assert!(!add_trace(&mut odd, "call"), "{odd}");
        }
    }

    #[test]
    fn the_scope_of_a_signature_names_the_service() {
        let header = "AWS4-HMAC-SHA256 Credential=local/20261126/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
        check(Some(header), "/", Some("dynamodb"));
        check(
            None,
            "/bucket/key?X-Amz-Credential=local%2F20261126%2Fus-east-1%2Fs3%2Faws4_request",
            Some("s3"),
        );
        check(Some("Bearer x"), "/", None);
        check(Some("AWS4-HMAC-SHA256 Credential=local"), "/", None);
        check(None, "/", None);
    }
}
