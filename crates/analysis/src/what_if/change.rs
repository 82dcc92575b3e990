//! What is to be changed: operations and activities that take another time, and functions that are never cold.

use regex::Regex;

use crate::operation::Operation;
use crate::path::breakdown::Activity;

/// A set of changes that hold together.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What becomes of the operations that a pattern fits. Of several patterns that fit, all count.
    pub operations: Vec<(OperationPattern, Effect)>,
    /// By what the time of an activity is multiplied: 0 or more.
    pub activities: Vec<(Activity, f64)>,
    /// Whether no function starts cold.
    pub no_cold_starts: bool,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Its own time is multiplied by this: 0 or more.
    Times(f64),
    /// It takes no time, and nothing beneath it does.
    Gone,
}

/// Which operations are meant: a regular expression for the whole of a name, a service, or both.
///
/// | it may fit | for example |
/// |---|---|
/// | the name | `resize` |
/// | the service, as recorded or without its provider | `AWS::S3`, `S3` |
/// | service and name, as recorded or without the provider | `AWS::Lambda::Function resize`, `Lambda::Function resize` |
/// | a space and the name, of an operation without a service | ` resize` |
#[derive(Clone, Debug)]
pub struct OperationPattern {
    typed: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// What [`Operation::full_name`] gives.
    FullName(String),
    Regex(Regex),
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no equals sign, or nothing before it.
    #[error("`{text}` does not say what to change by how much; write PATTERN=FACTOR, such as S3=0.5")]
    NoFactor {
        /// What was typed.
        text: String,
    },
    /// The factor is no number of 0 or more.
    #[error("`{factor}` in `{text}` is no factor; write a number from 0 to 1000, or `gone`")]
    Factor {
        /// What was typed.
        text: String,
        /// The part after the equals sign.
        factor: String,
    },
    /// The factor of an activity is no number of 0 or more.
    #[error(
        "`{factor}` in `{text}` is no factor of an activity; write a number from 0 to 1000, where 0 leaves nothing of it"
    )]
    ActivityFactor {
        /// What was typed.
        text: String,
        /// The part after the equals sign.
        factor: String,
    },
    /// The pattern is no regular expression.
    #[error(
        "the pattern `{pattern}` is no regular expression ({detail}); write a backslash before special characters"
    )]
    Pattern {
        /// The part before the equals sign.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no such activity.
    #[error("there is no activity `{name}`; the activities are {}", Activity::ALL.map(Activity::name).join(", "))]
    Activity {
        /// The part before the equals sign.
        name: String,
    },
    /// No operation of the traces fits a pattern.
    #[error("no operation fits `{pattern}`; the operations on critical paths are {known}")]
    FitsNothing {
        /// The pattern.
        pattern: String,
        /// Some operations of the traces.
        known: String,
    },
    /// There is no valid trace.
    #[error("there is no valid trace to change; `sb trace list` says why each is invalid")]
    NoTraces,
}

/// The largest factor: what is slower by more is a mistake.
const LARGEST: f64 = 1000.0;

impl Change {
    /// Adds what `--operation` says: `PATTERN=FACTOR` or `PATTERN=gone`.
    ///
    /// # Errors
    /// There is no equals sign, the pattern is no regular expression, or the factor is not from 0 to 1000.
    pub fn add_operation(&mut self, text: &str) -> Result<(), ChangeError> {
        let (pattern, factor) = halves(text)?;
        let effect =
            match factor {
                "gone" => Effect::Gone,
                factor => Effect::Times(parse_factor(factor).ok_or_else(|| ChangeError::Factor {
                    text: text.to_owned(),
                    factor: factor.to_owned(),
                })?),
            };
        self.operations.push((OperationPattern::new(pattern)?, effect));
        Ok(())
    }

    /// Adds what `--activity` says: `ACTIVITY=FACTOR`.
    ///
    /// # Errors
    /// There is no equals sign, no such activity, or the factor is not from 0 to 1000.
    pub fn add_activity(&mut self, text: &str) -> Result<(), ChangeError> {
        let (name, factor) = halves(text)?;
        let activity = Activity::ALL.into_iter().find(|activity| activity.name() == name);
        let activity = activity.ok_or_else(|| ChangeError::Activity { name: name.to_owned() })?;
        let parsed = parse_factor(factor).ok_or_else(|| ChangeError::ActivityFactor {
            text: text.to_owned(),
            factor: factor.to_owned(),
        })?;
        self.activities.push((activity, parsed));
        Ok(())
    }

    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.activities.is_empty() && !self.no_cold_starts
    }

    /// What becomes of an operation; `None` where no pattern fits it.
    pub(crate) fn of_operation(&self, operation: &Operation) -> Option<Effect> {
        let fitting = self.operations.iter().filter(|(pattern, _)| pattern.fits(operation));
        fitting.map(|(_, effect)| *effect).reduce(|left, right| match (left, right) {
            (Effect::Times(left), Effect::Times(right)) => Effect::Times(left * right),
            _ => Effect::Gone,
        })
    }

    pub(crate) fn of_activity(&self, activity: Activity) -> f64 {
        let factors = self.activities.iter().filter(|(changed, _)| *changed == activity);
        factors.map(|(_, factor)| factor).product()
    }
}

fn halves(text: &str) -> Result<(&str, &str), ChangeError> {
    // A pattern may contain an equals sign.
    text.rsplit_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| ChangeError::NoFactor { text: text.to_owned() })
}

fn parse_factor(factor: &str) -> Option<f64> {
    factor.parse().ok().filter(|parsed| (0.0..=LARGEST).contains(parsed))
}

impl OperationPattern {
    /// Of a regular expression in the syntax of the crate `regex`.
    ///
    /// # Errors
    /// It is no regular expression, or one that is too large.
    pub fn new(pattern: &str) -> Result<Self, ChangeError> {
        let wrong = |error: regex::Error| {
            let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
            let detail = last.strip_prefix("error: ").unwrap_or(&last).to_owned();
            ChangeError::Pattern { pattern: pattern.to_owned(), detail }
        };
        // By itself first: within the group, what closes the group would be none of its mistakes.
        Regex::new(pattern).map_err(wrong)?;
        let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(wrong)?;
        Ok(Self { typed: pattern.to_owned(), matcher: Matcher::Regex(regex) })
    }

    /// The one that fits an operation and no other.
    pub fn only(operation: &Operation) -> Self {
        let name = operation.full_name();
        // A name alone also fits operations of that name that have a service. With a space before it, it does not.
        let space = if operation.service.is_empty() { " " } else { "" };
        Self { typed: format!("{space}{}", regex::escape(&name)), matcher: Matcher::FullName(name) }
    }

    /// As it was typed, or can be typed.
    pub fn as_str(&self) -> &str {
        &self.typed
    }

    /// Whether an operation is meant.
    pub fn fits(&self, operation: &Operation) -> bool {
        let regex = match &self.matcher {
            Matcher::FullName(name) => return operation.full_name() == *name,
            Matcher::Regex(regex) => regex,
        };
        let Operation { name, service } = operation;
        let short = operation.short_service();
        let has_service = || {
            [service, short, &operation.full_name(), &format!("{short} {name}")]
                .into_iter()
                .any(|text| regex.is_match(text))
        };
        let has_none = || regex.is_match(&format!(" {name}"));
        regex.is_match(name) || if service.is_empty() { has_none() } else { has_service() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_whole_of_a_name_or_a_service() {
        let operation = Operation { name: "resize".to_owned(), service: "AWS::Lambda::Function".to_owned() };
        let part = Operation { name: "hash".to_owned(), service: String::new() };
        #[track_caller]
        fn check(operation: &Operation, pattern: &str, expected: bool) {
            assert_eq!(OperationPattern::new(pattern).unwrap().fits(operation), expected, "{pattern}");
        }
        for pattern in
            ["resize", "res.*", "AWS::Lambda::Function", "Lambda::Function", "Lambda.* resize", "AWS::.*e"]
        {
            check(&operation, pattern, true);
        }
        for pattern in ["siz", "resiz", "Lambda", "hash", "", "resize|Lambda$x"] {
            check(&operation, pattern, pattern.starts_with("resize"));
        }
        check(&part, "hash", true);
        check(&part, "", false);
        let only = OperationPattern::only(&operation);
        assert!(only.fits(&operation) && !only.fits(&part));
        check(&operation, only.as_str(), true);
        let alone = Operation { name: "resize".to_owned(), service: String::new() };
        let only = OperationPattern::only(&alone);
        check(&alone, only.as_str(), true);
        check(&operation, only.as_str(), false);
    }

    #[test]
    fn what_is_wrong_with_a_change_is_said() {
        #[track_caller]
        fn check(text: &str, part: &str) {
            let message = Change::default().add_operation(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        check("S3", "`S3` does not say");
        check("=0.5", "does not say");
        check("S3=fast", "`fast` in `S3=fast` is no factor");
        for factor in ["-1", "1001", "NaN", "inf", ""] {
            check(&format!("S3={factor}"), "is no factor");
        }
        check("S3(=2", "unclosed group");
        check("a)(b=2", "`a)(b` is no regular expression");
        let message = Change::default().add_activity("computation=gone").unwrap_err().to_string();
        assert!(!message.contains("or `gone`") && message.contains("where 0 leaves nothing"), "{message}");
        let message = Change::default().add_activity("waiting=1").unwrap_err().to_string();
        assert!(message.contains("`waiting`") && message.contains("queing"), "{message}");
    }

    #[test]
    fn of_several_changes_all_count() {
        let mut change = Change::default();
        assert!(change.is_empty());
        for text in ["S3=0.5", "S.*=0.5", "a=b=2", "S4=gone"] {
            change.add_operation(text).unwrap();
        }
        change.add_activity("computation=3").unwrap();
        change.add_activity("computation=2").unwrap();
        let of =
            |name: &str| change.of_operation(&Operation { name: name.to_owned(), service: String::new() });
        assert_eq!(of("S3"), Some(Effect::Times(0.25)));
        assert_eq!(of("a=b"), Some(Effect::Times(2.0)));
        assert_eq!(of("S4"), Some(Effect::Gone));
        assert_eq!(of("T"), None);
        assert_eq!(change.of_activity(Activity::Computation).to_bits(), 6.0_f64.to_bits());
        assert_eq!(change.of_activity(Activity::Trigger).to_bits(), 1.0_f64.to_bits());
    }
}
