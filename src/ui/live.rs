//! The run as all viewers see it: looked at once a second, whatever their number.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{RwLock, watch};

use crate::schedule::now_ms;
use crate::store::StoreError;
use crate::watch::Watched;
use crate::watch::overview::{Column, Mark};
use sb_load::Progress;
use sb_plan::event::Event;

/// How often the run is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Running steps that are shown.
const RUNNING: usize = 40;
/// Loads whose course is kept, those that began last.
const LOADS: usize = 4;
/// Points of a load's course; when there are more, every other one goes.
const POINTS: usize = 600;

pub(super) struct Live {
    /// Held for writing only while what is new is read.
    pub(super) watched: RwLock<Watched>,
    /// What never changes: applications, deployments, steps.
    graph: Bytes,
    latest: watch::Sender<Arc<Snapshot>>,
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

/// What is sent anew whenever it changes.
#[derive(Clone, Default, PartialEq, Serialize)]
pub(super) struct About {
    /// `waiting`, `running`, `left` or `ended`.
    pub(super) state: &'static str,
    pub(super) runner: Option<u32>,
    pub(super) stopping: Option<String>,
    pub(super) measurement: Option<String>,
    pub(super) cleanup: Option<String>,
    /// Milliseconds since the epoch.
    pub(super) started_ms: i64,
    pub(super) last_ms: i64,
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
    attempt: u32,
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
        Self { watched: RwLock::new(watched), graph, latest: watch::Sender::new(Arc::new(first)) }
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

    pub(super) async fn look_for_ever(&self) -> Result<Infallible, StoreError> {
        let mut tick = tokio::time::interval(LOOK_AGAIN);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look_again().await?;
        }
    }

    pub(super) async fn look_again(&self) -> Result<(), StoreError> {
        let before = Arc::clone(&self.latest.borrow());
        let after = self.look(&before).await?;
        if after != *before {
            self.latest.send_replace(Arc::new(after));
        }
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
        let mut marks = Arc::clone(&before.marks);
        if !touched.is_empty() {
            let marks = Arc::make_mut(&mut marks);
            for id in touched {
                let Some(index) = watched.graph.find(&id) else { continue };
                marks[index.index()] = Mark::of(watched.state.step(&id)).letter() as u8;
            }
        }
        let running = watched.running();
        let mut loads = Arc::clone(&before.loads);
        let place = |id| watched.graph.find(id).map_or(0, petgraph::graph::NodeIndex::index);
        for (step, past) in &running {
            let Some(point) = watched.load_of(step, past.attempts) else { continue };
            let loads = Arc::make_mut(&mut loads);
            let course = loads.entry(place(&step.id)).or_default();
            if course.attempt != past.attempts {
                // New to us; it may have begun before we did.
                *course = Course { attempt: past.attempts, points: Vec::new() };
                watched.course_of(step, past.attempts).into_iter().for_each(|point| course.add(point));
            }
            course.add(point);
        }
        if loads.len() > LOADS {
            let begun =
                |index: &usize| watched.step_at(*index).and_then(|step| watched.past(step)?.started_ms);
            let mut order: Vec<usize> = loads.keys().copied().collect();
            order.sort_by_key(begun);
            let surplus = order.len() - LOADS;
            Arc::make_mut(&mut loads).retain(|index, _| !order[..surplus].contains(index));
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
            stopping: state.stopped.as_ref().map(|(_, why)| why.clone()),
            measurement: state.ended.map(|(measurement, _)| measurement.to_string()),
            cleanup: state.ended.map(|(_, cleanup)| cleanup.to_string()),
            started_ms: watched.row.created_ms,
            last_ms: state.last_ms,
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
            planned: 1,
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
        let mut course = Course { attempt: 1, points: Vec::new() };
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
