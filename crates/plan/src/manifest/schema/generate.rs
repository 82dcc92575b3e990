//! From the declarations to the schemas.

use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

use super::{SchemaKind, refine};
use crate::manifest::benchmark::BenchmarkFile;
use crate::manifest::plan::PlanFile;
use crate::manifest::workload::WorkloadFile;

/// The schema as JSON text, with a line end.
pub(super) fn generated(kind: SchemaKind) -> String {
    let mut schema = match kind {
        SchemaKind::Benchmark => generator().into_root_schema_for::<BenchmarkFile>(),
        SchemaKind::Plan => generator().into_root_schema_for::<PlanFile>(),
        SchemaKind::Workload => generator().into_root_schema_for::<WorkloadFile>(),
    };
    WithoutNull.transform(&mut schema);
    format!("{:#}\n", refine::refined(kind, schema.to_value()))
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
