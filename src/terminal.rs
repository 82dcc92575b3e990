//! The sole writer to stdout and stderr.
