//! `sb new` for an application that is there: a manifest beside its SAM template, with a request for each route.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Outcome;
use super::output::{Failed, accept};
use crate::exit_code::Exit;
use crate::terminal::Terminal;
use crate::workspace::{absolute, quoted};
use sb_plan::manifest::read::Disk;
use sb_plan::validate;
use sb_sam::{Application, Function, Place, Route, Service, Template};

/// What templates are called.
const TEMPLATES: [&str; 3] = ["template.yaml", "template.yml", "template.json"];
const MANIFEST: &str = "benchmark.toml";
/// Editors find it by the first line of the manifest.
const SCHEMA: (&str, &str) = ("benchmark.schema.json", include_str!("../../schemas/benchmark.schema.json"));
/// A value for what somebody must fill in.
const SAMPLE: &str = "1";

pub(super) fn new(terminal: &Terminal, from: Option<&Path>) -> Outcome {
    let template = match from {
        Some(template) => template.to_owned(),
        None => TEMPLATES.iter().map(PathBuf::from).find(|path| path.is_file()).ok_or_else(|| {
            Failed::helped(
                Exit::Usage,
                "there is no SAM template in this folder",
                "name one with `sb new --from path/to/template.yaml`, or begin with an example: `sb new shop`",
            )
        })?,
    };
    let template = absolute(&template);
    let unusable = |message: String| {
        let message = format!("`{}` cannot be used: {message}", template.display());
        Failed::helped(
            Exit::Failed,
            message,
            "docs/local-target.md says what of a template the local target has",
        )
    };
    let text = fs::read_to_string(&template).map_err(|error| unusable(error.to_string()))?;
    let model = Template::parse(text).map_err(|problem| unusable(problem.to_string()))?;
    let required = model.required_parameters();
    let samples: BTreeMap<_, _> = required.iter().map(|name| (name.clone(), SAMPLE.to_owned())).collect();
    let folder = template.parent().unwrap_or(Path::new("/"));
    let name = name_of(folder);
    // The local target calls the stack as the application is called, and functions after it.
    let place = Place { stack: name.replace('_', "-"), ..Place::any() };
    let application = model.application(&samples, &place).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        unusable(lines.join("; "))
    })?;
    let file = template.file_name().unwrap_or_default().to_string_lossy();
    let events = Events::read(folder);
    let requests = requests(&application, &events);
    if requests.is_empty() {
        let message = format!("`{}` has no function that could be invoked", template.display());
        return Err(Failed::helped(Exit::Failed, message, "add an `AWS::Serverless::Function` to it"));
    }
    let manifest = manifest(&name, &file, &required, &requests);
    let path = folder.join(MANIFEST);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).open(&path).map_err(|error| written(&path, &error)).and_then(
        |mut file| {
            std::io::Write::write_all(&mut file, manifest.as_bytes()).map_err(|error| written(&path, &error))
        },
    )?;
    let schema = folder.join(SCHEMA.0);
    match fs::OpenOptions::new().write(true).create_new(true).open(&schema) {
        Ok(mut file) => std::io::Write::write_all(&mut file, SCHEMA.1.as_bytes())
            .map_err(|error| written(&schema, &error))?,
        // Somebody's own, or of an earlier manifest.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(written(&schema, &error)),
    }
    accept(terminal, validate::benchmark(&Disk, &path))?;
    terminal.say(&format!("wrote {}, with {}:", path.display(), count(requests.len(), "request")));
    for request in &requests {
        terminal.say(&format!("    {:<7} {}", request.method, request.url));
    }
    for note in notes(&application, &required, &requests) {
        terminal.say(&format!("note: {note}"));
    }
    terminal.say(&format!("Next:\n    cd {}\n    sb test --executor host", quoted(folder)));
    Ok(Exit::Done)
}

fn written(path: &Path, error: &std::io::Error) -> Failed {
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        let message = format!("`{}` is there already, and nothing is overwritten", path.display());
        return Failed::helped(
            Exit::Usage,
            message,
            "`sb validate` checks it; to have another one written, rename it",
        );
    }
    Failed::message(Exit::Failed, format!("cannot write `{}`: {error}", path.display()))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The name of the folder, as far as it can be one of an application.
fn name_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let name = identifier(&name);
    if validate::is_name(&name) { name } else { "application".to_owned() }
}

/// Letters, digits and hyphens: `GET /orders/{id}` becomes `get-orders-id`.
fn identifier(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let name: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    name.join("-").chars().take(60).collect()
}

/// A request of the manifest.
#[derive(Debug, PartialEq)]
struct Request {
    name: String,
    method: String,
    /// A template of the manifest.
    url: String,
    body: Option<String>,
    /// It invokes the function itself, by Lambda's Invoke API.
    is_invocation: bool,
}

/// One for each route, and one for each function that nothing else leads to; where there is no route, one for each function.
fn requests(application: &Application, events: &Events) -> Vec<Request> {
    let mut names = BTreeSet::new();
    let mut unique = |name: String| {
        let mut number = 1;
        let mut chosen = name.clone();
        while !names.insert(chosen.clone()) {
            number += 1;
            chosen = format!("{name}-{number}");
        }
        chosen
    };
    // A browser's question before a request is none of its own.
    let routes: Vec<_> = application.routes.iter().filter(|route| route.method != "OPTIONS").collect();
    let has_routes = !routes.is_empty();
    let mut requests: Vec<_> = routes.into_iter().map(|route| of_route(route, events, &mut unique)).collect();
    let invoked =
        application.functions.iter().filter(|function| !has_routes || is_alone(application, function));
    requests.extend(invoked.map(|function| Request {
        name: unique(identifier(&function.logical_id)),
        method: "POST".to_owned(),
        url: format!("{{{{outputs.lambda_endpoint}}}}/2015-03-31/functions/{}/invocations", function.name),
        body: Some(events.of_function(function).unwrap_or_else(|| "{}".to_owned())),
        is_invocation: true,
    }));
    requests
}

/// Whether no route leads to a function, and nothing else invokes it that the template names.
fn is_alone(application: &Application, function: &Function) -> bool {
    let id = &function.logical_id;
    application.routes.iter().all(|route| route.function != *id)
        && application.sources.iter().all(|source| source.function != *id)
        && !application
            .resources
            .iter()
            .any(|resource| matches!(resource.service, Service::StateMachine { .. }))
}

/// Functions that get no request although others do: something else of the template may invoke them.
fn left_out(application: &Application, requests: &[Request]) -> Vec<String> {
    let has_route = |id: &str| application.routes.iter().any(|route| route.function == id);
    let is_invoked = |name: &str| {
        requests.iter().any(|request| request.is_invocation && request.url.contains(&format!("/{name}/")))
    };
    let functions = application.functions.iter();
    let left = functions.filter(|function| !has_route(&function.logical_id) && !is_invoked(&function.name));
    left.map(|function| function.logical_id.clone()).collect()
}

fn of_route(route: &Route, events: &Events, unique: &mut dyn FnMut(String) -> String) -> Request {
    let method = if route.method == "ANY" { "GET" } else { &route.method };
    let path = if route.path.starts_with('/') { route.path.as_str() } else { "/" };
    let filled: Vec<_> = path
        .split('/')
        .map(|part| if part.starts_with('{') && part.ends_with('}') { SAMPLE } else { part })
        .collect();
    let has_body = ["POST", "PUT", "PATCH"].contains(&method);
    Request {
        name: unique(identifier(&format!("{} {path}", method.to_ascii_lowercase()))),
        method: method.to_owned(),
        url: format!("{{{{outputs.endpoint}}}}{}", filled.join("/")),
        body: has_body.then(|| events.of_route(method, path).unwrap_or_else(|| "{}".to_owned())),
        is_invocation: false,
    }
}

/// The sample events that SAM keeps beside a template: `events/*.json`.
#[derive(Default)]
struct Events(Vec<(String, Value)>);

impl Events {
    /// Files that are no events are passed over.
    fn read(folder: &Path) -> Self {
        const LONGEST: u64 = 64 * 1024;
        let mut found: Vec<_> = fs::read_dir(folder.join("events"))
            .map(|items| items.flatten().map(|item| item.path()).collect())
            .unwrap_or_default();
        found.sort();
        let event = |path: &PathBuf| {
            let is_small = fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() <= LONGEST);
            let text = is_small.then(|| fs::read_to_string(path).ok()).flatten()?;
            Some((path.file_stem()?.to_string_lossy().into_owned(), serde_json::from_str(&text).ok()?))
        };
        Self(found.iter().filter_map(event).collect())
    }

    /// The body of a request that a sample event holds, for this method and route.
    fn of_route(&self, method: &str, path: &str) -> Option<String> {
        self.0.iter().find_map(|(_, event)| {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
            let of = text("/httpMethod").or(text("/requestContext/http/method"))?;
            let route = text("/resource").or(text("/path")).or(text("/rawPath"))?;
            let body = text("/body")?;
            (of.eq_ignore_ascii_case(method) && route == path).then(|| body.to_owned())
        })
    }

    /// The event that is called as the function is, or the only one.
    fn of_function(&self, function: &Function) -> Option<String> {
        let plain = |name: &str| {
            name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
        };
        let wanted = plain(&function.logical_id);
        let named = self.0.iter().find(|(name, _)| {
            let name = plain(name);
            !name.is_empty() && (wanted.starts_with(&name) || name.starts_with(&wanted))
        });
        let only = (self.0.len() == 1).then(|| self.0.first()).flatten();
        named.or(only).map(|(_, event)| event.to_string())
    }
}

fn manifest(name: &str, template: &str, required: &[String], requests: &[Request]) -> String {
    let mut text = format!("#:schema {}\n\n[benchmark]\nname = \"{name}\"\n", SCHEMA.0);
    if !required.is_empty() {
        text.push_str("\n# Parameters of the template that have no default: fill them in.\n[params]\n");
        for parameter in required {
            let _ = writeln!(text, "{parameter} = \"{SAMPLE}\"");
        }
    }
    let _ = write!(
        text,
        "\n[targets.local]\ntraces = \"local\"\n\n[[deploy]]\nname = \"stack\"\nlocal = {{ template = {} }}\n",
        toml_text(template)
    );
    for request in requests {
        let _ = write!(
            text,
            "\n[[workload.requests]]\nname = {}\nmethod = {}\nurl = {}\n",
            toml_text(&request.name),
            toml_text(&request.method),
            toml_text(&request.url)
        );
        if let Some(body) = &request.body {
            let kind = if request.is_invocation { "# The event that the function gets.\n" } else { "" };
            let _ = write!(
                text,
                "headers = {{ Content-Type = \"application/json\" }}\n{kind}body = {}\n",
                toml_text(body)
            );
        }
    }
    text.push_str("\n[[cleanup]]\nname = \"stack\"\nlocal = { down = true }\n");
    text
}

/// A string of TOML: as it is where that is possible.
fn toml_text(text: &str) -> String {
    if !text.contains(['\'', '\n', '\r']) && !text.chars().any(char::is_control) && text.contains(['"', '\\'])
    {
        return format!("'{text}'");
    }
    // TOML's basic strings have the escapes of JSON.
    Value::from(text).to_string()
}

/// What somebody should look at before the requests mean something.
fn notes(application: &Application, required: &[String], requests: &[Request]) -> Vec<String> {
    let mut notes = Vec::new();
    if !required.is_empty() {
        notes.push(format!("fill in [params]: {} have no default in the template", required.join(", ")));
    }
    let left_out = left_out(application, requests);
    if !left_out.is_empty() {
        notes.push(format!(
            "no request invokes {} directly: the queues, topics, tables, schedules or state machines of the template do",
            left_out.join(", ")
        ));
    }
    if requests.iter().any(|request| request.is_invocation) {
        let what = if application.routes.iter().any(|route| route.method != "OPTIONS") {
            "functions without an HTTP route are invoked directly"
        } else if application.sources.is_empty() {
            "the template has no HTTP route, so each function is invoked directly"
        } else {
            "the template has no HTTP route, so each function is invoked directly, and not by its queue, topic, table or schedule"
        };
        notes.push(format!("{what}; write the events that they get into the bodies"));
    }
    if requests.iter().any(|request| request.body.is_some() && !request.is_invocation) {
        notes.push("write what your functions expect into the bodies".to_owned());
    }
    if requests.iter().any(|request| request.url.ends_with(&format!("/{SAMPLE}"))) {
        notes.push(format!("`{SAMPLE}` stands for parts of paths such as `{{id}}`: write those that exist"));
    }
    notes.extend(application.warnings.iter().map(ToString::to_string));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(text: &str) -> Vec<Request> {
        let model = Template::parse(text).unwrap();
        requests(&model.application(&BTreeMap::new(), &Place::any()).unwrap(), &Events::default())
    }

    #[test]
    fn each_route_becomes_a_request_and_a_function_without_one_is_invoked() {
        let function = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Hello:\n    Type: AWS::Serverless::Function\n    \
                        Properties:\n      CodeUri: src/\n      Handler: app.hello\n      Runtime: python3.11\n";
        let found = routes(&format!(
            "{function}      Events:\n        A: {{Type: Api, Properties: {{Path: '/orders/{{id}}', Method: post}}}}\n        \
             B: {{Type: HttpApi, Properties: {{Path: /any, Method: ANY}}}}\n"
        ));
        let names: Vec<_> = found.iter().map(|request| request.name.as_str()).collect();
        assert_eq!(names, ["post-orders-id", "get-any"]);
        assert_eq!(found[0].url, "{{outputs.endpoint}}/orders/1");
        assert_eq!((found[0].body.as_deref(), found[1].body.as_deref()), (Some("{}"), None));
        let [invoked] = &routes(function)[..] else { panic!("one function") };
        assert!(
            invoked.is_invocation && invoked.url.ends_with("/functions/stack-Hello/invocations"),
            "{invoked:?}"
        );
    }

    #[test]
    fn texts_are_strings_of_toml() {
        for text in ["plain", "a \"quoted\" one", "it's \"both\"", "two\nlines", "back\\slash", "\u{7f}"] {
            let line = format!("x = {}", toml_text(text));
            let quoted = line.starts_with("x = '") || line.starts_with("x = \"");
            assert!(quoted && !line.contains('\n'), "{line}");
        }
    }
}
