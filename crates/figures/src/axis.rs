//! An axis over a range: marks, and what the page needs to draw them again when it zooms.

use std::fmt::Write as _;

use crate::figure::{Axis, Scale};
use crate::surface::{Coordinate, range};
use crate::text::{escaped, number, place};

/// An axis, and the range that it shows.
pub(crate) struct AxisRange {
    pub(crate) axis: Axis,
    pub(crate) range: (f64, f64),
    coordinate: Coordinate,
}

/// What of an axis is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draw {
    /// A line at each mark, over the height of the picture.
    Lines,
    /// A number at each mark.
    Labels,
}

impl AxisRange {
    pub(crate) fn new(axis: Axis, range: (f64, f64)) -> Self {
        let coordinate = Coordinate::new(axis.scale, range);
        Self { axis, range, coordinate }
    }

    /// The axis over the values.
    pub(crate) fn of(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        Self::new(axis.clone(), range(axis, values))
    }

    pub(crate) fn coordinate(&self) -> Coordinate {
        Coordinate::new(self.axis.scale, self.range)
    }

    /// The place of a value, as a share of the axis.
    pub(crate) fn share(&self, value: f64) -> f64 {
        self.coordinate.share(value)
    }

    /// Whether a value has a place on the axis.
    pub(crate) fn has_place(&self, value: f64) -> bool {
        value.is_finite() && (self.axis.scale == Scale::Linear || value > 0.0)
    }

    /// The marks of a horizontal axis as an SVG group, with what is needed to draw them again.
    pub(crate) fn horizontal(&self, draw: Draw, count: usize) -> String {
        let (kind, (from, to)) = (if draw == Draw::Lines { "lines" } else { "labels" }, self.range);
        let scale = if self.axis.scale == Scale::Linear { "linear" } else { "logarithmic" };
        let mut out = format!(
            r#"<g class="ticks" data-draw="{kind}" data-from="{from}" data-to="{to}" data-scale="{scale}">"#
        );
        for tick in self.coordinate.ticks(count) {
            let x = place(self.share(tick) * 100.0);
            let _ = match draw {
                Draw::Lines => write!(out, r#"<line class="sb-g" x1="{x}%" x2="{x}%" y1="0" y2="100%"/>"#),
                Draw::Labels => write!(
                    out,
                    r#"<text class="sb-s" x="{x}%" y="14" text-anchor="middle">{}</text>"#,
                    escaped(&number(tick))
                ),
            };
        }
        out + "</g>"
    }

    /// The marks of a vertical axis of a height: places and numbers.
    pub(crate) fn vertical(&self, height: f64, count: usize) -> Vec<(f64, String)> {
        let ticks = self.coordinate.ticks(count).into_iter();
        ticks.map(|tick| ((1.0 - self.share(tick)) * height, number(tick))).collect()
    }
}
