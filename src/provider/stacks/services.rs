//! Whether a resource that the index of tags names is there: the index goes on naming what was deleted for hours, so each
//! service is asked for its own.

use bytes::Bytes;

use super::super::pace::back_off;
use super::super::signed::{Question, ask};
use super::call::call;
use super::{Aws, Class, StackError, purge};

/// Of a question that is throttled, or gets no answer.
const TRIES: u32 = 8;

/// The parts of `arn:aws:SERVICE:REGION:ACCOUNT:REST`.
fn parts(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let service = parts.nth(2)?;
    Some((service, parts.nth(2)?))
}

/// What a service is asked about a resource. None: it is not known how.
fn question(arn: &str) -> Option<Question<'static>> {
    let (service, rest) = parts(arn)?;
    let last = rest.rsplit(['/', ':']).next().unwrap_or(rest);
    let get = |service: &'static str, signed_as: &'static str, path: String| {
        Some(Question { service, signed_as, method: "GET", path, headers: vec![], body: String::new() })
    };
    let json =
        |service: &'static str, signed_as: &'static str, target: &'static str, key: &str, value: &str| {
            let body = serde_json::json!({ key: value }).to_string();
            let version = if ["dynamodb", "states", "sqs"].contains(&signed_as) { "1.0" } else { "1.1" };
            let kind =
                if version == "1.0" { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" };
            let headers = vec![("content-type", kind), ("x-amz-target", target)];
            Some(Question { service, signed_as, method: "POST", path: "/".to_owned(), headers, body })
        };
    let query = |service: &'static str, signed_as: &'static str, body: String| {
        let headers = vec![("content-type", "application/x-www-form-urlencoded")];
        Some(Question { service, signed_as, method: "POST", path: "/".to_owned(), headers, body })
    };
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let (kind, name) = rest.split_once([':', '/']).unwrap_or(("", rest));
    match (service, kind) {
        ("lambda", "function") => get("Lambda", "lambda", format!("/2015-03-31/functions/{name}")),
        ("lambda", "event-source-mapping") => {
            get("Lambda", "lambda", format!("/2015-03-31/event-source-mappings/{name}"))
        }
        ("apigateway", _) => {
            let mut path = rest.trim_start_matches('/').split('/');
            match (path.next()?, path.next()?) {
                ("restapis", id) => get("API Gateway", "apigateway", format!("/restapis/{id}")),
                ("apis", id) => get("ApiGatewayV2", "apigateway", format!("/v2/apis/{id}")),
                _ => None,
            }
        }
        ("dynamodb", "table") => {
            json("DynamoDB", "dynamodb", "DynamoDB_20120810.DescribeTable", "TableName", last)
        }
        ("sqs", _) => json("SQS", "sqs", "AmazonSQS.GetQueueUrl", "QueueName", last),
        ("states", "stateMachine") => {
            json("SFN", "states", "AWSStepFunctions.DescribeStateMachine", "stateMachineArn", arn)
        }
        ("kinesis", "stream") => {
            json("Kinesis", "kinesis", "Kinesis_20131202.DescribeStreamSummary", "StreamName", last)
        }
        ("rekognition", "collection") => {
            json("Rekognition", "rekognition", "RekognitionService.DescribeCollection", "CollectionId", last)
        }
        ("events", "rule") => json("EventBridge", "events", "AWSEvents.DescribeRule", "Name", last),
        ("sns", _) => {
            let body = format!("Action=GetTopicAttributes&Version=2010-03-31&TopicArn={}", encoded(arn));
            query("SNS", "sns", body)
        }
        ("rds", "db" | "cluster" | "subgrp") => {
            let (action, key) = match kind {
                "db" => ("DescribeDBInstances", "DBInstanceIdentifier"),
                "cluster" => ("DescribeDBClusters", "DBClusterIdentifier"),
                _ => ("DescribeDBSubnetGroups", "DBSubnetGroupName"),
            };
            query("RDS", "rds", format!("Action={action}&Version=2014-10-31&{key}={}", encoded(last)))
        }
        ("ec2", "vpc" | "subnet" | "security-group") => {
            let (action, key) = match kind {
                "vpc" => ("DescribeVpcs", "VpcId"),
                "subnet" => ("DescribeSubnets", "SubnetId"),
                _ => ("DescribeSecurityGroups", "GroupId"),
            };
            query("EC2", "ec2", format!("Action={action}&Version=2016-11-15&{key}.1={}", encoded(last)))
        }
        _ => None,
    }
}

/// Whether services say of a resource that it is not there, by the words of their errors.
fn is_absence(status: u16, text: &str) -> bool {
    let words = [
        "NotFound",
        "NonExistent",
        "DoesNotExist",
        "does not exist",
        "StateMachineDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
    ];
    (400..500).contains(&status) && words.iter().any(|word| text.contains(word))
}

/// Whether the resource of an ARN is there. What cannot be asked about counts as there: unknown is not gone.
pub(super) async fn is_there(aws: &Aws, arn: &str) -> Result<bool, StackError> {
    let rest = parts(arn).map(|(_, rest)| rest).unwrap_or_default();
    match parts(arn).map(|(service, _)| service) {
        Some("s3") => return purge::has_bucket(aws, rest).await,
        Some("logs") => {
            let name = rest.strip_prefix("log-group:").unwrap_or(rest);
            return purge::has_log_group(aws, name.trim_end_matches(":*")).await;
        }
        Some("cloudformation") => return Ok(aws.stack(arn).await?.is_some()),
        _ => {}
    }
    let Some(question) = question(arn) else { return Ok(true) };
    let cannot =
        |reason: &str| StackError::said(format!("cannot ask whether `{arn}` is still there"), reason);
    let (status, body) = answer(aws, &question).await.map_err(|reason| cannot(&reason))?;
    if (200..300).contains(&status) {
        return Ok(true);
    }
    let text = shown(&body);
    if is_absence(status, &text) || status == 404 && Class::of(&text) == Class::Other {
        return Ok(false);
    }
    Err(cannot(&format!("{status} {text}")))
}

/// What a service says to a question, which is asked again as long as it is throttled or gets no proper answer. Otherwise why
/// there is none.
pub(super) async fn answer(aws: &Aws, question: &Question<'_>) -> Result<(u16, Bytes), String> {
    let mut tries = 0;
    loop {
        tries += 1;
        let reason = match ask(&aws.config, &aws.region, question).await {
            Ok((status, body)) if status < 400 => return Ok((status, body)),
            Ok((status, body)) => {
                let text = shown(&body);
                if status < 500 && status != 429 && Class::of(&text) != Class::Throttled {
                    return Ok((status, body));
                }
                format!("{status} {text}")
            }
            Err(reason) => reason,
        };
        if tries == TRIES {
            return Err(reason);
        }
        tokio::time::sleep(back_off(tries)).await;
    }
}

/// The beginning of an answer, for people and for the words in it.
pub(super) fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(500).collect()
}

/// The ARNs that the index of tags has, by the value of the deployment's tag. None: of all deployments.
pub(super) async fn tagged(aws: &Aws, deployment: Option<&str>) -> Result<Vec<(String, Tags)>, StackError> {
    use aws_sdk_resourcegroupstagging::types::TagFilter;
    let filter = TagFilter::builder()
        .key(super::DEPLOYMENT_TAG)
        .set_values(deployment.map(|value| vec![value.to_owned()]))
        .build();
    let mut found = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let page = call(|| {
            let request = aws.tagging.get_resources().tag_filters(filter.clone());
            request.set_pagination_token(token.clone()).send()
        })
        .await
        .map_err(|refused| {
            StackError::refused("cannot ask for what carries the deployment's tag", &refused)
        })?;
        for resource in page.resource_tag_mapping_list() {
            let Some(arn) = resource.resource_arn() else { continue };
            let tags = resource.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned()));
            found.push((arn.to_owned(), tags.collect()));
        }
        token = page.pagination_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(found);
        }
    }
}

/// Tags of a resource.
pub(super) type Tags = std::collections::BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arn: &str, expected: &str) {
        let found = question(arn).map(|it| format!("{} {} {}{}", it.signed_as, it.method, it.path, it.body));
        assert_eq!(found.unwrap_or_default(), expected);
    }

    #[test]
    fn each_service_is_asked_for_its_own() {
        check(
            "arn:aws:lambda:us-east-1:123456789012:function:hello",
            "lambda GET /2015-03-31/functions/hello",
        );
        check("arn:aws:apigateway:us-east-1::/restapis/a1b2/stages/v1", "apigateway GET /restapis/a1b2");
        check("arn:aws:apigateway:us-east-1::/apis/a1b2", "apigateway GET /v2/apis/a1b2");
        check(
            "arn:aws:dynamodb:us-east-1:123456789012:table/todos",
            "dynamodb POST /{\"TableName\":\"todos\"}",
        );
        check("arn:aws:sqs:us-east-1:123456789012:jobs", "sqs POST /{\"QueueName\":\"jobs\"}");
        check(
            "arn:aws:sns:us-east-1:123456789012:news",
            "sns POST /Action=GetTopicAttributes&Version=2010-03-31&TopicArn=arn%3Aaws%3Asns%3Aus%2Deast%2D1%3A123456789012%3Anews",
        );
        check("arn:aws:unheard:us-east-1:123456789012:of/x", "");
        check("no ARN", "");
    }

    #[test]
    fn only_the_words_of_absence_are_taken_for_it() {
        assert!(is_absence(404, "{\"__type\":\"ResourceNotFoundException\"}"));
        assert!(is_absence(400, "com.amazonaws.dynamodb#ResourceNotFoundException"));
        assert!(!is_absence(403, "AccessDenied"));
        assert!(!is_absence(500, "NotFound"));
        assert!(!is_absence(200, "NotFound"));
    }
}
