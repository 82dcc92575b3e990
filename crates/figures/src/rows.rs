//! Drawings in rows: bars and timelines. Each row is a picture of its own, as wide as it is given room.

use plotters::element::Rectangle;
use plotters::style::{Color as _, ShapeStyle};

use crate::axis::AxisRange;
use crate::figure::{Axis, Bars, Layout, Order, Part, Scale, Timeline};
use crate::surface::{Coordinate, Surface, colour_of, finished, plane};
use crate::text::{escaped, number, place, width, with_unit};

/// A drawing in rows.
pub(crate) struct Rows {
    pub(crate) axis: AxisRange,
    pub(crate) legend: Vec<Part>,
    pub(crate) rows: Vec<DrawnRow>,
}

/// A row: what stands before it, its picture, what stands behind it.
pub(crate) struct DrawnRow {
    pub(crate) name: String,
    pub(crate) label: String,
    /// Elements with horizontal places in per cent.
    pub(crate) plot: String,
    /// In pixels.
    pub(crate) height: f64,
}

/// The width for which texts inside of bars are chosen, in pixels.
const USUAL_WIDTH: f64 = 520.0;
/// The height of a stacked bar and of one of several bars of a row, in pixels.
const STACK: f64 = 20.0;
const BAR: f64 = 12.0;

/// The width of the unit square in which rows are drawn: places are per cent of it.
const CANVAS: f64 = 1000.0;

impl Bars {
    /// The places of the rows in the order in which they are shown. It is stable: equal rows stay as they are given.
    pub(crate) fn ordered(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.rows.len()).collect();
        if self.order == Order::LargestFirst {
            let size = |place: usize| -> f64 {
                let known = self.rows[place].values.iter().flatten().filter(|value| value.is_finite());
                known
                    .fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value.abs()))
                    .unwrap_or(-1.0)
            };
            let sizes: Vec<f64> = places.iter().map(|place| size(*place)).collect();
            places.sort_by(|one, other| sizes[*other].total_cmp(&sizes[*one]));
        }
        places
    }

    fn range(&self) -> (f64, f64) {
        let mut range = (0.0_f64, 0.0_f64);
        for row in &self.rows {
            let known = row.values.iter().flatten().copied().filter(|value| value.is_finite());
            let (low, high) = match self.layout {
                Layout::Stacked => known.fold((0.0, 0.0), |(low, high), value| {
                    if value < 0.0 { (low + value, high) } else { (low, high + value) }
                }),
                Layout::SideBySide => {
                    let ends = row.intervals.iter().flatten().flat_map(|(low, high)| [*low, *high]);
                    let all = known.chain(ends.filter(|value| value.is_finite()));
                    all.fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)))
                }
            };
            range = (range.0.min(low), range.1.max(high));
        }
        let room = (range.1 - range.0) * 0.02;
        match self.axis.range {
            Some(given) if given.0 < given.1 => given,
            _ if room == 0.0 => (0.0, 1.0),
            _ => (
                if range.0 < 0.0 { range.0 - room } else { 0.0 },
                if range.1 > 0.0 { range.1 + room } else { 0.0 },
            ),
        }
    }

    /// Draws the first rows, at most so many.
    pub(crate) fn drawn(&self, most: usize) -> Rows {
        let range = self.range();
        let axis = AxisRange::new(Axis { scale: Scale::Linear, ..self.axis.clone() }, range);
        let rows = self.ordered().into_iter().take(most).map(|place| self.row(place, &axis)).collect();
        Rows { axis, legend: self.parts.clone(), rows }
    }

    fn row(&self, at: usize, axis: &AxisRange) -> DrawnRow {
        let row = &self.rows[at];
        let count = self.parts.len().max(1) as f64;
        let height = match self.layout {
            Layout::Stacked => STACK,
            Layout::SideBySide => BAR * count,
        };
        let surface = Surface::new(CANVAS, height);
        // From top to bottom, as rows are read.
        let plane = plane(&surface, axis.coordinate(), Coordinate::new(Scale::Linear, (0.0, height)));
        let mut texts = String::new();
        let (mut left, mut right) = (0.0, 0.0);
        for (place_of_part, part) in self.parts.iter().enumerate() {
            let Some(value) = row.values[place_of_part].filter(|value| value.is_finite()) else { continue };
            let style: ShapeStyle = colour_of(part.tone).filled();
            let (from, to, top, bottom) = match self.layout {
                Layout::Stacked => {
                    let edge = if value < 0.0 { &mut left } else { &mut right };
                    let from = *edge;
                    *edge += value;
                    (from, *edge, height - 1.0, 1.0)
                }
                Layout::SideBySide => {
                    let top = height - BAR * place_of_part as f64;
                    (0.0, value, top - 1.0, top - BAR + 1.0)
                }
            };
            let text = with_unit(value, &self.axis.unit);
            let interval = row.intervals.get(place_of_part).copied().flatten();
            let within = interval.map_or(String::new(), |(low, high)| {
                format!(" (interval {} to {})", number(low), number(high))
            });
            if value != 0.0 {
                surface.borrow_mut().tip(&format!("{} · {}: {text}{within}", row.name, part.name));
                // Drawing on a surface cannot fail.
                let _ = plane.draw(&Rectangle::new([(from, top), (to, bottom)], style));
            }
            if let (Layout::SideBySide, Some((low, high))) = (self.layout, interval) {
                let middle = f64::midpoint(top, bottom);
                let (low, high) = (place(axis.share(low) * 100.0), place(axis.share(high) * 100.0));
                let y = place(height - middle);
                texts
                    .push_str(&format!(r#"<line class="sb-z" x1="{low}%" x2="{high}%" y1="{y}" y2="{y}"/>"#));
            }
            let share = axis.share(to) - axis.share(from);
            let words = number(value);
            if self.layout == Layout::Stacked && share.abs() * USUAL_WIDTH > width(&words, 11.0) + 8.0 {
                let middle = axis.share(from) + share / 2.0;
                texts.push_str(&format!(
                    r#"<text class="sb-v" x="{}%" y="14" text-anchor="middle">{}</text>"#,
                    place(middle * 100.0),
                    escaped(&words)
                ));
            }
        }
        if row.values.iter().flatten().all(|value| !value.is_finite()) {
            let y = place(height / 2.0 + 4.0);
            texts.push_str(&format!(r#"<text class="sb-s" x="0%" dx="6" y="{y}">unknown</text>"#));
        }
        let zero = axis.share(0.0);
        if (0.0..=1.0).contains(&zero) && axis.range.0 < 0.0 {
            let x = place(zero * 100.0);
            texts.push_str(&format!(r#"<line class="sb-z" x1="{x}%" x2="{x}%" y1="0" y2="{height}"/>"#));
        }
        drop(plane);
        let plot = finished(surface) + &texts;
        DrawnRow { name: row.name.clone(), label: row.label.clone(), plot, height }
    }
}

impl Timeline {
    /// Draws the first lanes, at most so many.
    pub(crate) fn drawn(&self, most: usize) -> Rows {
        let ends = self.lanes.iter().flat_map(|lane| &lane.spans).flat_map(|span| [span.from, span.to]);
        let axis = AxisRange::of(&self.axis, ends);
        let rows = self.lanes.iter().take(most).map(|lane| {
            let surface = Surface::new(CANVAS, STACK);
            let plane = plane(&surface, axis.coordinate(), Coordinate::new(Scale::Linear, (0.0, STACK)));
            for span in lane.spans.iter().filter(|span| span.from.is_finite() && span.to.is_finite()) {
                // What is over at once can still be seen, and pointed at.
                let least = (axis.range.1 - axis.range.0) * 0.002;
                let to = span.to.max(span.from + least);
                let unit = &self.axis.unit;
                let (from, lasted) = (with_unit(span.from, unit), with_unit(span.to - span.from, unit));
                surface.borrow_mut().tip(&format!("{}: {}, from {from}, for {lasted}", lane.name, span.name));
                let style: ShapeStyle = colour_of(span.tone).filled();
                // Drawing on a surface cannot fail.
                let _ = plane.draw(&Rectangle::new([(span.from, STACK - 2.0), (to, 2.0)], style));
            }
            drop(plane);
            let plot = finished(surface);
            DrawnRow { name: lane.name.clone(), label: String::new(), plot, height: STACK }
        });
        Rows { rows: rows.collect(), legend: self.legend.clone(), axis }
    }
}
