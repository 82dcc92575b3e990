//! Arguments, environment and configuration, resolved.
