//! Factors to points: every combination in the order of the file, without `exclude`, then `include`.

use serde_json::Value;

use crate::manifest::decode::Map;
use crate::manifest::plan::MatrixFile;
use crate::manifest::problem::{Problem, Report, suggest};
use crate::manifest::tree::Spanned;
use crate::manifest::values::Scalar;
use crate::validate::check;

/// More combinations than this are a mistake rather than an experiment.
const MOST_POINTS: usize = 1_000_000;

/// The checked matrix; an empty one has one point without factors.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    names: Vec<String>,
    levels: Vec<Vec<Value>>,
    exclude: Vec<Rule>,
    include: Vec<Rule>,
}

/// Levels by factor index, and whom they concern.
#[derive(Clone, Debug)]
struct Rule {
    levels: Vec<(usize, Value)>,
    application: Option<Value>,
    target: Option<Value>,
}

/// Factor names and levels of one point.
pub type Factors = Vec<(String, Value)>;

impl Matrix {
    /// `applications` and `targets` are those of the plan.
    pub fn check(file: &MatrixFile, applications: &[&str], targets: &[&str], report: &mut Report) -> Self {
        let mut matrix = Self::default();
        let mut combinations: usize = 1;
        for (name, levels) in file.factors.iter() {
            if matches!(name.value.as_str(), "application" | "target") {
                report.push(
                    Problem::error("sb::validate::factor", format!("`{}` cannot be a factor", name.value))
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
                        "sb::validate::matrix",
                        format!("the matrix has {combinations} combinations or more"),
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
        matrix.exclude =
            file.exclude.iter().map(|rule| matrix.rule(rule, true, applications, targets, report)).collect();
        matrix.include =
            file.include.iter().map(|rule| matrix.rule(rule, false, applications, targets, report)).collect();
        matrix
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn rule(
        &self,
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
                    Problem::error("sb::validate::matrix", format!("unknown {what} `{name}`"))
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
                    let Some(index) = self.names.iter().position(|name| name == factor) else {
                        report.push(
                            Problem::error("sb::validate::matrix", format!("unknown factor `{factor}`"))
                                .at(&name.span, "not in [matrix]")
                                .help(suggest(
                                    factor,
                                    "factors",
                                    self.names.iter().map(String::as_str).chain(["application", "target"]),
                                )),
                        );
                        continue;
                    };
                    if excludes && !self.levels[index].contains(&level.value.0) {
                        let levels: Vec<String> = self.levels[index].iter().map(Value::to_string).collect();
                        report.push(
                            Problem::error(
                                "sb::validate::matrix",
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
            let missing: Vec<String> = (0..self.names.len())
                .filter(|index| !rule.levels.iter().any(|(given, _)| given == index))
                .map(|index| format!("`{}`", self.names[index]))
                .collect();
            if !missing.is_empty() {
                report.push(
                    Problem::error("sb::validate::matrix", "an included point gives every factor a level")
                        .at(&raw.span, format!("without {}", missing.join(", ")))
                        .help(format!("add {}", missing.join(", "))),
                );
            }
        }
        rule
    }

    /// The points of one application at one target.
    pub fn points(&self, application: &str, target: &str) -> Vec<Factors> {
        let concerns = |rule: &&Rule| {
            rule.application.as_ref().is_none_or(|name| name == application)
                && rule.target.as_ref().is_none_or(|name| name == target)
        };
        let exclude: Vec<&Rule> = self.exclude.iter().filter(concerns).collect();
        let mut points = Vec::with_capacity(self.levels.iter().map(Vec::len).product());
        // Counts like an odometer: the last factor of the file turns fastest.
        let mut at = vec![0; self.levels.len()];
        let mut done = self.levels.iter().any(Vec::is_empty);
        while !done {
            let excluded = exclude.iter().any(|rule| {
                rule.levels.iter().all(|(index, level)| self.levels[*index][at[*index]] == *level)
            });
            if !excluded {
                let levels = at.iter().enumerate();
                points.push(
                    levels
                        .map(|(index, level)| (self.names[index].clone(), self.levels[index][*level].clone()))
                        .collect(),
                );
            }
            done = true;
            for index in (0..at.len()).rev() {
                at[index] += 1;
                if at[index] < self.levels[index].len() {
                    done = false;
                    break;
                }
                at[index] = 0;
            }
        }
        for rule in self.include.iter().filter(concerns) {
            let point: Factors = rule
                .levels
                .iter()
                .map(|(index, level)| (self.names[*index].clone(), level.clone()))
                .collect();
            if !points.contains(&point) {
                points.push(point);
            }
        }
        points
    }
}

/// ` (at pattern = "jump", rate = 10)`, or nothing without factors.
pub fn describe(factors: &Factors) -> String {
    if factors.is_empty() {
        return String::new();
    }
    let levels: Vec<String> = factors.iter().map(|(name, level)| format!("{name} = {level}")).collect();
    format!(" (at {})", levels.join(", "))
}

fn check_levels(name: &Spanned<String>, levels: &Spanned<Vec<Spanned<Scalar>>>, report: &mut Report) {
    if levels.value.is_empty() {
        report.push(
            Problem::error("sb::validate::factor", format!("the factor `{}` has no levels", name.value))
                .at(&levels.span, "the product with it is empty")
                .help("give it at least one level, or remove it"),
        );
    }
    for (index, level) in levels.value.iter().enumerate() {
        let earlier = &levels.value[..index];
        if let Some(first) = earlier.iter().find(|earlier| earlier.value == level.value) {
            report.push(
                Problem::error(
                    "sb::validate::factor",
                    format!("the factor `{}` has the level {} twice", name.value, level.value.0),
                )
                .at(&level.span, "again")
                .at(&first.span, "first")
                .help("remove one; for more runs of the same point use `repetitions` in [trials]"),
            );
        } else if let Some(first) = earlier.first().filter(|first| kind(&first.value) != kind(&level.value)) {
            report.push(
                Problem::error(
                    "sb::validate::factor",
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
