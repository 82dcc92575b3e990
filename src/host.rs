//! Steps as host processes, each under a small supervisor of its own.
