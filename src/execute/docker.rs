//! Commands in containers.
