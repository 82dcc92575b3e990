//! Where functions find AWS (`AWS_ENDPOINT_URL`): calls of Lambda and X-Ray are answered by the runtime, all others go on to the
//! services.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::http::{self, Answer};
use super::invoke::Runtime;
use super::invoke_api::{self, error};

pub(super) struct AwsProxy {
    runtime: Arc<Runtime>,
    /// `127.0.0.1:PORT`
    services: String,
    client: Client<HttpConnector, Incoming>,
}

impl AwsProxy {
    pub fn new(runtime: Arc<Runtime>, services: String) -> Self {
        Self { runtime, services, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let service = service_of(&request).map(str::to_owned);
        match service.as_deref() {
            Some("lambda" | "xray") => invoke_api::answer(self.runtime.clone(), request).await,
            _ => self.pass_on(request).await,
        }
    }

    /// The `Host` stays: addresses in answers are made of it, and lead here.
    async fn pass_on(&self, mut request: Request<Incoming>) -> Answer {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri =
            Uri::builder().scheme("http").authority(self.services.as_str()).path_and_query(path).build();
        let Ok(uri) = uri else {
            return error(StatusCode::BAD_REQUEST, "InvalidRequest", "the address is malformed");
        };
        *request.uri_mut() = uri;
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(fault) => {
                let message = format!("the services of the local target do not answer: {fault}");
                self.runtime.journal.note(&message);
                return error(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &message);
            }
        };
        let (mut parts, body) = answer.into_parts();
        match body.collect().await {
            Ok(body) => {
                // The body is whole now, and has its length.
                parts.headers.remove(hyper::header::TRANSFER_ENCODING);
                parts.headers.remove(hyper::header::CONNECTION);
                Answer::from_parts(parts, http_body_util::Full::new(body.to_bytes()))
            }
            Err(fault) => {
                let message = format!("the services of the local target broke off: {fault}");
                self.runtime.journal.note(&message);
                http::json(StatusCode::BAD_GATEWAY, &serde_json::json!({ "message": message }))
            }
        }
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
