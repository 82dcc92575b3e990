//! Writes a page with every kind of figure, and the files of each: `cargo run -p sb-figures --example gallery -- FOLDER`.
//!
//! The numbers are made up. The page has what a report can have at worst: 1,000 groups, long and hostile names, gaps.

use std::error::Error;
use std::f64::consts::TAU;
use std::path::PathBuf;

use sb_figures::{
    Axis, Bars, Chart, Curve, Document, Figure, FileWriter, Id, Item, Lane, Layout, Mark, Order, Panel,
    Panels, Part, Prepared, Row, Section, Shape, Span, Table, Timeline, Tone, Variant, number,
};

const ACTIVITIES: [&str; 8] = [
    "computation",
    "external_service",
    "orchestration",
    "trigger",
    "queing",
    "overhead",
    "runtime_initialization",
    "container_initialization",
];

/// A number between 0 and 1 that looks like chance, the same on every machine.
fn noise(seed: usize) -> f64 {
    let mixed = (seed as u64).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    f64::from((mixed ^ (mixed >> 31)) as u32) / f64::from(u32::MAX)
}

fn parts() -> Vec<Part> {
    ACTIVITIES.iter().map(|name| Part { name: (*name).to_owned(), tone: Tone::of_activity(name) }).collect()
}

fn bars(names: &[String], factor: f64, can_be_negative: bool) -> (Bars, Table) {
    let mut table = Table::new("Latency by activity", &["request"]);
    let numbers = ACTIVITIES.iter().map(|name| format!("#{name} [ms]"));
    table = Table::new(
        &table.caption,
        &std::iter::once("request".to_owned())
            .chain(numbers)
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let mut rows = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let values: Vec<Option<f64>> = (0..ACTIVITIES.len())
            .map(|part| {
                let value = 200.0 * noise(at * 31 + part).powi(3) * factor;
                let sign = if can_be_negative && part % 3 == 1 { -0.4 } else { 1.0 };
                (noise(at * 7 + part) > 0.05).then_some(value * sign)
            })
            .collect();
        let sum: f64 = values.iter().flatten().sum();
        let cells = values.iter().map(|value| value.map_or(String::new(), |value| format!("{value:.3}")));
        table.rows.push(std::iter::once(name.clone()).chain(cells).collect());
        rows.push(Row {
            name: name.clone(),
            values,
            label: format!("{} ms, n = {}", number(sum), 40 + at),
            ..Row::default()
        });
    }
    let bars = Bars {
        axis: Axis::linear("latency", "ms"),
        layout: Layout::Stacked,
        parts: parts(),
        rows,
        order: Order::LargestFirst,
    };
    (bars, table)
}

fn breakdown(id: &str, title: &str, names: &[String]) -> Figure {
    let variants = [("p50", 1.0), ("p99", 2.6), ("mean", 1.2)].map(|(name, factor)| {
        let (bars, table) = bars(names, factor, false);
        Variant { name: name.to_owned(), chart: Chart::Bars(bars), table }
    });
    Figure {
        id: Id::new(id),
        title: title.to_owned(),
        description: "The latency of warm requests, divided into activities on the critical path.".to_owned(),
        notes: vec![
            "Parts of p50 and p99 are quantiles of each activity; they do not add up to that of the latency."
                .to_owned(),
        ],
        variants: variants.into(),
    }
}

fn ecdf(panels: usize) -> Figure {
    let mut table = Table::new("Durations by cold-start state", &["request", "state", "#n", "#p50 [ms]"]);
    let panels = (0..panels).map(|panel| {
        let name = format!("application_{panel} getSomething");
        let states = [("cold", 2400.0, 40), ("partial", 900.0, 3), ("warm", 90.0, 5000)];
        let curves = states.map(|(state, middle, count)| {
            let mut values: Vec<f64> =
                (0..count).map(|at| middle * (0.6 + noise(at * 3 + panel)).powi(2)).collect();
            values.sort_by(f64::total_cmp);
            table.rows.push(vec![
                name.clone(),
                state.to_owned(),
                count.to_string(),
                number(values[count / 2]),
            ]);
            let points =
                values.iter().enumerate().map(|(at, value)| (*value, (at + 1) as f64 / count as f64));
            Curve {
                name: state.to_owned(),
                note: format!("n = {count}, RCIW {} %", number(3.0 + noise(count + panel) * 9.0)),
                tone: Tone::of_status(state),
                shape: Shape::Steps,
                points: points.collect(),
                intervals: Vec::new(),
            }
        });
        Panel { name, curves: curves.into(), marks: Vec::new() }
    });
    let panels = Panels {
        x: Axis::logarithmic("duration", "ms"),
        y: Axis::linear("share of requests", "").within(0.0, 1.0),
        panels: panels.collect(),
    };
    let description = "For each duration, the share of requests that took at most as long.";
    Figure::new("ecdf", "Durations by cold-start state", description, Chart::Panels(panels), table)
}

fn rates() -> Figure {
    let curve = |name: &str, tone, shift: f64| {
        let points = (0..1200).map(|second| {
            let at = f64::from(second);
            let value = 40.0 + 25.0 * (at / 300.0 * TAU).sin() + shift * noise(second as usize);
            (at, if (500..540).contains(&second) && shift > 3.0 { f64::NAN } else { value })
        });
        Curve {
            name: name.to_owned(),
            note: String::new(),
            tone,
            shape: Shape::Line,
            points: points.collect(),
            intervals: Vec::new(),
        }
    };
    let curves = vec![
        curve("planned", Tone::Planned, 0.0),
        curve("sent", Tone::Sent, 3.0),
        curve("executed", Tone::Executed, 6.0),
    ];
    let panels = Panels {
        x: Axis::linear("time", "s"),
        y: Axis::linear("rate", "1/s"),
        panels: vec![Panel { name: "todo_api fluctuating".to_owned(), curves, marks: Vec::new() }],
    };
    let table = Table::new("Rates per second", &["#second", "#planned", "#sent"]);
    Figure::new(
        "rates",
        "Rates over time",
        "Requests per second: planned, sent and executed.",
        Chart::Panels(panels),
        table,
    )
}

fn load() -> Figure {
    let levels = [1.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];
    let curve = |name: &str, tone, factor: f64| {
        let points: Vec<_> =
            levels.iter().map(|level| (*level, factor * (20.0 + (level / 60.0_f64).powi(4)))).collect();
        let intervals = points.iter().map(|(_, value)| Some((value * 0.8, value * 1.3))).collect();
        Curve {
            name: name.to_owned(),
            note: String::new(),
            tone,
            shape: Shape::LineAndPoints,
            points,
            intervals,
        }
    };
    let panel = Panel {
        name: "matrix_multiplication".to_owned(),
        curves: vec![curve("p50", Tone::Series(0), 1.0), curve("p99", Tone::Series(1), 4.0)],
        marks: vec![Mark { x: 100.0, text: "breaks at 100/s".to_owned() }],
    };
    let panels =
        Panels { x: Axis::logarithmic("load", "1/s"), y: Axis::linear("latency", "ms"), panels: vec![panel] };
    let table = Table::new("Latency by load", &["#load [1/s]", "#p50 [ms]"]);
    Figure::new(
        "load",
        "Latency against load",
        "Latency at each level of load, with its interval.",
        Chart::Panels(panels),
        table,
    )
}

fn shares() -> Figure {
    let parts = [("cold starts", Tone::Cold), ("errors", Tone::Bad), ("invalid traces", Tone::Warning)];
    let parts: Vec<_> =
        parts.iter().map(|(name, tone)| Part { name: (*name).to_owned(), tone: *tone }).collect();
    let rows = (0..6).map(|at| Row {
        name: format!("application_{at}"),
        values: vec![Some(noise(at) * 30.0), Some(noise(at + 50) * 4.0), None],
        intervals: vec![Some((noise(at) * 25.0, noise(at) * 38.0))],
        label: format!("n = {}", 1000 * (at + 1)),
    });
    let bars = Bars {
        axis: Axis::linear("share", "%"),
        layout: Layout::SideBySide,
        parts,
        rows: rows.collect(),
        order: Order::AsGiven,
    };
    let table = Table::new("Shares", &["application", "#cold [%]"]);
    Figure::new(
        "shares",
        "Cold starts, errors, invalid traces",
        "The share of requests of each kind.",
        Chart::Bars(bars),
        table,
    )
}

fn timeline() -> Figure {
    let lane = |name: &str, spans: &[(f64, f64, &str, Tone)]| Lane {
        name: name.to_owned(),
        spans: spans
            .iter()
            .map(|(from, to, name, tone)| Span {
                from: *from,
                to: *to,
                name: (*name).to_owned(),
                tone: *tone,
            })
            .collect(),
    };
    let timeline = Timeline {
        axis: Axis::linear("time since the start", "s"),
        legend: vec![
            Part { name: "step".to_owned(), tone: Tone::Neutral },
            Part { name: "load".to_owned(), tone: Tone::Good },
            Part { name: "wait for a lock".to_owned(), tone: Tone::Warning },
            Part { name: "failed".to_owned(), tone: Tone::Bad },
        ],
        lanes: vec![
            lane("hello/deploy", &[(0.0, 31.5, "deploy", Tone::Neutral)]),
            lane(
                "hello/invoke",
                &[(31.5, 40.0, "waits for quiet", Tone::Warning), (40.0, 130.0, "load", Tone::Good)],
            ),
            lane("hello/get-traces", &[(130.0, 161.0, "traces", Tone::Neutral)]),
            lane("other/deploy", &[(0.0, 12.0, "deploy", Tone::Bad)]),
            lane("other/cleanup", &[(12.0, 12.0, "cleanup", Tone::Neutral)]),
        ],
    };
    let table = Table::new("Steps", &["step", "#start [s]"]);
    Figure::new(
        "timeline",
        "The run itself",
        "When each step ran, and what it waited for.",
        Chart::Timeline(timeline),
        table,
    )
}

fn flame() -> Result<Figure, Box<dyn Error>> {
    let mut svg = r#"<svg xmlns="http://www.w3.org/2000/svg" width="900" height="120" font-family="monospace" font-size="12">"#.to_owned();
    for (depth, count) in [1, 2, 5, 9].into_iter().enumerate() {
        for at in 0..count {
            let (x, width) = (900 * at / count, 900 / count - 1);
            let (y, red) = (90 - depth * 28, 200 + at * 6);
            svg += &format!(
                r#"<g><title>operation {depth}.{at}</title><rect x="{x}" y="{y}" width="{width}" height="26" fill="rgb({red},120,60)"/><text x="{}" y="{}">op {depth}.{at}</text></g>"#,
                x + 4,
                y + 17
            );
        }
    }
    let table = Table::new("Operations", &["operation", "#time [ms]"]);
    let chart = Chart::Prepared(Prepared::new(&(svg + "</svg>"))?);
    Ok(Figure::new("flame", "The critical path", "Operations on the critical path, by time.", chart, table))
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name a folder")?);
    let few: Vec<String> = (0..10).map(|at| format!("application_{at} (getSomething{at})")).collect();
    let mut many: Vec<String> = (0..998).map(|at| format!("application_{} request_{at}", at % 40)).collect();
    many.push("<script>alert(\"x\")</script> & 'quoted' \u{1b}[31m \u{202e}txt.exe".to_owned());
    many.push("long ".repeat(2000));
    let (penalty, penalty_table) = bars(&few, 3.0, true);
    let mut penalty = Figure::new(
        "penalty",
        "What a cold start costs",
        "Cold minus warm, by activity.",
        Chart::Bars(penalty),
        penalty_table,
    );
    penalty
        .notes
        .push("Bars to the left of zero are activities that were faster in cold requests.".to_owned());
    let sections = vec![
        ("Latency", vec![breakdown("latency", "Latency by application", &few), penalty]),
        ("Distributions", vec![ecdf(7)]),
        ("Load", vec![rates(), load(), shares()]),
        ("The run", vec![timeline(), flame()?]),
        ("A thousand groups", vec![breakdown("many", "Latency by request", &many)]),
    ];
    let sections = sections.into_iter().map(|(title, figures)| Section {
        title: title.to_owned(),
        items: figures.into_iter().map(Item::Figure).collect(),
        ..Section::default()
    });
    let document = Document {
        title: "Gallery of figures".to_owned(),
        facts: vec![("run".to_owned(), "example".to_owned()), ("requests".to_owned(), "12,345".to_owned())],
        sections: sections.collect(),
        files: Some("figures".to_owned()),
    };
    std::fs::create_dir_all(folder.join("figures"))?;
    std::fs::write(folder.join("report.html"), document.html()?)?;
    let writer = FileWriter::new();
    for figure in document.figures() {
        for file in writer.files(figure)? {
            std::fs::write(folder.join("figures").join(file.name), file.bytes)?;
        }
    }
    Ok(())
}
