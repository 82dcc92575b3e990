//! The graph of a run: steps and named edges.
