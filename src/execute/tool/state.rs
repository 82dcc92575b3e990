//! What the state of Terraform holds: its own file, of format 4.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

/// The resources of a state, by their addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// That are in use.
    pub current: BTreeSet<String>,
    /// That others of the same addresses have replaced, and that are still there.
    pub replaced: BTreeSet<String>,
}

/// What is in a state. None: the file is missing or empty, so nothing was written yet.
pub(super) fn known(file: &Path) -> Result<Option<Known>, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read `{}`: {error}", file.display());
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| cannot(&error))?,
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let state: Value = serde_json::from_slice(&bytes).map_err(|error| cannot(&error))?;
    let resources = state["resources"].as_array().into_iter().flatten();
    let mut known = Known::default();
    for resource in resources.filter(|resource| resource["mode"] == "managed") {
        for (address, is_replaced) in of_resource(resource) {
            let set = if is_replaced { &mut known.replaced } else { &mut known.current };
            set.insert(address);
        }
    }
    Ok(Some(known))
}

/// `module.a.kind.name`, and `["key"]` or `[0]` of one of several; and whether another has replaced it.
fn of_resource(resource: &Value) -> Vec<(String, bool)> {
    let text = |key: &str| resource[key].as_str().unwrap_or_default();
    let module = match text("module") {
        "" => String::new(),
        module => format!("{module}."),
    };
    let address = format!("{module}{}.{}", text("type"), text("name"));
    let instances = resource["instances"].as_array().into_iter().flatten();
    instances
        .map(|instance| {
            let address = match &instance["index_key"] {
                Value::Null => address.clone(),
                // As HCL writes a text.
                key => format!("{address}[{}]", key.to_string().replace("${", "$${").replace("%{", "%%{")),
            };
            (address, instance["deposed"].is_string())
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
        assert_eq!(known(&file), Ok(None));
        fs::write(&file, "").unwrap();
        assert_eq!(known(&file), Ok(None));
        let state = r#"{"version": 4, "resources": [
            {"mode": "managed", "type": "a", "name": "one", "instances": [{"attributes": {}}]},
            {"mode": "data", "type": "a", "name": "read", "instances": [{}]},
            {"module": "module.x[0]", "mode": "managed", "type": "b", "name": "many", "instances": [{"index_key": "k\"1"}, {"index_key": 2}, {"index_key": "${x}"}, {"index_key": 2, "deposed": "0a"}]},
            {"mode": "managed", "type": "a", "name": "none", "instances": []}
        ]}"#;
        fs::write(&file, state).unwrap();
        let found = known(&file).unwrap().unwrap();
        assert_eq!(
            found.current.into_iter().collect::<Vec<_>>(),
            [
                "a.one",
                "module.x[0].b.many[\"$${x}\"]",
                "module.x[0].b.many[\"k\\\"1\"]",
                "module.x[0].b.many[2]"
            ]
        );
        assert_eq!(found.replaced.into_iter().collect::<Vec<_>>(), ["module.x[0].b.many[2]"]);
    }
}
