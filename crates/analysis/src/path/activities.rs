//! Which activity the time of a span belongs to: a table of origins and names, as data.
//!
//! The defaults are `activities.toml`; a user's file of the same form extends and overrides them.

use std::sync::{Arc, LazyLock};

use foldhash::HashMap;
use serde::Deserialize;

use crate::path::breakdown::Activity;
use crate::span::{SpanIndex, Trace};

const DEFAULTS: &str = include_str!("activities.toml");

/// The key under `parts` that stands for every other name; as the end of an origin, it stands for every other end.
pub(super) const ANY_NAME: &str = "*";

static SHIPPED: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    // A test reads the file too: it cannot be broken in a program that was built and tested.
    Arc::new(toml::from_str(DEFAULTS).unwrap_or_default())
});

/// The rules from origins and names to activities: the table `activities.toml`, or one extended by a user. Cloning is
/// cheap.
#[derive(Clone, Debug)]
pub struct Activities(Arc<Rules>);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    origins: HashMap<String, Activity>,
    /// By the parent's origin, then by name.
    #[serde(default)]
    parts: HashMap<String, HashMap<String, Activity>>,
    #[serde(default)]
    names: HashMap<String, Activity>,
    /// By the origin of a span that carries links, where links count.
    #[serde(default)]
    linked: HashMap<String, Activity>,
}

impl Default for Activities {
    fn default() -> Self {
        Self(SHIPPED.clone())
    }
}

impl Rules {
    /// By the longest prefix, for origins that are not listed themselves.
    fn by_prefix(&self, origin: &str) -> Option<Activity> {
        let fits = self
            .origins
            .iter()
            .filter(|(key, _)| key.strip_suffix(ANY_NAME).is_some_and(|prefix| origin.starts_with(prefix)));
        fits.max_by_key(|(key, _)| key.len()).map(|(_, &activity)| activity)
    }
}

/// Why a table of activities cannot be used. The message has the place.
#[derive(Debug, thiserror::Error)]
pub enum ActivitiesError {
    /// The file cannot be opened.
    #[error("cannot read the activities in `{path}` ({source}); check the path and its permissions")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The text is no table of activities.
    #[error(
        "the activities in `{path}` are not valid: {source}correct that place; the tables are [origins], \
         [parts.\"ORIGIN\"], [names] and [linked], and the activities are {}",
        activity_names()
    )]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong, and at which line and column.
        source: Box<toml::de::Error>,
    },
}

fn activity_names() -> String {
    Activity::ALL.map(Activity::name).join(", ")
}

impl Activities {
    /// These rules, extended and overridden by those in a TOML text. `name` is the file's, for errors.
    ///
    /// # Errors
    /// The text is no TOML, or has an unknown table, an unknown activity or a repeated key.
    pub fn extended(&self, text: &str, name: &str) -> Result<Self, ActivitiesError> {
        let added: Rules = toml::from_str(text)
            .map_err(|source| ActivitiesError::Invalid { path: name.to_owned(), source: Box::new(source) })?;
        let mut rules = Rules::clone(&self.0);
        rules.origins.extend(added.origins);
        rules.names.extend(added.names);
        rules.linked.extend(added.linked);
        for (origin, names) in added.parts {
            rules.parts.entry(origin).or_default().extend(names);
        }
        Ok(Self(Arc::new(rules)))
    }

    /// The activity of the own time of each span: of the nearest ancestor that has one of its own.
    pub(crate) fn of_all(&self, trace: &Trace<'_>) -> Vec<Activity> {
        let mut known = vec![None; trace.spans().len()];
        for span in trace.indices() {
            inherit(trace, span, &mut known, |here| self.of_named(trace, here, &trace.span(here).name));
        }
        known.into_iter().map(|activity| activity.unwrap_or(Activity::Unclassified)).collect()
    }

    /// The activity of the own time of a span, as if it had this name; `None` where it shares its parent's.
    pub(super) fn of_named(&self, trace: &Trace<'_>, span: SpanIndex, name: &str) -> Option<Activity> {
        let (rules, here) = (&*self.0, trace.span(span));
        if let Some(origin) = &here.origin {
            if here.flags.linked
                && let Some(&activity) = rules.linked.get(&**origin)
            {
                return Some(activity);
            }
            let activity = rules.origins.get(&**origin).copied().or_else(|| rules.by_prefix(origin));
            return Some(activity.unwrap_or(Activity::Unclassified));
        }
        let parent = trace.parent(span);
        let parts = parent
            .and_then(|parent| trace.span(parent).origin.as_deref())
            .and_then(|origin| rules.parts.get(origin));
        let by_part = parts.and_then(|parts| parts.get(name));
        by_part
            .or_else(|| rules.names.get(name))
            .or_else(|| parts.and_then(|parts| parts.get(ANY_NAME)))
            .copied()
            .or_else(|| parent.is_none().then_some(Activity::Unclassified))
    }
}

/// Finds the activity of a span, and notes it for all spans on the way up to the one that has it by a rule.
pub(super) fn inherit(
    trace: &Trace<'_>,
    span: SpanIndex,
    known: &mut [Option<Activity>],
    by_rules: impl Fn(SpanIndex) -> Option<Activity>,
) -> Activity {
    let mut here = span;
    let found = loop {
        if let Some(found) = known[here.get()].or_else(|| by_rules(here)) {
            break found;
        }
        // Only a span with a parent lacks an activity of its own.
        let Some(parent) = trace.parent(here) else { break Activity::Unclassified };
        here = parent;
    };
    let end = here;
    here = span;
    while here != end {
        known[here.get()] = Some(found);
        let Some(parent) = trace.parent(here) else { break };
        here = parent;
    }
    known[end.get()] = Some(found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;

    #[test]
    fn the_shipped_rules_can_be_read() {
        let rules: Rules = toml::from_str(DEFAULTS).unwrap();
        assert_eq!(rules.origins["AWS::Lambda::Function"], Activity::Computation);
        assert_eq!(rules.parts.len(), 4);
        assert!(rules.names.is_empty());
    }

    const TRACE: &str = r#"{"Id":"1-a","Duration":0.01,"Segments":[{"Document":"{\"id\":\"r\",\"name\":\"f\",\"origin\":\"AWS::Lambda::Function\",\"start_time\":0.0,\"end_time\":0.01,\"subsegments\":[{\"id\":\"c\",\"name\":\"call\",\"start_time\":0.002,\"end_time\":0.009,\"subsegments\":[{\"id\":\"d\",\"name\":\"deep\",\"start_time\":0.003,\"end_time\":0.005}]}]}"}]}"#;

    /// The parts of a function (3 ms of its own), a call in it (5 ms), and a step of the call (2 ms).
    #[track_caller]
    fn check(rules: &str, expected: &[(Activity, i64)]) {
        let activities = Activities::default().extended(rules, "test").unwrap();
        let method = Method { activities, ..Method::default() };
        let row = method.analyze_text(TRACE).unwrap().row;
        let found: Vec<_> = row
            .parts
            .iter()
            .filter_map(|(activity, part)| part.filter(|&part| part != 0).map(|part| (activity, part)))
            .collect();
        assert_eq!(found, expected, "{rules}");
    }

    #[test]
    fn a_file_extends_and_overrides_the_shipped_rules() {
        use Activity::{Computation, ExternalService, Overhead, Queueing, Unclassified};
        check("", &[(Computation, 3_000), (Unclassified, 7_000)]);
        check(
            "[origins]\n\"AWS::Lambda::Function\" = \"overhead\"",
            &[(Overhead, 3_000), (Unclassified, 7_000)],
        );
        check(
            "[parts.\"AWS::Lambda::Function\"]\n\"*\" = \"computation\"\n[names]\ndeep = \"external_service\"",
            &[(Computation, 8_000), (ExternalService, 2_000)],
        );
        check("[names]\ncall = \"external_service\"", &[(Computation, 3_000), (ExternalService, 7_000)]);
        // What is said of the parts of a service goes before what is said of a name.
        check(
            "[names]\ncall = \"overhead\"\n[parts.\"AWS::Lambda::Function\"]\ncall = \"queing\"",
            &[(Computation, 3_000), (Queueing, 7_000)],
        );
    }

    #[test]
    fn an_origin_may_be_given_by_its_beginning() {
        let other = TRACE.replace("AWS::Lambda::Function", "Mine::Worker");
        for (rules, expected) in [
            ("", Activity::Unclassified),
            ("\"Mine::*\" = \"overhead\"", Activity::Overhead),
            (
                "\"Mine::*\" = \"overhead\"\n\"Mine::Work*\" = \"trigger\"\n\"*\" = \"queing\"",
                Activity::Trigger,
            ),
            ("\"Mine::*\" = \"overhead\"\n\"Mine::Worker\" = \"computation\"", Activity::Computation),
            ("\"Mine\" = \"overhead\"", Activity::Unclassified),
        ] {
            let activities = Activities::default().extended(&format!("[origins]\n{rules}"), "test").unwrap();
            let row = Method { activities, ..Method::default() }.analyze_text(&other).unwrap().row;
            assert_eq!(row.part(expected), Some(10_000), "{rules}");
        }
    }

    #[test]
    fn a_mistake_is_an_error_with_its_place() {
        for (text, place, what) in [
            ("[origins]\nx = \"waiting\"", "line 2, column 5", "unknown variant `waiting`"),
            ("[origin]\nx = \"overhead\"", "line 1, column 2", "unknown field `origin`"),
            ("[origins]\nx = \"overhead\"\nx = \"overhead\"", "line 3, column 1", "duplicate key"),
            ("[parts]\nx = \"overhead\"", "line 2, column 5", "expected a map"),
        ] {
            let message = Activities::default().extended(text, "mine.toml").unwrap_err().to_string();
            for part in [place, what, "`mine.toml`", "container_initialization"] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
    }
}
