//! The scheduler with an executor that plays a script, on a real store in a temporary folder.

mod interruptions;
mod past;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::execute::fake::Fake;
use crate::execute::{Finished, Produced};
use crate::store::{Debt, RunRow, event};
use sb_plan::benchmark::{
    Action, Benchmark, Command, Environment, ManifestStep, OnInterrupt, Phase, Retry, Traces,
};
use sb_plan::event::{Event, FailureClass, Notice, Outcome, Record};
use sb_plan::graph;
use sb_plan::manifest::read::Snapshot;
use sb_plan::plan::{Concurrency, Entry, LatencyFigure, Overrides, Timing, Until, expand};
use sb_plan::validate;

fn step(phase: Phase, name: &str, needs: &[&str]) -> ManifestStep {
    let command = sb_workload::template::Template::parse("true").unwrap();
    ManifestStep {
        phase,
        name: name.to_owned(),
        needs: needs.iter().map(|&name| name.to_owned()).collect(),
        action: Action::Run(Command::Shell(command)),
        contents: BTreeMap::new(),
        environment: Environment::default(),
        timeout: None,
        retry: Retry::once(),
        allow_failure: false,
        recover: vec![],
        outputs: BTreeMap::new(),
        on_interrupt: OnInterrupt::Rerun,
        locks: vec![],
    }
}

/// Two deploy steps, one invoke step, two cleanup steps, traces.
fn steps() -> Vec<ManifestStep> {
    vec![
        step(Phase::Deploy, "a", &[]),
        step(Phase::Deploy, "b", &["a"]),
        step(Phase::Invoke, "load", &[]),
        step(Phase::Cleanup, "x", &[]),
        step(Phase::Cleanup, "y", &["x"]),
    ]
}

/// A checked plan, with these applications and steps put in the place of its own.
fn plan(applications: &[&str], steps: &[ManifestStep]) -> Plan {
    let manifest = "[benchmark]\nname = \"app\"\n[targets.local]\ntraces = \"local\"\n\
        [[deploy]]\nname = \"stack\"\nrun = \"true\"\n[[invoke]]\nname = \"load\"\nrun = \"true\"\n";
    let plan = "[plan]\nname = \"test\"\n[[applications]]\nmanifest = \"benchmark.toml\"\n\
        [trials]\norder = \"interleaved\"\nseed = 1\n[load]\niterations = 1\n";
    let files = Snapshot::new([("/nowhere/benchmark.toml", manifest), ("/nowhere/plan.toml", plan)]);
    let checked = validate::plan(&files, "/nowhere/plan.toml".as_ref(), &Overrides::default());
    let mut plan = checked.value.unwrap_or_else(|| panic!("{:?}", checked.problems));
    let entry = plan.entries.remove(0);
    let mut benchmark = Benchmark::clone(&entry.benchmark);
    let target = benchmark.targets.get_mut("local").unwrap();
    let phase = |phase| steps.iter().filter(|step| step.phase == phase).cloned().map(Arc::new).collect();
    target.traces = Traces::Local;
    target.deploy = phase(Phase::Deploy);
    target.invoke = phase(Phase::Invoke);
    target.cleanup = phase(Phase::Cleanup);
    let benchmark = Arc::new(benchmark);
    plan.entries = applications
        .iter()
        .map(|&application| Entry {
            application: application.to_owned(),
            benchmark: Arc::clone(&benchmark),
            ..entry.clone()
        })
        .collect();
    plan.timing = Timing::default();
    plan.concurrency = Concurrency { deploy: 4, invoke: 1, quiet: false, together: false };
    plan
}

struct Outcomes {
    end: End,
    log: Vec<String>,
    /// What was told of steps that waited for other runs.
    waiting: Vec<String>,
    /// Beginnings and ends of steps, in the order in which people hear of them.
    told: Vec<String>,
    records: Vec<Record>,
    debts: Vec<Debt>,
    folders: BTreeMap<String, Vec<PathBuf>>,
    most_running: usize,
}

struct Case {
    plan: Plan,
    fake: Fake,
    /// Events that an earlier runner left.
    before: Vec<Event>,
    /// How far in the future it left them: the clock was set back since.
    before_ms: i64,
    /// Whether deployments that are over are left out of the graph.
    set_aside: bool,
    stop_after: Option<Duration>,
    policy: Policy,
    shared: Option<crate::store::Shared>,
}

impl Case {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            fake: Fake::default(),
            before: vec![],
            before_ms: 0,
            set_aside: false,
            stop_after: None,
            policy: Policy::default(),
            shared: None,
        }
    }

    fn script(mut self, step: &str, ends: Vec<Finished>) -> Self {
        self.fake.script.insert(step.to_owned(), ends);
        self
    }

    fn takes(mut self, step: &str, milliseconds: u64) -> Self {
        self.fake.takes.insert(step.to_owned(), Duration::from_millis(milliseconds));
        self
    }

    fn run(self) -> Outcomes {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(self.drive())
    }

    async fn drive(self) -> Outcomes {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
        let run = RunId::new("r");
        store
            .create_run(RunRow { id: run.clone(), created_ms: 0, request: "{}".into(), ended: None })
            .await
            .unwrap();
        let mut changes: Vec<_> =
            self.before.into_iter().map(|e| event(&run, now_ms() + self.before_ms, e)).collect();
        if !changes.is_empty() {
            store.append(std::mem::take(&mut changes)).await.unwrap();
        }
        let debts = store.state(&run).await.unwrap().debts;
        for (index, deployment) in expand(&self.plan).deployments.iter().enumerate() {
            let id = Naming::OfRun.name(&run, deployment);
            let debt = match debts.get(&id) {
                Some(false) => Debt::Paid,
                None if index > 0 || store.events(&run).await.unwrap().is_empty() => continue,
                _ => Debt::Owed,
            };
            let mut live =
                deployments::LiveDeployment::open(&self.plan, deployment, id, &run, &store, now_ms())
                    .unwrap();
            live.row.debt = debt;
            changes.push(crate::store::Change::Open(live.row));
        }
        if !changes.is_empty() {
            store.append(changes).await.unwrap();
        }
        let (graph, past) = if self.set_aside {
            past::left(&self.plan, &store, &run).await
        } else {
            (graph::build(&self.plan, expand(&self.plan), Parts::ALL), Past::default())
        };
        let before = store.state(&run).await.unwrap();
        let fake = Arc::new(self.fake);
        let (notices, mut watch) = mpsc::unbounded_channel();
        let (stop, stops) = mpsc::unbounded_channel();
        if let Some(after) = self.stop_after {
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                let _ = stop.send(Stop::Finish);
            });
        }
        let executor: Arc<dyn Execute> = fake.clone();
        let job = Job {
            run: run.clone(),
            plan: self.plan,
            graph,
            past,
            parts: Parts::ALL,
            policy: self.policy,
            naming: Naming::OfRun,
            store: store.clone(),
            shared: self.shared.unwrap_or_else(|| {
                crate::store::Shared::new(
                    &crate::workspace::Workspace::at(folder.path()),
                    folder.path().join("machine"),
                    run.clone(),
                )
            }),
            executor,
            prices: sb_plan::plan::Prices::built_in(),
            notices,
        };
        let driven = tokio::time::timeout(Duration::from_mins(1), drive(job, &before, stops)).await;
        let Driven { end, folders } = driven.unwrap().unwrap();
        let (mut waiting, mut told) = (Vec::new(), Vec::new());
        while let Ok(notice) = watch.try_recv() {
            match notice {
                Notice::Waiting { step, why } => waiting.push(format!("{step} {why}")),
                Notice::Started { step, .. } => told.push(format!("start {step}")),
                Notice::Ended { step, .. } => told.push(format!("end {step}")),
                _ => {}
            }
        }
        Outcomes {
            end,
            waiting,
            told,
            log: fake.log(),
            records: store.events(&run).await.unwrap(),
            folders,
            debts: store.deployments().await.unwrap().into_iter().map(|row| row.debt).collect(),
            most_running: fake.most_running.load(std::sync::atomic::Ordering::SeqCst),
        }
    }
}

fn failed() -> Finished {
    Outcome::failed(FailureClass::Step, "exit code 1").into()
}

fn complete() -> End {
    End::Ended { measurement: Verdict::Complete, cleanup: Verdict::Complete }
}

impl Outcomes {
    /// The steps that were started, in order, without the deployment's key.
    fn started(&self) -> Vec<&str> {
        self.log
            .iter()
            .filter_map(|line| line.strip_prefix("start "))
            .map(|line| line.split_once('/').unwrap().1)
            .collect()
    }

    fn position(&self, line: &str) -> usize {
        self.log.iter().position(|l| l == line).unwrap_or_else(|| panic!("no `{line}` in {:#?}", self.log))
    }

    fn outcome(&self, id: &str) -> Outcome {
        let state = sb_plan::run_state::RunState::fold(&self.records);
        match &state.step(&sb_plan::id::StepId::new(id)).unwrap_or_else(|| panic!("no step {id}")).phase {
            sb_plan::run_state::StepPhase::Ended(outcome) => outcome.clone(),
            other => panic!("{id} has not ended: {other:?}"),
        }
    }
}

#[test]
fn steps_run_in_order_and_the_debt_is_paid() {
    let ran = Case::new(plan(&["app"], &steps())).run();
    assert_eq!(ran.end, complete());
    assert_eq!(
        ran.started(),
        [
            "deploy/a 1",
            "deploy/b 1",
            "t1/invoke/load 1",
            "t1/get-traces 1",
            "t1/analyze-traces 1",
            "cleanup/x 1",
            "cleanup/y 1"
        ]
    );
    assert_eq!(ran.debts, [Debt::Paid]);
}

#[test]
fn the_debt_is_in_the_journal_before_the_first_deploy_step() {
    let ran = Case::new(plan(&["app"], &steps())).run();
    let position = |wanted: fn(&Event) -> bool| ran.records.iter().position(|r| wanted(&r.event)).unwrap();
    let debt = position(|event| matches!(event, Event::DebtRecorded { .. }));
    let started = position(|event| matches!(event, Event::StepStarted { .. }));
    assert!(debt < started, "{:#?}", ran.records);
}

#[test]
fn cleanup_runs_after_a_failed_deploy() {
    let ran = Case::new(plan(&["app"], &steps())).script("app.1/deploy/a", vec![failed()]).run();
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Failed, cleanup: Verdict::Complete });
    assert_eq!(ran.started(), ["deploy/a 1", "cleanup/x 1", "cleanup/y 1"]);
    assert!(matches!(ran.outcome("app.1/t1/analyze-traces"), Outcome::Skipped { .. }));
    assert_eq!(ran.debts, [Debt::Paid]);
}

#[test]
fn all_cleanup_steps_run_even_after_one_fails_and_the_debt_stays() {
    let ran = Case::new(plan(&["app"], &steps())).script("app.1/cleanup/x", vec![failed()]).run();
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Complete, cleanup: Verdict::Failed });
    assert!(ran.started().contains(&"cleanup/y 1"));
    assert_eq!(ran.debts, [Debt::Owed]);
}

#[test]
fn a_failed_application_does_not_stop_the_others() {
    let ran = Case::new(plan(&["one", "two"], &steps())).script("one.1/deploy/b", vec![failed()]).run();
    assert!(ran.outcome("two.1/t1/analyze-traces").is_success());
    assert_eq!(ran.debts, [Debt::Paid, Debt::Paid]);
}

#[test]
fn a_failed_step_is_tried_again_as_often_as_it_says() {
    let mut steps = steps();
    steps[0].retry = Retry::times(3, Duration::from_millis(5));
    let good = Finished::from(Outcome::Succeeded);
    let ran =
        Case::new(plan(&["app"], &steps)).script("app.1/deploy/a", vec![failed(), failed(), good]).run();
    assert_eq!(ran.end, complete());
    assert_eq!(ran.started()[..4], ["deploy/a 1", "deploy/a 2", "deploy/a 3", "deploy/b 1"]);

    let ran = Case::new(plan(&["app"], &steps)).script("app.1/deploy/a", vec![failed()]).run();
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Failed, cleanup: Verdict::Complete });
    assert_eq!(ran.started().iter().filter(|line| line.starts_with("deploy/a")).count(), 3);
}

#[test]
fn an_allowed_failure_does_not_stop_what_follows() {
    let mut steps = steps();
    steps[0].allow_failure = true;
    let ran = Case::new(plan(&["app"], &steps)).script("app.1/deploy/a", vec![failed()]).run();
    assert_eq!(ran.end, complete());
}

#[test]
fn loads_leave_the_machine_one_at_a_time_while_deployments_run_side_by_side() {
    let applications = ["one", "two", "three"];
    let mut case = Case::new(plan(&applications, &steps()));
    for application in applications {
        case = case.takes(&format!("{application}.1/deploy/a"), 50);
        case = case.takes(&format!("{application}.1/t1/invoke/load"), 30);
    }
    let ran = case.run();
    assert_eq!(ran.end, complete());
    assert_eq!(ran.most_running, 3);
    let mut loading = 0;
    for line in ran.log.iter().filter(|line| line.contains("invoke/load")) {
        loading += if line.starts_with("start") { 1 } else { -1 };
        assert!((0..=1).contains(&loading), "{:#?}", ran.log);
    }
}

#[test]
fn deployments_being_made_at_once_are_limited() {
    let mut plan = plan(&["one", "two", "three"], &steps());
    plan.concurrency.deploy = 1;
    plan.concurrency.invoke = 9;
    let mut case = Case::new(plan);
    for application in ["one", "two", "three"] {
        case = case.takes(&format!("{application}.1/deploy/a"), 20);
    }
    let ran = case.run();
    let mut deploying = 0;
    for line in ran.log.iter().filter(|line| line.contains("/deploy/")) {
        deploying += if line.starts_with("start") { 1 } else { -1 };
        assert!((0..=1).contains(&deploying), "{:#?}", ran.log);
    }
}

#[test]
fn with_quiet_nothing_else_runs_beside_a_load() {
    let mut plan = plan(&["one", "two", "three"], &steps());
    plan.concurrency.quiet = true;
    let mut case = Case::new(plan);
    for (index, application) in ["one", "two", "three"].into_iter().enumerate() {
        case = case.takes(&format!("{application}.1/deploy/a"), 10 + 20 * index as u64);
        case = case.takes(&format!("{application}.1/t1/invoke/load"), 25);
    }
    let ran = case.run();
    assert_eq!(ran.end, complete());
    let (mut loads, mut others) = (0, 0);
    for line in &ran.log {
        let change = if line.starts_with("start") { 1 } else { -1 };
        if line.contains("invoke/load") {
            loads += change;
        } else {
            others += change;
        }
        assert!(loads == 0 || others == 0, "{:#?}", ran.log);
    }
}

#[test]
fn pauses_hold_no_slot() {
    let mut plan = plan(&["one", "two"], &steps());
    plan.timing.before_traces = Duration::from_millis(700);
    let begun = std::time::Instant::now();
    let ran = Case::new(plan).run();
    assert_eq!(ran.end, complete());
    let both_waited_together = begun.elapsed() < Duration::from_millis(1390);
    assert!(both_waited_together, "{:?}", begun.elapsed());
    assert!(ran.position("start two.1/t1/invoke/load 1") < ran.position("start one.1/t1/get-traces 1"));
}

#[test]
fn a_run_goes_on_while_a_long_log_is_cleared_of_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("app.1/deploy/a");
    std::fs::create_dir_all(&logs).unwrap();
    let log = logs.join("1.log");
    std::fs::write(&log, [&vec![b'x'; 128 << 20][..], b" hush-hush"].concat()).unwrap();
    let mut made = Finished::from(Outcome::Succeeded);
    made.outputs.insert("token".into(), Produced { value: json!("hush-hush"), secret: true });
    let mut case = Case::new(plan(&["app", "other"], &steps())).script("app.1/deploy/a", vec![made]);
    case.fake.logs = folder.path().to_owned();
    let ran = case.run();
    assert_eq!(ran.end, complete());
    let place = |line: &str| ran.told.iter().position(|told| told == line).unwrap();
    assert!(place("start other.1/deploy/b") < place("end app.1/deploy/a"), "{:#?}", ran.told);
    assert!(place("start app.1/deploy/b") < place("end app.1/deploy/a"), "{:#?}", ran.told);
    let kept = std::fs::read(&log).unwrap();
    assert!(kept.ends_with(b"x ***"), "hidden when the run has ended");
}

#[test]
fn outputs_reach_the_journal_and_secret_ones_do_not() {
    let mut good = Finished::from(Outcome::Succeeded);
    good.outputs.insert("endpoint".into(), Produced { value: json!("http://x"), secret: false });
    good.outputs.insert("token".into(), Produced { value: json!("hush"), secret: true });
    let ran = Case::new(plan(&["app"], &steps())).script("app.1/deploy/a", vec![good]).run();
    let journal = format!("{:?}", ran.records);
    assert!(journal.contains("http://x") && !journal.contains("hush"));
}

#[test]
fn a_stopped_run_cancels_what_runs_and_cleans_up() {
    let mut case = Case::new(plan(&["app", "later"], &steps())).takes("app.1/t1/invoke/load", 10_000);
    case = case.takes("later.1/deploy/a", 10_000);
    case.stop_after = Some(Duration::from_millis(200));
    let ran = case.run();
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Cancelled, cleanup: Verdict::Complete });
    assert_eq!(ran.outcome("app.1/t1/invoke/load"), Outcome::Cancelled);
    assert!(ran.started().contains(&"cleanup/y 1"));
    assert_eq!(ran.debts, [Debt::Paid, Debt::Paid]);
}

#[test]
fn a_spent_error_budget_starts_no_further_trial() {
    let mut plan = plan(&["app"], &steps());
    plan.trials_per_deployment = 3;
    plan.budget.errors = Some(1);
    let ran = Case::new(plan).script("app.1/t1/invoke/load", vec![failed()]).run();
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Failed, cleanup: Verdict::Complete });
    assert_eq!(ran.started(), ["deploy/a 1", "deploy/b 1", "t1/invoke/load 1", "cleanup/x 1", "cleanup/y 1"]);
    // Only what comes after the failure is said to be skipped for it.
    let skipped = ran.records.iter().filter_map(|record| match &record.event {
        Event::StepEnded { step, outcome: Outcome::Skipped { .. }, .. } => Some(step.as_str()),
        _ => None,
    });
    assert_eq!(skipped.collect::<Vec<_>>(), ["app.1/t1/get-traces", "app.1/t1/analyze-traces"]);
}

/// A plan whose deployments need two to four trials.
fn until_precise() -> Plan {
    let mut plan = plan(&["app"], &steps());
    plan.trials_per_deployment = 4;
    plan.until = Some(Until { of: LatencyFigure::P50, relative_width: 0.1, confidence: 0.95, min: 2 });
    plan
}

fn enough() -> Outcome {
    Outcome::Enough { why: "it is precise enough".to_owned() }
}

#[test]
fn a_decision_that_there_are_enough_trials_skips_the_rest() {
    let ran = Case::new(until_precise()).script("app.1/t3/decide", vec![enough().into()]).run();
    assert_eq!(ran.end, complete(), "what is not needed is no failure");
    let started = ran.started();
    let trials: Vec<_> = started.iter().filter(|line| line.starts_with('t')).copied().collect();
    let of_trial =
        |trial: u32| ["invoke/load", "get-traces", "analyze-traces"].map(|step| format!("t{trial}/{step} 1"));
    let mut expected: Vec<String> = (1..=3).flat_map(of_trial).collect();
    expected.insert(6, "t2/decide 1".to_owned());
    expected.push("t3/decide 1".to_owned());
    assert_eq!(trials, expected);
    assert_eq!(ran.outcome("app.1/t3/decide"), enough());
    let because = sb_plan::id::StepId::new("app.1/t3/decide");
    assert_eq!(ran.outcome("app.1/t4/invoke/load"), Outcome::Skipped { because });
    assert_eq!(ran.debts, [Debt::Paid]);
}

#[test]
fn after_the_first_decision_that_is_enough_no_other_is_made() {
    let ran = Case::new(until_precise()).script("app.1/t2/decide", vec![enough().into()]).run();
    assert_eq!(ran.end, complete());
    assert!(!ran.started().iter().any(|line| line.starts_with("t3") || line.starts_with("t4")));
    let because = sb_plan::id::StepId::new("app.1/t2/decide");
    assert_eq!(ran.outcome("app.1/t3/decide"), Outcome::Skipped { because });
}

#[test]
fn without_enough_precision_all_trials_are_done() {
    let ran = Case::new(until_precise()).script("app.1/t2/invoke/load", vec![failed()]).run();
    let started = ran.started();
    assert!(started.contains(&"t4/analyze-traces 1"), "a trial that failed is decided on, too: {started:?}");
    assert!(!started.contains(&"t4/decide 1"), "after the last there is nothing to decide");
}

#[test]
fn a_decision_is_kept_by_the_next_runner_and_made_again_where_it_was_cut_off() {
    let before = |last: Vec<Event>| -> Vec<Event> {
        let mut events = vec![Event::DebtRecorded { deployment: DeploymentId::new("r.app.1") }];
        let mut done = vec!["deploy/a".to_owned(), "deploy/b".to_owned()];
        for trial in 1..=2 {
            done.extend(
                ["invoke/load", "get-traces", "analyze-traces"].map(|step| format!("t{trial}/{step}")),
            );
        }
        for step in done {
            let id = format!("app.1/{step}");
            events.extend([started(&id, 1), ended(&id, Outcome::Succeeded, false)]);
        }
        events.extend(last);
        events
    };
    let begun = started("app.1/t2/decide", 1);
    // Killed after the decision: what follows is skipped, and nothing is decided anew.
    let mut case = Case::new(until_precise());
    case.before = before(vec![begun.clone(), ended("app.1/t2/decide", enough(), false)]);
    let ran = case.run();
    assert_eq!(ran.end, complete());
    assert_eq!(ran.started(), ["cleanup/x 1", "cleanup/y 1"]);
    // Killed while it decided: it is decided again, as the same attempt.
    let mut case = Case::new(until_precise()).script("app.1/t2/decide", vec![enough().into()]);
    case.before = before(vec![begun]);
    let ran = case.run();
    assert_eq!(ran.end, complete());
    assert_eq!(ran.log.first().map(String::as_str), Some("reattach app.1/t2/decide 1"));
    assert!(!ran.log.iter().any(|line| line.contains("/t3/")), "{:?}", ran.log);
}

#[test]
fn a_budget_that_is_spent_ends_trials_before_they_are_precise() {
    let mut plan = until_precise();
    plan.budget.errors = Some(1);
    let ran = Case::new(plan).script("app.1/t1/invoke/load", vec![failed()]).run();
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Failed, cleanup: Verdict::Complete });
    assert_eq!(ran.started(), ["deploy/a 1", "deploy/b 1", "t1/invoke/load 1", "cleanup/x 1", "cleanup/y 1"]);
}

#[test]
fn repetitions_of_an_application_follow_each_other_with_a_redeployment() {
    let mut plan = plan(&["app"], &steps());
    plan.repetitions = 2;
    plan.trials_per_deployment = 2;
    let ran = Case::new(plan).run();
    assert_eq!(ran.end, complete());
    assert!(ran.position("end app.1/cleanup/y 1") < ran.position("start app.2/deploy/a 1"));
    assert!(ran.position("end app.1/t1/analyze-traces 1") < ran.position("start app.1/t2/invoke/load 1"));
}

/// What an earlier runner had journaled when it was killed, and what the next one does.
#[track_caller]
fn check_resume(before: Vec<Event>, expected_first: &[&str]) {
    let mut case = Case::new(plan(&["app"], &steps()));
    case.before = before;
    let ran = case.run();
    assert_eq!(ran.end, complete());
    assert_eq!(
        ran.log.iter().filter(|line| !line.starts_with("end")).take(expected_first.len()).collect::<Vec<_>>(),
        expected_first
    );
    assert_eq!(ran.debts, [Debt::Paid]);
}

fn started(id: &str, attempt: u32) -> Event {
    Event::StepStarted { step: sb_plan::id::StepId::new(id), attempt, logs: None, up_ms: None }
}

fn ended(id: &str, outcome: Outcome, retry: bool) -> Event {
    let step = sb_plan::id::StepId::new(id);
    Event::StepEnded {
        step,
        attempt: 1,
        outcome,
        outputs: BTreeMap::new(),
        invalid: vec![],
        took_ms: None,
        retry,
    }
}

#[test]
fn a_resumed_run_reattaches_to_what_was_running() {
    let debt = Event::DebtRecorded { deployment: DeploymentId::new("r.app.1") };
    check_resume(
        vec![debt.clone(), started("app.1/deploy/a", 1)],
        &["reattach app.1/deploy/a 1", "start app.1/deploy/b 1"],
    );
    check_resume(
        vec![debt.clone(), started("app.1/deploy/a", 1), ended("app.1/deploy/a", Outcome::Succeeded, false)],
        &["start app.1/deploy/b 1"],
    );
    check_resume(
        vec![debt, started("app.1/deploy/a", 1), ended("app.1/deploy/a", Outcome::Interrupted, true)],
        &["start app.1/deploy/a 2"],
    );
}

#[test]
fn what_was_begun_before_the_machine_was_started_is_told_apart() {
    let debt = Event::DebtRecorded { deployment: DeploymentId::new("r.app.1") };
    let runner =
        |boot: Option<&str>| Event::RunnerStarted { pid: 1, boot: boot.map(str::to_owned), up_ms: None };
    let begun = || started("app.1/deploy/a", 1);
    let (this, other) = (Some("this boot"), Some("another boot"));
    for (events, word) in [
        (vec![runner(this), debt.clone(), begun()], "reattach"),
        (vec![runner(other), debt.clone(), begun()], "recover"),
        // A runner of this boot that was killed before it knew what had become of the step.
        (vec![runner(other), debt.clone(), begun(), runner(this)], "recover"),
        (vec![runner(other), debt.clone(), runner(this), begun()], "reattach"),
        // Noted by no runner: of a version whose claims outlived the machine.
        (vec![runner(None), debt.clone(), begun()], "reattach"),
    ] {
        check_resume(events, &[&format!("{word} app.1/deploy/a 1"), "start app.1/deploy/b 1"]);
    }
}

#[test]
fn a_pause_that_goes_on_after_a_resume_lasts_as_long_as_the_machine_says() {
    let began = |up_ms| {
        let settle = sb_plan::id::StepId::new("app.1/t1/settle");
        vec![
            Event::RunnerStarted { pid: 1, boot: Some("this boot".to_owned()), up_ms: None },
            Event::DebtRecorded { deployment: DeploymentId::new("r.app.1") },
            started("app.1/deploy/a", 1),
            ended("app.1/deploy/a", Outcome::Succeeded, false),
            started("app.1/deploy/b", 1),
            ended("app.1/deploy/b", Outcome::Succeeded, false),
            Event::StepStarted { step: settle, attempt: 1, logs: None, up_ms: Some(up_ms) },
        ]
    };
    let hour_ms = 3_600_000;
    // By the clock an hour is left, and two hours are over: it was set by hours since. In truth hardly anything is left.
    for before_ms in [0, -2 * hour_ms] {
        let mut plan = plan(&["app"], &steps());
        plan.timing.before_invoke = Duration::from_hours(1);
        let mut case = Case::new(plan);
        case.before = began(dispatch::up_ms() - hour_ms + 200);
        case.before_ms = before_ms;
        let ran = case.run();
        assert_eq!(ran.end, complete());
        let took = ran.records.iter().find_map(|record| match &record.event {
            Event::StepEnded { step, took_ms, .. } if step.as_str() == "app.1/t1/settle" => Some(*took_ms),
            _ => None,
        });
        let took = i64::try_from(took.flatten().unwrap()).unwrap();
        assert!((hour_ms..hour_ms + 60_000).contains(&took), "{took}");
    }
}

#[test]
fn a_run_stopped_by_a_killed_runner_only_cleans_up() {
    let mut case = Case::new(plan(&["app"], &steps()));
    case.before = vec![
        Event::DebtRecorded { deployment: DeploymentId::new("r.app.1") },
        started("app.1/deploy/a", 1),
        ended("app.1/deploy/a", Outcome::Succeeded, false),
        Event::StopRequested { why: "stopped".into(), cause: sb_plan::event::StopCause::User },
    ];
    let ran = case.run();
    assert_eq!(ran.started(), ["cleanup/x 1", "cleanup/y 1"]);
    assert_eq!(ran.debts, [Debt::Paid]);
}

#[test]
fn locks_limit_steps_of_different_applications() {
    let mut steps = steps();
    steps[0].locks = vec!["region".to_owned()];
    let mut plan = plan(&["one", "two"], &steps);
    plan.locks.insert("region".to_owned(), 1);
    let takes = HashMap::from([("one.1/deploy/a", 40), ("two.1/deploy/a", 40)]);
    let mut case = Case::new(plan);
    for (step, takes) in takes {
        case = case.takes(step, takes);
    }
    let ran = case.run();
    assert!(ran.position("end one.1/deploy/a 1") < ran.position("start two.1/deploy/a 1"));
}

#[test]
#[ignore = "needs: alone"]
fn twenty_thousand_deployments_that_are_ready_at_once_do_not_slow_each_other_down() {
    let names: Vec<String> = (0..20_000).map(|number| format!("app{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut plan = plan(&names, &[step(Phase::Deploy, "a", &[]), step(Phase::Cleanup, "x", &[])]);
    plan.concurrency.deploy = 2000;
    let ran = Case::new(plan).run();
    assert_eq!(ran.end, complete());
    assert_eq!(ran.debts.len(), 20_000);
    assert!(ran.debts.iter().all(|debt| *debt == Debt::Paid));
}

#[test]
fn a_deployment_that_is_being_made_goes_on_while_no_other_may_begin() {
    let mut steps = steps();
    steps[1].needs = vec![];
    let mut plan = plan(&["one", "two"], &steps);
    plan.concurrency.deploy = 1;
    let ran = Case::new(plan).takes("one.1/deploy/a", 60).takes("one.1/deploy/b", 60).run();
    assert!(ran.position("start one.1/deploy/b 1") < ran.position("end one.1/deploy/a 1"));
    assert!(ran.position("end one.1/deploy/b 1") < ran.position("start two.1/deploy/a 1"));
}

#[test]
fn a_step_that_waits_for_a_lock_holds_back_none_that_does_not() {
    let mut steps = steps();
    steps[0].locks = vec!["region".to_owned()];
    let mut plan = plan(&["one", "two", "three"], &steps);
    plan.entries[2].benchmark = {
        let mut free = (*plan.entries[2].benchmark).clone();
        for target in free.targets.values_mut() {
            for step in &mut target.deploy {
                Arc::make_mut(step).locks.clear();
            }
        }
        Arc::new(free)
    };
    let ran = Case::new(plan).takes("one.1/deploy/a", 80).takes("two.1/deploy/a", 80).run();
    assert!(ran.position("start three.1/deploy/a 1") < ran.position("end one.1/deploy/a 1"));
    assert!(ran.position("end one.1/deploy/a 1") < ran.position("start two.1/deploy/a 1"));
}

#[test]
fn only_the_classes_of_a_retry_are_tried_again() {
    let mut steps = steps();
    steps[0].retry = Retry { on: vec![FailureClass::TimedOut], ..Retry::times(3, Duration::ZERO) };
    let timed_out = Finished::from(Outcome::failed(FailureClass::TimedOut, "too slow"));
    let ran = Case::new(plan(&["app"], &steps)).script("app.1/deploy/a", vec![timed_out, failed()]).run();
    assert_eq!(ran.started()[..2], ["deploy/a 1", "deploy/a 2"]);
    assert!(!ran.started().contains(&"deploy/a 3"), "it failed otherwise");
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Failed, cleanup: Verdict::Complete });
}

#[test]
fn pauses_between_attempts_grow() {
    let mut steps = steps();
    steps[0].retry = Retry { backoff: 3.0, ..Retry::times(3, Duration::from_millis(40)) };
    let ran = Case::new(plan(&["app"], &steps)).script("app.1/deploy/a", vec![failed()]).run();
    let times: Vec<_> = ran
        .records
        .iter()
        .filter(|record| {
            matches!(&record.event, Event::StepStarted { step, .. } | Event::StepEnded { step, .. }
                if step.as_str() == "app.1/deploy/a")
        })
        .map(|record| record.at_ms)
        .collect();
    // Started, ended, started, ended …
    let (first, second) = (times[2] - times[1], times[4] - times[3]);
    assert!(first >= 40 && second >= 120 && first < second, "{times:?}");
}

#[test]
fn a_deployment_with_a_failure_is_kept_and_the_others_are_cleaned_up() {
    let mut case = Case::new(plan(&["one", "two"], &steps())).script("one.1/deploy/b", vec![failed()]);
    case.policy.keep_on_failure = true;
    let ran = case.run();
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Failed, cleanup: Verdict::Kept });
    assert!(ran.log.iter().all(|line| !line.contains("one.1/cleanup")), "{:#?}", ran.log);
    assert!(ran.outcome("two.1/cleanup/y").is_success());
    let mut debts = ran.debts.clone();
    debts.sort_by_key(|debt| *debt == Debt::Owed);
    assert_eq!(debts, [Debt::Paid, Debt::Owed]);
    let kept: Vec<_> = ran
        .records
        .iter()
        .filter_map(|record| match &record.event {
            Event::DeploymentKept { deployment, because } => Some((deployment.as_str(), because.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(kept, [("r.one.1", "one.1/deploy/b")], "told once, though there are two cleanup steps");
}

#[test]
fn nothing_is_kept_without_a_failure_of_weight() {
    let mut steps = steps();
    steps[0].allow_failure = true;
    let mut case = Case::new(plan(&["app"], &steps)).script("app.1/deploy/a", vec![failed()]);
    case.policy.keep_on_failure = true;
    assert_eq!(case.run().end, complete());

    let mut case = Case::new(plan(&["app"], &steps)).takes("app.1/deploy/b", 5000);
    case.policy.keep_on_failure = true;
    case.stop_after = Some(Duration::from_millis(300));
    let ran = case.run();
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Cancelled, cleanup: Verdict::Complete });
}

#[test]
fn a_throttled_fetch_of_traces_is_tried_again_unasked() {
    let throttled = Finished::from(Outcome::failed(FailureClass::Throttled, "too fast"));
    let mut case = Case::new(plan(&["app"], &steps())).script("app.1/t1/get-traces", vec![throttled]);
    // Longer than the case lasts: the pause itself is the proof.
    case.stop_after = Some(Duration::from_millis(500));
    let ran = case.run();
    let retried = ran.records.iter().any(|record| {
        matches!(&record.event, Event::StepEnded { step, retry: true, .. }
            if step.as_str() == "app.1/t1/get-traces")
    });
    assert!(retried, "{:#?}", ran.records);
}

/// A plan whose one application sends 1000 invocations a trial at 0.01 USD each.
fn dear(applications: &[&str]) -> Plan {
    let mut steps = steps();
    steps[2].action = Action::Load;
    let mut plan = plan(applications, &steps);
    for entry in &mut plan.entries {
        let benchmark = Arc::make_mut(&mut entry.benchmark);
        let target = benchmark.targets.get_mut("local").unwrap();
        target.usage = Some(sb_plan::benchmark::Usage {
            per_invocation: BTreeMap::from([("usd".to_owned(), 0.01)]),
            per_deployment: BTreeMap::from([("usd".to_owned(), 3.0)]),
        });
        Arc::make_mut(&mut entry.points[0].load).shape =
            sb_workload::LoadShape::Iterations { iterations: 1000 };
    }
    plan
}

#[test]
fn a_spent_cost_budget_starts_no_further_trial() {
    // 3 for the deployment, 10 for each trial: the second reaches 23.
    for (limit, trials) in [(13.0, 1), (13.5, 2), (23.0, 2), (100.0, 4)] {
        let mut plan = dear(&["app"]);
        plan.trials_per_deployment = 4;
        plan.budget.cost_usd = Some(limit);
        let ran = Case::new(plan).run();
        let loads = ran.started().iter().filter(|step| step.contains("invoke/load")).count();
        assert_eq!(loads, trials, "{limit}: {:?}", ran.log);
        assert_eq!(ran.debts, [Debt::Paid]);
    }
}

#[test]
fn what_an_earlier_runner_spent_counts() {
    let mut plan = dear(&["app"]);
    plan.trials_per_deployment = 4;
    plan.budget.cost_usd = Some(23.0);
    let mut case = Case::new(plan);
    case.before = vec![
        Event::DebtRecorded { deployment: DeploymentId::new("r.app.1") },
        started("app.1/deploy/a", 1),
        ended("app.1/deploy/a", Outcome::Succeeded, false),
        started("app.1/deploy/b", 1),
        ended("app.1/deploy/b", Outcome::Succeeded, false),
        started("app.1/t1/invoke/load", 1),
        ended("app.1/t1/invoke/load", Outcome::Succeeded, false),
    ];
    let ran = case.run();
    let loads: Vec<_> = ran.started().into_iter().filter(|step| step.contains("invoke/load")).collect();
    assert_eq!(loads, ["t2/invoke/load 1"], "{:?}", ran.log);
}

#[test]
fn a_wait_of_the_manifest_holds_no_lock() {
    let mut steps = steps();
    steps[1].action = Action::Wait(Duration::from_millis(5));
    for step in &mut steps {
        step.locks = vec!["region".to_owned()];
    }
    let ran = Case::new(plan(&["one", "two"], &steps)).run();
    assert_eq!(ran.end, complete());
}

#[test]
fn loads_that_are_ready_go_before_the_traces_of_earlier_ones() {
    let mut plan = plan(&["one", "two", "three"], &steps());
    plan.concurrency.quiet = true;
    plan.trials_per_deployment = 2;
    let mut case = Case::new(plan);
    for name in ["one", "two", "three"] {
        // All are deployed at the same time, however slow the machine: a load that waits for quiet lets no further work begin.
        case = case.takes(&format!("{name}.1/deploy/b"), 500);
        case = case.takes(&format!("{name}.1/t1/invoke/load"), 60);
    }
    let ran = case.run();
    let traces = ran.position("start one.1/t1/get-traces 1");
    assert!(ran.position("start two.1/t1/invoke/load 1") < traces, "{:?}", ran.log);
    assert!(ran.position("start three.1/t1/invoke/load 1") < traces, "{:?}", ran.log);
    // But not before those of a whole round.
    assert!(traces < ran.position("start one.1/t2/invoke/load 1"), "{:?}", ran.log);
    assert!(ran.position("start three.1/t1/get-traces 1") < ran.position("start two.1/t2/invoke/load 1"));
}

/// Another run holds a lock for a while: what waits for it, and nothing else, is told, and the run ends well.
#[track_caller]
fn check_shared(
    quiet: bool,
    hold: impl FnOnce(&crate::store::Shared) -> crate::store::Taken,
    waits: &[&str],
) {
    let folder = tempfile::tempdir().unwrap();
    let shared = |run: &str| {
        crate::store::Shared::new(
            &crate::workspace::Workspace::at(folder.path()),
            folder.path().join("machine"),
            RunId::new(run),
        )
    };
    let held = hold(&shared("other"));
    assert!(matches!(held, crate::store::Taken::Held(_)));
    let mut steps = steps();
    steps[1].locks = vec!["region".to_owned()];
    let mut plan = plan(&["app"], &steps);
    plan.concurrency.quiet = quiet;
    let mut case = Case::new(plan);
    case.shared = Some(shared("r"));
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(600));
        drop(held);
    });
    let ran = case.run();
    release.join().unwrap();
    assert_eq!(ran.end, complete());
    let told: Vec<&str> = ran
        .waiting
        .iter()
        .map(|wait| wait.split_once(" (process").map_or(wait.as_str(), |(what, _)| what))
        .collect();
    assert_eq!(told, waits);
    let free = shared("third");
    for taken in [free.invoke(1), free.quiet(), free.named("region", 1), free.next_for_quiet()] {
        assert!(matches!(taken.unwrap(), crate::store::Taken::Held(_)), "nothing is held after the end");
    }
}

#[test]
fn a_load_waits_for_that_of_another_run() {
    let waits = ["app.1/t1/invoke/load for lock `invoke`, held by run other"];
    check_shared(false, |other| other.invoke(1).unwrap(), &waits);
    check_shared(true, |other| other.invoke(2).unwrap(), &waits);
}

#[test]
fn work_waits_for_the_quiet_load_of_another_run_and_such_a_load_for_its_work() {
    let work = ["app.1/deploy/a for lock `quiet`, held by run other"];
    check_shared(true, |other| other.quiet().unwrap(), &work);
    check_shared(false, |other| other.quiet().unwrap(), &work);
    let load = ["app.1/t1/invoke/load for lock `quiet`, held by run other"];
    check_shared(true, |other| other.work(false).unwrap(), &load);
    check_shared(false, |other| other.work(false).unwrap(), &[]);
}

#[test]
fn a_step_waits_for_a_named_lock_that_another_run_of_the_workspace_holds() {
    let waits = ["app.1/deploy/b for lock `region`, held by run other"];
    check_shared(true, |other| other.named("region", 1).unwrap(), &waits);
    check_shared(true, |other| other.named("elsewhere", 1).unwrap(), &[]);
}
