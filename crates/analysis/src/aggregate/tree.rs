//! The critical paths of many traces as one tree of operations.

use foldhash::{HashMap, HashMapExt as _};
use serde::Serialize;

use super::distribution::Distribution;
use super::typical::{Typical, TypicalTrace};
use crate::operation::Operation;
use crate::path::breakdown::{Activity, Analysis};
use crate::quantiles::Quantiles;
use crate::span::{SpanIndex, Trace};

/// The most nodes of a tree, the most children of one, and the most nodes above one: what exceeds them is counted together, as [`OTHERS`].
const MOST_NODES: usize = 20_000;
const MOST_CHILDREN: usize = 500;
const DEEPEST: u32 = 200;

/// The name of the node for what exceeds the limits.
const OTHERS: &str = "(others)";

/// The critical paths of many traces, merged: operations that are equal, at the same place of the tree, are one node.
///
/// A node is an operation with the operations above it. Operations are equal that have the same service and the same name, ids
/// replaced ([`Operation::stable_name`]). Memory is linear in the nodes, not in the traces: there are at most some 20,000, 500 beneath
/// one, and 200 above one. What exceeds this is counted together, as `(others)`.
#[derive(Clone, Debug, Default)]
pub struct PathTree {
    operations: Vec<Operation>,
    numbers: HashMap<Operation, u32>,
    nodes: Vec<Node>,
    /// By parent (`u32::MAX` for a root) and operation.
    children: HashMap<(u32, u32), u32>,
    durations: Distribution,
    traces: u64,
    /// Microseconds on all paths.
    total: i64,
    typical: Typical,
}

const NO_PARENT: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Node {
    operation: u32,
    parent: u32,
    depth: u32,
    children: u32,
    /// Microseconds of its own, by activity.
    own: [i64; Activity::ALL.len()],
    /// Microseconds on the path with all beneath it.
    total: i64,
    spans: u64,
    traces: u64,
    times: Distribution,
}

/// A node of a [`PathTree`]. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathRow {
    /// The place of the parent in the same list; `None` for a root.
    pub parent: Option<usize>,
    /// How many nodes are above it.
    pub depth: usize,
    /// The operation's name, ids replaced.
    pub name: String,
    /// The service, such as `AWS::S3`; empty for a part of a service.
    pub service: String,
    /// In how many traces it is on the critical path.
    pub traces: u64,
    /// How many of its spans are on critical paths.
    pub spans: u64,
    /// Its time on critical paths, with all beneath it.
    pub total_ms: f64,
    /// Its own time on critical paths.
    pub own_ms: f64,
    /// `total_ms` as a share of the time of all paths: 0 to 1.
    pub share: f64,
    /// Of its time with all beneath it, in the traces that have it on their path.
    pub per_trace_ms: Quantiles,
    /// Its own time by activity, activities without any left out.
    pub activities: Vec<(Activity, f64)>,
}

impl PathTree {
    /// Adds the critical path of a trace.
    pub fn add(&mut self, trace: &Trace<'_>, analysis: &Analysis, file: u32) {
        // The node of each span that was met, and per node the time in this trace.
        let mut places: HashMap<SpanIndex, u32> = HashMap::with_capacity(analysis.path.len());
        let mut spent: HashMap<u32, i64> = HashMap::with_capacity(analysis.path.len());
        let mut way = Vec::new();
        // X-Ray rounds the duration of a trace, but not its spans. Nodes are parts of the path, and traces last as long as
        // their rows say.
        let on_path: i64 = analysis.pieces.iter().map(|piece| piece.end - piece.start).sum();
        let duration = analysis.row.duration;
        for &span in &analysis.path {
            let place = self.place(trace, span, &mut places, &mut way);
            self.nodes[place as usize].spans += 1;
        }
        for piece in &analysis.pieces {
            let place = self.place(trace, piece.span, &mut places, &mut way);
            let length = piece.end - piece.start;
            self.nodes[place as usize].own[piece.activity as usize] += length;
            *spent.entry(place).or_default() += length;
        }
        for &place in places.values() {
            spent.entry(place).or_default();
        }
        // Parents are made before their children.
        let mut order: Vec<u32> = spent.keys().copied().collect();
        order.sort_unstable();
        for &place in order.iter().rev() {
            let time = spent[&place];
            let node = &mut self.nodes[place as usize];
            node.total += time;
            node.traces += 1;
            node.times.add(time);
            if node.parent != NO_PARENT {
                *spent.entry(node.parent).or_default() += time;
            }
        }
        self.traces += 1;
        self.total += on_path;
        self.durations.add(duration);
        self.typical.add(&trace.id, duration, file);
    }

    /// The node of a span, made with those above it where it is new.
    fn place(
        &mut self,
        trace: &Trace<'_>,
        span: SpanIndex,
        places: &mut HashMap<SpanIndex, u32>,
        way: &mut Vec<SpanIndex>,
    ) -> u32 {
        way.clear();
        let mut above = NO_PARENT;
        let mut here = Some(span);
        while let Some(next) = here {
            if let Some(&known) = places.get(&next) {
                above = known;
                break;
            }
            way.push(next);
            here = trace.parent(next);
        }
        while let Some(next) = way.pop() {
            above = self.child(above, Operation::of(trace.span(next)));
            places.insert(next, above);
        }
        above
    }

    fn child(&mut self, parent: u32, operation: Operation) -> u32 {
        let is_others = |node: &Node| self.operations[node.operation as usize].name == OTHERS;
        if self.nodes.get(parent as usize).is_some_and(is_others) {
            return parent;
        }
        if let Some(&number) = self.numbers.get(&operation)
            && let Some(&known) = self.children.get(&(parent, number))
        {
            return known;
        }
        let above = self.nodes.get(parent as usize);
        let (siblings, depth) = above.map_or((0, 0), |above| (above.children as usize, above.depth + 1));
        let is_full = self.nodes.len() >= MOST_NODES || siblings >= MOST_CHILDREN || depth > DEEPEST;
        let others = || Operation { name: OTHERS.to_owned(), service: String::new() };
        let operation = if is_full { others() } else { operation };
        let number = self.number(operation);
        if let Some(&known) = self.children.get(&(parent, number)) {
            return known;
        }
        let place = self.nodes.len() as u32;
        self.nodes.push(Node {
            operation: number,
            parent,
            depth,
            children: 0,
            own: [0; Activity::ALL.len()],
            total: 0,
            spans: 0,
            traces: 0,
            times: Distribution::default(),
        });
        if let Some(node) = self.nodes.get_mut(parent as usize) {
            node.children += 1;
        }
        self.children.insert((parent, number), place);
        place
    }

    fn number(&mut self, operation: Operation) -> u32 {
        let operations = &mut self.operations;
        *self.numbers.entry(operation).or_insert_with_key(|operation| {
            operations.push(operation.clone());
            operations.len() as u32 - 1
        })
    }

    /// How many traces were added.
    pub fn traces(&self) -> u64 {
        self.traces
    }

    /// The time of all paths together, in milliseconds.
    pub fn total_ms(&self) -> f64 {
        self.total as f64 / 1e3
    }

    /// Of the durations, in milliseconds; `None` without traces.
    pub fn durations_ms(&self) -> Option<Quantiles> {
        self.durations.quantiles()
    }

    /// The traces whose durations are nearest to one, in milliseconds; the nearest first. Each is within two thousandths of the
    /// nearest of all traces, as memory is bounded.
    pub fn typical(&self, duration_ms: f64, count: usize) -> Vec<&TypicalTrace> {
        self.typical.nearest((duration_ms * 1e3).round() as i64, count)
    }

    /// The nodes, parents before their children, of siblings the one with the most time first.
    pub fn rows(&self) -> Vec<PathRow> {
        let mut rows: Vec<PathRow> = Vec::with_capacity(self.nodes.len());
        let mut places = vec![usize::MAX; self.nodes.len()];
        for place in self.in_order() {
            let node = &self.nodes[place];
            let operation = &self.operations[node.operation as usize];
            let parent = (node.parent != NO_PARENT).then(|| places[node.parent as usize]);
            places[place] = rows.len();
            let activities = Activity::ALL.into_iter().zip(node.own).filter(|(_, time)| *time != 0);
            let none = Quantiles { p50: 0.0, p95: 0.0, p99: 0.0 };
            rows.push(PathRow {
                parent,
                depth: parent.map_or(0, |parent| rows[parent].depth + 1),
                name: operation.name.clone(),
                service: operation.service.clone(),
                traces: node.traces,
                spans: node.spans,
                total_ms: node.total as f64 / 1e3,
                own_ms: node.own.iter().sum::<i64>() as f64 / 1e3,
                share: node.total as f64 / self.total.max(1) as f64,
                per_trace_ms: node.times.quantiles().unwrap_or(none),
                activities: activities.map(|(activity, time)| (activity, time as f64 / 1e3)).collect(),
            });
        }
        rows
    }

    /// Places of nodes, as [`Self::rows`] has them.
    fn in_order(&self) -> Vec<usize> {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        let mut open = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            match children.get_mut(node.parent as usize) {
                Some(siblings) => siblings.push(place),
                None => open.push(place),
            }
        }
        // On a stack, the last one is taken first.
        let sort = |places: &mut Vec<usize>| {
            places.sort_by(|&left, &right| {
                let (left, right) = (&self.nodes[left], &self.nodes[right]);
                let operation = |node: &Node| &self.operations[node.operation as usize];
                left.total.cmp(&right.total).then_with(|| operation(right).cmp(operation(left)))
            });
        };
        sort(&mut open);
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(place) = open.pop() {
            order.push(place);
            let mut below = std::mem::take(&mut children[place]);
            sort(&mut below);
            open.append(&mut below);
        }
        order
    }

    /// The stacks of operations with their own time on critical paths, in microseconds. What comes before an operation and
    /// is no work of it is a frame of its own, such as `[trigger]`.
    pub fn stacks(&self) -> Vec<Stack> {
        let rows = self.rows();
        let mut stacks = Vec::new();
        let mut frames: Vec<String> = Vec::new();
        for row in &rows {
            frames.truncate(row.depth);
            let operation = Operation { name: row.name.clone(), service: row.service.clone() };
            frames.push(operation.to_string());
            for &(activity, time) in &row.activities {
                let mut frames = frames.clone();
                if activity.is_before() {
                    frames.push(format!("[{}]", activity.name()));
                }
                let microseconds = (time * 1e3).round() as u64;
                stacks.push(Stack { frames, activity, microseconds });
            }
        }
        stacks
    }
}

/// A stack of operations, from the root on, and the own time of the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Names of operations, with their services.
    pub frames: Vec<String>,
    /// What the time is spent on.
    pub activity: Activity,
    /// On critical paths, of all traces together.
    pub microseconds: u64,
}

/// Folded stacks, as tools for flame graphs read them: `root;call;part 1234`, in microseconds.
pub fn folded(stacks: &[Stack]) -> String {
    let mut lines: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for stack in stacks {
        *lines.entry(folded_frames(&stack.frames)).or_default() += stack.microseconds;
    }
    lines.into_iter().map(|(frames, time)| format!("{frames} {time}\n")).collect()
}

/// A semicolon separates frames and a line break ends the stack, so neither can stand in one.
pub(crate) fn folded_frames(frames: &[String]) -> String {
    let plain = |frame: &String| {
        frame
            .chars()
            .map(|it| {
                if it == ';' {
                    ','
                } else if it.is_control() {
                    ' '
                } else {
                    it
                }
            })
            .collect::<String>()
    };
    frames.iter().map(plain).collect::<Vec<_>>().join(";")
}
