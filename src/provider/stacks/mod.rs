//! AWS: templates that become stacks of CloudFormation, and everything that goes with them.
//!
//! [`deploy::deploy`] and [`remove::remove`] can be called again at any time, by the same process or by a later one: each looks
//! first at what is there. What belongs to a deployment is known by names that are drawn once ([`Names`]) and by tags.

pub(crate) mod account;
pub(crate) mod assembly;
mod call;
pub(crate) mod deploy;
mod events;
mod executions;
mod idle;
mod package;
mod purge;
pub(crate) mod remove;
mod services;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::account::settings;
use super::signed::given_endpoint;
use call::{Refused, call};

/// A request without an answer by then has failed. The largest code that Lambda takes needs a minute on a slow line.
const ANSWER_WITHIN: Duration = Duration::from_mins(10);

/// The tag that says to which deployment something belongs. Nothing without it is ever removed.
pub(crate) const DEPLOYMENT_TAG: &str = "sb:deployment";
pub(crate) const RUN_TAG: &str = "sb:run";
pub(crate) const BENCHMARK_TAG: &str = "sb:benchmark";
pub(crate) const WORKSPACE_TAG: &str = "sb:workspace";
/// The machine that has the workspace.
pub(crate) const HOST_TAG: &str = "sb:host";
pub(crate) const TARGET_TAG: &str = "sb:target";
/// Characters of the value of a tag, as all services take it.
const LONGEST_TAG: usize = 256;
/// Characters of the part of a stack's name that tells its application.
const LONGEST_NAME: usize = 60;

/// How a stack and its bucket are called. Drawn once for a deployment, and written down before anything is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Names {
    /// Of this shape: 1.
    pub version: u32,
    /// Of the stack.
    pub stack: String,
    /// Where the code is uploaded.
    pub bucket: String,
    /// None: the one that the environment or the profile says.
    pub region: Option<String>,
    /// The value of the tag of all that belongs to it.
    pub deployment: String,
    /// What a stack that is being removed had, which is not known any more when it is gone.
    #[serde(default)]
    pub had: Had,
}

/// What of a stack may outlive it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Had {
    pub buckets: Vec<String>,
    pub log_groups: Vec<String>,
}

impl Names {
    /// Names that nobody else has: sixteen digits of them are random.
    pub(crate) fn draw(benchmark: &str, deployment: &str, region: Option<String>) -> Self {
        let drawn = format!("{:016x}", rand::rng().random::<u64>());
        let plain: String = benchmark
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(LONGEST_NAME)
            .collect();
        Self {
            version: 1,
            stack: format!("sb-{}-{drawn}", plain.trim_matches('-')),
            bucket: format!("sb-code-{drawn}"),
            region,
            deployment: format!("{}/{drawn}", &first(&tag_value(deployment), LONGEST_TAG - 1 - drawn.len())),
            had: Had::default(),
        }
    }
}

fn first(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// A text as the value of a tag: of the letters that all services take, and not too long.
pub(crate) fn tag_value(text: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
    text.chars().map(|c| if allowed(c) { c } else { '-' }).take(LONGEST_TAG).collect()
}

/// Why something could not be done with a stack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct StackError {
    pub class: Class,
    pub message: String,
}

/// What kind of failure it is, by AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Asked too much too fast: later it may work.
    Throttled,
    /// A quota of the account is used up: waiting does not help.
    Limit,
    /// Something of that name is there already.
    Exists,
    /// The credentials do not allow it, or are none.
    Unauthorised,
    /// AWS has no more of it now: later, or elsewhere, it may work.
    NoCapacity,
    /// No answer at all.
    Unreachable,
    Other,
}

impl Class {
    /// By a code, such as `AccessDenied`, or by the sentence that CloudFormation passes on.
    pub(super) fn of(text: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(&["Throttl", "Rate exceeded", "TooManyRequests", "RequestLimitExceeded", "SlowDown"]) {
            Self::Throttled
        } else if has(&["LimitExceeded", "limit exceeded", "QuotaExceeded", "quota", "TooManyBuckets"]) {
            Self::Limit
        } else if has(&["AlreadyExists", "already exists", "BucketAlreadyOwnedByYou", "EntityAlreadyExists"])
        {
            Self::Exists
        } else if has(&[
            "AccessDenied",
            "not authorized",
            "UnauthorizedOperation",
            "ExpiredToken",
            "InvalidClientTokenId",
            "UnrecognizedClient",
            "SignatureDoesNotMatch",
        ]) {
            Self::Unauthorised
        } else if has(&["InsufficientCapacity", "insufficient capacity", "InsufficientInstanceCapacity"]) {
            Self::NoCapacity
        } else {
            Self::Other
        }
    }

    /// What to do about it. Empty: AWS's own words say it, or nothing is known.
    fn way_out(self) -> &'static str {
        match self {
            Self::Throttled => "; try again later, or deploy fewer applications at once",
            Self::Limit => "; remove what is not needed, or have the quota raised (Service Quotas)",
            Self::Exists => "; remove it, or give the resource a name that differs by deployment",
            Self::Unauthorised => {
                "; check the credentials and their permissions (`aws sts get-caller-identity` shows whose they are)"
            }
            Self::NoCapacity => "; try again later, or in another region",
            Self::Unreachable => "; check the network, the region and the endpoint",
            Self::Other => "",
        }
    }
}

impl StackError {
    /// A failure that is described by `what`, and explained by AWS's words.
    fn said(what: impl std::fmt::Display, words: &str) -> Self {
        let class = Class::of(words);
        Self { class, message: format!("{what}: {words}{}", class.way_out()) }
    }

    fn other(message: impl Into<String>) -> Self {
        Self { class: Class::Other, message: message.into() }
    }

    fn refused(what: &str, refused: &Refused) -> Self {
        let class = if refused.is_silence { Class::Unreachable } else { Class::of(&refused.text) };
        Self { class, message: format!("{what}: {}{}", refused.text, class.way_out()) }
    }
}

/// The services, as the environment and the profile say.
pub(crate) struct Aws {
    pub(super) cloudformation: aws_sdk_cloudformation::Client,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) logs: aws_sdk_cloudwatchlogs::Client,
    pub(super) tagging: aws_sdk_resourcegroupstagging::Client,
    pub(super) config: SdkConfig,
    pub(super) region: String,
}

impl Aws {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// No region is known, or no credentials are there.
    pub(crate) async fn open(region: Option<&str>) -> Result<Self, StackError> {
        use aws_credential_types::provider::ProvideCredentials as _;
        let config = settings(region).await;
        let Some(region) = config.region().map(ToString::to_string) else {
            return Err(StackError::other(
                "no AWS region is set: give the parameter `region`, or set AWS_REGION",
            ));
        };
        let provided = match config.credentials_provider() {
            Some(provider) => provider.provide_credentials().await.map_err(|error| super::explained(&error)),
            None => Err("no way to get them is set up".to_owned()),
        };
        if let Err(reason) = provided {
            let message = format!(
                "there are no AWS credentials here: {reason}; `sb login aws --executor host` gets some"
            );
            return Err(StackError { class: Class::Unauthorised, message });
        }
        let config = config
            .to_builder()
            // Requests are sent again here, after all that may pass.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ANSWER_WITHIN).build())
            .build();
        // Stand-ins have one host name for all buckets.
        let one_host = given_endpoint(&config, "S3").is_some();
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(one_host).build();
        Ok(Self {
            cloudformation: aws_sdk_cloudformation::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            tagging: aws_sdk_resourcegroupstagging::Client::new(&config),
            config,
            region,
        })
    }

    /// Where the services are.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Asks for a stack that is not there yet: nothing is made.
    ///
    /// # Errors
    /// CloudFormation does not answer, or does not allow it.
    pub(crate) async fn expect_answer(&self, name: &str) -> Result<(), StackError> {
        self.stack(name).await.map(drop).map_err(|error| match error.class {
            Class::Unreachable => {
                StackError { message: format!("{} (region `{}`)", error.message, self.region), ..error }
            }
            _ => error,
        })
    }

    /// The stack of a name or an id. None: there is none, or it is deleted.
    pub(super) async fn stack(&self, name: &str) -> Result<Option<Stack>, StackError> {
        let described = call(|| self.cloudformation.describe_stacks().stack_name(name).send()).await;
        match described {
            Ok(found) => {
                Ok(found.stacks().first().map(Stack::read).filter(|it| it.status != "DELETE_COMPLETE"))
            }
            Err(refused) if refused.text.contains("does not exist") => Ok(None),
            Err(refused) => Err(StackError::refused(&format!("cannot look at the stack `{name}`"), &refused)),
        }
    }
}

/// A stack as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stack {
    pub name: String,
    /// Other than the name, of this stack alone: one that is made again has another.
    pub id: String,
    /// `CREATE_COMPLETE` …
    pub status: String,
    pub reason: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub outputs: BTreeMap<String, String>,
    /// Milliseconds since 1970.
    pub made_ms: Option<i64>,
}

impl Stack {
    fn read(stack: &aws_sdk_cloudformation::types::Stack) -> Self {
        let pair = |key: Option<&str>, value: Option<&str>| Some((key?.to_owned(), value?.to_owned()));
        Self {
            name: stack.stack_name().unwrap_or_default().to_owned(),
            id: stack.stack_id().or(stack.stack_name()).unwrap_or_default().to_owned(),
            status: stack.stack_status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
            reason: stack.stack_status_reason().map(str::to_owned),
            tags: stack.tags().iter().filter_map(|tag| pair(tag.key(), tag.value())).collect(),
            outputs: stack
                .outputs()
                .iter()
                .filter_map(|it| pair(it.output_key(), it.output_value()))
                .collect(),
            made_ms: stack.creation_time().and_then(|time| time.to_millis().ok()),
        }
    }

    fn is_moving(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS") && self.status != "REVIEW_IN_PROGRESS"
    }

    /// A stack of this name that another deployment has made is never touched.
    fn expect_ours(&self, names: &Names) -> Result<(), StackError> {
        if self.tags.get(DEPLOYMENT_TAG) == Some(&names.deployment) {
            return Ok(());
        }
        let whose = match self.tags.get(DEPLOYMENT_TAG) {
            Some(other) => format!("belongs to the deployment `{other}`"),
            None => "was not made by `sb`".to_owned(),
        };
        Err(StackError {
            class: Class::Exists,
            message: format!(
                "the stack `{}` {whose}, and is left alone; look at it with `aws cloudformation describe-stacks \
                 --stack-name {}`",
                self.name, self.name
            ),
        })
    }
}
