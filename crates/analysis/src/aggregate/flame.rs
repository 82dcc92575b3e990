//! Flame graphs as SVG images that need nothing beside them: no script, no font, no request.
//!
//! The root is at the top, and a frame is as wide as its time. The colour is that of the activity, or in a difference that of
//! the change.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::difference::PathDifference;
use super::tree::Stack;
use crate::path::breakdown::Activity;
use crate::report::waterfall_svg::{colour, escaped, legend, shortened};

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 12.0;
const LINE: usize = 20;
const TOP: usize = 92;
/// Narrower frames cannot be seen.
const NARROWEST: f64 = 0.2;
/// Columns of a letter.
const LETTER: f64 = 6.6;
/// A change of this share has the full colour.
const FULL_CHANGE: f64 = 0.5;

const SLOWER: &str = "#d55e00";
const FASTER: &str = "#0072b2";

/// A flame graph, ready to be drawn.
#[derive(Clone, Debug)]
pub struct FlameGraph {
    title: String,
    frames: Vec<Frame>,
    is_difference: bool,
}

#[derive(Clone, Debug)]
struct Frame {
    name: String,
    depth: usize,
    parent: Option<usize>,
    /// Milliseconds with all beneath it: before and after; without a difference both are the same.
    total: [f64; 2],
    /// Milliseconds of its own, by activity; the width of both sides.
    own: [f64; Activity::ALL.len()],
}

impl FlameGraph {
    /// Of stacks, with their times divided by `traces`, so that widths are times per trace.
    pub fn new(title: &str, stacks: &[Stack], traces: u64) -> Self {
        let traces = traces.max(1) as f64;
        let times = stacks.iter().map(|stack| {
            let time = stack.microseconds as f64 / 1e3 / traces;
            (stack.frames.as_slice(), stack.activity, [time, time])
        });
        Self { title: title.to_owned(), frames: frames(times), is_difference: false }
    }

    /// Of what changed: a frame is as wide as the mean of both sides, so what is new and what is gone can be seen.
    pub fn of_difference(title: &str, difference: &[PathDifference]) -> Self {
        // By frames: the largest change first is no order for a picture.
        let mut sorted: Vec<&PathDifference> = difference.iter().collect();
        sorted.sort_by(|left, right| left.frames.cmp(&right.frames));
        let times =
            sorted.into_iter().map(|it| (it.frames.as_slice(), it.activity, [it.before_ms, it.after_ms]));
        Self { title: title.to_owned(), frames: frames(times), is_difference: true }
    }

    /// Writes the image. A tooltip has the figures of a frame.
    pub fn to_svg(&self, out: &mut impl Write) -> fmt::Result {
        let deepest = self.frames.iter().map(|frame| frame.depth).max().unwrap_or(0);
        let height = TOP + (deepest + 1) * LINE + 14;
        writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" role="img">"#
        )?;
        let whole = self.sum();
        writeln!(out, "<title>{}</title>", escaped(&self.title))?;
        writeln!(out, "<desc>{}</desc>", escaped(&self.describe()))?;
        writeln!(out, r##"<rect width="100%" height="100%" fill="#ffffff"/>"##)?;
        writeln!(
            out,
            r#"<text x="12" y="24" font-size="15" font-weight="bold">{}</text><text x="{}" y="24" text-anchor="end">{}</text>"#,
            escaped(&shortened(&self.title, 110)),
            WIDTH - MARGIN,
            escaped(&self.describe())
        )?;
        if self.is_difference {
            writeln!(
                out,
                r#"<rect x="12" y="40" width="10" height="10" fill="{SLOWER}"/><text x="26" y="49" font-size="11">slower</text><rect x="82" y="40" width="10" height="10" fill="{FASTER}"/><text x="96" y="49" font-size="11">faster</text><text x="150" y="49" font-size="11">a frame is as wide as the mean of before and after</text>"#
            )?;
        } else {
            legend(out)?;
        }
        let scale = (WIDTH - 2.0 * MARGIN) / if whole > 0.0 { whole } else { 1.0 };
        // Where the next frame beneath each frame begins; the last is for the roots.
        let mut next: Vec<f64> = vec![0.0; self.frames.len()];
        let mut next_root = MARGIN;
        for (place, frame) in self.frames.iter().enumerate() {
            let width = width_of(frame) * scale;
            let from = frame.parent.map_or(&mut next_root, |parent| &mut next[parent]);
            let x = *from;
            *from += width;
            next[place] = x;
            if width < NARROWEST {
                continue;
            }
            self.draw(out, frame, x, width, whole)?;
        }
        writeln!(out, "</svg>")
    }

    fn draw(&self, out: &mut impl Write, frame: &Frame, x: f64, width: f64, whole: f64) -> fmt::Result {
        let y = TOP + frame.depth * LINE;
        let (fill, opacity) = self.ink(frame);
        let room = ((width - 6.0) / LETTER).max(0.0) as usize;
        let label = if room >= 3 { shortened(&frame.name, room) } else { String::new() };
        let figures = if self.is_difference {
            let [before, after] = frame.total;
            format!("{before:.3} ms before, {after:.3} ms after ({:+.3} ms)", after - before)
        } else {
            let share = if whole > 0.0 { frame.total[0] / whole * 100.0 } else { 0.0 };
            let own: f64 = frame.own.iter().sum();
            format!("{:.3} ms ({share:.1} %), own {own:.3} ms", frame.total[0])
        };
        writeln!(
            out,
            r##"<g><title>{}: {figures}</title><rect x="{x:.2}" y="{y}" width="{:.2}" height="{}" rx="1" fill="{fill}" fill-opacity="{opacity:.2}" stroke="#ffffff" stroke-width="0.5"/><text x="{:.2}" y="{}">{}</text></g>"##,
            escaped(&frame.name),
            width.max(0.3),
            LINE - 2,
            x + 3.0,
            y + 13,
            escaped(&label),
        )
    }

    /// Black text must be readable on it, so colours are pale.
    fn ink(&self, frame: &Frame) -> (&'static str, f64) {
        if self.is_difference {
            let [before, after] = frame.total;
            let change = (after - before) / before.max(after).max(f64::MIN_POSITIVE);
            let strength = (change.abs() / FULL_CHANGE).min(1.0);
            // Below a hundredth, nothing changed that could be seen.
            return match change {
                change if change > 0.01 => (SLOWER, 0.15 + 0.5 * strength),
                change if change < -0.01 => (FASTER, 0.15 + 0.45 * strength),
                _ => ("#888888", 0.2),
            };
        }
        let own = Activity::ALL.into_iter().zip(frame.own).filter(|(_, time)| *time > 0.0);
        own.max_by(|left, right| left.1.total_cmp(&right.1))
            .map_or(("#888888", 0.25), |(activity, _)| (colour(activity), 0.5))
    }

    fn sum(&self) -> f64 {
        self.frames.iter().filter(|frame| frame.parent.is_none()).map(width_of).sum()
    }

    fn describe(&self) -> String {
        let roots = self.frames.iter().filter(|frame| frame.parent.is_none());
        let [before, after] =
            roots.fold([0.0, 0.0], |sum, frame| [sum[0] + frame.total[0], sum[1] + frame.total[1]]);
        if self.is_difference {
            format!("mean on the critical path: {before:.3} ms before, {after:.3} ms after")
        } else {
            format!("mean on the critical path: {before:.3} ms")
        }
    }
}

fn width_of(frame: &Frame) -> f64 {
    f64::midpoint(frame.total[0], frame.total[1])
}

/// One frame for each place, parents before their children.
fn frames<'s>(stacks: impl Iterator<Item = (&'s [String], Activity, [f64; 2])>) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut places: BTreeMap<(Option<usize>, String), usize> = BTreeMap::new();
    for (names, activity, time) in stacks {
        let mut parent = None;
        for (depth, name) in names.iter().enumerate() {
            let place = *places.entry((parent, name.clone())).or_insert_with(|| {
                frames.push(Frame {
                    name: name.clone(),
                    depth,
                    parent,
                    total: [0.0; 2],
                    own: [0.0; Activity::ALL.len()],
                });
                frames.len() - 1
            });
            frames[place].total[0] += time[0];
            frames[place].total[1] += time[1];
            parent = Some(place);
        }
        if let Some(place) = parent {
            frames[place].own[activity as usize] += f64::midpoint(time[0], time[1]);
        }
    }
    frames
}
