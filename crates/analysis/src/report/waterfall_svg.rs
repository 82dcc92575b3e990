//! A waterfall as an SVG image that needs nothing beside it.

use std::fmt::{self, Write};

use super::waterfall::{Waterfall, milliseconds};
use crate::path::breakdown::Activity;

const WIDTH: usize = 1200;
/// Where bars begin, and how much room they have.
const LEFT: usize = 330;
const ROOM: usize = WIDTH - LEFT - 130;
const LINE: usize = 20;
const TOP: usize = 74;

impl Waterfall {
    /// Writes the image. Spans off the critical path are pale, failed ones have a red edge; a tooltip has the figures.
    pub fn to_svg(&self, out: &mut impl Write) -> fmt::Result {
        let height = TOP + self.rows.len() * LINE + 50;
        writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">"#
        )?;
        writeln!(out, r##"<rect width="100%" height="100%" fill="#ffffff"/>"##)?;
        writeln!(
            out,
            r#"<text x="12" y="24" font-size="15" font-weight="bold">{}</text><text x="{}" y="24" text-anchor="end">{} ms, {} spans</text>"#,
            escaped(&self.trace_id),
            WIDTH - 12,
            milliseconds(self.duration),
            self.rows.len()
        )?;
        legend(out)?;
        let bottom = TOP + self.rows.len() * LINE;
        for (quarter, tick) in (0..=4).zip(0_i64..) {
            let x = LEFT + ROOM * quarter / 4;
            writeln!(
                out,
                r##"<line x1="{x}" y1="{}" x2="{x}" y2="{bottom}" stroke="#dddddd"/><text x="{x}" y="{}" text-anchor="middle" fill="#666666">{} ms</text>"##,
                TOP - 6,
                bottom + 16,
                milliseconds(self.duration * tick / 4)
            )?;
        }
        for (place, row) in self.rows.iter().enumerate() {
            let y = TOP + place * LINE;
            let indent = 12 + row.depth.min(12) * 12;
            let (before, length) = self.place(row, ROOM);
            let x = LEFT + before;
            let (fill, opacity) = match (row.on_path, row.activity) {
                (true, Some(activity)) => (colour(activity), "1"),
                (true, None) => ("#555555", "1"),
                (false, _) => ("#888888", "0.35"),
            };
            let weight = if row.on_path { "bold" } else { "normal" };
            let edge = if row.failed { r##" stroke="#d00000" stroke-width="2""## } else { "" };
            let room = (LEFT - indent).saturating_sub(10) / 7;
            let name = shortened(&row.name, room);
            let activity = row.activity.map_or("", Activity::name);
            writeln!(
                out,
                r#"<g><title>{}: starts at {} ms, took {} ms {activity}</title><text x="{indent}" y="{}" font-weight="{weight}">{}</text><rect x="{x}" y="{}" width="{length}" height="{}" rx="2" fill="{fill}" fill-opacity="{opacity}"{edge}/><text x="{}" y="{}">{} ms</text></g>"#,
                escaped(&row.name),
                milliseconds(row.start),
                milliseconds(row.duration),
                y + 13,
                escaped(&name),
                y + 3,
                LINE - 6,
                x + length + 5,
                y + 13,
                milliseconds(row.duration),
            )?;
        }
        if let Some(reason) = &self.invalid {
            writeln!(
                out,
                r##"<text x="12" y="{}" fill="#d00000">no critical path: {}</text>"##,
                bottom + 38,
                escaped(&shortened(reason, 165))
            )?;
        }
        writeln!(out, "</svg>")
    }
}

pub(crate) fn legend(out: &mut impl Write) -> fmt::Result {
    let mut x = 12;
    for activity in Activity::ALL {
        writeln!(
            out,
            r#"<rect x="{x}" y="40" width="10" height="10" fill="{}"/><text x="{}" y="49" font-size="11">{}</text>"#,
            colour(activity),
            x + 14,
            activity.name()
        )?;
        x += 30 + activity.name().len() * 7;
    }
    Ok(())
}

/// Colours that stay apart for most kinds of colour blindness (after the palette of Okabe and Ito).
pub(crate) fn colour(activity: Activity) -> &'static str {
    match activity {
        Activity::Orchestration => "#0072b2",
        Activity::Trigger => "#e69f00",
        Activity::ContainerInitialization => "#882255",
        Activity::RuntimeInitialization => "#cc79a7",
        Activity::Computation => "#009e73",
        Activity::Queueing => "#d55e00",
        Activity::Overhead => "#b8a800",
        Activity::ExternalService => "#56b4e9",
        Activity::Unclassified => "#777777",
    }
}

pub(crate) fn shortened(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

/// For text and attributes; what XML forbids altogether was replaced when the waterfall was made.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other if other.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::waterfall::tests::example;

    #[test]
    fn an_image_has_a_bar_per_span_and_names_are_escaped() {
        let mut out = String::new();
        example().to_svg(&mut out).unwrap();
        assert_eq!(out.matches("<g>").count(), 5);
        assert_eq!(out.matches("stroke=\"#d00000\"").count(), 1);
        assert!(out.contains("he&lt;llo") && !out.contains('\x1b'), "{out}");
        assert!(out.starts_with("<svg ") && out.ends_with("</svg>\n"));
    }
}
