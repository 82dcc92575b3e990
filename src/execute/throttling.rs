//! Whether a command failed because a cloud was asked too much too fast. Clouds and their tools have words for it,
//! which are looked for near the end of the command's output.

use std::path::Path;

use memchr::memmem;

use crate::attempt::{self, LOG_FILE};
use sb_plan::event::{Failure, FailureClass, Outcome};

/// Words that clouds use for nothing else, by where they come from. Each counts only as a whole word. Left out are
/// codes that also stand for quotas, which waiting does not raise (`LimitExceededException`).
const WORDS: &[(&str, &[&str])] = &[
    (
        // The codes after which AWS's own SDKs slow down: AWS SDKs and Tools Reference Guide, "Retry behavior".
        "AWS",
        &[
            "(Throttling)",
            "code: Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "ProvisionedThroughputExceeded",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "PriorRequestNotComplete",
            "EC2ThrottledException",
            "SlowDown",
            // The message that goes with them, which is all that CloudFormation passes on.
            "Rate exceeded",
        ],
    ),
    (
        // Azure Resource Manager, "Understand how Azure Resource Manager throttles requests".
        "Azure",
        &["TooManyRequests", "SubscriptionRequestsThrottled", "ResourceRequestsThrottled"],
    ),
    (
        // google.rpc.Code 8, and the reasons of the JSON interfaces: Cloud APIs, "Errors".
        "Google Cloud",
        &["RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded"],
    ),
    (
        // RFC 6585, section 4, as curl, Terraform, Pulumi and the CLIs of clouds print it.
        "HTTP",
        &[
            "429 Too Many Requests",
            "HTTP 429",
            "HTTP/1.1 429",
            "HTTP/2 429",
            "status code: 429",
            "StatusCode=429",
        ],
    ),
];

/// A failure of the step's own work, told more exactly where its log knows better.
pub(super) fn told_apart(outcome: Outcome, folder: &Path) -> Outcome {
    match outcome {
        Outcome::Failed(Failure { class: FailureClass::Step, message }) => {
            // A log that cannot be read leaves the failure what it is.
            match attempt::tail(&folder.join(LOG_FILE)).ok().as_deref().and_then(found) {
                Some((cloud, word)) => Outcome::failed(
                    FailureClass::Throttled,
                    format!("{message}; it was throttled ({cloud}: `{word}`)"),
                ),
                None => Outcome::failed(FailureClass::Step, message),
            }
        }
        other => other,
    }
}

/// Whose word it is, and the word.
fn found(text: &[u8]) -> Option<(&'static str, &'static str)> {
    let words = WORDS.iter().flat_map(|(cloud, words)| words.iter().map(move |word| (*cloud, *word)));
    let mut words = words;
    words.find(|(_, word)| {
        memmem::find_iter(text, word).any(|start| {
            let before = start.checked_sub(1).map(|index| text[index]);
            let after = text.get(start + word.len()).copied();
            !before.is_some_and(of_a_word) && !after.is_some_and(of_a_word)
        })
    })
}

fn of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &str, expected: Option<&str>) {
        assert_eq!(found(said.as_bytes()).map(|(_, word)| word), expected, "{said}");
    }

    #[test]
    fn the_words_of_clouds_are_known() {
        check(
            "An error occurred (ThrottlingException) when calling the UpdateStack operation",
            Some("ThrottlingException"),
        );
        check("An error occurred (Throttling) when calling X: Rate exceeded", Some("(Throttling)"));
        check("Resource handler returned message: \"Rate exceeded (Service: Iam)\"", Some("Rate exceeded"));
        check(
            "ProvisionedThroughputExceededException: The level of configured provisioned throughput",
            Some("ProvisionedThroughputExceededException"),
        );
        check("{\"error\":{\"code\":\"TooManyRequests\"}}", Some("TooManyRequests"));
        check("ERROR: (gcloud.run.deploy) RESOURCE_EXHAUSTED: Quota", Some("RESOURCE_EXHAUSTED"));
        check("curl: (22) The requested URL returned error: HTTP/2 429", Some("HTTP/2 429"));
        check("Error: 429 Too Many Requests", Some("429 Too Many Requests"));
    }

    #[test]
    fn other_words_are_none_of_them() {
        check("", None);
        check("test MyThrottlingExceptionTest ... FAILED", None);
        check("NO_RESOURCE_EXHAUSTED_HERE", None);
        check("Throttling is off; HTTP 4290; LimitExceededException", None);
        check("wrote 429 files", None);
    }

    #[test]
    fn only_failures_of_the_steps_work_are_looked_at_and_only_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let failed = |class| Outcome::failed(class, "exit code 1");
        let class = |outcome: Outcome| match outcome {
            Outcome::Failed(failure) => failure.class,
            other => panic!("{other}"),
        };
        let told = |outcome| told_apart(outcome, folder.path());
        assert_eq!(class(told(failed(FailureClass::Step))), FailureClass::Step, "there is no log");

        let log = folder.path().join(LOG_FILE);
        std::fs::write(&log, "so it begins\nSlowDown: please reduce your rate\n").unwrap();
        assert_eq!(class(told(failed(FailureClass::Step))), FailureClass::Throttled);
        assert_eq!(class(told(failed(FailureClass::TimedOut))), FailureClass::TimedOut);
        assert_eq!(told(Outcome::Succeeded), Outcome::Succeeded);
        assert!(told(failed(FailureClass::Step)).to_string().contains("exit code 1"));

        let long = "SlowDown\n".to_owned() + &"later\n".repeat(20_000);
        std::fs::write(&log, long).unwrap();
        assert_eq!(class(told(failed(FailureClass::Step))), FailureClass::Step);
    }
}
