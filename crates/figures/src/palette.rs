//! Colours, patterns and dashes. No figure relies on colour alone.
//!
//! The colours follow Okabe and Ito's palette ("Color Universal Design", 2008), which stays apart for most kinds of colour
//! blindness. Activities and cold-start states always look the same. In the dark, colours that would sink into the
//! background have a lighter form.

use std::fmt::Write as _;

/// How something looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tone {
    /// Activity: the functions' own work.
    Computation,
    /// Activity: waiting for a service outside of the application.
    ExternalService,
    /// Activity: work of the coordinating services.
    Orchestration,
    /// Activity: from one function to the next.
    Trigger,
    /// Activity: waiting in a queue.
    Queueing,
    /// Activity: what the platform adds.
    Overhead,
    /// Activity: starting the language's runtime.
    RuntimeInitialization,
    /// Activity: starting the container.
    ContainerInitialization,
    /// Activity: time that no rule explains.
    Unclassified,
    /// State: no cold start.
    Warm,
    /// State: some functions were cold.
    Partial,
    /// State: all functions were cold.
    Cold,
    /// Rates: what was planned.
    Planned,
    /// Rates: what was sent.
    Sent,
    /// Rates: what ran.
    Executed,
    /// All is well.
    Good,
    /// Something to look at.
    Warning,
    /// Something failed.
    Bad,
    /// Something without a meaning of its own.
    Neutral,
    /// One of several things without a meaning of their own: by its number, eight colours and then again, with other dashes.
    Series(u8),
}

/// Colour in the light, colour in the dark, pattern, dashes.
type Look = (&'static str, &'static str, Pattern, &'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Plain,
    /// Rising lines.
    Rising,
    /// Falling lines.
    Falling,
    Dots,
    Upright,
    Level,
    Crossed,
    Grid,
}

/// The looks of the tones with a meaning, in the order of [`Tone::index`].
const LOOKS: [Look; 19] = [
    ("#009e73", "#1fb58b", Pattern::Plain, ""),
    ("#56b4e9", "#56b4e9", Pattern::Rising, ""),
    ("#0072b2", "#3f9bdb", Pattern::Plain, ""),
    ("#e69f00", "#e69f00", Pattern::Dots, ""),
    ("#d55e00", "#e8742a", Pattern::Falling, ""),
    ("#b8a800", "#c9ba1f", Pattern::Level, ""),
    ("#cc79a7", "#d68fb7", Pattern::Upright, ""),
    ("#882255", "#c2578c", Pattern::Crossed, ""),
    ("#777777", "#9a9a9a", Pattern::Grid, ""),
    ("#d55e00", "#e8742a", Pattern::Plain, ""),
    ("#e69f00", "#e69f00", Pattern::Dots, "2 3"),
    ("#0072b2", "#3f9bdb", Pattern::Rising, "7 3"),
    ("#aa3377", "#d0629f", Pattern::Plain, "7 3"),
    ("#d55e00", "#e8742a", Pattern::Rising, ""),
    ("#0072b2", "#56b4e9", Pattern::Dots, "2 2"),
    ("#2b8a4b", "#3fa968", Pattern::Plain, ""),
    ("#b26a00", "#e0a03c", Pattern::Rising, "7 3"),
    ("#c62f2f", "#ef6262", Pattern::Crossed, "2 2"),
    ("#7a8494", "#8c97a8", Pattern::Plain, ""),
];

const SERIES: [(&str, &str); 8] = [
    ("#0072b2", "#3f9bdb"),
    ("#d55e00", "#e8742a"),
    ("#009e73", "#1fb58b"),
    ("#cc79a7", "#d68fb7"),
    ("#e69f00", "#e69f00"),
    ("#56b4e9", "#56b4e9"),
    ("#882255", "#c2578c"),
    ("#777777", "#9a9a9a"),
];

const SERIES_PATTERNS: [Pattern; 3] = [Pattern::Plain, Pattern::Rising, Pattern::Dots];
const SERIES_DASHES: [&str; 3] = ["", "7 3", "2 2"];
const SERIES_LOOKS: usize = SERIES.len() * SERIES_DASHES.len();

impl Tone {
    /// How many different looks there are.
    pub(crate) const COUNT: usize = LOOKS.len() + SERIES_LOOKS;

    /// The number of the look, in the classes of the style sheet.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Computation => 0,
            Self::ExternalService => 1,
            Self::Orchestration => 2,
            Self::Trigger => 3,
            Self::Queueing => 4,
            Self::Overhead => 5,
            Self::RuntimeInitialization => 6,
            Self::ContainerInitialization => 7,
            Self::Unclassified => 8,
            Self::Warm => 9,
            Self::Partial => 10,
            Self::Cold => 11,
            Self::Planned => 12,
            Self::Sent => 13,
            Self::Executed => 14,
            Self::Good => 15,
            Self::Warning => 16,
            Self::Bad => 17,
            Self::Neutral => 18,
            Self::Series(number) => LOOKS.len() + usize::from(number) % SERIES_LOOKS,
        }
    }

    /// The tone of an activity, by its name in `trace_breakdown.csv` or in the published tables.
    pub fn of_activity(name: &str) -> Self {
        match name {
            "computation" => Self::Computation,
            "external_service" => Self::ExternalService,
            "orchestration" => Self::Orchestration,
            "trigger" => Self::Trigger,
            "queing" | "queueing" => Self::Queueing,
            "overhead" | "finalization_overhead" => Self::Overhead,
            "runtime_initialization" => Self::RuntimeInitialization,
            "container_initialization" => Self::ContainerInitialization,
            _ => Self::Unclassified,
        }
    }

    /// The tone of a cold-start state: `cold`, `partial` or `warm`.
    pub fn of_status(name: &str) -> Self {
        match name {
            "cold" => Self::Cold,
            "partial" => Self::Partial,
            "warm" => Self::Warm,
            _ => Self::Neutral,
        }
    }
}

fn look(index: usize) -> Look {
    if let Some(look) = LOOKS.get(index) {
        return *look;
    }
    let number = index - LOOKS.len();
    let (light, dark) = SERIES[number % SERIES.len()];
    let round = number / SERIES.len() % SERIES_DASHES.len();
    (light, dark, SERIES_PATTERNS[round], SERIES_DASHES[round])
}

/// What a tone is filled with: a name in `definitions`.
pub(crate) fn fill_id(index: usize) -> String {
    format!("sb-p{index}")
}

/// The patterns, as children of an SVG's `<defs>`, of the tones that `is_used` names and that are not of one colour.
pub(crate) fn definitions(is_used: impl Fn(usize) -> bool) -> String {
    let mut out = String::new();
    for index in (0..Tone::COUNT).filter(|index| is_used(*index)) {
        let (_, _, pattern, _) = look(index);
        let lines = match pattern {
            Pattern::Plain => continue,
            Pattern::Rising => "M-2 2L2 -2M-2 10L10 -2M6 10L10 6",
            Pattern::Falling => "M-2 6L2 10M-2 -2L10 10M6 -2L10 2",
            Pattern::Dots => "M1 2h2M5 6h2",
            Pattern::Upright => "M2 -1V9M6 -1V9",
            Pattern::Level => "M-1 2H9M-1 6H9",
            Pattern::Crossed => "M-2 10L10 -2M-2 -2L10 10",
            Pattern::Grid => "M-1 4H9M4 -1V9",
        };
        let _ = write!(
            out,
            r#"<pattern id="{}" width="8" height="8" patternUnits="userSpaceOnUse"><rect width="8" height="8" class="d{index}"/>"#,
            fill_id(index)
        );
        let class = if pattern == Pattern::Dots { "hatch dots" } else { "hatch" };
        let _ = write!(out, r#"<path d="{lines}" class="{class}"/></pattern>"#);
    }
    out
}

/// Rules for all drawings, with the colours that `colour` gives for a name.
fn rules(colour: impl Fn(&str) -> String, tones: impl Fn(usize) -> bool) -> String {
    let mut out = String::new();
    let mut rule = |selector: &str, text: &str| {
        let _ = writeln!(out, "{selector} {{ {text} }}");
    };
    rule(".sb-t", &format!("fill: {}; font-size: 12px", colour("text")));
    rule(".sb-s", &format!("fill: {}; font-size: 11px", colour("faint")));
    rule(".sb-h", &format!("fill: {}; font-size: 16px", colour("text")));
    rule(".sb-g", &format!("stroke: {}; stroke-width: 1", colour("edge")));
    rule(".sb-z", &format!("stroke: {}; stroke-width: 1.5", colour("text")));
    rule(".sb-m", &format!("stroke: {}; stroke-width: 1.5; stroke-dasharray: 4 3", colour("text")));
    rule(".sb-b", &format!("fill: {}", colour("back")));
    rule(".sb-c", "fill: none; stroke-width: 2; stroke-linejoin: round; vector-effect: non-scaling-stroke");
    rule(".sb-i", "stroke: none; fill-opacity: 0.18");
    rule(
        ".sb-v",
        &format!(
            "fill: {}; font-size: 11px; stroke: {}; stroke-width: 3; stroke-linejoin: round; paint-order: stroke",
            colour("text"),
            colour("back")
        ),
    );
    rule(".hatch", "stroke: #ffffff; stroke-opacity: 0.45; stroke-width: 1.2; fill: none");
    rule(".hatch.dots", "stroke-width: 2; stroke-opacity: 0.6");
    for index in (0..Tone::COUNT).filter(|index| tones(*index)) {
        let (_, _, pattern, dashes) = look(index);
        let name = colour(&format!("t{index}"));
        // A pattern of one colour would be drawn many times as slowly as the colour.
        let fill = if pattern == Pattern::Plain { name.clone() } else { format!("url(#{})", fill_id(index)) };
        rule(&format!(".f{index}"), &format!("fill: {fill}"));
        rule(&format!(".d{index}"), &format!("fill: {name}"));
        let dashes = if dashes.is_empty() { String::new() } else { format!("; stroke-dasharray: {dashes}") };
        rule(&format!(".l{index}"), &format!("stroke: {name}{dashes}"));
    }
    out
}

/// The colours of the page of `sb ui`, in the light and in the dark.
const PAGE: [(&str, &str, &str); 4] = [
    ("back", "#ffffff", "#12151a"),
    ("text", "#1b1f26", "#e6e9ee"),
    ("faint", "#5b6472", "#9aa5b4"),
    ("edge", "#d5d9e0", "#333b46"),
];

/// The style sheet of a picture in a file: for a white background.
pub(crate) fn file_style(is_used: impl Fn(usize) -> bool) -> String {
    let colour = |name: &str| {
        if let Some((_, light, _)) = PAGE.iter().find(|(of, _, _)| *of == name) {
            return (*light).to_owned();
        }
        let index = name.trim_start_matches('t').parse().unwrap_or(Tone::Neutral.index());
        look(index).0.to_owned()
    };
    rules(colour, is_used)
}

/// The style sheet of the drawings in a page, and the colours as variables for both kinds of light.
pub(crate) fn page_style() -> String {
    let variables = |is_dark: bool| {
        let mut out = String::new();
        for index in 0..Tone::COUNT {
            let (light, dark, _, _) = look(index);
            let _ = write!(out, "--t{index}: {}; ", if is_dark { dark } else { light });
        }
        out
    };
    let mut out = format!(":root {{ {}}}\n", variables(false));
    let _ =
        writeln!(out, "@media screen and (prefers-color-scheme: dark) {{ :root {{ {}}} }}", variables(true));
    out + &rules(|name| format!("var(--{name})"), |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sRGB to relative luminance, as WCAG 2.2 defines it.
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn colours_stand_out_from_both_backgrounds() {
        for index in 0..Tone::COUNT {
            let (light, dark, _, _) = look(index);
            assert!(contrast(light, "#ffffff") >= 2.1, "{index}: {light}");
            assert!(contrast(dark, "#1b2027") >= 3.0, "{index}: {dark}");
        }
    }

    #[test]
    fn activities_and_states_differ_by_more_than_colour() {
        let check = |tones: &[Tone]| {
            for (place, one) in tones.iter().enumerate() {
                for other in &tones[place + 1..] {
                    let (one_look, other_look) = (look(one.index()), look(other.index()));
                    let same_pattern = one_look.2 == other_look.2 && one_look.3 == other_look.3;
                    // Two plain ones are told apart by how light they are, too.
                    let apart = contrast(one_look.0, other_look.0) >= 1.4;
                    assert!(!same_pattern || apart, "{one:?} {other:?}");
                    assert_ne!(one_look.0, other_look.0, "{one:?} {other:?}");
                }
            }
        };
        use Tone::{
            Cold, Computation, ContainerInitialization, Executed, ExternalService, Orchestration, Overhead,
            Partial, Planned, Queueing, RuntimeInitialization, Sent, Trigger, Unclassified, Warm,
        };
        check(&[
            Computation,
            ExternalService,
            Orchestration,
            Trigger,
            Queueing,
            Overhead,
            RuntimeInitialization,
            ContainerInitialization,
            Unclassified,
        ]);
        check(&[Cold, Partial, Warm]);
        check(&[Planned, Sent, Executed]);
    }

    #[test]
    fn names_of_the_dataset_have_their_tone() {
        assert_eq!(Tone::of_activity("queing"), Tone::Queueing);
        assert_eq!(Tone::of_activity("something"), Tone::Unclassified);
        assert_eq!(Tone::of_status("cold"), Tone::Cold);
        assert_ne!(Tone::Series(0).index(), Tone::Series(8).index());
        assert_eq!(Tone::Series(24).index(), Tone::Series(0).index());
    }
}
