//! A terminal whose keys go to somebody else: raw mode, given back on every way out.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, Once, PoisonError};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// How the terminal was; also for the panic hook, which runs before anything is unwound.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// While this lives, standard input gives every key as it is typed, shows none, and makes no signals of them.
#[derive(Debug)]
#[must_use = "the terminal is given back at once"]
pub struct RawMode(());

impl RawMode {
    /// None: standard input is no terminal, and nothing changes.
    pub fn enter() -> io::Result<Option<Self>> {
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
        cfmakeraw(&mut raw);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        tcsetattr(&input, SetArg::TCSADRAIN, &raw)?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // At once: output that nobody reads must not hold it up.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    }
}
