//! JSON Schemas of the files, from the same declarations that decode them: editors complete and explain keys.
//!
//! The schemas are made by a test of this module and kept in `schemas/`, from where the program takes them. The test fails when
//! they are stale, and writes them anew when `SB_UPDATE_SCHEMAS=1` is set.

#[cfg(test)]
mod generate;
#[cfg(test)]
mod refine;
#[cfg(test)]
mod tests;

/// A kind of file that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKind {
    /// `benchmark.toml`.
    Benchmark,
    /// `plans/*.toml`.
    Plan,
    /// A workload in a file of its own.
    Workload,
}

impl SchemaKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Benchmark, Self::Plan, Self::Workload];

    /// `benchmark`, `plan` or `workload`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Benchmark => "benchmark",
            Self::Plan => "plan",
            Self::Workload => "workload",
        }
    }
}

/// The schema as JSON text, with a line end.
pub fn schema(kind: SchemaKind) -> &'static str {
    match kind {
        SchemaKind::Benchmark => include_str!("../../../../schemas/benchmark.schema.json"),
        SchemaKind::Plan => include_str!("../../../../schemas/plan.schema.json"),
        SchemaKind::Workload => include_str!("../../../../schemas/workload.schema.json"),
    }
}
