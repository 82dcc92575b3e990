//! Exit codes of `sb`, documented, from one exhaustive match.
