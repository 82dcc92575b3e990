//! The names of things: newtypes, so that a step is never taken for a trial. Cheap to clone: a large run has a
//! million of them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// An id of this text. Nothing is checked.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(&self.0)
            }
        }
    };
}

identifier!(
    /// One execution of a plan or of a single command: `20260131-120000-quickstart-7f3a`.
    RunId
);
identifier!(
    /// One deployed application: unique in a workspace. Deployments of single commands are called
    /// `NAME@TARGET`; those of a plan carry their run.
    DeploymentId
);
identifier!(
    /// One trial on a deployment: `hello-http.1/t1`, unique in a run.
    TrialId
);
identifier!(
    /// One step of a run's graph: `hello-http.1/deploy/stack`. Deterministic: the same plan gives the same ids.
    StepId
);

/// A file name for an id, different for different ids: letters, digits and `-_.=@~` stay, every other byte becomes
/// `%` and two hexadecimal digits.
pub fn file_name(id: &str) -> String {
    // Not the crate `percent-encoding`: it writes upper-case digits, and these names are on disks already.
    id.bytes()
        .map(|byte| {
            let plain = byte.is_ascii_alphanumeric() || b"-_.=@~".contains(&byte);
            if plain { char::from(byte).to_string() } else { format!("%{byte:02x}") }
        })
        .collect()
}
