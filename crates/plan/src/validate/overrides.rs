//! Values that replace a manifest's: from the environment, the command line and the plan.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::benchmark::{Benchmark, Param, ParamSource};
use crate::manifest::problem::{Problem, suggest};
use crate::plan::Overrides;

const ENVIRONMENT_PREFIX: &str = "SB_PARAM_";

impl Overrides {
    /// Parameters of one benchmark from the environment.
    pub(super) fn of_environment(
        &self,
        benchmark: &Benchmark,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::new();
        for (name, param) in &benchmark.params {
            let variable = variable(name);
            let Some(text) = self.environment.get(&variable) else { continue };
            match parse(param, text) {
                Ok(value) => drop(values.insert(name.clone(), value)),
                // The value may be secret: it is not shown.
                Err(expected) => problems.push(
                    Problem::error(
                        "invalid-override",
                        format!("the environment variable `{variable}` does not hold {expected}"),
                    )
                    .help(format!("set it to {expected}, the type of `{name}` in the manifest, or unset it")),
                ),
            }
        }
        values
    }

    /// Parameters of one benchmark from the command line.
    pub(super) fn of_command_line(
        &self,
        benchmark: &Benchmark,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::new();
        for (name, text) in &self.params {
            let Some(param) = benchmark.params.get(name) else { continue };
            if param.secret {
                problems.push(
                    Problem::error(
                        "invalid-override",
                        format!("the secret parameter `{name}` was given on the command line, which every process can read"),
                    )
                    .help(format!("set the environment variable {} instead", variable(name))),
                );
                continue;
            }
            match parse(param, text) {
                Ok(value) => drop(values.insert(name.clone(), value)),
                Err(expected) => problems.push(
                    Problem::error(
                        "invalid-override",
                        format!("the parameter `{name}` is {expected}, but `-p` gives `{text}`"),
                    )
                    .help(format!("give {expected}")),
                ),
            }
        }
        values
    }

    /// Names that no benchmark has: an error for `-p`, a warning for the environment.
    pub(super) fn report_unknown(&self, benchmarks: &[&Benchmark], problems: &mut Vec<Problem>) {
        let known = || benchmarks.iter().flat_map(|benchmark| benchmark.params.keys()).map(String::as_str);
        let names: std::collections::BTreeSet<&str> = known().collect();
        let mut given = std::collections::BTreeSet::new();
        for (name, _) in &self.params {
            // The values may be secret by mistake: only that they are two is said.
            if !given.insert(name) && names.contains(name.as_str()) {
                problems.push(
                    Problem::error("invalid-override", format!("`-p {name}=…` is given twice"))
                        .help("keep one of them; a plan measures several values with a factor in [matrix]"),
                );
            }
            if !names.contains(name.as_str()) {
                problems.push(
                    Problem::error("invalid-override", format!("unknown parameter `{name}` in `-p`"))
                        .help(suggest(name, "parameters", names.iter().copied())),
                );
            }
        }
        for variable_name in self.environment.keys().filter(|name| name.starts_with(ENVIRONMENT_PREFIX)) {
            if !names.iter().any(|name| variable(name) == *variable_name) {
                let name = variable_name[ENVIRONMENT_PREFIX.len()..].to_lowercase();
                problems.push(
                    Problem::warning(
                        "invalid-override",
                        format!("the environment variable `{variable_name}` sets no parameter"),
                    )
                    .help(suggest(&name, "parameters", names.iter().copied())),
                );
            }
        }
    }
}

/// The variable of the environment that gives a parameter a value: `SB_PARAM_MEMORY_SIZE` for `memory_size`.
pub fn variable(name: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", name.to_uppercase().replace('-', "_"))
}

/// What a parameter takes, with its article.
pub(super) fn expected(param: &Param) -> &'static str {
    match &param.source {
        ParamSource::Value(Value::Bool(_)) => "a boolean",
        ParamSource::Value(Value::Number(number)) if number.is_f64() => "a number",
        ParamSource::Value(Value::Number(_)) => "a whole number",
        _ => "a string",
    }
}

/// A value of the parameter's type; a whole number will do for a number.
pub(super) fn accept(param: &Param, value: &Value) -> Result<Value, &'static str> {
    let fits = match expected(param) {
        "a boolean" => value.is_boolean(),
        "a number" => return value.as_f64().map(Value::from).ok_or("a number"),
        "a whole number" => value.is_i64() || value.is_u64(),
        _ => value.is_string(),
    };
    if fits { Ok(value.clone()) } else { Err(expected(param)) }
}

/// A text as the parameter's type.
fn parse(param: &Param, text: &str) -> Result<Value, &'static str> {
    let expected = expected(param);
    let value = match expected {
        "a boolean" => text.parse().ok().map(Value::Bool),
        "a number" => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::from),
        "a whole number" => text.parse::<i64>().ok().map(Value::from),
        _ => Some(Value::from(text)),
    };
    value.ok_or(expected)
}
