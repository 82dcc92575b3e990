//! The module that scripts import, so that each request has a trace id: it lies beside the script, written by us.

use std::io;
use std::path::Path;

use sb_durable::{Durability, Options};

use crate::{LoadError, Results};

/// Its name beside the script.
pub const MODULE_FILE: &str = "sb.js";
/// What it holds.
pub const MODULE_TEXT: &str = include_str!("sb.js");

/// By which it is told from a file of the user's.
const MARK: &str = "// Written by sb";

/// Writes the module beside a script that names it, unless it is there. Both must lie below `root`, whatever links have been
/// made; none: they may lie anywhere.
///
/// # Errors
/// A script that leads out of the root, a file of that name that is not ours, or a folder that cannot be written.
pub fn place_module(script: &Path, root: Option<&Path>) -> Result<(), LoadError> {
    let read = match root {
        Some(root) => sb_durable::read_beneath(root, script)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())),
        None => sb_durable::read_regular_text(script),
    };
    let text = read.map_err(|source| LoadError::Script { path: script.to_owned(), source })?;
    if !text.contains(MODULE_FILE) {
        return Ok(());
    }
    let beside = Results::open(root, script.parent().unwrap_or(Path::new("/")))?;
    place(&beside.path().join(MODULE_FILE)).map_err(|error| beside.named(error))
}

fn place(path: &Path) -> Result<(), LoadError> {
    let path = path.to_owned();
    match sb_durable::read_regular_text(&path) {
        Ok(found) if found == MODULE_TEXT => return Ok(()),
        Ok(found) if !found.starts_with(MARK) => return Err(LoadError::ForeignModule { path }),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(LoadError::Write { path, source: error });
        }
        _ => {}
    }
    // Whole or not at all: another load may be reading it.
    sb_durable::write(&path, Options::new().survives(Durability::Processes), MODULE_TEXT.as_bytes())
        .map_err(|error| LoadError::Write { path: error.path, source: error.source })
}
