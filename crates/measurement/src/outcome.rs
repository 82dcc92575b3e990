//! How invocations end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How an invocation ended. The names are stable: they stand in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A complete answer that met the request's `expect`.
    Ok,
    /// A complete answer that did not.
    FailedCheck,
    /// No complete answer within the workload's timeout.
    Timeout,
    /// Nobody listens at the address.
    Refused,
    /// No connection for another reason: no route, network down.
    Unreachable,
    /// The connection was reset or closed before the answer was complete.
    Reset,
    /// The host name could not be resolved.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// What came back is not HTTP.
    Protocol,
    /// Never sent: this machine ran out of file descriptors, ports or memory, a fault of the load generator.
    Exhausted,
    /// Never sent: too many requests were under way.
    Dropped,
    /// Never sent: an earlier request of its sequence failed.
    Skipped,
    /// Sent, then given up because the load was cancelled.
    Cancelled,
}

impl Outcome {
    /// In the order in which reports list them.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::FailedCheck,
        Self::Timeout,
        Self::Refused,
        Self::Unreachable,
        Self::Reset,
        Self::Dns,
        Self::Tls,
        Self::Protocol,
        Self::Exhausted,
        Self::Dropped,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// As it stands in files: lower case, words joined by `_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::FailedCheck => "failed_check",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Exhausted => "exhausted",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the request may have reached the application, so that a trace of it can be expected.
    pub fn may_leave_a_trace(self) -> bool {
        match self {
            Self::Ok | Self::FailedCheck | Self::Timeout | Self::Reset | Self::Protocol | Self::Cancelled => {
                true
            }
            Self::Refused
            | Self::Unreachable
            | Self::Dns
            | Self::Tls
            | Self::Exhausted
            | Self::Dropped
            | Self::Skipped => false,
        }
    }

    /// Tried, and not answered as expected.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::Dropped | Self::Skipped)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_the_same_name_in_csv_and_json() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }
}
