//! Where plotters draws: SVG elements with classes instead of colours, so that one drawing serves light, dark and print.
//!
//! plotters counts whole pixels. A surface has [`FINE`] of its pixels in each pixel of the picture, so that places are
//! exact to a hundredth. Horizontal places of rectangles and dots are per cent of the width: a page can be of any width and
//! its texts keep their size. Curves are in pixels, for a `viewBox`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;

use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::combinators::{IntoLogRange as _, LogCoord};
use plotters::coord::ranged1d::{BoldPoints, DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingArea;
use plotters::style::RGBColor;
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, DrawingBackend, DrawingErrorKind};

use crate::figure::{Axis, Scale};
use crate::palette::Tone;
use crate::text::{clean, escaped, place};

/// Pixels of plotters in a pixel of the picture.
const FINE: f64 = 100.0;

/// Elements of an SVG.
pub(crate) struct Surface {
    width: f64,
    height: f64,
    pub(crate) out: String,
    /// Attributes of the next element.
    attributes: String,
}

/// The parts of a style that plotters carries for us: it knows colours only, so the number of a tone is one.
pub(crate) fn colour_of(tone: Tone) -> RGBColor {
    RGBColor(u8::try_from(tone.index()).unwrap_or(u8::MAX), 0, 0)
}

type DrawResult = Result<(), DrawingErrorKind<Infallible>>;

impl Surface {
    /// A surface of a size in pixels of the picture.
    pub(crate) fn new(width: f64, height: f64) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self { width, height, out: String::new(), attributes: String::new() }))
    }

    /// What a tooltip says of the next element.
    pub(crate) fn tip(&mut self, text: &str) {
        self.attributes = format!(r#" data-tip="{}""#, escaped(&clean(text, 400)));
    }

    /// Further attributes of the next element.
    pub(crate) fn attribute(&mut self, name: &str, value: &str) {
        let _ = write!(self.attributes, r#" {name}="{}""#, escaped(value));
    }

    fn attributes(&mut self) -> String {
        std::mem::take(&mut self.attributes)
    }

    fn per_cent(&self, x: i32) -> String {
        place(f64::from(x) / FINE / self.width * 100.0) + "%"
    }

    fn path_of(points: impl IntoIterator<Item = BackendCoord>) -> String {
        let mut path = String::new();
        for (number, (x, y)) in points.into_iter().enumerate() {
            let letter = if number == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{} {}", place(f64::from(x) / FINE), place(f64::from(y) / FINE));
        }
        path
    }
}

impl DrawingBackend for Surface {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        ((self.width * FINE) as u32, (self.height * FINE) as u32)
    }

    fn ensure_prepared(&mut self) -> DrawResult {
        Ok(())
    }

    fn present(&mut self) -> DrawResult {
        Ok(())
    }

    fn draw_pixel(&mut self, point: BackendCoord, colour: BackendColor) -> DrawResult {
        self.draw_circle(point, FINE as u32, &colour, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, _: &S) -> DrawResult {
        let (x1, x2) = (self.per_cent(from.0), self.per_cent(to.0));
        let (y1, y2) = (place(f64::from(from.1) / FINE), place(f64::from(to.1) / FINE));
        let attributes = self.attributes();
        let _ = write!(self.out, r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"{attributes}/>"#);
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        _: bool,
    ) -> DrawResult {
        let (left, right) = (from.0.min(to.0), from.0.max(to.0));
        let (top, bottom) = (from.1.min(to.1), from.1.max(to.1));
        let (x, width) = (self.per_cent(left), self.per_cent(right - left));
        let (y, height) = (place(f64::from(top) / FINE), place(f64::from(bottom - top) / FINE));
        let (class, attributes) = (style.color().rgb.0, self.attributes());
        let _ = write!(
            self.out,
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" class="f{class}"{attributes}/>"#
        );
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> DrawResult {
        let (path, class, attributes) = (Self::path_of(path), style.color().rgb.0, self.attributes());
        let _ = write!(self.out, r#"<path d="{path}" class="sb-c l{class}"{attributes}/>"#);
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        centre: BackendCoord,
        radius: u32,
        style: &S,
        _: bool,
    ) -> DrawResult {
        let (x, y) = (self.per_cent(centre.0), place(f64::from(centre.1) / FINE));
        let (radius, class, attributes) =
            (place(f64::from(radius) / FINE), style.color().rgb.0, self.attributes());
        let _ = write!(self.out, r#"<circle cx="{x}" cy="{y}" r="{radius}" class="d{class}"{attributes}/>"#);
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> DrawResult {
        let (path, class, attributes) = (Self::path_of(corners), style.color().rgb.0, self.attributes());
        let _ = write!(self.out, r#"<path d="{path}Z" class="sb-i d{class}"{attributes}/>"#);
        Ok(())
    }
}

/// An axis with its range: plotters' own two kinds as one type.
pub(crate) enum Coordinate {
    Linear(RangedCoordf64),
    Logarithmic(LogCoord<f64>),
}

impl Coordinate {
    /// The axis over a range that is not empty.
    pub(crate) fn new(scale: Scale, (from, to): (f64, f64)) -> Self {
        match scale {
            Scale::Linear => Self::Linear((from..to).into()),
            Scale::Logarithmic => Self::Logarithmic((from..to).log_scale().into()),
        }
    }

    /// Where the axis has marks: about so many.
    pub(crate) fn ticks(&self, count: usize) -> Vec<f64> {
        self.key_points(BoldPoints(count))
    }

    /// The place of a value, as a share of the axis. It can lie outside of 0 to 1.
    pub(crate) fn share(&self, value: f64) -> f64 {
        f64::from(self.map(&value, (0, 1_000_000))) / 1e6
    }
}

impl Ranged for Coordinate {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        match self {
            Self::Linear(axis) => axis.map(value, limit),
            Self::Logarithmic(axis) => axis.map(value, limit),
        }
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match self {
            Self::Linear(axis) => axis.key_points(hint),
            Self::Logarithmic(axis) => {
                let (count, range) = (hint.max_num_points(), axis.range());
                // Powers of ten; between them 2 and 5 where there is room.
                let tens = (range.start.log10().floor() as i32)..=(range.end.log10().ceil() as i32);
                let inside = |factors: &[f64]| -> Vec<f64> {
                    tens.clone()
                        .flat_map(|ten| factors.iter().map(move |factor| factor * 10_f64.powi(ten)))
                        .filter(|value| (range.start..=range.end).contains(value))
                        .collect()
                };
                let fine = inside(&[1.0, 2.0, 5.0]);
                let coarse = inside(&[1.0]);
                if fine.len() <= count || coarse.len() < 2 {
                    return fine;
                }
                let step = coarse.len().div_ceil(count.max(1)).max(1);
                coarse.into_iter().step_by(step).collect()
            }
        }
    }

    fn range(&self) -> Range<f64> {
        match self {
            Self::Linear(axis) => axis.range(),
            Self::Logarithmic(axis) => axis.range(),
        }
    }
}

/// A surface with axes, as plotters knows it.
pub(crate) type Plane = DrawingArea<Surface, Cartesian2d<Coordinate, Coordinate>>;

/// Lays axes over a whole surface; `y` grows upwards.
pub(crate) fn plane(surface: &Rc<RefCell<Surface>>, x: Coordinate, y: Coordinate) -> Plane {
    let (width, height) = surface.borrow().get_size();
    let limits = (0..i32::try_from(width).unwrap_or(i32::MAX), i32::try_from(height).unwrap_or(i32::MAX)..0);
    DrawingArea::<Surface, Shift>::from(surface).apply_coord_spec(Cartesian2d::new(x, y, limits))
}

/// What a surface has drawn.
pub(crate) fn finished(surface: Rc<RefCell<Surface>>) -> String {
    std::mem::take(&mut surface.borrow_mut().out)
}

/// The radius of a dot, for plotters.
pub(crate) const DOT: i32 = 300;

/// A range that holds all values and is not empty, for an axis.
pub(crate) fn range(axis: &Axis, values: impl Iterator<Item = f64>) -> (f64, f64) {
    let usable = |value: f64| value.is_finite() && (axis.scale == Scale::Linear || value > 0.0);
    let found = values.filter(|value| usable(*value)).fold(None, |found: Option<(f64, f64)>, value| {
        let (low, high) = found.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    });
    let given = axis.range.filter(|(from, to)| usable(*from) && usable(*to) && from < to);
    let (from, to) = given.or(found).unwrap_or((if axis.scale == Scale::Linear { 0.0 } else { 1.0 }, 1.0));
    if from < to {
        return (from, to);
    }
    match axis.scale {
        Scale::Linear if from == 0.0 => (0.0, 1.0),
        Scale::Linear => (from - from.abs() * 0.05, from + from.abs() * 0.05),
        Scale::Logarithmic => (from / 2.0, from * 2.0),
    }
}
