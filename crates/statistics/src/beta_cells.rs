//! The probabilities that a beta distribution gives to `n` cells of equal width: the weights of sorted values in
//! Harrell-Davis and Maritz-Jarrett.
//!
//! Differences of the distribution function would lose digits, and its continued fraction needs the more terms the
//! narrower the distribution. So the density is integrated cell by cell, relative to its value at the mean. The sum
//! of all cells is divided out, so no beta function is needed. The two outermost cells, where the density can be
//! infinite, are power series. Only cells that matter are visited, some tens of standard deviations.

/// Abscissas above 0 and weights of Gauss's quadrature with twelve points (Abramowitz and Stegun, table 25.4).
///
/// The density has no singularity nearer than one cell, so the error of a cell is some 1e-18 of it.
const GAUSS: [(f64, f64); 6] = [
    (0.125_233_408_511_468_9, 0.249_147_045_813_402_8),
    (0.367_831_498_998_180_2, 0.233_492_536_538_354_8),
    (0.587_317_954_286_617_4, 0.203_167_426_723_065_9),
    (0.769_902_674_194_304_7, 0.160_078_328_543_346_2),
    (0.904_117_256_370_474_9, 0.106_939_325_995_318_4),
    (0.981_560_634_246_719_3, 0.047_175_336_386_511_8),
];

/// Cells with less than this part of the heaviest do not count: all of them together are below the last digit of a sum.
const NEGLIGIBLE: f64 = 1e-22;

/// A beta distribution with parameters `a` and `b`, over `n` cells.
struct Beta {
    a: f64,
    b: f64,
    n: usize,
    mean: f64,
}

impl Beta {
    /// The logarithm of the density at `x`, less that at the mean.
    fn log_density(&self, x: f64) -> f64 {
        // The two parts nearly cancel near the mean; as logarithms of one plus a little they keep their digits.
        let off = x - self.mean;
        (self.a - 1.0) * (off / self.mean).ln_1p() + (self.b - 1.0) * (-off / (1.0 - self.mean)).ln_1p()
    }

    /// The integral over cell `at`, relative to the density at the mean and to the width of a cell.
    fn cell(&self, at: usize) -> f64 {
        if at == 0 {
            return self.end(self.a, self.b, self.mean);
        }
        if at + 1 == self.n {
            return self.end(self.b, self.a, 1.0 - self.mean);
        }
        let middle = at as f64 + 0.5;
        let at_point = |shift: f64| self.log_density((middle + shift / 2.0) / self.n as f64).exp();
        GAUSS.iter().map(|(shift, weight)| weight * (at_point(-shift) + at_point(*shift)) / 2.0).sum()
    }

    /// The integral of `x^(a-1) (1-x)^(b-1)` over the first cell, as a power series in its width, on the scale of
    /// [`Self::cell`]. The last cell is the first of the mirrored distribution.
    fn end(&self, a: f64, b: f64, mean: f64) -> f64 {
        let width = 1.0 / self.n as f64;
        let (mut term, mut sum) = (1.0, 1.0 / a);
        // Each term is at most one k-th of the one before it, because b is at most n + 1.
        for k in 1..60 {
            let k = f64::from(k);
            term *= (k - b) * width / k;
            let part = term / (a + k);
            sum += part;
            if part.abs() < 1e-18 * sum.abs() {
                break;
            }
        }
        let scale = (a - 1.0) * (width / mean).ln() - (b - 1.0) * (1.0 - mean).ln();
        scale.exp() * sum
    }
}

/// The cells that matter, as the place of the first and the weights from there on, which sum to 1.
///
/// `a` and `b` are above 0 and at most `n + 1`; `n` is above 0.
pub(crate) fn weights(n: usize, a: f64, b: f64) -> (usize, Vec<f64>) {
    debug_assert!(n > 0 && a > 0.0 && b > 0.0 && a.max(b) <= n as f64 + 1.0, "{n} {a} {b}");
    if n == 1 {
        return (0, vec![1.0]);
    }
    let beta = Beta { a, b, n, mean: a / (a + b) };
    let start = ((beta.mean * n as f64) as usize).min(n - 1);
    // The density falls towards both ends, or rises up to one of them: a cell that is negligible is followed by such only.
    let mut heaviest = beta.cell(start);
    let mut taken = |at: usize| {
        let weight = beta.cell(at);
        heaviest = heaviest.max(weight);
        (weight >= heaviest * NEGLIGIBLE).then_some(weight)
    };
    let mut cells: Vec<f64> = (0..start).rev().map_while(&mut taken).collect();
    let first = start - cells.len();
    cells.reverse();
    cells.extend((start..n).map_while(&mut taken));
    let total: f64 = cells.iter().sum();
    for cell in &mut cells {
        *cell /= total;
    }
    (first, cells)
}

#[cfg(test)]
mod tests {
    use statrs::function::beta::beta_reg;

    use super::*;

    /// Against differences of the distribution function, where a library's is precise.
    #[test]
    fn weights_are_differences_of_the_distribution_function() {
        #[track_caller]
        fn check(n: usize, a: f64, b: f64) {
            let (first, cells) = weights(n, a, b);
            let width = 1.0 / n as f64;
            for at in 0..n {
                let found = at.checked_sub(first).and_then(|at| cells.get(at)).copied().unwrap_or(0.0);
                let (from, to) = (at as f64 * width, (at as f64 + 1.0) * width);
                let expected = beta_reg(a, b, to.min(1.0)) - beta_reg(a, b, from);
                assert!(
                    (found - expected).abs() < 1e-11,
                    "cell {at} of {n}, {a}, {b}: {found}, not {expected}"
                );
            }
        }
        for n in [2, 3, 4, 5, 7, 10, 31, 100, 999, 3000] {
            for p in [0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999] {
                let above = (n + 1) as f64;
                check(n, above * p, above * (1.0 - p));
                let m = (n as f64 * p + 0.5).floor();
                if m >= 2.0 && m < n as f64 {
                    check(n, m - 1.0, n as f64 - m);
                }
            }
        }
    }

    #[test]
    fn only_cells_that_matter_are_visited() {
        let (first, cells) = weights(10_000_000, 5_000_000.5, 5_000_000.5);
        assert!(cells.len() < 40_000, "{}", cells.len());
        assert!(first > 4_900_000);
        assert!((cells.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // Of a symmetric distribution the weights are, too.
        let mirrored = cells.iter().rev();
        assert!(cells.iter().zip(mirrored).all(|(one, other)| (one - other).abs() < 1e-12));
    }
}
