//! JSON Schemas of the files, from the same declarations that decode them: editors complete and explain keys.
//!
//! The results are kept in `schemas/`; a test fails when they are stale, and refreshes them when
//! `SB_UPDATE_SCHEMAS=1` is set.

use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

use crate::manifest::benchmark::BenchmarkFile;
use crate::manifest::plan::PlanFile;
use crate::manifest::workload::WorkloadFile;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKind {
    Benchmark,
    Plan,
    Workload,
}

impl SchemaKind {
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
pub fn schema(kind: SchemaKind) -> String {
    let mut schema = match kind {
        SchemaKind::Benchmark => generator().into_root_schema_for::<BenchmarkFile>(),
        SchemaKind::Plan => generator().into_root_schema_for::<PlanFile>(),
        SchemaKind::Workload => generator().into_root_schema_for::<WorkloadFile>(),
    };
    WithoutNull.transform(&mut schema);
    format!("{:#}\n", schema.to_value())
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

/// An optional key is left out, not given as null: TOML has no null.
#[derive(Clone)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        let Some(Value::Array(choices)) = schema.get_mut("anyOf") else {
            return;
        };
        choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
        let only = match choices.as_slice() {
            [Value::Object(only)] => only.clone(),
            _ => return,
        };
        schema.remove("anyOf");
        for (key, value) in only {
            if schema.get(&key).is_none() {
                schema.insert(key, value);
            }
        }
    }
}
