//! From a checked plan to trials.
