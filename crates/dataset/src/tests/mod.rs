//! Tests that concern several files of the crate.

mod broken;
mod forms;
mod made;
mod oracle;
