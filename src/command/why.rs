//! `sb why`: why a step ran, ran again, was skipped, is waiting, or will run. The journal and the graph say so.

use std::time::Duration;

use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef as _;
use serde::Serialize;

use super::Outcome as Done;
use super::status::{self, Wanted};
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::run::Request;
use crate::schedule::{now_ms, pause_after, retry_of};
use crate::settings::Settings;
use crate::terminal::Terminal;
use sb_plan::event::{Event, FailureClass, Outcome, Record, StopCause};
use sb_plan::graph::{RunGraph, Step, Wait};
use sb_plan::id::{DeploymentId, RunId, StepId};
use sb_plan::plan::Plan;
use sb_plan::run_state::{RunState, StepPhase};

pub(super) async fn why(terminal: &Terminal, settings: &Settings, step: &str, run: Option<String>) -> Done {
    let store = status::open(terminal, settings)?;
    let row = status::wanted_run(&store, run.as_deref().map_or(Wanted::With(step), Wanted::Named)).await?;
    let records = store.events(&row.id).await?;
    let request = Request::read(&row)?;
    let (plan, graph) = request.rebuild(&store, &row.id)?;
    let step = status::find_step(&graph, &row.id, step)?;
    let deployment = request.naming().name(&row.id, &graph.deployments[step.deployment]);
    let asked = Question {
        run: &row.id,
        step,
        deployment,
        plan: &plan,
        graph: &graph,
        state: RunState::fold(&records),
        runner: store.runner_of(&row.id),
        waits: store.waiting(&row.id).into_iter().find(|wait| wait.step == step.id).map(|wait| wait.why),
        now_ms: now_ms(),
    };
    let answer = asked.answer(&records);
    if settings.json() {
        let value = serde_json::to_value(&answer).map_err(std::io::Error::from)?;
        terminal.data(&format!("{value:#}"))?;
    } else {
        let mut text = String::new();
        let _ = answer.render(&mut text);
        terminal.data(&text)?;
    }
    Ok(Exit::Done)
}

struct Question<'a> {
    run: &'a RunId,
    step: &'a Step,
    deployment: DeploymentId,
    plan: &'a Plan,
    graph: &'a RunGraph,
    state: RunState,
    /// The process that works on the run.
    runner: Option<u32>,
    /// What its runner says that the step waits for: a lock of another run.
    waits: Option<String>,
    now_ms: i64,
}

#[derive(Debug, PartialEq, Serialize)]
struct Explanation {
    version: u32,
    run: RunId,
    step: StepId,
    action: &'static str,
    attempts: Vec<Try>,
    /// `waiting`, `running`, `retrying`, `succeeded`, `failed`, `skipped`, `cancelled` or `interrupted`.
    state: &'static str,
    /// One sentence on why it is in this state, and what comes next.
    because: String,
    /// Steps that have to end first, each with what it is at.
    waits_for: Vec<Awaited>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Try {
    number: u32,
    /// Why it was started.
    trigger: String,
    started_ms: i64,
    /// When a new runner took it up while it ran.
    taken_up_ms: Vec<i64>,
    ended_ms: Option<i64>,
    /// How long it took. None: it has not ended, or only the times of clocks are known, between which the clock was set, or
    /// another runner began.
    took_ms: Option<u64>,
    outcome: Option<Outcome>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Awaited {
    step: StepId,
    state: &'static str,
    /// Whether it has to succeed.
    to_succeed: bool,
}

impl Question<'_> {
    fn answer(&self, records: &[Record]) -> Explanation {
        let (because, waits_for) = self.because();
        Explanation {
            version: 1,
            run: self.run.clone(),
            step: self.step.id.clone(),
            action: self.step.action_name(),
            attempts: self.attempts(records),
            state: word(&self.phase(&self.step.id)),
            because,
            waits_for,
        }
    }

    fn phase(&self, step: &StepId) -> StepPhase {
        self.state.step(step).map_or(StepPhase::Waiting, |past| past.phase.clone())
    }

    fn attempts(&self, records: &[Record]) -> Vec<Try> {
        let mut tries: Vec<Try> = Vec::new();
        let mut failures = 0;
        let mut trigger = "what it needs had been done".to_owned();
        // When the attempt before failed, and another one was to follow.
        let mut failed_ms = None;
        for Record { at_ms, event } in records {
            match event {
                Event::StepStarted { step, attempt, .. } if *step == self.step.id => {
                    if let Some(failed_ms) = failed_ms.take() {
                        let of = retry_of(self.step).attempts;
                        // Where the clock was set back in between, nobody knows.
                        let pause = u64::try_from(at_ms - failed_ms).ok();
                        let pause = pause.map_or_else(String::new, |pause| format!("{} ", span(pause)));
                        trigger = format!("attempt {} of {of}, {pause}after the failure", failures + 1);
                    }
                    tries.push(Try {
                        number: *attempt,
                        trigger: trigger.clone(),
                        started_ms: *at_ms,
                        taken_up_ms: vec![],
                        ended_ms: None,
                        took_ms: None,
                        outcome: None,
                    });
                }
                Event::StepEnded { step, attempt, outcome, took_ms, retry, .. } if *step == self.step.id => {
                    failures += u32::from(matches!(outcome, Outcome::Failed(_)));
                    failed_ms = (*retry && matches!(outcome, Outcome::Failed(_))).then_some(*at_ms);
                    trigger.clear();
                    trigger.push_str(match outcome {
                        Outcome::Interrupted => "the attempt before was lost (the machine or its supervisor went down), and `on_interrupt` is \"rerun\"",
                        _ => "the run was taken up again, and this cleanup was still owed",
                    });
                    let ended = tries.last_mut().filter(|last| last.number == *attempt);
                    if let Some(last) = ended {
                        last.ended_ms = Some(*at_ms);
                        let by_clock = || u64::try_from(at_ms - last.started_ms).ok();
                        last.took_ms = took_ms.or_else(|| by_clock().filter(|_| last.taken_up_ms.is_empty()));
                        last.outcome = Some(outcome.clone());
                    }
                }
                Event::RunnerStarted { .. } => {
                    if let Some(running) = tries.last_mut().filter(|last| last.ended_ms.is_none()) {
                        running.taken_up_ms.push(*at_ms);
                    }
                }
                Event::PlanChanged { version, again } if again.contains(&self.step.id) => {
                    (failures, failed_ms) = (0, None);
                    trigger = format!(
                        "a change of the files was accepted (version {version}), after which this step runs again"
                    );
                }
                _ => {}
            }
        }
        tries
    }

    fn because(&self) -> (String, Vec<Awaited>) {
        let done = |text: String| (text, vec![]);
        match self.phase(&self.step.id) {
            StepPhase::Waiting => self.waiting(),
            StepPhase::Running => done(match self.runner {
                Some(runner) => format!("it is running; process {runner} watches it"),
                None => {
                    "it was running when its runner went away: `sb resume` takes up what has become of it"
                        .to_owned()
                }
            }),
            StepPhase::Retrying(outcome) => {
                let past = self.state.step(&self.step.id);
                let failures = past.map_or(0, |past| past.failures);
                let interruptions = past.map_or(0, |past| past.interruptions);
                let pause = pause_after(self.run, self.step, failures, interruptions, &outcome);
                let due = past.and_then(|past| past.ended_ms).unwrap_or(self.now_ms)
                    + i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
                // A clock that was set back makes the pause no longer.
                let longest = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
                let when = match (self.runner, (due - self.now_ms).min(longest)) {
                    (None, _) => "when the run is resumed".to_owned(),
                    (_, left) if left > 0 => format!("in {}", span(left.unsigned_abs())),
                    _ => "as soon as a slot is free".to_owned(),
                };
                let of = retry_of(self.step).attempts;
                done(match outcome {
                    Outcome::Failed(_) => {
                        format!("it {outcome}; attempt {} of {of} follows {when}", failures + 1)
                    }
                    other => format!("it was {other}; it runs again {when}"),
                })
            }
            StepPhase::Ended(outcome) => done(self.ended(&outcome)),
        }
    }

    fn ended(&self, outcome: &Outcome) -> String {
        let failures = self.state.step(&self.step.id).map_or(0, |past| past.failures);
        match outcome {
            Outcome::Succeeded => {
                let invalid = self.state.step(&self.step.id).map(|past| past.invalid.join(" "));
                match invalid.filter(|reasons| !reasons.is_empty()) {
                    Some(reasons) => format!("it ended as it should, but its trial is invalid: {reasons}"),
                    None => "it succeeded; it runs again only if its definition is changed".to_owned(),
                }
            }
            Outcome::Failed(failure) => {
                let retry = retry_of(self.step);
                let why = if self.step.is_cleanup() && self.state.debts.get(&self.deployment) == Some(&true) {
                    format!("its cleanup is still owed, and is tried again by `sb resume {}`", self.run)
                } else if !retry.on.contains(&failure.class) && retry.attempts > 1 {
                    let classes: Vec<_> = retry.on.iter().map(|&class| class_word(class)).collect();
                    format!("not tried again: `retry` is only for {}", classes.join(", "))
                } else if retry.attempts > 1 {
                    format!("not tried again: {failures} of {} attempts have failed", retry.attempts)
                } else {
                    "not tried again: it has no `retry`".to_owned()
                };
                let forgiven = self.step.manifest().is_some_and(|step| step.allow_failure);
                let after = if forgiven { "; what needs it goes on (`allow_failure`)" } else { "" };
                format!("it failed ({}): {}; {why}{after}", class_word(failure.class), failure.message)
            }
            Outcome::Skipped { because } => {
                let (mut root, mut path) = (because.clone(), vec![because.to_string()]);
                while let StepPhase::Ended(Outcome::Skipped { because }) = self.phase(&root) {
                    path.push(because.to_string());
                    root = because;
                }
                let how = match self.phase(&root) {
                    StepPhase::Ended(outcome) => ended_how(&outcome),
                    other => format!("is {}", word(&other)),
                };
                format!("it was skipped, because it needs {}, which {how}", path.join(", which needs "))
            }
            Outcome::Enough { .. } => format!("it {outcome}. So what waits for it is skipped"),
            Outcome::Cancelled => format!("it was cancelled: {}", self.stop()),
            Outcome::Interrupted => {
                "it was lost when the machine or its supervisor went down, while the run was being stopped"
                    .to_owned()
            }
        }
    }

    fn stop(&self) -> String {
        self.state.stopped.as_ref().map_or_else(
            || "the run was being stopped, or its definition changed".to_owned(),
            |(_, why)| why.clone(),
        )
    }

    fn waiting(&self) -> (String, Vec<Awaited>) {
        let Some(index) = self.graph.find(&self.step.id) else { return (String::new(), vec![]) };
        let mut waits_for = Vec::new();
        let mut hopeless = None;
        for edge in self.graph.graph.edges_directed(index, Direction::Incoming) {
            let before = &self.graph.graph[edge.source()];
            let to_succeed = *edge.weight() == Wait::ForSuccess;
            match self.phase(&before.id) {
                StepPhase::Ended(outcome) => {
                    if to_succeed && !counts(before, &outcome) {
                        hopeless.get_or_insert((before.id.clone(), outcome));
                    }
                }
                other => {
                    waits_for.push(Awaited { step: before.id.clone(), state: word(&other), to_succeed });
                }
            }
        }
        let resumed = format!("`sb resume {}` goes on", self.run);
        let text = if let Some(because) =
            self.state.kept.get(&self.deployment).filter(|_| self.step.is_cleanup())
        {
            format!(
                "its deployment is kept, because {because} failed (--keep-on-failure): `sb cleanup {}` runs it",
                self.run
            )
        } else if let Some((cause, why)) = self.state.stopped.as_ref().filter(|_| !self.step.is_cleanup()) {
            let after = match cause {
                StopCause::User => "nothing but cleanup is started any more",
                StopCause::Budget => "only trials that had begun are finished",
            };
            format!("the run was stopped ({why}): {after}")
        } else if let Some((step, outcome)) = hopeless {
            format!("it will be skipped, because it needs {step}, which {}", ended_how(&outcome))
        } else if !waits_for.is_empty() {
            let after = if self.runner.is_none() {
                format!("; no runner works on it: {resumed}")
            } else {
                String::new()
            };
            format!("it waits for what has to end first{after}")
        } else if self.state.ended.is_some() {
            "the run ended without it: nothing was deployed that it could work on".to_owned()
        } else if self.runner.is_none() {
            format!("all that it needs is done, but no runner works on the run: {resumed}, and runs it")
        } else {
            self.slots(index)
        };
        (text, waits_for)
    }

    /// What keeps a step from starting that waits for no other one.
    fn slots(&self, index: NodeIndex) -> String {
        let running: Vec<&Step> = self
            .graph
            .graph
            .node_indices()
            .filter(|&other| other != index)
            .map(|other| &self.graph.graph[other])
            .filter(|step| step.pause().is_none() && self.phase(&step.id) == StepPhase::Running)
            .collect();
        let names = |wanted: &dyn Fn(&Step) -> bool| -> Vec<String> {
            running.iter().filter(|step| wanted(step)).map(|step| step.id.to_string()).collect()
        };
        let limits = &self.plan.concurrency;
        let mut reasons = Vec::new();
        for lock in self.step.manifest().into_iter().flat_map(|step| &step.locks) {
            let limit = self.plan.locks.get(lock).copied().unwrap_or(1) as usize;
            let holders =
                names(&|step| step.manifest().is_some_and(|step| step.locks.iter().any(|held| held == lock)));
            if holders.len() >= limit {
                reasons
                    .push(format!("the lock `{lock}` ({limit} at once) is held by {}", holders.join(", ")));
            }
        }
        let (loads, work) = (names(&|step| step.is_invoke()), names(&|step| !step.is_invoke()));
        if self.step.is_invoke() {
            if limits.quiet && !work.is_empty() {
                reasons.push(format!("`quiet`: no load starts while {} runs", work.join(", ")));
            }
            if loads.len() >= limits.invoke.max(1) as usize {
                reasons.push(format!(
                    "{} at once (`concurrency.invoke`), and {} runs",
                    limits.invoke,
                    loads.join(", ")
                ));
            }
        } else if limits.quiet && !loads.is_empty() {
            reasons
                .push(format!("`quiet`: nothing is deployed or cleaned up while {} runs", loads.join(", ")));
        }
        if self.step.is_deploy() {
            let others = names(&|step| step.is_deploy() && step.deployment != self.step.deployment);
            if others.len() >= limits.deploy.max(1) as usize {
                reasons.push(format!(
                    "{} at once (`concurrency.deploy`), and {} runs",
                    counted(limits.deploy, "deployment"),
                    others.join(", ")
                ));
            }
        }
        if let Some(why) = &self.waits {
            reasons.push(format!("it waits {why}"));
        }
        if reasons.is_empty() {
            "all that it needs is done: it starts now, or after steps of earlier trials".to_owned()
        } else {
            format!("all that it needs is done, but {}", reasons.join("; "))
        }
    }
}

impl Explanation {
    /// Why it is in its state, without the failure that its last attempt shows already.
    fn after_attempts(&self) -> String {
        match self.attempts.last().and_then(|last| last.outcome.as_ref()) {
            Some(Outcome::Failed(failure)) => {
                let said = format!(" ({}): {}", class_word(failure.class), failure.message);
                self.because.replacen(&said, "", 1)
            }
            _ => self.because.clone(),
        }
    }

    fn render(&self, out: &mut impl std::fmt::Write) -> std::fmt::Result {
        writeln!(out, "{}  ({})  run {}", self.step, self.action, self.run)?;
        for attempt in &self.attempts {
            writeln!(
                out,
                "  {}  attempt {}: {}",
                clock(attempt.started_ms),
                attempt.number,
                attempt.trigger
            )?;
            for at in &attempt.taken_up_ms {
                writeln!(out, "  {}  the runner was gone; another one took it up", clock(*at))?;
            }
            if let (Some(ended), Some(outcome)) = (attempt.ended_ms, &attempt.outcome) {
                let class = match outcome {
                    Outcome::Failed(failure) => format!(" ({})", class_word(failure.class)),
                    _ => String::new(),
                };
                let took = attempt.took_ms.map_or_else(String::new, |took| format!(", after {}", span(took)));
                writeln!(out, "  {}  {outcome}{class}{took}", clock(ended))?;
            }
        }
        writeln!(out, "  {}: {}", self.state, self.after_attempts())?;
        for awaited in &self.waits_for {
            let how = if awaited.to_succeed { "has to succeed" } else { "has to end" };
            writeln!(out, "    {} {how}; it is {}", awaited.step, awaited.state)?;
        }
        Ok(())
    }
}

/// Whether steps after this one may go on.
fn counts(step: &Step, outcome: &Outcome) -> bool {
    let forgiven = step.manifest().is_some_and(|step| step.allow_failure);
    outcome.is_success() || (forgiven && matches!(outcome, Outcome::Failed(_)))
}

/// After "which".
fn ended_how(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded | Outcome::Failed(_) | Outcome::Enough { .. } => outcome.to_string(),
        Outcome::Cancelled | Outcome::Interrupted | Outcome::Skipped { .. } => format!("was {outcome}"),
    }
}

fn word(phase: &StepPhase) -> &'static str {
    match phase {
        StepPhase::Waiting => "waiting",
        StepPhase::Running => "running",
        StepPhase::Retrying(_) => "retrying",
        StepPhase::Ended(Outcome::Succeeded | Outcome::Enough { .. }) => "succeeded",
        StepPhase::Ended(Outcome::Failed(_)) => "failed",
        StepPhase::Ended(Outcome::Skipped { .. }) => "skipped",
        StepPhase::Ended(Outcome::Cancelled) => "cancelled",
        StepPhase::Ended(Outcome::Interrupted) => "interrupted",
    }
}

/// As in `retry.on`.
fn class_word(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Step => "failed",
        FailureClass::TimedOut => "timed_out",
        FailureClass::OutOfMemory => "out_of_memory",
        FailureClass::NotStarted => "not_started",
        FailureClass::NoCommand => "no_command",
        FailureClass::EngineUnreachable => "engine_unreachable",
        FailureClass::Throttled => "throttled",
    }
}

/// `2026-01-31 12:00:00Z`
fn clock(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| at_ms.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// Milliseconds for people: to the tenth of a second.
fn span(milliseconds: u64) -> String {
    let tenths = milliseconds / 100 * 100;
    humantime::format_duration(Duration::from_millis(tenths)).to_string()
}
