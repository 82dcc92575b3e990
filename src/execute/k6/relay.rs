//! What k6 says: on to our own output line by line, without secrets; and what of it is worth remembering.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use sb_load::{Progress, k6};
use sb_measurement::Redactor;

/// The longest line that is passed on whole.
const LINE_LIMIT: usize = 64 * 1024;

/// Of one k6.
#[derive(Clone)]
pub(super) struct Relay {
    /// Which of several it is.
    prefix: Option<Arc<str>>,
    redactor: Redactor,
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    error: Option<String>,
    thrown: Option<(u64, String)>,
    last: Option<String>,
    /// Of its own lines of progress.
    iterations: u64,
}

/// One of its streams.
pub(super) struct RelayStream {
    relay: Relay,
    partial: Vec<u8>,
}

impl Relay {
    pub(super) fn new(prefix: Option<String>, redactor: Redactor) -> Self {
        Self { prefix: prefix.map(Into::into), redactor, said: Arc::default() }
    }

    pub(super) fn stream(&self) -> RelayStream {
        RelayStream { relay: self.clone(), partial: Vec::new() }
    }

    /// What it said went wrong, or else its last words.
    pub(super) fn message(&self) -> Option<String> {
        let said = self.said.lock();
        said.error.clone().or_else(|| said.last.clone())
    }

    /// How many runs of the script threw, and what the first did.
    pub(super) fn thrown(&self) -> Option<(u64, String)> {
        self.said.lock().thrown.clone()
    }

    fn line(&self, line: &[u8]) {
        let line = self.redactor.text(String::from_utf8_lossy(line).trim_end()).into_owned();
        let mut said = self.said.lock();
        if let Some(iterations) = iterations_in(&line) {
            said.iterations = iterations;
            return;
        }
        if line.contains("% ] ") || line.contains("% ]\t") {
            // A scenario's part of the progress.
            return;
        }
        if let Some(message) = k6::thrown_in(&line) {
            said.thrown.get_or_insert((0, message)).0 += 1;
        }
        if let Some(error) = k6::error_in(&line) {
            said.error = Some(error);
        }
        if !line.is_empty() {
            said.last = Some(line.clone());
        }
        match &self.prefix {
            Some(_) if line.is_empty() => {}
            Some(prefix) => say(&format!("{prefix}: {line}")),
            None => say(&line),
        }
    }
}

impl RelayStream {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let rest = self.partial.split_off(end + 1);
            let line = std::mem::replace(&mut self.partial, rest);
            self.relay.line(&line);
        }
        if self.partial.len() > LINE_LIMIT {
            self.end();
        }
    }

    pub(super) fn end(&mut self) {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.relay.line(&line);
        }
    }
}

/// Into the log of the step, which is what our output is.
pub(super) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A log that cannot be written is no reason to stop measuring.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// `running (0m02.0s), 2/5 VUs, 12 complete and 0 interrupted iterations`
fn iterations_in(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("running (")?;
    let (before, _) = rest.split_once(" complete and ")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// How far k6 elsewhere are, by their own words: iterations that are complete.
pub(super) fn progress(
    relays: &[Relay],
    planned: Option<u64>,
    began: Instant,
    expected_s: Option<f64>,
) -> Progress {
    let complete = relays.iter().map(|relay| relay.said.lock().iterations).sum();
    Progress {
        planned,
        sent: complete,
        answered: complete,
        failed: 0,
        dropped: 0,
        in_flight: 0,
        p50_ms: None,
        p95_ms: None,
        p99_ms: None,
        elapsed_s: began.elapsed().as_secs_f64(),
        expected_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_k6_says_is_passed_on_by_lines_without_secrets_and_its_errors_are_remembered() {
        let relay = Relay::new(None, Redactor::new(["hush"]));
        let mut stream = relay.stream();
        stream.push(b"time=\"x\" level=warning msg=\"slow\"\ntime=\"x\" level=err");
        stream.push(b"or msg=\"GoError: no hush\\n at \\\"x\\\"\" hint=\"y\"\nlast");
        stream.end();
        assert_eq!(relay.message().unwrap(), "GoError: no ***  at \"x\"");
    }

    #[test]
    fn progress_is_read_from_what_k6_says_of_it() {
        let line = "running (0m02.0s), 2/5 VUs, 12 complete and 0 interrupted iterations";
        assert_eq!(iterations_in(line), Some(12));
        assert_eq!(iterations_in("running away"), None);
        let relay = Relay::new(Some("ssh://a".to_owned()), Redactor::default());
        relay.stream().push(format!("{line}\n").as_bytes());
        let relays = [relay.clone(), relay];
        assert_eq!(progress(&relays, Some(100), Instant::now(), None).sent, 24);
    }
}
