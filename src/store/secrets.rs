//! Secret parameters and outputs of a deployment: a file of their own that only the user can read.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Store;
use sb_plan::id::DeploymentId;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    #[serde(default)]
    pub outputs: BTreeMap<String, Value>,
}

impl Secrets {
    pub fn is_empty(&self) -> bool {
        self.params.is_empty() && self.outputs.is_empty()
    }
}

impl Store {
    /// Empty when the deployment has none.
    pub fn secrets(&self, deployment: &DeploymentId) -> io::Result<Secrets> {
        match std::fs::read(self.workspace.secrets_file(deployment)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Secrets::default()),
            Err(error) => Err(error),
        }
    }

    /// Durable when it returns. Removes the file when nothing is secret.
    pub fn keep_secrets(&self, deployment: &DeploymentId, secrets: &Secrets) -> io::Result<()> {
        let path = self.workspace.secrets_file(deployment);
        if secrets.is_empty() {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let folder = path.parent().unwrap_or(self.folder());
        std::fs::create_dir_all(folder)?;
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(secrets).map_err(io::Error::other)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        std::fs::File::open(folder)?.sync_all()
    }
}
