//! The runtime's own calls of the services: unsigned, since moto checks no signature.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::invoke_api::TRACE_HEADER;
use sb_workload::template::percent_encoded;

/// More than any call of the runtime takes.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct ServiceClient {
    /// `127.0.0.1:PORT`
    address: String,
    region: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error("{action}: the services do not answer: {reason}")]
    Unreachable { action: String, reason: String },
    #[error("{action}: {status}: {body}")]
    Refused { action: String, status: u16, body: String },
    #[error("{action}: no JSON: {source}")]
    Malformed { action: String, source: serde_json::Error },
}

/// What S3 says of an object.
pub(super) struct Object {
    pub size: u64,
    /// Without its quotes.
    pub etag: String,
}

impl Object {
    pub(crate) fn of(headers: &HeaderMap, size: Option<u64>) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let length = || text(CONTENT_LENGTH).parse().unwrap_or_default();
        Self { size: size.unwrap_or_else(length), etag: text(ETAG).trim_matches('"').to_owned() }
    }
}

impl ServiceClient {
    pub(crate) fn new(address: &str, region: &str) -> Self {
        let client = client();
        Self { address: address.to_owned(), region: region.to_owned(), client }
    }

    /// A call of SQS: `operation` is `ReceiveMessage` and the like.
    pub(crate) async fn sqs(&self, operation: &str, input: &Value) -> Result<Value, ServiceError> {
        self.json("sqs", "AmazonSQS", operation, input).await
    }

    /// A call in the JSON protocol.
    pub(crate) async fn json(
        &self,
        service: &str,
        target: &str,
        operation: &str,
        input: &Value,
    ) -> Result<Value, ServiceError> {
        let request = Request::post(format!("http://{}/", self.address))
            .header(CONTENT_TYPE, "application/x-amz-json-1.0")
            .header("x-amz-target", format!("{target}.{operation}"));
        let answer = self.send(service, operation, request, input.to_string()).await?;
        let body = answer.into_body();
        serde_json::from_slice(if body.is_empty() { b"null" } else { &body })
            .map_err(|source| ServiceError::Malformed { action: operation.to_owned(), source })
    }

    /// Publishes a message, whose attributes are name, data type and value.
    pub(crate) async fn publish(
        &self,
        topic: &str,
        message: &str,
        attributes: &[(&str, &str, &str)],
        trace: &str,
    ) -> Result<(), ServiceError> {
        let mut form = vec![
            ("Action".to_owned(), "Publish"),
            ("Version".to_owned(), "2010-03-31"),
            ("TopicArn".to_owned(), topic),
            ("Message".to_owned(), message),
        ];
        for (place, (name, kind, value)) in attributes.iter().enumerate() {
            let key = |rest: &str| format!("MessageAttributes.entry.{}.{rest}", place + 1);
            form.extend([
                (key("Name"), *name),
                (key("Value.DataType"), *kind),
                (key("Value.StringValue"), *value),
            ]);
        }
        let form: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        let request = Request::post(format!("http://{}/", self.address))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(TRACE_HEADER, trace);
        self.send("sns", "Publish", request, form.join("&")).await.map(|_| ())
    }

    /// Has a call of API Gateway answered by Step Functions: status and body.
    pub(crate) async fn integrate(&self, call: &Value) -> Result<(u16, Bytes), ServiceError> {
        let request = Request::post(format!("http://{}/_sb/integration", self.address));
        let answer = self.exchange("states", "an integration", request, call.to_string()).await?;
        Ok((answer.status().as_u16(), answer.into_body()))
    }

    /// `path` is `/BUCKET/KEY`, escaped.
    pub(crate) async fn head_object(&self, path: &str) -> Result<Object, ServiceError> {
        let request = Request::builder().method(Method::HEAD).uri(format!("http://{}{path}", self.address));
        let answer = self.send("s3", "HeadObject", request, String::new()).await?;
        Ok(Object::of(answer.headers(), None))
    }

    /// An answer that is no success is an error.
    async fn send(
        &self,
        service: &str,
        action: &str,
        request: hyper::http::request::Builder,
        body: String,
    ) -> Result<Response<Bytes>, ServiceError> {
        let answer = self.exchange(service, action, request, body).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(ServiceError::Refused {
            action: action.to_owned(),
            status: answer.status().as_u16(),
            body: String::from_utf8_lossy(answer.body()).chars().take(600).collect(),
        })
    }

    async fn exchange(
        &self,
        service: &str,
        action: &str,
        request: hyper::http::request::Builder,
        body: String,
    ) -> Result<Response<Bytes>, ServiceError> {
        let unreachable = |reason: String| ServiceError::Unreachable { action: action.to_owned(), reason };
        // Which service is meant stands in the scope of the signature.
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=local/20260101/{}/{service}/aws4_request, SignedHeaders=host, Signature=none",
            self.region
        );
        let request = request
            .header(AUTHORIZATION, scope)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unreachable(error.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
            whole(answer).await.map_err(|error| error.to_string())
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| unreachable(format!("nothing within {} s", TIMEOUT.as_secs())))?
            .map_err(unreachable)
    }
}

pub(super) fn client<B: Body<Data: Send> + Send>() -> Client<HttpConnector, B> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// The answer with all of its body.
pub(super) async fn whole(answer: Response<Incoming>) -> Result<Response<Bytes>, hyper::Error> {
    let (parts, body) = answer.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}
