//! The scheduler: one loop owns the state of a run.
