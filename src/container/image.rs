//! Images: pulled if absent, or built if their context changed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{BuildImageOptions, CreateImageOptions, TagImageOptions};
use futures_util::{Stream, StreamExt as _, stream};
use hyper::body::Bytes;
use parking_lot::MutexGuard;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::context::Context;
use super::{ContainerError, ContextError, Engine, api, engine_message, is_connection, status_of};

/// What a container runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Image {
    /// `name`, `name:tag` or `name@sha256:…`; without a tag, `latest`.
    Reference(String),
    /// Absolute paths. The Dockerfile may lie outside of the context.
    Build { dockerfile: PathBuf, context: PathBuf, args: BTreeMap<String, String> },
}

/// What happens while an image is made available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageProgress {
    /// One layer of an image that is pulled. Bytes, where the engine gives them.
    Pulling { layer: String, status: String, current: Option<u64>, total: Option<u64> },
    /// A line of the build's log.
    Building { line: String },
}

/// How much of a build's log its error shows.
const TAIL_LINES: usize = 30;
/// A build or a large upload may be silent for long.
const BUILD_SILENCE: Duration = Duration::from_hours(2);

impl Engine {
    /// The id of the image, after pulling it if it is absent, or building it if no image of the same Dockerfile,
    /// arguments and context exists (it is tagged `sb-build:` and their digest).
    pub(crate) async fn ensure_image(
        &self,
        image: &Image,
        progress: &(dyn Fn(ImageProgress) + Send + Sync),
    ) -> Result<String, ContainerError> {
        match image {
            Image::Reference(reference) => {
                let reference = with_tag(reference);
                let lock = self.making(&reference);
                let _only_one = lock.lock().await;
                if let Some(id) = self.image_id(&reference).await? {
                    return Ok(id);
                }
                self.pull(&reference, progress).await?;
                self.image_id(&reference).await?.ok_or_else(|| ContainerError::Pull {
                    reference,
                    message: "the engine pulled it, and does not have it".to_owned(),
                })
            }
            Image::Build { dockerfile, context, args } => {
                self.build(dockerfile, context, args, progress).await
            }
        }
    }

    pub(super) async fn image_id(&self, reference: &str) -> Result<Option<String>, ContainerError> {
        if let Some(id) = self.images().get(reference) {
            return Ok(Some(id.clone()));
        }
        match self.docker.inspect_image(reference).await {
            Ok(found) => {
                if let Some(id) = &found.id {
                    self.images().insert(reference.to_owned(), id.clone());
                }
                Ok(found.id)
            }
            Err(error) if status_of(&error) == Some(404) => Ok(None),
            Err(error) => Err(api(format!("looking for image `{reference}`"))(error)),
        }
    }

    fn images(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.images.lock()
    }

    /// Somebody has removed an image that was there: the next step looks again.
    pub(super) fn forget_images(&self) {
        self.images().clear();
    }

    async fn pull(
        &self,
        reference: &str,
        progress: &(dyn Fn(ImageProgress) + Send + Sync),
    ) -> Result<(), ContainerError> {
        let failed = |message| ContainerError::Pull { reference: reference.to_owned(), message };
        let options = CreateImageOptions { from_image: Some(reference.to_owned()), ..Default::default() };
        let mut events = std::pin::pin!(self.docker.create_image(Some(options), None, None));
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| match error {
                error if is_connection(&error) => api(format!("pulling image `{reference}`"))(error),
                error => failed(engine_message(&error)),
            })?;
            if let Some(message) = event.error_detail.and_then(|detail| detail.message) {
                return Err(failed(message));
            }
            let (current, total) = event
                .progress_detail
                .map_or((None, None), |detail| (detail.current.map(bytes), detail.total.map(bytes)));
            progress(ImageProgress::Pulling {
                layer: event.id.unwrap_or_default(),
                status: event.status.unwrap_or_default(),
                current,
                total,
            });
        }
        Ok(())
    }

    async fn build(
        &self,
        dockerfile: &Path,
        context: &Path,
        args: &BTreeMap<String, String>,
        progress: &(dyn Fn(ImageProgress) + Send + Sync),
    ) -> Result<String, ContainerError> {
        let lock = self.making(&format!("{} {} {args:?}", dockerfile.display(), context.display()));
        let _only_one = lock.lock().await;
        let (root, recipe) = (context.to_owned(), dockerfile.to_owned());
        let (files, digest) = blocking(context, move || {
            let files = Context::collect(&root, &recipe)?;
            let digest = files.write_tar(io::sink())?;
            Ok::<_, ContextError>((Arc::new(files), digest))
        })
        .await?;
        if let Some(id) = self.image_id(&format!("sb-build:{}", tag(&digest, &files, args))).await? {
            return Ok(id);
        }

        let options = BuildImageOptions {
            dockerfile: files.dockerfile.clone(),
            rm: true,
            forcerm: true,
            buildargs: Some(args.clone().into_iter().collect::<HashMap<_, _>>()),
            ..Default::default()
        };
        let (sending, body) = tar_stream(Arc::clone(&files));
        let docker = self.docker.clone().with_timeout(BUILD_SILENCE);
        let mut events = docker.build_image(options, None, Some(bollard::body_try_stream(body)));
        let mut log = Log { partial: String::new(), tail: VecDeque::new() };
        let mut built = None;
        let mut failure = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    log.push(event.stream.as_deref().unwrap_or_default(), progress);
                    built = event.aux.and_then(|aux| aux.id).or(built);
                }
                Err(error) => failure = Some(error),
            }
        }
        drop(events);
        log.push("\n", progress);
        // What went wrong with the context explains what the engine says about it.
        let digest = match sending.await {
            Ok(result) => result.map_err(ContainerError::from),
            Err(error) => Err(context_error(context, io::Error::other(error))),
        };
        let failed = |message| ContainerError::Build {
            dockerfile: dockerfile.to_owned(),
            message,
            tail: log.tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n"),
        };
        match (failure, built, digest) {
            (None, Some(id), Ok(digest)) => {
                // Of what was sent: the files may have changed since we looked.
                let options = TagImageOptions {
                    repo: Some("sb-build".to_owned()),
                    tag: Some(tag(&digest, &files, args)),
                };
                self.docker
                    .tag_image(&id, Some(options))
                    .await
                    .map_err(api("naming the image that was built"))?;
                Ok(id)
            }
            (_, _, Err(error)) if log.tail.is_empty() => Err(error),
            (Some(error), ..) if is_connection(&error) => Err(api("building an image")(error)),
            (Some(error), ..) => Err(failed(engine_message(&error))),
            (None, _, Err(error)) => Err(error),
            (None, None, Ok(_)) => Err(failed("the engine named no image".to_owned())),
        }
    }
}

/// The files as a tar stream, and the task that makes it.
pub(super) fn tar_stream(
    files: Arc<Context>,
) -> (JoinHandle<Result<[u8; 32], ContextError>>, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(16);
    let sending = tokio::task::spawn_blocking(move || {
        let mut chunks = Chunks { sender, buffer: Vec::with_capacity(CHUNK) };
        let result = files.write_tar(&mut chunks);
        if let Err(error) = &result {
            // Breaks the request off: a stream that just ends would be used.
            let _ = chunks.sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
        result
    });
    let body = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    (sending, body)
}

/// Of everything that a build depends on (what `FROM` names at the registry is not looked at again).
fn tag(context: &[u8; 32], files: &Context, args: &BTreeMap<String, String>) -> String {
    let mut digest = Sha256::new();
    digest.update(context);
    digest.update(format!("{:?} {args:?}", files.dockerfile));
    hex::encode(digest.finalize())
}

/// The engine pulls every tag of a name that comes without one.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) || reference.starts_with("sha256:") {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

async fn blocking<T: Send + 'static>(
    context: &Path,
    work: impl FnOnce() -> Result<T, ContextError> + Send + 'static,
) -> Result<T, ContainerError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(context_error(context, io::Error::other(error))),
    }
}

fn context_error(context: &Path, source: io::Error) -> ContainerError {
    ContextError::Read { path: context.to_owned(), source }.into()
}

fn bytes(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

const CHUNK: usize = 256 * 1024;

/// Hands what is written to it to an async stream, in bounded memory.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the engine stopped reading the context");
        self.sender.blocking_send(Ok(Bytes::from(full))).map_err(gone)
    }
}

/// The log of a build, which arrives in pieces, as lines.
struct Log {
    partial: String,
    tail: VecDeque<String>,
}

impl Log {
    fn push(&mut self, text: &str, progress: &(dyn Fn(ImageProgress) + Send + Sync)) {
        self.partial.push_str(text);
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                continue;
            }
            if self.tail.len() == TAIL_LINES {
                self.tail.pop_front();
            }
            self.tail.push_back(line.clone());
            progress(ImageProgress::Building { line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_means_latest() {
        for (given, expected) in [
            ("alpine", "alpine:latest"),
            ("alpine:3.20", "alpine:3.20"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("a@sha256:00", "a@sha256:00"),
            ("sha256:00", "sha256:00"),
        ] {
            assert_eq!(with_tag(given), expected);
        }
    }
}
