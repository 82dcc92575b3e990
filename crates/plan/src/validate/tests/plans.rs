//! Plans, loads and overrides.

use super::*;
use sb_workload::upscale::Scaling;
use sb_workload::users::ThinkTime;
use sb_workload::{ArrivalProcess, Origin, TraceLoad};

const PLAN_HEAD: &str = "[plan]\nname = \"p\"\n";
const APPLICATION: &str = "[[applications]]\nmanifest = \"../app/benchmark.toml\"\ntarget = \"local\"\n";

fn read_plan(text: &str, overrides: &Overrides) -> Checked<Plan> {
    let files = Kept::new([("/repo/plans/p.toml".into(), text.to_owned())].into(), files(FULL));
    plan(&files, Path::new("/repo/plans/p.toml"), overrides)
}

#[track_caller]
fn check_plan(name: &str, text: &str, codes: &[&str]) {
    let checked = read_plan(text, &Overrides::default());
    let found: Vec<&str> = checked.problems.iter().map(|problem| problem.code).collect();
    let codes: Vec<String> = codes.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(found, codes, "{}", rendered(&checked.problems));
    insta::assert_snapshot!(name, rendered(&checked.problems));
}

#[track_caller]
fn valid_plan(text: &str, overrides: &Overrides) -> Plan {
    let checked = read_plan(text, overrides);
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    checked.value.unwrap()
}

#[test]
fn a_matrix_is_a_product_with_exclusions_and_inclusions() {
    let plan = valid_plan(
        &format!(
            "{PLAN_HEAD}{APPLICATION}vars = {{ base = 2 }}\nparams = {{ debug = true }}\n[matrix]\nsize = [512, 1024]\nload = [\"slow\", \"fast\"]\nexclude = [ {{ size = 512, load = \"fast\", application = \"demo\" }} ]\ninclude = [ {{ load = \"fast\", size = 2048 }} ]\n[params]\nmemory_size = \"{{{{matrix.size}}}}\"\n[labels]\nlabel = \"{{{{application}}}}_{{{{matrix.size}}}}\"\n[trials]\nrepetitions = 3\nseed = 5\n"
        )
        .replace("[plan]", "load = \"{{matrix.load}}\"\n[loads.slow]\nconstant = \"{{vars.base}}\"\nduration = \"{{matrix.size}}ms\"\n[loads.fast]\nstages = [{ target = 10, duration = \"1m\" }]\n[plan]"),
        &Overrides::default(),
    );
    let points = &plan.entries[0].points;
    let seen: Vec<String> = points
        .iter()
        .map(|point| {
            format!(
                "{} {} {} {:?}",
                describe(&point.factors),
                point.params["memory_size"],
                point.labels["label"],
                point.load.shape
            )
        })
        .collect();
    insta::assert_snapshot!("matrix_points", seen.join("\n"));
    assert_eq!(points[0].params["debug"], true);
    assert_eq!((plan.repetitions, plan.trials_per_deployment, plan.seed), (3, 1, 5));
    assert!(plan.concurrency.quiet);
}

#[test]
fn a_manifest_that_is_missing_hides_nothing_else() {
    let text = format!(
        "[[applications]]\nmanifest = \"../gone/benchmark.toml\"\nparams = {{ size = \"{{{{matrix.rats}}}}\" }}\n{PLAN_HEAD}\
         [matrix]\nrate = [0, 1]\n[load]\nconstant = \"{{{{matrix.rate}}}}\"\nduration = \"1s\"\n\
         [labels]\nx = \"{{{{matrix.nothing}}}}\"\n"
    );
    let codes = ["missing-file", "undefined-value", "out-of-range", "undefined-value"];
    check_plan("unread_application", &text, &codes);
    let named = text.replace("[load]\nconstant", "[loads.a]\nconstant");
    let named = format!("load = \"b\"\n{named}");
    check_plan(
        "unread_application_named_load",
        &named,
        &["unknown-load", "missing-file", "undefined-value", "undefined-value"],
    );
    // What is beside one that can be read is said once.
    check_plan("unread_application_beside", &format!("{text}{APPLICATION}"), &codes);
}

#[test]
fn plan_problems_name_their_place_and_point() {
    check_plan(
        "plan_references",
        &format!(
            "{PLAN_HEAD}{APPLICATION}locks = [\"eu\"]\nload = \"brust\"\n{APPLICATION}[[applications]]\nname = \"c\"\nmanifest = \"../app/benchmark.toml\"\n[[applications]]\nmanifest = \"../gone.toml\"\n[[applications]]\nname = \"d\"\nmanifest = \"../app/benchmark.toml\"\ntarget = \"awz\"\n[loads.burst]\niterations = 1\n[locks]\nus = 0\n[trials]\nrepetitions = 0\n"
        ),
        &[
            "unknown-lock",
            "unknown-load",
            "duplicate-name",
            "unknown-target",
            "missing-file",
            "unknown-target",
            "out-of-range",
            "out-of-range",
        ],
    );
    check_plan(
        "plan_values",
        &format!(
            "{PLAN_HEAD}{APPLICATION}params = {{ memory = 1, api_key = \"x\", debug = 1 }}\n[matrix]\nrate = [1, 2, 2]\nsize = [\"big\"]\ntarget = [\"a\"]\nempty = []\nexclude = [ {{ rat = 1 }}, {{ rate = 7 }}, {{ application = \"dmo\" }} ]\ninclude = [ {{ rate = 1 }} ]\n[params]\nmemory_size = \"{{{{matrix.sise}}}}\"\n[labels]\nx = \"{{{{vars.a}}}}\"\n"
        ),
        &[
            "unknown-param",
            "secret-in-plan",
            "invalid-param",
            "invalid-matrix",
            "invalid-matrix",
            "invalid-matrix",
            "invalid-matrix",
            "invalid-matrix",
            "invalid-matrix",
            "invalid-matrix",
            "undefined-value",
            "undefined-value",
        ],
    );
    check_plan(
        "plan_points",
        &format!(
            "{PLAN_HEAD}{APPLICATION}[matrix]\nrate = [5, 0]\nsize = [\"big\"]\n[params]\nmemory_size = \"{{{{matrix.size}}}}\"\ndebug = 1\n[load]\nconstant = \"{{{{matrix.rate}}}}\"\nduration = \"1m\"\n"
        ),
        &["invalid-param", "invalid-param", "out-of-range"],
    );
}

#[test]
fn loads_have_one_shape_in_range() {
    for (name, load, codes) in [
        ("load_two", "iterations = 1\nconstant = 2", vec!["invalid-load"]),
        ("load_none", "speed = 2", vec!["invalid-load"]),
        ("load_endless", "constant = 2", vec!["invalid-load"]),
        (
            "load_stray",
            "iterations = 0\nduration = \"1s\"\nstart = 1",
            vec!["out-of-range", "invalid-load", "invalid-load"],
        ),
        (
            "load_rates",
            "constant = 1e7\nduration = \"0s\"\nspeed = 0\nmax_error_rate = 1.5\nmax_dropped = -1",
            vec!["out-of-range", "duration-out-of-range", "out-of-range", "out-of-range", "out-of-range"],
        ),
        ("load_users_endless", "users = 5", vec!["invalid-load"]),
        (
            "load_users_range",
            "users = 10001\nduration = \"1m\"\nthink_time = { min = \"3s\", max = \"1s\" }\nmax_lateness = \"1s\"",
            vec!["out-of-range", "out-of-range", "invalid-load"],
        ),
        (
            "load_users_think",
            "users = 5\nduration = \"1m\"\nthink_time = { mean = \"3s\", p99 = \"9s\" }",
            vec!["invalid-load"],
        ),
        (
            "load_users_tail",
            "users = 5\nduration = \"1m\"\nthink_time = { median = \"3s\", p99 = \"2s\" }",
            vec!["out-of-range"],
        ),
        ("load_stray_thought", "iterations = 5\nthink_time = \"1s\"", vec!["invalid-load"]),
        ("load_stray_repeat", "iterations = 5\nrepeat = 3", vec!["invalid-load"]),
        (
            "load_repeat",
            "stages = [{ target = 5, duration = \"1s\" }, { target = 0, duration = \"0s\" }]\nrepeat = 50001",
            vec!["out-of-range"],
        ),
        ("load_jumps_only", "stages = [{ target = 5, duration = \"0s\" }]", vec!["invalid-load"]),
        ("load_short", "constant = 0.1\nduration = \"2s\"", vec!["invalid-load"]),
        ("load_idle", "stages = [{ target = 0, duration = \"1s\" }]", vec!["invalid-load"]),
        ("load_k6_missing", "k6_options = \"options.json\"", vec!["invalid-script"]),
        ("load_pattern", "pattern = \"stedy\"", vec!["invalid-load"]),
        ("load_scaled_twice", "pattern = \"jump\"\nrate = 5\nscale_factor = 2", vec!["invalid-load"]),
        ("load_scale_type", "pattern = \"jump\"\nrate = 5\nscale_type = \"cubic\"", vec!["invalid-load"]),
        ("load_arrivals", "pattern = \"jump\"\narrivals = \"late\"", vec!["invalid-load"]),
        ("load_compound", "pattern = \"jump\"\nscale_type = \"compound\"", vec!["invalid-load"]),
        ("load_skipped", "pattern = \"jump\"\nskip = \"20m\"", vec!["invalid-load"]),
        ("load_half_second", "pattern = \"jump\"\nskip = \"500ms\"", vec!["out-of-range"]),
        ("load_too_high", "pattern = \"spikes\"\nrate = 900000", vec!["invalid-load"]),
        ("load_stray_rate", "iterations = 2\nrate = 5\nskip = \"1m\"", vec!["invalid-load"; 2]),
        ("load_csv_missing", "csv = \"none.csv\"", vec!["invalid-csv"]),
        ("load_burst_size", "bursts = { size = 0, at = [\"0s\"] }", vec!["out-of-range"]),
        ("load_burst_times", "bursts = { size = 2, at = [] }", vec!["invalid-load"]),
    ] {
        check_plan(name, &format!("{PLAN_HEAD}{APPLICATION}[load]\n{load}\n"), &codes);
    }
}

fn overrides(params: &[(&str, &str)], environment: &[(&str, &str)]) -> Overrides {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Overrides {
        params: params.iter().map(owned).collect(),
        environment: environment.iter().map(owned).collect(),
        ..Overrides::default()
    }
}

#[test]
fn later_sources_of_a_parameter_win() {
    let text = format!(
        "{PLAN_HEAD}{APPLICATION}params = {{ memory_size = 3 }}\n[params]\nmemory_size = 2\nratio = 1\n"
    );
    let environment = [("SB_PARAM_MEMORY_SIZE", "1"), ("SB_PARAM_DEBUG", "true"), ("HOME", "/")];
    let plan = valid_plan(&text, &overrides(&[], &environment));
    let params = &plan.entries[0].points[0].params;
    assert_eq!(
        (&params["memory_size"], &params["ratio"], &params["debug"]),
        (&Value::from(3), &Value::from(1.0), &Value::from(true))
    );
    let plan = valid_plan(&text, &overrides(&[("memory_size", "4")], &environment));
    assert_eq!(plan.entries[0].points[0].params["memory_size"], 4);
}

#[test]
fn overrides_have_the_name_and_type_of_the_parameter() {
    let benchmark = valid(FULL);
    let given = overrides(
        &[("memory_siz", "1"), ("memory_size", "big"), ("api_key", "hunter2"), ("debug", "yes")],
        &[("SB_PARAM_RATIO", "high"), ("SB_PARAM_REGOIN", "x"), ("SB_PARAM_API_KEY", "hunter2")],
    );
    let checked = single(Arc::clone(&benchmark), "lokal", None, &given);
    assert!(checked.value.is_none());
    let text = rendered(&checked.problems);
    assert!(!text.contains("hunter2"), "{text}");
    insta::assert_snapshot!("overrides", text);

    let plan = single(benchmark, "local", None, &overrides(&[("memory_size", "2048")], &[])).value.unwrap();
    assert_eq!(plan.entries[0].points[0].params["memory_size"], 2048);
    assert_eq!(plan.entries[0].points[0].load.shape, LoadShape::Iterations { iterations: 1 });
}

#[test]
fn a_load_comes_from_the_command_line_or_a_file() {
    let checked = load_arguments(
        &Snapshot::default(),
        &LoadArguments { load: Some("10".to_owned()), ..LoadArguments::default() },
    );
    assert_eq!(checked.value.unwrap().shape, LoadShape::Iterations { iterations: 10 });
    let constant = LoadArguments {
        load: Some("constant".to_owned()),
        rate: Some(20.0),
        duration: Some(Duration::from_secs(90)),
        ..LoadArguments::default()
    };
    let expected = LoadShape::Constant { rate: 20.0, duration: Duration::from_secs(90) };
    assert_eq!(load_arguments(&Snapshot::default(), &constant).value.unwrap().shape, expected);
    let mut seen = Vec::new();
    for arguments in [
        LoadArguments { duration: None, ..constant.clone() },
        LoadArguments { rate: Some(f64::NAN), ..constant.clone() },
        LoadArguments { load: Some("12".to_owned()), ..constant.clone() },
        LoadArguments { load: Some("fluctuating".to_owned()), ..constant.clone() },
        LoadArguments { load: Some("trace.csv".to_owned()), ..LoadArguments::default() },
        LoadArguments { load: Some("bursts".to_owned()), ..LoadArguments::default() },
        LoadArguments { load: Some("3".to_owned()), rate: Some(2.0), ..LoadArguments::default() },
        LoadArguments { load: Some("3".to_owned()), scale_factor: Some(2.0), ..LoadArguments::default() },
        LoadArguments { load: Some("-5".to_owned()), ..LoadArguments::default() },
        LoadArguments { load: Some("0".to_owned()), ..LoadArguments::default() },
    ] {
        let checked = load_arguments(&Snapshot::default(), &arguments);
        assert!(checked.value.is_none());
        seen.push(checked.problems[0].to_string());
    }
    insta::assert_snapshot!("load_arguments", seen.join("\n"));

    let files = Snapshot::new([
        ("/l.yaml", "stages: [{ target: 10, duration: 30s }]\nstart: 1\n"),
        ("/t.toml", "iterations = \"{{matrix.n}}\""),
    ]);
    let stages = vec![sb_workload::Stage { target: 10.0, duration: Duration::from_secs(30) }];
    assert_eq!(
        load_file(&files, Path::new("/l.yaml")).value.unwrap().shape,
        LoadShape::Stages { start_rate: 1.0, stages }
    );
    assert!(load_file(&files, Path::new("/t.toml")).value.is_none());
}

#[test]
fn users_come_with_a_duration_and_think_as_long_as_is_said() {
    let shape = |load: &str| {
        let text = format!(
            "{PLAN_HEAD}{APPLICATION}vars = {{ users = 7, think = \"2s\" }}\n[load]\n{load}\nduration = \"90s\"\n"
        );
        valid_plan(&text, &Overrides::default()).entries[0].points[0].load.shape.clone()
    };
    let second = Duration::from_secs(1);
    let users = |think_time| LoadShape::Users { users: 7, duration: 90 * second, think_time };
    for (load, think_time) in [
        ("users = 7", ThinkTime::Fixed(Duration::ZERO)),
        ("users = \"{{vars.users}}\"\nthink_time = \"{{vars.think}}\"", ThinkTime::Fixed(2 * second)),
        (
            "users = 7\nthink_time = { min = \"1s\", max = \"{{vars.think}}\" }",
            ThinkTime::Uniform { min: second, max: 2 * second },
        ),
        ("users = 7\nthink_time = { mean = \"3s\" }", ThinkTime::Exponential { mean: 3 * second }),
        (
            "users = 7\nthink_time = { median = \"1s\", p99 = \"4s\" }",
            ThinkTime::LogNormal { median: second, p99: 4 * second },
        ),
    ] {
        assert_eq!(shape(load), users(think_time), "{load}");
    }

    let line = LoadArguments {
        load: Some("users".to_owned()),
        users: Some(7),
        duration: Some(90 * second),
        ..LoadArguments::default()
    };
    for (think, expected) in [
        (None, ThinkTime::Fixed(Duration::ZERO)),
        (Some("2s"), ThinkTime::Fixed(2 * second)),
        (Some("min=1s, max=2s"), ThinkTime::Uniform { min: second, max: 2 * second }),
        (Some("mean=3s"), ThinkTime::Exponential { mean: 3 * second }),
        (Some("median=1s,p99=4s"), ThinkTime::LogNormal { median: second, p99: 4 * second }),
    ] {
        let arguments = LoadArguments { think_time: think.map(str::to_owned), ..line.clone() };
        assert_eq!(load_arguments(&Snapshot::default(), &arguments).value.unwrap().shape, users(expected));
    }
    for (arguments, message) in [
        (LoadArguments { users: None, ..line.clone() }, "users need `--users` and `--duration`"),
        (LoadArguments { duration: None, ..line.clone() }, "users need `--users` and `--duration`"),
        (LoadArguments { rate: Some(3.0), ..line.clone() }, "users have no `--rate`"),
        (LoadArguments { users: Some(0), ..line.clone() }, "the number of users is out of range"),
        (
            LoadArguments { think_time: Some("mode=1s".to_owned()), ..line.clone() },
            "`--think-time` has no key `mode`",
        ),
        (
            LoadArguments { think_time: Some("min=1s".to_owned()), ..line.clone() },
            "the think time has no known distribution",
        ),
        (LoadArguments { think_time: Some("long".to_owned()), ..line.clone() }, "`long` is not a duration"),
        (
            LoadArguments { load: Some("5".to_owned()), duration: None, ..line.clone() },
            "`--users` and `--think-time` belong to `users`",
        ),
    ] {
        let checked = load_arguments(&Snapshot::default(), &arguments);
        assert!(checked.value.is_none());
        let found = checked.problems[0].to_string();
        assert!(found.contains(message), "{found}");
    }
}

fn traced(load: Load) -> TraceLoad {
    match load.shape {
        LoadShape::Trace(trace) => trace,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pattern_is_scaled_and_skipped_as_the_plan_or_the_command_line_says() {
    let load = |text: &str| {
        let matrix =
            if text.contains("matrix") { "[matrix]\npattern = [\"spikes\", \"jump\"]\n" } else { "" };
        let text = format!("{PLAN_HEAD}{APPLICATION}vars = {{ rate = 37 }}\n{matrix}[load]\n{text}\n");
        let plan = valid_plan(&text, &Overrides::default());
        plan.entries[0].points.iter().map(|point| traced((*point.load).clone())).collect::<Vec<_>>()
    };
    let loads = load("pattern = \"{{matrix.pattern}}\"\nrate = \"{{vars.rate}}\"");
    assert_eq!((loads[0].name.as_str(), loads[1].name.as_str()), ("spikes", "jump"));
    assert_eq!((loads[0].scaling, loads[0].skip), (Scaling::Rate(37.0), Duration::from_mins(3)));
    assert_eq!(loads[1].per_minute[..3], [77.0, 169.0, 167.0]);
    assert_eq!(loads[1].origin.per_minute, loads[1].per_minute);
    assert_eq!(loads[1].origin.facts, ["dataset: Azure Functions 2019", "pattern: jump"]);
    let loads = load(
        "pattern = \"jump-20rps\"\nscale_factor = 0.5\nscale_type = \"compound\"\nskip = \"90s\"\nseed = 7\narrivals = \"poisson\"",
    );
    assert_eq!((loads[0].scaling, loads[0].seed), (Scaling::CompoundFactor(0.5), 7));
    assert_eq!((loads[0].skip.as_secs(), loads[0].arrivals), (90, ArrivalProcess::Poisson));

    let arguments = LoadArguments {
        load: Some("fluctuating".to_owned()),
        rate: Some(20.0),
        skip: Some(Duration::ZERO),
        speed: Some(120.0),
        ..LoadArguments::default()
    };
    let load = load_arguments(&Snapshot::default(), &arguments).value.unwrap();
    assert_eq!(load.speed.to_bits(), 120f64.to_bits());
    assert_eq!(traced(load).scaling, Scaling::Rate(20.0));
}

#[test]
fn every_invocation_of_a_recorded_trace_has_its_own_time() {
    let read = |text: &str| {
        let files = Snapshot::new([
            ("/here/starts.csv", text),
            ("/here/load.toml", "trace = \"starts.csv\"\nspeed = 2\n"),
        ]);
        let checked = crate::validate::load_file(&files, std::path::Path::new("/here/load.toml"));
        checked.value.ok_or_else(|| checked.problems[0].to_string())
    };
    let load = read("# dataset: d\nstart_s,duration_s\n0,1\n0.25,\n0.25,2\n61.5,0\n").unwrap();
    let at = [0, 250, 250, 61_500].map(Duration::from_millis).to_vec();
    let LoadShape::Replay(replay) = load.shape else { panic!("{:?}", load.shape) };
    assert_eq!((replay.at, load.speed), (at, 2.0));
    assert_eq!((replay.name.as_str(), replay.origin.facts), ("starts.csv", vec!["dataset: d".to_owned()]));
    for (text, message) in [
        ("", "there is no column `start_s`, only: "),
        ("InvocationsPerMinute\n5\n", "there is no column `start_s`, only: InvocationsPerMinute"),
        ("start_s\n", "it has no invocations"),
        ("start_s\n1\n-1\n", "line 3: `-1` is not a time in seconds"),
        ("start_s\nNaN\n", "line 2: `NaN`"),
        ("start_s\n1e9\n", "line 2: `1e9`"),
        ("start_s\n2\n1\n", "line 3: `1` is before the time in the line above"),
        (
            "# original per minute: 2,1\nstart_s\n119.999999\n120\n",
            "`starts.csv`: line 4: `120` is past the 2 min above it after `# original per minute:`: export it anew",
        ),
        ("# original per minute: 1e300\nstart_s\n1\n", "line 1: `1e300` is not a number of invocations"),
        // A message does not repeat a cell as long as the file.
        (&format!("start_s\n{}\n", "x".repeat(100_000)), &format!("line 2: `{}` is not", "x".repeat(80))),
    ] {
        let found = read(text).unwrap_err();
        assert!(found.contains(message), "{found}");
    }
}

#[test]
fn a_trace_comes_from_the_column_of_a_csv_file_beside_the_plan() {
    let read = |text: &str| {
        let files = Snapshot::new([("/here/my trace.CSV", text)]);
        let arguments = LoadArguments {
            load: Some("my trace.CSV".to_owned()),
            skip: Some(Duration::ZERO),
            folder: "/here".into(),
            ..LoadArguments::default()
        };
        let checked = load_arguments(&files, &arguments);
        checked.value.map(traced).ok_or_else(|| checked.problems[0].to_string())
    };
    let source = read("# dataset: d\r\n#file: x\nInvocationsPerMinute\n5\n#later\n6\n").unwrap();
    assert_eq!(
        (source.per_minute, source.origin.facts),
        (vec![5.0, 6.0], vec!["dataset: d".to_owned(), "file: x".to_owned()])
    );
    let made = read(
        "# dataset: d\n# original per minute: 10,0\n# original per minute: 7.5\nInvocationsPerMinute\n5\n0\n4\n",
    );
    let Origin { facts, per_minute, factor } = made.unwrap().origin;
    assert_eq!((facts, per_minute, factor), (vec!["dataset: d".to_owned()], vec![10.0, 0.0, 7.5], None));
    let made = read("# factor: 0.25\n# original per minute: 18446744073709551615\nInvocationsPerMinute\n5\n");
    let Origin { facts, per_minute, factor } = made.unwrap().origin;
    assert_eq!(
        (facts, per_minute, factor),
        (vec!["factor: 0.25".to_owned()], vec![18_446_744_073_709_551_615.0], Some(0.25))
    );
    // Without numbers that it multiplies, such a line may say anything.
    assert_eq!(read("# factor: ten\nInvocationsPerMinute\n5\n").unwrap().origin.factor, None);
    let read = |text: &str| read(text).map(|trace| trace.per_minute);
    assert_eq!(read("\"InvocationsPerMinute\"\n5\n0\n7.5\n").unwrap(), [5.0, 0.0, 7.5]);
    assert_eq!(read("# file: d01.csv\n# factor: 1\n\"InvocationsPerMinute\"\n5\n").unwrap(), [5.0]);
    assert_eq!(read("\u{feff}minute, InvocationsPerMinute\r\n1, 12\r\n2,  3\r\n").unwrap(), [12.0, 3.0]);
    for (text, expected) in [
        (
            "# original per minute: 1,x\nInvocationsPerMinute\n5\n",
            "line 1: `x` is not a number of invocations",
        ),
        (
            "# original per minute: NaN\nInvocationsPerMinute\n5\n",
            "line 1: `NaN` is not a number of invocations",
        ),
        (
            "# original per minute: -1\nInvocationsPerMinute\n5\n",
            "line 1: `-1` is not a number of invocations",
        ),
        (
            "# a\n# original per minute: 1e300\nInvocationsPerMinute\n5\n",
            "line 2: `1e300` is not a number of",
        ),
        ("# original per minute: 1e999\nInvocationsPerMinute\n5\n", "line 1: `1e999` is not a number of"),
        ("# original per minute:\nInvocationsPerMinute\n5\n", "line 1: `` is not a number of invocations"),
        (
            &format!("# original per minute: {}\nInvocationsPerMinute\n5\n", vec!["1"; 1_000_000].join(",")),
            "line 1: it has more than 100000 original minutes",
        ),
        (
            "# factor: 1e300\n# original per minute: 1\nInvocationsPerMinute\n5\n",
            "line 1: `1e300` is not a factor above 0, up to 60000000",
        ),
        ("#factor: -1\n# original per minute: 1\nInvocationsPerMinute\n5\n", "line 1: `-1` is not a factor"),
        (
            "#factor: NaN\n# original per minute: 1\nInvocationsPerMinute\n5\n",
            "line 1: `NaN` is not a factor",
        ),
        (
            "# original per minute: 1,2\nInvocationsPerMinute\n5\n",
            "it has 1 minute, and 2 above them after `# original per minute:`: export it anew",
        ),
        ("", "`my trace.CSV`: there is no column `InvocationsPerMinute`, only: "),
        ("Invocations\n5\n", "there is no column `InvocationsPerMinute`, only: Invocations"),
        ("InvocationsPerMinute\n", "it has no minutes"),
        ("# a\n# b\nInvocationsPerMinute\n-1\n", "line 4: `-1` is not a number of invocations per minute"),
        ("InvocationsPerMinute\n5\n-1\n", "line 3: `-1` is not a number of invocations per minute"),
        ("InvocationsPerMinute\nNaN\n", "line 2: `NaN`"),
        ("InvocationsPerMinute\n1e300\n", "line 2: `1e300`"),
        ("a,InvocationsPerMinute\n1,2\n3\n", "found record with 1 fields"),
        ("InvocationsPerMinute\n0\n0\n", "the load is too short to send anything"),
    ] {
        let message = read(text).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

/// On for a second at four times the rate, off for three: as many as at the rate itself, and the jumps take no time.
#[test]
fn stages_are_repeated_and_may_jump() {
    let text = format!(
        "{PLAN_HEAD}{APPLICATION}vars = {{ on = 148 }}\n[load]\nrepeat = 3\nstages = [\n{{ target = \"{{{{vars.on}}}}\", duration = \"0s\" }},\n{{ target = \"{{{{vars.on}}}}\", duration = \"1s\" }},\n{{ target = 0, duration = \"0s\" }},\n{{ target = 0, duration = \"3s\" }},\n]\n"
    );
    let plan = valid_plan(&text, &Overrides::default());
    let load = &plan.entries[0].points[0].load;
    let LoadShape::Stages { stages, .. } = &load.shape else { panic!("{load:?}") };
    assert_eq!(stages.len(), 12);
    let sb_workload::schedule::Planned::Open(times) = sb_workload::schedule::planned(load) else { panic!() };
    assert_eq!(times.total(), 3 * 4 * 37);
    let mut in_second = [0; 12];
    for time in times {
        // The last invocation of a second is due at its very end.
        in_second[((time.as_secs_f64() - 1e-6) as usize).min(11)] += 1;
    }
    assert_eq!(in_second, [148, 0, 0, 0, 148, 0, 0, 0, 148, 0, 0, 0]);
}

#[test]
fn bursts_are_sorted_by_time() {
    let text = format!("{PLAN_HEAD}{APPLICATION}[load]\nbursts = {{ size = 20, at = [\"60s\", \"0s\"] }}\n");
    let plan = valid_plan(&text, &Overrides::default());
    let expected = LoadShape::Bursts { size: 20, at: vec![Duration::ZERO, Duration::from_mins(1)] };
    assert_eq!(plan.entries[0].points[0].load.shape, expected);
}

#[test]
fn locks_of_an_application_are_taken_by_each_of_its_steps() {
    let plan = valid_plan(
        &format!(
            "{PLAN_HEAD}{APPLICATION}locks = [\"us\"]\n[[applications]]\nname = \"b\"\nmanifest = \"../app/benchmark.toml\"\ntarget = \"local\"\n[locks]\nus = 2\n"
        ),
        &Overrides::default(),
    );
    let target = &plan.entries[0].benchmark.targets["local"];
    for step in target.deploy.iter().chain(&target.invoke).chain(&target.cleanup) {
        assert_eq!(step.locks, ["us"]);
    }
    assert!(plan.entries[1].benchmark.targets["local"].deploy[0].locks.is_empty());
}

#[test]
fn a_hundred_thousand_points_expand_quickly() {
    let application = APPLICATION.replace("local", "aws");
    let region = "r{{matrix.f0}}{{matrix.f1}}{{matrix.f2}}{{matrix.f3}}{{matrix.f4}}";
    let mut text = format!(
        "{PLAN_HEAD}{application}[params]\nmemory_size = \"{{{{matrix.f0}}}}\"\nregion = \"{region}\"\n[labels]\nl = \"{{{{matrix.f1}}}}\"\n[matrix]\n"
    );
    for factor in 0..5 {
        let _ = writeln!(text, "f{factor} = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]");
    }
    let started = std::time::Instant::now();
    let plan = valid_plan(&text, &Overrides::default());
    // An unoptimized build takes several times as long as a release.
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    let points = &plan.entries[0].points;
    assert_eq!(points.len(), 100_000);
    assert_eq!(points[12_345].params["memory_size"], 1);
    assert_eq!(points[12_345].labels["l"], "2");
    let more = text.replace("f0 = [0,", "f5 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\nf6 = [1, 2]\nf0 = [0,");
    assert_eq!(read_plan(&more, &Overrides::default()).problems[0].code, "invalid-matrix");
}

#[test]
fn a_run_can_keep_its_sources_and_read_them_again() {
    let text = format!("{PLAN_HEAD}{APPLICATION}");
    let below = Kept::new([("/repo/plans/p.toml".into(), text)].into(), files(FULL));
    let recording = Recording::new(below);
    let first = plan(&recording, Path::new("/repo/plans/p.toml"), &Overrides::default()).value.unwrap();
    let texts = recording.into_texts();
    let read: Vec<&str> = texts.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(read, ["/repo/app/benchmark.toml", "/repo/app/template.yaml", "/repo/plans/p.toml"]);
    // The manifest has changed since, the other files are where they were.
    let kept = Kept::new(texts, files("changed"));
    let again = plan(&kept, Path::new("/repo/plans/p.toml"), &Overrides::default()).value.unwrap();
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
}

#[test]
fn a_lock_is_named_after_an_account_and_a_region() {
    let text =
        |name: &str| format!("{PLAN_HEAD}{APPLICATION}locks = [\"{name}\"]\n[locks]\n\"{name}\" = 2\n");
    let plan = valid_plan(&text("aws-123/us-east-1"), &Overrides::default());
    assert_eq!(plan.locks["aws-123/us-east-1"], 2);
    assert_eq!(plan.entries[0].benchmark.targets["local"].deploy[0].locks, ["aws-123/us-east-1"]);
    for wrong in ["aws/", "/aws", "a//b", "a b", "-a", "aws/-b"] {
        let problems = read_plan(&text(wrong), &Overrides::default()).problems;
        assert!(problems.iter().all(|problem| problem.code == "invalid-name"), "{wrong}");
        assert_eq!(problems.len(), 2, "{wrong}");
    }
}

#[test]
fn variables_parameters_and_labels_belong_to_one_application() {
    let application = |name: &str, rate: u32| {
        format!(
            "{APPLICATION}name = \"{name}\"\nvars = {{ rate = {rate} }}\nparams = {{ memory_size = {rate} }}\n"
        )
    };
    let plan = valid_plan(
        &format!(
            "{PLAN_HEAD}{}{}[load]\nconstant = \"{{{{vars.rate}}}}\"\nduration = \"1m\"\n[labels]\nwhat = \"{{{{application}}}}_{{{{vars.rate}}}}\"\n",
            application("a", 2),
            application("b", 5)
        ),
        &Overrides::default(),
    );
    let seen: Vec<_> = plan
        .entries
        .iter()
        .map(|entry| {
            let point = &entry.points[0];
            (point.labels["what"].clone(), point.params["memory_size"].clone(), point.load.shape.clone())
        })
        .collect();
    let minute = Duration::from_mins(1);
    let load = |rate| LoadShape::Constant { rate, duration: minute };
    assert_eq!(
        seen,
        [("a_2".to_owned(), Value::from(2), load(2.0)), ("b_5".to_owned(), Value::from(5), load(5.0))]
    );
}

#[test]
fn trials_may_be_declared_cold_or_warm_by_the_matrix() {
    let text = |trials: &str, target: &str| {
        format!(
            "{PLAN_HEAD}[[applications]]\nmanifest = \"../app/benchmark.toml\"\ntarget = \"{target}\"\nvars = {{ begin = \"warm\" }}\n{}[trials]\nstart = {trials}\n",
            if trials.contains("matrix") { "[matrix]\nstart = [\"cold\", \"cold_then_warm\"]\n" } else { "" }
        )
    };
    let starts = |trials: &str| -> Vec<Option<Start>> {
        let plan = valid_plan(&text(trials, "local"), &Overrides::default());
        plan.entries[0].points.iter().map(|point| point.start).collect()
    };
    assert_eq!(starts("\"{{matrix.start}}\""), [Some(Start::Cold), Some(Start::ColdThenWarm)]);
    assert_eq!(starts("\"{{vars.begin}}\""), [Some(Start::Warm)]);
    assert_eq!(starts("\"cold\""), [Some(Start::Cold)]);
    let cold: Vec<bool> = (1..=3).map(|trial| Start::ColdThenWarm.is_cold(trial)).collect();
    assert_eq!(cold, [true, false, false]);
    let codes = |trials: &str| -> Vec<&str> {
        let problems = read_plan(&text(trials, "local"), &Overrides::default()).problems;
        problems.iter().map(|problem| problem.code).collect()
    };
    assert_eq!(codes("\"{{vars.gone}}\""), ["undefined-value"]);
    assert_eq!(codes("\"{{application}}\""), ["invalid-start"]);
    assert_eq!(codes("\"hot\""), ["unknown-word"]);
}

#[test]
fn trials_end_when_they_are_precise_enough() {
    let text = |until: &str| format!("{PLAN_HEAD}{APPLICATION}[trials]\nuntil = {{ {until} }}\n");
    let read = |until: &str| valid_plan(&text(until), &Overrides::default());
    let found = read("of = \"p90\", relative_width = 0.05, confidence = 0.9, min = 2, max = 120");
    let expected = Until { of: LatencyFigure::P90, relative_width: 0.05, confidence: 0.9, min: 2 };
    assert_eq!((found.until, found.trials_per_deployment), (Some(expected), 120));
    let shortest = found.shortest().unwrap();
    // One answer a trial.
    assert_eq!((found.trials(), shortest.trials(), shortest.until), (120, 100, None));
    let found = read("of = \"mean\", relative_width = 1, max = 4");
    let expected = Until { of: LatencyFigure::Mean, relative_width: 1.0, confidence: 0.95, min: 3 };
    assert_eq!(found.until, Some(expected));
    let codes = |until: &str| -> Vec<&str> {
        let problems = read_plan(&text(until), &Overrides::default()).problems;
        problems.iter().map(|problem| problem.code).collect()
    };
    assert_eq!(codes("of = \"mean\", relative_width = 0, max = 9"), ["out-of-range"]);
    assert_eq!(codes("of = \"mean\", relative_width = 1.5, max = 9"), ["out-of-range"]);
    assert_eq!(codes("of = \"mean\", relative_width = 0.1, confidence = 95, max = 9"), ["out-of-range"]);
    assert_eq!(codes("of = \"mean\", relative_width = 0.1, min = 1, max = 9"), ["out-of-range"]);
    assert_eq!(codes("of = \"mean\", relative_width = 0.1, min = 9, max = 9"), ["invalid-until"]);
    assert_eq!(codes("of = \"mean\", relative_width = 0.1, max = 20000"), ["out-of-range"]);
    assert_eq!(codes("of = \"mean\", relative_width = 0.1"), ["missing-key"]);
    assert_eq!(codes("of = \"p9\", relative_width = 0.1, max = 9"), ["unknown-word"]);
    assert_eq!(codes("of = \"mean\", relative_width = 0.1, max = 9, most = 3"), ["unknown-key"]);
    // Answers that no number of trials up to `max` gives.
    let of_load = |of: &str, max: u32, rest: &str| {
        let until = format!("of = \"{of}\", relative_width = 0.1, min = 2, max = {max}");
        let text = format!("{}{rest}\n[load]\niterations = 100\n", text(&until));
        read_plan(&text, &Overrides::default())
    };
    let fewest = |of: &str, rest: &str| of_load(of, 30, rest).value.unwrap().shortest().unwrap().trials();
    let cold_then_warm = "start = \"cold_then_warm\"";
    assert_eq!([fewest("mean", ""), fewest("p90", ""), fewest("p99", "")], [3, 3, 10]);
    assert_eq!([fewest("mean", cold_then_warm), fewest("p99", cold_then_warm)], [4, 11]);
    assert!(of_load("p99", 10, "").problems.is_empty());
    // Each type of requests needs its own.
    let until = Until { of: LatencyFigure::P99, relative_width: 0.1, confidence: 0.95, min: 3 };
    let mut entry = of_load("p99", 10, "").value.unwrap().entries.remove(0);
    let mut benchmark = entry.benchmark.as_ref().clone();
    let Some(Sent::Requests(workload)) = &mut benchmark.workload else { panic!("no requests") };
    let mut two = workload.as_ref().clone();
    two.requests.push(two.requests[0].clone());
    *workload = Arc::new(two);
    entry.benchmark = Arc::new(benchmark);
    assert_eq!(until.fewest(&entry, &entry.points[0]), 20);
    for (of, max, rest, help) in [
        ("p99", 9, "", "raise `max` to 10 or more, make the load longer"),
        ("p99", 10, cold_then_warm, "raise `max` to 11 or more: an interval needs 3 trials"),
        ("mean", 3, cold_then_warm, "raise `max` to 4 or more"),
    ] {
        let problems = of_load(of, max, rest).problems;
        let [problem] = &problems[..] else { panic!("{}", rendered(&problems)) };
        assert_eq!(problem.code, "invalid-until");
        assert!(rendered(&problems).contains(help), "{}", rendered(&problems));
    }
}

#[test]
fn a_budget_of_money_and_cold_starts_need_what_they_are_checked_against() {
    let files = |target: &str| {
        let manifest = format!(
            "[benchmark]\nname = \"demo\"\n[targets.x]\n{target}\n[[invoke]]\nname = \"call\"\nrun = \"true\"\n"
        );
        Snapshot::new([("/repo/.git/HEAD", ""), ("/repo/app/benchmark.toml", manifest.as_str())])
    };
    let codes = |target: &str, rest: &str| {
        let text = format!("{PLAN_HEAD}[[applications]]\nmanifest = \"../app/benchmark.toml\"\n{rest}\n");
        let files = Kept::new([("/repo/plans/p.toml".into(), text)].into(), files(target));
        let problems = plan(&files, Path::new("/repo/plans/p.toml"), &Overrides::default()).problems;
        problems.iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    let budget = "[budget]\ncost_usd = 5";
    assert_eq!(codes("credentials = [\"aws\"]", budget), ["unknown-cost"]);
    assert!(codes("credentials = [\"aws\"]\nusage = { lambda_requests = 1 }", budget).is_empty());
    assert!(codes("", budget).is_empty(), "nothing of a cloud, nothing to pay");
    assert_eq!(codes("", "[budget]\ncost_usd = 0"), ["out-of-range"]);
    assert_eq!(codes("usage = { lambda_reqests = 1 }", ""), ["unknown-price"]);
    assert_eq!(codes("usage_per_deployment = { usd = -1 }", ""), ["out-of-range"]);
    assert_eq!(codes("traces = \"none\"\njoin_linked = true", ""), ["invalid-traces"]);
    assert!(codes("traces = \"xray\"\njoin_linked = true", "").is_empty());
    assert_eq!(codes("traces = \"none\"", "[trials]\nstart = \"cold\""), ["invalid-start"]);
}

#[test]
fn a_plan_that_no_memory_can_hold_is_a_mistake_in_a_number() {
    let trials = |repetitions: u32, per_deployment: u32| {
        let text = format!(
            "{PLAN_HEAD}{APPLICATION}[trials]\nrepetitions = {repetitions}\nper_deployment = {per_deployment}\n"
        );
        read_plan(&text, &Overrides::default())
    };
    assert_eq!(trials(1000, 1000).value.unwrap().trials(), 1_000_000);
    let refused = trials(1001, 1000);
    let found: Vec<_> =
        refused.problems.iter().map(|problem| (problem.code, problem.message.as_str())).collect();
    assert_eq!(found, [("out-of-range", "the plan has 1001000 trials")]);
    assert!(refused.value.is_none());
}

#[test]
fn a_plan_whose_points_are_all_excluded_is_refused() {
    let found = |exclude: &str, applications: &str| -> Vec<String> {
        let text = format!(
            "[plan]\nname = \"p\"\n[params]\nn = \"{{{{matrix.n}}}}\"\n[matrix]\nn = [1, 2]\nexclude = [{exclude}]\n\
             [[applications]]\nname = \"one\"\nmanifest = \"../app/benchmark.toml\"\n{applications}"
        );
        let manifest = with_local("[params]\nn = 1\n[[deploy]]\nname = \"d\"\nrun = \"echo {{params.n}}\"\n");
        let files = Kept::new([("/repo/plans/p.toml".into(), text)].into(), files(&manifest));
        let checked = plan(&files, Path::new("/repo/plans/p.toml"), &Overrides::default());
        checked.problems.iter().map(|it| format!("{}: {}", it.severity.word(), it.message)).collect()
    };
    let all = "error: every point of the plan is excluded: there is nothing to run";
    assert_eq!(found("{ n = 1 }, { n = 2 }", ""), [all]);
    assert_eq!(found("{ n = 1 }", ""), [""; 0]);
    let two = "[[applications]]\nname = \"two\"\nmanifest = \"../app/benchmark.toml\"\n";
    assert_eq!(found("{ n = 1 }, { n = 2 }", two), [all]);
    assert_eq!(
        found("{ application = \"one\" }", two),
        ["warning: every point of the application `one` is excluded"]
    );
}

#[test]
fn loads_that_a_lock_or_an_earlier_step_keeps_apart_cannot_begin_together() {
    const TOGETHER: &str = "concurrency = { deploy = 2, invoke = 2, together = true }\n\
        trials = { order = \"interleaved\" }\nload = { iterations = 1 }\n";
    let check = |steps: &str, locks: &str, expected: Option<(&str, &str)>| {
        let manifest = |name: &str, steps: &str| {
            format!(
                "[benchmark]\nname = \"{name}\"\n[targets.local]\n[[workload.requests]]\nname = \"buy\"\n\
                 url = \"http://127.0.0.1:1/\"\n{steps}"
            )
        };
        let files = Snapshot::new([
            ("/repo/.git/HEAD", String::new()),
            ("/repo/one/benchmark.toml", manifest("one", "")),
            ("/repo/two/benchmark.toml", manifest("two", steps)),
            (
                "/repo/plans/p.toml",
                format!(
                    "{TOGETHER}{locks}{PLAN_HEAD}[[applications]]\nmanifest = \"../one/benchmark.toml\"\nLOCK\
                     [[applications]]\nmanifest = \"../two/benchmark.toml\"\nLOCK"
                )
                .replace("LOCK", if locks.is_empty() { "" } else { "locks = [\"region\"]\n" }),
            ),
        ]);
        let checked = plan(&files, Path::new("/repo/plans/p.toml"), &Overrides::default());
        let found: Vec<String> = checked
            .problems
            .iter()
            .map(|problem| format!("{}: {} ({:?})", problem.code, problem.labels[0].1, problem.help))
            .collect();
        match expected {
            None => {
                assert_eq!(found, Vec::<String>::new());
                assert!(checked.value.unwrap().concurrency.together);
            }
            Some((label, help)) => {
                assert_eq!(found.len(), 1, "{found:?}");
                assert!(found[0].starts_with("invalid-together") && found[0].contains(label), "{found:?}");
                assert!(found[0].contains(help), "{found:?}");
            }
        }
    };
    check("", "", None);
    let seed = "[[invoke]]\nname = \"seed\"\nrun = \"true\"\n[[invoke]]\nname = \"load\"\nload = true\n";
    check(seed, "", Some(("`two` runs the step `seed` before its load", "make `seed` a step of [[deploy]]")));
    // A step beside the load, and one behind it, keep nobody waiting.
    check(&format!("{seed}needs = []\n"), "", None);
    let behind = "[[invoke]]\nname = \"load\"\nload = true\n[[invoke]]\nname = \"check\"\nrun = \"true\"\n\
        [[invoke]]\nname = \"again\"\nload = true\n";
    check(behind, "", None);
    check(
        "",
        "locks = { region = 1 }\n",
        Some((
            "the loads of `one` and `two` take the lock `region`, which 1 at a time can hold",
            "set `region = 2` in [locks]",
        )),
    );
    check("", "locks = { region = 2 }\n", None);
}
