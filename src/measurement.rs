//! Samples of requests: load makes them, reports read them.

#[derive(Clone, Debug)]
pub struct LoadProgress {
    pub planned: u64,
    pub sent: u64,
    pub answered: u64,
    pub failed: u64,
}
