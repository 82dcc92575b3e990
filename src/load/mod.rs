//! Load: requests sent on time.
