//! AWS: X-Ray traces.
