//! Figures as a whole: what is where in the drawings, and what pages and files hold.

#![expect(clippy::float_cmp, reason = "places are written with two decimals, and read again")]

use resvg::tiny_skia::Pixmap;

use crate::document::{Document, Item, Section};
use crate::figure::{
    Axis, Bars, Chart, Curve, Figure, Id, Lane, Layout, Mark, Order, Panel, Panels, Part, Row, Shape, Span,
    Timeline, Variant,
};
use crate::file::{FileWriter, svg};
use crate::palette::Tone;
use crate::table::Table;

fn part(name: &str, tone: Tone) -> Part {
    Part { name: name.to_owned(), tone }
}

fn row(name: &str, values: &[Option<f64>]) -> Row {
    Row {
        name: name.to_owned(),
        values: values.to_vec(),
        label: format!("label of {name}"),
        ..Row::default()
    }
}

fn bars(rows: Vec<Row>, layout: Layout) -> Bars {
    Bars {
        axis: Axis::linear("latency", "ms").within(0.0, 100.0),
        layout,
        parts: vec![part("computation", Tone::Computation), part("trigger", Tone::Trigger)],
        rows,
        order: Order::LargestFirst,
    }
}

fn figure(id: &str, chart: Chart) -> Figure {
    let mut table = Table::new("The numbers", &["name", "#value"]);
    table.rows.push(vec!["one".to_owned(), "1".to_owned()]);
    Figure::new(id, "A title", "A sentence about it.", chart, table)
}

fn page(figures: Vec<Figure>) -> String {
    let section = Section {
        title: "A chapter".to_owned(),
        items: figures.into_iter().map(Item::Figure).collect(),
        ..Section::default()
    };
    let files = Some("figures".to_owned());
    Document { title: "A report".to_owned(), sections: vec![section], files, ..Document::default() }
        .html()
        .unwrap()
}

/// The value of an attribute of the first element of a text that has a class.
fn attribute(text: &str, class: &str, name: &str) -> f64 {
    let element = text.split('<').find(|element| element.contains(&format!(r#"class="{class}""#))).unwrap();
    let value = element.split(&format!(r#" {name}=""#)).nth(1).unwrap().split('"').next().unwrap();
    value.trim_end_matches('%').parse().unwrap()
}

#[test]
fn stacked_parts_follow_each_other() {
    let drawn = bars(vec![row("a", &[Some(25.0), Some(50.0)])], Layout::Stacked).drawn(10);
    let plot = &drawn.rows[0].plot;
    assert_eq!([attribute(plot, "f0", "x"), attribute(plot, "f0", "width")], [0.0, 25.0]);
    assert_eq!([attribute(plot, "f3", "x"), attribute(plot, "f3", "width")], [25.0, 50.0]);
    assert!(plot.contains(r#"data-tip="a · trigger: 50 ms""#), "{plot}");
}

#[test]
fn negative_parts_lie_to_the_left_of_zero() {
    let mut bars = bars(vec![row("a", &[Some(-40.0), Some(60.0)])], Layout::Stacked);
    bars.axis.range = Some((-100.0, 100.0));
    let plot = bars.drawn(10).rows.remove(0).plot;
    assert_eq!([attribute(&plot, "f0", "x"), attribute(&plot, "f0", "width")], [30.0, 20.0]);
    assert_eq!([attribute(&plot, "f3", "x"), attribute(&plot, "f3", "width")], [50.0, 30.0]);
    assert_eq!(attribute(&plot, "sb-z", "x1"), 50.0);
}

#[test]
fn bars_side_by_side_begin_at_zero_and_have_intervals() {
    let mut one = row("a", &[Some(40.0), Some(60.0)]);
    one.intervals = vec![Some((30.0, 55.0))];
    let plot = bars(vec![one], Layout::SideBySide).drawn(10).rows.remove(0).plot;
    assert_eq!([attribute(&plot, "f3", "x"), attribute(&plot, "f3", "width")], [0.0, 60.0]);
    assert_eq!([attribute(&plot, "f0", "y"), attribute(&plot, "f3", "y")], [1.0, 13.0]);
    assert_eq!([attribute(&plot, "sb-z", "x1"), attribute(&plot, "sb-z", "x2")], [30.0, 55.0]);
    assert!(plot.contains("(interval 30 to 55)"), "{plot}");
}

#[test]
fn an_unknown_value_is_not_drawn_as_zero() {
    let rows = vec![
        row("a", &[None, None]),
        row("b", &[Some(f64::NAN), Some(5.0)]),
        row("c", &[Some(0.0), Some(9.0)]),
    ];
    let drawn = bars(rows, Layout::Stacked).drawn(10);
    let named: Vec<_> = drawn.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(named, ["c", "b", "a"], "the largest is first, the unknown last");
    assert!(drawn.rows[2].plot.contains("unknown") && !drawn.rows[2].plot.contains("<rect"));
    assert!(!drawn.rows[1].plot.contains("unknown") && !drawn.rows[1].plot.contains("NaN"));
}

fn curve(shape: Shape, points: &[(f64, f64)]) -> Curve {
    Curve {
        name: "warm".to_owned(),
        note: "n = 4".to_owned(),
        tone: Tone::Warm,
        shape,
        points: points.to_vec(),
        intervals: Vec::new(),
    }
}

fn panels(x: Axis, y: Axis, curves: Vec<Curve>) -> Panels {
    let marks = vec![Mark { x: 75.0, text: "breaks here".to_owned() }];
    Panels { x, y, panels: vec![Panel { name: "p".to_owned(), curves, marks }] }
}

/// The places of the paths of a panel.
fn paths(area: &str) -> Vec<&str> {
    area.split(r#"<path d=""#).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn a_distribution_is_a_line_of_steps() {
    let panels = panels(
        Axis::linear("duration", "ms").within(0.0, 100.0),
        Axis::linear("share", "").within(0.0, 1.0),
        vec![curve(Shape::Steps, &[(25.0, 0.5), (50.0, 1.0)])],
    );
    let drawn = panels.drawn(10).remove(0);
    // The area is 300 wide and 180 high, and 1.03 high in the unit of the axis.
    let height = |share: f64| 180.0 * (1.0 - share / 1.03);
    let path: Vec<(f64, f64)> = paths(&drawn.area)[0][1..]
        .split('L')
        .map(|pair| pair.split_once(' ').unwrap())
        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
        .collect();
    let expected = [(75.0, height(0.0)), (75.0, height(0.5)), (150.0, height(0.5)), (150.0, height(1.0))];
    for ((x, y), (wanted_x, wanted_y)) in path.iter().zip(expected) {
        assert!((x - wanted_x).abs() < 0.02 && (y - wanted_y).abs() < 0.02, "{path:?}");
    }
    assert_eq!(path.len(), 4);
    assert!(drawn.area.contains(r#"data-x="25 50" data-y="0.5 1""#), "{}", drawn.area);
    assert_eq!(attribute(&drawn.area, "sb-m", "x1"), 75.0);
    assert!(drawn.area.contains("breaks here"));
    assert_eq!(drawn.legend[0].1, "warm: n = 4");
}

#[test]
fn a_gap_interrupts_a_line_and_what_has_no_place_is_counted() {
    let points = [(1.0, 1.0), (10.0, 2.0), (20.0, f64::NAN), (0.0, 3.0), (100.0, 4.0), (1000.0, 5.0)];
    let panels = panels(
        Axis::logarithmic("load", "1/s"),
        Axis::linear("latency", "ms"),
        vec![curve(Shape::Line, &points)],
    );
    let drawn = panels.drawn(10).remove(0);
    assert_eq!(paths(&drawn.area).len(), 2, "{}", drawn.area);
    assert_eq!(drawn.legend[0].1, "warm: n = 4 (1 without a place on the axes)");
    // From 1 to 1000 on a logarithmic axis, 10 is at a third.
    let second =
        paths(&drawn.area)[0].split('L').nth(1).unwrap().split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!((second - 100.0).abs() < 0.1, "{second}");
    assert!(!drawn.area.contains("NaN") && !drawn.area.contains("inf"));
}

#[test]
fn many_points_are_thinned_and_keep_their_extremes() {
    let mut points: Vec<(f64, f64)> = (0..200_000).map(|at| (f64::from(at), 50.0)).collect();
    points[123_456].1 = 99.0;
    points[7].1 = 1.0;
    let panels = panels(
        Axis::linear("time", "s"),
        Axis::linear("rate", "1/s").within(0.0, 100.0),
        vec![curve(Shape::Line, &points)],
    );
    let area = panels.drawn(10).remove(0).area;
    assert!(area.len() < 100_000, "{}", area.len());
    assert!(area.contains("123456 ") && area.contains(" 99 ") && area.contains("50 1 50"));
}

#[test]
fn a_panel_without_values_says_so() {
    for points in [&[][..], &[(0.0, f64::NAN)], &[(5.0, 5.0)]] {
        let panels =
            panels(Axis::linear("time", "s"), Axis::linear("rate", "1/s"), vec![curve(Shape::Line, points)]);
        let area = panels.drawn(10).remove(0).area;
        assert_eq!(area.contains("no values"), points.is_empty(), "{points:?}");
        assert!(!area.contains("NaN") && !area.contains("inf"), "{area}");
        assert_eq!(area.contains("<circle"), points.len() == 1 && points[0].1 == 5.0, "{points:?}: {area}");
    }
}

#[test]
fn spans_lie_where_they_happened() {
    let span = |from, to| Span { from, to, name: "deploy".to_owned(), tone: Tone::Neutral };
    let timeline = Timeline {
        axis: Axis::linear("time", "s").within(0.0, 200.0),
        legend: vec![part("step", Tone::Neutral)],
        lanes: vec![Lane { name: "hello".to_owned(), spans: vec![span(50.0, 150.0)] }],
    };
    let plot = timeline.drawn(10).rows.remove(0).plot;
    assert_eq!([attribute(&plot, "f18", "x"), attribute(&plot, "f18", "width")], [25.0, 50.0]);
    assert!(plot.contains("hello: deploy, from 50 s, for 100 s"), "{plot}");
}

fn hostile_names() -> Vec<String> {
    vec![
        r#"<script>alert("x")</script>"#.to_owned(),
        r#"" onmouseover="alert(1)" x=""#.to_owned(),
        "control \u{0}\u{1b}[31m\u{7f}\u{202e} 'quoted' & done".to_owned(),
        "</svg></style></script>]]>".to_owned(),
        "x".repeat(10_000),
        "字形 без font 🎉".to_owned(),
    ]
}

fn hostile() -> Vec<Figure> {
    let names = hostile_names();
    let rows = names.iter().map(|name| row(name, &[Some(10.0), Some(20.0)])).collect();
    let mut with_bars = figure("bars", Chart::Bars(bars(rows, Layout::Stacked)));
    let panel = |name: &String| {
        let mut curve = curve(Shape::LineAndPoints, &[(1.0, 1.0), (2.0, 2.0)]);
        curve.name.clone_from(name);
        let marks = vec![Mark { x: 1.5, text: name.clone() }];
        Panel { name: name.clone(), curves: vec![curve], marks }
    };
    let panels = Panels {
        x: Axis::linear("x", "s"),
        y: Axis::linear("y", "ms"),
        panels: names.iter().map(panel).collect(),
    };
    let lanes = names.iter().map(|name| {
        let span = Span { from: 0.0, to: 1.0, name: name.clone(), tone: Tone::Bad };
        Lane { name: name.clone(), spans: vec![span] }
    });
    let timeline = Timeline { axis: Axis::linear("time", "s"), legend: Vec::new(), lanes: lanes.collect() };
    with_bars.title.clone_from(&names[0]);
    with_bars.notes.push(names[1].clone());
    for variant in &mut with_bars.variants {
        variant.name.clone_from(&names[1]);
        variant.table.rows.push(vec![names[0].clone(), names[2].clone()]);
    }
    vec![with_bars, figure("panels", Chart::Panels(panels)), figure("timeline", Chart::Timeline(timeline))]
}

#[test]
fn names_cannot_leave_their_place_in_a_page() {
    let page = page(hostile());
    assert_eq!(page.matches("<script").count(), 1, "only the script of the page");
    assert_eq!(page.matches("</script").count(), 1);
    assert_eq!(page.matches("<style").count(), 1);
    for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        // Without what is quoted, a tag holds names of attributes only.
        let names: String = tag.split('"').step_by(2).collect();
        assert!(!names.contains(" on") && !names.contains(" style="), "{tag}");
    }
    assert!(!page.contains('\u{0}') && !page.contains('\u{1b}') && !page.contains('\u{202e}'));
    assert!(!page.contains(&"x".repeat(500)), "long names are cut");
    assert!(
        !page.contains("http://")
            || page.matches("http://").count() == page.matches("http://www.w3.org").count()
    );
}

#[test]
fn pictures_with_hostile_names_are_well_formed() {
    for figure in hostile() {
        let text = svg(&figure, &figure.variants[0]);
        let document = roxmltree::Document::parse(&text).unwrap();
        assert!(!document.descendants().any(|node| node.has_tag_name("script")));
        assert!(
            document.descendants().all(|node| node.attributes().all(|one| !one.name().starts_with("on")))
        );
        let width: f64 = document.root_element().attribute("width").unwrap().parse().unwrap();
        assert!(width < 1100.0, "long names do not widen the picture: {width}");
    }
}

#[test]
fn the_policy_of_a_page_names_its_style_and_script() {
    let page = page(hostile());
    let policy = page
        .split(r#"http-equiv="Content-Security-Policy" content=""#)
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    for element in ["style", "script"] {
        let text = page
            .split(&format!("<{element}>"))
            .nth(1)
            .unwrap()
            .split(&format!("</{element}>"))
            .next()
            .unwrap();
        let hash = crate::prepared::policy_hash(text);
        assert!(policy.contains(&format!("{element}-src {hash}")), "{policy}");
    }
}

#[test]
fn a_page_has_switch_filter_zoom_table_and_links() {
    let rows: Vec<_> =
        (0..1500).map(|at| row(&format!("group {at}"), &[Some(f64::from(at)), None])).collect();
    let mut figure = figure("latency", Chart::Bars(bars(rows, Layout::Stacked)));
    figure.variants[0].name = "p50".to_owned();
    figure.variants.push(Variant { name: "p99".to_owned(), ..figure.variants[0].clone() });
    let page = page(vec![figure]);
    for wanted in [
        r#"data-choose="1" aria-pressed="false">p99</button>"#,
        r#"<input type="search""#,
        "1000 rows",
        "The first 1000 of 1500 are shown",
        r#"data-zoom="in" aria-label="Zoom in""#,
        "<caption>The numbers</caption>",
        r#"<th class="number" scope="col">value</th>"#,
        r#"href="figures/latency-p99.pdf""#,
        r##"<a href="#latency">A title</a>"##,
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(page.find("group 1499").unwrap() < page.find("group 1498").unwrap(), "the largest is first");
}

#[test]
fn files_are_pictures_that_other_programs_read() {
    let mut figure =
        figure("latency", Chart::Bars(bars(vec![row("a", &[Some(50.0), Some(25.0)])], Layout::Stacked)));
    figure.notes.push("字 is not in the font.".to_owned());
    let files = FileWriter::new().files(&figure).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["latency.svg", "latency.png", "latency.pdf", "latency.csv"]);
    assert_eq!(files[3].bytes, b"name,value\none,1\n");

    let picture = Pixmap::decode_png(&files[1].bytes).unwrap();
    let svg = roxmltree::Document::parse(std::str::from_utf8(&files[0].bytes).unwrap()).unwrap();
    let number = |node: roxmltree::Node, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let width = number(svg.root_element(), "width");
    assert_eq!(f64::from(picture.width()), width * 2.0);
    // The first bar is half as wide as its plot, and has the colour of computation.
    let bar = svg
        .descendants()
        .find(|node| node.attribute("class") == Some("f0") && node.attribute("x") == Some("0%"));
    let plot = bar.unwrap().parent_element().unwrap();
    let colour = |share: f64| {
        let x = (number(plot, "x") + number(plot, "width") * share) * 2.0;
        let y = (number(plot, "y") + 3.0) * 2.0;
        let pixel = picture.pixel(x as u32, y as u32).unwrap();
        [pixel.red(), pixel.green(), pixel.blue()]
    };
    assert_eq!(colour(0.05), [0x00, 0x9e, 0x73]);
    assert_ne!(colour(0.55), colour(0.05));
    assert_eq!(colour(0.9), [255, 255, 255]);
    // The title is there: a text without a font would not be.
    let dark = (0..picture.width() * 60).filter(|at| picture.pixels()[*at as usize].red() < 100).count();
    assert!(dark > 200, "{dark}");

    let pdf = String::from_utf8_lossy(&files[2].bytes);
    assert!(pdf.starts_with("%PDF-") && pdf.trim_end().ends_with("%%EOF"));
    assert!(pdf.contains("/Type /Page") && pdf.contains("DejaVuSans"), "the font is in the file");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let check = |document: Document, message: &str| {
        assert_eq!(document.html().unwrap_err().to_string(), message);
    };
    let of = |figures: Vec<Figure>| {
        let items = figures.into_iter().map(Item::Figure).collect();
        Document { sections: vec![Section { items, ..Section::default() }], ..Document::default() }
    };
    let simple = || figure("a", Chart::Bars(bars(vec![row("r", &[None, None])], Layout::Stacked)));
    check(
        of(vec![simple(), simple()]),
        "two figures have the id `a`: their files would replace each other; give one another id",
    );
    let mut empty = simple();
    empty.variants.clear();
    check(of(vec![empty]), "figure `a` has no drawing: give it at least one variant");
    let mut ragged = simple();
    ragged.variants[0].table.rows.push(vec!["alone".to_owned()]);
    check(
        of(vec![ragged]),
        "row 2 of table `The numbers` of figure `a` has 1 cells, but there are 2 columns",
    );
    let wrong = figure("a", Chart::Bars(bars(vec![row("r", &[None])], Layout::Stacked)));
    check(of(vec![wrong]), "row `r` of figure `a` has 1 values, but there are 2 parts");
}

#[test]
fn ids_are_safe_in_file_names() {
    let check = |text: &str, id: &str| assert_eq!(Id::new(text).as_str(), id);
    check("../../etc/passwd", "etc-passwd");
    check("Latency [ms] by \"app\"", "latency-ms-by-app");
    check("字", "figure");
    check(&"ab ".repeat(100), "ab-".repeat(27)[..80].trim_end_matches('-'));
}
