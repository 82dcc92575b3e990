//! AWS: whose account it is, and how much of Lambda may run in it at once.
//!
//! Lambda has one small request to answer, so it is signed here rather than through an SDK of its own, which is a large one.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_sts::error::SdkError;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls;
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use super::{answered, explained};

/// Larger than any answer about an account.
const ANSWER: usize = 1 << 20;

/// An account as its owner's credentials show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: String,
    /// Who asks.
    pub arn: String,
    pub region: String,
    /// How many executions may be under way at once in the region, less what single functions have reserved; or why that is
    /// not known.
    pub concurrency: Result<u64, String>,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    #[error("there are no AWS credentials here: {reason}")]
    NoCredentials { reason: String },
    #[error("no AWS region is set: give the parameter `region`, or set AWS_REGION")]
    NoRegion,
    #[error("AWS refused: {reason}")]
    Refused { reason: String },
    #[error("AWS cannot be reached: {reason}")]
    Unreachable { reason: String },
}

/// The SDK's own defaults, with the TLS that the rest of this program has.
pub(super) fn loader() -> ConfigLoader {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let client = aws_smithy_http_client::Builder::new().tls_provider(provider).build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(client)
}

/// The SDK's settings as the environment and the profile say them, with another region if one is given.
pub(super) async fn settings(region: Option<&str>) -> SdkConfig {
    let loader = loader();
    match region {
        Some(region) => loader.region(Region::new(region.to_owned())).load().await,
        None => loader.load().await,
    }
}

/// Looks an account up. Asks once, without retries: nothing depends on the answer.
pub async fn account(region: Option<&str>) -> Result<Account, AccountError> {
    let config = settings(region).await;
    let region = config.region().ok_or(AccountError::NoRegion)?.to_string();
    let credentials = config
        .credentials_provider()
        .ok_or_else(|| AccountError::NoCredentials { reason: "no way to get them is set up".to_owned() })?;
    let credentials = credentials
        .provide_credentials()
        .await
        .map_err(|error| AccountError::NoCredentials { reason: explained(&error) })?;
    let client = aws_sdk_sts::Client::new(&config);
    let identity = client.get_caller_identity().send().await.map_err(|error| {
        let reason = answered(&error);
        match error {
            SdkError::ServiceError(_) => AccountError::Refused { reason },
            _ => AccountError::Unreachable { reason },
        }
    })?;
    Ok(Account {
        id: identity.account().unwrap_or_default().to_owned(),
        arn: identity.arn().unwrap_or_default().to_owned(),
        concurrency: concurrency(&config, &region, credentials).await,
        region,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AccountSettings {
    account_limit: AccountLimit,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AccountLimit {
    concurrent_executions: u64,
    unreserved_concurrent_executions: Option<u64>,
}

/// GetAccountSettings of Lambda's API.
async fn concurrency(
    config: &SdkConfig,
    region: &str,
    credentials: aws_credential_types::Credentials,
) -> Result<u64, String> {
    let url = format!("{}/2016-08-19/account-settings/", lambda(config, region).trim_end_matches('/'));
    let identity = credentials.into();
    let signing = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("lambda")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?;
    let request = SignableRequest::new("GET", url.clone(), std::iter::empty(), SignableBody::Bytes(&[]))
        .map_err(|error| error.to_string())?;
    let signed = sign(request, &signing.into()).map_err(|error| error.to_string())?;
    let (instructions, _) = signed.into_parts();
    let mut request =
        hyper::Request::get(&url).body(Full::<Bytes>::default()).map_err(|error| error.to_string())?;
    instructions.apply_to_request_http1x(&mut request);

    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| error.to_string())?
        .https_or_http()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::ZERO).build(connector);
    let answer = client.request(request).await.map_err(|error| explained(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER).collect().await.map_err(|error| error.to_string())?;
    let body = body.to_bytes();
    if !status.is_success() {
        let said = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        return Err(format!("Lambda answers {status}: {said}"));
    }
    let settings: AccountSettings =
        serde_json::from_slice(&body).map_err(|error| format!("Lambda's answer cannot be read: {error}"))?;
    let limit = settings.account_limit;
    Ok(limit.unreserved_concurrent_executions.unwrap_or(limit.concurrent_executions))
}

/// As the SDK would find it: AWS_ENDPOINT_URL_LAMBDA, AWS_ENDPOINT_URL, the profile's `endpoint_url`, or Lambda's own.
fn lambda(config: &SdkConfig, region: &str) -> String {
    let key = ServiceConfigKey::builder()
        .service_id("Lambda")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok();
    let own = config.service_config().zip(key).and_then(|(service, key)| service.load_config(key));
    own.or_else(|| config.endpoint_url().map(str::to_owned)).unwrap_or_else(|| {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://lambda.{region}.{domain}")
    })
}
