//! Which step of a phase has succeeded when another one starts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::benchmark::Phase;

/// The steps of one phase on one target, and what they need. Asked about as it is: all that comes before each step
/// would be a list as long as the square of the steps.
#[derive(Clone, Debug, Default)]
pub(super) struct PhaseOrder {
    index: HashMap<String, usize>,
    needs: Vec<Vec<usize>>,
    /// By step: the first of the steps that follow each other without a branch up to it.
    head: Vec<usize>,
    /// Comes before all others.
    first: Option<String>,
}

/// The phases of one target.
pub(super) type Order = BTreeMap<Phase, PhaseOrder>;

impl PhaseOrder {
    /// Steps in the order of the file, each with its needs.
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a str>, needs: Vec<Vec<usize>>) -> Self {
        let mut head: Vec<usize> = Vec::with_capacity(needs.len());
        for (step, needs) in needs.iter().enumerate() {
            head.push(match needs.as_slice() {
                [need] if need + 1 == step => head[*need],
                _ => step,
            });
        }
        let index = names.into_iter().enumerate().map(|(index, name)| (name.to_owned(), index)).collect();
        Self { index, needs, head, first: None }
    }

    /// A step that all others wait for.
    pub(super) fn begin_with(&mut self, name: &str) {
        self.first = Some(name.to_owned());
    }

    /// Whether `earlier` has succeeded when `later` starts.
    pub(super) fn comes_before(&self, earlier: &str, later: &str) -> bool {
        if self.first.as_deref() == Some(earlier) {
            return earlier != later;
        }
        let (Some(&goal), Some(&start)) = (self.index.get(earlier), self.index.get(later)) else {
            return false;
        };
        let mut seen = HashSet::new();
        let mut open = vec![start];
        while let Some(step) = open.pop() {
            let head = self.head[step];
            if (head..=step).contains(&goal) && goal != start {
                return true;
            }
            if seen.insert(head) {
                open.extend(&self.needs[head]);
            }
        }
        false
    }
}

/// An order in which every step comes after its needs: of those that could be next, the first of the file. Steps that
/// need each other in a circle are left out.
pub(super) fn order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (step, needs) in needs.iter().enumerate() {
        for need in needs {
            needed_by[*need].push(step);
        }
    }
    let mut ready: BTreeSet<usize> = (0..needs.len()).filter(|step| missing[*step] == 0).collect();
    let mut ordered = Vec::with_capacity(needs.len());
    while let Some(step) = ready.pop_first() {
        ordered.push(step);
        for later in &needed_by[step] {
            missing[*later] -= 1;
            if missing[*later] == 0 {
                ready.insert(*later);
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As it is by definition: needs, and the needs of needs.
        #[test]
        fn what_comes_before_is_the_closure_of_needs(
            edges in proptest::collection::vec(proptest::collection::vec(0..12_usize, 0..3), 1..12)
        ) {
            // Later steps need earlier ones, so that there is no circle.
            let needs: Vec<Vec<usize>> = edges
                .iter()
                .enumerate()
                .map(|(step, needs)| {
                    let needs = needs.iter().filter(|_| step > 0).map(|need| need % step.max(1));
                    needs.collect::<BTreeSet<_>>().into_iter().collect()
                })
                .collect();
            let names: Vec<String> = (0..needs.len()).map(|step| format!("s{step}")).collect();
            let order = PhaseOrder::new(names.iter().map(String::as_str), needs.clone());
            let mut before: Vec<BTreeSet<usize>> = Vec::new();
            for needs in &needs {
                let mut all: BTreeSet<usize> = needs.iter().copied().collect();
                for need in needs {
                    all.extend(before[*need].clone());
                }
                before.push(all);
            }
            for (later, earlier_ones) in before.iter().enumerate() {
                for earlier in 0..needs.len() {
                    prop_assert_eq!(
                        order.comes_before(&names[earlier], &names[later]),
                        earlier_ones.contains(&earlier),
                        "{} before {} in {:?}", earlier, later, needs
                    );
                }
            }
            prop_assert_eq!(super::order(&needs), (0..needs.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_step_of_the_file_that_can_be_next_is_next() {
        assert_eq!(order(&[vec![2], vec![], vec![], vec![0, 1]]), [1, 2, 0, 3]);
        assert_eq!(order(&[vec![1], vec![0], vec![]]), [2]);
    }
}
