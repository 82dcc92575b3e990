//! The matrix of a plan: factors with levels that fit, rules that name what is there.

use std::collections::HashMap;

use serde_json::Value;

use crate::manifest::decode::Map;
use crate::manifest::plan::MatrixFile;
use crate::manifest::problem::{Problem, Report, suggest};
use crate::manifest::tree::Spanned;
use crate::manifest::values::Scalar;
use crate::plan::{Matrix, Rule};
use crate::validate::check;

/// More combinations than this are a mistake rather than an experiment.
const MOST_POINTS: usize = 200_000;

/// `applications` and `targets` are those of the plan.
pub(super) fn matrix(
    file: &MatrixFile,
    applications: &[&str],
    targets: &[&str],
    report: &mut Report,
) -> Matrix {
    let mut matrix = Matrix::default();
    // Of all applications together: each has points of its own.
    let mut combinations: usize = applications.len().max(1);
    for (name, levels) in file.factors.iter() {
        if matches!(name.value.as_str(), "application" | "target") {
            report.push(
                Problem::error("invalid-matrix", format!("`{}` cannot be a factor", name.value))
                    .at(&name.span, "a reserved name")
                    .help("add an [[applications]] entry for each combination of application and target"),
            );
        }
        check::name(&name.value, &name.span, "a factor", report);
        check_levels(name, levels, report);
        combinations = combinations.saturating_mul(levels.value.len());
        if combinations > MOST_POINTS && combinations / levels.value.len().max(1) <= MOST_POINTS {
            report.push(
                Problem::error(
                    "invalid-matrix",
                    format!("the matrix has {combinations} combinations or more, over all applications"),
                )
                .at(&name.span, format!("more than {MOST_POINTS} with this factor"))
                .help("drop levels, or split the plan"),
            );
        }
        matrix.names.push(name.value.clone());
        matrix.levels.push(levels.value.iter().map(|level| level.value.0.clone()).collect());
    }
    if combinations > MOST_POINTS {
        // The rest of the plan is checked at one point.
        matrix.levels.iter_mut().for_each(|levels| levels.truncate(1));
        return matrix;
    }
    matrix.exclude = file
        .exclude
        .iter()
        .map(|rule| self::rule(&matrix, rule, true, applications, targets, report))
        .collect();
    matrix.include = file
        .include
        .iter()
        .map(|rule| self::rule(&matrix, rule, false, applications, targets, report))
        .collect();
    matrix
}

fn rule(
    matrix: &Matrix,
    raw: &Spanned<Map<Spanned<Scalar>>>,
    excludes: bool,
    applications: &[&str],
    targets: &[&str],
    report: &mut Report,
) -> Rule {
    let mut rule = Rule { levels: Vec::new(), application: None, target: None };
    let known = |given: &Spanned<Scalar>, what: &str, names: &[&str], report: &mut Report| {
        let name = given.value.0.as_str().unwrap_or_default();
        if !names.contains(&name) {
            report.push(
                Problem::error("invalid-matrix", format!("unknown {what} `{name}`"))
                    .at(&given.span, format!("no {what} of this plan"))
                    .help(suggest(name, &format!("{what}s"), names.iter().copied())),
            );
        }
        Some(given.value.0.clone())
    };
    for (name, level) in raw.value.iter() {
        match name.value.as_str() {
            "application" => rule.application = known(level, "application", applications, report),
            "target" => rule.target = known(level, "target", targets, report),
            factor => {
                let Some(index) = matrix.names.iter().position(|name| name == factor) else {
                    report.push(
                        Problem::error("invalid-matrix", format!("unknown factor `{factor}`"))
                            .at(&name.span, "not in [matrix]")
                            .help(suggest(
                                factor,
                                "factors",
                                matrix.names.iter().map(String::as_str).chain(["application", "target"]),
                            )),
                    );
                    continue;
                };
                if excludes && !matrix.levels[index].contains(&level.value.0) {
                    let levels: Vec<String> = matrix.levels[index].iter().map(Value::to_string).collect();
                    report.push(
                        Problem::error(
                            "invalid-matrix",
                            format!("the factor `{factor}` has no level {}", level.value.0),
                        )
                        .at(&level.span, "excludes nothing")
                        .help(format!("levels: {}", levels.join(", "))),
                    );
                }
                rule.levels.push((index, level.value.0.clone()));
            }
        }
    }
    if !excludes {
        rule.levels.sort_by_key(|(index, _)| *index);
        let missing: Vec<String> = (0..matrix.names.len())
            .filter(|index| !rule.levels.iter().any(|(given, _)| given == index))
            .map(|index| format!("`{}`", matrix.names[index]))
            .collect();
        if !missing.is_empty() {
            report.push(
                Problem::error("invalid-matrix", "an included point gives every factor a level")
                    .at(&raw.span, format!("without {}", missing.join(", ")))
                    .help(format!("add {}", missing.join(", "))),
            );
        }
    }
    rule
}

fn check_levels(name: &Spanned<String>, levels: &Spanned<Vec<Spanned<Scalar>>>, report: &mut Report) {
    if levels.value.is_empty() {
        report.push(
            Problem::error("invalid-matrix", format!("the factor `{}` has no levels", name.value))
                .at(&levels.span, "the product with it is empty")
                .help("give it at least one level, or remove it"),
        );
    }
    let mut known: HashMap<String, &Spanned<Scalar>> = HashMap::new();
    for level in &levels.value {
        let same = known.get(&level.value.0.to_string()).copied();
        known.entry(level.value.0.to_string()).or_insert(level);
        if let Some(first) = same {
            report.push(
                Problem::error(
                    "invalid-matrix",
                    format!("the factor `{}` has the level {} twice", name.value, level.value.0),
                )
                .at(&level.span, "again")
                .at(&first.span, "first")
                .help("remove one; for more runs of the same point use `repetitions` in [trials]"),
            );
        } else if let Some(first) =
            levels.value.first().filter(|first| kind(&first.value) != kind(&level.value))
        {
            report.push(
                Problem::error(
                    "invalid-matrix",
                    format!("the levels of the factor `{}` have different types", name.value),
                )
                .at(&level.span, kind(&level.value))
                .at(&first.span, kind(&first.value))
                .help("give all levels the same type"),
            );
        }
    }
}

fn kind(level: &Scalar) -> &'static str {
    match &level.0 {
        Value::String(_) => "a string",
        Value::Bool(_) => "a boolean",
        _ => "a number",
    }
}
