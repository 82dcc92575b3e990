//! Secret parameters and outputs of a deployment: a file of their own that only the user can read.

use std::collections::BTreeMap;
use std::io;

use sb_durable::Options;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Store;
use sb_plan::id::DeploymentId;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secrets {
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    #[serde(default)]
    pub outputs: BTreeMap<String, Value>,
}

impl Secrets {
    pub(crate) fn is_empty(&self) -> bool {
        self.params.is_empty() && self.outputs.is_empty()
    }
}

impl Store {
    /// Empty when the deployment has none.
    pub(crate) fn secrets(&self, deployment: &DeploymentId) -> io::Result<Secrets> {
        match std::fs::read(self.workspace.secrets_file(deployment)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Secrets::default()),
            Err(error) => Err(error),
        }
    }

    /// Durable when it returns. Removes the file when nothing is secret.
    pub(crate) fn keep_secrets(&self, deployment: &DeploymentId, secrets: &Secrets) -> io::Result<()> {
        let path = self.workspace.secrets_file(deployment);
        if secrets.is_empty() {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        std::fs::create_dir_all(path.parent().unwrap_or(self.folder()))?;
        let text = serde_json::to_vec(secrets).map_err(io::Error::other)?;
        Ok(sb_durable::write(&path, Options::new().private(), &text)?)
    }
}
