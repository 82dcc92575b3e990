//! Figures as files: SVG, PNG, PDF, and the table as CSV.

use std::fmt::Write as _;
use std::sync::Arc;

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg;

use crate::axis::Draw;
use crate::curves;
use crate::error::FigureError;
use crate::figure::{Chart, Figure, PANELS_IN_FILES, Panels, Part, ROWS_IN_FILES, Variant};
use crate::palette::{Tone, definitions, file_style};
use crate::png;
use crate::rows::Rows;
use crate::text::{FONT, FONT_FAMILY, clean, escaped, fitted, has_glyph, place, width, wrapped};

/// A figure as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FigureFile {
    /// Its name: the id of the figure, the variant, and the ending.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The endings of the files of each variant of a figure.
pub const ENDINGS: [&str; 4] = ["svg", "png", "pdf", "csv"];

/// How much finer a PNG is than the picture: two pixels for each.
const FINER: f32 = 2.0;
/// A PNG has at most so many pixels on a side, so that viewers can open it. A larger picture is made coarser.
const MOST_PIXELS: f32 = 16_000.0;

/// Turns figures into files. It holds the font, so make one and use it for all figures.
pub struct FileWriter {
    options: usvg::Options<'static>,
}

impl Default for FileWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl FileWriter {
    /// Loads the font of the pictures.
    pub fn new() -> Self {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(FONT.to_vec());
        // Whatever a picture asks for, it gets the one font there is.
        fonts.set_sans_serif_family(FONT_FAMILY);
        fonts.set_serif_family(FONT_FAMILY);
        fonts.set_monospace_family(FONT_FAMILY);
        let options = usvg::Options {
            font_family: FONT_FAMILY.to_owned(),
            fontdb: Arc::new(fonts),
            ..usvg::Options::default()
        };
        Self { options }
    }

    /// All files of a figure: for each variant one with each of [`ENDINGS`].
    ///
    /// # Errors
    ///
    /// The figure contradicts itself, or a converter refuses the picture.
    pub fn files(&self, figure: &Figure) -> Result<Vec<FigureFile>, FigureError> {
        let mut files = Vec::new();
        for variant in &figure.variants {
            files.extend(self.files_of(figure, variant)?);
        }
        Ok(files)
    }

    /// The files of one variant of a figure: variants can be drawn side by side.
    ///
    /// # Errors
    ///
    /// The figure contradicts itself, or a converter refuses the picture.
    pub fn files_of(
        &self,
        figure: &Figure,
        variant: &Variant,
    ) -> Result<[FigureFile; ENDINGS.len()], FigureError> {
        figure.check()?;
        let stem = figure.stem(variant);
        let svg = svg(figure, variant);
        let (png, pdf) = self.converted(&svg, &stem)?;
        let named = |ending: &str, bytes| FigureFile { name: format!("{stem}.{ending}"), bytes };
        let [first, second, third, fourth] = ENDINGS;
        Ok([
            named(first, svg.into_bytes()),
            named(second, png),
            named(third, pdf),
            named(fourth, variant.table.to_csv()),
        ])
    }

    /// A picture as PNG and PDF.
    fn converted(&self, svg: &str, figure: &str) -> Result<(Vec<u8>, Vec<u8>), FigureError> {
        let failed = |format: &'static str, reason: String| FigureError::Convert {
            figure: figure.to_owned(),
            format,
            reason,
        };
        // A letter that the font does not have would be missing without a word.
        let svg: String = svg
            .chars()
            .map(|letter| if letter.is_ascii() || has_glyph(letter) { letter } else { '\u{fffd}' })
            .collect();
        let tree =
            usvg::Tree::from_str(&svg, &self.options).map_err(|error| failed("PNG", error.to_string()))?;
        let size = tree.size();
        let finer = FINER.min(MOST_PIXELS / size.width()).min(MOST_PIXELS / size.height());
        let pixels = |length: f32| (length * finer).ceil().max(1.0) as u32;
        let mut picture = Pixmap::new(pixels(size.width()), pixels(size.height()))
            .ok_or_else(|| failed("PNG", "it is too large".to_owned()))?;
        // A side may end within a pixel: what is behind must be opaque, too.
        picture.fill(Color::WHITE);
        resvg::render(&tree, Transform::from_scale(finer, finer), &mut picture.as_mut());
        let png = png::encode(&picture);
        let pdf =
            svg2pdf::to_pdf(&tree, svg2pdf::ConversionOptions::default(), svg2pdf::PageOptions::default())
                .map_err(|error| failed("PDF", error.to_string()))?;
        Ok((png, pdf))
    }
}

/// Everything is within these edges, in pixels.
const EDGE: f64 = 16.0;
const NAMES: f64 = 250.0;
const PLOT: f64 = 520.0;
const LABELS: f64 = 190.0;
const GAP: f64 = 10.0;
/// The narrowest picture: titles need room.
const NARROWEST: f64 = EDGE + NAMES + PLOT + LABELS + EDGE;
const LINE: f64 = 16.0;

/// A picture that grows downwards.
struct Sheet {
    out: String,
    width: f64,
    y: f64,
}

impl Sheet {
    fn lines(&mut self, text: &str, class: &str, size: f64, step: f64) {
        for line in wrapped(text, size, self.width - 2.0 * EDGE) {
            self.y += step;
            let _ = write!(
                self.out,
                r#"<text class="{class}" x="{EDGE}" y="{}">{}</text>"#,
                place(self.y - 4.0),
                escaped(&line)
            );
        }
    }

    fn legend(&mut self, parts: &[(Tone, String)], is_line: bool, left: f64, right: f64) {
        let mut x = left;
        for (tone, text) in parts {
            let text = fitted(text, 11.0, right - left - 30.0);
            let room = width(&text, 11.0) + 40.0;
            if x + room > right + 14.0 && x > left {
                x = left;
                self.y += LINE;
            }
            let (index, top) = (tone.index(), self.y + 3.0);
            let _ = if is_line {
                let middle = top + 6.0;
                write!(
                    self.out,
                    r#"<line class="sb-c l{index}" x1="{x}" x2="{}" y1="{middle}" y2="{middle}"/>"#,
                    x + 20.0
                )
            } else {
                write!(self.out, r#"<rect class="f{index}" x="{x}" y="{top}" width="14" height="11"/>"#)
            };
            let after = x + if is_line { 26.0 } else { 19.0 };
            let _ = write!(
                self.out,
                r#"<text class="sb-s" x="{}" y="{}">{}</text>"#,
                place(after),
                place(top + 10.0),
                escaped(&text)
            );
            x += room;
        }
        self.y += LINE + 2.0;
    }
}

/// The picture of a variant, with everything that it needs.
pub(crate) fn svg(figure: &Figure, variant: &Variant) -> String {
    let mut sheet = Sheet { out: String::new(), width: NARROWEST, y: EDGE };
    let mut used = vec![false; Tone::COUNT];
    if let Chart::Prepared(picture) = &variant.chart {
        sheet.width = sheet.width.max(picture.size().0 + 2.0 * EDGE);
    }
    let name = if variant.name.is_empty() {
        figure.title.clone()
    } else {
        format!("{} ({})", figure.title, variant.name)
    };
    sheet.lines(&clean(&name, 300), "sb-h", 16.0, 22.0);
    sheet.lines(&figure.description, "sb-s", 11.0, LINE);
    sheet.y += 6.0;
    match &variant.chart {
        Chart::Bars(bars) => rows(&mut sheet, &mut used, &bars.drawn(ROWS_IN_FILES), bars.rows.len()),
        Chart::Timeline(timeline) => {
            for span in timeline.lanes.iter().flat_map(|lane| &lane.spans) {
                used[span.tone.index()] = true;
            }
            rows(&mut sheet, &mut used, &timeline.drawn(ROWS_IN_FILES), timeline.lanes.len());
        }
        Chart::Panels(panels) => small_multiples(&mut sheet, &mut used, panels),
        Chart::Prepared(picture) => {
            let (width, height) = picture.size();
            let place = format!(r#" x="{EDGE}" y="{}" width="{width}" height="{height}""#, place(sheet.y));
            sheet.out.push_str(&picture.element(&place));
            sheet.y += height;
        }
    }
    sheet.y += 4.0;
    for note in &figure.notes {
        sheet.lines(note, "sb-s", 11.0, LINE);
    }
    let (width, height) = (sheet.width, (sheet.y + EDGE).ceil());
    let is_used = |index: usize| used[index];
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="'{FONT_FAMILY}', Verdana, sans-serif" role="img"><title>{}</title><desc>{}</desc><style>{}</style><defs>{}</defs><rect class="sb-b" width="100%" height="100%"/>{}</svg>
"#,
        escaped(&clean(&name, 300)),
        escaped(&clean(&figure.description, 1000)),
        file_style(is_used),
        definitions(is_used),
        tips_as_titles(&without_values(&sheet.out)),
    )
}

/// The values behind curves are for the script of the page. A file has none, and would be several times as large.
fn without_values(svg: &str) -> String {
    const VALUES: [&str; 2] = [r#" data-x=""#, r#" data-y=""#];
    let mut out = String::with_capacity(svg.len());
    let mut rest = svg;
    while let Some(at) = VALUES.iter().filter_map(|name| rest.find(name)).min() {
        out.push_str(&rest[..at]);
        rest = &rest[at + VALUES[0].len()..];
        rest = rest.split_once('"').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

/// In a file there is no script that shows a tooltip: the viewer's own shows a title.
fn tips_as_titles(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len());
    let mut rest = svg;
    while let Some((before, after)) = rest.split_once(r#" data-tip=""#) {
        out.push_str(before);
        let Some((tip, tail)) = after.split_once('"') else { break };
        let Some(end) = tail.find("/>") else { break };
        // The name of the element stands after the last `<`: what is between is escaped.
        let name = before.rsplit('<').next().and_then(|tag| tag.split(' ').next()).unwrap_or("g");
        let _ = write!(out, "{}><title>{tip}</title></{name}>", &tail[..end]);
        rest = &tail[end + 2..];
    }
    out.push_str(rest);
    out
}

fn rows(sheet: &mut Sheet, used: &mut [bool], rows: &Rows, of: usize) {
    for part in &rows.legend {
        used[part.tone.index()] = true;
    }
    let legend: Vec<_> = rows.legend.iter().map(|Part { name, tone }| (*tone, name.clone())).collect();
    let right = sheet.width - EDGE;
    sheet.legend(&legend, false, EDGE, right);
    let plot = EDGE + NAMES;
    let height: f64 = rows.rows.iter().map(|row| row.height + GAP).sum();
    let _ = write!(
        sheet.out,
        r#"<text class="sb-s" x="{}" y="{}" text-anchor="middle">{}</text>"#,
        plot + PLOT / 2.0,
        place(sheet.y + 12.0),
        escaped(&rows.axis.axis.name())
    );
    sheet.y += LINE;
    let _ = write!(
        sheet.out,
        r#"<svg x="{plot}" y="{}" width="{PLOT}" height="20" overflow="visible">{}</svg>"#,
        place(sheet.y),
        rows.axis.horizontal(Draw::Labels, 8)
    );
    sheet.y += 20.0;
    let _ = write!(
        sheet.out,
        r#"<svg x="{plot}" y="{}" width="{PLOT}" height="{height}">{}</svg>"#,
        place(sheet.y),
        rows.axis.horizontal(Draw::Lines, 8)
    );
    // A part of a picture that can cut what it holds is drawn apart, and costs as much again. Where the axis is made for all values,
    // there is nothing to cut.
    let overflow = if rows.axis.axis.range.is_none() { r#" overflow="visible""# } else { "" };
    for row in &rows.rows {
        sheet.y += GAP / 2.0;
        let middle = place(sheet.y + row.height / 2.0 + 4.0);
        let name = escaped(&fitted(&row.name, 12.0, NAMES - 14.0));
        let label = escaped(&fitted(&row.label, 11.0, LABELS - 10.0));
        let _ = write!(
            sheet.out,
            r#"<text class="sb-t" x="{}" y="{middle}" text-anchor="end">{name}</text><svg x="{plot}" y="{}" width="{PLOT}" height="{}"{overflow}>{}</svg><text class="sb-s" x="{}" y="{middle}">{label}</text>"#,
            plot - 8.0,
            place(sheet.y),
            row.height,
            row.plot,
            plot + PLOT + 10.0
        );
        sheet.y += row.height + GAP / 2.0;
    }
    left_out(sheet, rows.rows.len(), of, "rows");
}

fn small_multiples(sheet: &mut Sheet, used: &mut [bool], panels: &Panels) {
    let drawn = panels.drawn(PANELS_IN_FILES);
    let columns = drawn.len().clamp(1, 3);
    let step = (sheet.width - 2.0 * EDGE) / columns as f64;
    let room = step - curves::LEFT - 20.0;
    for line in drawn.chunks(columns) {
        let top = sheet.y;
        let mut bottom = top;
        for (column, panel) in line.iter().enumerate() {
            let left = EDGE + step * column as f64;
            let name = escaped(&fitted(&panel.name, 12.0, step - 10.0));
            let (height, plot) = (curves::HEIGHT, top + 22.0);
            let _ = write!(
                sheet.out,
                r#"<text class="sb-t" x="{}" y="{}">{name}</text><svg x="{left}" y="{plot}" width="{}" height="{height}" overflow="visible">{}</svg><svg x="{}" y="{plot}" width="{room}" height="{}" overflow="visible">{}</svg>"#,
                left,
                place(top + 12.0),
                curves::LEFT,
                panel.side,
                left + curves::LEFT,
                height + curves::BELOW,
                panel.area
            );
            sheet.y = plot + height + curves::BELOW;
            for (tone, text) in &panel.legend {
                used[tone.index()] = true;
                sheet.legend(&[(*tone, text.clone())], true, left + 10.0, left + step - 10.0);
            }
            bottom = f64::max(bottom, sheet.y);
        }
        sheet.y = bottom + 10.0;
    }
    left_out(sheet, drawn.len(), panels.panels.len(), "panels");
}

fn left_out(sheet: &mut Sheet, shown: usize, of: usize, what: &str) {
    if shown < of {
        let text = format!("{shown} of {of} {what} are shown. The page and the table have all of them.");
        sheet.lines(&text, "sb-s", 11.0, LINE + 4.0);
    }
}
