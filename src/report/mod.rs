//! Reports after the fact.
