//! Live progress: bars on a terminal, plain lines elsewhere. What a run reports comes as [`Notice`]s.

mod load;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::printable::{counted, printable};
use crate::terminal::{Style, Terminal};
use sb_plan::event::{LoadProgress, Notice, Outcome};
use sb_plan::id::StepId;

/// How often step logs are looked at, and bars redrawn.
const TICK: Duration = Duration::from_millis(200);
/// Without a terminal, how often a load tells how far it is.
const QUIET_LOAD: Duration = Duration::from_secs(10);

/// Without a terminal, how often the whole run tells how far it is.
const QUIET_RUN: Duration = Duration::from_mins(1);
/// Bars of running steps at once: what has no bar is counted.
const BARS: usize = 12;

/// What is known beforehand of how long the run takes.
pub(crate) struct Forecast {
    /// Of loads and pauses whose length is planned.
    pub lengths: HashMap<StepId, Duration>,
    /// How long the run still takes. It is told of each ended step once.
    pub remaining: Box<dyn FnMut(&Seen<'_>) -> Duration + Send>,
}

/// What a run has done.
pub(crate) struct Seen<'a> {
    pub running: &'a HashMap<StepId, Duration>,
    /// Since the last time; those that succeeded with their duration.
    pub ended: &'a [(StepId, Option<Duration>)],
}

/// How often the rest of a run is predicted anew: where that takes long, less often.
const PREDICT: Duration = Duration::from_secs(2);
/// By so many times the time that a prediction took, it is left alone.
const PREDICT_SHARE: u32 = 100;

/// The prediction that is shown.
struct Prediction {
    forecast: Forecast,
    /// When it was made, and what it said.
    made: Option<(Instant, Duration)>,
    next: Instant,
    ended: Vec<(StepId, Option<Duration>)>,
}

impl Prediction {
    fn new(forecast: Forecast) -> Self {
        Self { forecast, made: None, next: Instant::now(), ended: vec![] }
    }

    /// What is left of the run.
    fn left(&mut self, running: &BTreeMap<StepId, RunningStep>) -> Option<Duration> {
        let now = Instant::now();
        if now >= self.next {
            let running = running.iter().map(|(step, running)| (step.clone(), running.begun.elapsed()));
            let running = running.collect();
            let left = (self.forecast.remaining)(&Seen { running: &running, ended: &self.ended });
            self.ended.clear();
            self.made = Some((now, left));
            self.next = Instant::now() + PREDICT.max(now.elapsed() * PREDICT_SHARE);
        }
        self.made.map(|(made, left)| left.saturating_sub(made.elapsed()))
    }
}

/// Shows what happens until the sender is gone.
pub(crate) async fn show(
    terminal: Terminal,
    steps: u64,
    verbose: bool,
    forecast: Option<Forecast>,
    mut notices: UnboundedReceiver<Notice>,
) {
    let mut view = View::new(terminal, steps, verbose, forecast);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            notice = notices.recv() => match notice {
                Some(notice) => view.tell(notice),
                None => break,
            },
            _ = tick.tick() => view.tick(),
        }
    }
    view.close();
}

struct View {
    terminal: Terminal,
    verbose: bool,
    overall: ProgressBar,
    prediction: Option<Prediction>,
    running: BTreeMap<StepId, RunningStep>,
    /// Steps that wait for another run, and what for.
    waiting: BTreeMap<StepId, String>,
    begun: Instant,
    told: Instant,
    steps: u64,
    ended: u64,
    failed: u64,
    /// Running steps for which there is no bar.
    more: usize,
}

struct RunningStep {
    /// On a terminal, while there is room for it.
    bar: Option<ProgressBar>,
    what: String,
    begun: Instant,
    log: PathBuf,
    shown: u64,
    last_told: Instant,
}

impl View {
    fn new(terminal: Terminal, steps: u64, verbose: bool, forecast: Option<Forecast>) -> Self {
        let overall = if terminal.lively {
            let bar = terminal.bars().add(ProgressBar::new(steps));
            bar.set_style(style("{elapsed_precise} [{bar:30}] {pos}/{len} steps {msg}"));
            bar
        } else {
            ProgressBar::hidden()
        };
        let now = Instant::now();
        let running = BTreeMap::new();
        let prediction = forecast.map(Prediction::new);
        Self {
            terminal,
            verbose,
            overall,
            prediction,
            running,
            waiting: BTreeMap::new(),
            begun: now,
            told: now,
            steps,
            ended: 0,
            failed: 0,
            more: 0,
        }
    }

    fn tell(&mut self, notice: Notice) {
        match notice {
            Notice::Started { step, action, attempt, log, reattached } => {
                let again = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                let word = if reattached { "reattached" } else { "started" };
                if !self.terminal.lively {
                    self.terminal.say(&format!("{word:<10} {step} ({action}{again})"));
                }
                self.begin(step, format!("{action}{again}"), log);
            }
            Notice::Pausing { step, until_ms } => {
                let left = Duration::from_millis(u64::try_from(until_ms - now_ms()).unwrap_or(0));
                let left = humantime::format_duration(Duration::from_secs(left.as_secs_f64().ceil() as u64));
                if !self.terminal.lively {
                    self.terminal.say(&format!("{:<10} {step} ({left})", "waiting"));
                }
                self.begin(step, format!("waiting {left}"), PathBuf::new());
            }
            Notice::Waiting { step, why } => {
                let why = printable(&why).into_owned();
                self.terminal.say(&format!("{:<10} {step} {why}", "waiting"));
                self.waiting.insert(step, why);
            }
            Notice::StillOwed { why } => {
                let text = format!("{:<10} {}", "owed", printable(&why));
                self.terminal.say(&self.terminal.paint(Style::Bad, &text));
            }
            Notice::Progress { step, message } => self.message(&step, message),
            Notice::Loading { step, progress } => self.loading(&step, progress),
            Notice::Loaded { step, summary, folder } => {
                for line in load::lines(&step, &summary, &folder) {
                    self.terminal.say(&line);
                }
            }
            Notice::Retrying { step, attempt, outcome, delay } => {
                self.end(&step);
                let delay = humantime::format_duration(delay);
                let text = format!("{:<10} {step} in {delay}: attempt {attempt} {outcome}", "retrying");
                self.terminal.say(&self.terminal.paint(Style::Warning, &text));
            }
            Notice::Ended { step, outcome, invalid, took, log } => {
                self.end(&step);
                self.waiting.remove(&step);
                self.overall.inc(1);
                self.ended += 1;
                self.failed += u64::from(matches!(outcome, Outcome::Failed(_)));
                if let Some(prediction) = &mut self.prediction {
                    prediction.ended.push((step.clone(), outcome.is_success().then_some(took)));
                }
                self.ended(&step, &outcome, took, &log);
                for reason in invalid {
                    self.terminal
                        .say(&self.terminal.paint(Style::Warning, &format!("{:<10} {reason}", "invalid")));
                }
            }
            Notice::Stopping { why, cleans_up } => {
                let then = if cleans_up { "cleaning up" } else { "what was deployed stays" };
                let text = format!(
                    "{:<10} {why}: nothing new is started, {then} (once more to leave at once)",
                    "stopping"
                );
                self.terminal.say(&self.terminal.paint(Style::Warning, &text));
            }
        }
    }

    fn ended(&self, step: &StepId, outcome: &Outcome, took: Duration, log: &Path) {
        let took = format!("{:.1} s", took.as_secs_f64());
        let (style, text) = match outcome {
            Outcome::Succeeded => (Style::Good, format!("{:<10} {step} ({took})", "done")),
            Outcome::Failed(failure) => {
                let see =
                    if log.exists() { format!("\n{:<10} {}", "", log.display()) } else { String::new() };
                let said = self.last_lines(log);
                (Style::Bad, format!("{:<10} {step} ({took}): {}{see}{said}", "failed", failure.message))
            }
            other => (Style::Warning, format!("{step} {other}")),
        };
        self.terminal.say(&self.terminal.paint(style, &text));
    }

    /// What a failed step said last; with `-v` all of it has been shown.
    fn last_lines(&self, log: &Path) -> String {
        const LINES: usize = 8;
        const BYTES: i64 = 4096;
        if self.verbose {
            return String::new();
        }
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(log) {
            // A log shorter than that is read from its beginning.
            let _ = file.seek(SeekFrom::End(-BYTES)).or_else(|_| file.seek(SeekFrom::Start(0)));
            let _ = file.read_to_end(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LINES)..]
            .iter()
            .map(|line| format!("\n{:<10} │ {line}", ""))
            .collect()
    }

    fn begin(&mut self, step: StepId, what: String, log: PathBuf) {
        self.waiting.remove(&step);
        let now = Instant::now();
        let running = RunningStep { bar: None, what, begun: now, log, shown: 0, last_told: now };
        self.running.insert(step, running);
        self.fill();
    }

    /// Gives bars to those that run longest, as many as there is room for.
    fn fill(&mut self) {
        if !self.terminal.lively {
            return;
        }
        let room = BARS.min(self.terminal.rows().saturating_sub(3)).max(1);
        let shown = self.running.values().filter(|running| running.bar.is_some()).count();
        let mut without: Vec<_> =
            self.running.iter_mut().filter(|(_, running)| running.bar.is_none()).collect();
        without.sort_by_key(|(_, running)| running.begun);
        let waiting = without.len();
        let mut given = 0;
        for (step, running) in without.into_iter().take(room.saturating_sub(shown)) {
            let bar = ProgressBar::new_spinner().with_elapsed(running.begun.elapsed());
            let bar = self.terminal.bars().insert_before(&self.overall, bar);
            bar.set_style(style("{spinner} {prefix} {msg} {elapsed}"));
            bar.set_prefix(step.to_string());
            bar.set_message(running.what.clone());
            running.bar = Some(bar);
            given += 1;
        }
        self.more = waiting - given;
        self.show_rest();
    }

    /// How many more steps run, and how long all of it still takes.
    fn show_rest(&mut self) {
        let mut parts = Vec::new();
        if self.more > 0 {
            parts.push(format!("(and {} more run)", self.more));
        }
        if let Some(left) = self.left() {
            parts.push(left);
        }
        self.overall.set_message(parts.join("  "));
    }

    /// How long it still takes. While nothing runs and another run is waited for, nobody knows.
    fn left(&mut self) -> Option<String> {
        if let (true, Some((_, why))) = (self.running.is_empty(), self.waiting.first_key_value()) {
            return Some(format!("waiting {why}"));
        }
        self.prediction.as_mut().and_then(|prediction| prediction.left(&self.running)).map(left)
    }

    fn message(&mut self, step: &StepId, message: String) {
        let message = printable(&message).into_owned();
        match self.running.get_mut(step) {
            Some(RunningStep { bar: Some(bar), .. }) => bar.set_message(message),
            Some(running) if running.last_told.elapsed() >= QUIET_LOAD => {
                running.last_told = Instant::now();
                self.terminal.say(&format!("{:<10} {step}: {message}", ""));
            }
            _ => {}
        }
    }

    fn loading(&mut self, step: &StepId, now: LoadProgress) {
        let latency = match (now.p50_ms, now.p99_ms) {
            (Some(p50), Some(p99)) => format!(", p50 {p50:.1} ms, p99 {p99:.1} ms"),
            _ => String::new(),
        };
        let planned = now.planned.map(|planned| format!("planned {planned}, ")).unwrap_or_default();
        let dropped = if now.dropped > 0 { format!(", {} dropped", now.dropped) } else { String::new() };
        let rest = self.rest_of_load(step, &now).map_or_else(String::new, |rest| format!("; {}", left(rest)));
        self.message(
            step,
            format!(
                "{planned}sent {}, answered {}, failed {}{dropped}{latency}{rest}",
                now.sent, now.answered, now.failed
            ),
        );
    }

    /// By its planned length; of a load that sends one after another, by what it has sent.
    fn rest_of_load(&self, step: &StepId, now: &LoadProgress) -> Option<Duration> {
        let elapsed = self.running.get(step)?.begun.elapsed();
        match self.prediction.as_ref()?.forecast.lengths.get(step) {
            Some(length) => Some(length.saturating_sub(elapsed)),
            None if now.sent > 0 => {
                let share = now.planned?.saturating_sub(now.sent) as f64 / now.sent as f64;
                Some(elapsed.mul_f64(share.min(1e6)))
            }
            None => None,
        }
    }

    fn end(&mut self, step: &StepId) {
        if let Some(mut running) = self.running.remove(step) {
            if self.verbose {
                tail(&self.terminal, step, &mut running, true);
            }
            if let Some(bar) = running.bar {
                bar.finish_and_clear();
                self.terminal.bars().remove(&bar);
            }
            self.fill();
        }
    }

    fn tick(&mut self) {
        if self.terminal.lively {
            self.show_rest();
        }
        self.overall.tick();
        for (step, running) in &mut self.running {
            if let Some(bar) = &running.bar {
                bar.tick();
            }
            if self.verbose {
                tail(&self.terminal, step, running, false);
            }
        }
        if !self.terminal.lively && self.told.elapsed() >= QUIET_RUN {
            self.told = Instant::now();
            let took = humantime::format_duration(Duration::from_secs(self.begun.elapsed().as_secs()));
            let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
            let rest = self.left().map_or_else(String::new, |left| format!("; {left}"));
            self.terminal.say(&format!(
                "{:<10} {took}: {} of {} ended{failed}, {} running{rest}",
                "so far",
                self.ended,
                counted(self.steps, "step"),
                self.running.len()
            ));
        }
    }

    fn close(self) {
        for running in self.running.into_values() {
            if let Some(bar) = running.bar {
                bar.finish_and_clear();
            }
        }
        self.overall.finish_and_clear();
    }
}

/// `3m 20s left`
fn left(rest: Duration) -> String {
    format!("{} left", humantime::format_duration(Duration::from_secs(rest.as_secs_f64().ceil() as u64)))
}

/// Prints what has come to the step's log since the last time: whole lines, and the rest when the step has `ended`.
fn tail(terminal: &Terminal, step: &StepId, running: &mut RunningStep, ended: bool) {
    let label = terminal.paint(Style::Faint, &format!("{step} │"));
    loop {
        let bytes = read_on(&running.log, &mut running.shown, ended);
        for line in String::from_utf8_lossy(&bytes).lines() {
            terminal.say(&format!("{label} {}", printable(line)));
        }
        // A step that goes on is looked at again soon; others must not wait for it meanwhile.
        if bytes.is_empty() || !ended {
            return;
        }
    }
}

/// A bounded piece of a log from a place on: up to the end of its last line, unless the step has `ended` or the line is
/// longer than a piece. A log that cannot be read has nothing to show.
fn read_on(log: &Path, place: &mut u64, ended: bool) -> Vec<u8> {
    const AT_ONCE: u64 = 64 * 1024;
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(*place))?;
        file.take(AT_ONCE).read_to_end(&mut bytes)
    });
    if read.is_err() {
        return Vec::new();
    }
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map(|end| end + 1);
    let full = bytes.len() as u64 == AT_ONCE;
    let end = match whole {
        Some(end) if full || !ended => end,
        None if !full && !ended => 0,
        _ => bytes.len(),
    };
    bytes.truncate(end);
    *place += bytes.len() as u64;
    bytes
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read in one go after another: of a step that runs, then of one that has ended.
    #[track_caller]
    fn check(log: &str, running: &[&str], ended: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, log).unwrap();
        let mut place = 0;
        for (pieces, over) in [(running, false), (ended, true)] {
            for piece in pieces {
                assert_eq!(String::from_utf8(read_on(&path, &mut place, over)).unwrap(), *piece);
            }
            assert!(read_on(&path, &mut place, over).is_empty());
        }
    }

    #[test]
    fn all_that_a_step_prints_is_shown_in_whole_lines() {
        check("", &[], &[]);
        check("one\ntwo\nthr", &["one\ntwo\n"], &["thr"]);
        check("no end", &[], &["no end"]);
        let long = "x".repeat(70_000);
        check(&long, &[&long[..65_536]], &[&long[65_536..]]);
        let lines = format!("first\n{}\nlast", "y".repeat(65_530));
        check(&lines, &["first\n", &lines[6..65_537]], &["last"]);
    }

    #[test]
    fn no_end_is_predicted_while_another_run_is_waited_for() {
        let terminal = Terminal::detect();
        let forecast = Forecast { lengths: HashMap::new(), remaining: Box::new(|_| Duration::from_mins(1)) };
        let mut view = View::new(terminal, 2, false, Some(forecast));
        assert_eq!(view.left().as_deref(), Some("1m left"));
        let step = StepId::new("app.1/deploy/a");
        let why = "for lock `quiet`, held by run x (process 1, in /w)".to_owned();
        view.tell(Notice::Waiting { step: step.clone(), why: why.clone() });
        assert_eq!(view.left(), Some(format!("waiting {why}")));
        let log = PathBuf::new();
        view.tell(Notice::Started { step, action: "run", attempt: 1, log, reattached: false });
        assert!(view.left().unwrap().ends_with("left"));
    }

    #[test]
    fn a_log_that_is_not_there_has_nothing_to_show() {
        assert!(read_on(Path::new("/nonexistent/log"), &mut 0, true).is_empty());
    }
}
