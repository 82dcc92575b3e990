//! Calls of AWS services, in the two protocols that their stand-in needs, unsigned: it checks no signature.

use std::fmt::Write as _;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

#[derive(Clone)]
pub(super) struct ServiceClient {
    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub base: String,
    region: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Longer than SQS's long poll.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error("{action}: the services of the local target do not answer: {reason}")]
    Unreachable { action: String, reason: String },
    #[error("{action}: {status}: {body}")]
    Refused { action: String, status: u16, body: String },
    #[error("{action}: no JSON: {source}")]
    Malformed { action: String, source: serde_json::Error },
}

impl ServiceClient {
    pub fn new(base: String, region: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { base, region: region.to_owned(), client }
    }

    /// A call in the JSON protocol: `target` is `AmazonSQS.ReceiveMessage`, `DynamoDB_20120810.GetItem` …
    pub async fn json(
        &self,
        service: &str,
        version: &str,
        target: &str,
        body: &Value,
    ) -> Result<Value, ServiceError> {
        let request = Request::post(format!("{}/", self.base))
            .header(CONTENT_TYPE, format!("application/x-amz-json-{version}"))
            .header("x-amz-target", target);
        let body = self.send(service, target, request, body.to_string()).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body)
            .map_err(|source| ServiceError::Malformed { action: target.to_owned(), source })
    }

    /// A call in the query protocol (SNS, CloudFormation …); the answer is XML.
    pub async fn query(
        &self,
        service: &str,
        version: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String, ServiceError> {
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            let _ = write!(form, "&{name}={}", encode(value));
        }
        let request = Request::post(format!("{}/", self.base))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let body = self.send(service, action, request, form).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn send(
        &self,
        service: &str,
        action: &str,
        request: hyper::http::request::Builder,
        body: String,
    ) -> Result<Bytes, ServiceError> {
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
            let answer =
                self.client.request(request).await.map_err(|error| unreachable(error.to_string()))?;
            let status = answer.status();
            let body = answer.into_body().collect().await.map_err(|error| unreachable(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| unreachable(format!("no answer within {} s", TIMEOUT.as_secs())))??;
        if status.is_success() {
            return Ok(body);
        }
        Err(ServiceError::Refused {
            action: action.to_owned(),
            status: status.as_u16(),
            body: String::from_utf8_lossy(&body).chars().take(600).collect(),
        })
    }
}

/// For a form: all but letters, digits and `-_.~` as `%XX`.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
