//! A seeded choice of functions.

use rand::SeedableRng as _;
use rand::seq::index;

use crate::model::FunctionTotals;

/// Chooses `count` functions, each with equal chance, in the order in which they are drawn; all of them, if there are
/// fewer. The functions must be in the order of their keys: then the same seed and data give the same sample, whatever the
/// order of rows and files.
pub fn sample<'a>(functions: &[&'a FunctionTotals], count: usize, seed: u64) -> Vec<&'a FunctionTotals> {
    let mut random = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
    let drawn = index::sample(&mut random, functions.len(), count.min(functions.len()));
    drawn.iter().map(|place| functions[place]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Key;

    fn functions(count: usize) -> Vec<FunctionTotals> {
        let function = |index| FunctionTotals {
            key: Key::new("o", "a", &format!("{index:03}"), "http"),
            per_day: Box::new([Some(1)]),
            repeated: Vec::new(),
        };
        (0..count).map(function).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_functions_each_once() {
        let functions = functions(50);
        let functions: Vec<&FunctionTotals> = functions.iter().collect();
        let names = |seed| -> Vec<&str> {
            sample(&functions, 20, seed).iter().map(|function| function.key.function()).collect()
        };
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
        assert_eq!(names(1).iter().collect::<BTreeSet<_>>().len(), 20);
        assert_eq!(sample(&functions, 80, 1).len(), 50);
    }

    #[test]
    fn every_function_has_the_same_chance() {
        let functions = functions(10);
        let functions: Vec<&FunctionTotals> = functions.iter().collect();
        let mut drawn = [0_u32; 10];
        for seed in 0..4000 {
            for function in sample(&functions, 3, seed) {
                drawn[function.key.function().parse::<usize>().unwrap()] += 1;
            }
        }
        // 1,200 are expected of each, with a standard deviation of 29.
        assert!(drawn.iter().all(|count| (1050..1350).contains(count)), "{drawn:?}");
    }
}
