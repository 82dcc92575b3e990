//! `sb dataset`: from production traces to a load.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::workspace::Workspace;

/// Names of functions: as many hexadecimal digits as the published ones have.
fn name(number: usize) -> String {
    format!("{number:064x}")
}

/// Counts of a minute (from 1) of a function that is called at least once a second.
fn count(function: usize, day: usize, minute: usize) -> usize {
    match function {
        // Steady, a jump in both of the study's windows, peaks, and up and down.
        0 => 100 + day,
        1 => {
            if matches!(minute, 610..=1089) {
                300
            } else {
                90
            }
        }
        2 => {
            if minute.is_multiple_of(6) {
                900
            } else {
                0
            }
        }
        3 => 100 + minute * 37 % 61,
        // Below one a second on the first day, a timer, and one that is not there every day.
        4 => usize::from(minute.is_multiple_of(2)),
        _ => 120,
    }
}

/// Fourteen days of six functions; the last one is missing on day 9.
fn dataset(work: &Workspace) {
    for day in 1..=14 {
        let minutes: Vec<String> = (1..=1440).map(|minute: usize| minute.to_string()).collect();
        let mut text = format!("HashOwner,HashApp,HashFunction,Trigger,{}\n", minutes.join(","));
        for function in 0..7 {
            if function == 6 && day == 9 {
                continue;
            }
            let trigger = if function == 5 { "timer" } else { "http" };
            write!(text, "{},{},{},{trigger}", name(90), name(91), name(function)).unwrap();
            for minute in 1..=1440 {
                write!(text, ",{}", count(function, day, minute)).unwrap();
            }
            text.push('\n');
        }
        work.write(&format!("traces/invocations_per_function_md.anon.d{day:02}.csv"), &text);
    }
}

fn json_of(work: &Workspace, arguments: &[&str]) -> Value {
    let ran = work.sb(&[arguments, &["--format", "json"]].concat()).expect(0);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_dataset_is_summarized_sampled_and_its_patterns_are_named() {
    let work = Workspace::new();
    dataset(&work);
    let summary = json_of(&work, &["dataset", "summarize", "traces"]);
    let steps: Vec<(&str, u64)> = summary["funnel"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["step"].as_str().unwrap(), step["functions"].as_u64().unwrap()))
        .collect();
    assert_eq!(steps, [("total", 7), ("available", 6), ("no_timer", 5), ("rate", 4)]);
    let low = json_of(&work, &["dataset", "summarize", "traces", "--min-rate", "0.001", "--all-triggers"]);
    assert_eq!(low["funnel"][3]["functions"], 6);
    let week = json_of(&work, &["dataset", "summarize", "traces", "--days", "1-7"]);
    assert_eq!(week["funnel"][1]["functions"], 7);
    for (ending, start) in [("svg", &b"<svg"[..]), ("png", b"\x89PNG"), ("pdf", b"%PDF")] {
        let file = format!("funnel.{ending}");
        let ran =
            work.sb(&["dataset", "summarize", "traces", "--figure", &file, "--format", "markdown"]).expect(0);
        assert!(ran.stdout.contains("| step | functions | left out |"), "{}", ran.stdout);
        assert!(std::fs::read(work.path().join(file)).unwrap().starts_with(start));
    }

    work.sb(&["dataset", "sample", "traces", "--count", "3", "--seed", "5", "--output", "one"]).expect(0);
    work.sb(&["dataset", "sample", "traces", "--count", "3", "--seed", "5", "--output", "two"]).expect(0);
    let [one, two] = ["one", "two"].map(|folder| work.read(&format!("{folder}/sampled.csv")));
    assert_eq!(one, two);
    assert_eq!(one.lines().count(), 4);
    assert_eq!(std::fs::read_dir(work.path().join("one/figures")).unwrap().count(), 6);
    assert!(work.read("one/contact-sheet.html").contains("trace_classification.csv"));
    assert!(work.read("one/windows.csv").starts_with("i,window,HashFunction,m0,"));

    let found = json_of(&work, &["dataset", "classify", "traces"]);
    let patterns: Vec<&str> = found["functions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["window"] == "time1")
        .map(|row| row["pattern"].as_str().unwrap())
        .collect();
    assert_eq!(patterns, ["steady", "jump", "spikes", "fluctuating"]);
    work.write("labels.csv", &format!("HashFunction,time1,time2\n{},fluctuating,steady\n", name(0)));
    let found = json_of(&work, &["dataset", "classify", "traces", "--labels", "labels.csv"]);
    assert_eq!(found["functions"][0]["pattern"], "fluctuating");
    assert_eq!(found["functions"][0]["by"], "label");
    assert_eq!(found["confusion"].as_array().unwrap().len(), 2);
    let text = work.sb(&["dataset", "classify", "traces", "--labels", "labels.csv"]).expect(0).stdout;
    assert!(text.contains("Rules agree with 1 of 2 labels"), "{text}");
    work.write("labels.csv", "HashFunction,time1\nx,smooth\n");
    let ran = work.sb(&["dataset", "classify", "traces", "--labels", "labels.csv"]).expect(1);
    assert!(ran.stderr.contains("line 2: `smooth` is none of"), "{}", ran.stderr);
}

#[test]
fn a_window_is_selected_exported_and_sent_as_a_load() {
    let work = Workspace::new();
    dataset(&work);
    let found =
        json_of(&work, &["dataset", "select", "traces", "--pattern", "spikes", "--rate", "5", "--at", "600"]);
    assert_eq!(found["functions"][0]["function"], name(2).as_str());
    let ran =
        work.sb(&["dataset", "export", &name(2), "traces", "--from", "600", "--minutes", "20"]).expect(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let header = lines.iter().position(|line| *line == "\"InvocationsPerMinute\"").unwrap();
    assert!(lines[..header].iter().all(|line| line.starts_with("# ")), "{}", ran.stdout);
    for fact in ["anon.d01.csv", &name(2), "day 1, minutes 600 to 619", "factor: 1"] {
        assert!(lines[..header].iter().any(|line| line.contains(fact)), "{fact}: {}", ran.stdout);
    }
    let counts: Vec<usize> = lines[header + 1..].iter().map(|line| line.parse().unwrap()).collect();
    let expected: Vec<usize> = (600..620).map(|minute| count(2, 1, minute)).collect();
    assert_eq!(counts, expected);

    let arguments =
        ["dataset", "export", &name(2), "traces", "--from", "10:00", "--window", "5m", "--factor", "0.5"];
    work.sb(&[&arguments[..], &["--plain", "--output", "half.csv"]].concat()).expect(0);
    assert_eq!(work.read("half.csv"), "\"InvocationsPerMinute\"\n0\n0\n0\n0\n0\n");
    work.sb(&[&arguments[..], &["--output", "trace.csv"]].concat()).expect(0);
    work.sb(&["dataset", "export", &name(2), "traces", "--minutes", "20", "--output", "trace.csv"]).expect(0);
    // What reads loads reads the file, with what stands above the numbers.
    let load = json_of(&work, &["workload", "generate", "trace.csv", "--skip", "0s"]);
    let seconds = load["invocations_per_second"].as_array().unwrap();
    assert_eq!(seconds.len(), 1200);
    let sent: u64 = seconds.iter().map(|second| second.as_u64().unwrap()).sum();
    assert_eq!(sent, expected.iter().sum::<usize>() as u64);

    for (arguments, code, said) in [
        (&["--from", "1430"][..], 2, "pass the end of the day, which has 11 minutes left"),
        (&["--day", "15"], 2, "day 15 is not read"),
        (&["--at", "600,1080"], 2, "an export has one window"),
        (&["--factor", "-1"], 2, "scales nothing"),
        (&["--owner", "nobody"], 2, "there is no function"),
    ] {
        let ran = work.sb(&[&["dataset", "export", &name(2), "traces"], arguments].concat()).expect(code);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let ran = work.sb(&["dataset", "export", &name(6), "traces"]).expect(2);
    assert!(ran.stderr.contains("on 13 of 14 days"), "{}", ran.stderr);
    let next = [
        "dataset",
        "export",
        &name(0),
        "traces",
        "--plain",
        "--from",
        "1440",
        "--minutes",
        "2",
        "--into-next-day",
    ];
    assert_eq!(work.sb(&next).expect(0).stdout, "\"InvocationsPerMinute\"\n101\n102\n");
    std::fs::remove_file(work.path().join("traces/invocations_per_function_md.anon.d05.csv")).unwrap();
    let ran = work.sb(&["dataset", "summarize", "traces"]).expect(1);
    assert!(ran.stderr.contains("anon.d05.csv"), "{}", ran.stderr);
}

#[test]
fn single_invocations_are_exported_and_replayed_at_their_times() {
    let work = Workspace::new();
    work.write(
        "t.txt",
        "app,func,end_timestamp,duration\na,f,64.5,0.5\na,f,61.25,0.25\na,g,62.0,0.1\na,f,66.0,1.0\n",
    );
    let arguments = ["dataset", "export", "f", "t.txt", "--from", "2", "--minutes", "1"];
    work.sb(&[&arguments[..], &["--invocations", "--output", "starts.csv"]].concat()).expect(0);
    assert!(
        work.read("starts.csv")
            .ends_with("start_s,duration_s\n1.000000,0.250000\n4.000000,0.500000\n5.000000,1.000000\n")
    );
    work.write("load.toml", "trace = \"starts.csv\"\nspeed = 2\n");
    let load = json_of(&work, &["workload", "generate", "--load", "load.toml"]);
    assert_eq!(load["invocations_per_second"], serde_json::json!([1, 0, 2]));
    dataset(&work);
    let ran = work.sb(&["dataset", "export", &name(2), "traces", "--invocations"]).expect(2);
    assert!(ran.stderr.contains("has counts only"), "{}", ran.stderr);
}

#[test]
fn functions_of_one_name_in_two_applications_have_labels_of_their_own() {
    let work = Workspace::new();
    let mut text = "app,func,end_timestamp,duration\n".to_owned();
    for second in 0..1200 {
        for app in ["one", "two"] {
            writeln!(text, "{app},f,{second}.5,0.1").unwrap();
        }
    }
    work.write("t.txt", &text);
    let arguments =
        ["dataset", "classify", "t.txt", "--at", "1", "--min-rate", "0", "--labels", "labels.csv"];
    work.write("labels.csv", "HashFunction,time1\nf,jump\n");
    let refused = work.sb(&arguments).expect(1);
    assert!(refused.stderr.contains("of functions of several applications"), "{}", refused.stderr);
    assert!(refused.stderr.contains("HashApp"), "{}", refused.stderr);
    work.write("labels.csv", "HashApp,HashFunction,time1\ntwo,f,jump\n");
    let found = json_of(&work, &arguments);
    let patterns: Vec<_> = found["functions"].as_array().unwrap().iter().map(|row| &row["pattern"]).collect();
    assert_eq!(patterns, ["steady", "jump"]);
    let text = work.sb(&arguments).expect(0).stdout;
    assert!(text.contains("one/f  time1") && text.contains("two/f  time1"), "{text}");
}

#[test]
#[ignore = "needs: chromium"]
fn patterns_are_named_on_a_contact_sheet_in_a_browser_and_decide_afterwards() {
    let work = Workspace::new();
    dataset(&work);
    work.sb(&["dataset", "sample", "traces", "--output", "sample"]).expect(0);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/sheet_browser.py");
    let page = work.path().join("sample/contact-sheet.html");
    let looked = Command::new("python3").arg(script).arg(page).output().unwrap();
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
    work.write("labels.csv", &String::from_utf8_lossy(&looked.stdout));
    let found = json_of(&work, &["dataset", "classify", "traces", "--labels", "labels.csv"]);
    let by_hand = found["functions"].as_array().unwrap().iter().filter(|row| row["by"] == "label").count();
    assert_eq!(by_hand, 3);
}

#[test]
fn a_dataset_is_never_written_over_and_nothing_of_an_earlier_sample_stays() {
    let work = Workspace::new();
    dataset(&work);
    let own = "traces/invocations_per_function_md.anon.d01.csv";
    let before = work.read(own);
    let arguments = ["dataset", "export", &name(0), "traces", "--output", own];
    let refused = work.sb(&arguments).expect(2);
    assert!(refused.stderr.contains("belongs to the dataset"), "{}", refused.stderr);
    assert_eq!(work.read(own), before);
    // What nobody can send is no export.
    let refused =
        work.sb(&["dataset", "export", &name(0), "traces", "--factor", "1e300", "-o", "e.csv"]).expect(2);
    assert!(refused.stderr.contains("lower --factor"), "{}", refused.stderr);
    assert!(!work.path().join("e.csv").exists());

    // Neither is a pipe, which would be waited for without end; nothing is read before it is refused.
    assert!(Command::new("mkfifo").arg(work.path().join("pipe.csv")).status().unwrap().success());
    std::os::unix::fs::symlink("pipe.csv", work.path().join("pipe.toml")).unwrap();
    let exported = ["dataset", "export", &name(0), "traces", "--output", "pipe.csv"];
    let mixed = ["dataset", "mix", "traces", "--output", "pipe.toml"];
    for (arguments, output) in [(&exported[..], "pipe.csv"), (&mixed, "pipe.toml")] {
        let refused = work.sb(arguments).expect(2);
        let expected = format!("`{output}` is there, and is no regular file");
        assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    }
    let printed = |output: &str| {
        work.sb(&["dataset", "export", &name(0), "traces", "--plain", "--output", output]).expect(0).stdout
    };
    assert!(printed("-").starts_with("\"InvocationsPerMinute\"\n"));
    assert_eq!(printed("-"), printed("/dev/stdout"));

    let figures = || std::fs::read_dir(work.path().join("drawn/figures")).unwrap().count();
    work.sb(&["dataset", "sample", "traces", "--output", "drawn"]).expect(0);
    assert!(figures() > 2);
    work.sb(&["dataset", "sample", "traces", "--count", "1", "--output", "drawn"]).expect(0);
    assert_eq!(figures(), 2, "one for each window");
    // A folder with files of others is left alone, as by a report.
    work.write("drawn/labels.csv", "HashFunction,time1\n");
    work.write("mine/sampled.csv", "mine");
    for (folder, expected) in [
        ("drawn", "`drawn` holds files that are not of a sample: labels.csv; move them elsewhere"),
        ("mine", "`mine` is there already and is no sample of sb; name another folder"),
        ("traces", "`traces` is there already and is no sample of sb"),
    ] {
        let refused = work.sb(&["dataset", "sample", "traces", "--output", folder]).expect(2);
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
    assert_eq!((work.read("mine/sampled.csv").as_str(), figures()), ("mine", 2));

    let told = work.sb(&["dataset", "summarize", "traces", "--without", "tmer"]).expect(0);
    assert!(told.stderr.contains("no function of the dataset has the trigger `tmer`"), "{}", told.stderr);

    // A pipe in the place of a file would be waited for without end.
    std::fs::remove_file(work.path().join(own)).unwrap();
    assert!(Command::new("mkfifo").arg(work.path().join(own)).status().unwrap().success());
    let refused = work.sb(&["dataset", "summarize", "traces"]).expect(1);
    assert!(refused.stderr.contains("neither a file nor a folder"), "{}", refused.stderr);
}

/// An application whose function waits, and which is declared to work for so long.
fn application(work: &Workspace, name: &str, seconds: &str) {
    work.write(
        &format!("{name}/template.yaml"),
        "Transform: AWS::Serverless-2016-10-31\nParameters:\n  Memory: {Type: Number, Default: 128}\nResources:\n  Work:\n    \
            Type: AWS::Serverless::Function\n    Properties:\n      Runtime: python3.12\n      CodeUri: src\n      \
            Handler: app.handler\n      MemorySize: !Ref Memory\n      Events:\n        \
            Api: {Type: HttpApi, Properties: {Path: /, Method: get}}\nOutputs:\n  Endpoint:\n    \
            Value: !Sub https://${ServerlessHttpApi}.execute-api.${AWS::Region}.amazonaws.com\n",
    );
    work.write(
        &format!("{name}/src/app.py"),
        "def handler(event, context):\n    return {'statusCode': 200, 'body': 'ok'}\n",
    );
    work.write(
        &format!("{name}/benchmark.toml"),
        &format!(
            "[benchmark]\nname = \"{name}\"\n[params]\nmemory_size = 2048\n\
                [targets.aws]\nplatform = \"aws\"\ncredentials = [\"aws\"]\nusage = {{ lambda_gb_seconds = {seconds} }}\n[targets.local]\ntraces = \"local\"\n\
                [[deploy]]\nname = \"stack\"\n\
                sam = {{ template = \"template.yaml\", parameters = {{ Memory = \"{{{{params.memory_size}}}}\" }} }}\n\
                [[workload.requests]]\nname = \"get\"\nurl = \"{{{{outputs.endpoint}}}}/\"\n"
        ),
    );
}

#[test]
fn a_mix_of_a_dataset_is_a_plan_that_runs() {
    let work = Workspace::new();
    application(&work, "quick", "0.02");
    application(&work, "slow", "2");
    work.sb(&["validate"]).expect(0);
    // Forty functions of three minutes: the even ones last 20 ms, the odd ones 0.8 s.
    let mut text = "app,func,end_timestamp,duration\n".to_owned();
    for function in 0..40 {
        let duration = if function % 2 == 0 { 0.02 } else { 0.8 };
        for call in 0..=function {
            let end = 1.0 + 179.0 / f64::from(function + 1) * f64::from(call) + duration;
            writeln!(text, "a,f{function:02},{end:.3},{duration}").unwrap();
        }
    }
    work.write("trace.txt", &text);
    let arguments =
        ["dataset", "mix", "trace.txt", "--functions", "8", "--at", "1", "--for", "3m", "--speed", "30"];
    let rest = ["--rate", "20", "--applications", "quick", "slow", "--output", "plans/mix.toml"];
    std::fs::create_dir(work.path().join("plans")).unwrap();
    let found = json_of(&work, &[&arguments[..], &rest[..]].concat());
    assert_eq!((&found["candidates"], &found["invocations"]), (&40.into(), &120.into()), "{found:#}");
    let functions = found["functions"].as_array().unwrap();
    assert_eq!(functions.len(), 8);
    for function in functions {
        let is_quick = function["duration_s"].as_f64().unwrap() < 0.1;
        assert_eq!(function["application"], if is_quick { "quick" } else { "slow" }, "{function}");
    }
    let sum = |distance: &Value| {
        distance.as_object().unwrap().values().map(|one| one.as_f64().unwrap()).sum::<f64>()
    };
    assert!(sum(&found["distance"]) < sum(&found["distance_at_random"]), "{found:#}");
    assert_eq!(work.read("plans/mix/mix.csv").lines().count(), 9);
    assert!(
        work.read("plans/mix/load-quick.csv")
            .starts_with("# dataset: Azure Functions 2021, day 1, minutes 1 to 3\n")
    );

    // An application of the table's name does not write over it, and a plan that cannot run is no success.
    application(&work, "mix", "2");
    let named = ["--rate", "20", "--applications", "mix", "--output", "plans/mix.toml"];
    work.sb(&[&arguments[..], &named[..]].concat()).expect(0);
    assert_eq!(work.read("plans/mix/mix.csv").lines().count(), 9);
    let refused = work.sb(&[&arguments[..], &["--rate", "1e9"], &named[2..]].concat()).expect(3);
    assert!(refused.stderr.contains("load-mix.csv"), "{}", refused.stderr);
    std::fs::remove_dir_all(work.path().join("mix")).unwrap();
    // A window that passes midnight has the functions of both days.
    work.write("night.txt", "app,func,end_timestamp,duration\na,today,86310,0\na,tomorrow,86510,0\n");
    let night = ["dataset", "mix", "night.txt", "--at", "23:55", "--for", "10m", "--without", "timer"];
    let told = work.sb(&[&night[..], &["--format", "json"], &rest[2..]].concat()).expect(0);
    assert_eq!(serde_json::from_str::<Value>(&told.stdout).unwrap()["candidates"], 2);
    assert!(told.stderr.contains("has the trigger `timer`"), "{}", told.stderr);

    // Again, and not over what somebody else wrote.
    assert_eq!(json_of(&work, &[&arguments[..], &rest[..]].concat()), found);
    work.write("plans/own.toml", "[plan]\nname = \"own\"\n");
    let other = ["--output", "plans/own.toml", "--applications", "quick"];
    let refused = work.sb(&[&arguments[..], &other[..]].concat()).expect(2);
    assert!(refused.stderr.contains("is no plan of `sb dataset mix`"), "{}", refused.stderr);
    let refused =
        work.sb(&[&arguments[..], &["--output", "plans/none.toml", "--target", "moon"]].concat()).expect(1);
    assert!(refused.stderr.contains("no application can play the functions"), "{}", refused.stderr);

    work.sb(&["validate", "--strict", "plans/mix.toml"]).expect(0);
    work.sb(&["run", "plans/mix.toml"]).expect(0);
    let report = json_of(&work, &["report"]);
    let applications = report["applications"].as_array().unwrap();
    let answered: Vec<u64> = applications.iter().filter_map(|one| one["load"]["answered"].as_u64()).collect();
    assert_eq!((answered.len(), answered.iter().sum::<u64>()), (2, 120), "{report:#}");
}

/// An application whose local function answers at once, and nothing else.
fn answering(work: &Workspace) {
    application(work, "shop", "0.02");
}

#[test]
fn a_report_compares_each_load_of_a_dataset_with_its_minutes() {
    let work = Workspace::new();
    answering(&work);
    // Two functions of three minutes: 4, 8 and 2 invocations of the one, 1 in each minute of the other.
    let mut text = "app,func,end_timestamp,duration\n".to_owned();
    for (minute, count) in [4, 8, 2].into_iter().enumerate() {
        for call in 0..count {
            writeln!(text, "a,f,{}.5,0.1", 60 * minute + 60 / count * call).unwrap();
        }
        writeln!(text, "a,g,{}.5,0.1", 60 * minute).unwrap();
    }
    work.write("t.txt", &text);
    std::fs::create_dir(work.path().join("plans")).unwrap();
    let export = |arguments: &[&str]| {
        let all = ["dataset", "export", "f", "t.txt", "--from", "1", "--minutes", "3", "--factor", "2"];
        work.sb(&[&all[..], arguments].concat()).expect(0);
    };
    export(&["--output", "plans/f.csv"]);
    export(&["--invocations", "--output", "plans/starts.csv"]);
    // What is rounded to whole numbers is planned; upscaled is the factor times the dataset.
    let half = ["--from", "1", "--minutes", "3", "--factor", "0.3", "--output", "plans/part.csv"];
    work.sb(&[&["dataset", "export", "f", "t.txt"][..], &half].concat()).expect(0);
    assert!(work.read("plans/f.csv").contains("# original per minute: 4,8,2\n"));
    let mix = ["dataset", "mix", "t.txt", "--functions", "2", "--at", "1", "--for", "3m", "--speed", "60"];
    work.sb(&[&mix[..], &["--applications", "shop", "--output", "plans/mix.toml"]].concat()).expect(0);
    let fewer =
        ["--functions", "1", "--rate", "0.05", "--applications", "shop", "--output", "plans/fewer.toml"];
    work.sb(&[&["dataset", "mix", "t.txt", "--at", "1", "--for", "3m", "--speed", "60"], &fewer[..]].concat())
        .expect(2);
    assert!(!work.path().join("plans/fewer.toml").exists() && !work.path().join("plans/fewer").exists());
    let many = ["--rate", "200000000", "--applications", "shop", "--output", "plans/many.toml"];
    let refused = work.sb(&[&mix[..], &many].concat()).expect(3);
    assert!(refused.stderr.contains("invalid-csv"), "{}", refused.stderr);
    assert!(!work.path().join("plans/many.toml").exists() && !work.path().join("plans/many").exists());
    for (name, load) in [
        ("part", "csv = \"part.csv\", skip = \"0s\", speed = 60"),
        ("minutes", "csv = \"f.csv\", skip = \"0s\", rate = 1, speed = 60"),
        ("replay", "trace = \"starts.csv\", speed = 60"),
        ("pattern", "pattern = \"spikes\", skip = \"1m\", rate = 0.1, speed = 1200"),
    ] {
        work.write(
            &format!("plans/{name}.toml"),
            &format!(
                "load = {{ {load} }}\n[plan]\nname = \"{name}\"\nexecutor = \"host\"\n\
                 [[applications]]\nmanifest = \"../shop/benchmark.toml\"\ntarget = \"local\"\n"
            ),
        );
    }
    for name in ["minutes", "replay", "pattern", "mix", "part"] {
        work.sb(&["run", &format!("plans/{name}.toml")]).expect(0);
    }
    work.sb(&["report", "shop/logs", "--output", "out"]).expect(0);
    let rows = |table: &str| -> Vec<std::collections::BTreeMap<String, String>> {
        let text = work.read(&format!("out/tables/{table}.csv"));
        csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
    };
    let totals = rows("workloads");
    let numbers = |row: &std::collections::BTreeMap<String, String>, names: &[&str]| -> Vec<f64> {
        names.iter().map(|name| row[*name].parse().unwrap()).collect()
    };
    assert_eq!(totals.len(), 5, "{totals:?}");
    let columns = ["original", "planned", "planned_factor", "first_minute", "minutes"];
    for (row, expected) in totals.iter().zip([
        // Factor 2 of the export, and scaled to one a second.
        [14.0, 180.0, 180.0 / 14.0, 0.0, 3.0],
        [14.0, 28.0, 2.0, 0.0, 3.0],
        // The first minute is skipped, in which nothing was traced.
        [1796.0, 114.0, 114.0 / 1796.0, 1.0, 19.0],
        [17.0, 17.0, 1.0, 0.0, 3.0],
        [14.0, 4.0, 4.0 / 14.0, 0.0, 3.0],
    ]) {
        let found = numbers(row, &columns);
        assert!(found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-9), "{row:?}");
        assert!(row["dataset"].starts_with("Azure Functions 20"), "{row:?}");
        let moved: f64 = row["planned_moved_share"].parse().unwrap();
        // Four invocations instead of 4.2: whole numbers alone move some.
        assert!(moved < if row["workload"] == "part.csv" { 0.11 } else { 0.05 }, "{row:?}");
    }
    assert!(
        totals[0]["source"].contains("function f; window: day 1, minutes 1 to 3; factor: 2"),
        "{totals:?}"
    );
    let minutes = rows("workload_minutes");
    let replayed: Vec<Vec<f64>> = minutes[3..6]
        .iter()
        .map(|row| numbers(row, &["minute", "original", "upscaled", "planned"]))
        .collect();
    assert_eq!(replayed, [[0.0, 4.0, 8.0, 8.0], [1.0, 8.0, 16.0, 16.0], [2.0, 2.0, 4.0, 4.0]]);
    let parts: Vec<Vec<f64>> = minutes[minutes.len() - 3..]
        .iter()
        .map(|row| numbers(row, &["minute", "original", "upscaled", "planned"]))
        .collect();
    assert_eq!(parts, [[0.0, 4.0, 1.2, 1.0], [1.0, 8.0, 2.4, 2.0], [2.0, 2.0, 0.6, 1.0]]);
    assert!((numbers(&totals[4], &["upscaled_factor"])[0] - 0.3).abs() < 1e-9, "{totals:?}");
    let page = work.read("out/report.html");
    for file in [
        "figures/workload-minutes-invocations.svg",
        "figures/workload-differences.png",
        "tables/workloads.csv",
    ] {
        assert!(page.contains(file) && work.path().join("out").join(file).is_file(), "{file}");
    }
}

#[test]
#[ignore = "needs: chromium"]
fn figures_of_loads_and_their_datasets_work_in_a_browser() {
    let work = Workspace::new();
    for (at, planned) in [[20, 0, 60], [30, 0, 50]].into_iter().enumerate() {
        let folder = format!("shop/logs/2026-01-31_12-00-0{at}");
        let load = serde_json::json!({
            "kind": "trace", "name": "spikes", "source": ["dataset: <script>stolen=1</script>"],
            "minutes": { "first": 3, "original": [10, 0, 30], "upscaled": [20.0, 0.0, 60.0], "planned": planned },
        });
        let about = serde_json::json!({ "application": "shop", "plan": "levels", "load": load });
        work.write(&format!("{folder}/run.json"), &about.to_string());
        work.write(
            &format!("{folder}/invocations.csv"),
            "invocation,request,trace_id,planned,sent,answered,latency_ms,latency_from_planned_ms,status,outcome\n\
             1,buy,,10.000000,10.000000,10.020000,20.000,20.000,200,ok\n",
        );
    }
    work.sb(&["report", "shop/logs", "--output", "out"]).expect(0);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/workload_browser.py");
    let page = work.path().join("out/report.html");
    let looked = Command::new("python3").arg(script).arg(page).output().unwrap();
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
}

#[test]
fn names_that_need_quotation_marks_go_through_every_command() {
    let work = Workspace::new();
    let name = "say \"a,b\"";
    let mut text = "app,func,end_timestamp,duration\n".to_owned();
    for second in 0..1200 {
        writeln!(text, "\"my,app\",\"say \"\"a,b\"\"\",{second}.5,0.1\nplain,\"two\nlines\",{second}.5,0.1")
            .unwrap();
    }
    work.write("t.txt", &text);
    let fit = ["--at", "1", "--min-rate", "0"];
    work.sb(&[&["dataset", "sample", "t.txt", "--output", "drawn"], &fit[..]].concat()).expect(0);
    let read = |file: &str| -> Vec<csv::StringRecord> {
        csv::Reader::from_reader(work.read(file).as_bytes()).into_records().map(Result::unwrap).collect()
    };
    let mut names: Vec<String> = read("drawn/sampled.csv").iter().map(|row| row[2].to_owned()).collect();
    names.sort();
    assert_eq!(names, [name, "two\nlines"]);
    assert_eq!(read("drawn/windows.csv").len(), 2);
    let features =
        work.sb(&[&["dataset", "classify", "t.txt", "--format", "csv"], &fit[..]].concat()).expect(0);
    let rows: Vec<_> =
        csv::Reader::from_reader(features.stdout.as_bytes()).into_records().map(Result::unwrap).collect();
    assert_eq!((rows.len(), &rows[0][2], &rows[1][2]), (2, name, "two\nlines"));
    work.write("labels.csv", "HashFunction,time1\n\"say \"\"a,b\"\"\",jump\n\"two\nlines\",spikes\n");
    let found =
        json_of(&work, &[&["dataset", "classify", "t.txt", "--labels", "labels.csv"], &fit[..]].concat());
    let patterns: Vec<_> = found["functions"].as_array().unwrap().iter().map(|row| &row["pattern"]).collect();
    assert_eq!(patterns, ["jump", "spikes"]);
    for name in [name, "two\nlines"] {
        work.sb(&["dataset", "export", name, "t.txt", "--from", "1", "--minutes", "2", "-o", "e.csv"])
            .expect(0);
        let load = json_of(&work, &["workload", "generate", "e.csv", "--skip", "0s"]);
        assert_eq!(load["invocations_per_second"].as_array().unwrap().len(), 120);
    }
    answering(&work);
    let mix = ["dataset", "mix", "t.txt", "--functions", "2", "--at", "1", "--for", "2m", "--rate", "1"];
    work.sb(&[&mix[..], &["--applications", "shop", "--output", "mix.toml"]].concat()).expect(0);
    let mut names: Vec<String> = read("mix/mix.csv").iter().map(|row| row[2].to_owned()).collect();
    names.sort();
    assert_eq!(names, [name, "two\nlines"]);
}
