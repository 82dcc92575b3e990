#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod course;
mod groups;
mod latency;
mod levels;
mod over_time;
mod paths;
mod precision;
mod shares;
mod shown;
mod workloads;

#[cfg(test)]
mod paths_tests;
#[cfg(test)]
mod tests;

use sb_figures::{Document, Figure, Item, Section};
use sb_report::{Report, Weight};

pub use course::{Course, CourseSpan, CourseStep, SpanKind};
pub use paths::{Paths, TypicalOf};

/// What a document is made of.
#[derive(Clone)]
pub struct Source<'a> {
    /// The numbers.
    pub report: &'a Report,
    /// The title of the document.
    pub title: String,
    /// What else to say under the title: names and values.
    pub facts: Vec<(String, String)>,
    /// The run that the executions are from, if they are from one.
    pub course: Option<Course>,
    /// The critical paths of its traces, if they were read.
    pub paths: Option<&'a Paths>,
    /// Where the files of the figures are, relative to the document; none: there are no such files.
    pub figures: Option<String>,
    /// Where the tables are, relative to the document; none: there are no such files.
    pub tables: Option<String>,
}

impl<'a> Source<'a> {
    /// A report alone, without files beside the document.
    pub fn new(report: &'a Report) -> Self {
        Self {
            report,
            title: "Report".to_owned(),
            facts: Vec::new(),
            course: None,
            paths: None,
            figures: None,
            tables: None,
        }
    }
}

/// Warnings and remarks that a document names; the others are counted.
const NAMED: usize = 30;

/// Makes the document.
pub fn document(source: &Source<'_>) -> Document {
    let report = source.report;
    let mut sections = Vec::new();
    let names = groups::Names::of(&report.groups);
    let mut latency = Section { title: "Where the time goes".to_owned(), ..Section::default() };
    latency.items.extend(figures(latency::breakdowns(&report.groups, &names)));
    latency.items.extend(figures(latency::penalties(&report.groups, &names)));
    if latency.items.is_empty() {
        latency.text.push(
            "No trace of a request without a cold start was analysed, so there is no breakdown of the latency.".to_owned(),
        );
    }
    latency.items.extend(figures(latency::requests(&report.groups, &names)));
    sections.push(latency);
    sections.extend(source.paths.into_iter().flat_map(Paths::sections));
    let distributions =
        figures(latency::by_status(&report.groups, &names)).chain(figures(latency::by_workload(report)));
    sections.push(section("How latencies are distributed", distributions.collect()));
    sections.extend(precision::section(&report.groups, &names));
    sections.push(section("Load", figures(levels::levels(report)).collect()));
    sections
        .push(section("Cold starts and errors", figures(shares::shares(&report.groups, &names)).collect()));
    sections.extend(workloads::section(report, source.tables.as_deref()));
    sections.push(section("Rates over time", figures(over_time::rates(report)).collect()));
    let course = source.course.as_ref().map(course::timeline);
    sections.push(section("The run", figures(course).collect()));
    sections.push(executions(source));
    sections.retain(|section| !section.items.is_empty() || !section.text.is_empty());
    let mut facts = source.facts.clone();
    facts.push(("executions".to_owned(), report.executions.to_string()));
    let definitions = if report.as_published { "those of the published study" } else { "those of sb" };
    facts.push(("definitions".to_owned(), definitions.to_owned()));
    Document { title: source.title.clone(), facts, sections, files: source.figures.clone() }
}

fn section(title: &str, items: Vec<Item>) -> Section {
    Section { title: title.to_owned(), items, ..Section::default() }
}

fn figures(figures: impl IntoIterator<Item = Figure>) -> impl Iterator<Item = Item> {
    figures.into_iter().map(Item::Figure)
}

/// The overview, the notes, and where all tables are.
fn executions(source: &Source<'_>) -> Section {
    let report = source.report;
    let mut section = section("Executions", Vec::new());
    let (mut warnings, mut remarks) = (Vec::new(), Vec::new());
    for note in &report.notes {
        match note.weight {
            Weight::Warning => warnings.push(note.to_string()),
            Weight::Remark => remarks.push(note.to_string()),
        }
    }
    let rest = |all: usize, what: &str| {
        (all > NAMED).then(|| {
            format!("There are {} further {what}; `sb report --format json` has all of them.", all - NAMED)
        })
    };
    section.items.extend(warnings.iter().take(NAMED).cloned().map(Item::Warning));
    section.items.extend(rest(warnings.len(), "warnings").map(Item::Warning));
    section.text.extend(remarks.iter().take(NAMED).cloned());
    section.text.extend(rest(remarks.len(), "remarks"));
    let file = |name: &str| source.tables.as_ref().map(|folder| format!("{folder}/{name}.csv"));
    if let Some(overview) = report.table("overview").filter(|table| table.rows() > 0) {
        section.items.push(Item::Table(shown::shown(overview), file("overview")));
    }
    if let Some(groups) = report.table("groups").filter(|table| table.rows() > 0) {
        section.items.push(Item::Table(shown::shown(groups), file("groups")));
    }
    section
}
