//! The default images that count.

use super::output::Failed;
use crate::exit_code::Exit;
use crate::settings::Settings;
use crate::validate::Images;

/// The built-in ones, with those of SB_IMAGES in their place.
pub(super) fn images(settings: &Settings) -> Result<Images, Failed> {
    let Some(path) = &settings.images else { return Ok(Images::built_in()) };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read `{}`, which SB_IMAGES names: {error}", path.display());
        Failed::helped(Exit::Usage, message, "correct the path, or unset SB_IMAGES")
    })?;
    let with = Images::built_in().with(&text);
    with.map_err(|error| Failed::message(Exit::Usage, format!("{}: {error}", path.display())))
}
