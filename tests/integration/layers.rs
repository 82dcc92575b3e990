//! The import table of ARCHITECTURE.md inside the program, enforced. What crates may import, Cargo enforces.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each module of the program may import, itself left out.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("workspace", &[]),
    ("command_exit", &[]),
    ("exit_code", &[]),
    ("attempt", &["command_exit"]),
    ("container", &["attempt", "command_exit"]),
    ("host", &["attempt", "command_exit", "inherited"]),
    ("provider", &["printable"]),
    ("store", &["command_exit", "attempt", "printable", "workspace"]),
    (
        "execute",
        &["attempt", "command_exit", "printable", "workspace", "container", "host", "inherited", "provider"],
    ),
    ("schedule", &["attempt", "store", "execute", "workspace"]),
    ("run", &["attempt", "workspace", "inherited", "printable", "store", "execute", "schedule"]),
    ("terminal", &["printable"]),
    ("progress", &["printable", "terminal"]),
    ("inherited", &[]),
    ("printable", &[]),
    ("role", &["execute", "host", "inherited", "provider", "terminal"]),
    ("cli", &[]),
    ("settings", &["cli", "store", "terminal", "workspace"]),
    ("watch", &["attempt", "execute", "printable", "schedule", "run", "store", "workspace"]),
    ("ui", &["watch", "printable", "run", "schedule", "store", "execute", "attempt"]),
    (
        "command",
        &[
            "attempt",
            "cli",
            "command_exit",
            "container",
            "execute",
            "exit_code",
            "host",
            "inherited",
            "printable",
            "progress",
            "provider",
            "role",
            "run",
            "schedule",
            "settings",
            "store",
            "terminal",
            "ui",
            "watch",
            "workspace",
        ],
    ),
];

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// The code of a file: without comments, and without its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The names after `START`, groups in braces included.
fn named(code: &str, start: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(start) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            None => found.extend(Some(word(rest))),
            Some(group) => {
                let mut depth = 0;
                let mut fresh = true;
                for (place, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' => fresh = true,
                        c if fresh && depth == 0 && (c.is_ascii_alphabetic() || c == '_') => {
                            found.insert(word(&group[place..]));
                            fresh = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

#[test]
fn the_reader_of_imports_sees_paths_and_groups() {
    let code = "use crate::a::b; use crate::{c::{x, y}, d}; fn f() { crate::e::g(); my_crate::h(); }";
    let seen: Vec<_> = named(code, "crate::").into_iter().collect();
    assert_eq!(seen, ["a", "c", "d", "e"]);
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let inside = file.strip_prefix(&source).unwrap();
        let name = inside.file_name().unwrap().to_str().unwrap();
        if name.ends_with("tests.rs") || name == "lib.rs" || name == "main.rs" {
            continue;
        }
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("`{module}` is in no layer: add it here and to ARCHITECTURE.md"));
            continue;
        };
        for imported in named(&code(&file), "crate::") {
            let is_module = MAY_IMPORT.iter().any(|(name, _)| *name == imported);
            if is_module && imported != module && !allowed.contains(&imported.as_str()) {
                wrong.push(format!("{}: {module} imports {imported}", inside.display()));
            }
            seen.insert((module.to_owned(), imported));
        }
    }
    assert!(seen.len() > 40, "only {} imports were seen: is the reader broken?", seen.len());
    assert!(wrong.is_empty(), "forbidden imports:\n{}", wrong.join("\n"));
}

/// The files of commands that each other file of commands imports, followed around: none may lead back.
#[test]
fn commands_do_not_import_each_other_in_a_circle() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command");
    let mut files = Vec::new();
    collect(&folder, &mut files);
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let names: BTreeSet<String> = files.iter().map(|path| stem(path)).filter(|name| name != "mod").collect();
    let mut edges: Vec<(String, BTreeSet<String>)> = files
        .iter()
        .filter(|path| stem(path) != "mod")
        .map(|path| {
            let imported = named(&code(path), "super::");
            (stem(path), imported.intersection(&names).cloned().collect())
        })
        .collect();
    assert!(edges.iter().any(|(_, imported)| !imported.is_empty()), "no import was seen");
    loop {
        let free: BTreeSet<String> =
            edges.iter().filter(|(_, imported)| imported.is_empty()).map(|(name, _)| name.clone()).collect();
        if free.is_empty() {
            break;
        }
        edges.retain(|(name, _)| !free.contains(name));
        for (_, imported) in &mut edges {
            imported.retain(|name| !free.contains(name));
        }
    }
    assert!(edges.is_empty(), "in a circle: {edges:?}");
}

/// What the crates that stand alone must not depend on, however indirectly.
#[test]
fn crates_that_stand_alone_depend_on_no_runtime_cloud_or_database() {
    const RUNTIME: &[&str] = &["tokio", "hyper", "bollard", "rusqlite"];
    const COMMANDS: &[&str] = &["clap", "indicatif"];
    let check = |name: &str, forbidden: &[&[&str]]| {
        let output = std::process::Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--prefix", "none", "--edges", "normal", "--package", name])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let tree = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(names.contains(name), "{tree}");
        let clouds = names.iter().filter(|name| name.starts_with("aws-"));
        let found: Vec<_> =
            forbidden.iter().copied().flatten().filter(|name| names.contains(**name)).chain(clouds).collect();
        assert!(found.is_empty(), "{name} depends on {found:?}");
    };
    for name in [
        "sb-measurement",
        "sb-statistics",
        "sb-report",
        "sb-figures",
        "sb-pages",
        "sb-analysis",
        "sb-dataset",
        "sb-workload",
        "sb-sam",
        "sb-plan",
    ] {
        check(name, &[RUNTIME, COMMANDS]);
    }
}

/// What a crate without clock, network and processes does not name.
const CLOCK_AND_NETWORK: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "time::Instant",
    "time::SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "std::net",
    "tokio",
    "hyper",
];

/// A file of tests, by its name or its folder.
fn is_test(path: &Path) -> bool {
    let is_tests = |part: &std::ffi::OsStr| {
        let name = part.to_string_lossy();
        name == "tests" || name == "tests.rs" || name.ends_with("_tests.rs")
    };
    path.iter().any(is_tests)
}

#[test]
fn the_pure_crates_know_no_clock_network_or_process() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let mut wrong = Vec::new();
    for name in ["plan", "workload", "sam", "measurement", "analysis", "dataset", "figures", "pages"] {
        // The analysis names temporary files after its process; it starts none.
        let process = if name == "analysis" { "process::Command" } else { "std::process" };
        let source = crates.join(name).join("src");
        let mut files = Vec::new();
        collect(&source, &mut files);
        assert!(!files.is_empty(), "no sources of {name}");
        for file in files {
            let inside = file.strip_prefix(&source).unwrap();
            if is_test(inside) {
                continue;
            }
            for (number, line) in code(&file).lines().enumerate() {
                for word in CLOCK_AND_NETWORK.iter().copied().chain([process]) {
                    if line.contains(word) {
                        wrong.push(format!("{name}/src/{}:{}: {word}", inside.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not for crates that are pure:\n{}", wrong.join("\n"));
}
