//! Tables and buckets: resources that services of their own provide.

use serde_json::{Map, Value as Json, json};

use super::intrinsics::Scope;
use super::tree::{Fault, Node, Value};
use super::{Reader, Resource, entries, problem};

pub(super) const BUCKET: &str = "AWS::S3::Bucket";
pub(super) const TABLE: &str = "AWS::DynamoDB::Table";

/// A resource that a service other than Lambda and API Gateway provides.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceResource {
    /// Key under `Resources`.
    pub logical_id: String,
    /// As the service knows it: the template's, or one made of stack and logical id.
    pub name: String,
    pub service: Service,
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Service {
    S3Bucket,
    DynamoDbTable {
        /// Input of `CreateTable`, but for its name.
        definition: Json,
        /// Attribute whose time ends an item, of `TimeToLiveSpecification`.
        expires_by: Option<String>,
    },
}

/// Properties of a bucket that change nothing for the functions of one application.
const HARMLESS_OF_BUCKET: [&str; 8] = [
    "BucketName",
    "BucketEncryption",
    "LifecycleConfiguration",
    "OwnershipControls",
    "PublicAccessBlockConfiguration",
    "Tags",
    "AccessControl",
    "VersioningConfiguration",
];
/// What `CreateTable` takes as it stands in a template.
const OF_TABLE: [&str; 5] =
    ["AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes", "LocalSecondaryIndexes"];
const HARMLESS_OF_TABLE: [&str; 7] = [
    "TableName",
    "Tags",
    "SSESpecification",
    "PointInTimeRecoverySpecification",
    "DeletionProtectionEnabled",
    "TableClass",
    "ContributorInsightsSpecification",
];

impl Reader<'_> {
    /// The resource, if it is one of these.
    pub(super) fn service(&mut self, resource: &Resource<'_>, scope: &Scope<'_>) -> Option<ServiceResource> {
        let service = match resource.kind {
            BUCKET => {
                for entry in entries(resource.properties) {
                    if !HARMLESS_OF_BUCKET.contains(&entry.key.as_str()) {
                        self.not_there(resource, entry.line, &entry.key);
                    }
                }
                Service::S3Bucket
            }
            TABLE => self.table(resource, scope)?,
            _ => return None,
        };
        let name = scope.resources.get(resource.id)?.reference.clone();
        Some(ServiceResource { logical_id: resource.id.to_owned(), name, service, line: resource.line })
    }

    fn table(&mut self, resource: &Resource<'_>, scope: &Scope<'_>) -> Option<Service> {
        let mut definition = Map::new();
        let mut expires_by = None;
        let mut take = || -> Result<Vec<(usize, String)>, Fault> {
            let mut not_there = Vec::new();
            for entry in entries(resource.properties) {
                let key = entry.key.as_str();
                if OF_TABLE.contains(&key) {
                    if let Some(node) = scope.resolve(&entry.node)? {
                        definition.insert(key.to_owned(), input(&node)?);
                    }
                } else if key == "ProvisionedThroughput" {
                    if let Some(node) = scope.resolve(&entry.node)? {
                        definition.insert(key.to_owned(), throughput(&node)?);
                    }
                } else if key == "TimeToLiveSpecification" {
                    let node = entry.node.get("AttributeName");
                    expires_by = node.map(|node| scope.text(node)).transpose()?.flatten();
                } else if !HARMLESS_OF_TABLE.contains(&key) {
                    not_there.push((entry.line, entry.key.clone()));
                }
            }
            for needed in ["AttributeDefinitions", "KeySchema"] {
                if !definition.contains_key(needed) {
                    return Err(Fault::new(resource.line, format!("a table needs `{needed}`")));
                }
            }
            Ok(not_there)
        };
        match take() {
            Ok(not_there) => {
                for (line, key) in not_there {
                    self.not_there(resource, line, &key);
                }
            }
            Err(fault) => {
                self.problems.push(problem(Some(resource.id), fault));
                return None;
            }
        }
        // What the template does not say means provisioned, and then the service asks how much.
        if !definition.contains_key("BillingMode") && !definition.contains_key("ProvisionedThroughput") {
            definition.insert("BillingMode".to_owned(), json!("PAY_PER_REQUEST"));
        }
        Some(Service::DynamoDbTable { definition: definition.into(), expires_by })
    }

    fn not_there(&mut self, resource: &Resource<'_>, line: usize, key: &str) {
        let message = format!(
            "property `{key}` is not supported by the local target: remove it, or deploy to a cloud target"
        );
        self.unsupported(resource.id, line, message);
    }
}

/// A property as the input of an API: the same words, with numbers where the API has them.
fn input(node: &Node) -> Result<Json, Fault> {
    Ok(match &node.value {
        Value::Null => Json::Null,
        Value::Text(text) => json!(text),
        Value::List(items) => Json::Array(items.iter().map(input).collect::<Result<_, _>>()?),
        Value::Map(entries) => {
            let mut object = Map::new();
            for entry in entries {
                let value = match entry.key.as_str() {
                    "ProvisionedThroughput" => throughput(&entry.node)?,
                    _ => input(&entry.node)?,
                };
                object.insert(entry.key.clone(), value);
            }
            Json::Object(object)
        }
    })
}

fn throughput(node: &Node) -> Result<Json, Fault> {
    let mut object = Map::new();
    for entry in node.entries() {
        let number = entry
            .node
            .as_text()
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(|| Fault::new(entry.line, format!("`{}` must be a whole number", entry.key)))?;
        object.insert(entry.key.clone(), json!(number));
    }
    Ok(Json::Object(object))
}
