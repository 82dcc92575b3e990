//! Credentials that a person pastes or pipes in: one format per provider, checked before anything is kept. No error shows
//! any of the text.

use serde_json::{Map, Value};

use super::Provider;

/// Larger than any file of credentials.
const LARGEST: usize = 256 * 1024;

/// What is to be kept of a text.
#[derive(PartialEq)]
pub(crate) struct Pasted {
    /// Name below the provider's folder, and content.
    pub files: Vec<(String, String)>,
    /// A command of the provider's that takes the credentials up, where a file alone is not enough; `{}` in its words is the
    /// provider's folder.
    pub then: Vec<String>,
    /// A file that nobody needs after that.
    pub remove: Option<String>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PastedError {
    #[error("the input is empty")]
    Empty,
    #[error("the input is larger than {} KiB, so it is no file of credentials", LARGEST / 1024)]
    Large,
    #[error("the input is not UTF-8 text")]
    NotText,
    #[error("the input is not a JSON object: it ends early or is wrong in line {line}")]
    NotJson { line: usize },
    #[error("the input has no `{key}`, or an empty one")]
    Missing { key: &'static str },
    #[error("the given `{key}` has characters that no such key can have")]
    Malformed { key: &'static str },
    #[error("line {line} is neither `[profile]`, nor `name = value`, nor a comment")]
    Line { line: usize },
    #[error("line {line} comes before the first `[profile]`")]
    NoProfile { line: usize },
    #[error("the profile in line {line} has no {missing}")]
    Profile { line: usize, missing: &'static str },
    #[error("`type` is not `service_account`: the key of another kind of account cannot be used")]
    NotServiceAccount,
    #[error("this is neither a token (`pul-` and letters or digits) nor a credentials.json of Pulumi")]
    NotPulumi,
}

impl std::fmt::Debug for Pasted {
    /// Without the contents.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.files.iter().map(|(name, _)| name).collect();
        out.debug_struct("Pasted")
            .field("files", &names)
            .field("then", &self.then)
            .field("remove", &self.remove)
            .finish()
    }
}

impl Pasted {
    /// Reads what was given for a provider.
    pub(crate) fn read(provider: &Provider, bytes: &[u8]) -> Result<Self, PastedError> {
        if bytes.len() > LARGEST {
            return Err(PastedError::Large);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PastedError::NotText)?;
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let text = text.trim();
        if text.is_empty() {
            return Err(PastedError::Empty);
        }
        match provider.name {
            "aws" => aws(text),
            "azure" => azure(text),
            "google" => google(text),
            "ibm" => ibm(text),
            _ => pulumi(text),
        }
    }

    fn file(name: &str, content: String) -> Self {
        Self { files: vec![(name.to_owned(), content)], then: vec![], remove: None }
    }

    fn then(self, words: &[&str]) -> Self {
        Self { then: words.iter().map(|word| (*word).to_owned()).collect(), ..self }
    }
}

fn aws(text: &str) -> Result<Pasted, PastedError> {
    const ID: &str = "aws_access_key_id";
    const KEY: &str = "aws_secret_access_key";
    // Line and names of the profile that is being read.
    let mut profile: Option<(usize, Vec<&str>)> = None;
    let complete = |profile: Option<(usize, Vec<&str>)>| {
        let Some((line, names)) = profile else { return Ok(()) };
        [ID, KEY].into_iter().try_for_each(|missing| {
            if names.contains(&missing) { Ok(()) } else { Err(PastedError::Profile { line, missing }) }
        })
    };
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if name.trim().is_empty() {
                return Err(PastedError::Line { line: number });
            }
            complete(profile.replace((number, vec![])))?;
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(PastedError::Line { line: number });
        };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.contains(' ') || value.is_empty() {
            return Err(PastedError::Line { line: number });
        }
        let Some((_, names)) = &mut profile else { return Err(PastedError::NoProfile { line: number }) };
        if let Some(key) = [ID, KEY].into_iter().find(|key| *key == name)
            && !value.chars().all(|c| c.is_ascii_alphanumeric() || "+/=_-".contains(c))
        {
            return Err(PastedError::Malformed { key });
        }
        names.push(name);
    }
    if profile.is_none() {
        return Err(PastedError::Missing { key: ID });
    }
    complete(profile)?;
    Ok(Pasted::file("credentials", format!("{text}\n")))
}

fn azure(text: &str) -> Result<Pasted, PastedError> {
    let object = object(text)?;
    let app = plain(&object, &["appId", "clientId"])?;
    let tenant = plain(&object, &["tenant", "tenantId"])?;
    let password = text_of(&object, &["password", "clientSecret"])?;
    let name = "service-principal-password";
    let pasted = Pasted::file(name, password.to_owned()).then(&[
        "az",
        "login",
        "--service-principal",
        "--username",
        app,
        "--password",
        "@{}/service-principal-password",
        "--tenant",
        tenant,
        "--output",
        "none",
    ]);
    // The command line keeps a copy of its own.
    Ok(Pasted { remove: Some(name.to_owned()), ..pasted })
}

fn google(text: &str) -> Result<Pasted, PastedError> {
    let object = object(text)?;
    if text_of(&object, &["type"])? != "service_account" {
        return Err(PastedError::NotServiceAccount);
    }
    let project = plain(&object, &["project_id"])?;
    text_of(&object, &["client_email"])?;
    if !text_of(&object, &["private_key"])?.starts_with("-----BEGIN ") {
        return Err(PastedError::Malformed { key: "private_key" });
    }
    // Where Google's libraries look by themselves; its command line is told.
    let pasted = Pasted::file("application_default_credentials.json", format!("{text}\n"));
    Ok(pasted.then(&[
        "gcloud",
        "auth",
        "activate-service-account",
        "--key-file={}/application_default_credentials.json",
        "--project",
        project,
        "--quiet",
    ]))
}

fn ibm(text: &str) -> Result<Pasted, PastedError> {
    text_of(&object(text)?, &["apikey"])?;
    // Kept: the token that a login brings lasts for an hour, and steps may log in anew with the key.
    let pasted = Pasted::file("apikey.json", format!("{text}\n"));
    Ok(pasted.then(&["ibmcloud", "login", "--apikey", "@{}/apikey.json", "--no-region", "--quiet"]))
}

fn pulumi(text: &str) -> Result<Pasted, PastedError> {
    const CLOUD: &str = "https://api.pulumi.com";
    let token = text
        .strip_prefix("pul-")
        .is_some_and(|rest| rest.len() >= 16 && rest.chars().all(|c| c.is_ascii_alphanumeric()));
    let content = if token {
        let file = serde_json::json!({
            "current": CLOUD, "accessTokens": { CLOUD: text }, "accounts": { CLOUD: { "accessToken": text } },
        });
        format!("{file:#}\n")
    } else if text.starts_with('{') {
        let object = object(text)?;
        text_of(&object, &["current"])?;
        format!("{text}\n")
    } else {
        return Err(PastedError::NotPulumi);
    };
    Ok(Pasted::file("credentials.json", content))
}

fn object(text: &str) -> Result<Map<String, Value>, PastedError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(PastedError::NotJson { line: 1 }),
        // The message itself may quote what it met.
        Err(error) => Err(PastedError::NotJson { line: error.line() }),
    }
}

/// The first of these keys that is there.
fn text_of<'a>(object: &'a Map<String, Value>, keys: &[&'static str]) -> Result<&'a str, PastedError> {
    let found = keys.iter().find_map(|key| object.get(*key)?.as_str());
    found.filter(|text| !text.trim().is_empty()).ok_or(PastedError::Missing { key: keys[0] })
}

/// One that becomes a word of a command line.
fn plain<'a>(object: &'a Map<String, Value>, keys: &[&'static str]) -> Result<&'a str, PastedError> {
    let text = text_of(object, keys)?;
    let plain =
        text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c)) && !text.starts_with('-');
    if plain { Ok(text) } else { Err(PastedError::Malformed { key: keys[0] }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str =
        "[default]\naws_access_key_id = AKIAHUSH\naws_secret_access_key = hush/+=\nregion=eu-west-1\n";
    const AZURE: &str = r#"{"appId":"0a-1b","displayName":"x","password":"hush~1","tenant":"2c-3d"}"#;
    const GOOGLE: &str = r#"{"type":"service_account","project_id":"p-1","client_email":"a@b","private_key":"-----BEGIN hush"}"#;
    const IBM: &str = r#"{"name":"n","apikey":"hush"}"#;

    fn read(provider: &str, text: &str) -> Result<Pasted, PastedError> {
        Pasted::read(Provider::named(provider).unwrap(), text.as_bytes())
    }

    #[track_caller]
    fn check(provider: &str, text: &str, file: &str, then: Option<&str>) {
        let pasted = read(provider, text).unwrap();
        assert_eq!(pasted.files.len(), 1);
        assert_eq!(pasted.files[0].0, file);
        assert!(pasted.files[0].1.contains("hush"));
        assert_eq!((!pasted.then.is_empty()).then(|| pasted.then.join(" ")).as_deref(), then);
        assert!(!pasted.then.join(" ").contains("hush"), "no secret is an argument");
        assert!(!format!("{pasted:?}").contains("hush"));
    }

    #[test]
    fn each_provider_has_a_file_that_can_be_pasted() {
        check("aws", AWS, "credentials", None);
        check("aws", &AWS.replace('\n', "\r\n"), "credentials", None);
        check(
            "azure",
            AZURE,
            "service-principal-password",
            Some(
                "az login --service-principal --username 0a-1b --password @{}/service-principal-password --tenant 2c-3d --output none",
            ),
        );
        check(
            "google",
            GOOGLE,
            "application_default_credentials.json",
            Some(
                "gcloud auth activate-service-account --key-file={}/application_default_credentials.json --project p-1 --quiet",
            ),
        );
        check("ibm", IBM, "apikey.json", Some("ibmcloud login --apikey @{}/apikey.json --no-region --quiet"));
        check("pulumi", "pul-hush0123456789abcdef\n", "credentials.json", None);
        check(
            "pulumi",
            r#"{"current":"https://api.pulumi.com","accessTokens":{"a":"hush"}}"#,
            "credentials.json",
            None,
        );
        assert_eq!(read("azure", AZURE).unwrap().remove.as_deref(), Some("service-principal-password"));
    }

    #[track_caller]
    fn check_refused(provider: &str, text: &str, expected: PastedError) {
        let error = read(provider, text).unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("hush"), "{error}");
    }

    #[test]
    fn what_is_no_file_of_credentials_is_refused_without_showing_it() {
        check_refused("aws", " \n", PastedError::Empty);
        check_refused("aws", "hush", PastedError::Line { line: 1 });
        check_refused("aws", "aws_access_key_id = hush", PastedError::NoProfile { line: 1 });
        check_refused("aws", "# hush", PastedError::Missing { key: "aws_access_key_id" });
        check_refused(
            "aws",
            "[a]\naws_access_key_id = hush\n[b]",
            PastedError::Profile { line: 1, missing: "aws_secret_access_key" },
        );
        check_refused(
            "aws",
            "[a]\naws_access_key_id = hu$h\naws_secret_access_key = x",
            PastedError::Malformed { key: "aws_access_key_id" },
        );
        check_refused("azure", "{\n\"appId\": hush", PastedError::NotJson { line: 2 });
        check_refused("azure", r#"{"appId":"a","tenant":"hush"}"#, PastedError::Missing { key: "password" });
        check_refused(
            "azure",
            r#"{"appId":"--hush","tenant":"t","password":"p"}"#,
            PastedError::Malformed { key: "appId" },
        );
        check_refused("google", r#"{"type":"authorized_user","x":"hush"}"#, PastedError::NotServiceAccount);
        check_refused(
            "google",
            &GOOGLE.replace("-----BEGIN", "hush"),
            PastedError::Malformed { key: "private_key" },
        );
        check_refused("ibm", r#"["hush"]"#, PastedError::NotJson { line: 1 });
        check_refused("ibm", r#"{"apikey": 7}"#, PastedError::Missing { key: "apikey" });
        check_refused("pulumi", "hush", PastedError::NotPulumi);
        check_refused("pulumi", "pul-hush", PastedError::NotPulumi);
        check_refused("ibm", &"hush".repeat(100_000), PastedError::Large);
        assert_eq!(Pasted::read(Provider::named("ibm").unwrap(), b"\xff"), Err(PastedError::NotText));
    }
}
