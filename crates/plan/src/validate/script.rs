//! Workloads that are a k6 script: what goes with one, what does not, and which loads suit it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::benchmark::{Image, Phase, Script, Sent};
use crate::manifest::decode::{Map, Text};
use crate::manifest::load::LoadFile;
use crate::manifest::problem::{Problem, Report, Source, Span};
use crate::manifest::read::{Files, normal};
use crate::manifest::tree::Spanned;
use crate::manifest::workload::{EngineWord, OptionsFile, WorkloadFile};
use crate::validate::check::ManifestFolder;
use crate::validate::contents;
use crate::validate::environment;
use crate::validate::load::{SHAPES, Values};
use crate::validate::template::{Role, Scope, User};
use crate::validate::workload::workload;
use sb_workload::template::{Context, Template};
use sb_workload::users::ThinkTime;
use sb_workload::{Load, LoadShape};

/// The name of k6's image, in the table of default images and in `[images]`.
const K6: &str = "k6";

/// What a workload's file means beside itself.
pub(super) struct Around<'a> {
    pub files: &'a dyn Files,
    /// The folder of the file.
    pub place: &'a ManifestFolder,
    pub images: &'a BTreeMap<String, Image>,
    pub scope: &'a Scope,
    pub targets: &'a [String],
    /// Of the workload's first line.
    pub span: &'a Span,
}

/// Checks a raw workload: requests, or a script.
pub(super) fn sent(file: &WorkloadFile, around: &Around<'_>, report: &mut Report) -> Option<Sent> {
    let engine = file.engine.as_ref().map(|engine| (engine.value, &engine.span));
    let Some(path) = &file.script else {
        if let Some((EngineWord::K6, span)) = engine {
            report.push(
                Problem::error("invalid-script", "the load generator `k6` needs a script")
                    .at(span, "runs which script?")
                    .help("add `script = \"workload.js\"`; for requests, use `engine = \"native\"` or leave it out"),
            );
        }
        for (key, span) in script_keys(file) {
            report.push(
                Problem::error("invalid-script", format!("`{key}` belongs to a script"))
                    .at(span, "there is no script")
                    .help("add `script = \"workload.js\"`, or remove this key"),
            );
        }
        let Around { files, place, scope, targets, span, .. } = around;
        return Some(Sent::Requests(Arc::new(workload(file, *files, place, scope, targets, span, report))));
    };
    if let Some((EngineWord::Native, span)) = engine {
        report.push(
            Problem::error("invalid-script", "the load generator `native` runs no scripts")
                .at(span, "sends requests")
                .help("use `engine = \"k6\"`, or describe the requests as [[workload.requests]] instead"),
        );
    }
    let theirs = [
        ("requests", file.requests.as_ref().map(|requests| &requests.span)),
        ("sequences", file.sequences.as_ref().map(|sequences| &sequences.span)),
        ("timeout", file.timeout.as_ref().map(|timeout| &timeout.span)),
    ];
    let settings = [
        ("http_version", file.http_version.is_some()),
        ("connection_reuse", file.connection_reuse.is_some()),
        ("tls", file.tls.is_some()),
        ("trace_header", file.trace_header.is_some()),
        ("cookies", file.cookies.is_some()),
        ("k6_metrics", file.k6_metrics.is_some()),
    ];
    for (key, _) in settings.into_iter().filter(|(_, given)| *given) {
        report.push(
            Problem::error("invalid-script", format!("`{key}` is not for scripts"))
                .at(&path.span, "the script says how it is sent")
                .help(format!("remove `{key}`; k6 has options of its own, which go into `options`")),
        );
    }
    for (key, span) in theirs {
        let Some(span) = span else { continue };
        report.push(
            Problem::error("invalid-script", format!("the workload has both `script` and `{key}`"))
                .at(span, "the script says what is sent, and how")
                .at(&path.span, "the script")
                .help("keep one of them"),
        );
    }
    let before = report.problems.len();
    let image = match &file.image {
        Some(image) => environment::image_of(around.images, image, report),
        None => Some(around.images.get(K6).cloned().unwrap_or_else(|| Image::Default(K6.to_owned()))),
    };
    let script = Script {
        path: around.place.existing(around.files, path, false, "the script", report),
        env: env(file, around, report),
        options: options(file, around, report),
        image: image?,
        generators: file.load_generators.as_ref().map(|list| generators(list, report)).unwrap_or_default(),
    };
    if report.problems.len() > before {
        return None;
    }
    let made = contents::named_by_script(&script.path, &around.place.root, around.files);
    let shown = script.path.strip_prefix(&around.place.root).unwrap_or(&script.path).display().to_string();
    unusable(&script, path, &shown, around.files, report);
    missing(&made.missing, around.files, report);
    unknown(&made.unknown, path, report);
    if report.problems.iter().skip(before).any(Problem::is_error) {
        return None;
    }
    Some(Sent::Script(Arc::new(script)))
}

/// Reports what k6 would refuse after the deployment: a script that has nothing to run.
fn unusable(script: &Script, path: &Text, shown: &str, files: &dyn Files, report: &mut Report) {
    use contents::Unusable;
    const ADD: &str = "add what an iteration does: `export default function () { … }`";
    let names_exec = script.options.to_string().contains("\"exec\"");
    let problem = match contents::unusable(&script.path, files) {
        None => return,
        Some(Unusable::Empty) => {
            Problem::error("invalid-script", format!("the script `{shown}` is empty")).help(ADD)
        }
        Some(_) if names_exec => return,
        Some(Unusable::NoFunction) => {
            Problem::error("invalid-script", format!("the script `{shown}` exports no function to run"))
                .help(ADD)
        }
        Some(Unusable::NoDefault(name)) => {
            let message = format!("the script `{shown}` has no default function");
            Problem::warning("no-default-function", message).help(format!(
                "{ADD}; without one, only a load with `k6_options` whose scenarios say `exec: \"{name}\"` can run it"
            ))
        }
    };
    report.push(problem.at(&path.span, "has nothing to run"));
}

/// Whether a text has a file's name as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let is_of_name = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(is_of_name) && !text[at + name.len()..].starts_with(is_of_name))
}

/// Reports what the script imports or opens and what is not there, where it is written.
fn missing(missing: &[contents::Missing], files: &dyn Files, report: &mut Report) {
    for one in missing {
        // A step that names the file may write it.
        let name = one.written.rsplit('/').next().unwrap_or(&one.written);
        if names(report.source.text(), name) {
            continue;
        }
        let Ok(text) = files.read(&one.script) else { continue };
        let folder = one.script.parent().unwrap_or(&one.script);
        let message = format!("the script uses `{}`, which does not exist", one.written);
        let mut problem = Problem::error("missing-file", message)
            .at(&one.span, "no such file")
            .help(format!("create {}, or correct the path", normal(&folder.join(&one.written)).display()));
        problem.source = Some(Arc::new(Source::new(&one.script, &String::from_utf8_lossy(&text))));
        report.problems.push(problem);
    }
}

/// Says what a script uses that nobody can know before it runs.
fn unknown(unknown: &BTreeSet<String>, script: &Text, report: &mut Report) {
    const NAMED: usize = 5;
    if unknown.is_empty() {
        return;
    }
    let mut named: Vec<String> = unknown.iter().take(NAMED).cloned().collect();
    if unknown.len() > NAMED {
        named.push(format!("{} more", unknown.len() - NAMED));
    }
    report.push(
        Problem::note("invalid-script", format!("the script also uses {}", named.join(", ")))
            .at(&script.span, "a run does not keep what is in them")
            .help("an edit of them is not noticed by `sb resume`: let copies lie below the root, and name them in quotes, as in `import \"./lib.js\"`"),
    );
}

fn script_keys(file: &WorkloadFile) -> impl Iterator<Item = (&'static str, &Span)> {
    let env = file.env.as_ref().and_then(|env| env.iter().next()).map(|(name, _)| ("env", &name.span));
    let others = [
        ("options", file.options.as_ref().map(|options| &options.span)),
        ("image", file.image.as_ref().map(|image| &image.span)),
        ("load_generators", file.load_generators.as_ref().map(|list| &list.span)),
    ];
    env.into_iter().chain(others.into_iter().filter_map(|(key, span)| Some((key, span?))))
}

fn env(file: &WorkloadFile, around: &Around<'_>, report: &mut Report) -> BTreeMap<String, Template> {
    let user = User { phase: Phase::Invoke, step: None, request: None, targets: around.targets };
    for (name, value) in file.env.iter().flat_map(Map::iter) {
        if name.value.starts_with("K6_") {
            report.push(
                Problem::error("invalid-script", format!("`{}` would change how k6 runs", name.value))
                    .at(&name.span, "k6 reads variables that begin with K6_")
                    .help("set it in `options`, whose keys are those of k6's options"),
            );
        }
        around.scope.check(value, Role::Plain, user, report);
    }
    environment::variables(file.env.as_ref(), report)
}

fn options(file: &WorkloadFile, around: &Around<'_>, report: &mut Report) -> Value {
    let (options, span) = match &file.options {
        None => return Value::Object(serde_json::Map::new()),
        Some(Spanned { value: OptionsFile::Inline(options), span }) => (options.0.clone(), span),
        Some(Spanned { value: OptionsFile::Path(path), span }) => {
            let path = Text { value: path.clone(), span: span.clone() };
            let before = report.problems.len();
            let file = around.place.existing(around.files, &path, false, "the options", report);
            if report.problems.len() > before {
                return Value::Null;
            }
            match read_options(around.files, &file) {
                Ok(options) => (options, span),
                Err(problem) => {
                    report.push(problem.at(span, "these options"));
                    return Value::Null;
                }
            }
        }
    };
    if let Some(key) =
        ["vus", "duration", "iterations", "stages"].iter().find(|key| options.get(key).is_some())
    {
        report.push(
            Problem::error("invalid-script", format!("the option `{key}` would replace the load"))
                .at(span, format!("sets `{key}`"))
                .help("say when to send in the load; a load of your own: `load = { k6_options = \"options.json\" }`"),
        );
    }
    options
}

/// JSON with a table at its top.
fn read_options(files: &dyn Files, file: &std::path::Path) -> Result<Value, Box<Problem>> {
    let wrong = |message: String, help: &str| {
        let problem = Problem::error("invalid-script", format!("`{}`: {message}", file.display()));
        Box::new(problem.help(help.to_owned()))
    };
    let bytes = files.read(file).map_err(|error| wrong(error.to_string(), "check the path"))?;
    let help = "write the options as k6 has them: {\"scenarios\": {…}, \"thresholds\": {…}}";
    match serde_json::from_str(&sb_workload::document::text(&bytes)) {
        Ok(options @ Value::Object(_)) => Ok(options),
        Ok(_) => Err(wrong("it holds no table of options".to_owned(), help)),
        Err(error) => Err(wrong(format!("it is not JSON: {error}"), help)),
    }
}

/// Addresses of engines, each once.
pub(super) fn generators(list: &Spanned<Vec<Text>>, report: &mut Report) -> Vec<String> {
    if list.value.is_empty() {
        report.push(
            Problem::error("invalid-script", "there are no load generators").at(&list.span, "empty").help(
                "name Docker engines: [\"ssh://lg1\", \"ssh://lg2\"]; remove the key to send from here",
            ),
        );
    }
    let mut seen = BTreeSet::new();
    for address in &list.value {
        let known = ["unix://", "ssh://", "tcp://"].iter().any(|scheme| {
            address.value.strip_prefix(scheme).is_some_and(|rest| !rest.trim_matches('/').is_empty())
        });
        if !known {
            report.push(
                Problem::error("invalid-script", format!("`{}` is not the address of a Docker engine", address.value))
                    .at(&address.span, "not an address")
                    .help("write it as DOCKER_HOST has it: \"ssh://user@host\", \"tcp://host:2375\" or \"unix:///path\""),
            );
        } else if !seen.insert(address.value.as_str()) {
            report.push(
                Problem::error("duplicate-name", format!("`{}` is named twice", address.value))
                    .at(&address.span, "again")
                    .help("name each engine once: it sends one share of the load"),
            );
        }
    }
    list.value.iter().map(|address| address.value.clone()).collect()
}

/// `k6_options = "options.json"`.
pub(super) fn load(
    load: &LoadFile,
    path: &Spanned<Template>,
    values: &Values<'_>,
    report: &mut Report,
) -> Option<LoadShape> {
    let theirs = [
        ("speed", load.speed.as_ref().map(|value| &value.span)),
        ("expected_latency", load.expected_latency.as_ref().map(|value| &value.span)),
    ];
    for (key, span) in theirs {
        let Some(span) = span else { continue };
        report.push(
            Problem::error("invalid-load", format!("`{key}` means nothing to options for k6"))
                .at(span, "they are used as they are")
                .help(SHAPES),
        );
    }
    let name = match path.value.render(Context::Plain, values.lookup) {
        Ok(name) => name,
        Err(error) => {
            report.push(
                Problem::error("invalid-value", format!("{error}{}", values.point))
                    .at(&path.span, "this template")
                    .help("give the factor or variable a value"),
            );
            return None;
        }
    };
    let options = values.file(&name).and_then(|file| read_options(values.files, &file));
    options.map_err(|problem| report.push(problem.at(&path.span, "these options"))).ok().map(LoadShape::K6)
}

const NO_THOUGHT: ThinkTime = ThinkTime::Fixed(Duration::ZERO);

/// Why this load cannot drive what is sent, if it cannot.
pub(super) fn mismatch(sent: Option<&Sent>, load: &Load) -> Option<Problem> {
    let wrong = |message: &str, help: &str| {
        Some(Problem::error("invalid-script", message.to_owned()).help(help.to_owned()))
    };
    match sent {
        Some(Sent::Requests(_)) if matches!(load.shape, LoadShape::K6(_)) => wrong(
            "options for k6 drive scripts only, and the workload has requests",
            "use another load, or a workload with `script = \"workload.js\"`",
        ),
        Some(Sent::Script(_)) if load.tolerances.max_lateness.is_some() => wrong(
            "`max_lateness` cannot be checked for a script: k6 does not tell when an invocation was due",
            "remove it; `max_dropped` tells of those that k6 could not send in time",
        ),
        Some(Sent::Script(_)) if matches!(&load.shape, LoadShape::Users { think_time, .. } if *think_time != NO_THOUGHT) => {
            wrong(
                "`think_time` has no effect on a script: its users think where it says so",
                "remove it, and call `sleep(2)` of k6 in the script",
            )
        }
        Some(Sent::Script(script))
            if script.generators.len() > 1 && matches!(load.shape, LoadShape::Iterations { .. }) =>
        {
            wrong(
                "iterations one after another cannot be shared by several load generators",
                "use a load with a rate, or a single load generator",
            )
        }
        Some(Sent::Script(script)) if matches!(load.shape, LoadShape::Users { users, .. } if users < script.generators.len() as u64) => {
            wrong(
                "there are fewer users than load generators, and each generator needs one",
                "use more `users`, or fewer load generators",
            )
        }
        _ => None,
    }
}
