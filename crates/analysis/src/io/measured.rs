//! The traces of invocation folders, each with what is known of its measurement.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use super::browse::{for_each_joined_trace, for_each_trace};
use super::folders::describe;
use super::fused::for_each_fused_trace;
use crate::invalid::Rejected;
use crate::method::Method;
use crate::path::breakdown::Analysis;
use crate::requests::Requests;
use crate::span::{Recorded, Trace};
use crate::what_if::figures::TrialOfTrace;
use sb_measurement::INVOCATIONS_FILE;

/// Whether the functions on the critical path of a trace were running already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColdState {
    /// Every function on the path had to start.
    Cold,
    /// Some had.
    Partial,
    /// None had, or there is none.
    Warm,
}

impl ColdState {
    /// Of a trace that can be explained.
    pub fn of(trace: &Trace<'_>, analysis: &Analysis) -> Self {
        Self::of_counts(analysis.row.num_cold_starts, Self::functions(trace, analysis))
    }

    /// How many functions are on the critical path.
    pub fn functions(trace: &Trace<'_>, analysis: &Analysis) -> u64 {
        analysis.path.iter().filter(|&&span| trace.node(span).role.is_function()).count() as u64
    }

    /// Of a path with so many cold starts and functions.
    pub fn of_counts(cold_starts: u64, functions: u64) -> Self {
        match cold_starts {
            0 => Self::Warm,
            starts if starts < functions => Self::Partial,
            _ => Self::Cold,
        }
    }

    /// `cold`, `partial` or `warm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Partial => "partial",
            Self::Warm => "warm",
        }
    }
}

/// Calls `each` for the traces of a file that can be explained: with the trace's id, and how many cold starts and functions are
/// on its critical path.
///
/// # Errors
/// The file cannot be read.
pub fn for_each_path(file: &Path, mut each: impl FnMut(&str, u64, u64)) -> io::Result<()> {
    for_each_trace(file, "", |recorded| {
        let _ = recorded.and_then(|recorded| {
            Method::default().inspect(recorded, |trace, analysis| {
                if let Ok(analysis) = analysis {
                    each(&trace.id, analysis.row.num_cold_starts, ColdState::functions(trace, &analysis));
                }
            })
        });
        // What cannot be explained is no valid trace.
        true
    })
}

/// By what traces are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// `app`: the application.
    Application,
    /// `request`: the type of the request.
    Request,
    /// `cold`: the [`ColdState`].
    Cold,
    /// The name of a factor of the matrix, or of a label.
    Value(String),
}

impl GroupKey {
    /// `app`, `request`, `cold`, or the name of a factor or label.
    pub fn parse(word: &str) -> Self {
        match word {
            "app" => Self::Application,
            "request" => Self::Request,
            "cold" => Self::Cold,
            name => Self::Value(name.to_owned()),
        }
    }

    /// As it is typed.
    pub fn name(&self) -> &str {
        match self {
            Self::Application => "app",
            Self::Request => "request",
            Self::Cold => "cold",
            Self::Value(name) => name,
        }
    }
}

/// What is known of the measurement that a trace is of.
#[derive(Clone, Debug)]
pub struct Measured<'f> {
    /// The file of the trace.
    pub file: &'f Path,
    /// Its place in the list of files.
    pub file_number: u32,
    /// By the folder's `run.json`; without one, by the layout `APPLICATION/logs/TIME`. Empty where neither says it.
    pub application: &'f str,
    /// Levels of factors, and labels, by name.
    pub values: &'f BTreeMap<String, String>,
    /// The type of the request; `None` where no invocation is known of the trace.
    pub request: Option<&'f str>,
    /// Which trial it is of.
    pub trial: TrialOfTrace,
}

/// What was measured: traces of one setting are repetitions of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// As in [`Measured::application`].
    pub application: String,
    /// As in [`Measured::values`].
    pub values: BTreeMap<String, String>,
}

impl Setting {
    /// Names for settings, in their order: the application, and those values that differ within the application.
    pub fn names<'a>(settings: impl Iterator<Item = &'a Self> + Clone) -> Vec<String> {
        let differs = |setting: &Self, name: &str| {
            let mut others = settings.clone().filter(|other| other.application == setting.application);
            others.any(|other| other.values.get(name) != setting.values.get(name))
        };
        let name = |setting: &'a Self| {
            let values = setting.values.iter().filter(|(name, _)| differs(setting, name));
            let values = values.map(|(name, value)| format!("{name} = {value}"));
            let application =
                if setting.application.is_empty() { "all traces" } else { &setting.application };
            std::iter::once(application.to_owned()).chain(values).collect::<Vec<_>>().join(", ")
        };
        settings.clone().map(name).collect()
    }
}

impl Measured<'_> {
    /// What was measured.
    pub fn setting(&self) -> Setting {
        Setting { application: self.application.to_owned(), values: self.values.clone() }
    }

    /// What a trace has for a key; empty where it has nothing.
    pub fn value(&self, key: &GroupKey, trace: &Trace<'_>, analysis: &Analysis) -> String {
        match key {
            GroupKey::Application => self.application.to_owned(),
            GroupKey::Request => self.request.unwrap_or_default().to_owned(),
            GroupKey::Cold => ColdState::of(trace, analysis).name().to_owned(),
            GroupKey::Value(name) => self.values.get(name).cloned().unwrap_or_default(),
        }
    }
}

/// Calls `valid` for the traces of files that can be explained, and `invalid` for the others.
///
/// What is known of a measurement is read from `run.json` and `invocations.csv` beside each file. A trial is a folder. Trials are of
/// one deployment if their `run.json` says so, and otherwise each is of its own.
///
/// # Errors
/// A file cannot be read, or what is beside it is damaged.
pub fn for_each_measured(
    files: &[PathBuf],
    join_linked: bool,
    valid: &mut dyn FnMut(&Trace<'_>, &Analysis, &Measured<'_>),
    invalid: &mut dyn FnMut(Rejected),
) -> io::Result<()> {
    for_each_of_groups(files.iter().map(std::slice::from_ref), join_linked, valid, invalid)
}

/// As [`for_each_measured`], of groups of files: those of X-Ray and of OpenTelemetry that hold parts of the same traces
/// ([`are_parts_of_traces`](crate::are_parts_of_traces)), or one file alone. What lies beside the first file of a group that has
/// something beside it is that of the whole group; its first file stands for it, and links of a group are always followed.
///
/// # Errors
/// A file cannot be read, or what is beside it is damaged.
pub fn for_each_measured_together(
    groups: &[Vec<PathBuf>],
    join_linked: bool,
    valid: &mut dyn FnMut(&Trace<'_>, &Analysis, &Measured<'_>),
    invalid: &mut dyn FnMut(Rejected),
) -> io::Result<()> {
    for_each_of_groups(groups.iter().map(Vec::as_slice), join_linked, valid, invalid)
}

fn for_each_of_groups<'g>(
    groups: impl Iterator<Item = &'g [PathBuf]>,
    join_linked: bool,
    valid: &mut dyn FnMut(&Trace<'_>, &Analysis, &Measured<'_>),
    invalid: &mut dyn FnMut(Rejected),
) -> io::Result<()> {
    let mut deployments: HashMap<String, u32> = HashMap::new();
    for (files, number) in groups.zip(0_u32..) {
        let is_described = |file: &&PathBuf| {
            ["run.json", INVOCATIONS_FILE].iter().any(|name| file.with_file_name(name).is_file())
        };
        let Some(file) = files.iter().find(is_described).or(files.first()) else { continue };
        let folder = std::path::absolute(file)?.with_file_name("");
        let described = describe(&folder).map_err(io::Error::other)?;
        let application = described.application.unwrap_or_else(|| application_of(&folder));
        // What is before the trial in `app.1/t1` is the repetition, which is a deployment.
        let deployment = match (&described.run, described.trial.as_deref().and_then(|it| it.split_once('/')))
        {
            (Some(run), Some((repetition, _))) => format!("{run} {repetition}"),
            _ => folder.display().to_string(),
        };
        let next = deployments.len() as u32;
        let deployment = *deployments.entry(deployment).or_insert(next);
        let requests = Requests::beside(file)?;
        let trial = TrialOfTrace { deployment, trial: number };
        let mut each = |recorded: Result<Recorded<'_>, Rejected>| {
            let seen = recorded.and_then(|recorded| {
                Method::default().inspect(recorded, |trace, analysis| {
                    let request = requests.get(&trace.id);
                    // Traces of both sources have the id of W3C, also where the invocation was sent with that of X-Ray.
                    let request = request.or_else(|| requests.get(&xray_form(&trace.id)?));
                    let (application, values) = (application.as_str(), &described.values);
                    let measured =
                        Measured { file, file_number: number, application, values, request, trial };
                    match analysis {
                        Ok(analysis) => {
                            valid(trace, &analysis, &measured);
                            None
                        }
                        Err(reason) => Some(Rejected { id: Some(trace.id.to_string()), reason }),
                    }
                })
            });
            if let Some(rejected) = seen.unwrap_or_else(Some) {
                invalid(rejected);
            }
            true
        };
        match files {
            [file] if join_linked => for_each_joined_trace(file, "", &mut each)?,
            [file] => for_each_trace(file, "", &mut each)?,
            parts => for_each_fused_trace(parts, &mut each)?,
        }
    }
    Ok(())
}

/// An id of 32 hexadecimal digits as X-Ray writes it.
fn xray_form(id: &str) -> Option<String> {
    let is_w3c = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_w3c.then(|| format!("1-{}-{}", &id[..8], &id[8..]))
}

/// In the layout of the published dataset: `APPLICATION/logs/TIME/`.
fn application_of(folder: &Path) -> String {
    let logs = folder.parent().filter(|above| above.file_name().is_some_and(|name| name == "logs"));
    let application = logs.and_then(Path::parent).and_then(Path::file_name);
    application.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn trace(id: &str, starts: usize) -> String {
        let mut segments = vec![
            json!({ "id": "r", "name": "api", "origin": "AWS::ApiGateway::Stage", "start_time": 0.0, "end_time": 1.0 }),
        ];
        for (place, name) in ["f", "g"].into_iter().enumerate() {
            let from = 0.1 + 0.4 * place as f64;
            let (lambda, function) = (format!("l{name}"), format!("x{name}"));
            segments.push(json!({ "id": lambda, "parent_id": "r", "name": name, "origin": "AWS::Lambda",
                                  "start_time": from, "end_time": from + 0.3 }));
            segments.push(
                json!({ "id": function, "parent_id": lambda, "name": name, "origin": "AWS::Lambda::Function",
                                  "start_time": from + 0.1, "end_time": from + 0.2 }),
            );
            if place < starts {
                segments
                    .push(json!({ "id": format!("i{name}"), "parent_id": function, "name": "Initialization",
                                      "start_time": from + 0.01, "end_time": from + 0.09 }));
            }
        }
        let segments: Vec<_> = segments.iter().map(|it| json!({ "Document": it.to_string() })).collect();
        json!({ "Id": id, "Duration": 1.0, "Segments": segments }).to_string()
    }

    #[test]
    fn traces_come_with_what_is_known_of_their_measurement() {
        let root = tempfile::tempdir().unwrap();
        let folder = |path: &str, described: Option<serde_json::Value>, traces: &[String]| {
            let folder = root.path().join(path);
            fs::create_dir_all(&folder).unwrap();
            if let Some(described) = described {
                fs::write(folder.join("run.json"), described.to_string()).unwrap();
            }
            fs::write(folder.join("traces.json"), traces.join("\n")).unwrap();
            folder.join("traces.json")
        };
        let described = |trial: &str, size: i64| {
            Some(json!({ "application": "shop", "run": "r1", "trial": trial, "factors": { "size": size } }))
        };
        let files = [
            folder("a", described("shop.1/t1", 1), &[trace("1-a", 0), trace("1-b", 1)]),
            folder("b", described("shop.1/t2", 1), &[trace("1-c", 2), "{\"Id\": \"1-x\"".to_owned()]),
            folder("c", described("shop.2/t1", 2), &[trace("1-d", 0)]),
            folder("old/logs/2022-01-01", None, &[trace("1-e", 0)]),
        ];
        let keys = ["app", "cold", "size"].map(GroupKey::parse);
        let (mut seen, mut invalid) = (Vec::new(), 0);
        for_each_measured(
            &files,
            false,
            &mut |trace, analysis, measured| {
                let values = keys.each_ref().map(|key| measured.value(key, trace, analysis)).join(" ");
                seen.push((trace.id.to_string(), values, measured.trial.deployment, measured.trial.trial));
            },
            &mut |_| invalid += 1,
        )
        .unwrap();
        let expected = [
            ("1-a", "shop warm 1", 0, 0),
            ("1-b", "shop partial 1", 0, 0),
            ("1-c", "shop cold 1", 0, 1),
            ("1-d", "shop warm 2", 1, 2),
            ("1-e", "old warm ", 2, 3),
        ];
        let expected = expected
            .map(|(id, values, deployment, trial)| (id.to_owned(), values.to_owned(), deployment, trial));
        assert_eq!((seen.as_slice(), invalid), (expected.as_slice(), 1));
        fs::write(root.path().join("a/run.json"), "{").unwrap();
        let error = for_each_measured(&files, false, &mut |_, _, _| {}, &mut |_| {});
        assert!(error.unwrap_err().to_string().contains("run.json"));
    }
}
