//! Live progress: bars on a terminal, plain lines elsewhere. What a run reports comes as [`Notice`]s.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::event::{LoadProgress, Notice, Outcome};
use crate::id::StepId;
use crate::terminal::{Style, Terminal};

/// How often step logs are looked at, and bars redrawn.
const TICK: Duration = Duration::from_millis(200);
/// Without a terminal, how often a load tells how far it is.
const QUIET_LOAD: Duration = Duration::from_secs(10);

/// Shows what happens until the sender is gone.
pub async fn show(terminal: Terminal, steps: u64, verbose: bool, mut notices: UnboundedReceiver<Notice>) {
    let mut view = View::new(terminal, steps, verbose);
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
    running: BTreeMap<StepId, Running>,
}

struct Running {
    bar: Option<ProgressBar>,
    log: PathBuf,
    shown: u64,
    last_told: Instant,
}

impl View {
    fn new(terminal: Terminal, steps: u64, verbose: bool) -> Self {
        let overall = if terminal.lively {
            let bar = terminal.bars().add(ProgressBar::new(steps));
            bar.set_style(style("{elapsed_precise} [{bar:30}] {pos}/{len} steps {msg}"));
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { terminal, verbose, overall, running: BTreeMap::new() }
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
            Notice::Waiting { step, why } => self.terminal.say(&format!("{:<10} {step} {why}", "waiting")),
            Notice::Progress { step, message } => self.message(&step, message),
            Notice::Loading { step, progress } => self.loading(&step, progress),
            Notice::Retrying { step, attempt, outcome, delay } => {
                self.end(&step);
                let delay = humantime::format_duration(delay);
                let text = format!("{:<10} {step} in {delay}: attempt {attempt} {outcome}", "retrying");
                self.terminal.say(&self.terminal.paint(Style::Warning, &text));
            }
            Notice::Ended { step, outcome, invalid, took, log } => {
                self.end(&step);
                self.overall.inc(1);
                self.ended(&step, &outcome, took, &log);
                for reason in invalid {
                    self.terminal
                        .say(&self.terminal.paint(Style::Warning, &format!("{:<10} {reason}", "invalid")));
                }
            }
            Notice::Stopping { why } => {
                let text = format!(
                    "{:<10} {why}: nothing new is started, cleaning up (once more to leave at once)",
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
        let bar = self.terminal.lively.then(|| {
            let bar = self.terminal.bars().insert_before(&self.overall, ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {prefix} {msg} {elapsed}"));
            bar.set_prefix(step.to_string());
            bar.set_message(what);
            bar
        });
        self.running.insert(step, Running { bar, log, shown: 0, last_told: Instant::now() });
    }

    fn message(&mut self, step: &StepId, message: String) {
        match self.running.get_mut(step) {
            Some(Running { bar: Some(bar), .. }) => bar.set_message(message),
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
        let dropped = if now.dropped > 0 { format!(", {} dropped", now.dropped) } else { String::new() };
        self.message(
            step,
            format!(
                "planned {}, sent {}, answered {}, failed {}{dropped}{latency}",
                now.planned, now.sent, now.answered, now.failed
            ),
        );
    }

    fn end(&mut self, step: &StepId) {
        if let Some(mut running) = self.running.remove(step) {
            if self.verbose {
                tail(&self.terminal, step, &mut running);
            }
            if let Some(bar) = running.bar {
                bar.finish_and_clear();
                self.terminal.bars().remove(&bar);
            }
        }
    }

    fn tick(&mut self) {
        self.overall.tick();
        for (step, running) in &mut self.running {
            if let Some(bar) = &running.bar {
                bar.tick();
            }
            if self.verbose {
                tail(&self.terminal, step, running);
            }
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

/// Prints what has come to the step's log since the last time, whole lines only until the step ends.
fn tail(terminal: &Terminal, step: &StepId, running: &mut Running) {
    const AT_ONCE: u64 = 64 * 1024;
    let Ok(mut file) = File::open(&running.log) else { return };
    if file.seek(SeekFrom::Start(running.shown)).is_err() {
        return;
    }
    let mut bytes = Vec::new();
    if file.take(AT_ONCE).read_to_end(&mut bytes).is_err() {
        return;
    }
    let Some(whole) = bytes.iter().rposition(|&byte| byte == b'\n').map(|end| end + 1) else { return };
    running.shown += whole as u64;
    let label = terminal.paint(Style::Faint, &format!("{step} │"));
    for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
        terminal.say(&format!("{label} {line}"));
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}
