//! Runs a command in a pseudo-terminal, as somebody who sits at one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// What was seen, and how it ended.
pub(crate) struct Seen {
    pub text: String,
    pub code: i64,
    /// The terminal is as it was before.
    pub restored: bool,
}

/// When a text is seen, something is done.
pub(crate) fn answer(expect: &str, send: &str) -> Value {
    json!({ "expect": expect, "send": send })
}

/// Plays a script to a command, whose environment and folder are those of `command`.
#[track_caller]
pub(crate) fn play(command: &Command, script: &[Value]) -> Seen {
    let output = begin(command, script).wait_with_output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).expect("what was seen");
    assert_eq!((&found["problem"], &found["left"]), (&Value::Null, &json!([])), "{found:#}");
    Seen {
        text: found["seen"].as_str().unwrap().to_owned(),
        code: found["code"].as_i64().unwrap(),
        restored: found["restored"].as_bool().unwrap(),
    }
}

/// Runs a command in a terminal that goes away when a text is seen; `then` is done after that. How it ended: its exit
/// code, or the signal as a negative number.
#[track_caller]
pub(crate) fn hang_up(command: &Command, expect: &str, then: impl FnOnce()) -> i64 {
    let mut player = begin(command, &[json!({ "expect": expect, "hang_up": true })]);
    let mut lines = BufReader::new(player.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "hung up\n");
    then();
    line.clear();
    lines.read_line(&mut line).unwrap();
    player.wait().unwrap();
    let found: Value = serde_json::from_str(&line).expect("how it ended");
    assert_eq!(found["problem"], Value::Null, "{found:#}");
    found["code"].as_i64().unwrap()
}

fn begin(command: &Command, script: &[Value]) -> Child {
    let mut argv = vec![command.get_program().to_string_lossy().into_owned()];
    argv.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/terminal.py");
    let mut player = Command::new("python3");
    player.arg(driver).stdin(Stdio::piped()).stdout(Stdio::piped()).env("TERM", "xterm");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => player.env(name, value),
            None => player.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        player.current_dir(folder);
    }
    let mut player = player.spawn().expect("python3");
    let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
    let env: std::collections::BTreeMap<String, String> =
        command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?)))).collect();
    let spec = json!({ "argv": argv, "env": env, "script": script });
    player.stdin.take().unwrap().write_all(spec.to_string().as_bytes()).unwrap();
    player
}
