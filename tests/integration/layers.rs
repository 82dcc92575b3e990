//! The import table of ARCHITECTURE.md, enforced.

use std::path::Path;

/// Modules by layer; a module may import from the layers below it, and as `SIDEWAYS` says.
const LAYERS: &[&[&str]] = &[
    &["exit", "exit_code"],
    &["container", "host", "provider", "store"],
    &["execute", "schedule"],
    &["terminal", "progress"],
    &["cli", "settings", "watch", "ui", "command", "main", "lib"],
];

/// Imports within a layer.
const SIDEWAYS: &[(&str, &str)] = &[
    ("schedule", "execute"),
    ("progress", "terminal"),
    ("settings", "cli"),
    ("ui", "watch"),
    ("command", "watch"),
    ("command", "ui"),
    ("command", "cli"),
    ("command", "settings"),
    ("main", "command"),
];

/// Imports that a lower layer number alone would allow.
const FORBIDDEN: &[(&str, &str)] = &[
    ("execute", "store"),
    ("schedule", "container"),
    ("schedule", "host"),
    ("schedule", "provider"),
    ("progress", "schedule"),
    ("progress", "execute"),
    ("progress", "store"),
    ("terminal", "store"),
];

fn layer_of(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` has no layer: add it to the table here and in ARCHITECTURE.md"))
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// The modules that `crate::…` paths in the code name, documentation and comments left out.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("crate::") {
            let name: String =
                code[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            found.push(name);
        }
    }
    found
}

#[test]
fn modules_import_only_from_the_layers_below() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files {
        let inside = file.strip_prefix(&source).unwrap();
        if inside.ends_with("tests.rs") {
            continue;
        }
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for imported in imports(code) {
            seen += 1;
            let pair = (module, imported.as_str());
            let below = layer_of(&imported) < layer_of(module);
            let fine = module == imported
                || module == "main"
                || module == "lib"
                || (below && !FORBIDDEN.contains(&pair))
                || SIDEWAYS.contains(&pair);
            if !fine {
                wrong.push(format!("{}: {module} imports {imported}", inside.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} imports were seen: is the reader broken?");
    assert!(wrong.is_empty(), "forbidden imports:\n{}", wrong.join("\n"));
}
