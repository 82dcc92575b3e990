//! `sb doctor`: what this machine can run, what the manifests in reach need of it, and how to get what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Outcome;
use super::manifest::{in_reach, is_plan};
use super::output::{Failed, show_each};
use crate::container::{ContainerError, Engine};
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::settings::Settings;
use crate::terminal::{Style, Terminal};
use crate::workspace::absolute;
use sb_plan::benchmark::{Action, Benchmark, Sent};
use sb_plan::manifest::problem::did_you_mean;
use sb_plan::manifest::read::{Disk, Files as _};
use sb_plan::plan::{Executor, Overrides};
use sb_plan::validate;

/// Below this, measurements suffer or steps fail.
const LITTLE_MEMORY_MIB: u64 = 1024;
const FEW_FILES: u64 = 4096;
const LITTLE_DISK_MIB: u64 = 1024;
/// A timer that is later than this, one time in a hundred, blurs latencies.
const LATE: Duration = Duration::from_millis(5);
const TIMERS: usize = 200;

/// A program or service that something may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tool {
    Engine,
    K6,
    Python,
    Node,
    Java,
    Moto,
    Tmux,
    Ssh,
    Rsync,
}

impl Tool {
    const ALL: [Self; 9] = [
        Self::Engine,
        Self::K6,
        Self::Python,
        Self::Node,
        Self::Java,
        Self::Moto,
        Self::Tmux,
        Self::Ssh,
        Self::Rsync,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Engine => "container engine",
            Self::K6 => "k6",
            Self::Python => "Python",
            Self::Node => "Node.js",
            Self::Java => "Java",
            Self::Moto => "moto",
            Self::Tmux => "tmux",
            Self::Ssh => "ssh",
            Self::Rsync => "rsync",
        }
    }

    /// What cannot be done without it.
    fn purpose(self) -> &'static str {
        match self {
            Self::Engine => "steps in containers",
            Self::K6 => "k6 scripts on this machine",
            Self::Python => "Python functions on the local target",
            Self::Node => "JavaScript functions on the local target",
            Self::Java => "Java functions on the local target",
            Self::Moto => "tables, buckets, queues and topics on the local target",
            Self::Tmux => "`sb run --tmux`",
            Self::Ssh => "`sb remote setup` and `sb remote fetch`",
            Self::Rsync => "`sb remote fetch`",
        }
    }

    /// Its version as it says itself; none when it cannot be run.
    async fn found(self) -> Result<String, String> {
        let first = |program: &str, arguments: &[&str]| {
            first_line(program, arguments).ok_or_else(|| format!("`{program}` cannot be run"))
        };
        match self {
            Self::Engine => match Engine::connect().await {
                Ok(engine) => Ok(format!("answers at {}", engine.host())),
                // What to do about it stands in a line of its own.
                // Without the ways out, which stand below.
                Err(ContainerError::NoEngine { host, from, message }) => {
                    Err(format!("no engine answers at `{host}` ({from}): {message}"))
                }
                Err(error) => Err(error.to_string()),
            },
            Self::K6 => first("k6", &["version"]),
            Self::Python => first("python3", &["--version"]),
            Self::Node => first("node", &["--version"]),
            Self::Java => first("java", &["-version"]),
            Self::Moto if sb_local::has_services().await => Ok("is installed".to_owned()),
            Self::Moto => Err("is not installed yet".to_owned()),
            Self::Tmux => first("tmux", &["-V"]),
            Self::Ssh => first("ssh", &["-V"]),
            Self::Rsync => first("rsync", &["--version"]),
        }
    }

    /// Moto is fetched by `sb` itself when it is needed first.
    fn comes_by_itself(self) -> bool {
        self == Self::Moto
    }

    fn way(self, packages: Option<Packages>) -> String {
        use Packages::{Apt, Brew, Dnf};
        let names = match self {
            Self::Engine if first_line("podman", &["--version"]).is_some() => {
                return "systemctl --user start podman.socket && export DOCKER_HOST=unix://$XDG_RUNTIME_DIR/podman/podman.sock"
                    .to_owned();
            }
            Self::Engine => match packages {
                Some(Brew) => return "brew install --cask docker".to_owned(),
                _ => ["docker.io", "moby-engine", "docker"],
            },
            Self::K6 => match packages {
                Some(Dnf) => {
                    return "sudo dnf install https://dl.k6.io/rpm/repo.rpm && sudo dnf install k6"
                        .to_owned();
                }
                Some(Brew) => return "brew install k6".to_owned(),
                _ => return "see https://grafana.com/docs/k6/latest/set-up/install-k6".to_owned(),
            },
            Self::Python => ["python3 python3-venv", "python3", "python"],
            Self::Node => ["nodejs", "nodejs", "node"],
            Self::Java => ["default-jre-headless", "java-latest-openjdk-headless", "openjdk"],
            Self::Moto => {
                return "sb installs it when it is needed first; this takes python3 with venv, and PyPI"
                    .to_owned();
            }
            Self::Tmux => ["tmux"; 3],
            Self::Ssh => ["openssh-client", "openssh-clients", "openssh"],
            Self::Rsync => ["rsync"; 3],
        };
        match packages {
            Some(Apt) => format!("sudo apt-get install {}", names[0]),
            Some(Dnf) => format!("sudo dnf install {}", names[1]),
            Some(Brew) => format!("brew install {}", names[2]),
            None => format!("install {} with your system's packages", self.name()),
        }
    }
}

/// What installs packages here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packages {
    /// Debian, Ubuntu
    Apt,
    /// Fedora
    Dnf,
    /// macOS
    Brew,
}

impl Packages {
    fn found() -> Option<Self> {
        let known = [("apt-get", Self::Apt), ("dnf", Self::Dnf), ("brew", Self::Brew)];
        known.into_iter().find(|(program, _)| first_line(program, &["--version"]).is_some()).map(|(_, it)| it)
    }
}

/// The first line that a program prints, on either stream.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = [ran.stdout, ran.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
    ran.status.success().then_some(line)
}

/// A property of the machine: what it is, and what is wrong with it.
struct Property {
    name: &'static str,
    found: String,
    warning: Option<&'static str>,
}

/// Which applications need which tool.
type Needs = BTreeMap<Tool, BTreeSet<String>>;

pub(super) async fn doctor(terminal: &Terminal, settings: &Settings) -> Outcome {
    let needs = needs(terminal, settings)?;
    let packages = Packages::found();
    let mut text = String::new();
    let mut tools = Vec::new();
    let mut lacking = 0;
    for tool in Tool::ALL {
        let found = tool.found().await;
        let needed_by: Vec<_> = needs.get(&tool).into_iter().flatten().cloned().collect();
        let is_lacking = found.is_err() && !needed_by.is_empty() && !tool.comes_by_itself();
        lacking += usize::from(is_lacking);
        let state = match (&found, is_lacking) {
            (Ok(_), _) => "ok",
            (Err(_), true) => "missing",
            (Err(_), false) => "-",
        };
        let style = if is_lacking { Style::Bad } else { Style::Good };
        let (Ok(said) | Err(said)) = &found;
        let state_shown = terminal.paint_data(style, &format!("{state:<7}"));
        let _ = writeln!(text, "{:<16}  {state_shown}  {said}", tool.name());
        let indent = " ".repeat(27);
        if !needed_by.is_empty() {
            let _ = writeln!(text, "{indent}needed by {}", listed(&needed_by));
        } else if found.is_err() {
            let _ = writeln!(text, "{indent}for {}", tool.purpose());
        }
        let way = found.is_err().then(|| tool.way(packages));
        if let Some(way) = &way {
            let _ = writeln!(text, "{indent}get it: {way}");
        }
        tools.push(json!({
            "name": tool.name(), "found": found.is_ok(), "detail": said, "needed_by": needed_by, "missing": is_lacking,
            "purpose": tool.purpose(), "install": way,
        }));
    }
    text.push('\n');
    let properties = properties(settings.workspace_here().folder());
    for property in &properties {
        let (word, style) = match property.warning {
            Some(_) => ("warning", Style::Warning),
            None => ("ok", Style::Good),
        };
        let state = terminal.paint_data(style, &format!("{word:<7}"));
        let _ = writeln!(text, "{:<16}  {state}  {}", property.name, property.found);
        if let Some(warning) = property.warning {
            let _ = writeln!(text, "{}{warning}", " ".repeat(27));
        }
    }
    if settings.json() {
        let machine: Vec<Value> = properties
            .iter()
            .map(|it| json!({ "name": it.name, "detail": it.found, "warning": it.warning }))
            .collect();
        terminal.data(&format!(
            "{:#}",
            json!({ "version": 1, "missing": lacking, "tools": tools, "machine": machine })
        ))?;
    } else {
        terminal.data(&text)?;
    }
    match lacking {
        0 => {
            terminal.say("everything is there that the manifests below this folder need");
            Ok(Exit::Done)
        }
        1 => Err(Failed::message(Exit::Failed, "one thing is missing that manifests below this folder need")),
        count => Err(Failed::message(
            Exit::Failed,
            format!("{count} things are missing that manifests below this folder need"),
        )),
    }
}

/// Few names, or the first and how many more.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let (first, rest) = names.split_at(names.len().min(SHOWN));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{}{more}", first.join(", "))
}

/// Manifests that are not valid need nothing that could be told: `sb validate` says why.
fn needs(terminal: &Terminal, settings: &Settings) -> Result<Needs, Failed> {
    let mut needs = Needs::new();
    // In a folder without manifests, too, somebody wants to know what the machine has.
    let files = match in_reach(settings, &[]) {
        Ok(reach) => {
            show_each(terminal, &reach.unreadable);
            reach.files
        }
        Err(error) if settings.file.is_some() => return Err(error),
        Err(_) => vec![],
    };
    let mut invalid = 0;
    let mut targets = BTreeSet::new();
    for file in files {
        let path = absolute(&file);
        if is_plan(&path) {
            let plan = validate::plan(&Disk, &path, &Overrides::default()).value;
            invalid += usize::from(plan.is_none());
            for (executor, entry) in
                plan.iter().flat_map(|plan| plan.entries.iter().map(|entry| (plan.executor, entry)))
            {
                targets.insert(entry.target.clone());
                if settings.target.as_ref().is_none_or(|wanted| *wanted == entry.target) {
                    add(&mut needs, &entry.benchmark, &entry.target, settings.executor.unwrap_or(executor));
                }
            }
            continue;
        }
        let Some(benchmark) = validate::benchmark(&Disk, &path).value else {
            invalid += 1;
            continue;
        };
        targets.extend(benchmark.targets.keys().cloned());
        for target in benchmark.targets.keys() {
            if settings.target.as_ref().is_none_or(|wanted| wanted == target) {
                add(&mut needs, &benchmark, target, settings.executor.unwrap_or_default());
            }
        }
    }
    if let Some(wanted) =
        settings.target.as_ref().filter(|wanted| !targets.contains(*wanted) && !targets.is_empty())
    {
        let message = format!("no manifest below this folder has a target `{wanted}`");
        let known: Vec<&str> = targets.iter().map(String::as_str).collect();
        let known = format!("known targets: `{}`", known.join("`, `"));
        let help = match did_you_mean(wanted, targets.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? ({known})"),
            None => known,
        };
        return Err(Failed::helped(Exit::Usage, message, help));
    }
    if invalid > 0 {
        let are = if invalid == 1 { "is" } else { "are" };
        let files = counted(invalid, "file");
        terminal.say(&format!("note: {files} {are} not valid, and left out: `sb validate` says why"));
    }
    Ok(needs)
}

fn add(needs: &mut Needs, benchmark: &Arc<Benchmark>, target: &str, executor: Executor) {
    let Some(steps) = benchmark.targets.get(target) else { return };
    let who = format!("{}@{target}", benchmark.name);
    let mut need = |tool| {
        needs.entry(tool).or_default().insert(who.clone());
    };
    let in_containers = executor == Executor::Docker;
    for step in steps.deploy.iter().chain(&steps.invoke).chain(&steps.cleanup) {
        match &step.action {
            Action::Run(_) | Action::Tool(_) if in_containers => need(Tool::Engine),
            Action::Load => match &benchmark.workload {
                Some(Sent::Script(script)) if in_containers || !script.generators.is_empty() => {
                    need(Tool::Engine);
                }
                Some(Sent::Script(_)) => need(Tool::K6),
                Some(Sent::Requests(_)) | None => {}
            },
            Action::LocalUp(up) => {
                let Ok(text) = Disk.read(&up.template) else { continue };
                let text = String::from_utf8_lossy(&text);
                let Ok(template) = benchmark.templates.get(&up.template, &text) else { continue };
                // Parameters that a deployment gives decide neither runtimes nor services.
                let given = template.required_parameters().into_iter().map(|name| (name, "1".to_owned()));
                let Ok(application) = template.application(&given.collect(), &sb_sam::Place::any()) else {
                    continue;
                };
                if up.settings.containers.is_some() {
                    need(Tool::Engine);
                } else {
                    application
                        .functions
                        .iter()
                        .filter_map(|function| language(&function.runtime))
                        .for_each(&mut need);
                }
                if application.has_services() {
                    need(Tool::Moto);
                    need(Tool::Python);
                }
            }
            _ => {}
        }
    }
}

fn language(runtime: &str) -> Option<Tool> {
    [("python", Tool::Python), ("nodejs", Tool::Node), ("java", Tool::Java)]
        .into_iter()
        .find(|(start, _)| runtime.starts_with(start))
        .map(|(_, tool)| tool)
}

fn properties(state: &Path) -> Vec<Property> {
    let mut all = vec![memory(), files(), clock(), noise()];
    // The folder need not be there yet.
    if let Some(disk) = state.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok()) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize) / (1024 * 1024);
        let warning = (free < LITTLE_DISK_MIB).then_some("logs and traces need room: free some space");
        all.push(Property {
            name: "disk",
            found: format!("{free} MiB free for {}", state.display()),
            warning,
        });
    }
    all
}

fn memory() -> Property {
    let known = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = |name: &str| {
        let line = known.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map(|kib| kib / 1024)
    };
    match (value("MemAvailable"), value("MemTotal")) {
        (Some(free), Some(total)) => Property {
            name: "memory",
            found: format!("{free} MiB available of {total} MiB"),
            warning: (free < LITTLE_MEMORY_MIB)
                .then_some("little is left for functions and loads: end other programs"),
        },
        _ => Property { name: "memory", found: "not known on this system".to_owned(), warning: None },
    }
}

fn files() -> Property {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let shown = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    Property {
        name: "open files",
        found: format!("{} at once, and at most {}", shown(limit.current), shown(limit.maximum)),
        warning: limit
            .maximum
            .is_some_and(|most| most < FEW_FILES)
            .then_some("high rates need more connections: raise `ulimit -Hn` (in /etc/security/limits.conf)"),
    }
}

fn clock() -> Property {
    let synchronised = first_line("timedatectl", &["show", "-p", "NTPSynchronized", "--value"]);
    let (found, warning) = match synchronised.as_deref() {
        Some("yes") => ("is synchronised", None),
        Some("no") => (
            "is not synchronised",
            Some("times of this machine and of a cloud do not compare: sudo timedatectl set-ntp true"),
        ),
        _ => ("timedatectl does not say whether it is synchronised", None),
    };
    Property { name: "clock", found: found.to_owned(), warning }
}

/// How late timers are, and what else the processors do.
fn noise() -> Property {
    let stolen = || {
        let known = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let numbers = known.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
        (numbers.get(7).copied().unwrap_or_default(), numbers.iter().take(8).sum::<u64>())
    };
    let before = stolen();
    let pause = Duration::from_millis(1);
    let mut late: Vec<Duration> = (0..TIMERS)
        .map(|_| {
            let begun = Instant::now();
            std::thread::sleep(pause);
            begun.elapsed().saturating_sub(pause)
        })
        .collect();
    late.sort_unstable();
    let worst = late[TIMERS * 99 / 100];
    let after = stolen();
    let share = (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
    let is_noisy = worst > LATE || share > 0.02 || load > processors as f64;
    Property {
        name: "noise",
        found: format!(
            "timers late by {:.1} ms (p99); load {load:.1} on {processors} processors; {:.0} % of the time stolen",
            worst.as_secs_f64() * 1e3,
            share * 100.0
        ),
        warning: is_noisy
            .then_some("latencies measured now would be blurred: end what else runs, or measure elsewhere"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_way_to_get_it_on_every_system() {
        for tool in Tool::ALL {
            for packages in [None, Some(Packages::Apt), Some(Packages::Dnf), Some(Packages::Brew)] {
                assert!(!tool.way(packages).is_empty());
            }
        }
        assert_eq!(Tool::Python.way(Some(Packages::Apt)), "sudo apt-get install python3 python3-venv");
        assert_eq!(Tool::Ssh.way(Some(Packages::Dnf)), "sudo dnf install openssh-clients");
    }

    #[test]
    fn the_language_of_a_function_is_told_by_its_runtime() {
        assert_eq!(language("python3.13"), Some(Tool::Python));
        assert_eq!(language("nodejs22.x"), Some(Tool::Node));
        assert_eq!(language("java21"), Some(Tool::Java));
        assert_eq!(language("provided.al2023"), None);
    }
}
