#![doc = include_str!("../README.md")]
#![deny(missing_docs, unreachable_pub)]

mod assets;
pub mod dynamics;
mod filter;
mod function;
mod intrinsics;
mod machine;
mod parameters;
mod services;
mod settings;
mod sources;
mod template;
mod timing;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use assets::Asset;
pub use filter::Pattern;
use function::{HARMLESS_PROPERTIES, merge, set_property};
use intrinsics::{Referent, Scope};
pub use machine::{Definition, definition};
pub use services::{Service, ServiceResource, Subscription, TopicFilter};
pub use settings::{Containers, LocalSettings};
pub use sources::{DEFAULT_BUS, EventSource, Source, StreamSource, bus_name};
pub use template::Template;
pub use timing::Timing;
use tree::{Entry, Fault, Node};

/// A template, evaluated for one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Application {
    /// In the order of the template.
    pub functions: Vec<Function>,
    /// The HTTP routes of all APIs.
    pub routes: Vec<Route>,
    /// What invokes functions besides HTTP.
    pub sources: Vec<EventSource>,
    /// Names of the template's buses of EventBridge. Every account has `default` besides.
    pub buses: Vec<String>,
    /// What topics pass on to queues.
    pub subscriptions: Vec<Subscription>,
    /// Tables, buckets, queues, topics, collections of faces …
    pub resources: Vec<ServiceResource>,
    /// Name and value, in the order of the template.
    pub outputs: Vec<(String, String)>,
    /// Unsupported but harmless parts.
    pub warnings: Vec<Problem>,
}

impl Application {
    /// Whether a bus of EventBridge invokes any of its functions. The local target needs no service for that.
    pub fn has_buses(&self) -> bool {
        self.sources.iter().any(|event| matches!(event.source, Source::Bus { .. }))
    }

    /// Whether it has tables, buckets, queues or other resources that moto provides.
    pub fn has_services(&self) -> bool {
        self.resources.iter().any(|resource| resource.service.needs_stand_in().is_none())
    }

    /// Resources of services that only a stand-in can provide, where none is `given` for the service.
    pub fn without_stand_in(&self, given: &[&str]) -> Vec<Problem> {
        let missing = self.resources.iter().filter_map(|resource| {
            let service = resource.service.needs_stand_in().filter(|service| !given.contains(service))?;
            Some(Problem {
                severity: Severity::Unsupported,
                resource: Some(resource.logical_id.clone()),
                line: resource.line,
                message: format!(
                    "the local target has no `{service}`: start a stand-in, and name its URL by `services = {{ {service} = \"http://…\" }}` in the `local` step, or by `--service {service}=http://…`"
                ),
            })
        });
        missing.collect()
    }

    /// Whether nothing but events that failed goes to a queue or a topic, and nothing of the application looks at it.
    fn is_for_failures_alone(&self, resource: &ServiceResource) -> bool {
        let buried = self.functions.iter().flat_map(|function| [&function.dead_letter, &function.on_failure]);
        let awaited = self.sources.iter().filter_map(|source| source.source.arn());
        let passed_on = self
            .subscriptions
            .iter()
            .flat_map(|subscription| [&subscription.topic_arn, &subscription.queue_arn]);
        let mut told = self
            .functions
            .iter()
            .flat_map(|function| function.environment.values())
            .chain(self.outputs.iter().map(|(_, value)| value));
        buried.flatten().any(|arn| *arn == resource.arn)
            && !awaited.chain(passed_on.cloned()).any(|arn| arn == resource.arn)
            && !told.any(|text| text.contains(&resource.name))
    }
}

/// A function of a template, evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Key under `Resources`.
    pub logical_id: String,
    /// `FunctionName`, or stack and logical id joined by `-`.
    pub name: String,
    /// As other resources refer to it.
    pub arn: String,
    /// `Handler`: `module.function`, in the words of the runtime.
    pub handler: String,
    /// `Runtime`: `python3.13`, `nodejs22.x` …
    pub runtime: String,
    /// `CodeUri`: relative to the template's folder.
    pub code: String,
    /// Default 3 s, as on Lambda; 1 to 900 s.
    pub timeout: Duration,
    /// MiB; default 128, as on Lambda.
    pub memory_mib: u64,
    /// Variables of `Environment`, those of `Globals` among them.
    pub environment: BTreeMap<String, String>,
    /// `ReservedConcurrentExecutions`: executions at once; none: as many as there may be of all functions.
    pub reserved_concurrency: Option<u32>,
    /// Further attempts of a failed asynchronous invocation: 0 to 2, default 2.
    pub retries: u32,
    /// An asynchronous event older than this is given up; default 6 h.
    pub max_event_age: Duration,
    /// Where events go that failed every attempt: the ARN of `DeadLetterQueue`, a queue or a topic.
    pub dead_letter: Option<String>,
    /// Where a record goes of an event that failed every attempt: the ARN of `OnFailure`, a queue or a topic.
    pub on_failure: Option<String>,
    /// Of the resource, 1-based.
    pub line: usize,
}

impl Function {
    /// Whether the local target has a client for the runtime, so that the function needs no container: Python 3, Node.js,
    /// Java, and what brings its own `bootstrap`.
    pub fn runs_without_container(&self) -> bool {
        ["python3.", "nodejs", "java", "provided"].iter().any(|known| self.runtime.starts_with(known))
    }

    /// Why no code can have the handler. Lambda's runtimes for Python and Node.js split the name into a module and a function, and
    /// refuse one that has no two parts ("Runtime.MalformedHandlerName"). None: it has, or the runtime reads it otherwise.
    pub fn handler_fault(&self) -> Option<String> {
        let (folder, name) = self.handler.split_at(self.handler.rfind('/').map_or(0, |slash| slash + 1));
        let parts = if self.runtime.starts_with("python3.") {
            name.rsplit_once('.')
        } else if self.runtime.starts_with("nodejs") {
            name.split_once('.')
        } else {
            return None;
        };
        let or =
            |part: &str, instead: &str| if part.is_empty() { instead.to_owned() } else { part.to_owned() };
        let example = match parts {
            Some((module, function)) if !module.is_empty() && !function.is_empty() => return None,
            Some((module, function)) => format!("{}.{}", or(module, "app"), or(function, "handler")),
            None => format!("{}.handler", or(name, "app")),
        };
        Some(format!(
            "`Handler` is `{}`, which is no MODULE.FUNCTION: write the module and the function, such as `{folder}{example}`",
            self.handler
        ))
    }

    /// The files, relative to the code's folder, of which one has the handler. None: it is not known by the names of files,
    /// as with classes of Java.
    pub fn handler_files(&self) -> Option<Vec<String>> {
        let (folder, name) = self
            .handler
            .rsplit_once('/')
            .map_or(("", self.handler.as_str()), |(folder, name)| (folder, name));
        let beneath =
            |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if self.runtime.starts_with("python3.") {
            let module = beneath(&name.rsplit_once('.')?.0.replace('.', "/"));
            Some([".py", "/__init__.py", ".pyc", ".so"].map(|end| format!("{module}{end}")).to_vec())
        } else if self.runtime.starts_with("nodejs") {
            let module = beneath(name.split_once('.')?.0);
            let mut files = [".js", ".mjs", ".cjs", ""].map(|end| format!("{module}{end}")).to_vec();
            // A client of its own, which reads the handler as it likes.
            files.push("node_modules/.bin/aws-lambda-ric".to_owned());
            Some(files)
        } else if self.runtime.starts_with("provided") {
            Some(vec!["bootstrap".to_owned()])
        } else {
            None
        }
    }
}

/// An HTTP route and the function behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Logical id of the function; empty where there is none behind it.
    pub function: String,
    /// What is asked of Step Functions, where no function is behind it: the settings of the integration, as API Gateway has them.
    pub integration: Option<serde_json::Value>,
    /// The shape of the event.
    pub format: Format,
    /// Upper case, or `ANY`.
    pub method: String,
    /// `/orders/{id}`, `/files/{proxy+}`; `$default` matches what nothing else does.
    pub path: String,
    /// Logical id of the API.
    pub api: String,
    /// `StageName`; `Prod` or `$default` without one.
    pub stage: String,
}

/// The shape of the event that the function gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// REST API: proxy event, version 1.0.
    Rest,
    /// HTTP API with payload format 1.0.
    HttpV1,
    /// HTTP API with payload format 2.0.
    HttpV2,
}

/// Where the template is evaluated: what the pseudo-parameters give.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// `AWS::Region`
    pub region: String,
    /// `AWS::AccountId`: twelve digits.
    pub account: String,
    /// `AWS::StackName`
    pub stack: String,
    /// Stands in for `https://API.execute-api.REGION.amazonaws.com`.
    pub api_base: String,
    /// Address of the services: queues' URLs begin so.
    pub aws_base: String,
}

impl Place {
    /// For questions whose answer is the same everywhere: which functions there are, which routes.
    pub fn any() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            stack: "stack".to_owned(),
            api_base: "http://127.0.0.1".to_owned(),
            aws_base: "http://127.0.0.1".to_owned(),
        }
    }
}

/// How much is the matter with a part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The local target leaves it out, and the application works without it.
    Warning,
    /// The local target does not have it, and the application does not work without: nothing is wrong elsewhere.
    Unsupported,
    /// CloudFormation or Lambda would refuse it too.
    Error,
}

/// Something in a template that the local target does not provide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the application can do without.
    pub severity: Severity,
    /// Key under `Resources`, where there is one.
    pub resource: Option<String>,
    /// 1-based.
    pub line: usize,
    /// What is wrong and, where there is one, a way out.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: ", self.line)?;
        if let Some(resource) = &self.resource {
            write!(out, "resource `{resource}`: ")?;
        }
        out.write_str(&self.message)
    }
}

const SECTIONS: [&str; 10] = [
    "AWSTemplateFormatVersion",
    "Transform",
    "Description",
    "Metadata",
    "Globals",
    "Parameters",
    "Mappings",
    "Conditions",
    "Resources",
    "Outputs",
];

/// Characters.
const MAX_FUNCTION_NAME: usize = 64;

/// What to do about a type of resource that the local target lacks.
const NOT_PROVIDED: &str = ", which has functions, HTTP routes, tables, buckets, queues, topics, buses, streams, state machines and collections of faces: deploy to a cloud target, or keep it out with a `Condition`";

/// The type of resource that a misspelt one was meant to be.
fn meant(kind: &str) -> Option<&'static str> {
    const TYPES: [&str; 13] = [
        FUNCTION,
        REST_API,
        HTTP_API,
        machine::MACHINE,
        services::BUCKET,
        services::TABLE,
        services::SIMPLE_TABLE,
        services::STREAM,
        services::QUEUE,
        services::TOPIC,
        services::SUBSCRIPTION,
        services::BUS,
        services::COLLECTION,
    ];
    TYPES.into_iter().find(|known| is_near(kind, known))
}

/// Whether two names are equal but for case, one swap of neighbours, or one letter more, less or other.
fn is_near(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let start = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[start..], &other[start..]);
    match (one, other) {
        ([], []) => true,
        ([a, b, rest @ ..], [c, d, others @ ..]) if a == d && b == c && rest == others => true,
        ([_, rest @ ..], [_, others @ ..]) if rest == others => true,
        ([_, rest @ ..], _) if rest == other => true,
        (_, [_, others @ ..]) => one == others,
        _ => false,
    }
}

const FUNCTION: &str = "AWS::Serverless::Function";
const REST_API: &str = "AWS::Serverless::Api";
const HTTP_API: &str = "AWS::Serverless::HttpApi";
const IMPLICIT_REST_API: &str = "ServerlessRestApi";
const IMPLICIT_HTTP_API: &str = "ServerlessHttpApi";

/// Resources that change nothing for functions on one machine (prefixes of the type).
const HARMLESS_TYPES: [&str; 11] = [
    "AWS::IAM::",
    "AWS::S3::BucketPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::Logs::",
    "AWS::CloudWatch::",
    "AWS::Lambda::Permission",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::ApplicationInsights::",
    "AWS::ResourceGroups::",
    "AWS::XRay::",
];

struct Reader<'a> {
    root: &'a Node,
    problems: Vec<Problem>,
}

/// A resource whose condition holds.
struct Resource<'a> {
    id: &'a str,
    kind: &'a str,
    line: usize,
    properties: Option<&'a Node>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, overrides: &BTreeMap<String, String>, place: &Place) -> Application {
        for entry in self.root.entries() {
            if !SECTIONS.contains(&entry.key.as_str()) {
                self.error(
                    None,
                    entry.line,
                    format!("unknown section `{}`: one of {}", entry.key, SECTIONS.join(", ")),
                );
            }
        }
        let mut scope = Scope {
            place,
            parameters: self.parameters(overrides),
            mappings: self.root.get("Mappings"),
            conditions: self.root.get("Conditions"),
            resources: BTreeMap::new(),
        };
        let resources = self.resources(&scope);
        scope.resources = referents(&resources, &scope);

        let mut application = Application::default();
        for resource in &resources {
            if resource.kind == FUNCTION {
                let function = self.function(resource, &scope, &mut application);
                if let Some(twin) = application.functions.iter().find(|other| other.name == function.name) {
                    let message = format!("`{}` has the same FunctionName: rename one", twin.logical_id);
                    self.error(Some(resource.id), resource.line, message);
                }
                application.functions.push(function);
            }
        }
        for resource in &resources {
            match resource.kind {
                machine::MACHINE => self.machine_events(resource, &scope, &mut application),
                REST_API | HTTP_API => self.api_document(resource, &scope, &mut application),
                services::BUS => {
                    let bus = scope.resources.get(resource.id);
                    application.buses.extend(bus.map(|bus| bus.reference.clone()));
                }
                _ => {}
            }
            self.judge(resource);
            application.resources.extend(self.service(resource, &scope));
            application.subscriptions.extend(self.subscription(resource, &scope));
        }
        self.check_sources(&application);
        if !resources.iter().any(|resource| resource.kind == FUNCTION) {
            self.error(
                None,
                self.root.line,
                format!("the template has no resource of type {FUNCTION}: nothing to run"),
            );
        }
        for entry in entries(self.root.get("Outputs")) {
            let holds = entry.node.get("Condition").map_or(Ok(true), |condition| {
                scope.holds(condition.as_text().unwrap_or_default(), condition.line)
            });
            let value = match (holds, entry.node.get("Value")) {
                (Ok(false), _) => continue,
                (Ok(true), Some(value)) => scope.text(value),
                (Ok(true), None) => {
                    Err(Fault::new(entry.line, format!("output `{}` has no `Value`", entry.key)))
                }
                (Err(fault), _) => Err(fault),
            };
            match value {
                Ok(value) => application.outputs.push((entry.key.clone(), value.unwrap_or_default())),
                Err(fault) => self.problems.push(problem(None, fault)),
            }
        }
        // Where nothing but failed events goes to queues and topics, their file is enough: no services are needed.
        if application.resources.iter().all(|resource| application.is_for_failures_alone(resource)) {
            application.resources.clear();
        }
        application
    }

    fn resources(&mut self, scope: &Scope<'_>) -> Vec<Resource<'a>> {
        let mut found = Vec::new();
        for entry in entries(self.root.get("Resources")) {
            let Some(kind) = entry.node.get("Type").and_then(Node::as_text) else {
                self.error(Some(&entry.key), entry.line, "has no `Type`".to_owned());
                continue;
            };
            if let Some(condition) = entry.node.get("Condition") {
                match scope.holds(condition.as_text().unwrap_or_default(), condition.line) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(fault) => self.problems.push(problem(Some(&entry.key), fault)),
                }
            }
            found.push(Resource {
                id: &entry.key,
                kind,
                line: entry.line,
                properties: entry.node.get("Properties"),
            });
        }
        found
    }

    /// Reports what the local target does not provide of a resource that is not a function.
    fn judge(&mut self, resource: &Resource<'_>) {
        match resource.kind {
            FUNCTION
            | machine::MACHINE
            | services::BUCKET
            | services::TABLE
            | services::SIMPLE_TABLE
            | services::STREAM
            | services::QUEUE
            | services::TOPIC
            | services::SUBSCRIPTION
            | services::COLLECTION => {}
            services::BUS => self.only(resource, &services::HARMLESS_OF_BUS),
            REST_API | HTTP_API => {
                for entry in entries(resource.properties) {
                    let message = format!("property `{}` is left out by the local target", entry.key);
                    match entry.key.as_str() {
                        "StageName" | "Name" | "Description" | "Tags" | "TracingEnabled"
                        | "DefinitionBody" => {}
                        "DefinitionUri" => {
                            self.unsupported(resource.id, entry.line, format!("property `{}` is not supported: write the document out as `DefinitionBody`, or declare routes as events of the functions", entry.key));
                        }
                        _ => self.warning(Some(resource.id), entry.line, message),
                    }
                }
            }
            kind if HARMLESS_TYPES.iter().any(|prefix| kind.starts_with(prefix)) => {
                self.warning(
                    Some(resource.id),
                    resource.line,
                    format!("{kind} is left out by the local target"),
                );
            }
            kind => {
                let way = match meant(kind) {
                    Some(meant) => format!(": did you mean `{meant}`?"),
                    None => NOT_PROVIDED.to_owned(),
                };
                let message = format!("{kind} is not supported by the local target{way}");
                self.unsupported(resource.id, resource.line, message);
            }
        }
    }

    fn function(
        &mut self,
        resource: &Resource<'_>,
        scope: &Scope<'_>,
        application: &mut Application,
    ) -> Function {
        let mut refused: Vec<&str> = Vec::new();
        let own = entries(resource.properties);
        let global = entries(self.root.get("Globals").and_then(|globals| globals.get("Function")));
        let merged = merge(global, own);
        let mut function = Function {
            logical_id: resource.id.to_owned(),
            name: String::new(),
            arn: String::new(),
            handler: String::new(),
            runtime: String::new(),
            code: ".".to_owned(),
            timeout: Duration::from_secs(3),
            memory_mib: 128,
            environment: BTreeMap::new(),
            reserved_concurrency: None,
            retries: 2,
            max_event_age: Duration::from_hours(6),
            dead_letter: None,
            on_failure: None,
            line: resource.line,
        };
        if let Some(referent) = scope.resources.get(resource.id) {
            function.name.clone_from(&referent.reference);
            function.arn = referent.attributes.get("Arn").cloned().unwrap_or_default();
        }
        for entry in &merged {
            let key = entry.key.as_str();
            if HARMLESS_PROPERTIES.contains(&key) {
                self.warning(
                    Some(resource.id),
                    entry.line,
                    format!("property `{key}` is left out by the local target"),
                );
                continue;
            }
            if key == "Environment" {
                self.environment(resource, &entry.node, scope, &mut function.environment);
                continue;
            }
            if key == "Events" {
                self.events(resource, &entry.node, scope, application);
                continue;
            }
            if let Err(fault) = set_property(&mut function, entry, scope) {
                self.problems.push(problem(Some(resource.id), fault));
                refused.push(key);
                if key == "PackageType" {
                    // An image names neither.
                    refused.extend(["Handler", "Runtime"]);
                }
            }
        }
        // One that CloudFormation makes up is cut.
        let named = merged.iter().any(|entry| entry.key == "FunctionName");
        if named && function.name.len() > MAX_FUNCTION_NAME {
            let message = format!(
                "its name has {} characters, and Lambda takes at most {MAX_FUNCTION_NAME}: set a shorter `FunctionName`",
                function.name.len()
            );
            self.error(Some(resource.id), resource.line, message);
        }
        if !function.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            let message =
                format!("function name `{}`: only letters, digits, `-` and `_` are allowed", function.name);
            self.error(Some(resource.id), resource.line, message);
        }
        for (property, value) in [("Handler", &function.handler), ("Runtime", &function.runtime)] {
            let needed = property == "Runtime" || !function.runtime.starts_with("provided");
            if value.is_empty() && needed && !refused.contains(&property) {
                self.error(
                    Some(resource.id),
                    resource.line,
                    format!("`{property}` is missing: set it here or under Globals.Function"),
                );
            }
        }
        // One that is put together may depend on parameters that are not known yet.
        if let Some(entry) =
            merged.iter().find(|entry| entry.key == "Handler" && entry.node.as_text().is_some())
            && let Some(fault) = function.handler_fault().filter(|_| !function.handler.is_empty())
        {
            self.error(Some(resource.id), entry.line, fault);
        }
        function
    }

    fn events(
        &mut self,
        resource: &Resource<'_>,
        events: &Node,
        scope: &Scope<'_>,
        application: &mut Application,
    ) {
        for event in events.entries() {
            let kind = event.node.get("Type").and_then(Node::as_text).unwrap_or_default();
            if !matches!(kind, "Api" | "HttpApi") {
                application.sources.extend(self.source(resource, event, scope));
                continue;
            }
            let routes = &mut application.routes;
            let properties = event.node.get("Properties");
            match self.route(resource, kind, properties, event.line, scope) {
                // A document that is written out holds the route; the event gives the function leave to be called.
                Ok(route) if self.has_document(&route.api) => {}
                Ok(route) => self.add_route(resource, event.line, route, routes),
                Err(fault) => self.problems.push(problem(Some(resource.id), fault)),
            }
        }
    }

    fn has_document(&self, api: &str) -> bool {
        let declared = self.root.get("Resources").and_then(|all| all.get(api));
        declared.and_then(|node| node.get("Properties")?.get("DefinitionBody")).is_some()
    }

    fn add_route(&mut self, resource: &Resource<'_>, line: usize, route: Route, routes: &mut Vec<Route>) {
        let same = |other: &&Route| {
            other.path == route.path && other.method == route.method && other.api == route.api
        };
        if let Some(twin) = routes.iter().find(same) {
            let message =
                format!("`{} {}` already leads to `{}`: keep one", route.method, route.path, twin.function);
            self.error(Some(resource.id), line, message);
        }
        routes.push(route);
    }

    fn route(
        &mut self,
        resource: &Resource<'_>,
        kind: &str,
        properties: Option<&Node>,
        line: usize,
        scope: &Scope<'_>,
    ) -> Result<Route, Fault> {
        let rest = kind == "Api";
        let mut route = Route {
            function: resource.id.to_owned(),
            integration: None,
            format: if rest { Format::Rest } else { Format::HttpV2 },
            method: if rest { String::new() } else { "ANY".to_owned() },
            path: if rest { String::new() } else { "$default".to_owned() },
            api: if rest { IMPLICIT_REST_API } else { IMPLICIT_HTTP_API }.to_owned(),
            stage: if rest { "Prod" } else { "$default" }.to_owned(),
        };
        for entry in entries(properties) {
            let text = || Ok::<_, Fault>(scope.text(&entry.node)?.unwrap_or_default());
            match entry.key.as_str() {
                "Path" => route.path = text()?,
                "Method" => route.method = text()?.to_ascii_uppercase(),
                "RestApiId" | "ApiId" => route.api = text()?,
                "PayloadFormatVersion" if !rest => {
                    route.format = match text()?.as_str() {
                        "1.0" => Format::HttpV1,
                        "2.0" => Format::HttpV2,
                        other => {
                            return Err(Fault::new(
                                entry.line,
                                format!("PayloadFormatVersion `{other}`: 1.0 or 2.0"),
                            ));
                        }
                    }
                }
                "Auth" => {
                    let message = "the local target checks no authorisation: the route is open on loopback";
                    self.warning(Some(resource.id), entry.line, message.to_owned());
                }
                other => {
                    let message = format!("property `{other}` of the event is left out by the local target");
                    self.warning(Some(resource.id), entry.line, message);
                }
            }
        }
        if route.method == "X-AMAZON-APIGATEWAY-ANY-METHOD" || route.method == "*" {
            "ANY".clone_into(&mut route.method);
        }
        if route.method.is_empty() || !(route.path.starts_with('/') || route.path == "$default") {
            return Err(Fault::new(line, "an HTTP event needs a `Method` and a `Path` that starts with `/`"));
        }
        if let Some(stage) = self.stage_of(&route.api, scope)? {
            route.stage = stage;
        }
        Ok(route)
    }

    fn stage_of(&self, api: &str, scope: &Scope<'_>) -> Result<Option<String>, Fault> {
        let declared = self.root.get("Resources").and_then(|all| all.get(api));
        match declared.and_then(|node| node.get("Properties")).and_then(|node| node.get("StageName")) {
            Some(node) => scope.text(node),
            None => Ok(None),
        }
    }

    fn error(&mut self, resource: Option<&str>, line: usize, message: String) {
        self.report(Severity::Error, resource, line, message);
    }

    fn unsupported(&mut self, resource: &str, line: usize, message: String) {
        self.report(Severity::Unsupported, Some(resource), line, message);
    }

    fn warning(&mut self, resource: Option<&str>, line: usize, message: String) {
        self.report(Severity::Warning, resource, line, message);
    }

    fn report(&mut self, severity: Severity, resource: Option<&str>, line: usize, message: String) {
        self.problems.push(Problem { severity, resource: resource.map(str::to_owned), line, message });
    }
}

/// What references to the resources give, SAM's implicit APIs and roles among them.
fn referents(resources: &[Resource<'_>], scope: &Scope<'_>) -> BTreeMap<String, Referent> {
    let place = scope.place;
    let mut referents = BTreeMap::new();
    let arn =
        |service: &str, rest: String| format!("arn:aws:{service}:{}:{}:{rest}", place.region, place.account);
    let api = |id: &str| Referent {
        reference: id.to_owned(),
        attributes: BTreeMap::from([
            ("RootResourceId".to_owned(), "root".to_owned()),
            ("ApiEndpoint".to_owned(), place.api_base.clone()),
        ]),
    };
    for id in [IMPLICIT_REST_API, IMPLICIT_HTTP_API] {
        referents.insert(id.to_owned(), api(id));
    }
    for resource in resources {
        let default_name = format!("{}-{}", place.stack, resource.id);
        let named = |property: &str| {
            let node = resource.properties.and_then(|properties| properties.get(property));
            node.and_then(|node| scope.text(node).ok().flatten()).unwrap_or_else(|| default_name.clone())
        };
        let with_arn = |reference: String, arn: String| Referent {
            reference,
            attributes: BTreeMap::from([("Arn".to_owned(), arn)]),
        };
        let referent = match resource.kind {
            REST_API | HTTP_API => api(resource.id),
            FUNCTION => {
                let name = named("FunctionName");
                let role = arn("iam", format!("role/{}Role", resource.id))
                    .replace(&format!(":{}:", place.region), "::");
                let role_name = format!("{}Role", resource.id);
                referents.entry(role_name.clone()).or_insert_with(|| with_arn(role_name, role));
                let arn = arn("lambda", format!("function:{name}"));
                with_arn(name, arn)
            }
            services::BUCKET => {
                // Of a bucket, everything is lower case.
                let name = named("BucketName");
                let name = if name == default_name { name.to_ascii_lowercase() } else { name };
                let arn = format!("arn:aws:s3:::{name}");
                with_arn(name, arn)
            }
            services::TABLE | services::SIMPLE_TABLE => {
                let name = named("TableName");
                let arn = arn("dynamodb", format!("table/{name}"));
                let mut referent = with_arn(name, arn.clone());
                referent.attributes.insert("StreamArn".to_owned(), format!("{arn}/stream/local"));
                referent
            }
            machine::MACHINE => {
                let name = named("Name");
                let arn = arn("states", format!("stateMachine:{name}"));
                let mut referent = with_arn(arn.clone(), arn);
                referent.attributes.insert("Name".to_owned(), name);
                referent
            }
            services::STREAM => {
                let name = named("Name");
                let arn = arn("kinesis", format!("stream/{name}"));
                with_arn(name, arn)
            }
            services::BUS => {
                let name = named("Name");
                let arn = arn("events", format!("event-bus/{name}"));
                let mut referent = with_arn(name.clone(), arn);
                referent.attributes.insert("Name".to_owned(), name);
                referent
            }
            services::COLLECTION => {
                let id = named("CollectionId");
                let arn = arn("rekognition", format!("collection/{id}"));
                with_arn(id, arn)
            }
            services::QUEUE => {
                let name = named("QueueName");
                let arn = arn("sqs", name.clone());
                let url = format!("{}/{}/{name}", place.aws_base.trim_end_matches('/'), place.account);
                Referent {
                    reference: url.clone(),
                    attributes: BTreeMap::from([
                        ("Arn".to_owned(), arn),
                        ("QueueName".to_owned(), name),
                        ("QueueUrl".to_owned(), url),
                    ]),
                }
            }
            services::TOPIC => {
                let name = named("TopicName");
                let arn = arn("sns", name.clone());
                Referent {
                    reference: arn.clone(),
                    attributes: BTreeMap::from([
                        ("TopicArn".to_owned(), arn.clone()),
                        ("Arn".to_owned(), arn),
                        ("TopicName".to_owned(), name),
                    ]),
                }
            }
            other => {
                let service = other.split("::").nth(1).unwrap_or("other").to_ascii_lowercase();
                let arn = arn(&service, default_name.clone());
                with_arn(default_name.clone(), arn)
            }
        };
        referents.insert(resource.id.to_owned(), referent);
    }
    referents
}

fn entries(node: Option<&Node>) -> &[Entry] {
    node.map(Node::entries).unwrap_or_default()
}

fn problem(resource: Option<&str>, fault: Fault) -> Problem {
    Problem {
        severity: if fault.unsupported { Severity::Unsupported } else { Severity::Error },
        resource: resource.map(str::to_owned),
        line: fault.line,
        message: fault.message,
    }
}
