//! Runs a plan from Rust, without a terminal: what the steps do arrives as events.
//!
//!     cargo run --example run_plan -- plans/quickstart.toml

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example for people to look at")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use sb::run::{Control, Draft, End, Given, Request, RunEvent, Runs, Setup};
use sb::workspace::{Workspace, absolute};
use sb_plan::event::{Notice, Verdict};
use tokio::sync::mpsc;

fn main() -> ExitCode {
    // Supervisors, loads and local targets are copies of this program.
    if let Some(code) = sb::role::take() {
        return code;
    }
    let plan =
        std::env::args_os().nth(1).map_or_else(|| PathBuf::from("plans/quickstart.toml"), PathBuf::from);
    let ended =
        tokio::runtime::Runtime::new().map_err(Into::into).and_then(|tokio| tokio.block_on(run(plan)));
    match ended {
        Ok(End::Ended { measurement: Verdict::Complete, cleanup: Verdict::Complete }) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: PathBuf) -> Result<End, Box<dyn Error>> {
    let plan = absolute(&plan);
    let draft = Draft::check(Request::plan(plan.clone()), Given::default())?;
    let setup = Setup::new(sb::role::program());
    let runs = Runs::open(&Workspace::of(&plan), setup)?;
    let (events, mut seen) = mpsc::unbounded_channel();
    let watcher = tokio::spawn(async move {
        while let Some(event) = seen.recv().await {
            match event {
                RunEvent::Begun { run, steps, .. } => println!("{run}: {steps} steps"),
                RunEvent::Step(Notice::Ended { step, outcome, took, .. }) => {
                    println!("{step}: {outcome} after {} ms", took.as_millis());
                }
                _ => {}
            }
        }
    });
    let driven = runs.start(draft, &events, &Control::new()).await?;
    drop(events);
    watcher.await?;
    println!("{}: {:?}", driven.run, driven.end);
    Ok(driven.end)
}
