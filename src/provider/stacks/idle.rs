//! What resources cost while nothing uses them. List prices of us-east-1 in US dollars, as the services publish them on
//! `https://aws.amazon.com/SERVICE/pricing/`, known to hold in June 2025: an order of magnitude, not a bill.

use std::collections::{BTreeMap, BTreeSet};

/// Hours of a day, and days of a month as AWS counts it.
const HOURS: f64 = 24.0;
const DAYS: f64 = 30.4;

/// What one kind of resource costs while nothing uses it.
enum Idle {
    Nothing,
    /// So many dollars a day, for the smallest one.
    PerDay(f64),
    /// By what it holds.
    Stored,
}

/// None: it is not known.
fn of_kind(kind: &str) -> Option<Idle> {
    let (service, rest) = kind.strip_prefix("AWS::")?.split_once("::")?;
    Some(match (service, rest) {
        ("S3", "Bucket") | ("Logs", "LogGroup") | ("DynamoDB", "Table") | ("Rekognition", "Collection") => {
            Idle::Stored
        }
        // One shard that was made ahead.
        ("Kinesis", "Stream") => Idle::PerDay(0.015 * HOURS),
        ("EC2", "NatGateway") => Idle::PerDay(0.045 * HOURS),
        ("EC2", "EIP") => Idle::PerDay(0.005 * HOURS),
        ("ElasticLoadBalancingV2", "LoadBalancer") => Idle::PerDay(0.0225 * HOURS),
        ("SecretsManager", "Secret") => Idle::PerDay(0.40 / DAYS),
        ("KMS", "Key") => Idle::PerDay(1.00 / DAYS),
        ("CloudWatch", "Alarm") => Idle::PerDay(0.10 / DAYS),
        (
            "EC2",
            "VPC"
            | "Subnet"
            | "SecurityGroup"
            | "RouteTable"
            | "Route"
            | "InternetGateway"
            | "VPCGatewayAttachment"
            | "SubnetRouteTableAssociation",
        )
        | ("RDS", "DBSubnetGroup" | "DBParameterGroup" | "DBClusterParameterGroup")
        | ("S3", "BucketPolicy")
        | ("Logs", "SubscriptionFilter" | "MetricFilter")
        | ("KMS", "Alias")
        | ("XRay", "ResourcePolicy" | "SamplingRule" | "Group")
        | (
            "Lambda" | "ApiGateway" | "ApiGatewayV2" | "SQS" | "SNS" | "Events" | "Scheduler"
            | "StepFunctions" | "IAM" | "CloudFormation" | "Cognito",
            _,
        ) => Idle::Nothing,
        _ => return None,
    })
}

/// The kind of a resource outside of any stack, by its ARN.
fn kind_of(arn: &str) -> Option<&'static str> {
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, rest) = (parts.next()?, parts.nth(2)?);
    Some(match (service, rest.split_once([':', '/']).map_or("", |(kind, _)| kind)) {
        ("s3", _) => "AWS::S3::Bucket",
        ("logs", "log-group") => "AWS::Logs::LogGroup",
        ("dynamodb", "table") => "AWS::DynamoDB::Table",
        ("kinesis", "stream") => "AWS::Kinesis::Stream",
        ("lambda", _) => "AWS::Lambda::Function",
        ("apigateway", _) => "AWS::ApiGateway::RestApi",
        ("sqs", _) => "AWS::SQS::Queue",
        ("sns", _) => "AWS::SNS::Topic",
        ("events", _) => "AWS::Events::Rule",
        ("states", _) => "AWS::StepFunctions::StateMachine",
        ("iam", _) => "AWS::IAM::Role",
        ("secretsmanager", _) => "AWS::SecretsManager::Secret",
        _ => return None,
    })
}

/// What some resources cost while nothing uses them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct IdleCost {
    /// US dollars a day, at least.
    pub usd_per_day: f64,
    /// How many are charged by what they hold, by their kind.
    pub stored: BTreeMap<String, usize>,
    /// Kinds, or services, whose price is not known here.
    pub unknown: BTreeSet<String>,
}

impl IdleCost {
    pub(super) fn add_kind(&mut self, kind: &str) {
        match of_kind(kind) {
            Some(Idle::Nothing) => {}
            Some(Idle::PerDay(usd)) => self.usd_per_day += usd,
            Some(Idle::Stored) => *self.stored.entry(kind.to_owned()).or_default() += 1,
            None => {
                self.unknown.insert(kind.to_owned());
            }
        }
    }

    pub(super) fn add_arn(&mut self, arn: &str) {
        match kind_of(arn) {
            Some(kind) => self.add_kind(kind),
            None => {
                self.unknown.insert(arn.split(':').nth(2).unwrap_or(arn).to_owned());
            }
        }
    }

    /// In words: `at least $0.36 a day; …`.
    pub(crate) fn text(&self) -> String {
        let mut text = match self.usd_per_day {
            usd if usd > 0.0 => format!("at least ${usd:.2} a day"),
            _ if self.unknown.is_empty() => "nothing by the hour".to_owned(),
            _ => "not known".to_owned(),
        };
        let stored: Vec<_> = self.stored.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if !stored.is_empty() {
            text = format!("{text}; and by what is stored in {}", stored.join(", "));
        }
        if !self.unknown.is_empty() {
            let unknown: Vec<_> = self.unknown.iter().map(String::as_str).collect();
            text = format!("{text}; no price is known here of {}", unknown.join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kinds: &[&str], arns: &[&str], expected: &str) {
        let mut cost = IdleCost::default();
        for kind in kinds {
            cost.add_kind(kind);
        }
        for arn in arns {
            cost.add_arn(arn);
        }
        assert_eq!(cost.text(), expected);
    }

    #[test]
    fn what_is_not_known_is_not_nothing() {
        check(&["AWS::Lambda::Function", "AWS::IAM::Role"], &[], "nothing by the hour");
        check(&[], &[], "nothing by the hour");
        check(
            &["AWS::Kinesis::Stream", "AWS::Kinesis::Stream", "AWS::S3::Bucket"],
            &["arn:aws:s3:::code"],
            "at least $0.72 a day; and by what is stored in 2 AWS::S3::Bucket",
        );
        check(
            &["AWS::RDS::DBCluster", "Custom::Thing", "AWS::RDS::DBSubnetGroup"],
            &["arn:aws:unheard:us-east-1:123456789012:of/x"],
            "not known; no price is known here of AWS::RDS::DBCluster, Custom::Thing, unheard",
        );
    }
}
