//! How traces are read and explained: the options of an analysis.

use crate::invalid::{Invalid, Rejected};
use crate::path::activities::Activities;
use crate::path::breakdown::{self, Algorithm, Analysis};
use crate::path::repair::{self, Repair};
use crate::read::source::Source;
use crate::read::xray::{self, Documents};
use crate::read::{app_insights, otlp};
use crate::row::{BREAKDOWN_HEADER, format_duration};
use crate::span::{Recorded, Trace};

/// Analyses a text that holds one trace, in any of the formats, by the default [`Method`].
///
/// # Errors
/// As [`Method::analyze_text`].
pub fn analyze_text(text: &str) -> Result<Analysis, Rejected> {
    Method::default().analyze_text(text)
}

/// How traces are read and explained.
#[derive(Clone, Debug, Default)]
pub struct Method {
    /// The format of the traces.
    pub source: Source,
    /// What extracts the critical path.
    pub algorithm: Algorithm,
    /// Which activity the time of a span belongs to.
    pub activities: Activities,
    /// How traces are recovered whose clocks differ a little; `None`: they are invalid.
    pub repair: Option<Repair>,
    /// Whether traces of X-Ray that links connect are joined. Those of OpenTelemetry always
    /// are, as [`read_otlp`](crate::read_otlp) says.
    pub join_linked: bool,
}

impl Method {
    /// Analyses a text that holds one trace, in any of the formats.
    ///
    /// # Errors
    /// The text cannot be read, or its trace cannot be explained without a gap.
    pub fn analyze_text(&self, text: &str) -> Result<Analysis, Rejected> {
        self.explain(self.record(text, &mut Documents::default())?)
    }

    /// Calls `found` with the analysis of a text. The format must be known, and be one that holds a trace per document.
    pub(crate) fn analyze_with(
        &self,
        text: &str,
        documents: &mut Documents,
        found: impl FnOnce(Analysis<&str>),
    ) -> Result<(), Rejected> {
        if self.source == Source::AppInsights {
            return self.explain_with(app_insights::read(text)?, found);
        }
        self.explain_with(xray::record(text, documents)?, found)
    }

    /// What one text recorded, in whatever format.
    pub(crate) fn record<'a>(
        &self,
        text: &'a str,
        documents: &'a mut Documents,
    ) -> Result<Recorded<'a>, Rejected> {
        match self.source.resolve(text.as_bytes()) {
            Source::AppInsights => app_insights::read(text),
            Source::Otlp => only(otlp::read(text)),
            Source::Xray | Source::Auto => xray::record(text, documents),
        }
    }

    /// Explains a trace as it is, without repair.
    pub(crate) fn explain_trace(&self, trace: &Trace<'_>) -> Result<Analysis, Invalid> {
        breakdown::analyze(trace, &self.activities, self.algorithm)
    }

    /// Gives `look` the spans of one trace, and what the analysis makes of them as they were recorded.
    ///
    /// # Errors
    /// The spans form no tree. A tree that cannot be explained is given to `look`, with the reason.
    pub fn inspect<T>(
        &self,
        mut recorded: Recorded<'_>,
        look: impl FnOnce(&Trace<'_>, Result<Analysis, Invalid>) -> T,
    ) -> Result<T, Rejected> {
        let id = recorded.id.to_string();
        let delivered = recorded.check_delivered();
        let trace = self
            .choose_repeated(&mut recorded)
            .and_then(|_| recorded.join())
            .map_err(|reason| Rejected { id: Some(id), reason })?;
        let analysis = match delivered {
            Err(reason) if self.algorithm != Algorithm::Study => Err(reason),
            _ => self.explain_trace(&trace),
        };
        Ok(look(&trace, analysis))
    }

    /// [`Self::inspect`] of the one trace in a text.
    pub(crate) fn inspect_text<T>(
        &self,
        text: &str,
        look: impl FnOnce(&Trace<'_>, Result<Analysis, Invalid>) -> T,
    ) -> Result<T, Rejected> {
        self.inspect(self.record(text, &mut Documents::default())?, look)
    }

    /// Joins what was recorded to a trace and explains it, repaired if that is wanted and needed.
    ///
    /// # Errors
    /// The spans form no tree, or the tree cannot be explained without a gap.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method's path stands for one lifetime, the closure for any"
    )]
    pub fn explain(&self, recorded: Recorded<'_>) -> Result<Analysis, Rejected> {
        self.explain_with(recorded, |analysis| analysis.into_owned())
    }

    /// Like [`Self::explain`], for what does not outlive the trace.
    pub(crate) fn explain_with<T>(
        &self,
        mut recorded: Recorded<'_>,
        found: impl FnOnce(Analysis<&str>) -> T,
    ) -> Result<T, Rejected> {
        if self.join_linked {
            recorded.mark_linked();
        }
        let id = recorded.id.clone();
        let checked = match recorded.check_delivered() {
            Err(reason) if self.algorithm != Algorithm::Study => Err(reason),
            _ => self.choose_repeated(&mut recorded),
        };
        let is_other = match checked {
            Ok(is_other) => is_other,
            Err(reason) => return Err(Rejected { id: Some(id.into_owned()), reason }),
        };
        let before = self.repair.map(|repair| (repair, recorded.clone()));
        let reason = match recorded.join() {
            Ok(trace) => match breakdown::explain(&trace, &self.activities, self.algorithm) {
                Ok(mut analysis) => {
                    analysis.differs_from_study |= is_other;
                    return Ok(found(analysis));
                }
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        let repaired = before.and_then(|(repair, recorded)| {
            repair::repair(&recorded, repair, &reason, |changed| self.explain_as_recorded(changed).ok())
        });
        match repaired {
            Some(analysis) => Ok(found(analysis.as_borrowed())),
            None => Err(Rejected { id: Some(id.into_owned()), reason }),
        }
    }

    /// The first line of trace_breakdown.csv; with repair there is one column more.
    pub(crate) fn header(&self) -> String {
        let mut header = BREAKDOWN_HEADER.to_owned();
        if self.repair.is_some() {
            add_last_field(&mut header, repair::COLUMN);
        }
        header
    }

    /// Appends the row of a valid trace. The column of repairs has by how much times were moved in all; it is empty
    /// where the trace was valid as it was recorded.
    pub(crate) fn write_row(&self, analysis: &Analysis<&str>, out: &mut String) {
        analysis.row.write(out);
        if self.repair.is_some() {
            add_last_field(out, &analysis.repaired.map(format_duration).unwrap_or_default());
        }
    }

    /// The study's algorithm takes what comes last in the file.
    fn choose_repeated(&self, recorded: &mut Recorded<'_>) -> Result<bool, Invalid> {
        if self.algorithm == Algorithm::Study { Ok(false) } else { recorded.choose_repeated() }
    }

    fn explain_as_recorded(&self, recorded: Recorded<'_>) -> Result<Analysis, Invalid> {
        let trace = recorded.join()?;
        self.explain_trace(&trace)
    }
}

/// The one trace of a text.
fn only(mut traces: Vec<Result<Recorded<'static>, Rejected>>) -> Result<Recorded<'static>, Rejected> {
    match (traces.pop(), traces.len()) {
        (Some(recorded), 0) => recorded,
        (last, others) => {
            let count = others + usize::from(last.is_some());
            let detail = format!("the text holds {count} traces instead of one");
            Err(Rejected { id: None, reason: Invalid::Malformed { detail } })
        }
    }
}

/// To a row that has its line end already.
fn add_last_field(row: &mut String, field: &str) {
    row.truncate(row.trim_end_matches("\r\n").len());
    row.push(',');
    let needs_quotes = field.contains(',');
    row.push_str(if needs_quotes { "\"" } else { "" });
    row.push_str(field);
    row.push_str(if needs_quotes { "\"\r\n" } else { "\r\n" });
}
