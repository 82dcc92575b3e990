//! Images of containers, and those that nobody has to name: a table of pinned defaults, which a file or a manifest
//! may replace.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use crate::manifest::problem::suggest;

static BUILT_IN: LazyLock<Images> = LazyLock::new(|| {
    // The table is part of the program; a test reads it.
    let table = toml::from_str(include_str!("images.toml")).unwrap_or_default();
    Images { table: Arc::new(table) }
});

/// The image of a step's container.
#[derive(Clone, Debug, PartialEq)]
pub enum Image {
    /// A reference that can be pulled: `name:tag`.
    Reference(String),
    /// A name of the table of default images ([`Images`]).
    Default(String),
    /// Absolute paths.
    Build {
        /// The Dockerfile.
        dockerfile: PathBuf,
        /// The folder that is sent to the build.
        context: PathBuf,
        /// Build arguments, by name.
        args: BTreeMap<String, String>,
    },
}

/// Default images by name; cheap to clone.
#[derive(Clone, Debug)]
pub struct Images {
    table: Arc<BTreeMap<String, DefaultImage>>,
}

/// An entry of the table of default images.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultImage {
    /// A reference with its tag.
    pub image: String,
    /// What it is for; a user's file need not repeat it.
    #[serde(default)]
    pub what: String,
    /// Where newer versions are listed.
    #[serde(default)]
    pub tags: String,
}

/// Why a table of images cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    #[error(
        "the table of images cannot be read: {0}; the built-in one (see docs/providers.md) is an example"
    )]
    /// It is not TOML of the right form.
    Form(String),
    /// An entry has a name that no default image has.
    #[error("there is no default image called `{name}`; {help}")]
    Unknown {
        /// The name in question.
        name: String,
        /// The nearest name, or all that there are.
        help: String,
    },
    /// An entry gives something that cannot be pulled.
    #[error(
        "the image `{name}` is `{image}`, which is no image reference: write \"name:tag\" or \"registry/name:tag\""
    )]
    Reference {
        /// The entry's name.
        name: String,
        /// What it gives as its image.
        image: String,
    },
}

impl Images {
    /// Of steps that name no image.
    pub const STEP: &'static str = "step";

    /// The images that are part of the program.
    pub fn built_in() -> Self {
        BUILT_IN.clone()
    }

    /// Whether the table has an image of this name, whoever replaces it.
    pub fn has(name: &str) -> bool {
        BUILT_IN.table.contains_key(name)
    }

    /// These images, with those of a TOML table of the same form in their place.
    pub fn with(&self, text: &str) -> Result<Self, ImagesError> {
        let given: BTreeMap<String, DefaultImage> =
            toml::from_str(text).map_err(|error| ImagesError::Form(error.to_string()))?;
        let mut table = BTreeMap::clone(&self.table);
        for (name, image) in given {
            let Some(place) = table.get_mut(&name) else {
                let help = suggest(&name, "images", self.table.keys().map(String::as_str));
                return Err(ImagesError::Unknown { name, help });
            };
            if !is_image_reference(&image.image) {
                return Err(ImagesError::Reference { name, image: image.image });
            }
            place.image = image.image;
        }
        Ok(Self { table: Arc::new(table) })
    }

    /// The reference of a name that the table has.
    pub fn reference<'a>(&'a self, name: &'a str) -> &'a str {
        self.table.get(name).map_or(name, |image| image.image.as_str())
    }

    /// What the image of this name is for.
    pub fn purpose(&self, name: &str) -> &str {
        self.table.get(name).map_or("", |image| image.what.as_str())
    }
}

/// Letters, digits and the marks of registry, tag and digest.
pub fn is_image_reference(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c))
        && !text.ends_with(['/', ':', '@'])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::benchmark::CREDENTIALS;
    use crate::manifest::read::Snapshot;
    use crate::validate::benchmark;

    #[test]
    fn every_built_in_image_is_pinned_and_says_what_it_is_for() {
        let table: BTreeMap<String, DefaultImage> = toml::from_str(include_str!("images.toml")).unwrap();
        assert_eq!(table.len(), BUILT_IN.table.len());
        for (name, image) in &table {
            assert!(is_image_reference(&image.image), "{name}");
            let tag =
                image.image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
            assert!(tag.is_some_and(|tag| tag != "latest" && tag.contains('.')), "{name} is not pinned");
            assert!(!image.what.is_empty() && image.tags.starts_with("https://"), "{name}");
        }
        for name in CREDENTIALS.into_iter().chain([Images::STEP, "k6"]) {
            assert!(Images::has(name), "{name}");
        }
    }

    #[test]
    fn images_of_the_user_replace_the_built_in_ones() {
        let images = Images::built_in().with("[aws]\nimage = \"registry.local:5000/aws:1\"").unwrap();
        assert_eq!(images.reference("aws"), "registry.local:5000/aws:1");
        assert_eq!(images.purpose("aws"), "the command line of AWS");
        assert_eq!(images.reference("step"), Images::built_in().reference("step"));
    }

    #[track_caller]
    fn check_step(images: &str, step: &str, expected: Option<Image>) {
        let text = format!(
            "[benchmark]\nname = \"a\"\n[images]\n{images}\n[targets.t]\n[[deploy]]\nname = \"s\"\nrun = \"true\"\n{step}\n"
        );
        let files = Snapshot::new([("/b/benchmark.toml", text.as_str())]);
        let benchmark = benchmark(&files, Path::new("/b/benchmark.toml")).value.unwrap();
        assert_eq!(benchmark.targets["t"].deploy[0].environment.image, expected);
    }

    #[test]
    fn a_step_may_name_a_default_image_and_a_manifest_may_replace_one() {
        let reference = |text: &str| Some(Image::Reference(text.to_owned()));
        check_step("", "", None);
        check_step("", "image = \"aws\"", Some(Image::Default("aws".to_owned())));
        check_step("aws = \"mine:1\"", "image = \"aws\"", reference("mine:1"));
        check_step("step = \"mine:2\"", "", reference("mine:2"));
        check_step("", "image = \"a/b:1\"", reference("a/b:1"));
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = Images::built_in().with(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_wrong_table_is_refused_with_a_way_out() {
        check_refused("[asw]\nimage = \"a:1\"", "aws");
        check_refused("[aws]\nimage = \"a b\"", "name:tag");
        check_refused("[aws]\nimag = \"a:1\"", "built-in");
        check_refused("aws = \"a:1\"", "built-in");
    }
}
