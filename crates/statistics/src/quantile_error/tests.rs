use serde_json::Value;

use super::*;
use crate::oracle::expected;

#[track_caller]
fn close(found: f64, expected: f64, what: &str) {
    // Values of the text are rounded to doubles; where they lie close together, this alone is 1e-10 of their spread.
    let near = (found - expected).abs() <= 1e-9 * expected.abs();
    assert!(near || (found.is_nan() && expected.is_nan()), "{what}: {found} is not {expected}");
}

/// Values that look measured: the same on every machine.
fn generated(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut values: Vec<f64> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Thousandths, so that the text of a value is the value.
            ((state >> 40) % 1_000_000) as f64 / 1000.0
        })
        .collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Figures of scipy 1.17.1 for [`generated`]: `scipy.stats.mstats.hdquantiles`, `mjci`.
#[test]
fn quantiles_and_their_errors_are_those_of_scipy() {
    #[track_caller]
    fn check(count: usize, seed: u64, level: f64, quantile: f64, error: f64) {
        let values = generated(count, seed);
        let sample = Sorted::of(&values).unwrap();
        let level = Level::new(level).unwrap();
        let what = format!("{count} values, {level}");
        let found = harrell_davis(&sample, level).unwrap();
        assert!((found - quantile).abs() < 1e-10 * quantile, "{what}: {found} is not {quantile}");
        // scipy subtracts squares, which costs it digits.
        let found = maritz_jarrett(&sample, level).unwrap();
        assert!((found - error).abs() < 1e-7 * error, "{what}: {found} is not {error}");
    }
    check(5, 1, 0.5, 442.676_202_559_999_9, 192.270_872_919_242_18);
    check(20, 2, 0.5, 561.671_124_753_492_3, 91.828_733_621_728_74);
    check(20, 2, 0.9, 921.627_323_408_835, 68.804_863_130_418_1);
    check(137, 3, 0.5, 496.619_467_987_570_7, 53.438_796_653_054_37);
    check(137, 3, 0.9, 883.534_325_128_177_8, 22.210_317_432_729_223);
    check(137, 3, 0.99, 987.241_177_142_902_4, 7.450_632_236_931_393);
    check(1000, 4, 0.5, 483.062_656_802_517_84, 15.603_468_715_017_407);
    check(1000, 4, 0.9, 900.920_090_884_776_3, 10.222_622_666_388_737);
    check(1000, 4, 0.99, 990.190_100_553_609_2, 1.936_123_194_532_817);
    check(5000, 5, 0.5, 495.208_633_215_906_9, 6.942_877_215_011_017);
    check(5000, 5, 0.9, 891.316_107_689_041_4, 4.520_468_400_099_192);
    check(5000, 5, 0.99, 987.352_595_014_873_5, 1.263_321_676_778_497_6);
}

#[test]
fn too_few_values_have_no_error() {
    let none = Sorted::of(&[]).unwrap();
    assert_eq!(harrell_davis(&none, Level::MEDIAN), None);
    assert_eq!(relative_width(&none, Level::MEDIAN, Level::P95), None);
    let one = Sorted::of(&[2.5]).unwrap();
    assert_eq!(harrell_davis(&one, Level::P99), Some(2.5));
    assert_eq!(maritz_jarrett(&one, Level::MEDIAN), None);
    let two = Sorted::of(&[1.0, 2.0]).unwrap();
    assert_eq!(quantile_interval(&two, Level::MEDIAN, Level::P95), None);
    let alike = Sorted::of(&[2.0, 2.0]).unwrap();
    assert_eq!(relative_width(&alike, Level::MEDIAN, Level::P95), None);
    let three = Sorted::of(&[1.0, 2.0, 4.0]).unwrap();
    assert_eq!(maritz_jarrett(&three, Level::P99), None);
    assert!(maritz_jarrett(&three, Level::MEDIAN).is_some());
    assert!(relative_width_as_published(&two, Level::MEDIAN, 0.05).is_nan());
    close(relative_width_as_published(&one, Level::MEDIAN, 0.05), -1.0, "one value");
}

#[test]
fn the_error_of_ten_million_values_is_that_of_theory() {
    let values: Vec<f64> = (0..10_000_000).map(|at| f64::from(at) / 1e7).collect();
    let sample = Sorted::of(&values).unwrap();
    let interval = quantile_interval(&sample, Level::P99, Level::P95).unwrap();
    // The standard error of the 0.99 quantile of a uniform variable is sqrt(p (1 - p) / n).
    close((interval.width() / 2.0 / 1.959_963_984_540_054 * 1e7_f64.sqrt() * 1e4).round(), 995.0, "width");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

#[test]
fn relative_widths_are_those_of_the_study() {
    let Some(text) = expected("rciw.json") else { return };
    let file: Value = serde_json::from_str(&text).unwrap();
    let results = file["results"].as_array().unwrap();
    assert!(results.len() > 100);
    for result in results {
        let case = result["case"].as_str().unwrap();
        let mut values: Vec<f64> = file["samples"][case].as_array().unwrap().iter().map(number).collect();
        let sample = Sorted::sort(&mut values).unwrap();
        let (level, alpha) = (Level::new(number(&result["prob"])).unwrap(), number(&result["alpha"]));
        let what = format!("{case}, {level}, {alpha}");
        let found = relative_width_as_published(&sample, level, alpha);
        if sample.len() < 2 {
            close(found, number(&result["rciw"]), &what);
            continue;
        }
        close(found, number(&result["precise_rciw"]), &what);
        close(harrell_davis(&sample, level).unwrap(), number(&result["precise_harrell_davis"]), &what);
        let error = maritz_jarrett(&sample, level);
        if error.is_some() || !sample.all_equal() {
            close(error.unwrap_or(f64::NAN), number(&result["precise_maritz_jarrett"]), &what);
        }
        let confidence = Level::new(if alpha > 0.5 { alpha } else { 1.0 - alpha }).unwrap();
        let width = relative_width(&sample, level, confidence);
        match sample.len() {
            // Two equal values have a width of 0 there; here they are too few to tell.
            2 => assert_eq!(width, None, "{what}"),
            _ => close(width.unwrap_or(f64::NAN), number(&result["better_rciw"]), &what),
        }
    }
}
