//! State machines, and what an API's own document says of its routes.

use serde_json::{Map, Value as Json, json};

use super::intrinsics::Scope;
use super::tree::{self, Entry, Fault, Node, Value};
use super::{Application, Format, Reader, Resource, Route, Service, entries, problem};

pub(super) const MACHINE: &str = "AWS::Serverless::StateMachine";

const HARMLESS_OF_MACHINE: [&str; 10] = [
    "Name",
    "Policies",
    "Role",
    "RolePath",
    "PermissionsBoundary",
    "Logging",
    "Tracing",
    "Tags",
    "AutoPublishAlias",
    "PropagateTags",
];
/// What an API may ask of Step Functions.
const ACTIONS: [&str; 4] = ["StartExecution", "StartSyncExecution", "DescribeExecution", "StopExecution"];
const METHODS: [&str; 8] =
    ["get", "put", "post", "delete", "patch", "head", "options", "x-amazon-apigateway-any-method"];

impl Scope<'_> {
    /// A value with the types that it has in the template. None for `AWS::NoValue`.
    pub(super) fn json(&self, node: &Node) -> Result<Option<Json>, Fault> {
        Ok(Some(match &node.value {
            Value::Null => Json::Null,
            Value::Plain(text) => scalar(text),
            Value::Text(text) => json!(text),
            Value::List(items) => {
                let items = items.iter().map(|item| self.json(item)).collect::<Result<Vec<_>, _>>()?;
                Json::Array(items.into_iter().flatten().collect())
            }
            Value::Map(fields) => match fields.as_slice() {
                [Entry { key, node: argument, line }] if key == "Fn::If" => {
                    let [condition, yes, no] = argument.as_list().unwrap_or_default() else {
                        return Err(Fault::new(*line, "If takes a condition and two values"));
                    };
                    let holds = self.holds(condition.as_text().unwrap_or_default(), *line)?;
                    return self.json(if holds { yes } else { no });
                }
                [Entry { key, .. }] if key == "Ref" || key.starts_with("Fn::") => {
                    return self.text(node).map(|text| text.map(Json::String));
                }
                fields => {
                    let mut object = Map::new();
                    for field in fields {
                        if let Some(value) = self.json(&field.node)? {
                            object.insert(field.key.clone(), value);
                        }
                    }
                    Json::Object(object)
                }
            },
        }))
    }
}

/// A scalar without quotation marks, as YAML's core schema reads it.
fn scalar(text: &str) -> Json {
    match text {
        "true" | "True" | "TRUE" => return json!(true),
        "false" | "False" | "FALSE" => return json!(false),
        _ => {}
    }
    let looks_like_one = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    if looks_like_one {
        if let Ok(number) = text.parse::<i64>() {
            return json!(number);
        }
        if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
            return json!(number);
        }
    }
    json!(text)
}

/// What a state machine does, in the Amazon States Language.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    /// It stands in the template.
    Inline(Json),
    /// `DefinitionUri`: for [`definition`] to read.
    File {
        /// Relative to the template's folder.
        path: String,
        /// Name and value: `${NAME}` of the file stands for the value.
        substitutions: Vec<(String, String)>,
        /// Of the property, 1-based.
        line: usize,
    },
}

/// The definition that a file (YAML or JSON) holds. CloudFormation's functions mean nothing in it.
///
/// # Errors
/// Says what is wrong with it, and on which line.
pub fn definition(text: &str, substitutions: &[(String, String)]) -> Result<Json, String> {
    let root = tree::parse(text).map_err(|fault| format!("line {}: {}", fault.line, fault.message))?;
    let mut definition = plain(&root);
    if !definition.is_object() {
        return Err("not the definition of a state machine: it has no fields".to_owned());
    }
    substitute(&mut definition, substitutions);
    if uses_jsonata(&definition) {
        return Err(NO_JSONATA.to_owned());
    }
    Ok(definition)
}

const NO_JSONATA: &str =
    "states with `QueryLanguage: JSONata` are not supported by the local target: those with JSONPath are";

/// Whether a machine, or one within it, has states that are not written with JSONPath.
fn uses_jsonata(machine: &Json) -> bool {
    let says_so = |part: &Json| part["QueryLanguage"] == "JSONata";
    let states = machine["States"].as_object();
    says_so(machine)
        || states.into_iter().flat_map(Map::values).any(|state| {
            let branches = state["Branches"].as_array().into_iter().flatten();
            says_so(state) || branches.chain([&state["Iterator"], &state["ItemProcessor"]]).any(uses_jsonata)
        })
}

fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Plain(text) => scalar(text),
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Map(fields) => fields.iter().map(|field| (field.key.clone(), plain(&field.node))).collect(),
    }
}

/// Puts values into `${NAME}` of every text.
fn substitute(value: &mut Json, values: &[(String, String)]) {
    match value {
        Json::String(text) => {
            for (name, value) in values {
                *text = text.replace(&format!("${{{name}}}"), value);
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| substitute(item, values)),
        Json::Object(fields) => fields.values_mut().for_each(|field| substitute(field, values)),
        _ => {}
    }
}

impl Reader<'_> {
    pub(super) fn machine(&mut self, resource: &Resource<'_>, scope: &Scope<'_>) -> Option<Service> {
        let (mut definition, mut file, mut values, mut express) = (None, None, Vec::new(), false);
        for entry in entries(resource.properties) {
            let read = match entry.key.as_str() {
                "Definition" => scope.json(&entry.node).map(|value| definition = value),
                "DefinitionUri" => match scope.resolve(&entry.node) {
                    Ok(Some(node)) if node.as_text().is_none_or(|text| text.starts_with("s3://")) => {
                        let message = "DefinitionUri must be a local file, not an object in a bucket";
                        Err(Fault::new(entry.line, message))
                    }
                    Ok(_) => scope.text(&entry.node).map(|path| file = path.map(|path| (path, entry.line))),
                    Err(fault) => Err(fault),
                },
                "DefinitionSubstitutions" => entry.node.entries().iter().try_for_each(|field| {
                    let value = scope.text(&field.node)?.unwrap_or_default();
                    values.push((field.key.clone(), value));
                    Ok(())
                }),
                "Type" => scope.text(&entry.node).map(|text| express = text.as_deref() == Some("EXPRESS")),
                "Events" => Ok(()),
                key if HARMLESS_OF_MACHINE.contains(&key) => Ok(()),
                key => {
                    self.not_there(resource, entry.line, key);
                    Ok(())
                }
            };
            if let Err(fault) = read {
                self.problems.push(problem(Some(resource.id), fault));
                return None;
            }
        }
        let definition = match (definition, file) {
            (Some(mut definition), None) => {
                substitute(&mut definition, &values);
                if uses_jsonata(&definition) {
                    self.unsupported(resource.id, resource.line, NO_JSONATA.to_owned());
                    return None;
                }
                Definition::Inline(definition)
            }
            (None, Some((path, line))) => Definition::File { path, substitutions: values, line },
            _ => {
                let message = "a state machine needs a `Definition` or a `DefinitionUri`, and not both";
                self.error(Some(resource.id), resource.line, message.to_owned());
                return None;
            }
        };
        Some(Service::StateMachine { definition, express })
    }

    /// The routes that start executions.
    pub(super) fn machine_events(
        &mut self,
        resource: &Resource<'_>,
        scope: &Scope<'_>,
        application: &mut Application,
    ) {
        let events = resource.properties.and_then(|properties| properties.get("Events"));
        for event in entries(events) {
            let kind = event.node.get("Type").and_then(Node::as_text).unwrap_or_default();
            if kind != "Api" {
                let message = format!(
                    "event `{}` of type `{kind}` of a state machine is not supported by the local target: Api is",
                    event.key
                );
                self.unsupported(resource.id, event.line, message);
                continue;
            }
            let own = entries(event.node.get("Properties"))
                .iter()
                // Here nothing is escaped that would have to be undone.
                .filter(|entry| entry.key != "UnescapeMappingTemplate")
                .cloned()
                .collect();
            let properties = Node::new(event.line, Value::Map(own));
            match self.route(resource, kind, Some(&properties), event.line, scope) {
                Ok(mut route) => {
                    route.function.clear();
                    let arn = scope.resources.get(resource.id).map(|referent| referent.reference.clone());
                    route.integration = Some(json!({
                        "action": "StartExecution",
                        "machine": arn,
                        // As SAM has it: the answer of Step Functions, for better or worse.
                        "responses": { "200": { "status": 200 }, "400": { "status": 400 } },
                    }));
                    self.add_route(resource, event.line, route, &mut application.routes);
                }
                Err(fault) => self.problems.push(problem(Some(resource.id), fault)),
            }
        }
    }

    /// The routes of an API whose document is written out: OpenAPI with API Gateway's extensions.
    pub(super) fn api_document(
        &mut self,
        resource: &Resource<'_>,
        scope: &Scope<'_>,
        application: &mut Application,
    ) {
        let Some(node) = resource.properties.and_then(|properties| properties.get("DefinitionBody")) else {
            return;
        };
        let document = match scope.json(node) {
            Ok(document) => document.unwrap_or_default(),
            Err(fault) => {
                self.problems.push(problem(Some(resource.id), fault));
                return;
            }
        };
        let stage = self.stage_of(resource.id, scope).ok().flatten().unwrap_or_else(|| "Prod".to_owned());
        let paths = node.get("paths");
        for path in entries(paths) {
            for method in path.node.entries().iter().filter(|method| METHODS.contains(&method.key.as_str())) {
                let operation = &document["paths"][&path.key][&method.key];
                match integration(operation, &document, application) {
                    Ok((function, integration)) => {
                        let any = method.key == "x-amazon-apigateway-any-method";
                        let route = Route {
                            function,
                            integration,
                            format: Format::Rest,
                            method: if any { "ANY".to_owned() } else { method.key.to_ascii_uppercase() },
                            path: path.key.clone(),
                            api: resource.id.to_owned(),
                            stage: stage.clone(),
                        };
                        self.add_route(resource, method.line, route, &mut application.routes);
                    }
                    Err(message) => self.unsupported(resource.id, method.line, message),
                }
            }
        }
    }
}

/// The function behind an operation, or what is asked of Step Functions.
fn integration(
    operation: &Json,
    document: &Json,
    application: &Application,
) -> Result<(String, Option<Json>), String> {
    let integration = &operation["x-amazon-apigateway-integration"];
    let text = |key: &str| integration[key].as_str().unwrap_or_default();
    let uri = text("uri");
    match text("type") {
        "aws_proxy" => {
            let arn = uri.split("/functions/").nth(1).and_then(|rest| rest.strip_suffix("/invocations"));
            let function = application.functions.iter().find(|function| Some(function.arn.as_str()) == arn);
            let function =
                function.ok_or_else(|| format!("`{uri}` leads to no function of this template"))?;
            Ok((function.logical_id.clone(), None))
        }
        "aws" => {
            let action = uri.split(":states:action/").nth(1).filter(|action| ACTIONS.contains(action));
            let action = action.ok_or_else(|| {
                format!(
                    "integration `{uri}` is not supported by the local target: states:action/{} are",
                    ACTIONS.join(", ")
                )
            })?;
            let mut responses = Map::new();
            for (pattern, response) in integration["responses"].as_object().into_iter().flatten() {
                let mut taken = json!({ "status": number(&response["statusCode"], 200) });
                if let Some(template) = response["responseTemplates"]["application/json"].as_str() {
                    taken["template"] = json!(template);
                }
                responses.insert(pattern.clone(), taken);
            }
            let passthrough = integration["passthroughBehavior"].as_str().unwrap_or("when_no_match");
            let mut settings = json!({
                "action": action,
                "responses": responses,
                "passthrough": passthrough.to_ascii_lowercase(),
            });
            if let Some(template) = integration["requestTemplates"]["application/json"].as_str() {
                settings["template"] = json!(template);
            }
            let validator = operation["x-amazon-apigateway-request-validator"]
                .as_str()
                .or_else(|| document["x-amazon-apigateway-request-validator"].as_str())
                .unwrap_or_default();
            let checks =
                &document["x-amazon-apigateway-request-validators"][validator]["validateRequestBody"];
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if checks == &json!(true) && schema.is_object() {
                let mut schema = schema.clone();
                // What it refers to.
                schema["components"] = document["components"].clone();
                settings["schema"] = schema;
                let refusal = &document["x-amazon-apigateway-gateway-responses"]["BAD_REQUEST_BODY"];
                let template = refusal["responseTemplates"]["application/json"].as_str();
                settings["bad_request"] = json!({
                    "status": number(&refusal["statusCode"], 400),
                    "template": template.unwrap_or(r#"{"message": "$context.error.message"}"#),
                });
            }
            Ok((String::new(), Some(settings)))
        }
        other => Err(format!(
            "an integration of type `{other}` is not supported by the local target: aws_proxy and aws are"
        )),
    }
}

/// A status, which may be written as a text.
fn number(value: &Json, default: u64) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(default)
}
