//! Traces: spans, critical path, latency breakdown. Pure.
