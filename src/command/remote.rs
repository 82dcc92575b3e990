//! `sb remote`: a machine in the cloud that sends the load. It is set up over ssh, and its results come by rsync,
//! with the user's own configuration and agent.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::Outcome;
use super::output::Failed;
use super::passthrough::run_here;
use crate::cli::RemoteCommand;
use crate::exit_code::Exit;
use crate::settings::Settings;
use crate::terminal::Terminal;

/// Where the host keeps this program; relative to the home folder there.
const PLACE: &str = ".local/bin/sb";
/// Folders on a host that hold no results, and may be large.
const LEFT_OUT: [&str; 7] =
    [".git/", ".sb/", ".serverless/", ".vscode-server/", "node_modules/", "sb-env/", "target/"];

/// Looks and changes nothing: one `name=value` per line.
const PROBE: &str = r#"
say() { printf '%s=%s\n' "$1" "$2"; }
PATH=$HOME/.local/bin:$PATH
say system "$(uname -s)"
say machine "$(uname -m)"
say user "$(id -un)"
if [ "$(id -u)" -eq 0 ]; then say root yes; elif sudo -n true 2> /dev/null; then say root sudo; else say root no; fi
for tool in apt-get dnf yum; do command -v $tool > /dev/null && { say installer $tool; break; }; done
command -v rsync > /dev/null && say rsync "$(rsync --version | sed -n '1s/.*version \([^ ]*\).*/\1/p')"
if command -v docker > /dev/null; then
    say docker there
    version=$(docker version --format '{{.Server.Version}}' 2> /dev/null) && say engine "$version"
fi
command -v tmux > /dev/null && say tmux there
file=$HOME/.local/bin/sb
[ -x "$file" ] && command -v sha256sum > /dev/null && say digest "$(sha256sum < "$file" | cut -d ' ' -f 1)"
command -v timedatectl > /dev/null && say clock "$(timedatectl show -p NTPSynchronized --value 2> /dev/null)"
say files "$(ulimit -n)"
exit 0
"#;

pub(super) async fn remote(terminal: &Terminal, settings: &Settings, command: RemoteCommand) -> Outcome {
    match command {
        RemoteCommand::Setup { host, ssh, dry_run } => {
            let host = Host::parse(&host)?;
            setup(terminal, settings, &host, &words(&ssh)?, dry_run).await
        }
        RemoteCommand::Fetch { host, into, ssh, dry_run } => {
            let source = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            let (host, into) = source_and_place(host, into, &source)?;
            fetch(terminal, &host, &into, &words(&ssh)?.join(" "), dry_run).await
        }
    }
}

/// A machine as ssh knows it, and a folder there.
#[derive(Debug, PartialEq)]
struct Host {
    name: String,
    /// Relative to the home folder there, or absolute; without a slash at the end. Empty: the home folder.
    folder: String,
}

impl Host {
    fn parse(text: &str) -> Result<Self, Failed> {
        let (name, folder) = text.split_once(':').unwrap_or((text, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "@._-%".contains(c);
        if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
            let help = "write a name of ~/.ssh/config, or USER@ADDRESS, with :FOLDER after it where a folder is meant";
            return Err(Failed::helped(Exit::Usage, format!("`{text}` is not a host"), help));
        }
        Ok(Self { name: name.to_owned(), folder: folder_there(folder) })
    }
}

/// rsync takes a relative path from the home folder, and does not know `~`.
fn folder_there(folder: &str) -> String {
    let folder = folder.strip_prefix('~').map_or(folder, |rest| rest.trim_start_matches('/'));
    match folder.trim_end_matches('/') {
        "" if folder.starts_with('/') => "/.".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

fn words(ssh: &str) -> Result<Vec<String>, Failed> {
    let words: Vec<String> = ssh.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        return Err(Failed::message(Exit::Usage, "the ssh command is empty"));
    }
    Ok(words)
}

/// SB_DATA_SOURCE is a host, a folder on the host, or both; SB_DATA_DIR is the folder here.
fn source_and_place(
    host: Option<String>,
    into: Option<PathBuf>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Host, PathBuf), Failed> {
    let source = variable("SB_DATA_SOURCE");
    let is_folder = |text: &str| text.starts_with(['/', '~']);
    let host = match (host, source) {
        (Some(host), Some(source)) => {
            let mut host = Host::parse(&host)?;
            if host.folder.is_empty() {
                let folder = if is_folder(&source) {
                    source.as_str()
                } else {
                    source.split_once(':').map_or("", |both| both.1)
                };
                host.folder = folder_there(folder);
            }
            host
        }
        (Some(host), None) => Host::parse(&host)?,
        (None, Some(source)) if !is_folder(&source) => Host::parse(&source)?,
        (None, _) => {
            let help = "name it: `sb remote fetch HOST`, or set SB_DATA_SOURCE to HOST or HOST:FOLDER";
            return Err(Failed::helped(Exit::Usage, "no host is named to fetch from", help));
        }
    };
    let into = into.or_else(|| variable("SB_DATA_DIR").map(PathBuf::from)).unwrap_or_else(|| {
        let name = host.name.split_once('@').map_or(host.name.as_str(), |(_, machine)| machine);
        Path::new("data").join(name).join("raw")
    });
    Ok((host, into))
}

async fn fetch(terminal: &Terminal, host: &Host, into: &Path, ssh: &str, dry_run: bool) -> Outcome {
    std::fs::create_dir_all(into).map_err(|error| {
        Failed::message(Exit::Failed, format!("cannot make `{}`: {error}", into.display()))
    })?;
    let mut command = Command::new("rsync");
    command
        .args(["--archive", "--compress", "--human-readable", "--prune-empty-dirs", "--secluded-args"])
        // What was broken off is kept apart, and gone on with: a file under its own name is complete.
        .arg("--partial-dir=.rsync-partial")
        .args(["--rsh", ssh]);
    for folder in LEFT_OUT {
        command.arg(format!("--exclude={folder}"));
    }
    command.args(["--include=*/", "--include=logs/**", "--exclude=*"]);
    if dry_run {
        command.args(["--dry-run", "--verbose"]);
    } else if terminal.lively {
        command.arg("--info=progress2");
    }
    let from = if host.folder.is_empty() {
        format!("{}:", host.name)
    } else {
        format!("{}:{}/", host.name, host.folder)
    };
    command.arg("--").arg(&from).arg(into.join(""));
    terminal.say(&format!("logs folders of {from} into {}", into.display()));
    let exit = run_here(command).await.map_err(|error| not_here("rsync", &error))?;
    if exit == Exit::Done {
        let count = invocations(into);
        terminal.say(&format!(
            "{count} invocation{} in {}",
            if count == 1 { "" } else { "s" },
            into.display()
        ));
    } else {
        terminal.say(&format!(
            "rsync ended with code {}: run the same again to go on; `sb remote setup {}` checks the host",
            exit.code(),
            host.name
        ));
    }
    Ok(exit)
}

/// Folders in folders called logs.
fn invocations(folder: &Path) -> usize {
    let mut count = 0;
    for item in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if item.file_type().is_ok_and(|kind| kind.is_dir()) {
            count += usize::from(folder.file_name().is_some_and(|name| name == "logs"));
            count += invocations(&item.path());
        }
    }
    count
}

fn not_here(program: &str, error: &io::Error) -> Failed {
    let help = format!("install {program} on this machine");
    Failed::helped(Exit::Failed, format!("cannot start `{program}`: {error}"), help)
}

/// What a host has.
#[derive(Debug, Default)]
struct Probed(std::collections::BTreeMap<String, String>);

impl Probed {
    fn read(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The commands that bring what is missing; none where nobody knows how.
    fn remedy(&self) -> Option<String> {
        let user = self.get("user").unwrap_or("$USER");
        let as_root = if self.get("root") == Some("yes") { "" } else { "sudo " };
        let mut packages = Vec::new();
        if self.get("rsync").is_none() {
            packages.push("rsync");
        }
        let installer = self.get("installer");
        if self.get("docker").is_none() {
            packages.push(if installer == Some("apt-get") { "docker.io" } else { "docker" });
        }
        let mut lines = Vec::new();
        if !packages.is_empty() {
            let installer = installer?;
            if installer == "apt-get" {
                lines.push(format!("{as_root}apt-get update"));
            }
            lines.push(format!("{as_root}{installer} install -y {}", packages.join(" ")));
        }
        if self.get("engine").is_none() {
            lines.push(format!("{as_root}systemctl enable --now docker"));
            if !as_root.is_empty() {
                // Counts from the next login on.
                lines.push(format!("sudo usermod -aG docker {user}"));
            }
        }
        Some(lines.join(" && "))
    }
}

async fn setup(
    terminal: &Terminal,
    settings: &Settings,
    host: &Host,
    ssh: &[String],
    dry_run: bool,
) -> Outcome {
    let mut probed = probe(host, ssh).await?;
    let mut problems = Vec::new();
    let mut changed = Vec::new();
    let remedy = probed.remedy();
    match &remedy {
        Some(line) if line.is_empty() => {}
        Some(line) if dry_run => terminal.say(&format!("would run on {}: {line}", host.name)),
        Some(line) if probed.get("root") != Some("no") => {
            terminal.say(&format!("on {}: {line}", host.name));
            // A password that sudo asks for would have no terminal to come from.
            let line = line.replace("sudo ", "sudo -n ");
            let exit = run_here(at(host, ssh, &line, Stdio::null()))
                .await
                .map_err(|error| not_here(&ssh[0], &error))?;
            if exit == Exit::Done {
                changed.push("installed what was missing");
            }
            probed = probe(host, ssh).await?;
        }
        _ => {}
    }
    let how = match probed.remedy() {
        Some(line) if line.is_empty() => String::new(),
        Some(line) => format!("run on the host: {line}"),
        None => "install Docker and rsync by the system's own means".to_owned(),
    };
    if probed.get("rsync").is_none() {
        problems.push(format!("there is no rsync; {how}"));
    }
    match (probed.get("docker"), probed.get("engine")) {
        (_, Some(_)) => {}
        (Some(_), None) => problems.push(format!(
            "Docker is there, and its engine does not answer {}; if it was installed just now, log in anew; else {how}",
            probed.get("user").unwrap_or("the user")
        )),
        (None, None) => problems.push(format!("there is no Docker; {how}")),
    }
    match copy(host, ssh, &probed, dry_run).await {
        Ok(true) if dry_run => terminal.say(&format!("would copy this sb to ~/{PLACE} of {}", host.name)),
        Ok(true) => changed.push("copied sb"),
        Ok(false) => {}
        Err(problem) => problems.push(problem),
    }
    let mut advice = Vec::new();
    if probed.get("tmux").is_none() {
        advice.push("there is no tmux, which `sb run --tmux` needs to outlive the connection".to_owned());
    }
    if probed.get("clock").is_some_and(|clock| clock != "yes") {
        advice.push("its clock is not synchronised (chrony on EC2: 169.254.169.123): latencies between machines would be wrong".to_owned());
    }
    if probed.get("files").and_then(|files| files.parse::<u64>().ok()).is_some_and(|files| files < 4096) {
        advice.push(format!(
            "it allows {} open files: high rates need more (ulimit -n)",
            probed.get("files").unwrap_or_default()
        ));
    }
    if settings.json() {
        let all = json!({
            "version": 1, "host": host.name, "ready": problems.is_empty(), "changed": changed, "found": probed.0,
            "problems": problems, "advice": advice,
        });
        terminal.data(&format!("{all:#}"))?;
    } else {
        for line in &advice {
            terminal.say(&format!("note: {line}"));
        }
        for problem in &problems {
            terminal.say(&format!("missing: {problem}"));
        }
        if problems.is_empty() {
            let what =
                if changed.is_empty() { "nothing had to be done".to_owned() } else { changed.join(", ") };
            terminal.say(&format!(
                "{} is ready ({what}): Docker {}, rsync {}, sb in ~/{PLACE}",
                host.name,
                probed.get("engine").unwrap_or_default(),
                probed.get("rsync").unwrap_or_default()
            ));
        }
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Failed })
}

fn at(host: &Host, ssh: &[String], line: &str, input: Stdio) -> Command {
    let mut command = Command::new(&ssh[0]);
    command.args(&ssh[1..]).args(["--", &host.name, line]).stdin(input);
    command
}

async fn probe(host: &Host, ssh: &[String]) -> Result<Probed, Failed> {
    use tokio::io::AsyncWriteExt as _;
    let mut command = at(host, ssh, "sh -s", Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| not_here(&ssh[0], &error))?;
    if let Some(mut input) = child.stdin.take() {
        // A connection that is refused says so by its exit.
        let _ = input.write_all(PROBE.as_bytes()).await;
    }
    let ended = child.wait_with_output().await?;
    let probed = Probed::read(&String::from_utf8_lossy(&ended.stdout));
    if !ended.status.success() || probed.get("machine").is_none() {
        let help = format!("`{} {}` must work, by ~/.ssh/config and your agent", ssh.join(" "), host.name);
        return Err(Failed::helped(Exit::Failed, format!("cannot log in to {} and run sh", host.name), help));
    }
    Ok(probed)
}

/// True if this program was copied, or would be; false if the host has it.
async fn copy(host: &Host, ssh: &[String], probed: &Probed, dry_run: bool) -> Result<bool, String> {
    let (system, machine) =
        (probed.get("system").unwrap_or_default(), probed.get("machine").unwrap_or_default());
    let same =
        system == "Linux" && cfg!(target_os = "linux") && machine_name(machine) == std::env::consts::ARCH;
    if !same {
        return Err(format!(
            "this sb is made for {} on {}, and the host is {system} on {machine}: build sb there (`cargo install --path .`), \
             or copy one made for it to ~/{PLACE}",
            std::env::consts::OS,
            std::env::consts::ARCH
        ));
    }
    // The file that runs, even if it was replaced since.
    let program = Path::new("/proc/self/exe");
    let digest = digest(program).map_err(|error| format!("this program cannot be read: {error}"))?;
    if probed.get("digest") == Some(digest.as_str()) {
        return Ok(false);
    }
    if dry_run {
        return Ok(true);
    }
    let open =
        std::fs::File::open(program).map_err(|error| format!("this program cannot be read: {error}"))?;
    let line = format!(
        "umask 022 && mkdir -p \"$HOME/.local/bin\" && cat > \"$HOME/{PLACE}.new\" && chmod 755 \"$HOME/{PLACE}.new\" && \
         \"$HOME/{PLACE}.new\" version > /dev/null && mv \"$HOME/{PLACE}.new\" \"$HOME/{PLACE}\""
    );
    let ended = at(host, ssh, &line, Stdio::from(open)).status().await.map_err(|error| error.to_string())?;
    if ended.success() {
        Ok(true)
    } else {
        Err(format!("this sb could not be copied to ~/{PLACE}, or does not run there: build one on the host"))
    }
}

fn machine_name(machine: &str) -> &str {
    if machine == "arm64" { "aarch64" } else { machine }
}

fn digest(file: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(file)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => digest.update(&buffer[..length]),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_source(
        host: Option<&str>,
        source: Option<&str>,
        dir: Option<&str>,
        expected: (&str, &str, &str),
    ) {
        let variable = |name: &str| match name {
            "SB_DATA_SOURCE" => source.map(str::to_owned),
            _ => dir.map(str::to_owned),
        };
        let Ok((host, into)) = source_and_place(host.map(str::to_owned), None, &variable) else {
            panic!("refused")
        };
        assert_eq!((host.name.as_str(), host.folder.as_str(), into.to_str().unwrap()), expected);
    }

    #[test]
    fn the_source_is_named_or_comes_from_the_environment() {
        check_source(Some("lg1"), None, None, ("lg1", "", "data/lg1/raw"));
        check_source(None, Some("lg12"), None, ("lg12", "", "data/lg12/raw"));
        check_source(
            None,
            Some("ec2-user@lg12:/home/ec2-user/"),
            Some("d"),
            ("ec2-user@lg12", "/home/ec2-user", "d"),
        );
        check_source(Some("u@lg1"), Some("~/work"), None, ("u@lg1", "work", "data/lg1/raw"));
        check_source(Some("lg1:work"), Some("other:folder"), None, ("lg1", "work", "data/lg1/raw"));
        check_source(Some("lg1"), Some("lg12:folder"), None, ("lg1", "folder", "data/lg1/raw"));
        check_source(Some("lg1:/"), None, None, ("lg1", "/.", "data/lg1/raw"));
    }

    #[test]
    fn what_ssh_would_take_for_an_option_is_no_host() {
        for wrong in ["-oProxyCommand=x", "", ":folder", "a b", "$(x)"] {
            assert!(Host::parse(wrong).is_err(), "{wrong}");
        }
        let none = |_: &str| None;
        assert!(source_and_place(None, None, &none).is_err());
    }

    #[track_caller]
    fn check_remedy(probed: &str, expected: Option<&str>) {
        assert_eq!(Probed::read(probed).remedy().as_deref(), expected);
    }

    #[test]
    fn what_is_missing_is_installed_by_the_means_of_the_host() {
        check_remedy("rsync=3.2\ndocker=there\nengine=28", Some(""));
        check_remedy("rsync=3.2\ndocker=there\nroot=yes", Some("systemctl enable --now docker"));
        check_remedy(
            "root=sudo\ninstaller=dnf\nuser=ec2-user",
            Some(
                "sudo dnf install -y rsync docker && sudo systemctl enable --now docker && sudo usermod -aG docker ec2-user",
            ),
        );
        check_remedy(
            "root=yes\ninstaller=apt-get\ndocker=there\nengine=20.10",
            Some("apt-get update && apt-get install -y rsync"),
        );
        check_remedy("root=yes", None);
    }
}
