//! The local target: an embedded single-node function runtime.
