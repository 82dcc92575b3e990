use super::*;
use crate::report::Ink;
use crate::report::comparison_text::{comparison_markdown, comparison_text};

/// Numbers that look drawn from a normal distribution: the same on every machine.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }

    /// The sum of twelve uniform numbers has a variance of 1.
    fn normal(&mut self, spread: f64) -> f64 {
        ((0..12).map(|_| self.uniform()).sum::<f64>() - 6.0) * spread
    }
}

fn key(request: &str) -> ComparedGroup {
    ComparedGroup {
        application: "shop".to_owned(),
        factors: BTreeMap::from([("rate".to_owned(), "5".to_owned())]),
        request: Some(request.to_owned()),
    }
}

/// How a run is made up.
#[derive(Clone, Copy)]
struct Design {
    deployments: usize,
    trials: usize,
    requests: usize,
    /// How much slower the first group computes.
    slower: f64,
    /// The share of requests that fail.
    failing: f64,
}

const DESIGN: Design = Design { deployments: 3, trials: 4, requests: 100, slower: 1.0, failing: 0.0 };

/// Two types of requests, of 20 ms of computation and 10 ms of services each; the first five of a trial are cold.
fn run(name: &str, design: Design, seed: u64) -> RunMeasurements {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut run = RunMeasurements { name: name.to_owned(), ..RunMeasurements::default() };
    for trial in 0..design.deployments * design.trials {
        let place = TrialPlace { deployment: trial / design.trials, trial };
        let of_trial = noise.normal(0.02);
        run.folders += 1;
        for (request, factor) in [("buy", design.slower), ("look", 1.0)] {
            let column = run.requests.entry(key(request)).or_default().entry(place).or_default();
            let columns = run.traces.entry(key(request)).or_default().entry(place).or_default();
            for at in 0..design.requests {
                let computation = 20.0 * factor * (of_trial + noise.normal(0.3)).exp();
                let service = 10.0 * noise.normal(0.3).exp();
                let cold = if at < 5 { 200.0 } else { 0.0 };
                if noise.uniform() < design.failing {
                    column.failed += 1;
                    continue;
                }
                columns.cold_starts.push(u64::from(at < 5));
                columns.duration_ms.push(computation + service + cold);
                for (part, activity) in columns.parts_ms.iter_mut().zip(Activity::ALL) {
                    part.push(match activity {
                        Activity::Computation => computation,
                        Activity::ExternalService => service,
                        Activity::ContainerInitialization => cold,
                        _ => 0.0,
                    });
                }
                column.latencies_ms.push(computation + service + cold + 5.0);
            }
        }
    }
    run
}

fn compare(first: Design, second: Design, seed: u64) -> Comparison {
    Comparison::of(&run("before", first, seed), &run("after", second, seed + 1_000_000)).unwrap()
}

fn findings(comparison: &Comparison, words: &str) -> Vec<(&'static str, &'static str, Finding)> {
    let group = comparison.groups.iter().find(|group| group.words() == words).unwrap();
    let figures = group.quantities.iter().chain(&group.path).flat_map(|quantity| {
        quantity.figures.iter().map(|figure| (quantity.quantity.name(), figure.statistic, figure.finding))
    });
    figures.collect()
}

#[test]
fn a_change_is_found_where_it_is_and_on_the_path() {
    let comparison = compare(DESIGN, Design { slower: 1.2, ..DESIGN }, 1);
    let found = findings(&comparison, "shop buy rate=5, warm");
    assert!(found.contains(&("duration", "p50", Finding::Slower)), "{found:?}");
    assert!(found.contains(&("duration", "mean", Finding::Slower)), "{found:?}");
    assert!(found.contains(&("computation", "mean", Finding::Slower)), "{found:?}");
    assert!(found.contains(&("external_service", "mean", Finding::NoDifferenceSeen)), "{found:?}");
    // What is nowhere on the path is no row.
    assert!(found.iter().all(|(quantity, ..)| *quantity != "trigger"), "{found:?}");
    let group = comparison.groups.iter().find(|group| group.words() == "shop buy rate=5, warm").unwrap();
    assert_eq!(group.path[0].quantity, Quantity::Part(Activity::Computation), "what moved most is first");
    assert_eq!((group.trials, group.deployments), ([12, 12], [3, 3]));
    let mean = group.path[0].figure("mean").unwrap();
    assert!((3.0..5.0).contains(&(mean.second - mean.first)), "{mean:?}");
    assert!(group.quantities[0].above > 0.6, "a slower run tends to be above: {group:?}");
    let other = findings(&comparison, "shop look rate=5, warm");
    assert!(other.iter().all(|(.., finding)| !finding.is_change()), "{other:?}");
    let regressions = comparison.regressions(0.05);
    assert!(!regressions.is_empty());
    assert!(regressions.iter().all(|one| one.group.starts_with("shop buy")), "{regressions:?}");
    assert!(comparison.regressions(0.5).is_empty());
}

#[test]
fn more_failures_are_a_regression_and_never_fast() {
    // Requests that fail leave no durations, so those that are left look the same.
    let comparison = compare(DESIGN, Design { failing: 0.1, ..DESIGN }, 2);
    let found = findings(&comparison, "shop look rate=5");
    assert!(found.contains(&("failed", "mean", Finding::MoreFailures)), "{found:?}");
    let regressions = comparison.regressions(0.05);
    assert!(
        regressions.iter().all(|one| one.quantity == "failed") && regressions.len() == 2,
        "{regressions:?}"
    );
    let back = compare(Design { failing: 0.1, ..DESIGN }, DESIGN, 2);
    assert!(findings(&back, "shop look rate=5").contains(&("failed", "mean", Finding::FewerFailures)));
    assert!(back.regressions(0.05).is_empty());
}

#[test]
fn a_run_whose_requests_all_fail_is_a_regression() {
    let comparison = compare(DESIGN, Design { failing: 1.1, ..DESIGN }, 3);
    assert_eq!(comparison.regressions(0.05).len(), 2, "{:?}", comparison.groups);
    let gone: Vec<String> = comparison.only_first.iter().map(LoneGroup::words).collect();
    assert!(gone.contains(&"shop buy rate=5, warm".to_owned()), "{gone:?}");
}

#[test]
fn a_single_trial_says_nothing() {
    let comparison = compare(DESIGN, Design { deployments: 1, trials: 1, ..DESIGN }, 4);
    assert!(!comparison.says_anything());
    assert_eq!(comparison.unjudged().count(), comparison.groups.len());
    let duration = comparison.groups.iter().flat_map(|group| &group.quantities).next_back().unwrap();
    let p50 = duration.figure("p50").unwrap();
    assert_eq!((p50.difference, p50.ratio, p50.p_value), (None, None, None));
    assert!(p50.first > 0.0 && p50.second > 0.0);
}

#[test]
fn two_equal_runs_are_the_same() {
    let one = run("one", DESIGN, 5);
    let comparison = Comparison::of(&one, &one).unwrap();
    assert!(comparison.says_anything());
    let mut figures = comparison.groups.iter().flat_map(|group| &group.quantities).flat_map(|of| &of.figures);
    assert!(figures.all(|figure| !figure.finding.is_change()));
    assert!(comparison.regressions(0.0).is_empty());
}

#[test]
fn a_start_is_cold_with_as_many_cold_starts_as_any() {
    let mut one = run("one", DESIGN, 6);
    for columns in one.traces.values_mut().flat_map(BTreeMap::values_mut) {
        columns.cold_starts[0] = 3;
    }
    let other = run("other", DESIGN, 7);
    let comparison = Comparison::of(&one, &other).unwrap();
    let starts = |lone: &[LoneGroup]| lone.iter().filter_map(|group| group.start).collect::<BTreeSet<_>>();
    // The other run's traces with one cold start are partial, measured by the three of the first.
    assert_eq!(starts(&comparison.only_first), BTreeSet::from([Start::Cold]));
    assert!(comparison.only_second.is_empty());
    assert!(comparison.groups.iter().any(|group| group.start == Some(Start::Partial)));
}

/// Whole comparisons of simulated pairs, by what ends a CI job: 10 % on the duration of one of two types of requests.
#[test]
fn planted_regressions_are_found_and_equal_pairs_are_quiet() {
    const PAIRS: u64 = 60;
    let design = Design { deployments: 4, trials: 5, requests: 40, ..DESIGN };
    // Computation is two thirds of a duration.
    let slower = Design { slower: 1.15, ..design };
    let regressed = |second: Design, seed: u64| !compare(design, second, seed).regressions(0.05).is_empty();
    let found = (0..PAIRS).filter(|seed| regressed(slower, 10_000 + seed)).count() as u64;
    let alarms = (0..PAIRS).filter(|seed| regressed(design, 20_000 + seed)).count() as u64;
    assert!(found * 100 >= PAIRS * 95, "{found} of {PAIRS} found");
    assert!(alarms * 100 <= PAIRS * 5, "{alarms} false alarms in {PAIRS}");
}

#[test]
fn a_comparison_is_a_short_table() {
    let mut comparison = compare(DESIGN, Design { slower: 1.2, failing: 0.03, ..DESIGN }, 8);
    comparison
        .second
        .notes
        .push("2 traces belong to no request of their folder and were left out".to_owned());
    comparison.only_second.push(LoneGroup { key: key("new|`type`"), start: Some(Start::Warm) });
    let mut text = String::new();
    comparison_text(&mut text, &comparison, Ink::Plain).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!("comparison_text", text);
    let mut text = String::new();
    comparison_markdown(&mut text, &comparison).unwrap();
    insta::assert_snapshot!("comparison_markdown", text);
    let mut coloured = String::new();
    comparison_text(&mut coloured, &comparison, Ink::Coloured).unwrap();
    assert!(coloured.contains("\u{1b}[31mslower"), "{coloured}");
}

#[test]
fn a_comparison_that_can_say_nothing_says_what_to_do() {
    let single = Design { deployments: 1, trials: 1, ..DESIGN };
    let mut text = String::new();
    comparison_text(&mut text, &compare(single, single, 9), Ink::Plain).unwrap();
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("Measure at least three, better ten: `per_deployment` or `repetitions`"), "{text}");
    let other = RunMeasurements { name: "other".to_owned(), ..RunMeasurements::default() };
    let nothing = Comparison::of(&run("one", single, 1), &other).unwrap();
    let mut text = String::new();
    comparison_text(&mut text, &nothing, Ink::Plain).unwrap();
    assert!(text.contains("no group in common"), "{text}");
    assert!(text.contains("Only in one: shop buy rate=5; shop buy rate=5, warm"), "{text}");
    assert!(!nothing.says_anything());
}

#[test]
fn groups_with_long_names_are_told_apart_at_the_end() {
    let label = "exp1_latency_breakdown_of_a_very_long_name_".repeat(3);
    let long = |mut run: RunMeasurements| {
        let renamed = |mut key: ComparedGroup| {
            key.factors = BTreeMap::from([("label".to_owned(), label.clone())]);
            key
        };
        run.requests = run.requests.into_iter().map(|(key, of)| (renamed(key), of)).collect();
        run.traces = run.traces.into_iter().map(|(key, of)| (renamed(key), of)).collect();
        run
    };
    let comparison = Comparison::of(&long(run("before", DESIGN, 8)), &long(run("after", DESIGN, 9))).unwrap();
    let mut text = String::new();
    comparison_text(&mut text, &comparison, Ink::Plain).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let headings: Vec<&str> = text.split("\n\n").filter(|block| block.starts_with("shop ")).collect();
    let names: BTreeSet<String> = headings
        .iter()
        .map(|block| block.lines().take_while(|line| !line.contains(" trials")).collect())
        .collect();
    assert_eq!((headings.len(), names.len()), (4, 4), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with("_, warm")), "{names:?}");
    assert!(text.contains("1,200/1,200 requests, 12/12 trials"), "{text}");
}

#[test]
fn less_data_than_before_is_said() {
    let noted = |before: RunMeasurements, after: RunMeasurements| {
        let comparison = Comparison::of(&before, &after).unwrap();
        let mut text = String::new();
        comparison_text(&mut text, &comparison, Ink::Plain).unwrap();
        for note in &comparison.notes {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert!(words.join(" ").contains(note), "{text}");
        }
        comparison.notes
    };
    let all = || run("before", DESIGN, 5);
    assert!(noted(all(), run("after", DESIGN, 6)).is_empty());
    // 10 % less is not worth a word.
    assert!(noted(all(), run("after", Design { requests: 90, ..DESIGN }, 6)).is_empty());
    let half = noted(all(), run("after", Design { requests: 50, ..DESIGN }, 6));
    assert!(half.contains(&"shop buy rate=5: 1200 requests before and 600 after".to_owned()), "{half:?}");
    let mut untraced = run("after", DESIGN, 6);
    for columns in untraced.traces.values_mut().flat_map(BTreeMap::values_mut) {
        columns.cold_starts.truncate(50);
        columns.duration_ms.truncate(50);
        columns.parts_ms.iter_mut().for_each(|part| part.truncate(50));
    }
    let missing = noted(all(), untraced);
    let expected = "shop buy rate=5: 600 of 1200 answered requests after have no valid trace";
    assert!(missing.contains(&expected.to_owned()), "{missing:?}");
}

#[test]
fn a_label_cannot_be_a_link_in_markdown() {
    let hostile = |mut run: RunMeasurements| {
        run.traces.clear();
        let rename = |mut key: ComparedGroup| {
            key.factors = BTreeMap::from([("label".to_owned(), "*_[x](http://e)".to_owned())]);
            key
        };
        run.requests = run.requests.into_iter().map(|(key, of)| (rename(key), of)).collect();
        run
    };
    let comparison =
        Comparison::of(&hostile(run("before", DESIGN, 5)), &hostile(run("after", DESIGN, 6))).unwrap();
    let mut text = String::new();
    comparison_markdown(&mut text, &comparison).unwrap();
    assert!(text.contains(r"\*\_\[x\](http://e)") && !text.contains("_[x]("), "{text}");
}
