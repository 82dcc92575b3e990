//! Samples of requests: load makes them, reports read them.
