//! A container that a person, or the caller, is connected to: what goes in, what comes out, and how it ended.
//!
//! Nothing of it is kept: the engine logs nothing, and the container is gone when the session is over.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as ApiError;
use bollard::models::HostConfigLogConfig;
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, ResizeContainerTTYOptions, StartContainerOptions,
    WaitContainerOptions,
};
use futures_util::{Stream, StreamExt as _};
use hyper::body::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::task::{JoinError, JoinHandle};

use super::run::{body_of, remove_home};
use super::volume::Files;
use super::{ContainerCommand, ContainerError, Engine, api, engine_message, status_of};

/// How a session begins.
#[derive(Debug, Default)]
pub(crate) struct Opening<'a> {
    /// A terminal of so many rows and columns; none: three streams.
    pub terminal: Option<(u16, u16)>,
    /// Put in place before the command starts.
    pub files: Option<&'a Files>,
    /// A folder for what the container's HOME needs; only used where the command says nothing of user and HOME.
    pub folder: Option<&'a Path>,
}

/// A piece of what a command writes.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Standard output, or all that a terminal shows.
    Output(Bytes),
    Error(Bytes),
}

pub(crate) struct Session {
    engine: Engine,
    id: String,
    folder: Option<PathBuf>,
    /// None: closed.
    input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, ApiError>> + Send>>,
    end: SessionEnd,
}

enum SessionEnd {
    /// The code arrives when the command has ended.
    Awaited(JoinHandle<Result<i64, ContainerError>>),
    Known(Result<i64, ContainerError>),
}

type Streams =
    (Pin<Box<dyn AsyncWrite + Send>>, Pin<Box<dyn Stream<Item = Result<LogOutput, ApiError>> + Send>>);

/// The engine's own keys end the connection and swallow Ctrl-P: so many in a row nobody types.
const NO_DETACHING: &str = "ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@";
/// What was written before the end arrives within this time after it.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts a container that the caller is connected to.
    ///
    /// # Errors
    /// The engine refuses, the program is not in the image, or the connection breaks. No container is left then.
    pub(crate) async fn open(
        &self,
        command: &ContainerCommand,
        opening: &Opening<'_>,
    ) -> Result<Session, ContainerError> {
        let none = HostConfigLogConfig { typ: Some("none".to_owned()), config: None };
        let mut body = body_of(command, opening.folder.unwrap_or(Path::new("/")), none)?;
        body.tty = Some(opening.terminal.is_some());
        body.open_stdin = Some(true);
        body.stdin_once = Some(true);
        body.attach_stdin = Some(true);
        body.attach_stdout = Some(true);
        body.attach_stderr = Some(true);
        let created = self.docker.create_container(None::<CreateContainerOptions>, body).await;
        let id = match created {
            Ok(created) => created.id,
            Err(error) => {
                opening.folder.iter().for_each(|folder| remove_home(folder));
                return Err(match status_of(&error) {
                    Some(_) => self.refused("a container to work in", &error),
                    None => api("creating a container")(error),
                });
            }
        };
        match self.connect_session(&id, opening).await {
            Ok((input, output)) => Ok(Session {
                engine: self.clone(),
                id: id.clone(),
                folder: opening.folder.map(Path::to_owned),
                input: Some(input),
                output,
                end: SessionEnd::Awaited(tokio::spawn(ended(self.clone(), id))),
            }),
            Err(error) => {
                let _ = self.remove(&id).await;
                opening.folder.iter().for_each(|folder| remove_home(folder));
                Err(error)
            }
        }
    }

    async fn connect_session(&self, id: &str, opening: &Opening<'_>) -> Result<Streams, ContainerError> {
        if let Some(files) = opening.files {
            self.put(id, files).await?;
        }
        let options = AttachContainerOptions {
            detach_keys: Some(NO_DETACHING.to_owned()),
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        let attached = self.docker.attach_container(id, Some(options)).await;
        let attached = attached.map_err(api("connecting to a container"))?;
        match self.docker.start_container(id, None::<StartContainerOptions>).await {
            Ok(()) => {}
            Err(error) if status_of(&error).is_some() => {
                return Err(ContainerError::Refused {
                    name: "a container to work in".to_owned(),
                    message: engine_message(&error),
                });
            }
            Err(error) => return Err(api("starting a container")(error)),
        }
        if let Some((rows, columns)) = opening.terminal {
            self.resize(id, rows, columns).await;
        }
        Ok((attached.input, attached.output))
    }

    /// Of a container that has just ended there is nothing to resize.
    async fn resize(&self, id: &str, rows: u16, columns: u16) {
        let options = ResizeContainerTTYOptions { h: i32::from(rows), w: i32::from(columns) };
        let _ = self.docker.resize_container_tty(id, options).await;
    }

    /// Puts files into a volume, by a container of this command that is never started.
    pub(crate) async fn put_into(
        &self,
        command: &ContainerCommand,
        files: &Files,
    ) -> Result<(), ContainerError> {
        let none = HostConfigLogConfig { typ: Some("none".to_owned()), config: None };
        let body = body_of(command, Path::new("/"), none)?;
        let created = self.docker.create_container(None::<CreateContainerOptions>, body).await;
        let id = created.map_err(|error| self.refused("a container for files", &error))?.id;
        let put = self.put(&id, files).await;
        let removed = self.remove(&id).await;
        put.and(removed)
    }
}

impl Session {
    /// Of the container.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What comes next; none when the command has ended, or has closed its output.
    pub(crate) async fn next(&mut self) -> Option<Piece> {
        loop {
            let arrived = match &mut self.end {
                SessionEnd::Awaited(end) => tokio::select! {
                    biased;
                    arrived = self.output.next() => arrived,
                    code = end => {
                        self.end = SessionEnd::Known(joined(code));
                        continue;
                    }
                },
                // The engine does not always close the stream.
                SessionEnd::Known(_) => tokio::time::timeout(LAST_WORDS, self.output.next()).await.ok()?,
            };
            match arrived?.ok()? {
                LogOutput::StdErr { message } => return Some(Piece::Error(message)),
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    return Some(Piece::Output(message));
                }
                LogOutput::StdIn { .. } => {}
            }
        }
    }

    /// A command that no longer reads is no error.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        if let Some(input) = &mut self.input
            && (input.write_all(bytes).await.is_err() || input.flush().await.is_err())
        {
            self.input = None;
        }
    }

    /// Nothing more will be sent.
    pub(crate) async fn close_input(&mut self) {
        if let Some(mut input) = self.input.take() {
            let _ = input.shutdown().await;
        }
    }

    pub(crate) async fn resize(&self, rows: u16, columns: u16) {
        self.engine.resize(&self.id, rows, columns).await;
    }

    /// Ends the command, whatever it is doing.
    pub(crate) async fn kill(&self) -> Result<(), ContainerError> {
        self.engine.kill(&self.id, "SIGKILL").await
    }

    /// Waits for the end of the command, and removes the container. The code is that of a shell: 128 and the signal's
    /// number for a command that a signal ended.
    pub(crate) async fn end(mut self) -> Result<i64, ContainerError> {
        let code = match std::mem::replace(&mut self.end, SessionEnd::Known(Ok(0))) {
            SessionEnd::Awaited(end) => joined(end.await),
            SessionEnd::Known(code) => code,
        };
        self.close_input().await;
        let removed = self.engine.remove(&self.id).await;
        self.folder.iter().for_each(|folder| remove_home(folder));
        removed.and(code)
    }

    /// Everything that the command writes, with nothing to read for it, and its exit code.
    pub(crate) async fn collect(mut self, limit: usize) -> Result<(i64, Vec<u8>, Vec<u8>), ContainerError> {
        self.close_input().await;
        let (mut output, mut error) = (Vec::new(), Vec::new());
        while let Some(piece) = self.next().await {
            let (kept, bytes) = match &piece {
                Piece::Output(bytes) => (&mut output, bytes),
                Piece::Error(bytes) => (&mut error, bytes),
            };
            let room = limit.saturating_sub(kept.len()).min(bytes.len());
            kept.extend_from_slice(&bytes[..room]);
        }
        Ok((self.end().await?, output, error))
    }
}

async fn ended(engine: Engine, id: String) -> Result<i64, ContainerError> {
    let options = WaitContainerOptions { condition: "not-running".to_owned() };
    match engine.docker.wait_container(&id, Some(options)).next().await {
        Some(Ok(ended)) => Ok(ended.status_code),
        // A code above 0 comes as an error.
        Some(Err(ApiError::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(api("waiting for a container")(error)),
        None => Ok(0),
    }
}

fn joined(code: Result<Result<i64, ContainerError>, JoinError>) -> Result<i64, ContainerError> {
    code.unwrap_or_else(|error| {
        let source = std::io::Error::other(error).into();
        Err(ContainerError::Api { doing: "waiting for a container".to_owned(), source })
    })
}
