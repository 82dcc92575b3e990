//! What a change would bring: traces computed anew with some operations faster, slower or gone.
//!
//! The model of one trace is in `model`, what can be changed in `change`. [`WhatIf`] holds the traces, predicts and
//! ranks. docs/what-if.md says what the model takes for granted.

pub(crate) mod change;
pub(crate) mod figures;
pub(crate) mod model;
pub(crate) mod traces;

#[cfg(test)]
mod tests;
