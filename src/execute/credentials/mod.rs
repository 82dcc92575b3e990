//! Credentials of providers. For containers, they are in a volume of the engine. Steps that ask for them see it
//! read-only below HOME. On the host, they are the user's own.

mod login;
mod pasted;

use crate::container::{ContainerError, Engine, Volume};

pub(crate) use login::{Identity, LoginError, check_in_container, check_on_host, interactive, keep, logout};
pub(crate) use pasted::Pasted;

/// What differs between providers.
#[derive(Debug)]
pub(crate) struct Provider {
    pub name: &'static str,
    /// Where its tools look, below HOME.
    pub folder: &'static str,
    /// Asks for credentials and keeps them.
    pub login: &'static [&'static str],
    /// Says whose credentials there are; fails, or says nothing, without any.
    pub identity: &'static [&'static str],
    /// Variables that give its tools another folder, with the path of that folder below it: they write to theirs as they
    /// read it, so that a read-only one has to be copied first.
    writable: &'static [(&'static str, &'static str)],
    /// What can be pasted instead.
    pub file: &'static str,
}

pub(crate) const PROVIDERS: [Provider; 5] = [
    Provider {
        name: "aws",
        folder: ".aws",
        login: &["aws", "configure"],
        identity: &["aws", "sts", "get-caller-identity", "--output", "json"],
        writable: &[],
        file: "a credentials file: `[default]`, then `aws_access_key_id = …`, `aws_secret_access_key = …` and for \
               temporary credentials `aws_session_token = …`; `region = …` may follow",
    },
    Provider {
        name: "azure",
        folder: ".azure",
        login: &["az", "login", "--use-device-code"],
        identity: &["az", "account", "show", "--output", "json"],
        writable: &[("AZURE_CONFIG_DIR", "")],
        file: "a service principal, as `az ad sp create-for-rbac` prints it: a JSON object with `appId`, `password` and `tenant`",
    },
    Provider {
        name: "google",
        folder: ".config/gcloud",
        login: &["gcloud", "init", "--console-only"],
        identity: &["gcloud", "auth", "list", "--filter=status:ACTIVE", "--format=value(account)"],
        writable: &[("CLOUDSDK_CONFIG", "")],
        file: "the key of a service account: the JSON object that `gcloud iam service-accounts keys create` writes",
    },
    Provider {
        name: "ibm",
        folder: ".bluemix",
        login: &["ibmcloud", "login"],
        identity: &["ibmcloud", "target"],
        // The variable names the folder that holds `.bluemix`.
        writable: &[("IBMCLOUD_HOME", ".bluemix")],
        file: "an API key, as `ibmcloud iam api-key-create NAME --file` writes it: a JSON object with `apikey`",
    },
    Provider {
        name: "pulumi",
        folder: ".pulumi",
        login: &["pulumi", "login"],
        identity: &["pulumi", "whoami"],
        writable: &[("PULUMI_HOME", "")],
        file: "an access token (`pul-…`), or the file ~/.pulumi/credentials.json of a machine that is logged in",
    },
];

impl Provider {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        PROVIDERS.iter().find(|provider| provider.name == name)
    }

    /// The engine's volume with these credentials.
    pub(crate) fn volume(&self) -> String {
        format!("{}-secrets", self.name)
    }

    fn mount(&self, home: &str, writable: bool) -> Volume {
        let target = format!("{}/{}", home.trim_end_matches('/'), self.folder);
        Volume { name: self.volume(), target, writable }
    }
}

/// The volumes of these credentials, in the container of a step whose home is `home`.
pub(super) fn volumes(names: &[String], home: &str) -> Vec<Volume> {
    names
        .iter()
        .filter_map(|name| Provider::named(name))
        .map(|provider| provider.mount(home, false))
        .collect()
}

/// An engine makes a volume that is missing, and the step would find no credentials in it: better to say so.
pub(super) async fn check(engine: &Engine, names: &[String]) -> Result<(), ContainerError> {
    for provider in names.iter().filter_map(|name| Provider::named(name)) {
        let volume = provider.volume();
        if !engine.has_volume(&volume).await? {
            return Err(ContainerError::NoVolume { volume });
        }
    }
    Ok(())
}

/// The error, and of a missing volume how it is made and filled. Nothing of that is done for the user: credentials
/// are theirs.
pub(crate) fn explain(error: &ContainerError) -> String {
    let ContainerError::NoVolume { volume } = error else { return error.to_string() };
    let provider = PROVIDERS.iter().find(|one| one.volume() == *volume).map_or("PROVIDER", |one| one.name);
    format!(
        "the engine has no volume `{volume}` with credentials: log in with `sb login {provider}`, or give a file: \
         `sb login {provider} --prompt < FILE`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sb_plan::benchmark::CREDENTIALS;

    #[test]
    fn every_kind_of_credentials_has_its_place_below_home() {
        for name in CREDENTIALS {
            let volumes = volumes(&[name.to_owned()], "/home/");
            assert_eq!(volumes.len(), 1, "{name}");
            assert!(volumes[0].target.starts_with("/home/."), "{volumes:?}");
            assert!(!volumes[0].writable, "{name}: steps only read");
        }
        let both = volumes(&["google".to_owned(), "aws".to_owned()], "/h");
        let pairs: Vec<_> =
            both.iter().map(|volume| (volume.name.as_str(), volume.target.as_str())).collect();
        assert_eq!(pairs, [("google-secrets", "/h/.config/gcloud"), ("aws-secrets", "/h/.aws")]);
    }
}
