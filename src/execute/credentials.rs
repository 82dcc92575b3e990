//! Credentials in containers: each provider's lie in a volume of the engine, which the steps that ask for them see.

use crate::container::{ContainerError, Engine, Volume};

/// Where the tools of a provider look for their credentials, below HOME, and a command that writes them there.
struct Provider {
    name: &'static str,
    folder: &'static str,
    /// Image and arguments of a container that asks for the credentials and keeps them.
    login: &'static str,
}

const PROVIDERS: [Provider; 5] = [
    Provider { name: "aws", folder: ".aws", login: "amazon/aws-cli configure" },
    Provider { name: "azure", folder: ".azure", login: "mcr.microsoft.com/azure-cli az login" },
    Provider { name: "google", folder: ".config/gcloud", login: "google/cloud-sdk gcloud auth login" },
    Provider {
        name: "ibm",
        folder: ".bluemix",
        login: "ibmcom/ibm-cloud-developer-tools-amd64 ibmcloud login",
    },
    Provider { name: "pulumi", folder: ".pulumi", login: "pulumi/pulumi login" },
];

fn provider(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.name == name)
}

fn volume_of(name: &str) -> String {
    format!("{name}-secrets")
}

/// The volumes of these credentials, in the container of a step whose home is `home`.
pub(super) fn volumes(names: &[String], home: &str) -> Vec<Volume> {
    let volume = |provider: &Provider| Volume {
        name: volume_of(provider.name),
        target: format!("{}/{}", home.trim_end_matches('/'), provider.folder),
    };
    names.iter().filter_map(|name| provider(name)).map(volume).collect()
}

/// An engine makes a volume that is missing, and the step would find no credentials in it: better to say so.
pub(super) async fn check(engine: &Engine, names: &[String]) -> Result<(), ContainerError> {
    for volume in names.iter().map(|name| volume_of(name)) {
        if !engine.has_volume(&volume).await? {
            return Err(ContainerError::NoVolume { volume });
        }
    }
    Ok(())
}

/// The error, and of a missing volume how it is made and filled. Nothing of that is done for the user: credentials
/// are theirs.
pub fn explain(error: &ContainerError) -> String {
    let ContainerError::NoVolume { volume } = error else { return error.to_string() };
    let mut text = format!("the engine has no volume `{volume}` with credentials. It is made and filled so:");
    let mut add = |line: String| text.push_str(&format!("\n    {line}"));
    add(format!("docker volume create {volume}"));
    if let Some(Provider { folder, login, .. }) = PROVIDERS.iter().find(|one| volume_of(one.name) == *volume)
    {
        add(format!("docker run --rm -it -v {volume}:/root/{folder} {login}"));
    }
    // Steps run as the caller, who must be able to read what root wrote.
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    add(format!("docker run --rm -v {volume}:/secrets alpine chown -R {user}:{group} /secrets"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::CREDENTIALS;

    #[test]
    fn every_kind_of_credentials_has_its_place_below_home() {
        for name in CREDENTIALS {
            let volumes = volumes(&[name.to_owned()], "/home/");
            assert_eq!(volumes.len(), 1, "{name}");
            assert!(volumes[0].target.starts_with("/home/."), "{volumes:?}");
        }
        let both = volumes(&["google".to_owned(), "aws".to_owned()], "/h");
        let pairs: Vec<_> =
            both.iter().map(|volume| (volume.name.as_str(), volume.target.as_str())).collect();
        assert_eq!(pairs, [("google-secrets", "/h/.config/gcloud"), ("aws-secrets", "/h/.aws")]);
    }
}
