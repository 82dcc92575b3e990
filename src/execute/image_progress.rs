//! How far an image is, in one line: the layers of a pull arrive side by side, and each tells of itself alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::DecimalBytes;
use parking_lot::Mutex;

use crate::container::{ContainerError, Engine, Image, ImageProgress};
use crate::printable::counted;

/// Between two lines that differ in bytes only.
const PAUSE: Duration = Duration::from_millis(500);

/// The id of an image, pulled or built where the engine does not have it; `tell` hears how far it is.
pub(crate) async fn ensure_image(
    engine: &Engine,
    image: &Image,
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<String, ContainerError> {
    let lines = Mutex::new(Telling::new(image));
    let progress = |now: ImageProgress| {
        let line = lines.lock().line(now);
        if let Some(line) = line {
            tell(line);
        }
    };
    engine.ensure_image(image, &progress).await
}

/// Turns events into lines; most events make none.
struct Telling {
    image: String,
    layers: HashMap<String, Layer>,
    told: Option<(Instant, usize, String)>,
}

#[derive(Default)]
struct Layer {
    /// Bytes that have arrived; never less than before, though the engine begins anew after a broken download.
    arrived: u64,
    /// None: the engine has not said yet.
    size: Option<u64>,
    /// In the image, or there before.
    done: bool,
}

impl Telling {
    fn new(image: &Image) -> Self {
        let image = match image {
            Image::Reference(reference) => reference.clone(),
            Image::Build { dockerfile, .. } => dockerfile.display().to_string(),
        };
        Self { image, layers: HashMap::new(), told: None }
    }

    /// The line that is worth telling now.
    fn line(&mut self, event: ImageProgress) -> Option<String> {
        let (layer, status, current, total) = match event {
            ImageProgress::Building { line } => return Some(line),
            ImageProgress::Pulling { layer, status, current, total } => (layer, status, current, total),
        };
        self.fold(layer, &status, current, total);
        if self.layers.is_empty() {
            return None;
        }
        let (done, text) = (self.done(), self.text());
        let worth = self
            .told
            .as_ref()
            .is_none_or(|(at, before, last)| done != *before || (at.elapsed() >= PAUSE && *last != text));
        worth.then(|| {
            self.told = Some((Instant::now(), done, text.clone()));
            text
        })
    }

    fn fold(&mut self, layer: String, status: &str, current: Option<u64>, total: Option<u64>) {
        // What is said about the image as a whole names its tag, or nothing.
        if layer.is_empty() || status.starts_with("Pulling from") {
            return;
        }
        let layer = self.layers.entry(layer).or_default();
        match status {
            "Downloading" => {
                layer.arrived = layer.arrived.max(current.unwrap_or(0));
                layer.size = layer.size.max(total.filter(|total| *total > 0));
            }
            "Verifying Checksum" | "Download complete" | "Extracting" => {
                layer.arrived = layer.arrived.max(layer.size.unwrap_or(0));
                layer.size = layer.size.or(Some(layer.arrived));
            }
            "Pull complete" | "Already exists" => {
                layer.arrived = layer.arrived.max(layer.size.unwrap_or(0));
                layer.size = Some(layer.arrived);
                layer.done = true;
            }
            _ => {}
        }
    }

    fn done(&self) -> usize {
        self.layers.values().filter(|layer| layer.done).count()
    }

    fn text(&self) -> String {
        let arrived: u64 = self.layers.values().map(|layer| layer.arrived).sum();
        let size: Option<u64> = self.layers.values().map(|layer| layer.size).sum();
        let bytes = match size {
            Some(0) => String::new(),
            Some(size) => format!(", {} of {}", DecimalBytes(arrived), DecimalBytes(size)),
            None => format!(", {} so far", DecimalBytes(arrived)),
        };
        format!("pulling {}: {} of {}{bytes}", self.image, self.done(), counted(self.layers.len(), "layer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_of_a_pull_make_one_line_that_never_goes_back() {
        let mut telling = Telling::new(&Image::Reference("a/b".to_owned()));
        for (layer, status, current, total, expected) in [
            ("latest", "Pulling from a/b", None, None, "pulling a/b: 0 of 0 layers"),
            ("old", "Already exists", None, None, "pulling a/b: 1 of 1 layer"),
            ("one", "Pulling fs layer", None, None, "pulling a/b: 1 of 2 layers, 0 B so far"),
            ("two", "Pulling fs layer", None, None, "pulling a/b: 1 of 3 layers, 0 B so far"),
            (
                "one",
                "Downloading",
                Some(10_000_000),
                Some(40_000_000),
                "pulling a/b: 1 of 3 layers, 10.00 MB so far",
            ),
            ("two", "Waiting", None, None, "pulling a/b: 1 of 3 layers, 10.00 MB so far"),
            (
                "two",
                "Downloading",
                Some(5_000_000),
                Some(80_000_000),
                "pulling a/b: 1 of 3 layers, 15.00 MB of 120.00 MB",
            ),
            ("two", "Retrying in 5 seconds", None, None, "pulling a/b: 1 of 3 layers, 15.00 MB of 120.00 MB"),
            (
                "two",
                "Downloading",
                Some(1),
                Some(80_000_000),
                "pulling a/b: 1 of 3 layers, 15.00 MB of 120.00 MB",
            ),
            ("one", "Download complete", None, None, "pulling a/b: 1 of 3 layers, 45.00 MB of 120.00 MB"),
            (
                "one",
                "Extracting",
                Some(1),
                Some(40_000_000),
                "pulling a/b: 1 of 3 layers, 45.00 MB of 120.00 MB",
            ),
            ("one", "Pull complete", None, None, "pulling a/b: 2 of 3 layers, 45.00 MB of 120.00 MB"),
            ("two", "Pull complete", None, None, "pulling a/b: 3 of 3 layers, 120.00 MB of 120.00 MB"),
            (
                "",
                "Status: Downloaded newer image for a/b",
                None,
                None,
                "pulling a/b: 3 of 3 layers, 120.00 MB of 120.00 MB",
            ),
        ] {
            telling.fold(layer.to_owned(), status, current, total);
            assert_eq!(telling.text(), expected, "after {layer} {status}");
        }
    }

    #[test]
    fn a_line_is_told_when_a_layer_is_done_and_seldom_otherwise() {
        let mut telling = Telling::new(&Image::Reference("a".to_owned()));
        let mut tell = |status: &str, current| {
            telling.line(ImageProgress::Pulling {
                layer: "one".to_owned(),
                status: status.to_owned(),
                current,
                total: Some(1000),
            })
        };
        assert!(tell("Downloading", Some(1)).is_some());
        assert_eq!((2..900).filter(|count| tell("Downloading", Some(*count)).is_some()).count(), 0);
        assert!(tell("Pull complete", None).is_some_and(|line| line.contains("1 of 1 layer")));
    }
}
