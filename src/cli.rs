//! Command-line arguments: types only.
