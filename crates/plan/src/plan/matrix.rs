//! Factors to points: every combination in the order of the file, without `exclude`, then `include`.

use serde_json::Value;

/// The checked matrix; an empty one has one point without factors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix {
    pub(crate) names: Vec<String>,
    pub(crate) levels: Vec<Vec<Value>>,
    pub(crate) exclude: Vec<Rule>,
    pub(crate) include: Vec<Rule>,
}

/// Levels by factor index, and whom they concern.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) levels: Vec<(usize, Value)>,
    pub(crate) application: Option<Value>,
    pub(crate) target: Option<Value>,
}

/// Factor names and levels of one point.
pub(crate) type Factors = Vec<(String, Value)>;

impl Matrix {
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The points of one application at one target.
    pub(crate) fn points(&self, application: &str, target: &str) -> Vec<Factors> {
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
pub(crate) fn describe(factors: &Factors) -> String {
    if factors.is_empty() {
        return String::new();
    }
    let levels: Vec<String> = factors.iter().map(|(name, level)| format!("{name} = {level}")).collect();
    format!(" (at {})", levels.join(", "))
}
