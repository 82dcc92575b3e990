//! One file per subcommand; wiring only.
