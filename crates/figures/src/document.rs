//! A document: headings, figures, tables and notes as one HTML file that needs nothing beside it.

use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::axis::Draw;
use crate::curves;
use crate::error::FigureError;
use crate::figure::{Chart, Figure, Panels, Part, Variant};
use crate::file::ENDINGS;
use crate::palette::{Tone, definitions, page_style};
use crate::prepared::{Prepared, policy_hash};
use crate::rows::Rows;
use crate::table::Table;
use crate::text::clean;

/// How many rows of a table a page has; the file has all of them.
const TABLE_ROWS: usize = 1000;
/// How many rows, panels or lanes of a figure a page has.
const ROWS: usize = 1000;
/// From how many rows or panels on a figure has a filter.
const FILTERED: usize = 4;
/// From how many rows or panels on a figure scrolls by itself.
const LONG_ROWS: usize = 40;
const LONG_PANELS: usize = 12;
/// The longest text that a page shows of a name, in characters.
const TEXT: usize = 400;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// An HTML file with figures.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// The title.
    pub title: String,
    /// What it is about: names and values, under the title.
    pub facts: Vec<(String, String)>,
    /// The chapters, in their order.
    pub sections: Vec<Section>,
    /// Where the files of the figures are, relative to the document, such as `figures`. `None`: there are none.
    pub files: Option<String>,
}

/// A chapter of a document.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Paragraphs under the heading.
    pub text: Vec<String>,
    /// What follows.
    pub items: Vec<Item>,
}

/// What a chapter consists of.
#[derive(Clone, Debug)]
pub enum Item {
    /// A figure.
    Figure(Figure),
    /// A table that is always open, and a link to its file, relative to the document.
    Table(Table, Option<String>),
    /// Something that a reader must not miss.
    Warning(String),
}

fn style() -> String {
    format!("{}{STYLE}", page_style())
}

/// The Content-Security-Policy of every document: no request at all, and no style and script but those of the document. It is
/// in the document; a server that sends one must send this.
pub fn page_policy() -> String {
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'",
        policy_hash(&style()),
        policy_hash(SCRIPT)
    )
}

impl Document {
    /// All figures, in their order.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.sections.iter().flat_map(|section| &section.items).filter_map(|item| match item {
            Item::Figure(figure) => Some(figure),
            Item::Table(..) | Item::Warning(_) => None,
        })
    }

    /// The document as HTML. It asks nobody for anything, and runs one script: its own.
    ///
    /// # Errors
    ///
    /// Two figures have the same id, or a figure contradicts itself.
    pub fn html(&self) -> Result<String, FigureError> {
        let mut seen = BTreeSet::new();
        for figure in self.figures() {
            figure.check()?;
            for variant in &figure.variants {
                let stem = figure.stem(variant);
                if !seen.insert(stem.clone()) {
                    return Err(FigureError::SameId { id: stem });
                }
            }
        }
        let (style, policy) = (style(), page_policy());
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href="data:,";
                    title { (clean(&self.title, TEXT)) }
                    style { (PreEscaped(&style)) }
                }
                body {
                    a .skip href="#content" { "Skip to the figures" }
                    (patterns())
                    header {
                        h1 { (clean(&self.title, TEXT)) }
                        @if !self.facts.is_empty() {
                            dl .facts {
                                @for (name, value) in &self.facts {
                                    div { dt { (clean(name, TEXT)) } dd { (clean(value, TEXT)) } }
                                }
                            }
                        }
                    }
                    (self.contents())
                    main #content {
                        @for (number, section) in self.sections.iter().enumerate() {
                            section id={ "section-" (number + 1) } {
                                h2 { (clean(&section.title, TEXT)) }
                                @for text in &section.text { p { (clean(text, 4000)) } }
                                @for item in &section.items { (self.item(item)) }
                            }
                        }
                    }
                    div #tip role="status" aria-live="polite" hidden {}
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        Ok(page.into_string())
    }

    fn contents(&self) -> Markup {
        html! {
            nav aria-label="Contents" {
                ol {
                    @for (number, section) in self.sections.iter().enumerate() {
                        li {
                            a href={ "#section-" (number + 1) } { (clean(&section.title, TEXT)) }
                            @let figures = section.items.iter().filter_map(|item| match item {
                                Item::Figure(figure) => Some(figure),
                                Item::Table(..) | Item::Warning(_) => None,
                            });
                            ul {
                                @for figure in figures {
                                    li { a href={ "#" (figure.id) } { (clean(&figure.title, TEXT)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn item(&self, item: &Item) -> Markup {
        match item {
            Item::Figure(figure) => self.figure(figure),
            Item::Table(table, file) => html! {
                div .table {
                    (table_of(table, file.is_some()))
                    @if let Some(file) = file { p .files { a href=(file) { "CSV" } } }
                }
            },
            Item::Warning(text) => html! { p .warning role="note" { "⚠ " (clean(text, 4000)) } },
        }
    }

    fn figure(&self, figure: &Figure) -> Markup {
        html! {
            figure id=(figure.id) aria-labelledby={ (figure.id) "-title" } {
                figcaption {
                    h3 id={ (figure.id) "-title" } { (clean(&figure.title, TEXT)) }
                    p { (clean(&figure.description, 2000)) }
                }
                (tools(figure))
                @for (number, variant) in figure.variants.iter().enumerate() {
                    div .variant.chosen[number == 0] data-variant=(number) {
                        @if !variant.name.is_empty() { h4 .name { (clean(&variant.name, TEXT)) } }
                        (chart(figure, variant))
                        details {
                            summary { "Table: " (clean(&variant.table.caption, TEXT)) }
                            (table_of(&variant.table, self.files.is_some()))
                        }
                        @if let Some(folder) = &self.files {
                            p .files {
                                "Files: "
                                @for ending in ENDINGS {
                                    a href={ (folder) "/" (figure.stem(variant)) "." (ending) } { (ending.to_ascii_uppercase()) }
                                    " "
                                }
                            }
                        }
                    }
                }
                @for note in &figure.notes { p .faint { (clean(note, 2000)) } }
            }
        }
    }
}

/// The patterns that all drawings of the page use.
fn patterns() -> Markup {
    html! {
        svg .patterns aria-hidden="true" width="0" height="0" { defs { (PreEscaped(definitions(|_| true))) } }
    }
}

/// The switch of the variants, the filter, and the zoom.
fn tools(figure: &Figure) -> Markup {
    let chart = figure.variants.first().map(|variant| &variant.chart);
    let (rows, what, zoom) = match chart {
        Some(Chart::Bars(bars)) => (bars.rows.len(), "rows", "values"),
        Some(Chart::Timeline(timeline)) => (timeline.lanes.len(), "rows", "time"),
        Some(Chart::Panels(panels)) => (panels.panels.len(), "panels", "horizontal axis"),
        Some(Chart::Prepared(_)) | None => (0, "", "picture"),
    };
    html! {
        div .tools {
            @if figure.variants.len() > 1 {
                span role="group" aria-label={ "What is shown in " (clean(&figure.title, TEXT)) } {
                    @for (number, variant) in figure.variants.iter().enumerate() {
                        button type="button" data-choose=(number) aria-pressed=(number == 0) { (clean(&variant.name, TEXT)) }
                    }
                }
            }
            @if rows >= FILTERED {
                label { "Filter " input type="search" autocomplete="off" spellcheck="false" aria-controls=(figure.id); }
                span .count.faint role="status" { (rows.min(ROWS)) " " (what) }
            }
            span role="group" aria-label={ "Zoom of the " (zoom) } {
                button type="button" data-zoom="in" aria-label="Zoom in" { "+" }
                button type="button" data-zoom="out" aria-label="Zoom out" { "−" }
                @if !matches!(chart, Some(Chart::Prepared(_))) {
                    button type="button" data-zoom="left" aria-label="Move left" { "‹" }
                    button type="button" data-zoom="right" aria-label="Move right" { "›" }
                }
                button type="button" data-zoom="reset" { "Reset" }
                @if matches!(chart, Some(Chart::Prepared(_))) {
                    button type="button" data-back disabled { "Back" }
                }
            }
        }
    }
}

fn chart(figure: &Figure, variant: &Variant) -> Markup {
    match &variant.chart {
        Chart::Bars(bars) => rows(figure, &bars.drawn(ROWS), bars.rows.len()),
        Chart::Timeline(timeline) => rows(figure, &timeline.drawn(ROWS), timeline.lanes.len()),
        Chart::Panels(panels) => small_multiples(figure, panels),
        Chart::Prepared(picture) => prepared(figure, picture),
    }
}

/// What a keyboard can do in a chart; screen readers read it when the chart is reached.
const KEYS: &str = "arrow keys move over the values, plus and minus zoom, 0 resets";

fn rows(figure: &Figure, drawn: &Rows, of: usize) -> Markup {
    let axis = drawn.axis.axis.name();
    html! {
        (legend(&drawn.legend))
        div .chart.rows.long[drawn.rows.len() > LONG_ROWS] tabindex="0" role="group" aria-label={ (clean(&figure.title, TEXT)) ": " (KEYS) } {
            div .axis aria-hidden="true" {
                p .faint { (axis) }
                svg width="100%" height="18" overflow="visible" { (PreEscaped(drawn.axis.horizontal(Draw::Labels, 8))) }
            }
            div .body {
                div .grid aria-hidden="true" {
                    svg width="100%" height="100%" { (PreEscaped(drawn.axis.horizontal(Draw::Lines, 8))) }
                }
                ul {
                    @for row in &drawn.rows {
                        li data-group=(clean(&row.name, TEXT)) {
                            span .of { (clean(&row.name, TEXT)) }
                            svg aria-hidden="true" width="100%" height=(row.height) {
                                svg .zoom x="0%" width="100%" height=(row.height) overflow="visible" { (PreEscaped(&row.plot)) }
                            }
                            span .total { (clean(&row.label, TEXT)) }
                        }
                    }
                }
            }
        }
        (left_out(drawn.rows.len(), of))
    }
}

fn small_multiples(figure: &Figure, panels: &Panels) -> Markup {
    let drawn = panels.drawn(ROWS);
    html! {
        div .chart.panels.few[drawn.len() < 3].long[drawn.len() > LONG_PANELS] tabindex="0" role="group" aria-label={ (clean(&figure.title, TEXT)) ": " (KEYS) }
            data-x-unit=(panels.x.unit) data-y-unit=(panels.y.unit) {
            @for panel in &drawn {
                div .panel data-group=(clean(&panel.name, TEXT)) {
                    h5 { (clean(&panel.name, TEXT)) }
                    div .plot role="img" aria-label={ (clean(&panel.name, TEXT)) ": " (panels.y.name()) " by " (panels.x.name()) } {
                        svg width=(curves::LEFT) height=(curves::HEIGHT + curves::BELOW) overflow="visible" { (PreEscaped(&panel.side)) }
                        svg width="100%" height=(curves::HEIGHT + curves::BELOW) overflow="visible" { (PreEscaped(&panel.area)) }
                    }
                    ul .legend {
                        @for (tone, text) in &panel.legend {
                            li { (dash(*tone)) (clean(text, TEXT)) }
                        }
                    }
                }
            }
        }
        (left_out(drawn.len(), panels.panels.len()))
    }
}

fn prepared(figure: &Figure, picture: &Prepared) -> Markup {
    let (width, height) = picture.size();
    let attributes = format!(
        r#" class="picture" role="img" aria-labelledby="{}-title" data-width="{width}" data-height="{height}""#,
        figure.id
    );
    html! {
        div .chart.prepared.long tabindex="0" role="group" aria-label={ (clean(&figure.title, TEXT)) ": arrow keys move from box to box, Enter lets one fill the width, Escape goes back, plus and minus zoom, 0 resets" } {
            (PreEscaped(picture.element(&attributes)))
        }
    }
}

fn left_out(shown: usize, of: usize) -> Markup {
    html! {
        @if shown < of { p .faint { "The first " (shown) " of " (of) " are shown; the table has all of them." } }
    }
}

fn legend(parts: &[Part]) -> Markup {
    html! {
        ul .legend {
            @for part in parts {
                li { svg aria-hidden="true" width="16" height="12" { rect .{ "f" (part.tone.index()) } width="16" height="12" {} } (clean(&part.name, TEXT)) }
            }
        }
    }
}

fn dash(tone: Tone) -> Markup {
    html! {
        svg aria-hidden="true" width="26" height="10" { line .{ "sb-c l" (tone.index()) } x1="0" x2="26" y1="5" y2="5" {} }
    }
}

fn table_of(table: &Table, has_file: bool) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label={ "Table: " (clean(&table.caption, TEXT)) } {
            table {
                caption { (clean(&table.caption, TEXT)) }
                thead { tr { @for column in &table.columns { th scope="col" .number[column.is_number] { (clean(&column.name, TEXT)) } } } }
                tbody {
                    @for row in table.rows.iter().take(TABLE_ROWS) {
                        tr {
                            @for (cell, column) in row.iter().zip(&table.columns) {
                                td .number[column.is_number] { (clean(cell, TEXT)) }
                            }
                        }
                    }
                }
            }
        }
        @if table.rows.len() > TABLE_ROWS {
            p .faint {
                "The first " (TABLE_ROWS) " of " (table.rows.len()) " rows"
                @if has_file { "; the CSV file has all of them" }
                "."
            }
        }
    }
}
