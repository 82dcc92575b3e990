//! Panels: small multiples with curves.

use std::fmt::Write as _;

use plotters::element::{Circle, PathElement, Polygon};
use plotters::style::{Color as _, ShapeStyle};

use crate::axis::{AxisRange, Draw};
use crate::figure::{Axis, Curve, Panel, Panels, Scale, Shape};
use crate::palette::Tone;
use crate::surface::{DOT, Plane, Surface, colour_of, finished, plane, range};
use crate::text::{clean, escaped, number, place, with_unit};

/// The size of the area of a panel, in pixels. A page stretches the width.
pub(crate) const WIDTH: f64 = 300.0;
pub(crate) const HEIGHT: f64 = 180.0;
/// Room for the numbers of the vertical axis, and for numbers and title of the horizontal one.
pub(crate) const LEFT: f64 = 58.0;
pub(crate) const BELOW: f64 = 38.0;

/// How many points all curves of a figure have at most, and a curve in any case.
const POINTS: usize = 200_000;
const POINTS_OF_CURVE: usize = 60;
const MOST_POINTS_OF_CURVE: usize = 1000;

/// A panel that was drawn.
pub(crate) struct DrawnPanel {
    pub(crate) name: String,
    /// The numbers of the vertical axis: elements for a picture that is [`LEFT`] wide.
    pub(crate) side: String,
    /// The rest: elements with horizontal places in per cent.
    pub(crate) area: String,
    /// What the curves are.
    pub(crate) legend: Vec<(Tone, String)>,
}

impl Panels {
    /// Draws the first panels, at most so many.
    pub(crate) fn drawn(&self, most: usize) -> Vec<DrawnPanel> {
        let curves: usize = self.panels.iter().take(most).map(|panel| panel.curves.len()).sum();
        let points = (POINTS / curves.max(1)).clamp(POINTS_OF_CURVE, MOST_POINTS_OF_CURVE);
        self.panels.iter().take(most).map(|panel| self.panel(panel, points)).collect()
    }

    fn panel(&self, panel: &Panel, points: usize) -> DrawnPanel {
        let all = || panel.curves.iter().flat_map(|curve| &curve.points);
        let marks = panel.marks.iter().map(|mark| mark.x);
        let mut x = AxisRange::of(&self.x, all().map(|(x, _)| *x).chain(marks));
        if self.x.range.is_none() && panel.curves.iter().any(|curve| curve.shape == Shape::LineAndPoints) {
            x = AxisRange::new(self.x.clone(), with_margins(self.x.scale, x.range));
        }
        let ends = panel.curves.iter().flat_map(|curve| curve.intervals.iter().flatten());
        let values = all().map(|(_, y)| *y).chain(ends.flat_map(|(low, high)| [*low, *high]));
        let y = AxisRange::new(self.y.clone(), with_room(&self.y, range(&self.y, values)));

        let (lines, dots) = (Surface::new(WIDTH, HEIGHT), Surface::new(WIDTH, HEIGHT));
        let line_plane = plane(&lines, x.coordinate(), y.coordinate());
        let dot_plane = plane(&dots, x.coordinate(), y.coordinate());
        let mut legend = Vec::new();
        for curve in &panel.curves {
            let hidden = curve
                .points
                .iter()
                .filter(|(at, value)| !x.has_place(*at) || (!value.is_nan() && !y.has_place(*value)));
            let mut text = if curve.note.is_empty() {
                curve.name.clone()
            } else {
                format!("{}: {}", curve.name, curve.note)
            };
            match hidden.count() {
                0 => {}
                hidden => {
                    let _ = write!(text, " ({hidden} without a place on the axes)");
                }
            }
            legend.push((curve.tone, text));
            for part in parts(curve, &x, &y) {
                let shown = thinned(part, points);
                draw_part(curve, &shown, (&lines, &line_plane), (&dots, &dot_plane), &self.x, &self.y);
            }
        }
        drop((line_plane, dot_plane));
        let mut over = finished(dots);
        for mark in panel.marks.iter().filter(|mark| x.has_place(mark.x)) {
            let share = x.share(mark.x);
            let at = place(share * 100.0);
            let (anchor, shift) = if share > 0.6 { ("end", -4) } else { ("start", 4) };
            let text = escaped(&clean(&mark.text, 60));
            let _ = write!(
                over,
                r#"<line class="sb-m" x1="{at}%" x2="{at}%" y1="0" y2="{HEIGHT}" data-tip="{text}"/><text class="sb-v" x="{at}%" dx="{shift}" y="12" text-anchor="{anchor}">{text}</text>"#
            );
        }
        if all().next().is_none() {
            over.push_str(r#"<text class="sb-s" x="50%" y="95" text-anchor="middle">no values</text>"#);
        }
        let area = area(&x, &y, &finished(lines), &over);
        DrawnPanel { name: panel.name.clone(), side: side(&y), area, legend }
    }
}

/// A vertical axis begins at zero where it can, and ends above the largest value.
fn with_room(axis: &Axis, (from, to): (f64, f64)) -> (f64, f64) {
    match axis.scale {
        Scale::Logarithmic => (from / 1.2, to * 1.2),
        Scale::Linear if axis.range.is_some() => (from, to + (to - from) * 0.03),
        Scale::Linear if from >= 0.0 => (0.0, to * 1.06),
        Scale::Linear => (from - (to - from) * 0.06, to + (to - from) * 0.06),
    }
}

/// Dots at both ends are not to be cut.
fn with_margins(scale: Scale, (from, to): (f64, f64)) -> (f64, f64) {
    match scale {
        Scale::Linear => (from - (to - from) * 0.03, to + (to - from) * 0.03),
        Scale::Logarithmic => {
            let room = (to / from).powf(0.03);
            (from / room, to * room)
        }
    }
}

type Point = (f64, f64, Option<(f64, f64)>);

/// A curve without its gaps: the parts between them.
fn parts(curve: &Curve, x: &AxisRange, y: &AxisRange) -> Vec<Vec<Point>> {
    let mut parts = vec![Vec::new()];
    for (number, (at, value)) in curve.points.iter().enumerate() {
        if x.has_place(*at) && y.has_place(*value) {
            let interval = curve.intervals.get(number).copied().flatten();
            let interval = interval.filter(|(low, high)| y.has_place(*low) && y.has_place(*high));
            if let Some(part) = parts.last_mut() {
                part.push((*at, *value, interval));
            }
        } else if parts.last().is_some_and(|part| !part.is_empty()) {
            parts.push(Vec::new());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// At most about so many points: of each stretch the first, the lowest, the highest and the last.
fn thinned(points: Vec<Point>, most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points;
    }
    let length = points.len().div_ceil((most / 4).max(1));
    let mut out = Vec::with_capacity(most + 4);
    for stretch in points.chunks(length) {
        let lowest = (0..stretch.len()).min_by(|one, other| stretch[*one].1.total_cmp(&stretch[*other].1));
        let highest = (0..stretch.len()).max_by(|one, other| stretch[*one].1.total_cmp(&stretch[*other].1));
        let mut kept = [Some(0), lowest, highest, Some(stretch.len() - 1)];
        kept.sort_unstable();
        let mut last = None;
        for place in kept.into_iter().flatten() {
            if last != Some(place) {
                out.push(stretch[place]);
                last = Some(place);
            }
        }
    }
    out
}

type Canvas<'a> = (&'a std::rc::Rc<std::cell::RefCell<Surface>>, &'a Plane);

fn draw_part(curve: &Curve, part: &[Point], lines: Canvas, dots: Canvas, x: &Axis, y: &Axis) {
    let style: ShapeStyle = colour_of(curve.tone).filled();
    let band: Vec<_> = part.iter().filter_map(|(at, _, interval)| interval.map(|ends| (*at, ends))).collect();
    // Drawing on a surface cannot fail: the results below are always good.
    if band.len() > 1 {
        let upper = band.iter().map(|(at, (_, high))| (*at, *high));
        let lower = band.iter().rev().map(|(at, (low, _))| (*at, *low));
        let _ = lines.1.draw(&Polygon::new(upper.chain(lower).collect::<Vec<_>>(), style));
    }
    let path: Vec<(f64, f64)> = match curve.shape {
        Shape::Line | Shape::LineAndPoints => part.iter().map(|(at, value, _)| (*at, *value)).collect(),
        Shape::Steps => {
            let mut corners = Vec::with_capacity(part.len() * 2);
            let mut before = 0.0;
            for (at, value, _) in part {
                corners.push((*at, before));
                corners.push((*at, *value));
                before = *value;
            }
            corners
        }
    };
    {
        let mut surface = lines.0.borrow_mut();
        let list = |values: &mut dyn Iterator<Item = f64>| {
            values.map(|value| format!("{}", rounded(value))).collect::<Vec<_>>().join(" ")
        };
        surface.attribute("data-name", &clean(&curve.name, 200));
        surface.attribute("data-x", &list(&mut part.iter().map(|(at, _, _)| *at)));
        surface.attribute("data-y", &list(&mut part.iter().map(|(_, value, _)| *value)));
    }
    let _ = lines.1.draw(&PathElement::new(path, style));
    if curve.shape == Shape::LineAndPoints || part.len() == 1 {
        for (at, value, interval) in part {
            let within = interval.map_or(String::new(), |(low, high)| {
                format!(" (interval {} to {})", number(low), number(high))
            });
            let text = format!(
                "{}: {} at {}{within}",
                curve.name,
                with_unit(*value, &y.unit),
                with_unit(*at, &x.unit)
            );
            dots.0.borrow_mut().tip(&text);
            let _ = dots.1.draw(&Circle::new((*at, *value), DOT, style));
        }
    }
}

/// Seven digits that matter: enough for a tooltip.
fn rounded(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

/// Grid, curves, dots, and the numbers below.
fn area(x: &AxisRange, y: &AxisRange, lines: &str, over: &str) -> String {
    let mut grid = String::new();
    for (at, _) in y.vertical(HEIGHT, 7) {
        let at = place(at);
        let _ = write!(grid, r#"<line class="sb-g" x1="0" x2="100%" y1="{at}" y2="{at}"/>"#);
    }
    let title = escaped(&clean(&x.axis.name(), 60));
    format!(
        r#"<svg class="frame" width="100%" height="{HEIGHT}">{}{grid}<svg class="zoom" x="0%" width="100%" height="{HEIGHT}" overflow="visible"><svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" width="100%" height="{HEIGHT}" overflow="visible">{lines}</svg>{over}</svg></svg><svg y="{HEIGHT}" width="100%" height="{BELOW}" overflow="visible">{}<text class="sb-s" x="50%" y="30" text-anchor="middle">{title}</text></svg>"#,
        x.horizontal(Draw::Lines, 7),
        x.horizontal(Draw::Labels, 7),
    )
}

/// The numbers of the vertical axis, and its title.
fn side(y: &AxisRange) -> String {
    let mut out = String::new();
    for (at, text) in y.vertical(HEIGHT, 7) {
        let _ = write!(
            out,
            r#"<text class="sb-s" x="{}" y="{}" text-anchor="end">{}</text>"#,
            LEFT - 6.0,
            place(at + 4.0),
            escaped(&text)
        );
    }
    let title = escaped(&clean(&y.axis.name(), 40));
    let _ = write!(
        out,
        r#"<text class="sb-s" transform="translate(11 {}) rotate(-90)" text-anchor="middle">{title}</text>"#,
        HEIGHT / 2.0
    );
    out
}
