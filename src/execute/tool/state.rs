//! What the state of Terraform holds: its own file, of format 4.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

/// The addresses of the resources in a state. None are in a file that is missing or empty: nothing was written yet.
pub(super) fn addresses(file: &Path) -> Result<BTreeSet<String>, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read `{}`: {error}", file.display());
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        read => read.map_err(|error| cannot(&error))?,
    };
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let state: Value = serde_json::from_slice(&bytes).map_err(|error| cannot(&error))?;
    let resources = state["resources"].as_array().into_iter().flatten();
    Ok(resources.filter(|resource| resource["mode"] == "managed").flat_map(of_resource).collect())
}

/// `module.a.kind.name`, and `["key"]` or `[0]` of one of several.
fn of_resource(resource: &Value) -> Vec<String> {
    let text = |key: &str| resource[key].as_str().unwrap_or_default();
    let module = match text("module") {
        "" => String::new(),
        module => format!("{module}."),
    };
    let address = format!("{module}{}.{}", text("type"), text("name"));
    let instances = resource["instances"].as_array().into_iter().flatten();
    instances
        .map(|instance| match &instance["index_key"] {
            Value::Null => address.clone(),
            key => format!("{address}[{key}]"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_the_program_says_them() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("state");
        assert_eq!(addresses(&file), Ok(BTreeSet::new()));
        let state = r#"{"version": 4, "resources": [
            {"mode": "managed", "type": "a", "name": "one", "instances": [{"attributes": {}}]},
            {"mode": "data", "type": "a", "name": "read", "instances": [{}]},
            {"module": "module.x[0]", "mode": "managed", "type": "b", "name": "many", "instances": [{"index_key": "k\"1"}, {"index_key": 2}]},
            {"mode": "managed", "type": "a", "name": "none", "instances": []}
        ]}"#;
        fs::write(&file, state).unwrap();
        let found = addresses(&file).unwrap();
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["a.one", "module.x[0].b.many[\"k\\\"1\"]", "module.x[0].b.many[2]"]
        );
    }
}
