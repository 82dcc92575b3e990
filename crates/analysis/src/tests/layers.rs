//! The contract of the crate, enforced: only `io` touches the system, and nothing but the root knows `io`.

use std::fs;
use std::path::{Path, PathBuf};

/// What only `io` may name.
const OF_THE_SYSTEM: [&str; 9] = [
    "crate::io",
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "flate2",
    "SystemTime",
];

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn only_io_touches_the_system() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let inside = file.strip_prefix(&source).unwrap();
        if ["io", "tests", "lib.rs"].iter().any(|free| inside.starts_with(free)) {
            continue;
        }
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().map(|line| line.split("//").next().unwrap()) {
            let named = OF_THE_SYSTEM.iter().filter(|name| line.contains(*name));
            wrong.extend(named.map(|name| format!("{} names {name}", inside.display())));
        }
    }
    assert!(files.len() > 30, "the files were not found");
    assert_eq!(wrong, Vec::<String>::new());
}
