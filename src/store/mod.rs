//! The durable journal: SQLite, one database per workspace.
