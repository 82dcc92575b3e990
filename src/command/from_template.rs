//! `sb new` for an application that is there: a manifest beside its SAM template, with a request for each route.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::Value;

use super::Outcome;
use super::local::expect_template;
use super::output::{Failed, accept, show_problems};
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::terminal::Terminal;
use crate::workspace::{absolute, quoted};
use events::{Events, Sample, SampleBody};
use sb_plan::manifest::read::{Disk, Files};
use sb_plan::validate;
use sb_sam::{Application, Function, Place, Problem, Route, Service, Severity, Template};
use sb_workload::template;

/// What templates are called.
const TEMPLATES: [&str; 3] = ["template.yaml", "template.yml", "template.json"];
const MANIFEST: &str = "benchmark.toml";
/// Editors find it by the first line of the manifest.
const SCHEMA: (&str, &str) = ("benchmark.schema.json", include_str!("../../schemas/benchmark.schema.json"));
/// A value for what somebody must fill in.
const SAMPLE: &str = "1";
/// What a body is where nothing else is known.
const JSON: &str = "application/json";

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
    expect_template(terminal, &template)?;
    let unusable = |message: String| {
        let message = format!("`{}` cannot be used: {message}", template.display());
        Failed::helped(
            Exit::Failed,
            message,
            "docs/local-target.md says what of a template the local target has",
        )
    };
    let bytes = Disk.read(&template).map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unusable("it is not UTF-8".to_owned()))?;
    let model = Template::parse(text).map_err(|problem| unusable(problem.to_string()))?;
    let required = model.required_parameters();
    let samples: BTreeMap<_, _> = required.iter().map(|name| (name.clone(), SAMPLE.to_owned())).collect();
    let folder = template.parent().unwrap_or(Path::new("/"));
    let name = name_of(folder);
    // The local target calls the stack as the application is called, and functions after it.
    let place = Place { stack: name.replace('_', "-"), ..Place::any() };
    let (application, mut obstacles) = model.as_far_as_possible(&samples, &place);
    let errors: Vec<_> = obstacles.iter().filter(|problem| problem.severity == Severity::Error).collect();
    if !errors.is_empty() {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        return Err(unusable(lines.join("; ")));
    }
    obstacles.extend(application.without_stand_in(&[]));
    let file = template.file_name().unwrap_or_default().to_string_lossy();
    let events = Events::read(folder);
    let mut remarks = Vec::new();
    let requests = requests(&application, &events, &mut remarks);
    if requests.is_empty() {
        let message = format!("`{}` has no function that could be invoked", template.display());
        return Err(Failed::helped(Exit::Failed, message, "add an `AWS::Serverless::Function` to it"));
    }
    let needs_containers = needing_containers(&application);
    let path = folder.join(MANIFEST);
    let draft = Draft {
        text: manifest(&name, &file, &required, !needs_containers.is_empty(), &requests),
        path: &path,
    };
    check(terminal, &draft, &obstacles)?;
    keep(folder, &draft)?;
    terminal.say(&format!("wrote {}, with {}:", path.display(), count(requests.len(), "request")));
    for request in &requests {
        terminal.say(&format!("    {:<7} {}", request.method, request.url));
    }
    if !needs_containers.is_empty() {
        let run = if needs_containers.len() == 1 { "runs" } else { "run" };
        let names = needs_containers.join(", ");
        remarks.push(format!("{names} {run} in containers, which need Docker or Podman"));
    }
    for note in notes(&application, &required, &requests).iter().chain(&remarks) {
        terminal.say(&format!("note: {note}"));
    }
    if !obstacles.is_empty() {
        terminal.say(&format!("The local target cannot deploy {file} yet:"));
        for obstacle in &obstacles {
            terminal.say(&format!("    {obstacle}"));
        }
        terminal.say(&format!(
            "Go on in one of two ways:\n    \
             for this machine, change these lines of {file}, or keep the resources out with a `Condition`; then\n        \
             cd {} && sb test --executor host\n    \
             for AWS, add a target to {MANIFEST} as `sb new NAME --target aws` writes it: it has the whole template",
            quoted(folder)
        ));
        return Ok(Exit::Done);
    }
    let how = if needs_containers.is_empty() { " --executor host" } else { "" };
    terminal.say(&format!("Next:\n    cd {}\n    sb test{how}", quoted(folder)));
    Ok(Exit::Done)
}

/// Functions whose runtime the local target has in containers only.
fn needing_containers(application: &Application) -> Vec<String> {
    let known = application.functions.iter().filter(|function| !function.runtime.is_empty());
    known
        .filter(|function| !function.runs_without_container())
        .map(|function| function.logical_id.clone())
        .collect()
}

/// A manifest that is not on the disk yet, so that one with errors is never there.
struct Draft<'a> {
    path: &'a Path,
    text: String,
}

impl Files for Draft<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if self.is(path) { Ok(self.text.clone().into_bytes()) } else { Disk.read(path) }
    }

    fn exists(&self, path: &Path) -> bool {
        self.is(path) || Disk.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        Disk.is_folder(path)
    }

    fn is_special(&self, path: &Path) -> bool {
        Disk.is_special(path)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) if path == self.path => Disk.canonical(folder).join(name),
            _ => Disk.canonical(path),
        }
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        Disk.names(folder)
    }
}

impl Draft<'_> {
    fn is(&self, path: &Path) -> bool {
        path == self.path || path == self.canonical(self.path)
    }
}

/// Validates the manifest. What the template has and the local target does not is told apart from it, once.
fn check(terminal: &Terminal, draft: &Draft<'_>, obstacles: &[Problem]) -> Result<(), Failed> {
    if fs::symlink_metadata(draft.path).is_ok() {
        return Err(written(draft.path, &io::ErrorKind::AlreadyExists.into()));
    }
    let mut checked = validate::benchmark(draft, draft.path);
    if !obstacles.is_empty() {
        checked.problems.retain(|problem| problem.code != "invalid-template");
        if !checked.problems.iter().any(sb_plan::manifest::problem::Problem::is_error) {
            show_problems(terminal, &checked.problems);
            return Ok(());
        }
    }
    if checked.value.is_none() {
        show_problems(terminal, &checked.problems);
        let message =
            format!("the manifest for this template would have errors, so `{MANIFEST}` was not written");
        return Err(Failed::helped(
            Exit::InvalidManifest,
            message,
            "mend what is named above, and begin again",
        ));
    }
    accept(terminal, checked).map(drop)
}

/// Writes the manifest and, where there is none, the schema beside it: both or nothing.
fn keep(folder: &Path, draft: &Draft<'_>) -> Result<(), Failed> {
    let create = |path: &Path, text: &str| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        io::Write::write_all(&mut file, text.as_bytes()).inspect_err(|_| {
            // It is ours, and there in part.
            let _ = fs::remove_file(path);
        })
    };
    create(draft.path, &draft.text).map_err(|error| written(draft.path, &error))?;
    let schema = folder.join(SCHEMA.0);
    match create(&schema, SCHEMA.1) {
        // Somebody's own, or of an earlier manifest.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let _ = fs::remove_file(draft.path);
            Err(written(&schema, &error))
        }
        _ => Ok(()),
    }
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
    counted(number, what)
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
    /// A template, too.
    content_type: String,
    /// Something in its path stands for what only a person knows.
    has_made_up_path: bool,
    /// So does its body.
    has_made_up_body: bool,
    /// It invokes the function itself, by Lambda's Invoke API.
    is_invocation: bool,
}

/// One for each route, and one for each function that nothing else leads to; where there is no route, one for each function.
/// `remarks` gets what the sample events have and the requests do not.
fn requests(application: &Application, events: &Events, remarks: &mut Vec<String>) -> Vec<Request> {
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
    let mut requests: Vec<_> = routes
        .into_iter()
        .map(|route| {
            let sample = events.of_route(route, &application.routes);
            of_route(route, sample, &mut unique, remarks)
        })
        .collect();
    let invoked =
        application.functions.iter().filter(|function| !has_routes || is_alone(application, function));
    requests.extend(invoked.map(|function| {
        // JSON can always be written.
        let event = events.of_function(function).and_then(|event| literal(&event));
        Request {
            name: unique(identifier(&function.logical_id)),
            method: "POST".to_owned(),
            url: format!(
                "{{{{outputs.lambda_endpoint}}}}/2015-03-31/functions/{}/invocations",
                function.name
            ),
            has_made_up_body: event.is_none(),
            body: Some(event.unwrap_or_else(|| "{}".to_owned())),
            content_type: JSON.to_owned(),
            has_made_up_path: false,
            is_invocation: true,
        }
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

fn of_route(
    route: &Route,
    sample: Option<Sample>,
    unique: &mut dyn FnMut(String) -> String,
    remarks: &mut Vec<String>,
) -> Request {
    let of_route = if route.method == "ANY" { "GET" } else { &route.method };
    let method = sample.as_ref().map_or(of_route, |sample| &sample.method).to_owned();
    let path = if route.path.starts_with('/') { route.path.as_str() } else { "/" };
    let name = unique(identifier(&format!("{} {path}", method.to_ascii_lowercase())));
    let (known_path, query, body, content_type) = match sample {
        Some(sample) => (sample.path, sample.query, sample.body, sample.content_type),
        None => (None, String::new(), SampleBody::Unknown, None),
    };
    let filled: Vec<_> = path
        .split('/')
        .map(|part| if part.starts_with('{') && part.ends_with('}') { SAMPLE } else { part })
        .collect();
    let filled = filled.join("/");
    let has_made_up_path = known_path.is_none() && filled != path;
    let query = if query.is_empty() { query } else { format!("?{query}") };
    let unknown = ["POST", "PUT", "PATCH"].contains(&method.as_str()).then(|| "{}".to_owned());
    let mut left_out = |remark: String| {
        remarks.push(remark);
        None
    };
    let (body, has_made_up_body) = match body {
        SampleBody::Unknown => (unknown.clone(), unknown.is_some()),
        SampleBody::Absent => (None, false),
        SampleBody::Binary(file) => (
            left_out(format!(
                "`{name}` has no body: that of {file} is no text. Write the bytes into a file, and name it as `body_file`"
            )),
            false,
        ),
        SampleBody::Text(text) => {
            let written = literal(&text).or_else(|| {
                left_out(format!(
                    "`{name}` has no body: that of its sample event has braces after a backslash. Write it into a file, \
                     and name it as `body_file`"
                ))
            });
            (written, false)
        }
    };
    Request {
        url: format!("{{{{outputs.endpoint}}}}{}{query}", known_path.unwrap_or(filled)),
        name,
        method,
        body,
        content_type: content_type.and_then(|text| literal(&text)).unwrap_or_else(|| JSON.to_owned()),
        has_made_up_path,
        has_made_up_body,
        is_invocation: false,
    }
}

/// The template that gives this text: two braces stand for a value, unless a backslash precedes them. None: no template
/// gives it, since a backslash is there already, and it is no JSON, which can be written otherwise.
fn literal(text: &str) -> Option<String> {
    let gives = |source: &str| {
        let parsed = template::Template::parse(source).ok()?;
        let is_literal = parsed.pieces().iter().all(|piece| matches!(piece, template::Piece::Literal(_)));
        parsed.render(template::Context::Plain, &|_| None).ok().filter(|_| is_literal)
    };
    if !text.contains("{{") {
        return Some(text.to_owned());
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        // Four braces are read at once.
        let length = if rest[at..].starts_with("{{{{") { 4 } else { 2 };
        let _ = write!(escaped, "{}\\{}", &rest[..at], &rest[at..at + length]);
        rest = &rest[at + length..];
    }
    escaped.push_str(rest);
    if gives(&escaped).as_deref() == Some(text) {
        return Some(escaped);
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let other = text.replace("{{", "{\\u007b");
    (gives(&other).as_deref() == Some(&*other) && serde_json::from_str::<Value>(&other).ok()? == value)
        .then_some(other)
}

fn manifest(
    name: &str,
    template: &str,
    required: &[String],
    has_containers: bool,
    requests: &[Request],
) -> String {
    let mut text = format!("#:schema {}\n\n[benchmark]\nname = \"{name}\"\n", SCHEMA.0);
    if !required.is_empty() {
        text.push_str("\n# Parameters of the template that have no default: fill them in.\n[params]\n");
        for parameter in required {
            let _ = writeln!(text, "{parameter} = \"{SAMPLE}\"");
        }
    }
    let _ = write!(
        text,
        "\n[targets.local]\ntraces = \"local\"\n{}\n[[deploy]]\nname = \"stack\"\nlocal = {{ template = {} }}\n",
        if has_containers { "containers = true\n" } else { "" },
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
                "headers = {{ Content-Type = {} }}\n{kind}body = {}\n",
                toml_text(&request.content_type),
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
    if requests.iter().any(|request| request.has_made_up_body && !request.is_invocation) {
        notes.push("write what your functions expect into the bodies".to_owned());
    }
    if requests.iter().any(|request| request.has_made_up_path) {
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
        requests(
            &model.application(&BTreeMap::new(), &Place::any()).unwrap(),
            &Events::default(),
            &mut Vec::new(),
        )
    }

    #[test]
    fn braces_reach_the_function_as_they_are() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(literal(text).as_deref(), expected, "{text}");
        check("{\"t\": \"{x}\"}", Some("{\"t\": \"{x}\"}"));
        check("{\"t\": \"{{x}}\"}", Some("{\"t\": \"\\{{x}}\"}"));
        check("a {{{x}}} {{{{y}}}} {{~z~}}", Some("a \\{{{x}}} \\{{{{y}}}} \\{{~z~}}"));
        check("{{{{{{", Some("\\{{{{\\{{"));
        check("{\"t\": \"\\\\{{x}}\"}", Some("{\"t\": \"\\\\{\\u007bx}}\"}"));
        check("\\{{x}}", None);
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
