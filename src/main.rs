//! Parses arguments, starts the runtime, returns an exit code.

fn main() {}
