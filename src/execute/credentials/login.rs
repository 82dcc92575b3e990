//! Filling, checking and removing a provider's volume, with the provider's own command line in a container; and asking that
//! of this machine.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{Pasted, Provider};
use crate::container::{ContainerCommand, ContainerError, Engine, Files, HOME, Opening, Session};

/// Of an identity command's output; the rest would not be shown anyway.
const OUTPUT: usize = 64 * 1024;
/// A command line that waits for a network that is not there gives up by itself, mostly.
const PATIENCE: Duration = Duration::from_mins(2);
/// Of volumes and containers that are for credentials.
const LABEL: &str = "sb.credentials";

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LoginError {
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("`{command}` failed with code {code}, and the credentials were not taken up:\n{output}")]
    Refused { command: String, code: i64, output: String },
    #[error("`{command}` did not answer within {} s", PATIENCE.as_secs())]
    Silent { command: String },
    #[error(
        "`{program}` cannot be started on this machine: {source}; install it, or use the one in its image with `--executor docker`"
    )]
    NoProgram { program: String, source: std::io::Error },
}

/// Whose credentials there are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Identity {
    /// In words, and as the provider's command said it (JSON where it speaks it).
    Of { who: String, said: Value },
    /// The provider's command says that nobody is logged in, or that the credentials do not hold.
    Nobody { said: String },
}

/// The provider's own way to log in, in a terminal of so many rows and columns. The volume is made if it is missing.
pub(crate) async fn interactive(
    engine: &Engine,
    provider: &Provider,
    image: String,
    size: (u16, u16),
) -> Result<Session, ContainerError> {
    let command = command(provider, image, words(provider.login), true);
    engine.make_volume(&provider.volume(), (LABEL, provider.name)).await?;
    let files = files(provider, vec![]);
    engine.open(&command, &Opening { terminal: Some(size), files: Some(&files), folder: None }).await
}

/// Puts what was pasted into the volume, and lets the provider's command line take it up where that is needed.
pub(crate) async fn keep(
    engine: &Engine,
    provider: &Provider,
    image: String,
    pasted: Pasted,
) -> Result<(), LoginError> {
    let volume = provider.volume();
    let is_new = !engine.has_volume(&volume).await?;
    engine.make_volume(&volume, (LABEL, provider.name)).await?;
    let kept = fill(engine, provider, image, pasted).await;
    if kept.is_err() && is_new {
        // Steps would take it for credentials.
        engine.remove_volume(&volume).await?;
    }
    kept
}

async fn fill(engine: &Engine, provider: &Provider, image: String, pasted: Pasted) -> Result<(), LoginError> {
    let Pasted { files: contents, then, remove } = pasted;
    let folder = format!("{HOME}/{}", provider.folder);
    let files = files(provider, contents);
    if then.is_empty() {
        // Never run, but the engine wants a command.
        let nothing = command(provider, image, vec!["true".to_owned()], true);
        engine.put_into(&nothing, &files).await?;
        return Ok(());
    }
    let shown = then.join(" ").replace("{}", &format!("~/{}", provider.folder));
    let then: Vec<String> = then.iter().map(|word| word.replace("{}", &folder)).collect();
    let argv = match remove {
        None => then,
        Some(name) => {
            let script = r#"file=$1; shift; "$@"; code=$?; rm -f "$file"; exit $code"#;
            let before = ["sh", "-c", script, "sh", &format!("{folder}/{name}")].map(str::to_owned);
            before.into_iter().chain(then).collect()
        }
    };
    let command = command(provider, image, argv, true);
    let opening = Opening { terminal: None, files: Some(&files), folder: None };
    let (code, output, error) = run(engine, &command, &opening, &shown).await?;
    if code == 0 {
        return Ok(());
    }
    Err(LoginError::Refused { command: shown, code, output: tail(&output, &error) })
}

/// Asks the provider's command line whose credentials the volume has; it sees them read-only, as steps do.
pub(crate) async fn check_in_container(
    engine: &Engine,
    provider: &Provider,
    image: String,
) -> Result<Identity, LoginError> {
    let volume = provider.volume();
    if !engine.has_volume(&volume).await? {
        return Err(ContainerError::NoVolume { volume }.into());
    }
    let mut argv = words(provider.identity);
    let shown = argv.join(" ");
    let mut command = command(provider, image, vec![], false);
    if let [(variable, below)] = provider.writable {
        let copy = format!("{HOME}/.sb-copy");
        let script = r#"mkdir -p "$2" && cp -R "$1/." "$2" && shift 2 && exec "$@""#;
        let (from, to) = (format!("{HOME}/{}", provider.folder), format!("{copy}/{below}"));
        let before = ["sh", "-c", script, "sh", &from, &to].map(str::to_owned);
        argv = before.into_iter().chain(argv).collect();
        command.env.insert((*variable).to_owned(), copy);
    }
    command.argv = argv;
    let (code, output, error) = run(engine, &command, &Opening::default(), &shown).await?;
    Ok(identity(provider, code, &output, &error))
}

/// Asks the provider's command line on this machine.
pub(crate) async fn check_on_host(provider: &Provider) -> Result<Identity, LoginError> {
    let program = provider.identity[0];
    let child = tokio::process::Command::new(program)
        .args(&provider.identity[1..])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let silent = |_| LoginError::Silent { command: provider.identity.join(" ") };
    let ended = tokio::time::timeout(PATIENCE, child).await.map_err(silent)?;
    let ended = ended.map_err(|source| LoginError::NoProgram { program: program.to_owned(), source })?;
    let code = ended.status.code().map_or(-1, i64::from);
    Ok(identity(provider, code, &ended.stdout, &ended.stderr))
}

/// Removes the volume; false if there was none.
pub(crate) async fn logout(engine: &Engine, provider: &Provider) -> Result<bool, ContainerError> {
    engine.remove_volume(&provider.volume()).await
}

async fn run(
    engine: &Engine,
    command: &ContainerCommand,
    opening: &Opening<'_>,
    shown: &str,
) -> Result<(i64, Vec<u8>, Vec<u8>), LoginError> {
    let session = engine.open(command, opening).await?;
    let id = session.id().to_owned();
    match tokio::time::timeout(PATIENCE, session.collect(OUTPUT)).await {
        Ok(ended) => Ok(ended?),
        Err(_) => {
            engine.remove(&id).await?;
            Err(LoginError::Silent { command: shown.to_owned() })
        }
    }
}

/// As steps run: as the caller, with the volume below an empty HOME.
fn command(provider: &Provider, image: String, argv: Vec<String>, writable: bool) -> ContainerCommand {
    let (user, group) = caller();
    ContainerCommand {
        log_limit: None,
        image,
        entrypoint: Some(vec![]),
        argv,
        env: BTreeMap::from([("HOME".to_owned(), HOME.to_owned())]),
        workdir: None,
        mounts: vec![],
        volumes: vec![provider.mount(HOME, writable)],
        in_memory: vec![HOME.to_owned()],
        user: Some(format!("{user}:{group}")),
        network: None,
        cpus: None,
        memory_bytes: None,
        labels: BTreeMap::from([(LABEL.to_owned(), provider.name.to_owned())]),
        timeout: None,
        grace: Duration::ZERO,
    }
}

/// The folder belongs to the caller, so that steps can read it; only they can.
fn files(provider: &Provider, contents: Vec<(String, String)>) -> Files {
    Files { folder: format!("{HOME}/{}", provider.folder), owner: caller(), contents }
}

fn caller() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn tail(output: &[u8], error: &[u8]) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(output), String::from_utf8_lossy(error));
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

fn identity(provider: &Provider, code: i64, output: &[u8], error: &[u8]) -> Identity {
    let text = String::from_utf8_lossy(output).trim().to_owned();
    if code != 0 || text.is_empty() || text.contains("Not logged in") {
        return Identity::Nobody { said: tail(output, error) };
    }
    let said: Value = serde_json::from_str(&text).unwrap_or_else(|_| text.clone().into());
    let word = |path: &str| said.pointer(path).and_then(Value::as_str);
    let who = match provider.name {
        "aws" => word("/Arn").map(|arn| match word("/Account") {
            Some(account) => format!("{arn} (account {account})"),
            None => arn.to_owned(),
        }),
        "azure" => word("/user/name").map(|user| match word("/name") {
            Some(subscription) => format!("{user} (subscription {subscription})"),
            None => user.to_owned(),
        }),
        "ibm" => {
            let of = |label: &str| {
                let line = text.lines().find_map(|line| line.trim().strip_prefix(label))?;
                Some(line.trim().to_owned())
            };
            of("User:").map(|user| match of("Account:") {
                Some(account) => format!("{user} (account {account})"),
                None => user,
            })
        }
        _ => None,
    };
    Identity::Of { who: who.unwrap_or_else(|| text.lines().next().unwrap_or_default().to_owned()), said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(provider: &str, code: i64, output: &str, expected: Option<&str>) {
        let found = identity(Provider::named(provider).unwrap(), code, output.as_bytes(), b"");
        match (&found, expected) {
            (Identity::Of { who, .. }, Some(expected)) => assert_eq!(who, expected),
            (Identity::Nobody { .. }, None) => {}
            _ => panic!("{found:?}"),
        }
    }

    #[test]
    fn an_identity_is_read_from_what_the_provider_says() {
        let aws = r#"{"UserId":"A","Account":"123456789012","Arn":"arn:aws:iam::123456789012:user/me"}"#;
        check("aws", 0, aws, Some("arn:aws:iam::123456789012:user/me (account 123456789012)"));
        check("aws", 254, "", None);
        let azure = r#"{"name":"Study","user":{"name":"me@example.org","type":"user"}}"#;
        check("azure", 0, azure, Some("me@example.org (subscription Study)"));
        check("azure", 1, azure, None);
        check("google", 0, "me@example.org\n", Some("me@example.org"));
        check("google", 0, "\n", None);
        let ibm = "API endpoint:     https://cloud.ibm.com\nUser:             me@example.org\nAccount:          Lab (1f)\n";
        check("ibm", 0, ibm, Some("me@example.org (account Lab (1f))"));
        check("ibm", 0, "API endpoint: x\nNot logged in. Use 'ibmcloud login' to log in.", None);
        check("pulumi", 0, "me\n", Some("me"));
    }
}
