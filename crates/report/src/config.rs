//! What an execution was: `sb_config.yml`, and `run.json` of our own program.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use sb_measurement::STUDY_APPLICATIONS;

/// The label of an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Label {
    #[default]
    Missing,
    /// There, but without a value.
    Null,
    Text(Arc<str>),
}

/// How much of a pattern is skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Skip {
    #[default]
    Missing,
    /// There, but without a value.
    Null,
    Seconds(f64),
}

/// A moment of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Microseconds since the epoch.
    time: i64,
    name: String,
    is_start: bool,
}

/// The settings of an execution, as they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) label: Label,
    /// Invocations per second that were asked for.
    pub(crate) load_level: Option<f64>,
    pub(crate) workload_label: Option<String>,
    pub(crate) workload_type: Option<String>,
    /// `workload_type` is a number and not a text.
    pub(crate) type_is_number: bool,
    pub(crate) workload_trace: Option<String>,
    pub(crate) seconds_to_skip: Skip,
    pub(crate) region: String,
    pub(crate) provider: String,
    pub(crate) scale_type: String,
    pub(crate) scale_factor: String,
    pub(crate) scale_rate: Option<f64>,
    pub(crate) events: Vec<Event>,
    /// The plan of our own run.
    pub(crate) plan: Option<String>,
    pub(crate) run: Option<String>,
    pub(crate) trial: Option<String>,
    pub(crate) deployment: Option<String>,
    /// Factors of the plan's matrix with the levels of this execution, and the plan's labels.
    pub(crate) factors: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The load, as `run.json` describes it.
    pub(crate) load: Option<Value>,
}

/// A value as text; none for nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        other => other.as_f64(),
    }
}

/// Reads `sb_config.yml`: the application's name, and its settings.
///
/// # Errors
/// The text is no such file: a sentence that says what is wrong.
pub(crate) fn read_config(yaml: &str) -> Result<(String, Config), String> {
    let file: Value = serde_yaml::from_str(yaml).map_err(|error| {
        format!("it is no valid YAML: {}", error.to_string().lines().next().unwrap_or_default())
    })?;
    let Value::Object(file) = file else {
        return Err("it holds no settings".to_owned());
    };
    // The study's applications are known; any other one is the table that is not about the host.
    let known = file.iter().find(|(name, _)| STUDY_APPLICATIONS.contains(&name.as_str()));
    let named = file.iter().find(|(name, value)| *name != "sb" && value.is_object());
    // Earlier versions of our program wrote settings at the top, and the application's name under `app`.
    let old = file.get("app").and_then(Value::as_str);
    let (application, settings) = match (known, old) {
        (None, Some(name)) => {
            (name.to_owned(), file.get(name).cloned().unwrap_or_else(|| Value::Object(file.clone())))
        }
        (known, _) => {
            let found = known.or(named).ok_or("it has no table under an application's name")?;
            (found.0.clone(), found.1.clone())
        }
    };
    let get = |name: &str| settings.get(name).unwrap_or(&Value::Null);
    let there = |name: &str| Some(text(get(name))).filter(|text| !text.is_empty());
    let label = match settings.get("label") {
        None => Label::Missing,
        Some(Value::Null) => Label::Null,
        Some(value) if text(value).is_empty() => Label::Missing,
        Some(value) => Label::Text(text(value).into()),
    };
    let events = get("sb_event_log").as_array().into_iter().flatten();
    let config = Config {
        label,
        load_level: number(get("load_level")),
        workload_label: there("workload_label"),
        workload_type: there("workload_type"),
        type_is_number: get("workload_type").is_number(),
        workload_trace: there("workload_trace"),
        seconds_to_skip: match settings.get("seconds_to_skip") {
            None => Skip::Missing,
            Some(value) => number(value).map_or(Skip::Null, Skip::Seconds),
        },
        region: text(get("region")),
        provider: text(get("provider")),
        scale_type: text(get("scale_type")),
        scale_factor: text(get("scale_factor")),
        scale_rate: number(get("scale_rate_per_second")),
        events: events.filter_map(|event| parse_event(event.as_str()?)).collect(),
        ..Config::default()
    };
    Ok((application, config))
}

impl Config {
    /// Takes over what `run.json` says. Returns the application's name.
    ///
    /// # Errors
    /// The text is no such file: a sentence that says what is wrong.
    pub(crate) fn add_run(&mut self, json: &str) -> Result<Option<String>, String> {
        let run: Value = serde_json::from_str(json)
            .map_err(|error| format!("it is no valid JSON: {error}; correct or remove it"))?;
        let texts = |name: &str| -> BTreeMap<String, String> {
            let table = run.get(name).and_then(Value::as_object).into_iter().flatten();
            table.map(|(name, value)| (name.clone(), text(value))).collect()
        };
        let there = |name: &str| run.get(name).map(text).filter(|text| !text.is_empty());
        self.factors = texts("factors");
        self.labels = texts("labels");
        self.plan = there("plan");
        self.run = there("run");
        self.trial = there("trial");
        self.deployment = there("deployment");
        self.load = run.get("load").cloned();
        if let Some(label) = self.labels.get("label").filter(|label| !label.is_empty()) {
            self.label = Label::Text(label.as_str().into());
        } else if let Some(plan) = &self.plan
            && !matches!(self.label, Label::Text(_))
        {
            self.label = Label::Text(plan.as_str().into());
        }
        let rate = self.load.as_ref().and_then(|load| load.get("rate_per_s")).and_then(Value::as_f64);
        self.load_level = self.load_level.or(rate);
        Ok(there("application"))
    }

    /// How long a load of ours that has one rate was to send, in seconds. `None`: it has no such rate, or another speed.
    pub(crate) fn constant_seconds(&self) -> Option<f64> {
        let number = |name: &str| self.load.as_ref()?.get(name)?.as_f64();
        let is_plain =
            number("rate_per_s").is_some() && number("speed").is_none_or(|speed| (speed - 1.0).abs() < 1e-9);
        number("duration_s").filter(|seconds| is_plain && *seconds > 0.0)
    }

    /// The label; an execution without one is in none of the study's tables.
    pub(crate) fn label(&self) -> Option<&str> {
        match &self.label {
            Label::Text(label) => Some(label),
            Label::Missing | Label::Null => None,
        }
    }

    /// Whether the study's tables have this execution. In the published analysis, a label without a value is one.
    pub(crate) fn is_labelled(&self, as_published: bool) -> bool {
        match self.label {
            Label::Text(_) => true,
            Label::Null => as_published,
            Label::Missing => false,
        }
    }

    /// The name of the workload: its label, else its type, else the file of its pattern.
    pub(crate) fn workload(&self) -> String {
        if let Some(label) = &self.workload_label {
            return label.clone();
        }
        if let Some(kind) = self.workload_type.as_deref().filter(|kind| *kind != "custom") {
            return kind.to_owned();
        }
        let file = self.workload_trace.as_deref().and_then(|trace| Path::new(trace).file_name());
        file.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// How long a phase lasted, in microseconds: its last end minus the start before it. `None`: it did not end. As published,
    /// a later start that did not end is passed over.
    pub(crate) fn phase_duration(&self, phase: &str, as_published: bool) -> Option<i64> {
        let mut end = None;
        for event in self.events.iter().rev().filter(|event| event.name == phase) {
            match (event.is_start, end) {
                (false, _) => end = Some(event.time),
                (true, Some(end)) => return Some(end - event.time),
                (true, None) if as_published => {}
                (true, None) => return None,
            }
        }
        None
    }
}

/// `time,name,start|end`.
fn parse_event(text: &str) -> Option<Event> {
    let (time, rest) = text.split_once(',')?;
    let (name, which) = rest.rsplit_once(',')?;
    let is_start = match which.trim() {
        "start" => true,
        "end" => false,
        _ => return None,
    };
    let time: jiff::Timestamp = time.trim().parse().ok()?;
    Some(Event { time: time.as_microsecond(), name: name.trim().to_owned(), is_start })
}

/// A duration as pandas prints it: `0 days 00:01:03.697273`.
pub(crate) fn days_and_clock(micros: i64) -> String {
    const DAY: i64 = 86_400_000_000;
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let sign = if days < 0 { "+" } else { "" };
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    format!("{days} days {sign}{:02}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_under_the_application_has_the_settings() {
        let yaml = "sb:\n  host: x\nmine:\n  label: one\n  load_level: 1.5\n  workload_type: 4\n  scale_factor: 1\n  \
                    seconds_to_skip: null\n  sb_event_log:\n  - 2022-01-10 08:00:00.250000+00:00,invoke,start\n  - \
                    2022-01-10 08:01:05.250000+00:00,invoke,end\n  - nonsense\n";
        let (application, config) = read_config(yaml).unwrap();
        assert_eq!(
            (application.as_str(), config.label(), config.load_level),
            ("mine", Some("one"), Some(1.5))
        );
        assert_eq!((config.workload(), config.type_is_number), ("4".to_owned(), true));
        assert_eq!((config.scale_factor.as_str(), config.seconds_to_skip), ("1", Skip::Null));
        assert_eq!(config.phase_duration("invoke", false), Some(65_000_000));
        assert_eq!(config.phase_duration("prepare", false), None);
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_the_reason() {
        for (yaml, expected) in [
            ("a: [", "no valid YAML"),
            ("just text", "no settings"),
            ("sb:\n  a: 1\n", "no table under an application's name"),
        ] {
            let problem = read_config(yaml).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        assert!(Config::default().add_run("{").unwrap_err().contains("no valid JSON"));
    }

    #[test]
    fn labels_are_missing_empty_or_there() {
        for (text, expected, published) in [
            ("label: a", true, true),
            ("label: ''", false, false),
            ("label: null", false, true),
            ("x: 1", false, false),
        ] {
            let (_, config) = read_config(&format!("app1:\n  {text}\n")).unwrap();
            assert_eq!(
                (config.is_labelled(false), config.is_labelled(true)),
                (expected, published),
                "{text}"
            );
        }
    }

    #[test]
    fn a_run_of_ours_says_what_it_was() {
        let mut config = Config::default();
        let run = r#"{ "application": "shop", "plan": "levels", "factors": { "rate": 5 }, "labels": { "owner": "me" },
            "load": { "kind": "constant", "rate_per_s": 5.0 } }"#;
        assert_eq!(config.add_run(run).unwrap().as_deref(), Some("shop"));
        assert_eq!((config.label(), config.load_level), (Some("levels"), Some(5.0)));
        assert_eq!((config.factors["rate"].as_str(), config.labels["owner"].as_str()), ("5", "me"));
    }

    #[test]
    fn a_phase_that_began_again_and_did_not_end_has_no_duration() {
        let event = |time, is_start| Event { time, name: "invoke".to_owned(), is_start };
        let config =
            Config { events: vec![event(0, true), event(5, false), event(9, true)], ..Config::default() };
        assert_eq!(config.phase_duration("invoke", true), Some(5));
        assert_eq!(config.phase_duration("invoke", false), None);
    }

    #[test]
    fn durations_are_printed_with_days() {
        assert_eq!(days_and_clock(63_697_273), "0 days 00:01:03.697273");
        assert_eq!(days_and_clock(86_400_000_000 * 2 + 3_600_000_000), "2 days 01:00:00");
        assert_eq!(days_and_clock(-1), "-1 days +23:59:59.999999");
    }
}
