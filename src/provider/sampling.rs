//! AWS: sampling rules of X-Ray, which decide how many of the requests that come without a decision are traced.

use aws_sdk_xray::Client;
use aws_sdk_xray::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_xray::types::{SamplingRule, SamplingRuleUpdate};

use super::account::settings;
use super::answered;

/// The rule by which X-Ray keeps everything: of all rules it is asked first.
pub const RULE: &str = "NoSampling";
const ANY: &str = "*";

/// What becomes of requests under the rules of an account.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every request is traced.
    Complete,
    /// The first rule that lets requests go untraced.
    Loses {
        rule: String,
        /// Share of the requests beyond the reservoir that is traced.
        rate: f64,
        /// It looks at some requests only: names, paths, services.
        narrow: bool,
    },
}

/// What was done for the rule to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Created,
    Corrected,
    WasThere,
}

#[derive(Debug, thiserror::Error)]
#[error("X-Ray's sampling rules cannot be {doing}: {reason}")]
pub struct SamplingError {
    doing: &'static str,
    reason: String,
}

fn failed<E, R>(doing: &'static str) -> impl FnOnce(SdkError<E, R>) -> SamplingError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    move |error| SamplingError { doing, reason: answered(&error) }
}

/// What the rules of the region keep; `None`: of the environment's or the profile's region.
pub async fn verdict(region: Option<&str>) -> Result<Verdict, SamplingError> {
    let client = Client::new(&settings(region).await);
    Ok(judge(rules(&client).await?))
}

async fn rules(client: &Client) -> Result<Vec<SamplingRule>, SamplingError> {
    let mut rules = Vec::new();
    let mut pages = client.get_sampling_rules().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed("read"))?;
        rules
            .extend(page.sampling_rule_records().iter().filter_map(|record| record.sampling_rule().cloned()));
    }
    Ok(rules)
}

/// Rules are asked in the order of their priority, then of their names; the first that matches decides.
fn judge(mut rules: Vec<SamplingRule>) -> Verdict {
    rules.sort_by(|a, b| (a.priority(), a.rule_name()).cmp(&(b.priority(), b.rule_name())));
    for rule in &rules {
        let everything = matches_everything(rule);
        match (rule.fixed_rate() >= 1.0, everything) {
            (true, true) => return Verdict::Complete,
            (true, false) => {}
            (false, _) => {
                return Verdict::Loses {
                    rule: rule.rule_name().unwrap_or("without a name").to_owned(),
                    rate: rule.fixed_rate(),
                    narrow: !everything,
                };
            }
        }
    }
    // Every account has a rule `Default`; X-Ray's own, where it does not show.
    Verdict::Loses { rule: "Default".to_owned(), rate: 0.05, narrow: false }
}

fn matches_everything(rule: &SamplingRule) -> bool {
    let parts = [
        rule.service_name(),
        rule.service_type(),
        rule.host(),
        rule.http_method(),
        rule.url_path(),
        rule.resource_arn(),
    ];
    parts.into_iter().all(|part| part == ANY)
        && rule.attributes().is_none_or(std::collections::HashMap::is_empty)
}

/// Makes the rule, or makes it right; changes nothing if it is. Also gives the region it was made in.
pub async fn create(region: Option<&str>) -> Result<(Made, Option<String>), SamplingError> {
    let config = settings(region).await;
    let region = config.region().map(ToString::to_string);
    let client = Client::new(&config);
    let found = rules(&client).await?.into_iter().find(|rule| rule.rule_name() == Some(RULE));
    let made = match found {
        Some(rule) if matches_everything(&rule) && rule.fixed_rate() >= 1.0 && rule.priority() == 1 => {
            Made::WasThere
        }
        Some(_) => {
            let update = SamplingRuleUpdate::builder()
                .rule_name(RULE)
                .priority(1)
                .fixed_rate(1.0)
                .reservoir_size(1)
                .service_name(ANY)
                .service_type(ANY)
                .host(ANY)
                .http_method(ANY)
                .url_path(ANY)
                .resource_arn(ANY)
                .set_attributes(Some(std::collections::HashMap::new()))
                .build();
            client
                .update_sampling_rule()
                .sampling_rule_update(update)
                .send()
                .await
                .map_err(failed("corrected"))?;
            Made::Corrected
        }
        None => {
            let rule = SamplingRule::builder()
                .rule_name(RULE)
                .priority(1)
                .fixed_rate(1.0)
                .reservoir_size(1)
                .service_name(ANY)
                .service_type(ANY)
                .host(ANY)
                .http_method(ANY)
                .url_path(ANY)
                .resource_arn(ANY)
                .version(1)
                .build()
                .map_err(|error| SamplingError { doing: "created", reason: error.to_string() })?;
            client.create_sampling_rule().sampling_rule(rule).send().await.map_err(failed("created"))?;
            Made::Created
        }
    };
    Ok((made, region))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, priority: i32, rate: f64, path: &str) -> SamplingRule {
        SamplingRule::builder()
            .rule_name(name)
            .priority(priority)
            .fixed_rate(rate)
            .reservoir_size(1)
            .service_name(ANY)
            .service_type(ANY)
            .host(ANY)
            .http_method(ANY)
            .url_path(path)
            .resource_arn(ANY)
            .version(1)
            .build()
            .unwrap()
    }

    #[track_caller]
    fn check(rules: &[(&str, i32, f64, &str)], expected: Option<(&str, bool)>) {
        let rules =
            rules.iter().map(|(name, priority, rate, path)| rule(name, *priority, *rate, path)).collect();
        match (judge(rules), expected) {
            (Verdict::Complete, None) => {}
            (Verdict::Loses { rule, narrow, .. }, Some(expected)) => {
                assert_eq!((rule.as_str(), narrow), expected);
            }
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn traces_are_complete_when_a_full_rule_for_everything_comes_before_every_other() {
        let default = ("Default", 10_000, 0.05, "*");
        check(&[default], Some(("Default", false)));
        check(&[], Some(("Default", false)));
        check(&[default, (RULE, 1, 1.0, "*")], None);
        check(&[("first", 1, 0.5, "/api/*"), (RULE, 1, 1.0, "*"), default], None);
        check(&[("first", 1, 0.5, "/api/*"), (RULE, 2, 1.0, "*"), default], Some(("first", true)));
        check(&[("full for some", 1, 1.0, "/api/*"), default], Some(("Default", false)));
        check(&[("full for some", 1, 1.0, "/api/*"), (RULE, 5, 1.0, "*"), default], None);
    }
}
