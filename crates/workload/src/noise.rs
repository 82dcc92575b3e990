//! Fractional Brownian motion, and its increments, fractional Gaussian noise.
//!
//! Made exactly (not approximately) by circulant embedding: Davies and Harte, "Tests for Hurst effect", Biometrika 74
//! (1987). The covariance of n increments is embedded in a circulant matrix of order 2n. Its eigenvalues are the
//! Fourier transform of its first row. Independent normal variables, scaled by the roots of these and transformed
//! back, have that covariance. O(n log n).

use rand::Rng;
use rand_distr::{Distribution as _, StandardNormal};
use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

/// `count` steps of fractional Gaussian noise of unit variance. `hurst` lies in 0..1; above 0.5 the steps keep
/// their direction (long-range dependence), 0.5 is white noise.
pub(crate) fn increments(count: usize, hurst: f64, random: &mut impl Rng) -> Vec<f64> {
    if count == 0 {
        return Vec::new();
    }
    let order = 2 * count;
    // γ(0), γ(1) … γ(n), γ(n−1) … γ(1)
    let covariances = autocovariances(count, hurst);
    let mut row: Vec<f64> = (0..order).map(|place| covariances[place.min(order - place)]).collect();
    let mut planner = RealFftPlanner::<f64>::new();
    let forward = planner.plan_fft_forward(order);
    let mut spectrum = forward.make_output_vec();
    if forward.process(&mut row, &mut spectrum).is_err() {
        // Only for vectors of the wrong length, and these are made by the plan.
        return vec![0.0; count];
    }
    let mut normal = || -> f64 { StandardNormal.sample(random) };
    let last = spectrum.len() - 1;
    for (place, value) in spectrum.iter_mut().enumerate() {
        // Never negative for this covariance, but for rounding.
        let eigenvalue = value.re.max(0.0) / order as f64;
        *value = if place == 0 || place == last {
            Complex::new(eigenvalue.sqrt() * normal(), 0.0)
        } else {
            let scale = (eigenvalue / 2.0).sqrt();
            Complex::new(scale * normal(), scale * normal())
        };
    }
    let backward = planner.plan_fft_inverse(order);
    let mut noise = backward.make_output_vec();
    if backward.process(&mut spectrum, &mut noise).is_err() {
        return vec![0.0; count];
    }
    noise.truncate(count);
    noise
}

/// B(1) … B(count): the running sum of [`increments`]. The variance of B(t) is t^(2·hurst).
pub(crate) fn motion(count: usize, hurst: f64, random: &mut impl Rng) -> Vec<f64> {
    let mut path = increments(count, hurst, random);
    let mut sum = 0.0;
    for step in &mut path {
        sum += *step;
        *step = sum;
    }
    path
}

/// Of two steps that lie 0 … `last` apart: ½(|lag+1|^2H − 2·|lag|^2H + |lag−1|^2H) (Mandelbrot and van Ness, SIAM Review
/// 10 (1968)). Each power is part of three of them, and is what takes the time.
fn autocovariances(last: usize, hurst: f64) -> Vec<f64> {
    let power = |value: f64| value.abs().powf(2.0 * hurst);
    let (mut before, mut here) = (power(-1.0), power(0.0));
    let lags = (0..=last).map(|lag| {
        let after = power(lag as f64 + 1.0);
        let covariance = 0.5 * (after - 2.0 * here + before);
        (before, here) = (here, after);
        covariance
    });
    lags.collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    const PATHS: usize = 4000;

    fn paths(count: usize, hurst: f64) -> Vec<Vec<f64>> {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        (0..PATHS).map(|_| increments(count, hurst, &mut random)).collect()
    }

    /// The mean over all paths lies within five standard errors of what theory says. For normal variables of
    /// variances v and w and covariance c, the product has variance v·w + c².
    #[track_caller]
    fn check(products: impl Iterator<Item = f64>, expected: f64, variance: f64, what: &str) {
        let mean = products.sum::<f64>() / PATHS as f64;
        let error = (variance / PATHS as f64).sqrt();
        assert!((mean - expected).abs() < 5.0 * error, "{what}: {mean} instead of {expected} ± {error}");
    }

    #[test]
    fn the_variance_of_the_motion_grows_with_the_power_of_twice_hurst() {
        for hurst in [0.3, 0.5, 0.8] {
            let paths = paths(64, hurst);
            for time in [1, 2, 5, 16, 40, 64_usize] {
                let end = |path: &Vec<f64>| path[..time].iter().sum::<f64>();
                let variance = (time as f64).powf(2.0 * hurst);
                let squares = paths.iter().map(|path| end(path).powi(2));
                check(squares, variance, 2.0 * variance.powi(2), &format!("H {hurst}, t {time}"));
            }
        }
    }

    #[test]
    fn steps_depend_on_each_other_as_their_autocovariance_says() {
        for hurst in [0.3, 0.5, 0.8] {
            let paths = paths(50, hurst);
            for (first, lag) in [(0, 0), (3, 1), (10, 2), (0, 7), (20, 20), (0, 49_usize)] {
                let expected = autocovariances(lag, hurst)[lag];
                let products = paths.iter().map(|path| path[first] * path[first + lag]);
                check(products, expected, 1.0 + expected * expected, &format!("H {hurst}, lag {lag}"));
            }
        }
        // In closed form: ½(3^1.6 − 2·2^1.6 + 1).
        assert!(
            (autocovariances(2, 0.8)[2] - 0.5 * (3f64.powf(1.6) - 2.0 * 2f64.powf(1.6) + 1.0)).abs() < 1e-15
        );
        assert!(autocovariances(1, 0.5)[1].abs() < 1e-15, "white noise");
    }

    #[test]
    fn the_same_seed_gives_the_same_path_and_another_one_another() {
        let path = |seed| motion(100, 0.8, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(path(1), path(1));
        assert_ne!(path(1), path(2));
        assert_eq!(motion(0, 0.8, &mut ChaCha8Rng::seed_from_u64(1)), Vec::<f64>::new());
        assert_eq!(motion(1, 0.8, &mut ChaCha8Rng::seed_from_u64(1)).len(), 1);
    }
}
