//! Where the commands of steps run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::manifest::decode::words;

words! {
    /// Where steps run.
    #[derive(Default, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[cfg_attr(test, schemars(rename = "ExecutorWord"))]
    pub enum Executor {
        /// In containers.
        #[default]
        Docker = "docker",
        /// As processes of this machine.
        Host = "host",
    }
}

impl Executor {
    /// Every executor, in the order of help and schemas.
    pub const ALL: [Self; 2] = [Self::Docker, Self::Host];

    /// The word for it in plans, on the command line and in stored requests.
    pub fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.word())
    }
}

/// A text that names no [`Executor`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no executor `{0}`: use `docker` or `host`")]
pub struct UnknownExecutor(String);

impl FromStr for Executor {
    type Err = UnknownExecutor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|executor| executor.word() == text);
        found.ok_or_else(|| UnknownExecutor(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_has_one_word_everywhere() {
        for executor in Executor::ALL {
            assert_eq!(executor.to_string().parse(), Ok(executor));
            assert_eq!(serde_json::to_value(executor).unwrap(), executor.word());
        }
        let refused = "podman".parse::<Executor>().unwrap_err().to_string();
        assert!(refused.contains("`podman`") && refused.contains("`docker`"), "{refused}");
    }
}
