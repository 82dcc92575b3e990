//! The store on real files.

use serde_json::{Map, json};

use super::*;
use sb_plan::event::{Outcome, Verdict};
use sb_plan::id::StepId;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}

fn run_row(id: &str) -> RunRow {
    RunRow { id: RunId::new(id), created_ms: 5, request: "{}".to_owned(), ended: None }
}

fn deployment(id: &str) -> DeploymentRow {
    DeploymentRow {
        id: DeploymentId::new(id),
        run: RunId::new("r"),
        benchmark: "b".into(),
        target: "t".into(),
        manifest: "/m".into(),
        opened_ms: 7,
        debt: Debt::Open,
        params: Map::from_iter([("p".to_owned(), json!(1))]),
        outputs: Map::new(),
        logs: None,
    }
}

fn ended(step: &str) -> Event {
    Event::StepEnded {
        step: StepId::new(step),
        attempt: 1,
        outcome: Outcome::Succeeded,
        outputs: [("url".to_owned(), json!("http://x"))].into(),
        invalid: vec!["too late".to_owned()],
        took_ms: None,
        retry: false,
    }
}

#[test]
fn what_was_appended_is_there_when_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunId::new("r");
    let events = [Event::RunnerStarted { pid: 1, boot: None, up_ms: None }, ended("a"), ended("b")];
    block_on(async {
        let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
        store.create_run(run_row("r")).await.unwrap();
        let mut changes: Vec<_> = events.iter().map(|e| event(&run, 9, e.clone())).collect();
        changes.push(Change::Open(deployment("d")));
        changes.push(Change::Debt { deployment: DeploymentId::new("d"), debt: Debt::Owed });
        changes.push(Change::Logs { deployment: DeploymentId::new("d"), logs: "/logs/1".into() });
        store.append(changes).await.unwrap();
    });
    block_on(async {
        let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
        let found: Vec<_> =
            store.events(&run).await.unwrap().into_iter().map(|record| record.event).collect();
        assert_eq!(found, events);
        let row = store.deployment(&DeploymentId::new("d")).await.unwrap().unwrap();
        assert_eq!((row.debt, row.logs), (Debt::Owed, Some("/logs/1".into())));
        assert_eq!(store.runs().await.unwrap(), [run_row("r")]);
    });
}

#[test]
fn an_append_is_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
        store.create_run(run_row("r")).await.unwrap();
        let good = event(&RunId::new("r"), 1, ended("a"));
        let bad = event(&RunId::new("unknown run"), 1, ended("a"));
        let refused = store.append(vec![good.clone(), bad]).await.unwrap_err();
        assert!(refused.to_string().contains("is damaged: FOREIGN KEY"), "{refused}");
        assert_eq!(store.events(&RunId::new("r")).await.unwrap(), []);
        store.append(vec![good]).await.unwrap();
        assert_eq!(store.events(&RunId::new("r")).await.unwrap().len(), 1);
    });
}

#[test]
fn appends_of_many_tasks_keep_the_order_of_each() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for run in 0..20 {
            let store = store.clone();
            tasks.spawn(async move {
                let run = RunId::new(format!("r{run}"));
                store.create_run(run_row(run.as_str())).await.unwrap();
                for pid in 0..20 {
                    store
                        .append(vec![event(&run, 1, Event::RunnerStarted { pid, boot: None, up_ms: None })])
                        .await
                        .unwrap();
                }
            });
        }
        tasks.join_all().await;
        for run in 0..20 {
            let records = store.events(&RunId::new(format!("r{run}"))).await.unwrap();
            let pids: Vec<_> = records
                .iter()
                .map(|record| match record.event {
                    Event::RunnerStarted { pid, .. } => pid,
                    _ => u32::MAX,
                })
                .collect();
            assert_eq!(pids, (0..20).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_state_of_a_newer_version_or_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap());
    let file = folder.path().join("state.db");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let message = Store::open(&crate::workspace::Workspace::at(folder.path())).err().unwrap().to_string();
    assert!(message.contains("newer sb") && message.contains("99"), "{message}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state.db"), "this is not a database, it is a text of some length")
        .unwrap();
    let message = Store::open(&crate::workspace::Workspace::at(folder.path())).err().unwrap().to_string();
    assert!(message.contains("is damaged") && message.contains("move it away"), "{message}");
}

/// Made by the version before: runs that were complete, had failed, still owe their cleanup, and were killed.
#[test]
fn a_state_of_the_version_before_opens_and_knows_how_its_runs_ended() {
    let folder = tempfile::tempdir().unwrap();
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-1.db");
    std::fs::copy(stored, folder.path().join("state.db")).unwrap();
    for _ in 0..2 {
        block_on(async {
            let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
            let runs = store.runs().await.unwrap();
            use Verdict::{Complete, Failed};
            let ended: Vec<_> = runs.iter().map(|row| row.ended).collect();
            let owed = Some((Complete, Failed));
            assert_eq!(ended, [None, owed, owed, Some((Failed, Complete)), Some((Complete, Complete))]);
            for row in &runs {
                assert_eq!(store.state(&row.id).await.unwrap().ended, row.ended, "{}", row.id);
            }
            let mut owes = Vec::new();
            for row in &runs {
                owes.push(store.owes(&row.id).await.unwrap());
            }
            assert_eq!(owes, [true, true, true, false, false]);
        });
    }
}

#[test]
fn a_run_that_has_ended_is_known_from_its_row_until_another_runner_takes_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunId::new("r");
    block_on(async {
        let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
        store.create_run(run_row("r")).await.unwrap();
        let end = Event::RunEnded { measurement: Verdict::Invalid, cleanup: Verdict::None, up_ms: None };
        for (given, ended) in [
            (Event::RunnerStarted { pid: 1, boot: None, up_ms: None }, None),
            (end.clone(), Some((Verdict::Invalid, Verdict::None))),
            (Event::RunnerStarted { pid: 2, boot: None, up_ms: None }, None),
            (end, Some((Verdict::Invalid, Verdict::None))),
        ] {
            store.append(vec![event(&run, 1, given)]).await.unwrap();
            assert_eq!(store.run(&run).await.unwrap().unwrap().ended, ended);
        }
    });
}

#[test]
fn a_state_folded_by_the_store_is_that_of_all_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunId::new("r");
    block_on(async {
        let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
        store.create_run(run_row("r")).await.unwrap();
        let started =
            Event::StepStarted { step: StepId::new("a"), attempt: 1, logs: Some("/l".into()), up_ms: None };
        let events =
            [Event::RunnerStarted { pid: 1, boot: None, up_ms: None }, started, ended("a"), ended("b")];
        store.append(events.into_iter().map(|e| event(&run, 3, e)).collect()).await.unwrap();
        let folded = RunState::fold(&store.events(&run).await.unwrap());
        assert_eq!(folded.steps.len(), 2);
        assert_eq!(store.state(&run).await.unwrap(), folded);
    });
}

#[test]
fn a_lock_is_held_by_one_and_names_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
    let run = RunId::new("r");
    assert_eq!(store.runner_of(&run), None);
    let held = store.lock_run(&run).unwrap();
    assert_eq!(store.runner_of(&run), Some(std::process::id()));
    let refused = store.lock_run(&run).unwrap_err().to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    drop(held);
    assert_eq!(store.runner_of(&run), None);
    drop(store.lock_run(&run).unwrap());
}

#[test]
fn secrets_are_readable_by_their_owner_only_and_go_when_there_are_none() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
    let id = DeploymentId::new("a/b@c");
    assert_eq!(store.secrets(&id).unwrap(), Secrets::default());
    let secrets = Secrets { params: [("k".to_owned(), json!("v"))].into(), ..Secrets::default() };
    store.keep_secrets(&id, &secrets).unwrap();
    assert_eq!(store.secrets(&id).unwrap(), secrets);
    let path = folder.path().join("secrets/a%2fb@c.json");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    store.keep_secrets(&id, &Secrets::default()).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_second_process_reads_only_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunId::new("r");
    block_on(async {
        let writer = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
        let reader = Store::open(&crate::workspace::Workspace::at(folder.path())).unwrap();
        writer.create_run(run_row("r")).await.unwrap();
        writer.create_run(run_row("other")).await.unwrap();
        let append = async |run: &RunId, names: &[&str]| {
            let changes = names.iter().map(|name| event(run, 1, ended(name))).collect();
            writer.append(changes).await.unwrap();
        };
        append(&run, &["a", "b", "c"]).await;
        append(&RunId::new("other"), &["x"]).await;
        let names = async |number, limit| {
            let found = reader.events_after(&run, number, limit).await.unwrap();
            found
                .into_iter()
                .map(|(number, record)| match record.event {
                    Event::StepEnded { step, .. } => (number, step.to_string()),
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        };
        let all = names(0, 2).await;
        assert_eq!(all, [(1, "a".to_owned()), (2, "b".to_owned())]);
        assert_eq!(names(2, 100).await, [(3, "c".to_owned())]);
        assert_eq!(names(3, 100).await, []);
        append(&run, &["d"]).await;
        assert_eq!(names(3, 100).await, [(4, "d".to_owned())]);
    });
}

#[test]
fn who_opens_the_state_while_debts_are_made_and_paid_changes_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let workspace = crate::workspace::Workspace::at(folder.path());
    let store = Store::open(&workspace).unwrap();
    block_on(async {
        store.create_run(run_row("r")).await.unwrap();
        store.append(vec![Change::Open(deployment("d"))]).await.unwrap();
    });
    let _runner = store.lock_run(&RunId::new("r")).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(Store::look(&workspace).unwrap().notes(), [""; 0]);
                }
            });
        }
        block_on(async {
            for _ in 0..100 {
                for debt in [Debt::Owed, Debt::Paid] {
                    let change = Change::Debt { deployment: DeploymentId::new("d"), debt };
                    store.append(vec![change]).await.unwrap();
                }
            }
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop(store);
    assert!(Store::recorded(&workspace).unwrap().0.is_empty());
    block_on(async {
        let row =
            Store::open(&workspace).unwrap().deployment(&DeploymentId::new("d")).await.unwrap().unwrap();
        assert_eq!(row.debt, Debt::Paid);
    });
    assert!(!folder.path().join("state.db-wal").exists(), "a store that is closed leaves one file");
}
