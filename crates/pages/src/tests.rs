//! From folders to documents: which figures there are, and whether they show the right numbers.

#![expect(clippy::float_cmp, reason = "the numbers are whole")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sb_figures::{Chart, Document, Figure, Item, number};
use sb_report::{Options, Report, read};

use crate::{Course, CourseSpan, CourseStep, Source, SpanKind, document};

/// A trace: its request, its cold starts, and its times in milliseconds: computation, trigger, container initialization.
type Sent<'a> = (&'a str, u32, [u32; 3]);

/// Writes an execution. Each request is sent a quarter of a second after the one before.
fn execution(folder: &Path, application: &str, label: &str, traces: &[Sent]) {
    fs::create_dir_all(folder).unwrap();
    let about = format!(r#"{{ "application": "{application}", "plan": "{label}" }}"#);
    fs::write(folder.join("run.json"), about).unwrap();
    let mut sent = "invocation,request,trace_id,planned,sent,answered,latency_ms,latency_from_planned_ms,status,outcome\n".to_owned();
    let mut rows = "trace_id,start_time,end_time,duration,url,num_cold_starts,errors,throttles,faults,services,\
        longest_path_names,orchestration,trigger,container_initialization,runtime_initialization,computation,queing,\
        overhead,external_service,unclassified\n"
        .to_owned();
    for (at, (request, cold, parts)) in traces.iter().enumerate() {
        let (start, whole) = (1000.0 + at as f64 * 0.25, parts.iter().sum::<u32>());
        let end = start + f64::from(whole) / 1000.0;
        let id = format!("1-5759e988-{at:024x}");
        let latency = format!("{whole}.000");
        writeln!(sent, "{},{request},{id},{start:.6},{start:.6},{end:.6},{latency},{latency},200,ok", at + 1)
            .unwrap();
        let time = |millis: u32| format!("0:00:{:02}.{:03}000", millis / 1000, millis % 1000);
        let [computation, trigger, container] = parts.map(time);
        writeln!(
            rows,
            "{id},{start:.3},{end:.3},{},,{cold},0,0,0,[],[],,{trigger},{container},,{computation},,,,",
            time(whole)
        )
        .unwrap();
    }
    fs::write(folder.join("invocations.csv"), sent).unwrap();
    fs::write(folder.join("trace_breakdown.csv"), rows).unwrap();
}

fn report_of(folder: &Path) -> Report {
    Report::new(&read(&[folder.to_owned()], &Options::default()).unwrap())
}

/// A shop: buying takes 10 to 30 ms warm and 100 ms longer cold, looking takes 5 ms.
fn shop() -> Report {
    let folder = tempfile::tempdir().unwrap();
    let traces = [
        ("buy", 1, [40, 4, 80]),
        ("buy", 0, [10, 2, 0]),
        ("buy", 0, [20, 4, 0]),
        ("buy", 0, [30, 6, 0]),
        ("look", 0, [5, 0, 0]),
    ];
    execution(&folder.path().join("shop/logs/2026-01-31_12-00-00"), "shop", "levels", &traces);
    report_of(folder.path())
}

fn figure<'a>(page: &'a Document, id: &str) -> &'a Figure {
    page.figures()
        .find(|figure| figure.id.as_str() == id)
        .unwrap_or_else(|| panic!("there is no figure {id}"))
}

/// A cell of the table behind a variant, by the name of its row and column.
fn cell<'a>(figure: &'a Figure, variant: usize, row: &str, column: &str) -> &'a str {
    let table = &figure.variants[variant].table;
    let column = table.columns.iter().position(|found| found.name == column).unwrap();
    &table.rows.iter().find(|cells| cells[0] == row).unwrap()[column]
}

#[test]
fn a_breakdown_has_the_time_of_each_activity() {
    let report = shop();
    let page = document(&Source::new(&report));
    let latency = figure(&page, "latency-by-request-type");
    let names: Vec<_> = latency.variants.iter().map(|variant| variant.name.as_str()).collect();
    assert_eq!(names, ["p50", "p99", "mean"]);
    assert_eq!(cell(latency, 0, "shop (buy)", "computation [ms]"), "20.0");
    assert_eq!(cell(latency, 0, "shop (buy)", "duration [ms]"), "24.0");
    assert_eq!(cell(latency, 2, "shop (buy)", "trigger [ms]"), "4.0");
    assert_eq!(cell(latency, 0, "shop (buy)", "traces"), "3");
    let Chart::Bars(bars) = &latency.variants[0].chart else { panic!("no bars") };
    let buy = bars.rows.iter().find(|row| row.name == "shop (buy)").unwrap();
    assert_eq!(buy.values.iter().flatten().sum::<f64>(), 24.0);
    assert_eq!(buy.label, "24 ms, n = 3");
    assert!(bars.parts.iter().all(|part| part.name != "unclassified"), "there is no such time");
    // All types of an application together.
    assert_eq!(cell(figure(&page, "latency-by-application"), 0, "shop", "traces"), "4");
}

#[test]
fn penalties_are_differences_by_activity() {
    let report = shop();
    let page = document(&Source::new(&report));
    let cold = figure(&page, "cold-penalty");
    assert_eq!(cell(cold, 0, "shop (buy)", "computation [ms]"), "20.0");
    assert_eq!(cell(cold, 0, "shop (buy)", "container initialization [ms]"), "80.0");
    assert_eq!(cell(cold, 0, "shop (buy)", "sum [ms]"), "100.0");
    assert_eq!(cold.variants[0].table.rows.len(), 1, "looking was never cold");
    let slow = figure(&page, "slow-penalty");
    let value: f64 = cell(slow, 0, "shop (buy)", "computation [ms]").parse().unwrap();
    assert!((value - 9.8).abs() < 1e-6, "p99 of 10, 20 and 30 is 29.8: {value}");
}

#[test]
fn distributions_have_their_steps_and_sizes() {
    let report = shop();
    let page = document(&Source::new(&report));
    let Chart::Panels(panels) = &figure(&page, "ecdf-by-status").variants[0].chart else {
        panic!("no panels")
    };
    let buy = panels.panels.iter().find(|panel| panel.name == "shop (buy)").unwrap();
    let curve = |name: &str| buy.curves.iter().find(|curve| curve.name == name).unwrap();
    let rounded = |(x, y): &(f64, f64)| (number(*x), number(*y));
    let points: Vec<_> = curve("warm").points.iter().map(rounded).collect();
    let expected = [("12", "0.3333"), ("24", "0.6667"), ("36", "1")];
    assert_eq!(points, expected.map(|(x, y)| (x.to_owned(), y.to_owned())));
    assert!(curve("warm").note.starts_with("n = 3, interval "), "{}", curve("warm").note);
    assert_eq!(curve("cold").note, "n = 1, interval unknown");
}

#[test]
fn shares_are_in_per_cent_and_unknown_where_there_is_no_whole() {
    let report = shop();
    let page = document(&Source::new(&report));
    let shares = figure(&page, "shares");
    assert_eq!(cell(shares, 0, "shop", "cold [%]"), "20.0");
    // Wilson's interval of one in five.
    assert_eq!(cell(shares, 0, "shop", "cold from [%]"), "3.6224");
    assert_eq!(cell(shares, 0, "shop", "cold to [%]"), "62.4465");
    let Chart::Bars(bars) = &shares.variants[0].chart else { panic!("no bars") };
    assert_eq!(bars.rows[0].intervals[0], Some((3.6224, 62.4465)));
    assert_eq!(cell(shares, 0, "shop", "failed requests [%]"), "0.0");
    assert_eq!(cell(shares, 0, "shop", "invalid traces [%]"), "0.0");
    let folder = tempfile::tempdir().unwrap();
    execution(&folder.path().join("shop/logs/2026-01-31_12-00-00"), "shop", "levels", &[]);
    let report = report_of(folder.path());
    let page = document(&Source::new(&report));
    assert_eq!(cell(figure(&page, "shares"), 0, "shop", "cold [%]"), "", "of no trace, it is unknown");
    assert!(page.sections[0].text[0].contains("so there is no breakdown"), "{:?}", page.sections[0].text);
}

#[test]
fn a_page_says_whether_enough_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    for trial in 0..4_u32 {
        let place = folder.path().join(format!("shop/logs/2026-01-31_12-00-0{trial}"));
        let traces: Vec<Sent> = (0..30).map(|at| ("buy", 0, [100 + at % 3 + trial % 2, 0, 0])).collect();
        execution(&place, "shop", "levels", &traces);
    }
    let report = report_of(folder.path());
    let page = document(&Source::new(&report));
    let section = page.sections.iter().find(|section| section.title == "Was enough measured?").unwrap();
    let Item::Table(table, None) = &section.items[0] else { panic!("no table") };
    assert_eq!(table.rows.len(), 2, "all types, and the only one");
    let row = &table.rows[1];
    assert_eq!((row[0].as_str(), row[1].as_str(), row[2].as_str()), ("shop (buy)", "durations", "120"));
    assert!(row[3].starts_with("precise enough ("), "{row:?}");
    assert_eq!(row[4], "too few requests: at least 30 more trials", "10 of 1,000 lie beyond p99");
    let html = page.html().unwrap();
    assert!(html.contains("too few requests: at least 30 more trials"));
}

#[test]
fn rates_are_those_of_each_second() {
    let report = shop();
    let page = document(&Source::new(&report));
    let Chart::Panels(panels) = &figure(&page, "rates").variants[0].chart else { panic!("no panels") };
    let sent = panels.panels[0].curves.iter().find(|curve| curve.name == "executed").unwrap();
    assert_eq!(sent.points, [(0.0, 4.0), (1.0, 1.0)]);
    assert_eq!(panels.panels[0].name, "shop 2026-01-31_12-00-00");
}

#[test]
fn labels_are_named_only_where_they_differ() {
    let folder = tempfile::tempdir().unwrap();
    for (at, label) in ["one", "two"].iter().enumerate() {
        let place = folder.path().join(format!("shop/logs/2026-01-31_12-00-0{at}"));
        execution(&place, "shop", label, &[("buy", 0, [10, 0, 0]), ("buy", 0, [10, 0, 0])]);
    }
    let report = report_of(folder.path());
    let page = document(&Source::new(&report));
    let rows = &figure(&page, "latency-by-application").variants[0].table.rows;
    let names: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["shop · one", "shop · two"]);
}

#[test]
fn the_run_is_a_timeline() {
    let report = shop();
    let span = |from, to, kind| CourseSpan { from, to, kind, what: String::new() };
    let steps = vec![
        CourseStep { name: "shop/deploy".to_owned(), spans: vec![span(0.0, 5.0, SpanKind::Work)] },
        CourseStep {
            name: "shop/load".to_owned(),
            spans: vec![span(5.0, 7.0, SpanKind::Wait), span(7.0, 17.0, SpanKind::Load)],
        },
    ];
    let source = Source { course: Some(Course { steps, left_out: 3 }), ..Source::new(&report) };
    let page = document(&source);
    let timeline = figure(&page, "timeline");
    let Chart::Timeline(chart) = &timeline.variants[0].chart else { panic!("no timeline") };
    let legend: Vec<_> = chart.legend.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(legend, ["waits for locks or its turn", "works", "sends load"]);
    assert_eq!(chart.lanes[1].spans[1].to, 17.0);
    assert_eq!(timeline.notes, ["3 further steps are not shown; `sb status` has all of them."]);
}

#[test]
fn what_is_damaged_is_a_warning_in_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("shop/logs/2026-01-31_12-00-00");
    execution(&place, "shop", "levels", &[("buy", 0, [10, 0, 0]), ("buy", 0, [10, 0, 0])]);
    let path = place.join("trace_breakdown.csv");
    let text = fs::read_to_string(&path).unwrap().replacen("0:00:00.010000", "soon", 1);
    fs::write(&path, text).unwrap();
    let report = report_of(folder.path());
    let page = document(&Source::new(&report));
    let items = page.sections.iter().flat_map(|section| &section.items);
    let warnings = items.filter_map(|item| match item {
        Item::Warning(text) => Some(text),
        Item::Figure(_) | Item::Table(..) => None,
    });
    let warnings: Vec<_> = warnings.collect();
    assert!(warnings.iter().any(|text| text.contains("trace_breakdown.csv, line 2")), "{warnings:?}");
}

#[test]
fn a_document_links_the_files_that_are_beside_it() {
    let report = shop();
    let source = Source {
        figures: Some("figures".to_owned()),
        tables: Some("tables".to_owned()),
        ..Source::new(&report)
    };
    let page = document(&source).html().unwrap();
    for wanted in ["figures/latency-by-application-p99.svg", "figures/rates.csv", "tables/overview.csv"] {
        assert!(page.contains(&format!("href=\"{wanted}\"")), "{wanted}");
    }
    let alone = document(&Source::new(&report)).html().unwrap();
    assert!(!alone.contains(".svg\"") && !alone.contains(".csv\""));
}

/// Two executions of one load and one of another, of a dataset with three minutes.
#[test]
fn a_load_of_a_dataset_is_drawn_beside_its_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let sent = [("buy", 0, [10, 2, 0])];
    for (at, planned) in [[20, 0, 60], [20, 0, 60], [30, 0, 50]].into_iter().enumerate() {
        let own = folder.path().join(format!("shop/logs/2026-01-31_12-00-0{at}"));
        execution(&own, "shop", "levels", &sent);
        let load = serde_json::json!({
            "kind": "trace", "name": "spikes", "source": ["dataset: Azure Functions 2019", "factor: 1"],
            "minutes": { "first": 3, "original": [10, 0, 30], "upscaled": [20.0, 0.0, 60.0], "planned": planned },
        });
        let about = serde_json::json!({ "application": "shop", "plan": "levels", "load": load });
        fs::write(own.join("run.json"), about.to_string()).unwrap();
        fs::write(own.join("sb_config.yml"), "sb: {}\nshop:\n  workload_type: spikes\n").unwrap();
    }
    let report = report_of(folder.path());
    let page = document(&Source::new(&report));
    let minutes = figure(&page, "workload-minutes");
    let panels = |variant: usize| match &minutes.variants[variant].chart {
        Chart::Panels(panels) => &panels.panels,
        other => panic!("{other:?}"),
    };
    let names: Vec<_> = panels(0).iter().map(|panel| panel.name.as_str()).collect();
    assert_eq!(
        names,
        ["shop · spikes · 2026-01-31_12-00-00 (2 executions)", "shop · spikes · 2026-01-31_12-00-02"]
    );
    let curves = &panels(0)[1].curves;
    let drawn: Vec<_> = curves.iter().map(|curve| (curve.name.as_str(), curve.note.as_str())).collect();
    assert_eq!(drawn, [("original", "40 in all"), ("upscaled", "80 in all"), ("planned", "80 in all")]);
    assert_eq!(curves[2].points, [(3.0, 30.0), (4.0, 0.0), (5.0, 50.0)]);
    // A factor alone is no difference.
    assert_eq!(panels(1)[0].curves[0].points, panels(1)[0].curves[2].points);
    let Chart::Panels(differences) = &figure(&page, "workload-differences").variants[0].chart else {
        panic!()
    };
    let of_planned = &differences.panels[1].curves[1].points;
    assert_eq!(of_planned[0], (3.0, 50.0));
    assert!(of_planned[1].1.is_nan(), "there is nothing in the dataset");
    let totals = report.table("workloads").unwrap();
    let cell = |column: &str| crate::shown::text(&totals.column(column).unwrap().cell(2));
    let found = ["dataset", "original", "planned", "planned_factor", "planned_dtw"].map(cell);
    assert_eq!(found, ["Azure Functions 2019", "40.0", "80.0", "2.0", "20.0"]);
    assert_eq!(cell("planned_moved_share"), "0.125");
}

#[test]
fn loads_of_no_dataset_have_no_section() {
    let report = shop();
    assert_eq!(report.table("workload_minutes").unwrap().rows(), 0);
    let page = document(&Source::new(&report));
    assert!(page.figures().all(|figure| !figure.id.as_str().starts_with("workload")));
}
