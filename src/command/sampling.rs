//! `sb init aws --xray-sampling`.

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use crate::exit_code::Exit;
use crate::provider::sampling::{self, Made, RULE};
use crate::settings::Settings;
use crate::terminal::Terminal;

/// In this region, or that of the environment or the profile; with the user's own credentials.
pub(super) async fn create(terminal: &Terminal, settings: &Settings, region: Option<&str>) -> Outcome {
    let (made, region) = sampling::create(region).await.map_err(|error| {
        let help = "needs xray:GetSamplingRules, xray:CreateSamplingRule and xray:UpdateSamplingRule; the region is that of \
                    --region, AWS_REGION or the profile";
        Failed::helped(Exit::Failed, error.to_string(), help)
    })?;
    let place = region.as_deref().unwrap_or("an unknown region");
    let remove = format!("aws xray delete-sampling-rule --rule-name {RULE} --region {place}");
    let word = match made {
        Made::Created => "created",
        Made::Corrected => "corrected",
        Made::WasThere => "was there",
    };
    if settings.json() {
        let all =
            json!({ "version": 1, "rule": RULE, "region": region, "made": word, "remove_with": remove });
        terminal.data(&format!("{all:#}"))?;
    } else {
        terminal.say(&format!(
            "sampling rule {RULE} {word} in {place}: X-Ray keeps every trace of every service, and charges for each.\n\
             X-Ray's clients learn of it within some 10 s. Remove it with: {remove}"
        ));
    }
    Ok(Exit::Done)
}
