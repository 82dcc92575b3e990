//! What is made of many traces: merged critical paths, predictions, and traces for other tools.

use serde_json::{Value, json};

use crate::workspace::Workspace;

/// Traces of a function that stores an object, and looks up something beside that takes three quarters as long. The time of the object is in
/// milliseconds.
fn traces(first: usize, store: impl Iterator<Item = u32>) -> String {
    let mut lines = String::new();
    for (number, store) in (first..).zip(store) {
        let whole = 50 + store;
        let segments: Vec<Value> = [
            ("a", "", format!("GET /orders/{number}00"), "AWS::ApiGateway::Stage", 0, whole),
            ("b", "a", "shop".to_owned(), "AWS::Lambda::Function", 10, whole - 10),
            ("c", "b", "S3".to_owned(), "AWS::S3", 20, 20 + store),
            ("d", "b", "lookup".to_owned(), "AWS::DynamoDB::Table", 20, 20 + store * 3 / 4),
        ]
        .into_iter()
        .map(|(id, parent, name, origin, start, end)| {
            let parent = (!parent.is_empty()).then_some(parent);
            let document = json!({ "id": id, "parent_id": parent, "name": name, "origin": origin,
                                   "start_time": 1_700_000_000.0 + f64::from(start) / 1e3,
                                   "end_time": 1_700_000_000.0 + f64::from(end) / 1e3 });
            json!({ "Document": document.to_string() })
        })
        .collect();
        let trace = json!({ "Id": format!("1-{number:08}"), "Duration": f64::from(whole) / 1e3, "Segments": segments });
        lines += &format!("{trace}\n");
    }
    lines
}

fn json_of(work: &Workspace, arguments: &[&str]) -> Value {
    let ran = work.sb(&[arguments, &["--format", "json"]].concat()).expect(0);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[track_caller]
fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 0.01, "{found} instead of {expected}");
}

#[test]
fn critical_paths_are_merged_grouped_and_compared() {
    let work = Workspace::new();
    for (folder, size, store) in [("shop/logs/1", 1, 100), ("shop/logs/2", 2, 200)] {
        work.write(&format!("{folder}/traces.json"), &traces(size * 1000, (0..20).map(|off| store + off)));
        let described = json!({ "application": "shop", "factors": { "size": size } });
        work.write(&format!("{folder}/run.json"), &described.to_string());
    }
    let all = json_of(&work, &["trace", "aggregate", "shop"]);
    let group = &all["groups"][0];
    assert_eq!((&group["traces"], &all["invalid"]), (&json!(40), &json!(0)));
    let names: Vec<&str> =
        group["paths"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["GET /orders/{n}", "shop", "S3"], "lookup is off the path, and ids are replaced");
    near(&group["paths"][0]["total_ms"], group["total_ms"].as_f64().unwrap());

    let by_size = json_of(&work, &["trace", "aggregate", "shop", "--group-by", "app,size"]);
    assert_eq!(by_size["groups"][1]["group"], json!({ "app": "shop", "size": "2" }));
    near(&by_size["groups"][1]["duration_ms"]["p50"], 259.5);
    let text = work.sb(&["trace", "aggregate", "shop", "--group-by", "size"]).expect(0).stdout;
    let command = text.lines().find_map(|line| line.split_once("sb trace show ")).unwrap().1;
    let shown = work.sb(&["trace", "show", command.split(' ').next().unwrap(), "shop/logs/1"]).expect(0);
    assert!(shown.stdout.contains("● on the critical path"), "{}", shown.stdout);

    let compared = ["trace", "aggregate", "shop/logs/2", "--against", "shop/logs/1"];
    let difference = json_of(&work, &compared);
    let first = &difference["groups"][0]["against"]["difference"][0];
    assert_eq!(first["frames"][2], "S3");
    near(&first["before_ms"], 109.5);
    near(&first["after_ms"], 209.5);
    let sides = work.sb(&compared).expect(0).stdout;
    let expected = "before  shop/logs/1/traces.json\nafter   shop/logs/2/traces.json\n";
    assert!(sides.starts_with(expected), "{sides}");
    work.sb(&[compared.as_slice(), &["--format", "svg", "--output", "difference.svg"]].concat()).expect(0);
    let svg = work.read("difference.svg");
    assert!(svg.contains("(+100.000 ms)") && svg.contains("slower") && !svg.contains("<script"), "{svg}");
    let folded = work.sb(&["trace", "aggregate", "shop/logs/1", "--format", "folded"]).expect(0).stdout;
    let leaf = "GET /orders/{n} (ApiGateway::Stage);shop (Lambda::Function);S3 2190000";
    assert!(folded.lines().any(|line| line == leaf), "{folded}");

    for (arguments, exit, message) in [
        (&["trace", "aggregate", "shop", "--group-by", "colour"][..], 2, "no trace has a value for `colour`"),
        (&["trace", "aggregate", "nowhere"], 2, "nowhere"),
        (
            &["trace", "aggregate", "shop/logs/2", "--against", "shop/logs/1", "--format", "folded"],
            2,
            "this format has one set of traces",
        ),
        (&["trace", "aggregate", "no/where"], 1, "there is no file or folder `no/where`"),
    ] {
        let ran = work.sb(arguments);
        let error = ran.stderr.replace("\n  │ ", " ");
        assert!(ran.code == exit && error.contains(message), "{arguments:?}: {} {error}", ran.code);
    }
}

#[test]
fn a_change_is_predicted_and_changes_are_ranked() {
    let work = Workspace::new();
    work.write("traces.json", &traces(1_000, (0..41).map(|off| 100 + off)));
    // S3 in a quarter of its time: the lookup takes over the path, for three quarters of it.
    let predicted =
        &json_of(&work, &["trace", "what-if", "traces.json", "--operation", "S3=0.25"])["groups"][0];
    near(&predicted["recorded"]["p50"]["ms"], 170.0);
    near(&predicted["predicted"]["p50"]["ms"], 140.0);
    assert_eq!((&predicted["changed"], &predicted["interval_unit"]), (&json!(41), &json!("trace")));
    let [low, high] = [0, 1].map(|end| predicted["predicted"]["p50"]["interval_ms"][end].as_f64().unwrap());
    assert!(low < 140.0 && 140.0 < high, "{low} to {high}");
    assert_eq!(predicted["predicted"]["p99"]["interval_ms"], Value::Null, "of 41 traces, none is beyond p99");

    let ranked = &json_of(&work, &["trace", "what-if", "traces.json"])["groups"][0];
    let best = &ranked["ranking"][0];
    assert_eq!(best["what"], "all external_service");
    let second = &ranked["ranking"][1];
    assert_eq!((&second["what"], &second["kind"]), (&json!("S3"), &json!("operation")));
    let option = second["option"].as_str().unwrap();
    let pattern = option.strip_prefix("--operation '").unwrap().trim_end_matches('\'');
    let again = &json_of(&work, &["trace", "what-if", "traces.json", "--operation", pattern])["groups"][0];
    assert_eq!(again["predicted"], second["predicted"]);
    let text = work.sb(&["trace", "what-if", "traces.json"]).expect(0).stdout;
    assert!(text.contains("what would help most") && text.contains("   2  S3 "), "{text}");

    for (options, message) in [
        (["--operation", "S4=2"], "no operation fits `S4`"),
        (["--operation", "S3"], "PATTERN=FACTOR"),
        (["--activity", "waiting=2"], "there is no activity `waiting`"),
        (["--cold-starts", "all"], "invalid value 'all'"),
    ] {
        let ran = work.sb(&[&["trace", "what-if", "traces.json"][..], &options].concat()).expect(2);
        assert!(ran.stderr.replace("\n  │ ", " ").contains(message), "{}", ran.stderr);
    }
}

#[test]
fn what_was_measured_in_another_setting_is_no_repetition() {
    let work = Workspace::new();
    for (folder, application, rate, first) in
        [("a/logs/1", "shop", 5, 1_000), ("a/logs/2", "shop", 10, 2_000), ("b/logs/1", "bank", 5, 3_000)]
    {
        work.write(&format!("{folder}/traces.json"), &traces(first, (0..41).map(|off| 100 + off)));
        let about =
            json!({ "application": application, "factors": { "rate": rate }, "labels": { "study": "s" } });
        work.write(&format!("{folder}/run.json"), &about.to_string());
    }
    let told = json_of(&work, &["trace", "what-if", "a", "b"]);
    let groups: Vec<_> = told["groups"].as_array().unwrap().iter().collect();
    assert_eq!(groups.len(), 3);
    for group in &groups {
        assert_eq!((&group["traces"], &group["interval_unit"]), (&json!(41), &json!("trace")), "{group}");
    }
    let text = work.sb(&["trace", "what-if", "a", "b"]).expect(0).stdout;
    for name in ["shop, rate = 5\n", "shop, rate = 10\n", "bank\n"] {
        assert!(text.contains(name), "no `{name}` in {text}");
    }
}

#[test]
fn a_trace_is_written_for_other_tools_and_read_again() {
    let work = Workspace::new();
    work.write("traces.json", &traces(1_000, [100].into_iter()));
    work.sb(&["trace", "export", "1-", "traces.json", "--output", "chrome.json"]).expect(0);
    let chrome: Value = serde_json::from_str(&work.read("chrome.json")).unwrap();
    let events = chrome["traceEvents"].as_array().unwrap();
    let names = |category: &str| -> Vec<&str> {
        let spans = events.iter().filter(|event| event["cat"] == category && event["tid"] != 0);
        spans.map(|event| event["name"].as_str().unwrap()).collect()
    };
    assert_eq!(names("critical_path"), ["GET /orders/100000", "shop", "S3"]);
    assert_eq!(names("off_path"), ["lookup"]);
    let jaeger = work.sb(&["trace", "export", "1-", "traces.json", "--format", "jaeger"]).expect(0).stdout;
    work.write("jaeger.json", &jaeger);
    let path = json_of(&work, &["trace", "list", "jaeger.json"]);
    assert_eq!(
        (&path["traces"][0]["duration_us"], &path["traces"][0]["valid"]),
        (&json!(150_000), &json!(true))
    );
    let folded = work.sb(&["trace", "export", "1-", "traces.json", "--format", "folded"]).expect(0).stdout;
    assert!(folded.contains(";S3 100000\n"), "{folded}");
    let speedscope =
        work.sb(&["trace", "export", "1-", "traces.json", "--format", "speedscope"]).expect(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&speedscope).unwrap()["profiles"][0]["endValue"], 150_000);
}

/// What the bench measures with limits, on a machine that has the time for it: here the order of the times alone.
#[test]
fn the_local_target_takes_what_was_predicted_more_or_less() {
    let bench = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/what_if.py");
    let work = Workspace::new();
    let mut python = std::process::Command::new("python3");
    python.args([
        bench,
        "--sb",
        env!("CARGO_BIN_EXE_sb"),
        "--seeds",
        "1",
        "--requests",
        "4",
        "--delay",
        "0.4",
        "--json",
    ]);
    let ran = python.env("SB_LOCKS", work.path().join("locks")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&ran.stdout).unwrap();
    // Three applications, two delays, two figures.
    assert_eq!(rows.len(), 12);
    for row in &rows {
        let [recorded, predicted, measured] =
            ["recorded_ms", "predicted_ms", "measured_ms"].map(|name| row[name].as_f64().unwrap());
        assert_eq!(row["traces"], 4, "{row}");
        // Sleeps never end early. At 2D, the sleep alone takes 0.8 s or more; at D/2, what is fixed takes 0.18 s.
        if row["case"] == "2D" {
            assert!(predicted > recorded + 100.0 && predicted > 800.0 && measured > 800.0, "{row}");
        } else {
            assert!(predicted < recorded && predicted > 180.0 && measured > 180.0, "{row}");
        }
    }
}
