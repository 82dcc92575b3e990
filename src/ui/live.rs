//! A run as all viewers see it: looked at once a second at most, whatever their number, and not at all without any.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Mutex, RwLock, watch};

use crate::schedule::now_ms;
use crate::store::StoreError;
use crate::watch::overview::{Column, Mark};
use crate::watch::{Watched, is_load};
use sb_load::Progress;
use sb_plan::event::Event;
use sb_plan::id::RunId;

/// How often the run is looked at.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Running steps that are shown.
const RUNNING: usize = 40;
/// Loads whose course is kept, those that began last.
const LOADS: usize = 4;
/// Points of a load's course; when there are more, every other one goes.
const POINTS: usize = 600;

pub(super) struct Live {
    id: RunId,
    /// Held for writing only while what is new is read.
    pub(super) watched: RwLock<Watched>,
    /// What never changes: applications, deployments, steps.
    graph: Bytes,
    latest: watch::Sender<Arc<Snapshot>>,
    /// When the run was looked at last.
    looked: Mutex<Option<Instant>>,
}

/// A run at one moment.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Snapshot {
    /// Of the last event.
    pub(super) number: i64,
    /// The letter of each step, in the order of the graph.
    pub(super) marks: Arc<Vec<u8>>,
    pub(super) about: About,
    pub(super) loads: Arc<BTreeMap<usize, Course>>,
}

/// A prediction is no more exact than this.
const PREDICTED_TO_MS: i64 = 10_000;

/// What is sent anew whenever it changes.
#[derive(Clone, Default, PartialEq, Serialize)]
pub(super) struct About {
    /// `running`, `left` or `ended`.
    pub(super) state: &'static str,
    pub(super) runner: Option<u32>,
    /// What the run waits for, where none of its steps runs.
    pub(super) waits_for: Option<String>,
    pub(super) stopping: Option<String>,
    pub(super) measurement: Option<String>,
    pub(super) cleanup: Option<String>,
    /// Milliseconds since the epoch.
    pub(super) started_ms: i64,
    pub(super) last_ms: i64,
    /// When the run is predicted to end, to some seconds.
    pub(super) ends_ms: Option<i64>,
    pub(super) running: Vec<ShownStep>,
    /// How many run in all.
    pub(super) running_count: usize,
}

#[derive(Clone, PartialEq, Serialize)]
pub(super) struct ShownStep {
    /// Its place in the graph.
    step: usize,
    attempt: u32,
    started_ms: Option<i64>,
    /// How far it is, where that is known.
    words: Option<String>,
}

/// How a load went so far.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Course {
    pub(super) points: Vec<Progress>,
}

impl Course {
    fn add(&mut self, point: Progress) {
        // The same file read twice: nothing new was written.
        if self.points.last().is_some_and(|last| last.elapsed_s >= point.elapsed_s) {
            return;
        }
        if self.points.len() >= POINTS {
            let mut place = 0;
            self.points.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        self.points.push(point);
    }
}

impl Live {
    pub(super) fn new(watched: Watched) -> Self {
        let graph = Bytes::from(describe(&watched).to_string());
        let marks = vec![b'w'; watched.graph.graph.node_count()];
        let first = Snapshot { marks: Arc::new(marks), ..Snapshot::default() };
        Self {
            id: watched.row.id.clone(),
            watched: RwLock::new(watched),
            graph,
            latest: watch::Sender::new(Arc::new(first)),
            looked: Mutex::new(None),
        }
    }

    pub(super) fn id(&self) -> &RunId {
        &self.id
    }

    pub(super) fn graph(&self) -> &Bytes {
        &self.graph
    }

    pub(super) fn viewers(&self) -> usize {
        self.latest.receiver_count()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.latest.subscribe()
    }

    /// The folder of the invocation that a step last worked on.
    pub(super) async fn logs_of(&self, index: usize) -> Option<PathBuf> {
        let watched = self.watched.read().await;
        let step = watched.step_at(index)?;
        watched.past(step)?.logs.clone()
    }

    /// Looks at the run, unless somebody just did.
    pub(super) async fn look_again(&self) -> Result<(), StoreError> {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return Ok(());
        }
        let before = Arc::clone(&self.latest.borrow());
        let after = self.look(&before).await?;
        if after != *before {
            self.latest.send_replace(Arc::new(after));
        }
        *looked = Some(Instant::now());
        Ok(())
    }

    async fn look(&self, before: &Snapshot) -> Result<Snapshot, StoreError> {
        let mut touched = Vec::new();
        let mut watched = self.watched.write().await;
        watched
            .refresh(|record, _| {
                if let Event::StepStarted { step, .. } | Event::StepEnded { step, .. } = &record.event {
                    touched.push(step.clone());
                }
            })
            .await?;
        let watched = watched.downgrade();
        let mut touched: Vec<_> = touched.iter().filter_map(|id| watched.graph.find(id)).collect();
        touched.sort_unstable();
        touched.dedup();
        let mut marks = Arc::clone(&before.marks);
        if !touched.is_empty() {
            let marks = Arc::make_mut(&mut marks);
            for &index in &touched {
                let past = watched.past(&watched.graph.graph[index]);
                marks[index.index()] = Mark::of(past).letter() as u8;
            }
        }
        let running = watched.running();
        let place = |id| watched.graph.find(id).map_or(0, petgraph::graph::NodeIndex::index);
        let mut loads = Arc::clone(&before.loads);
        let going: Vec<usize> =
            running.iter().filter(|(step, _)| is_load(step)).map(|(step, _)| place(&step.id)).collect();
        let ended = touched.iter().filter(|index| is_load(&watched.graph.graph[**index]));
        let mut shown: Vec<usize> = loads.keys().chain(&going).copied().collect();
        shown.extend(ended.map(|index| index.index()));
        // Those that began last.
        shown.sort_by_key(|&index| {
            let began = watched.step_at(index).and_then(|step| watched.past(step)?.started_ms);
            std::cmp::Reverse((began, index))
        });
        shown.dedup();
        shown.truncate(LOADS);
        let is_new = |index: usize| touched.iter().any(|node| node.index() == index);
        if shown.iter().any(|&index| is_new(index) || going.contains(&index)) {
            let loads = Arc::make_mut(&mut loads);
            loads.retain(|index, _| shown.contains(index));
            for index in shown {
                let Some(step) = watched.step_at(index) else { continue };
                let Some(past) = watched.past(step) else { continue };
                if is_new(index) {
                    // What the file says at a load's end is final; a load that has begun may be ahead of us.
                    let mut course = Course::default();
                    watched.course_of(step, past.attempts).into_iter().for_each(|point| course.add(point));
                    loads.insert(index, course);
                }
                if let Some(point) = watched.load_of(step, past.attempts) {
                    loads.entry(index).or_default().add(point);
                }
            }
            loads.retain(|_, course| !course.points.is_empty());
        }
        let state = &watched.state;
        let runner = watched.runner();
        let about = About {
            state: match (&state.ended, runner) {
                (Some(_), _) => "ended",
                (None, Some(_)) => "running",
                (None, None) => "left",
            },
            runner,
            waits_for: watched.waits_for(),
            stopping: state.stopped.as_ref().map(|(_, why)| why.clone()),
            measurement: state.ended.map(|(measurement, _)| measurement.to_string()),
            cleanup: state.ended.map(|(_, cleanup)| cleanup.to_string()),
            started_ms: watched.row.created_ms,
            last_ms: state.last_ms,
            ends_ms: watched.remaining(now_ms()).map(|rest| {
                // Told anew only when it has changed by more than that.
                let end = now_ms().saturating_add(i64::try_from(rest.as_millis()).unwrap_or(i64::MAX));
                end / PREDICTED_TO_MS * PREDICTED_TO_MS
            }),
            running: running
                .iter()
                .take(RUNNING)
                .map(|(step, past)| ShownStep {
                    step: place(&step.id),
                    attempt: past.attempts,
                    started_ms: past.started_ms,
                    words: watched.last_words(step, past.attempts),
                })
                .collect(),
            running_count: running.len(),
        };
        Ok(Snapshot { number: watched.number(), marks, about, loads })
    }
}

/// Names once, numbers elsewhere: a plan may have a hundred thousand steps.
fn describe(watched: &Watched) -> serde_json::Value {
    let applications: Vec<_> = watched.plan.entries.iter().map(|entry| &entry.application).collect();
    let deployments: Vec<_> = watched
        .graph
        .deployments
        .iter()
        .map(|deployment| json!([deployment.entry, deployment.key]))
        .collect();
    let steps: Vec<_> = watched
        .steps()
        .map(|step| {
            let key = &watched.graph.deployments[step.deployment].key;
            let id = step.id.as_str();
            let name = id.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(id);
            json!([step.deployment, Column::of(step) as usize, name, step.action_name()])
        })
        .collect();
    json!({
        "version": 1,
        "run": watched.row.id,
        "plan": watched.plan.name,
        "now_ms": now_ms(),
        "columns": Column::ALL.map(Column::name),
        "applications": applications,
        "deployments": deployments,
        "steps": steps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(elapsed_s: f64) -> Progress {
        Progress {
            planned: Some(1),
            sent: 0,
            answered: 0,
            failed: 0,
            dropped: 0,
            in_flight: 0,
            p50_ms: None,
            p95_ms: None,
            p99_ms: None,
            elapsed_s,
            expected_s: None,
        }
    }

    #[test]
    fn the_course_of_a_long_load_is_bounded_and_keeps_its_beginning_and_end() {
        let mut course = Course::default();
        for second in 0..10_000 {
            course.add(at(f64::from(second)));
            course.add(at(f64::from(second)));
            assert!(course.points.len() <= POINTS);
        }
        assert!(course.points.len() > POINTS / 4);
        assert!(course.points[0].elapsed_s < 0.5 && course.points.last().unwrap().elapsed_s > 9_998.5);
        assert!(course.points.is_sorted_by(|left, right| left.elapsed_s < right.elapsed_s));
    }
}
