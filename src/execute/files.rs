//! The folder of an invocation, and what describes it there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use sb_durable::{Durability, HeldFolder, Options, folder_beneath};
use serde_json::{Map, Value, json};

use super::traces::TRACES_FILE;
use super::{Attempt, Deployed};
use sb_measurement::{INVOCATIONS_FILE, LoadSummary, SUMMARY_FILE};
use sb_plan::benchmark::{Action, Image, Sent};
use sb_plan::graph::StepKind;
use sb_plan::manifest::read::normal;

use sb_workload::upscale::Scaling;
use sb_workload::users::ThinkTime;
use sb_workload::{Load, LoadShape};

/// Makes `logs/<yyyy-mm-dd_HH-MM-SS>/` (UTC) beside a manifest; `-2` and so on is appended when the second is taken. A
/// `logs` that leads out of the root is refused: a step may have made a link of it.
pub(super) fn new_logs_folder(root: &Path, manifest: &Path) -> io::Result<PathBuf> {
    let logs = manifest.with_file_name("logs");
    let inside = below(root, &logs)?;
    let beside = folder_beneath(root, inside.parent().unwrap_or(Path::new("")))?;
    made(rustix::fs::mkdirat(&beside, "logs", Mode::from_raw_mode(0o777)))?;
    let folder = folder_beneath(root, inside).map_err(|error| about(&logs, &error))?;
    let start = jiff::Timestamp::now().strftime("%Y-%m-%d_%H-%M-%S").to_string();
    for number in 1.. {
        let name = if number == 1 { start.clone() } else { format!("{start}-{number}") };
        if made(rustix::fs::mkdirat(&folder, &name, Mode::from_raw_mode(0o777)))? {
            return Ok(logs.join(name));
        }
    }
    Err(io::Error::other("no free name"))
}

/// The folder of an invocation, as long as it lies below the root: a step may have made a link of it. Steps that run meanwhile
/// cannot change where its writer writes.
pub(super) fn held(attempt: &Attempt, logs: &Path) -> io::Result<HeldFolder> {
    HeldFolder::beneath(&attempt.deployment.benchmark.root, logs)
}

/// What a step reads by itself, and by a path that leads out of the root by now: a step that ran in a container may have made a
/// link, which would be followed on this machine.
pub(super) fn leads_out(attempt: &Attempt) -> Option<String> {
    let benchmark = &attempt.deployment.benchmark;
    let mut paths = Vec::new();
    let built = |image: Option<&Image>| match image {
        Some(Image::Build { dockerfile, context, .. }) => vec![dockerfile.clone(), context.clone()],
        _ => Vec::new(),
    };
    match &attempt.step.kind {
        StepKind::Manifest(step) => {
            paths.extend(built(step.environment.image.as_ref()));
            if let (Action::Load, Some(Sent::Script(script))) = (&step.action, &benchmark.workload) {
                paths.push(script.path.clone());
                paths.extend(built(Some(&script.image)));
            }
            paths.extend(step.action.template().map(|(template, _)| template.to_owned()));
        }
        StepKind::GetTraces | StepKind::AnalyzeTraces | StepKind::Decide => {
            let files = [INVOCATIONS_FILE, SUMMARY_FILE, TRACES_FILE];
            paths.extend(attempt.logs.iter().flat_map(|logs| files.map(|name| logs.join(name))));
        }
        StepKind::Pause { .. } => {}
    }
    let refused =
        |path: PathBuf| sb_durable::leads_out(&benchmark.root, &path).map(|error| refusal(&path, &error));
    if let Some(refused) = paths.into_iter().find_map(refused) {
        return Some(refused);
    }
    // The code of a template is named by a file that is known to be ours.
    let StepKind::Manifest(step) = &attempt.step.kind else { return None };
    let (template, _) = step.action.template()?;
    let text = String::from_utf8(sb_durable::read_beneath(&benchmark.root, template).ok()?).ok()?;
    let model = benchmark.templates.get(template, &text).ok()?;
    let beside = template.parent().unwrap_or(Path::new("/"));
    let code = model.assets().unwrap_or_default().into_iter().map(|asset| normal(&beside.join(asset.path)));
    code.into_iter().find_map(refused)
}

fn refusal(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot use `{}`: {error}; it did not when the manifest was checked: see which step makes a link there, and let it copy \
         the file instead",
        path.display()
    )
}

/// The path below the root, as the manifest was checked.
fn below<'a>(root: &Path, path: &'a Path) -> io::Result<&'a Path> {
    path.strip_prefix(root)
        .map_err(|_| io::Error::other(format!("it is not below the root `{}`", root.display())))
}

/// False: it was there before.
fn made(folder: rustix::io::Result<()>) -> io::Result<bool> {
    match folder {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

/// Writes `sb_config.yml` and `run.json`: what an invocation was, without secrets.
pub(super) fn describe(attempt: &Attempt, logs: &Path) -> io::Result<()> {
    let held = held(attempt, logs)?;
    let logs = &held.path();
    let (deployment, secrets) = (&attempt.deployment, &attempt.secrets);
    let public = |table: &str| -> Map<String, Value> {
        let values = attempt.values.get(table).and_then(Value::as_object).cloned().unwrap_or_default();
        values.into_iter().filter(|(name, _)| !secrets.names.contains(name)).collect()
    };
    let ours = json!({
        "app": deployment.application,
        "benchmark": deployment.benchmark.name,
        "target": deployment.target,
        "params": public("params"),
        "outputs": public("outputs"),
        "labels": deployment.labels,
    });
    // The published dataset's readers expect two tables: what is about the host, and the settings under the application's name.
    let mut yaml = String::from("sb:\n");
    push_table(&mut yaml, &ours);
    if deployment.application != "sb" {
        let summary = std::fs::read(logs.join(SUMMARY_FILE)).ok();
        let summary: Option<LoadSummary> = summary.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let settings = study_settings(deployment, &public("params"), summary.as_ref());
        yaml.push_str(&format!("{}:\n", json!(deployment.application)));
        push_table(&mut yaml, &settings);
    }
    // Whatever is in their place is replaced and not followed.
    let write = |name: &str, text: &str| {
        let options = Options::new().survives(Durability::Processes);
        sb_durable::write(&logs.join(name), options, secrets.redactor.text(text).as_bytes())
            .map_err(|error| error.source)
    };
    write("sb_config.yml", &yaml)?;
    let run = json!({
        "version": 2,
        "run": attempt.run,
        "plan": deployment.plan,
        "application": deployment.application,
        "factors": deployment.factors,
        "labels": deployment.labels,
        "deployment": deployment.id,
        "trial": attempt.values["trial"]["id"],
        "step": attempt.step.id,
        "attempt": attempt.number,
        "seed": deployment.seed,
        "load": load(&deployment.load),
        "sb_version": env!("CARGO_PKG_VERSION"),
    });
    write("run.json", &format!("{run:#}\n"))
}

/// One key a line. JSON strings are YAML strings, so values are written as JSON.
fn push_table(yaml: &mut String, table: &Value) {
    for (key, value) in table.as_object().into_iter().flatten() {
        yaml.push_str(&format!("  {key}: {value}\n"));
    }
}

/// The settings that the study's own scripts read, under their names. `summary`: of the load, once it has ended.
fn study_settings(
    deployment: &Deployed,
    params: &Map<String, Value>,
    summary: Option<&LoadSummary>,
) -> Value {
    // What a label of the plan says goes before what is known otherwise.
    let labelled = |name: &str| deployment.labels.get(name).map(|label| json!(label));
    let label = labelled("label").unwrap_or_else(|| json!(deployment.plan));
    let (mut level, mut kind, mut skip) = (Value::Null, json!("custom"), Value::Null);
    let (mut scale_type, mut scale_factor, mut scale_rate) = (Value::Null, Value::Null, Value::Null);
    match &deployment.load.shape {
        LoadShape::Constant { rate, .. } => level = json!(rate),
        LoadShape::Trace(trace) => {
            kind = json!(trace.name);
            skip = json!(trace.skip.as_secs_f64());
            let (name, factor, rate) = match trace.scaling {
                Scaling::None => (Value::Null, json!(1), Value::Null),
                Scaling::Factor(factor) => (json!("linear"), json!(factor), Value::Null),
                Scaling::Rate(rate) => (json!("linear"), Value::Null, json!(rate)),
                Scaling::CompoundFactor(factor) => (json!("compound"), json!(factor), Value::Null),
                Scaling::CompoundRate(rate) => (json!("compound"), Value::Null, json!(rate)),
            };
            (scale_type, scale_factor, scale_rate) = (name, factor, rate);
        }
        LoadShape::Replay(replay) => kind = json!(replay.name),
        _ => {}
    }
    let time = |time: sb_measurement::Timestamp| {
        let time = jiff::Timestamp::from_microsecond(time.micros()).unwrap_or_default();
        time.strftime("%Y-%m-%d %H:%M:%S%.6f+00:00").to_string()
    };
    let events = summary.map(|summary| {
        [format!("{},invoke,start", time(summary.started)), format!("{},invoke,end", time(summary.ended))]
    });
    json!({
        "label": label,
        "load_level": labelled("load_level").unwrap_or(level),
        "workload_label": labelled("workload_label"),
        "workload_type": labelled("workload_type").unwrap_or(kind),
        "workload_trace": Value::Null,
        "seconds_to_skip": skip,
        "sb_event_log": events.map_or_else(Vec::new, Vec::from),
        "region": params.get("region"),
        "provider": deployment.target,
        "scale_type": scale_type,
        "scale_factor": scale_factor,
        "scale_rate_per_second": scale_rate,
    })
}

/// A load as people and notebooks read it: what it is under `kind`, units in the names, times in seconds.
fn load(load: &Load) -> Value {
    let seconds = |time: &Duration| time.as_secs_f64();
    let mut described = match &load.shape {
        LoadShape::Iterations { iterations } => json!({ "kind": "iterations", "iterations": iterations }),
        LoadShape::Constant { rate, duration } => {
            json!({ "kind": "constant", "rate_per_s": rate, "duration_s": seconds(duration) })
        }
        LoadShape::Stages { start_rate, stages } => {
            let stages = stages.iter().map(
                |stage| json!({ "target_rate_per_s": stage.target, "duration_s": seconds(&stage.duration) }),
            );
            json!({ "kind": "stages", "start_rate_per_s": start_rate, "stages": stages.collect::<Vec<_>>() })
        }
        LoadShape::Trace(trace) => {
            let scaling = match trace.scaling {
                Scaling::None => json!({ "kind": "none" }),
                Scaling::Factor(factor) => json!({ "kind": "linear", "factor": factor }),
                Scaling::Rate(rate) => json!({ "kind": "linear", "rate_per_s": rate }),
                Scaling::CompoundFactor(factor) => json!({ "kind": "compound", "factor": factor }),
                Scaling::CompoundRate(rate) => json!({ "kind": "compound", "rate_per_s": rate }),
            };
            let mut described = json!({
                "kind": "trace", "name": trace.name, "invocations_per_minute": trace.per_minute,
                "skip_s": seconds(&trace.skip), "scaling": scaling, "seed": trace.seed, "arrivals": trace.arrivals,
            });
            add_origin(&mut described, load);
            described
        }
        LoadShape::Replay(replay) => {
            let at: Vec<f64> = replay.at.iter().map(seconds).collect();
            let mut described = json!({ "kind": "replay", "name": replay.name, "at_s": at });
            add_origin(&mut described, load);
            described
        }
        LoadShape::Bursts { size, at } => {
            json!({ "kind": "bursts", "size": size, "at_s": at.iter().map(seconds).collect::<Vec<_>>() })
        }
        LoadShape::Users { users, duration, think_time } => json!({
            "kind": "users", "users": users, "duration_s": seconds(duration), "think_time": thinking(think_time),
        }),
        LoadShape::K6(options) => json!({ "kind": "k6_options", "options": options }),
    };
    described["speed"] = json!(load.speed);
    described["expected_latency_s"] = json!(load.expected_latency.as_ref().map(seconds));
    described["max_error_rate"] = json!(load.tolerances.max_error_rate);
    described["max_dropped"] = json!(load.tolerances.max_dropped);
    described["max_lateness_s"] = json!(load.tolerances.max_lateness.as_ref().map(seconds));
    described
}

/// Where a load is from, and what became of the minutes of its dataset.
fn add_origin(described: &mut Value, load: &Load) {
    if let Some(origin) = load.origin().filter(|origin| !origin.facts.is_empty()) {
        described["source"] = json!(origin.facts);
    }
    if let Some(minutes) = load.minutes() {
        // Sixty rates are not added up more exactly.
        let upscaled = minutes.upscaled.iter().map(|count| (count * 1e6).round() / 1e6);
        described["minutes"] = json!({
            "first": minutes.first,
            "original": minutes.original,
            "upscaled": upscaled.collect::<Vec<_>>(),
            "planned": minutes.planned,
        });
    }
}

fn thinking(time: &ThinkTime) -> Value {
    match time {
        ThinkTime::Fixed(time) => json!({ "kind": "fixed", "time_s": time.as_secs_f64() }),
        ThinkTime::Uniform { min, max } => {
            json!({ "kind": "uniform", "min_s": min.as_secs_f64(), "max_s": max.as_secs_f64() })
        }
        ThinkTime::Exponential { mean } => json!({ "kind": "exponential", "mean_s": mean.as_secs_f64() }),
        ThinkTime::LogNormal { median, p99 } => {
            json!({ "kind": "log_normal", "median_s": median.as_secs_f64(), "p99_s": p99.as_secs_f64() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sb_workload::{ArrivalProcess, Origin, ReplayLoad, Stage, TraceLoad};

    /// Keys in lower case, and each number whose unit could be asked for with the unit in its name.
    #[test]
    fn loads_are_described_in_words_of_json() {
        let second = Duration::from_secs(1);
        let trace = TraceLoad {
            name: "steady".to_owned(),
            per_minute: vec![60.0],
            skip: Duration::ZERO,
            scaling: Scaling::CompoundRate(20.0),
            seed: 7,
            arrivals: ArrivalProcess::Poisson,
            origin: Origin { facts: vec!["file: d01.csv".to_owned()], ..Origin::default() },
        };
        for (shape, expected) in [
            (LoadShape::Iterations { iterations: 3 }, json!({ "kind": "iterations", "iterations": 3 })),
            (
                LoadShape::Constant { rate: 20.0, duration: second * 90 },
                json!({ "kind": "constant", "rate_per_s": 20.0, "duration_s": 90.0 }),
            ),
            (
                LoadShape::Stages {
                    start_rate: 1.0,
                    stages: vec![Stage { target: 2.0, duration: second / 2 }],
                },
                json!({ "kind": "stages", "start_rate_per_s": 1.0, "stages": [{ "target_rate_per_s": 2.0, "duration_s": 0.5 }] }),
            ),
            (
                LoadShape::Trace(trace),
                json!({
                    "kind": "trace", "name": "steady", "invocations_per_minute": [60.0], "skip_s": 0.0, "seed": 7,
                    "scaling": { "kind": "compound", "rate_per_s": 20.0 }, "arrivals": "poisson",
                    "source": ["file: d01.csv"],
                }),
            ),
            (
                LoadShape::Bursts { size: 5, at: vec![Duration::ZERO, second] },
                json!({ "kind": "bursts", "size": 5, "at_s": [0.0, 1.0] }),
            ),
            (
                LoadShape::Replay(ReplayLoad {
                    name: "starts.csv".to_owned(),
                    at: vec![Duration::ZERO, second * 61],
                    origin: Origin {
                        facts: vec!["dataset: d".to_owned()],
                        per_minute: vec![2.0, 4.0],
                        factor: None,
                    },
                }),
                json!({
                    "kind": "replay", "name": "starts.csv", "at_s": [0.0, 61.0], "source": ["dataset: d"],
                    "minutes": { "first": 0, "original": [2.0, 4.0], "upscaled": [1.0, 1.0], "planned": [1, 1] },
                }),
            ),
            (
                LoadShape::Users {
                    users: 5,
                    duration: second * 30,
                    think_time: ThinkTime::Uniform { min: second, max: second * 2 },
                },
                json!({
                    "kind": "users", "users": 5, "duration_s": 30.0,
                    "think_time": { "kind": "uniform", "min_s": 1.0, "max_s": 2.0 },
                }),
            ),
            (LoadShape::K6(json!({ "vus": 1 })), json!({ "kind": "k6_options", "options": { "vus": 1 } })),
        ] {
            let mut found = load(&Load { expected_latency: Some(second / 4), ..Load::new(shape) });
            let table = found.as_object_mut().unwrap();
            let common = ["speed", "expected_latency_s", "max_error_rate", "max_dropped", "max_lateness_s"];
            let common: Vec<Value> = common.iter().filter_map(|key| table.remove(*key)).collect();
            assert_eq!(common, [json!(1.0), json!(0.25), json!(0.01), json!(0.01), Value::Null]);
            assert_eq!(found, expected);
        }
    }
}
