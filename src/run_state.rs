//! The state of a run: a pure fold over its events.
