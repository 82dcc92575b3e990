//! A container that one process makes, fills, starts and empties: nothing of it is recorded, as that process is found
//! again itself. What it leaves behind is removed by name.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::ContainerStateStatusEnum;
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptions, LogsOptions, StartContainerOptions,
    UploadToContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt as _;

use super::context::Context;
use super::image::tar_stream;
use super::run::body_of;
use super::{ContainerCommand, ContainerError, Engine, api, is_connection, status_of};

/// Files for a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Luggage<'a> {
    /// A folder of this machine, and where it goes; what its `.dockerignore` names stays here.
    pub folder: &'a Path,
    pub target: &'a Path,
    /// Names at the top of the folder that stay here.
    pub left_out: &'a [&'a str],
    /// A folder there that anybody may write to, with one file.
    pub results: &'a Path,
    pub file: (&'a str, &'a str),
}

/// How much of an upload may be silent.
const UPLOAD_SILENCE: Duration = Duration::from_hours(2);

impl Engine {
    /// Makes a container without starting it, after removing one of that name. The command names its user and HOME.
    pub(crate) async fn make(&self, command: &ContainerCommand, name: &str) -> Result<(), ContainerError> {
        self.remove(name).await?;
        let body = body_of(command, Path::new("/"), self.log(None))?;
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        match self.docker.create_container(Some(options), body).await {
            Ok(_) => Ok(()),
            Err(error) if status_of(&error).is_some() => Err(self.refused(name, &error)),
            Err(error) => Err(api(format!("creating container `{name}`"))(error)),
        }
    }

    /// Brings files into a container that has not started.
    pub(crate) async fn bring(&self, name: &str, luggage: &Luggage<'_>) -> Result<(), ContainerError> {
        let inside = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
        let mut files = Context::of_folder(luggage.folder, &inside(luggage.target), luggage.left_out)?;
        let (file, text) = luggage.file;
        files.add_folder(&inside(luggage.results), file, text.as_bytes().to_vec());
        let (sending, body) = tar_stream(Arc::new(files));
        let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
        let docker = self.docker.clone().with_timeout(UPLOAD_SILENCE);
        let answer = docker.upload_to_container(name, Some(options), bollard::body_try_stream(body)).await;
        // What went wrong with the files explains what the engine says about it.
        match sending.await {
            Ok(Err(error)) if answer.is_err() => return Err(error.into()),
            _ => {}
        }
        answer.map_err(api(format!("bringing the script into container `{name}`")))
    }

    /// Starts a container that was made.
    pub(crate) async fn launch(&self, name: &str) -> Result<(), ContainerError> {
        match self.docker.start_container(name, None::<StartContainerOptions>).await {
            Ok(()) => Ok(()),
            Err(error) if status_of(&error).is_some() => Err(self.refused(name, &error)),
            Err(error) => Err(api(format!("starting container `{name}`"))(error)),
        }
    }

    /// Hands over what the container writes, until it ends; returns its exit code. A connection that breaks is made
    /// again, and output that came before comes once.
    pub(crate) async fn follow_to_end(
        &self,
        name: &str,
        output: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<i64, ContainerError> {
        let mut seen = 0;
        loop {
            match self.follow_once(name, &mut seen, output).await {
                Err(error) if error.is_connection() => self.until_it_answers(&|| {}).await?,
                other => return other,
            }
        }
    }

    async fn follow_once(
        &self,
        name: &str,
        seen: &mut usize,
        output: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<i64, ContainerError> {
        let options = LogsOptions { follow: true, stdout: true, stderr: true, ..Default::default() };
        let mut skip = *seen;
        let mut pieces = pin!(self.docker.logs(name, Some(options)));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(api(format!("reading the output of container `{name}`")))?.into_bytes();
            let known = skip.min(piece.len());
            skip -= known;
            *seen += piece.len() - known;
            output(&piece[known..]);
        }
        let until_ended = WaitContainerOptions { condition: "not-running".to_owned() };
        let mut end = pin!(self.docker.wait_container(name, Some(until_ended)));
        if let Some(Err(error)) = end.next().await
            && is_connection(&error)
        {
            return Err(api(format!("waiting for container `{name}`"))(error));
        }
        let gone = || ContainerError::Gone { name: name.to_owned(), dir: "/".into() };
        let found = self.inspect(name).await?.ok_or_else(gone)?;
        match found.state.status {
            Some(ContainerStateStatusEnum::RUNNING) => Err(gone()),
            _ => Ok(found.state.exit_code.unwrap_or(-1)),
        }
    }

    /// Sends a signal to the container's program; one that is not there any more is no error.
    pub(crate) async fn signal(&self, name: &str, signal: &str) -> Result<(), ContainerError> {
        self.kill(name, signal).await
    }

    /// Fetches a file from a container, running or not, into a folder of this machine. False: it is not there.
    pub(crate) async fn fetch(&self, name: &str, file: &Path, folder: &Path) -> Result<bool, ContainerError> {
        let failed = |source: io::Error| ContainerError::Folder { dir: folder.to_owned(), source };
        let options = DownloadFromContainerOptions { path: file.to_string_lossy().into_owned() };
        let archive = folder.join(".fetched.tar");
        let mut written = File::create(&archive).map_err(failed)?;
        let mut pieces = pin!(self.docker.download_from_container(name, Some(options)));
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => written.write_all(&piece).map_err(failed)?,
                Err(error) if status_of(&error) == Some(404) => return Ok(false),
                Err(error) => return Err(api(format!("fetching results from container `{name}`"))(error)),
            }
        }
        drop(written);
        let unpacked = || -> io::Result<bool> {
            let mut tar = tar::Archive::new(File::open(&archive)?);
            let Some(entry) = tar.entries()?.next() else { return Ok(false) };
            let mut entry = entry?;
            let target = folder.join(file.file_name().unwrap_or_default());
            io::copy(&mut entry, &mut File::create(target)?)?;
            Ok(true)
        };
        let found = unpacked().map_err(failed);
        let _ = std::fs::remove_file(&archive);
        found
    }
}
