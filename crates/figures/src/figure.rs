//! What a figure is, before it is drawn.

use crate::error::FigureError;
use crate::palette::Tone;
use crate::prepared::Prepared;
use crate::table::Table;

/// The name of a figure in links and file names: `a` to `z`, `0` to `9` and single hyphens, at most 80 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(String);

impl Id {
    /// Makes an id of any text; what does not fit into an id becomes a hyphen. Different texts can give the same id.
    pub fn new(text: &str) -> Self {
        let mut id = String::new();
        for letter in text.chars() {
            if id.len() >= 80 {
                break;
            }
            let letter = letter.to_ascii_lowercase();
            if letter.is_ascii_alphanumeric() {
                id.push(letter);
            } else if !id.is_empty() && !id.ends_with('-') {
                id.push('-');
            }
        }
        let id = id.trim_end_matches('-');
        Self(if id.is_empty() { "figure".to_owned() } else { id.to_owned() })
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// A figure: what it shows, and one or more drawings of it.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name in links and file names.
    pub id: Id,
    /// What the figure shows, in a few words.
    pub title: String,
    /// The same in one or two sentences. Screen readers read it, and it stands under the title.
    pub description: String,
    /// What a reader must know to read it right: what was left out, what a number means. Each is one paragraph.
    pub notes: Vec<String>,
    /// The drawings: one, or one for each value of a switch.
    pub variants: Vec<Variant>,
}

impl Figure {
    /// A figure with one drawing.
    pub fn new(id: &str, title: &str, description: &str, chart: Chart, table: Table) -> Self {
        let variants = vec![Variant { name: String::new(), chart, table }];
        Self {
            id: Id::new(id),
            title: title.to_owned(),
            description: description.to_owned(),
            notes: Vec::new(),
            variants,
        }
    }

    /// The name of the files of a variant, without an ending.
    pub fn stem(&self, variant: &Variant) -> String {
        if variant.name.is_empty() {
            self.id.to_string()
        } else {
            format!("{}-{}", self.id, Id::new(&variant.name))
        }
    }
}

/// One drawing of a figure, with the table behind it.
#[derive(Clone, Debug)]
pub struct Variant {
    /// What the switch says, such as `p99`. Empty if there is only one.
    pub name: String,
    /// The drawing.
    pub chart: Chart,
    /// The numbers that are drawn.
    pub table: Table,
}

/// The kinds of drawings.
#[derive(Clone, Debug)]
pub enum Chart {
    /// Horizontal bars, one row for each group.
    Bars(Bars),
    /// Small multiples with curves.
    Panels(Panels),
    /// Spans of time in lanes.
    Timeline(Timeline),
    /// A picture that was drawn elsewhere.
    Prepared(Prepared),
}

/// What an axis measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What is measured, such as `latency`.
    pub title: String,
    /// The unit, such as `ms`, `%` or `1/s`. Empty for plain numbers.
    pub unit: String,
    /// How values become places.
    pub scale: Scale,
    /// The range, in the unit. Without one, it is that of the values.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// A linear axis over the range of its values.
    pub fn linear(title: &str, unit: &str) -> Self {
        Self { title: title.to_owned(), unit: unit.to_owned(), scale: Scale::Linear, range: None }
    }

    /// A logarithmic axis; it shows positive values only.
    pub fn logarithmic(title: &str, unit: &str) -> Self {
        Self { scale: Scale::Logarithmic, ..Self::linear(title, unit) }
    }

    /// The same axis with a fixed range.
    #[must_use]
    pub fn within(self, from: f64, to: f64) -> Self {
        Self { range: Some((from, to)), ..self }
    }

    /// Title and unit.
    pub fn name(&self) -> String {
        if self.unit.is_empty() { self.title.clone() } else { format!("{} [{}]", self.title, self.unit) }
    }
}

/// How values become places on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences are equally long.
    Linear,
    /// Equal ratios are equally long. Values of zero and below have no place and are not drawn.
    Logarithmic,
}

/// Horizontal bars.
#[derive(Clone, Debug)]
pub struct Bars {
    /// The axis of the values.
    pub axis: Axis,
    /// How the parts of a row lie.
    pub layout: Layout,
    /// The parts that each row has, in the order in which they are drawn.
    pub parts: Vec<Part>,
    /// The rows.
    pub rows: Vec<Row>,
    /// The order of the rows.
    pub order: Order,
}

/// How the parts of a row lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One after the other: positive values to the right of zero, negative ones to its left.
    Stacked,
    /// Below each other, each from zero.
    SideBySide,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they are given.
    AsGiven,
    /// Those with the largest sum of absolute values first. Rows without values are last.
    LargestFirst,
}

/// A part of each row of bars.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// How it looks.
    pub tone: Tone,
}

/// A row of bars.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The group that the row is about. The filter of the page looks for it.
    pub name: String,
    /// One value for each part, in the unit of the axis. `None` is an unknown value, and is not drawn.
    pub values: Vec<Option<f64>>,
    /// An interval for each part (`Layout::SideBySide`), in the unit of the axis; may be shorter than `values`.
    pub intervals: Vec<Option<(f64, f64)>>,
    /// What stands behind the row: the total, the number of values.
    pub label: String,
}

/// Small multiples with curves.
#[derive(Clone, Debug)]
pub struct Panels {
    /// The horizontal axis of every panel. Without a range, each panel has its own.
    pub x: Axis,
    /// The vertical axis of every panel. Without a range, each panel has its own.
    pub y: Axis,
    /// The panels.
    pub panels: Vec<Panel>,
}

/// One of several small charts.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// The group that the panel is about. The filter of the page looks for it.
    pub name: String,
    /// The curves.
    pub curves: Vec<Curve>,
    /// Marked places.
    pub marks: Vec<Mark>,
}

/// A curve of a panel.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What it is.
    pub name: String,
    /// What else a reader needs: the number of values, the width of the interval.
    pub note: String,
    /// How it looks.
    pub tone: Tone,
    /// How its points are joined.
    pub shape: Shape,
    /// Places in the units of both axes. A `y` that is not a number is a gap: nothing is known there.
    pub points: Vec<(f64, f64)>,
    /// For each point the lower and upper end of its interval, in the unit of `y`. Empty, or as long as `points`.
    pub intervals: Vec<Option<(f64, f64)>>,
}

/// How the points of a curve are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// By straight lines.
    Line,
    /// By steps: a value holds until the next point, as in an empirical distribution function.
    Steps,
    /// By straight lines, with a dot at each point.
    LineAndPoints,
}

/// A marked place on the horizontal axis of a panel.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Where, in the unit of the axis.
    pub x: f64,
    /// What is there.
    pub text: String,
}

/// Spans of time in lanes.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The axis of time.
    pub axis: Axis,
    /// What the tones mean.
    pub legend: Vec<Part>,
    /// The lanes, from top to bottom.
    pub lanes: Vec<Lane>,
}

/// A lane of a timeline.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// What happens in it. The filter of the page looks for it.
    pub name: String,
    /// What happens when. Spans that overlap hide each other: give them lanes of their own.
    pub spans: Vec<Span>,
}

/// Something that lasts.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its start, in the unit of the axis.
    pub from: f64,
    /// Its end, in the unit of the axis.
    pub to: f64,
    /// What it is.
    pub name: String,
    /// How it looks.
    pub tone: Tone,
}

/// How many rows, panels or lanes a picture in a file has at most; the page has all of them.
pub const ROWS_IN_FILES: usize = 60;
/// How many panels a picture in a file has at most.
pub const PANELS_IN_FILES: usize = 24;

impl Figure {
    /// Checks what the drawing relies on.
    pub(crate) fn check(&self) -> Result<(), FigureError> {
        if self.variants.is_empty() {
            return Err(FigureError::NoVariant { figure: self.id.to_string() });
        }
        let mut stems: Vec<_> = self.variants.iter().map(|variant| self.stem(variant)).collect();
        stems.sort_unstable();
        if let Some(pair) = stems.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(FigureError::SameId { id: pair[0].clone() });
        }
        for variant in &self.variants {
            let (figure, title) = (self.id.to_string(), variant.table.caption.clone());
            let columns = variant.table.columns.len();
            if let Some((row, cells)) =
                variant.table.rows.iter().enumerate().find(|(_, row)| row.len() != columns)
            {
                let (row, found) = (row + 1, cells.len());
                return Err(FigureError::Ragged { figure, table: title, row, found, columns });
            }
            if let Chart::Bars(bars) = &variant.chart
                && let Some(row) = bars.rows.iter().find(|row| row.values.len() != bars.parts.len())
            {
                let (found, columns) = (row.values.len(), bars.parts.len());
                return Err(FigureError::Parts { figure, row: row.name.clone(), found, columns });
            }
        }
        Ok(())
    }
}
