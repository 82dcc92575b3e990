//! A terminal whose keys go to somebody else: raw mode, given back on every way out.

use std::io::{self, IsTerminal as _};
use std::sync::Once;

use parking_lot::Mutex;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// How the terminal was; also for the panic hook, which runs before anything is unwound.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// While this lives, standard input gives every key as it is typed, shows none, and makes no signals of them.
#[derive(Debug)]
#[must_use = "the terminal is given back at once"]
pub(crate) struct RawMode(());

impl RawMode {
    /// None: standard input is no terminal, and nothing changes.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(None);
        }
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                usual(panic);
            }));
        });
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock() = Some(before);
        tcsetattr(&input, OptionalActions::Drain, &raw)?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if let Some(before) = BEFORE.lock().take() {
        // At once: output that nobody reads must not hold it up.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// What the test below starts in a terminal.
    #[test]
    #[ignore = "helper: `a_panic_gives_the_terminal_back` starts it in a terminal"]
    fn panics_in_raw_mode() {
        if let Some(raw) = RawMode::enter().unwrap() {
            // Not even dropped: the hook alone has to do it.
            std::mem::forget(raw);
            panic!("with a terminal in raw mode");
        }
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/terminal.py");
        let program = std::env::current_exe().unwrap();
        let arguments = ["--ignored", "--exact", "--nocapture", "terminal::raw::tests::panics_in_raw_mode"];
        let mut argv = vec![program.to_str().unwrap()];
        argv.extend(arguments);
        let spec =
            serde_json::json!({ "argv": argv, "script": [{ "expect": "with a terminal in raw mode" }] });
        let mut player = Command::new("python3");
        let mut player = player.arg(driver).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        player.stdin.take().unwrap().write_all(spec.to_string().as_bytes()).unwrap();
        let seen = player.wait_with_output().unwrap();
        let seen: serde_json::Value = serde_json::from_slice(&seen.stdout).unwrap();
        assert_eq!((&seen["restored"], &seen["left"]), (&true.into(), &serde_json::json!([])), "{seen:#}");
        assert_eq!(seen["code"], 101, "{seen:#}");
    }
}
