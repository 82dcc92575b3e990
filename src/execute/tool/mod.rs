//! Steps that a tool's command line performs.
//!
//! The command itself runs as every other one: under a supervisor or in a container, where it outlives this runner. What a tool
//! needs besides is here: a folder for its state, the values of its variables, and the reading of what it says of itself.

mod events;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sb_durable::Durability;
use sb_plan::benchmark::{ManifestStep, Tool, ToolStep};
use sb_plan::event::{FailureClass, Outcome};
use sb_workload::template::{Context, lookup_in};
use serde_json::{Value, json};

use super::command::{self, PreparedCommand};
use super::step::StepPerformer;
use super::{Attempt, Finished, throttling};
use crate::attempt::{self, STDOUT_FILE};
use events::{EVENTS_FILE, Events, INIT_FILE};

/// From the polite signal to the other one: what is being made is waited for, so that the state has it.
const GRACE: Duration = Duration::from_mins(10);
/// Between looks at what the tool has said.
const PAUSE: Duration = Duration::from_millis(200);
/// In the attempt's folder: how long each resource took.
const RESOURCES_FILE: &str = "resources.json";
/// In the folder of the state: resources that may exist and are in no state, until people have looked.
const DOUBTS_FILE: &str = "doubts.json";
/// In the folder of the state: what the program has made.
const STATE_FILE: &str = "terraform.tfstate";
/// In the folder of the state: the values of the variables. They may be secrets.
const VARIABLES_FILE: &str = "variables.tfvars";

pub(super) async fn run(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    what: &ToolStep,
    folder: &Path,
) -> Finished {
    match what.tool {
        Tool::Bicep | Tool::Cdk => command::run(performer, attempt, step, &what.command, folder).await,
        Tool::Terraform => match with_state(performer, attempt, step, what, folder).await {
            Ok(finished) => finished,
            Err(message) => Outcome::failed(FailureClass::Step, message).into(),
        },
    }
}

async fn with_state(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    what: &ToolStep,
    folder: &Path,
) -> Result<Finished, String> {
    let state = performer.workspace.tools(&attempt.deployment.id).join(&step.name);
    let is_cleanup = attempt.step.is_cleanup();
    // The folder is made before anything else is: without it, nothing was.
    if is_cleanup && !state.exists() {
        return Ok(Outcome::Succeeded.into());
    }
    let file = state.join(EVENTS_FILE);
    if !attempt.reattach {
        expect_state(&state)?;
        let unsure = doubts(&state)?;
        if !is_cleanup {
            if !unsure.is_empty() {
                return Err(doubt(&unsure, &state));
            }
            make_private(&state).map_err(|error| format!("cannot make `{}`: {error}", state.display()))?;
            write_variables(&state, attempt, what)?;
        }
        // What earlier attempts have said is over; what was doubtful is written down.
        remove(&file).map_err(|error| format!("cannot remove `{}`: {error}", file.display()))?;
        let _ = remove(&state.join(INIT_FILE));
    }
    let prepared = command::prepare(attempt, &what.command, &step.environment, step.timeout)
        .map_err(|error| error.to_string())?;
    let prepared = PreparedCommand { state: Some(state.clone()), grace: GRACE, ..prepared };
    let mut events = Events::since(&file, if attempt.reattach { 0 } else { length(&file) });
    let outcome = {
        let running = command::execute(performer, attempt, prepared, &step.environment, folder);
        tokio::pin!(running);
        loop {
            tokio::select! {
                outcome = &mut running => break outcome,
                () = tokio::time::sleep(PAUSE) => {}
            }
            for line in events.read() {
                attempt.tell(&line);
            }
        }
    };
    for line in events.read() {
        attempt.tell(&line);
    }
    // The tool writes its state for everybody to read, and secrets are in it. One that is another user's, as of a container, stays so:
    // nobody else can enter the folder.
    for name in [STATE_FILE, "terraform.tfstate.backup"] {
        let _ = fs::set_permissions(state.join(name), fs::Permissions::from_mode(0o600));
    }
    let record = json!({ "version": 1, "tool": what.tool.name(), "resources": events.resources() });
    attempt::write_json(folder, RESOURCES_FILE, &record, Durability::Processes)
        .map_err(|error| format!("cannot write to `{}`: {error}", folder.display()))?;
    let outcome = explained(attempt, throttling::told_apart(outcome, folder), &events, &state);
    if !outcome.is_success() {
        return Ok(command::finished(attempt, step, outcome, folder));
    }
    expect_state(&state)?;
    if !is_cleanup {
        return Ok(deployed(attempt, step, outcome, folder));
    }
    let unsure = doubts(&state)?;
    if !unsure.is_empty() {
        return Err(doubt(&unsure, &state));
    }
    let left = state::known(&state.join(STATE_FILE))?.unwrap_or_default();
    if let Some(first) = left.current.iter().chain(&left.replaced).next() {
        return Err(format!("`{first}` is still in the state `{}`", state.join(STATE_FILE).display()));
    }
    fs::remove_dir_all(&state).map_err(|error| format!("cannot remove `{}`: {error}", state.display()))?;
    // Stays as long as other steps have states.
    let _ = fs::remove_dir(performer.workspace.tools(&attempt.deployment.id));
    Ok(outcome.into())
}

/// The outputs that are there: one that is `null` is not. What the tool calls sensitive is a secret, whatever the manifest knew.
fn deployed(attempt: &Attempt, step: &ManifestStep, outcome: Outcome, folder: &Path) -> Finished {
    let said: Value = fs::read(folder.join(STDOUT_FILE))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let mut step = step.clone();
    if said.is_object() {
        step.outputs.retain(|name, _| said[name].get("value").is_some_and(|value| !value.is_null()));
    }
    for (name, output) in &mut step.outputs {
        output.secret |= said[name]["sensitive"] == Value::Bool(true);
    }
    command::finished(attempt, &step, outcome, folder)
}

/// A failure with the first cause that the tool has named.
fn explained(attempt: &Attempt, outcome: Outcome, events: &Events, state: &Path) -> Outcome {
    let Outcome::Failed(failure) = &outcome else { return outcome };
    if !matches!(failure.class, FailureClass::Step | FailureClass::Throttled) {
        return outcome;
    }
    let Some(cause) = events.first_error().or_else(|| events::of_init(&state.join(INIT_FILE))) else {
        return outcome;
    };
    Outcome::failed(failure.class, attempt.secrets.redactor.text(&cause).into_owned())
}

/// What a killed tool has begun to make, and of which neither its words nor its state say what became of it. It is written down,
/// so that it stays in doubt whatever the tool says of itself later.
fn doubts(state: &Path) -> Result<BTreeSet<String>, String> {
    let file = state.join(DOUBTS_FILE);
    let known: Option<BTreeSet<String>> =
        attempt::read_json(&file).map_err(|error| format!("cannot read `{}`: {error}", file.display()))?;
    let known = known.unwrap_or_default();
    let mut doubts = unsure(state)?;
    doubts.extend(known.iter().cloned());
    if doubts != known {
        attempt::write_json(state, DOUBTS_FILE, &json!(doubts), Durability::Disk)
            .map_err(|error| format!("cannot write `{}`: {error}", file.display()))?;
    }
    Ok(doubts)
}

fn unsure(state: &Path) -> Result<BTreeSet<String>, String> {
    let begun = events::made(&state.join(EVENTS_FILE)).never_ended;
    if begun.is_empty() {
        return Ok(BTreeSet::new());
    }
    let known = state::known(&state.join(STATE_FILE))?.unwrap_or_default();
    // Where one replaces another, the state has its address before: only with both is the new one in it.
    let is_known = |it: &events::Begun| {
        known.current.contains(&it.address) && (!it.replaces || known.replaced.contains(&it.address))
    };
    Ok(begun.into_iter().filter(|it| !is_known(it)).map(|it| it.address).collect())
}

/// A tool that has said that it made something has a state.
fn expect_state(state: &Path) -> Result<(), String> {
    let file = state.join(STATE_FILE);
    if !events::made(&state.join(EVENTS_FILE)).any || state::known(&file)?.is_some() {
        return Ok(());
    }
    Err(format!(
        "resources were made, and there is no state of them in `{}`: put it back from a copy, such as `{STATE_FILE}.backup` beside it, \
         or remove them by hand and then the folder `{}`",
        file.display(),
        state.display()
    ))
}

fn doubt(unsure: &BTreeSet<String>, state: &Path) -> String {
    format!(
        "it was killed while it made {}, and wrote down no end: look whether that exists, remove it by hand, and then the file `{}`; \
         everything else is in the state, and a cleanup destroys it",
        unsure.iter().map(|address| format!("`{address}`")).collect::<Vec<_>>().join(", "),
        state.join(DOUBTS_FILE).display()
    )
}

fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |about| about.len())
}

/// The values of a deployment's cleanup are those with which it was deployed.
fn write_variables(state: &Path, attempt: &Attempt, what: &ToolStep) -> Result<(), String> {
    let mut values = BTreeMap::new();
    for (name, given) in &what.variables {
        let value = given.value.render(Context::Plain, &|path| lookup_in(&attempt.values, path));
        let value = value.map_err(|error| error.to_string())?;
        values.insert(name, if given.is_expression { value } else { quoted(&value) });
    }
    let text: String = values.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let file: PathBuf = state.join(VARIABLES_FILE);
    let options = sb_durable::Options::new().private().survives(Durability::Disk);
    sb_durable::write(&file, options, text.as_bytes())
        .map_err(|error| format!("cannot write `{}`: {error}", file.display()))
}

/// A text as a string of HCL: "Strings and Templates" of its specification.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' | '%' if letters.peek() == Some(&'{') => quoted.extend([letter, letter]),
            letter if letter.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_strings_of_hcl() {
        for (text, expected) in [
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("say \"\\\"", "\"say \\\"\\\\\\\"\""),
            ("${x} %{if} $5 %", "\"$${x} %%{if} $5 %\""),
            ("a\nb\u{1}", "\"a\\nb\\u0001\""),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn what_was_begun_and_is_in_no_state_is_in_doubt() {
        let work = tempfile::tempdir().unwrap();
        let event = |kind: &str, address: &str| {
            format!(
                "{{\"type\":\"{kind}\",\"hook\":{{\"resource\":{{\"addr\":\"{address}\"}},\"action\":\"create\"}}}}\n"
            )
        };
        let write = |name: &str, text: &str| fs::write(work.path().join(name), text).unwrap();
        let in_doubt = || doubts(work.path()).map(|doubts| doubts.into_iter().collect::<Vec<_>>());
        let forget = || fs::remove_file(work.path().join(DOUBTS_FILE)).unwrap();
        assert_eq!(in_doubt(), Ok(vec![]));
        let begun = event("apply_start", "a.x")
            + &event("apply_start", "m.b.y")
            + &event("apply_start", "a.z")
            + &event("apply_complete", "a.z");
        write(EVENTS_FILE, &begun);
        assert_eq!(in_doubt().unwrap(), ["a.x", "m.b.y"]);
        forget();
        write(STATE_FILE, "");
        assert_eq!(in_doubt().unwrap().len(), 2);
        assert!(expect_state(work.path()).unwrap_err().contains("resources were made"));
        forget();
        let state =
            r#"{"resources":[{"mode":"managed","module":"m","type":"b","name":"y","instances":[{}]}]}"#;
        write(STATE_FILE, state);
        assert_eq!(in_doubt().unwrap(), ["a.x"]);
        assert_eq!(expect_state(work.path()), Ok(()));
        // What a later run of the program says of itself decides nothing.
        write(EVENTS_FILE, &(begun + "{\"type\":\"ended\"}\n"));
        assert_eq!(in_doubt().unwrap(), ["a.x"]);
        forget();
        assert_eq!(in_doubt(), Ok(vec![]));
        // One that takes the place of another is known where both are.
        let planned =
            r#"{"type":"planned_change","change":{"resource":{"addr":"m.b.y"},"action":"replace"}}"#;
        write(EVENTS_FILE, &format!("{planned}\n{}", event("apply_start", "m.b.y")));
        assert_eq!(in_doubt().unwrap(), ["m.b.y"]);
        forget();
        write(STATE_FILE, &state.replace("[{}]", r#"[{}, {"deposed": "0a1b"}]"#));
        assert_eq!(in_doubt(), Ok(vec![]));
        write(EVENTS_FILE, &event("apply_start", "a.x"));
        write(STATE_FILE, "{");
        assert!(in_doubt().unwrap_err().contains("cannot read"));
    }
}
