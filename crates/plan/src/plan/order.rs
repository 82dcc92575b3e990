//! The order of trials: sequential, interleaved or random (seeded).

use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::ChaCha8Rng};

use super::{Expansion, Order};

pub(super) fn arrange(expansion: &mut Expansion, order: Order, seed: u64) {
    match order {
        Order::Sequential => {
            // One chain: everything after everything else.
            expansion.chains = vec![expansion.chains.concat()];
            number(expansion, |_, position, trial| (position, trial, 0));
        }
        Order::Interleaved => number(expansion, |chain, position, trial| (position, trial, chain)),
        Order::Random => {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            for chain in &mut expansion.chains {
                chain.shuffle(&mut generator);
            }
            expansion.chains.shuffle(&mut generator);
            number(expansion, |chain, position, trial| (position, trial, chain));
        }
    }
}

/// Ranks trials by a key of (chain, position in the chain, trial number).
fn number(expansion: &mut Expansion, key: impl Fn(usize, usize, u32) -> (usize, u32, usize)) {
    let mut keyed = Vec::new();
    for (chain_index, chain) in expansion.chains.iter().enumerate() {
        for (position, &deployment) in chain.iter().enumerate() {
            for (index, trial) in expansion.deployments[deployment].trials.iter().enumerate() {
                keyed.push((key(chain_index, position, trial.number), deployment, index));
            }
        }
    }
    keyed.sort_unstable();
    for (rank, (_, deployment, index)) in keyed.into_iter().enumerate() {
        expansion.deployments[deployment].trials[index].rank = u32::try_from(rank).unwrap_or(u32::MAX);
    }
}
