//! AWS: whose account it is, and how much of Lambda may run in it at once.

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_sts::error::SdkError;
use aws_smithy_http_client::tls;
use serde::Deserialize;

use super::signed::{self, Question};
use super::{answered, explained};

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
    credentials
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
        concurrency: concurrency(&config, &region).await,
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
async fn concurrency(config: &SdkConfig, region: &str) -> Result<u64, String> {
    let question = Question {
        service: "Lambda",
        signed_as: "lambda",
        method: "GET",
        path: "/2016-08-19/account-settings/".to_owned(),
        headers: Vec::new(),
        body: String::new(),
    };
    let (status, body) = signed::ask(config, region, &question).await?;
    if !(200..300).contains(&status) {
        let said = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        return Err(format!("Lambda answers {status}: {said}"));
    }
    let settings: AccountSettings =
        serde_json::from_slice(&body).map_err(|error| format!("Lambda's answer cannot be read: {error}"))?;
    let limit = settings.account_limit;
    Ok(limit.unreserved_concurrent_executions.unwrap_or(limit.concurrent_executions))
}
