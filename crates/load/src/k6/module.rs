//! The module that scripts import, so that each request has a trace id: it lies beside the script, written by us.

use std::io;
use std::path::Path;

use sb_durable::{Durability, Options};

use crate::LoadError;

/// Its name beside the script.
pub const MODULE_FILE: &str = "sb.js";
/// What it holds.
pub const MODULE_TEXT: &str = include_str!("sb.js");

/// By which it is told from a file of the user's.
const MARK: &str = "// Written by sb";

/// Writes the module beside a script that names it, unless it is there.
///
/// # Errors
/// A file of that name that is not ours, or a folder that cannot be written.
pub fn place_module(script: &Path) -> Result<(), LoadError> {
    let text = sb_durable::read_regular_text(script)
        .map_err(|source| LoadError::Script { path: script.to_owned(), source })?;
    if !text.contains(MODULE_FILE) {
        return Ok(());
    }
    let path = script.with_file_name(MODULE_FILE);
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
