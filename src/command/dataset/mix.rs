//! `sb dataset mix`: functions that stand for a dataset, played by the applications of a workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use sb_dataset::{
    COLUMN, Candidate, Distance, Key, MINUTES_PER_DAY, Mix, SHORTEST, Window, in_line, mix, original_lines,
    scale_to,
};
use sb_plan::benchmark::{Benchmark, ParamSource};

use sb_plan::manifest::read::Disk;
use sb_plan::plan::Overrides;
use sb_plan::validate;
use sb_sam::{Place, Service, Source};

use super::earlier::{Files, MADE_BY};
use super::{Read, counted, expect_file, grouped};
use crate::command::Outcome;
use crate::command::manifest::{in_reach, is_plan};
use crate::command::output::{Failed, accept, show_each};
use crate::exit_code::Exit;
use crate::printable::{self, decimal};
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::workspace::absolute;

/// How a load begins.
const DATASET: &str = "# dataset:";

/// What is asked for.
pub(super) struct Wanted {
    pub functions: usize,
    /// Invocations per second, as they are sent; none: as traced.
    pub rate: Option<f64>,
    pub window: Window,
    /// How many times as fast the minutes are played.
    pub speed: f64,
    /// Triggers that are left out.
    pub without: Vec<String>,
    pub seed: u64,
}

impl Wanted {
    /// How long the load lasts.
    fn seconds(&self) -> f64 {
        60.0 * f64::from(self.window.minutes) / self.speed
    }
}

/// An application that can play functions.
struct Player {
    name: String,
    manifest: PathBuf,
    target: String,
    /// How its functions are invoked, in the words of the datasets.
    triggers: BTreeSet<&'static str>,
    /// How long its functions work for one invocation, in seconds; none where the manifest does not say.
    seconds: Option<f64>,
}

/// A function, and who plays it.
struct Part<'a> {
    function: &'a Candidate,
    player: usize,
    /// As it is played.
    minutes: Vec<u64>,
}

pub(super) fn write_plan(
    terminal: &Terminal,
    settings: &Settings,
    read: &Read,
    wanted: &Wanted,
    applications: &[PathBuf],
    (output, force): (&Path, bool),
) -> Outcome {
    let folder = output.with_extension("");
    if output.extension().is_none_or(|ending| ending != "toml") {
        return Err(Failed::helped(
            Exit::Usage,
            format!("`{}` cannot be the plan", output.display()),
            "let its name end with .toml",
        ));
    }
    read.expect_other(output)?;
    expect_file(output)?;
    let players = players(terminal, settings, applications)?;
    let candidates = candidates(terminal, read, wanted)?;
    let found = mix(&candidates, wanted.functions, wanted.seed);
    if found.chosen.len() < wanted.functions {
        let (count, are) = (found.chosen.len(), if found.chosen.len() == 1 { "is" } else { "are" });
        let functions = counted(count as u64, "function");
        terminal.say(&format!("only {functions} {are} invoked in the window: all are chosen"));
    }
    let parts = parts(&candidates, &found, &players, wanted)?;
    let about =
        About { read, wanted, candidates: &candidates, found: &found, parts: &parts, players: &players };
    let used = players.iter().enumerate().filter(|(place, _)| about.is_used(*place));
    let mut beside: BTreeMap<String, String> =
        used.map(|(place, player)| (load_name(player), about.load(place))).collect();
    beside.insert("mix.csv".to_owned(), about.table());
    let files = Files { plan: about.plan(output)?, beside };
    // Before anything is written, so that a plan that cannot run takes no other's place.
    accept(
        terminal,
        validate::plan(&files.above(Disk, output, &folder), &absolute(output), &Overrides::default()),
    )?;
    files.write(output, &folder, force)?;
    let idle = parts.iter().filter(|part| part.minutes.iter().all(|count| *count == 0)).count();
    if idle > 0 {
        let are = if idle == 1 { "is" } else { "are" };
        terminal.say(&format!(
            "{idle} of the functions {are} called too rarely for this rate and time to be played at all"
        ));
    }
    if settings.json() {
        terminal.data(&format!("{:#}", about.json(output)))?;
    } else {
        terminal.data(&about.text())?;
    }
    terminal.say(&format!("wrote {}; next: sb run {}", output.display(), crate::workspace::quoted(output)));
    Ok(Exit::Done)
}

/// The file of an application's load, which no name of an application makes the table's.
fn load_name(player: &Player) -> String {
    format!("load-{}.csv", player.name)
}

/// The functions that may be chosen: all that are invoked in the window, in the order of their keys.
fn candidates(terminal: &Terminal, read: &Read, wanted: &Wanted) -> Result<Vec<Candidate>, Failed> {
    for unknown in wanted.without.iter().filter(|name| !read.has_trigger(name)) {
        terminal.say(&format!("no function of the dataset has the trigger `{unknown}`"));
    }
    let kept = read.totals.functions.iter().map(|function| &function.key);
    let keys: Vec<_> =
        kept.filter(|key| wanted.without.iter().all(|without| without != key.trigger())).cloned().collect();
    let durations = read.dataset.durations(&keys, wanted.window)?;
    let durations = durations.unwrap_or_else(|| vec![None; keys.len()]);
    let memory = read.dataset.memory(&keys, wanted.window)?;
    // Of some functions alone, it would favour those.
    let known = memory.filter(|memory| memory.iter().all(Option::is_some));
    let memory = known.unwrap_or_else(|| vec![None; keys.len()]);
    let minutes = minutes_of(read, &keys, wanted.window)?;
    let all = keys.into_iter().zip(minutes).zip(durations.into_iter().zip(memory));
    let invoked: Vec<Candidate> = all
        .map(|((key, minutes), (duration, memory))| Candidate { key, minutes, duration, memory })
        .filter(|candidate| candidate.total() > 0)
        .collect();
    if invoked.is_empty() {
        return Err(Failed::helped(
            Exit::Failed,
            "no function of the dataset is invoked in the window",
            "choose other minutes with --day, --at and --for",
        ));
    }
    Ok(invoked)
}

/// The functions' invocations in each minute. A function that is not listed on a day of the window has none on that day.
fn minutes_of(read: &Read, keys: &[Key], window: Window) -> Result<Vec<Vec<u64>>, Failed> {
    let mut found = vec![Vec::new(); keys.len()];
    let (mut first, mut left) = (window.first, window.minutes);
    for day in window.day..=window.last_day() {
        let minutes = left.min(u32::from(MINUTES_PER_DAY - first) + 1);
        let of_day = read.dataset.minutes(keys, Window { day, first, minutes })?;
        for (all, of_day) in found.iter_mut().zip(of_day) {
            all.extend(of_day.unwrap_or_else(|| vec![0; minutes as usize]));
        }
        (first, left) = (1, left - minutes);
    }
    Ok(found)
}

/// The applications with a target that can play functions: `local`, or else the only one.
fn players(terminal: &Terminal, settings: &Settings, paths: &[PathBuf]) -> Result<Vec<Player>, Failed> {
    let mut players: Vec<Player> = Vec::new();
    let mut left_out = Vec::new();
    let reach = in_reach(settings, paths)?;
    show_each(terminal, &reach.unreadable);
    for manifest in reach.files.into_iter().filter(|path| !is_plan(path)) {
        let checked = validate::benchmark(&Disk, &absolute(&manifest));
        let player = checked.value.as_deref().and_then(|benchmark| player(settings, benchmark));
        match player {
            Some(mut player) => {
                // The same name in two folders.
                let same = players.iter().filter(|other| other.manifest != player.manifest);
                let again = same.filter(|other| other.name == player.name).count();
                if again > 0 {
                    player.name = format!("{}-{}", player.name, again + 1);
                }
                players.push(player);
            }
            None => left_out.push(manifest),
        }
    }
    if !left_out.is_empty() {
        let names: Vec<String> = left_out.iter().map(|path| path.display().to_string()).collect();
        terminal.say(&format!(
            "left out, since they are not valid (`sb validate`), or have no requests, not the target that is asked for, or several: {}",
            names.join(", ")
        ));
    }
    if players.is_empty() {
        return Err(Failed::helped(
            Exit::Failed,
            "no application can play the functions",
            "name manifests with --applications, and one of their targets with --target",
        ));
    }
    Ok(players)
}

fn player(settings: &Settings, benchmark: &Benchmark) -> Option<Player> {
    benchmark.workload.as_ref()?;
    let target = match &settings.target {
        Some(target) => benchmark.targets.contains_key(target).then(|| target.clone())?,
        None if benchmark.targets.contains_key("local") => "local".to_owned(),
        None => benchmark.targets.keys().next().filter(|_| benchmark.targets.len() == 1)?.clone(),
    };
    let steps = &benchmark.targets[&target].deploy;
    let templates = steps.iter().filter_map(|step| step.action.template());
    let mut triggers = BTreeSet::from(["http"]);
    for (path, _) in templates {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let Ok(template) = benchmark.templates.get(path, &text) else { continue };
        let (application, _) = template.as_far_as_possible(&BTreeMap::new(), &Place::any());
        triggers.extend(application.sources.iter().map(|source| match source.source {
            Source::Sqs { .. } => "queue",
            Source::S3 { .. } => "storage",
            Source::Sns { .. } | Source::Bus { .. } | Source::Stream(_) => "event",
            Source::Schedule { .. } => "timer",
        }));
        let is_machine = |service: &Service| matches!(service, Service::StateMachine { .. });
        if application.resources.iter().any(|resource| is_machine(&resource.service)) {
            triggers.insert("orchestration");
        }
    }
    let mut usages = benchmark.targets.values().filter_map(|target| target.usage.as_ref());
    let gb_seconds = usages.find_map(|usage| usage.per_invocation.get("lambda_gb_seconds"));
    let memory_gb = benchmark.params.get("memory_size").and_then(|param| match &param.source {
        ParamSource::Value(megabytes) => megabytes.as_f64().map(|megabytes| megabytes / 1024.0),
        _ => None,
    });
    Some(Player {
        name: benchmark.name.clone(),
        manifest: benchmark.path.clone(),
        target,
        triggers,
        seconds: gb_seconds.map(|gb_seconds| gb_seconds / memory_gb.filter(|gb| *gb > 0.0).unwrap_or(1.0)),
    })
}

/// Scales the chosen functions, and finds a player for each.
fn parts<'a>(
    candidates: &'a [Candidate],
    found: &Mix,
    players: &[Player],
    wanted: &Wanted,
) -> Result<Vec<Part<'a>>, Failed> {
    let chosen: Vec<&Candidate> = found.chosen.iter().map(|place| &candidates[*place]).collect();
    let lists: Vec<&[u64]> = chosen.iter().map(|candidate| candidate.minutes.as_slice()).collect();
    let traced: u64 = chosen.iter().map(|candidate| candidate.total()).sum();
    let total = match wanted.rate {
        None => traced,
        Some(rate) => (rate * wanted.seconds()).round() as u64,
    };
    if total == 0 {
        return Err(Failed::helped(
            Exit::Usage,
            "the rate gives no invocation",
            "raise --rate, or play more minutes with --for",
        ));
    }
    let mut plays = vec![0_usize; players.len()];
    let parts = chosen.into_iter().zip(scale_to(&lists, total)).map(|(function, minutes)| {
        let player = player_of(function, players, &plays);
        plays[player] += 1;
        Part { function, player, minutes }
    });
    Ok(parts.collect())
}

/// Who plays a function: of those that are invoked in the same way (of all, if none is), the one that takes about as
/// long. Where nobody knows how long, the one that plays least.
fn player_of(function: &Candidate, players: &[Player], plays: &[usize]) -> usize {
    let is_alike = |player: &Player| player.triggers.contains(function.key.trigger());
    let any = players.iter().any(is_alike);
    let suitable = players.iter().enumerate().filter(|(_, player)| !any || is_alike(player));
    let away = |player: &Player| match (function.duration, player.seconds) {
        (Some(one), Some(other)) => (one.max(SHORTEST) / other.max(SHORTEST)).ln().abs(),
        // Behind everyone of whom it is known.
        (Some(_), None) => f64::MAX,
        (None, _) => 0.0,
    };
    let key = |(place, player): &(usize, &Player)| (away(player), plays[*place]);
    let nearest = suitable.min_by(|a, b| {
        let (a, b) = (key(a), key(b));
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
    });
    nearest.map_or(0, |(place, _)| place)
}

struct About<'a> {
    read: &'a Read,
    wanted: &'a Wanted,
    candidates: &'a [Candidate],
    found: &'a Mix,
    parts: &'a [Part<'a>],
    players: &'a [Player],
}

impl About<'_> {
    fn is_used(&self, player: usize) -> bool {
        self.total_of(player) > 0
    }

    fn total_of(&self, player: usize) -> u64 {
        self.parts.iter().filter(|part| part.player == player).flat_map(|part| &part.minutes).sum()
    }

    fn total(&self) -> u64 {
        self.parts.iter().flat_map(|part| &part.minutes).sum()
    }

    fn factor(&self) -> f64 {
        let traced: u64 = self.parts.iter().map(|part| part.function.total()).sum();
        self.total() as f64 / traced as f64
    }

    /// The dataset and the minutes, as one line.
    fn origin(&self) -> String {
        let Window { day, first, minutes } = self.wanted.window;
        let last = u32::from(first) + minutes - 1;
        format!("{}, day {day}, minutes {first} to {last}", self.read.dataset.format().name())
    }

    /// The file with the load of an application.
    fn load(&self, player: usize) -> String {
        let mut sums = vec![0_u64; self.wanted.window.minutes as usize];
        let mut original = sums.clone();
        let own = self.parts.iter().filter(|part| part.player == player);
        let mut functions = 0;
        for part in own {
            functions += 1;
            for (sum, count) in sums.iter_mut().zip(&part.minutes) {
                *sum += count;
            }
            for (sum, count) in original.iter_mut().zip(&part.function.minutes) {
                *sum += count;
            }
        }
        let path = in_line(&self.read.dataset.path().display().to_string());
        let mut text = format!(
            "{DATASET} {}\n# file: {path}\n# {}: see mix.csv\n# factor: {}\n{}{COLUMN}\n",
            self.origin(),
            counted(functions, "function"),
            self.factor(),
            original_lines(&original)
        );
        for count in sums {
            let _ = writeln!(text, "{count}");
        }
        text
    }

    /// Who plays whom.
    fn table(&self) -> String {
        let mut text =
            "HashOwner,HashApp,HashFunction,Trigger,traced,played,duration_s,application\n".to_owned();
        for part in self.parts {
            let played: u64 = part.minutes.iter().sum();
            let duration =
                part.function.duration.map(|duration| format!("{duration:.6}")).unwrap_or_default();
            let name = &self.players[part.player].name;
            let _ =
                writeln!(text, "{},{},{played},{duration},{name}", part.function.key, part.function.total());
        }
        text
    }

    fn plan(&self, output: &Path) -> Result<String, Failed> {
        let stem = output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !validate::is_name(&stem) {
            return Err(Failed::helped(
                Exit::Usage,
                format!("`{stem}` cannot be the name of a plan"),
                "use 1 to 64 letters, digits, `-` and `_` before .toml",
            ));
        }
        let used: Vec<usize> = (0..self.players.len()).filter(|player| self.is_used(*player)).collect();
        let count = used.len();
        let Distance { minute, rate, inter_arrival, duration, work } = self.found.distance;
        let known = |distance: Option<f64>| distance.map_or("unknown".to_owned(), |one| decimal(one, 3));
        let mut text = format!(
            "{MADE_BY} {} of {} of {}.\n# {}, {:.4} times those of the trace. Seed {}.\n\
             # Distance from all functions: minutes {}, rate {}, inter-arrival time {}, duration {}, use {}.\n\n\
             [plan]\nname = \"{stem}\"\ndescription = \"{} of {}\"\n",
            self.parts.len(),
            printable::counted(self.candidates.len(), "function"),
            self.origin(),
            printable::counted(self.total(), "invocation"),
            self.factor(),
            self.wanted.seed,
            decimal(minute, 3),
            decimal(rate, 3),
            known(inter_arrival),
            known(duration),
            known(work),
            printable::counted(self.parts.len(), "function"),
            self.origin(),
        );
        if used.iter().all(|player| self.players[*player].target == "local") {
            text.push_str("executor = \"host\"\n");
        }
        let _ = write!(
            text,
            "\n# All applications are loaded at the same time.\n[concurrency]\ndeploy = {count}\ninvoke = {count}\n"
        );
        if count > 1 {
            text.push_str("together = true\n\n[trials]\norder = \"interleaved\"\n");
        }
        let speed = self.wanted.speed;
        let is_faster = (speed - 1.0).abs() > f64::EPSILON;
        let speed = if is_faster { format!(", speed = {speed:?}") } else { String::new() };
        let folder = absolute(output.parent().unwrap_or(Path::new("")));
        for player in used {
            let Player { name, manifest, target, .. } = &self.players[player];
            let manifest = literal(&relative(manifest, &folder).to_string_lossy());
            let load = literal(&format!("{stem}/{}", load_name(&self.players[player])));
            let rate = self.total_of(player) as f64 / self.wanted.seconds();
            let _ = write!(
                text,
                "\n# {rate:.3} invocations a second\n[[applications]]\nname = {}\nmanifest = {manifest}\ntarget = {}\n\
                 load = {{ csv = {load}, skip = \"0s\"{speed} }}\n",
                literal(name),
                literal(target)
            );
        }
        Ok(text)
    }

    fn json(&self, output: &Path) -> serde_json::Value {
        let parts: Vec<serde_json::Value> = self
            .parts
            .iter()
            .map(|part| {
                json!({
                    "owner": part.function.key.owner(),
                    "app": part.function.key.app(),
                    "function": part.function.key.function(),
                    "trigger": part.function.key.trigger(),
                    "duration_s": part.function.duration,
                    "traced": part.function.total(),
                    "played": part.minutes.iter().sum::<u64>(),
                    "application": self.players[part.player].name,
                })
            })
            .collect();
        json!({
            "version": 1,
            "plan": output,
            "window": self.wanted.window,
            "candidates": self.candidates.len(),
            "invocations": self.total(),
            "rate": self.total() as f64 / self.wanted.seconds(),
            "factor": self.factor(),
            "distance": self.found.distance,
            "distance_at_random": self.found.at_random,
            "functions": parts,
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} of {} of {}\n{} in {:.1} min: {:.3}/s, {:.4} times those of the trace\n\n",
            grouped(self.parts.len() as u64),
            counted(self.candidates.len() as u64, "function"),
            self.origin(),
            counted(self.total(), "invocation"),
            self.wanted.seconds() / 60.0,
            self.total() as f64 / self.wanted.seconds(),
            self.factor(),
        );
        let (own, random) = (self.found.distance, self.found.at_random);
        let _ = writeln!(
            text,
            "  {:<34} {:>8} {:>18}",
            "distance from all functions", "chosen", "drawn at random"
        );
        let rows = [
            ("invocations in a minute", Some(own.minute), Some(random.minute)),
            ("rate", Some(own.rate), Some(random.rate)),
            ("inter-arrival time, decades", own.inter_arrival, random.inter_arrival),
            ("duration, decades", own.duration, random.duration),
            ("use in a minute", own.work, random.work),
        ];
        let shown = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| decimal(value, 3));
        for (name, own, random) in rows {
            let _ = writeln!(text, "  {name:<34} {:>8} {:>18}", shown(own), shown(random));
        }
        let _ = writeln!(text, "\n  {:<34} {:>8} {:>18}", "application", "plays", "invocations/s");
        for (place, player) in self.players.iter().enumerate().filter(|(place, _)| self.is_used(*place)) {
            let plays = self.parts.iter().filter(|part| part.player == place).count();
            let rate = self.total_of(place) as f64 / self.wanted.seconds();
            let _ = writeln!(text, "  {:<34} {plays:>8} {rate:>18.3}", player.name);
        }
        text
    }
}

/// A text as TOML writes it.
fn literal(text: &str) -> String {
    // JSON's escapes are TOML's, for what a path or a name may hold.
    serde_json::Value::from(text).to_string()
}

/// A path as it is written from a folder; both absolute.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let (mut ours, mut theirs) = (folder.components().peekable(), path.components().peekable());
    while ours.peek().is_some() && ours.peek() == theirs.peek() {
        ours.next();
        theirs.next();
    }
    let mut found: PathBuf = ours.map(|_| "..").collect();
    found.extend(theirs);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(name: &str, triggers: &[&'static str], seconds: Option<f64>) -> Player {
        Player {
            name: name.to_owned(),
            manifest: PathBuf::new(),
            target: "local".to_owned(),
            triggers: triggers.iter().copied().collect(),
            seconds,
        }
    }

    #[track_caller]
    fn check(trigger: &str, duration: Option<f64>, plays: [usize; 4], expected: usize) {
        let players = [
            player("short", &["http"], Some(0.01)),
            player("queued", &["http", "queue"], Some(1.0)),
            player("long", &["http"], Some(10.0)),
            player("unknown", &["http"], None),
        ];
        let key = Key::new("o", "a", "f", trigger);
        let function = Candidate { key, minutes: vec![1], duration, memory: None };
        assert_eq!(player_of(&function, &players, &plays), expected);
    }

    #[test]
    fn a_function_is_played_by_what_is_invoked_and_lasts_as_it_does() {
        check("http", Some(0.02), [0; 4], 0);
        check("http", Some(0.5), [0; 4], 1);
        check("http", Some(100.0), [0; 4], 2);
        check("queue", Some(0.02), [0; 4], 1);
        // Nobody is invoked so: the nearest of all.
        check("others", Some(9.0), [0; 4], 2);
        // Nobody knows how long: whoever plays least.
        check("http", None, [2, 1, 0, 1], 2);
        check("http", None, [1, 1, 1, 0], 3);
    }

    #[test]
    fn a_path_leads_from_the_folder_of_the_plan() {
        let check = |path: &str, folder: &str, expected: &str| {
            assert_eq!(relative(Path::new(path), Path::new(folder)), Path::new(expected));
        };
        check("/w/applications/a/benchmark.toml", "/w/plans", "../applications/a/benchmark.toml");
        check("/w/plans/benchmark.toml", "/w/plans", "benchmark.toml");
        check("/w/b.toml", "/w/x/y", "../../b.toml");
    }
}
