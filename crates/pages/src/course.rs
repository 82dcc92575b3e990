//! The run itself: when each step ran, and what it waited for.

use sb_figures::{Axis, Chart, Figure, Lane, Part, Span, Table, Timeline, Tone};

use crate::shown::float;

/// A run as its steps.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// The steps, in the order in which they are to be shown.
    pub steps: Vec<CourseStep>,
    /// Steps that are not shown, because there are too many.
    pub left_out: usize,
}

/// A step of a run.
#[derive(Clone, Debug, Default)]
pub struct CourseStep {
    /// Its id.
    pub name: String,
    /// What it did, in the order of time.
    pub spans: Vec<CourseSpan>,
}

/// What a step did for some time.
#[derive(Clone, Debug)]
pub struct CourseSpan {
    /// Seconds since the start of the run.
    pub from: f64,
    /// Seconds since the start of the run.
    pub to: f64,
    /// What it did.
    pub kind: SpanKind,
    /// More about it, in a few words; may be empty.
    pub what: String,
}

/// What a step can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Wait until it may start: for locks, for quiet, for a free place.
    Wait,
    /// Deploy, fetch, analyse.
    Work,
    /// Send a load.
    Load,
    /// Pause between loads.
    Pause,
    /// Clean up.
    Cleanup,
    /// An attempt that did not succeed.
    Failed,
}

impl SpanKind {
    const ALL: [Self; 6] = [Self::Wait, Self::Work, Self::Load, Self::Pause, Self::Cleanup, Self::Failed];

    fn look(self) -> (&'static str, Tone) {
        match self {
            Self::Wait => ("waits for locks or its turn", Tone::Warning),
            Self::Work => ("works", Tone::Series(0)),
            Self::Load => ("sends load", Tone::Good),
            Self::Pause => ("pauses", Tone::Neutral),
            Self::Cleanup => ("cleans up", Tone::Series(3)),
            Self::Failed => ("did not succeed", Tone::Bad),
        }
    }
}

/// The timeline of a run.
pub(crate) fn timeline(course: &Course) -> Figure {
    let mut table = Table::new("Steps of the run", &["step", "what", "#start [s]", "#end [s]", "more"]);
    let mut used = [false; SpanKind::ALL.len()];
    let lanes = course.steps.iter().map(|step| {
        let spans = step.spans.iter().map(|span| {
            let (what, tone) = span.kind.look();
            used[span.kind as usize] = true;
            table.rows.push(vec![
                step.name.clone(),
                what.to_owned(),
                float(span.from),
                float(span.to),
                span.what.clone(),
            ]);
            let name = if span.what.is_empty() { what.to_owned() } else { format!("{what} ({})", span.what) };
            Span { from: span.from, to: span.to, name, tone }
        });
        Lane { spans: spans.collect(), name: step.name.clone() }
    });
    let lanes = lanes.collect();
    let shown = SpanKind::ALL.into_iter().filter(|kind| used[*kind as usize]).map(SpanKind::look);
    let legend = shown.map(|(name, tone)| Part { name: name.to_owned(), tone }).collect();
    let timeline = Timeline { axis: Axis::linear("time since the start of the run", "s"), legend, lanes };
    let description = "When each step of the run waited, and when it ran.";
    let mut figure =
        Figure::new("timeline", "The run as its steps", description, Chart::Timeline(timeline), table);
    if course.left_out > 0 {
        figure
            .notes
            .push(format!("{} further steps are not shown; `sb status` has all of them.", course.left_out));
    }
    figure
}
