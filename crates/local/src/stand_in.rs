//! Stand-ins of AWS services: programs beside the local target that answer the calls of one service each. The local target starts none
//! and ends none; it passes calls on.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, TRANSFER_ENCODING};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;

use super::LocalError;
use super::http::Answer;
use super::invoke_api::error;
use super::service_client::{client, whole};
use sb_daemon::Journal;

/// As long as AWS's SDKs wait for an answer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Those of one application, by the name of the service in signatures.
pub(super) struct StandIns(BTreeMap<String, StandIn>);

pub(super) struct StandIn {
    service: String,
    /// `http://HOST:PORT`, and a path, if there is one: without a slash at the end.
    url: String,
    client: Client<HttpConnector, Incoming>,
}

impl StandIns {
    pub(super) fn new(urls: &BTreeMap<String, String>) -> Result<Self, LocalError> {
        let client = client();
        let made = urls.iter().map(|(service, url)| {
            let usable =
                url.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.query().is_none());
            if !usable {
                return Err(LocalError::StandIn { service: service.clone(), url: url.clone() });
            }
            let url = url.trim_end_matches('/').to_owned();
            Ok((service.clone(), StandIn { service: service.clone(), url, client: client.clone() }))
        });
        made.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(&self, service: &str) -> Option<&StandIn> {
        self.0.get(service)
    }
}

impl StandIn {
    /// What the stand-in answers. The `Host` stays that of the local target: there a stand-in finds the other services, such as
    /// the bucket that a call names.
    pub(super) async fn answer(&self, mut request: Request<Incoming>, journal: &Journal) -> Answer {
        let failed = |how: &str| {
            let Self { service, url, .. } = self;
            let message = format!("the stand-in for `{service}` at {url} {how}");
            journal.note(&message);
            error(StatusCode::BAD_GATEWAY, "BadGateway", &message)
        };
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        match format!("{}{path}", self.url).parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(fault) => return failed(&format!("cannot be asked for `{path}`: {fault}")),
        }
        let exchange = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|fault| format!("does not answer: {}; does it run?", cause(&fault)))?;
            whole(answer).await.map_err(|fault| format!("broke off its answer: {fault}"))
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(Ok(mut answer)) => {
                // The body is whole now, and has its length.
                answer.headers_mut().remove(TRANSFER_ENCODING);
                answer.headers_mut().remove(CONNECTION);
                answer.map(Full::new)
            }
            Ok(Err(how)) => failed(&how),
            Err(_) => failed(&format!("has not answered within {} s", TIMEOUT.as_secs())),
        }
    }
}

/// The innermost reason, such as "Connection refused (os error 111)".
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<&str>) {
        let made = StandIns::new(&BTreeMap::from([("rekognition".to_owned(), url.to_owned())]));
        match (&made, expected) {
            (Ok(made), Some(expected)) => assert_eq!(made.of("rekognition").unwrap().url, expected),
            (Err(error), None) => assert!(error.to_string().contains(&format!("`{url}`")), "{error}"),
            _ => panic!("{url}"),
        }
    }

    #[test]
    fn a_stand_in_has_a_plain_http_url() {
        check("http://127.0.0.1:80", Some("http://127.0.0.1:80"));
        check("http://127.0.0.1:80/base/", Some("http://127.0.0.1:80/base"));
        check("https://127.0.0.1:80", None);
        check("http://127.0.0.1:80/?a=b", None);
        check("127.0.0.1", None);
        check("", None);
    }
}
