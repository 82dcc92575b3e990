//! What of a template lies on this machine and has to be uploaded before CloudFormation can deploy it.
//!
//! The places are those that the
//! [reference of SAM and CloudFormation](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-template-resource-type-ref.html)
//! gives for code and documents in buckets. The template's text is changed at these places alone, so that its lines stay those
//! of the file.

use std::collections::BTreeMap;
use std::ops::Range;

use super::tree::{Fault, Node, Value};
use super::{Problem, Severity, Template, entries, problem};

/// A file or folder of this machine that a template names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Key under `Resources`; none for one of `Globals`.
    pub resource: Option<String>,
    /// `CodeUri`, `ContentUri` …
    pub property: String,
    /// As written: relative to the template's folder, or absolute.
    pub path: String,
    /// Of the value, 1-based.
    pub line: usize,
    /// Whether a folder is to be packed as a zip archive, as code is; documents are uploaded as they are.
    pub is_code: bool,
    /// Where the value stands in the text, its quotation marks included.
    place: Range<usize>,
    form: Form,
}

/// How a resource names an object in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `s3://BUCKET/KEY`
    Uri,
    /// A table of these two keys.
    Table(&'static str, &'static str),
}

/// Type, property, form, and whether it is code.
const PLACES: [(&str, &str, Form, bool); 9] = [
    ("AWS::Serverless::Function", "CodeUri", Form::Uri, true),
    ("AWS::Serverless::LayerVersion", "ContentUri", Form::Uri, true),
    ("AWS::Serverless::Api", "DefinitionUri", Form::Uri, false),
    ("AWS::Serverless::HttpApi", "DefinitionUri", Form::Uri, false),
    ("AWS::Serverless::StateMachine", "DefinitionUri", Form::Uri, false),
    ("AWS::Lambda::Function", "Code", Form::Table("S3Bucket", "S3Key"), true),
    ("AWS::Lambda::LayerVersion", "Content", Form::Table("S3Bucket", "S3Key"), true),
    ("AWS::StepFunctions::StateMachine", "DefinitionS3Location", Form::Table("Bucket", "Key"), false),
    ("AWS::ApiGateway::RestApi", "BodyS3Location", Form::Table("Bucket", "Key"), false),
];

/// Types that name other templates, which would have to be packaged, too.
const NESTED: [(&str, &str); 2] =
    [("AWS::Serverless::Application", "Location"), ("AWS::CloudFormation::Stack", "TemplateURL")];

impl Template {
    /// The files and folders that must be uploaded, in the order of the text.
    ///
    /// # Errors
    /// Each part that names something local in a way that cannot be packaged: a nested template, a function without
    /// code, a path on several lines.
    pub fn assets(&self) -> Result<Vec<Asset>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut assets = Vec::new();
        let global = self.root.get("Globals").and_then(|globals| globals.get("Function"));
        let mut take = |property: &str, resource: Option<&str>, node: &Node, form: Form, is_code: bool| {
            let Some(text) = node.as_text() else { return };
            if is_remote(text) {
                return;
            }
            match &node.place {
                Some(place) => assets.push(Asset {
                    resource: resource.map(str::to_owned),
                    property: property.to_owned(),
                    path: text.to_owned(),
                    line: node.line,
                    is_code,
                    place: place.clone(),
                    form,
                }),
                None => problems.push(Problem {
                    severity: Severity::Error,
                    resource: resource.map(str::to_owned),
                    line: node.line,
                    message: format!(
                        "`{property}` cannot be packaged in this form: write the path on one line, without an alias"
                    ),
                }),
            }
        };
        if let Some(node) = global.and_then(|global| global.get("CodeUri")) {
            take("CodeUri", None, node, Form::Uri, true);
        }
        for entry in entries(self.root.get("Resources")) {
            let kind = entry.node.get("Type").and_then(Node::as_text).unwrap_or_default();
            let properties = entry.node.get("Properties");
            for (of, property, form, is_code) in PLACES {
                if let Some(node) = properties.filter(|_| of == kind).and_then(|it| it.get(property)) {
                    take(property, Some(&entry.key), node, form, is_code);
                }
            }
        }
        for entry in entries(self.root.get("Resources")) {
            if let Some(fault) = unpackaged(&entry.node, global) {
                problems.push(problem(Some(&entry.key), fault));
            }
        }
        if problems.is_empty() { Ok(assets) } else { Err(problems) }
    }

    /// The text with each asset in a bucket, as CloudFormation takes it. `key` gives an asset's key.
    pub fn packaged(&self, assets: &[Asset], bucket: &str, key: impl Fn(&Asset) -> String) -> String {
        let mut text = String::with_capacity(self.source.len() + 128 * assets.len());
        let mut rest = 0;
        for asset in assets {
            text.push_str(&self.source[rest..asset.place.start]);
            let key = key(asset);
            // Words that both YAML and JSON have.
            text.push_str(&match asset.form {
                Form::Uri => format!("\"s3://{bucket}/{key}\""),
                Form::Table(of_bucket, of_key) => {
                    format!("{{\"{of_bucket}\": \"{bucket}\", \"{of_key}\": \"{key}\"}}")
                }
            });
            rest = asset.place.end;
        }
        text.push_str(&self.source[rest..]);
        text
    }

    /// On which line a resource begins, 1-based. Resources that SAM makes of another have its name as their beginning.
    pub fn line_of(&self, resource: &str) -> Option<usize> {
        let all = entries(self.root.get("Resources"));
        let exact = all.iter().find(|entry| entry.key == resource);
        let begun = || {
            let fitting = all.iter().filter(|entry| resource.starts_with(&entry.key));
            fitting.max_by_key(|entry| entry.key.len())
        };
        exact.or_else(begun).map(|entry| entry.line)
    }

    /// The parameters of the template that have a value here, by the template's own names: `memory_size` gives
    /// `MemorySize`.
    pub fn given_parameters(&self, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let names = self.parameter_names().into_iter();
        names
            .filter_map(|name| Some((name.clone(), super::parameters::overriding(given, &name)?.clone())))
            .collect()
    }

    /// The output that is the base URL of the application: the one called `Endpoint`, in whatever case, or else the
    /// only one whose value is the address of an API.
    pub fn endpoint_output(&self) -> Option<String> {
        let outputs = entries(self.root.get("Outputs"));
        let called = outputs.iter().find(|entry| entry.key.eq_ignore_ascii_case("endpoint"));
        let mut addresses = outputs.iter().filter(|entry| entry.node.get("Value").is_some_and(names_api));
        let only = || match (addresses.next(), addresses.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        called.or_else(only).map(|entry| entry.key.clone())
    }
}

fn names_api(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) | Value::Plain(text) => text.contains(".execute-api."),
        Value::List(items) => items.iter().any(names_api),
        Value::Map(entries) => entries.iter().any(|entry| names_api(&entry.node)),
        Value::Null => false,
    }
}

fn is_remote(text: &str) -> bool {
    ["s3://", "https://", "http://"].iter().any(|scheme| text.starts_with(scheme))
}

/// What keeps a resource from being deployed.
fn unpackaged(resource: &Node, global: Option<&Node>) -> Option<Fault> {
    let kind = resource.get("Type").and_then(Node::as_text).unwrap_or_default();
    let properties = resource.get("Properties");
    let has = |key: &str| {
        let of = |node: Option<&Node>| node.is_some_and(|node| node.get(key).is_some());
        of(properties) || of(global)
    };
    for (of, property) in NESTED {
        let local = properties.filter(|_| of == kind).and_then(|it| it.get(property));
        if let Some(node) = local.filter(|node| node.as_text().is_some_and(|text| !is_remote(text))) {
            return Some(Fault::new(
                node.line,
                format!(
                    "`{property}` names another template of this machine, which `sb` does not package: deploy it by a step of its own"
                ),
            ));
        }
    }
    if kind == super::FUNCTION {
        let packaged_as =
            properties.and_then(|it| it.get("PackageType")).or_else(|| global?.get("PackageType"));
        if packaged_as.and_then(Node::as_text) == Some("Image") && !has("ImageUri") {
            return Some(Fault::new(
                resource.line,
                "the function is a container image, which `sb` does not build: push it, and name it by `ImageUri`",
            ));
        }
        if !["CodeUri", "InlineCode", "ImageUri"].iter().any(|key| has(key)) {
            return Some(Fault::new(
                resource.line,
                "the function has no `CodeUri`: name the folder of its code",
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"Transform: AWS::Serverless-2016-10-31
# ä: not one byte a letter
Globals:
  Function:
    CodeUri: src/ # of all
Resources:
  Shared:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.handler, Runtime: python3.13}
  Own:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.handler, Runtime: python3.13, CodeUri: 'own'}
  Far:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.handler, Runtime: python3.13, CodeUri: s3://other/code.zip}
  Plain:
    Type: AWS::Lambda::Function
    Properties:
      Code: "plain.zip"
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: machine.json
Outputs:
  HelloApi:
    Value: !Sub "https://${Api}.execute-api.${AWS::Region}.amazonaws.com/v1"
  Name:
    Value: !Ref Own
"#;

    #[test]
    fn what_lies_on_this_machine_is_found_and_only_that_is_replaced() {
        let template = Template::parse(TEMPLATE).unwrap();
        let assets = template.assets().unwrap();
        let found: Vec<_> =
            assets.iter().map(|asset| (asset.path.as_str(), asset.line, asset.is_code)).collect();
        assert_eq!(
            found,
            [("src/", 5, true), ("own", 12, true), ("plain.zip", 19, true), ("machine.json", 23, false)]
        );
        let text = template.packaged(&assets, "bucket", |asset| format!("{}-key", asset.line));
        let expected = TEMPLATE
            .replace("CodeUri: src/", "CodeUri: \"s3://bucket/5-key\"")
            .replace("'own'", "\"s3://bucket/12-key\"")
            .replace("\"plain.zip\"", "{\"S3Bucket\": \"bucket\", \"S3Key\": \"19-key\"}")
            .replace("machine.json", "\"s3://bucket/23-key\"");
        assert_eq!(text, expected);
        assert!(Template::parse(text).unwrap().assets().unwrap().is_empty());
    }

    #[test]
    fn a_template_in_json_is_packaged_too() {
        let source =
            r#"{"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": {"Code": "src"}}}}"#;
        let template = Template::parse(source).unwrap();
        let text = template.packaged(&template.assets().unwrap(), "b", |_| "k".to_owned());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["Resources"]["F"]["Properties"]["Code"]["S3Key"], "k");
    }

    #[track_caller]
    fn check_refused(resource: &str, expected: &str) {
        let template = Template::parse(format!("Resources:\n  X:\n    {resource}\n")).unwrap();
        let problems = template.assets().unwrap_err();
        assert!(problems[0].to_string().contains(expected), "{problems:?}");
    }

    #[test]
    fn what_cannot_be_packaged_is_refused_with_its_line() {
        check_refused(
            "Type: AWS::Serverless::Function",
            "line 3: resource `X`: the function has no `CodeUri`",
        );
        check_refused(
            "{Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: child.yaml}}",
            "names another template of this machine",
        );
        check_refused(
            "{Type: AWS::Serverless::Function, Properties: {PackageType: Image}}",
            "name it by `ImageUri`",
        );
        check_refused(
            "Type: AWS::Serverless::Function\n    Properties:\n      CodeUri: |\n        src",
            "write the path on one line",
        );
    }

    #[test]
    fn the_base_url_is_the_output_of_that_name_or_the_only_address() {
        let endpoint = |text: &str| Template::parse(text).unwrap().endpoint_output();
        assert_eq!(endpoint(TEMPLATE).as_deref(), Some("HelloApi"));
        let named = TEMPLATE.replace("  Name:", "  Endpoint:");
        assert_eq!(endpoint(&named).as_deref(), Some("Endpoint"));
        let two = TEMPLATE.replace("!Ref Own", "https://x.execute-api.y/z");
        assert_eq!(endpoint(&two), None);
    }

    #[test]
    fn resources_are_found_by_name_and_by_what_sam_makes_of_it() {
        let template = Template::parse(TEMPLATE).unwrap();
        assert_eq!(template.line_of("Own"), Some(10));
        assert_eq!(template.line_of("OwnRole"), Some(10));
        assert_eq!(template.line_of("Unknown"), None);
    }
}
