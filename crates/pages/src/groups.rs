//! What groups are called.

use std::collections::{BTreeMap, BTreeSet};

use sb_report::{Group, GroupKey};

/// Knows what tells groups apart: labels and factors that are the same everywhere are not named.
pub(crate) struct Names {
    has_labels: bool,
    factors: BTreeSet<String>,
}

impl Names {
    pub(crate) fn of(groups: &[Group]) -> Self {
        let labels: BTreeSet<_> = groups.iter().map(|group| group.key.label.as_deref()).collect();
        let mut levels: BTreeMap<&str, BTreeSet<Option<&str>>> = BTreeMap::new();
        let names: BTreeSet<&String> = groups.iter().flat_map(|group| group.key.factors.keys()).collect();
        for name in names {
            for group in groups {
                levels.entry(name).or_default().insert(group.key.factors.get(name).map(String::as_str));
            }
        }
        let differs = |(name, levels): (&str, BTreeSet<_>)| (levels.len() > 1).then(|| name.to_owned());
        Self { has_labels: labels.len() > 1, factors: levels.into_iter().filter_map(differs).collect() }
    }

    /// A name for people: the application, the type of requests, and what else tells the group apart.
    pub(crate) fn name(&self, key: &GroupKey) -> String {
        let mut name = key.application.to_string();
        if let Some(request_type) = &key.request_type {
            // A type that is unknown has parentheses of its own.
            let is_enclosed = request_type.starts_with('(') && request_type.ends_with(')');
            name.push_str(&if is_enclosed {
                format!(" {request_type}")
            } else {
                format!(" ({request_type})")
            });
        }
        if let Some(label) = key.label.as_deref().filter(|_| self.has_labels) {
            name.push_str(&format!(" · {label}"));
        }
        for (factor, level) in key.factors.iter().filter(|(factor, _)| self.factors.contains(*factor)) {
            name.push_str(&format!(" · {factor} = {level}"));
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_in_one_pair_of_parentheses() {
        let names = Names::of(&[]);
        for (request_type, expected) in [("buy", "shop (buy)"), ("(unknown)", "shop (unknown)")] {
            let key = GroupKey {
                application: "shop".into(),
                request_type: Some(request_type.into()),
                label: None,
                factors: BTreeMap::new(),
                status: None,
            };
            assert_eq!(names.name(&key), expected);
        }
    }
}
