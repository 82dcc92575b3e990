//! One request of a load, and what became of it.

use std::borrow::Cow;

use crate::{Outcome, Timestamp};

/// One invocation: a row of `invocations.csv`. Rows come in the order in which invocations ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// From 1, in the order of the plan.
    pub invocation: u64,
    /// The request's name, which is also its type.
    pub request: String,
    /// `1-<8 hex digits>-<24 hex digits>`, as X-Ray has it.
    /// Empty: the trace is unknown, as with a k6 script that tags no requests.
    pub trace_id: String,
    /// `None`: only the generator knew, as k6 does.
    pub planned: Option<Timestamp>,
    /// When the request was handed to the HTTP client (before a connection is looked for); `None`: no byte of it left.
    pub sent: Option<Timestamp>,
    /// When the last byte of the answer was there; `None`: no complete answer.
    pub answered: Option<Timestamp>,
    /// The status code, also where the rest of the answer never came.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Invocation {
    /// Microseconds from sent to answered.
    pub fn latency_micros(&self) -> Option<i64> {
        Some(self.answered?.micros() - self.sent?.micros())
    }

    /// Microseconds from the planned time to answered: includes what the load generator or a full queue added, so
    /// a stalled server shows in every invocation that was due meanwhile.
    pub fn latency_from_planned_micros(&self) -> Option<i64> {
        Some(self.answered?.micros() - self.planned?.micros())
    }
}

/// The id of a trace as [`Invocation::trace_id`] has it: tracers that follow W3C write the same as 32 hexadecimal digits.
pub fn sent_id(trace_id: &str) -> Cow<'_, str> {
    if trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let id = trace_id.to_ascii_lowercase();
        return Cow::Owned(format!("1-{}-{}", &id[..8], &id[8..]));
    }
    Cow::Borrowed(trace_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_w3c_is_that_which_was_sent() {
        for (id, expected) in [
            ("5759E988bd862e3fe1be46a994272793", "1-5759e988-bd862e3fe1be46a994272793"),
            ("1-5759e988-bd862e3fe1be46a994272793", "1-5759e988-bd862e3fe1be46a994272793"),
            ("4bf9", "4bf9"),
            ("", ""),
        ] {
            assert_eq!(sent_id(id), expected);
        }
    }
}
