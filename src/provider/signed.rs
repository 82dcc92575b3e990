//! Requests to services of AWS that have one small question to answer: signed here, since an SDK of its own for each would make
//! the program larger by megabytes.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::explained;

/// Larger than any answer that is asked for.
const ANSWER: usize = 1 << 20;

/// A question.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    /// As the SDKs call the service, for endpoints that are set for it alone: `API Gateway`.
    pub service: &'a str,
    /// As it is called in signatures and in its host name: `apigateway`.
    pub signed_as: &'a str,
    pub method: &'a str,
    /// With the query.
    pub path: String,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: String,
}

/// Status and body of the answer.
pub(super) async fn ask(
    config: &SdkConfig,
    region: &str,
    question: &Question<'_>,
) -> Result<(u16, Bytes), String> {
    let provider = config.credentials_provider().ok_or("no way to get AWS credentials is set up")?;
    let credentials = provider.provide_credentials().await.map_err(|error| explained(&error))?;
    let host = endpoint(config, question, region);
    let url = format!("{}{}", host.trim_end_matches('/'), question.path);
    let identity = credentials.into();
    let signing = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(question.signed_as)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?;
    let signable = SignableRequest::new(
        question.method,
        url.clone(),
        question.headers.iter().copied(),
        SignableBody::Bytes(question.body.as_bytes()),
    );
    let signed = sign(signable.map_err(|error| error.to_string())?, &signing.into());
    let (instructions, _) = signed.map_err(|error| error.to_string())?.into_parts();
    let mut request = hyper::Request::builder().method(question.method).uri(&url);
    for (name, value) in &question.headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::from(question.body.clone()));
    let mut request = request.body(body).map_err(|error| error.to_string())?;
    instructions.apply_to_request_http1x(&mut request);

    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| error.to_string())?
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::ZERO).build(connector);
    let answer = client.request(request).await.map_err(|error| explained(&error))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER).collect().await.map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
}

/// As the SDK would find it: AWS_ENDPOINT_URL_SERVICE, AWS_ENDPOINT_URL, the profile's `endpoint_url`, or the service's own.
fn endpoint(config: &SdkConfig, question: &Question<'_>, region: &str) -> String {
    given_endpoint(config, question.service).unwrap_or_else(|| {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://{}.{region}.{domain}", question.signed_as)
    })
}

/// The endpoint of a service that the environment or the profile sets. None: it is AWS's own.
pub(super) fn given_endpoint(config: &SdkConfig, service: &str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok();
    let own = config.service_config().zip(key).and_then(|(service, key)| service.load_config(key));
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}
