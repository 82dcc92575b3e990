//! Named volumes of the engine, and files that are put into them through its archive interface. Their content is in
//! no argument list, no environment, no log and no image.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListContainersOptions, RemoveVolumeOptions, UploadToContainerOptions};
use hyper::body::Bytes;

use super::{ContainerError, Engine, api, engine_message, status_of};

/// Files for one folder in a container.
pub(crate) struct Files {
    /// Absolute, in the container.
    pub folder: String,
    /// Of the folder and all that is put there: only they may read it.
    pub owner: (u32, u32),
    /// Name in the folder, and content.
    pub contents: Vec<(String, String)>,
}

impl fmt::Debug for Files {
    /// Without the contents: they may be secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.contents.iter().map(|(name, _)| name).collect();
        out.debug_struct("Files")
            .field("folder", &self.folder)
            .field("owner", &self.owner)
            .field("contents", &names)
            .finish()
    }
}

impl Engine {
    /// Whether there is a named volume of this name.
    pub(crate) async fn has_volume(&self, name: &str) -> Result<bool, ContainerError> {
        match self.docker.inspect_volume(name).await {
            Ok(_) => Ok(true),
            Err(error) if status_of(&error) == Some(404) => Ok(false),
            Err(error) => Err(api(format!("looking for volume `{name}`"))(error)),
        }
    }

    /// Makes a volume; one that is there is left as it is.
    pub(crate) async fn make_volume(&self, name: &str, label: (&str, &str)) -> Result<(), ContainerError> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(HashMap::from([(label.0.to_owned(), label.1.to_owned())])),
            ..Default::default()
        };
        self.docker.create_volume(request).await.map_err(api(format!("making volume `{name}`")))?;
        Ok(())
    }

    /// Removes a volume with all that is in it; false if there was none.
    pub(crate) async fn remove_volume(&self, name: &str) -> Result<bool, ContainerError> {
        match self.docker.remove_volume(name, None::<RemoveVolumeOptions>).await {
            Ok(()) => Ok(true),
            Err(error) if status_of(&error) == Some(404) => Ok(false),
            Err(error) if status_of(&error) == Some(409) => Err(ContainerError::VolumeInUse {
                volume: name.to_owned(),
                containers: self.users_of_volume(name).await?,
            }),
            Err(error) => Err(api(format!("removing volume `{name}`"))(error)),
        }
    }

    /// Names of the containers that have the volume, ended ones included.
    pub(crate) async fn users_of_volume(&self, name: &str) -> Result<Vec<String>, ContainerError> {
        let filters = HashMap::from([("volume".to_owned(), vec![name.to_owned()])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let found = self.docker.list_containers(Some(options)).await.map_err(api("listing containers"))?;
        let name = |one: bollard::models::ContainerSummary| {
            one.names.and_then(|names| names.into_iter().next()).or(one.id).unwrap_or_default()
        };
        Ok(found.into_iter().map(|one| name(one).trim_start_matches('/').to_owned()).collect())
    }

    /// Into a container that exists and need not run; a folder that is a volume keeps them.
    pub(super) async fn put(&self, container: &str, files: &Files) -> Result<(), ContainerError> {
        let folder = Path::new(&files.folder);
        let tar = archive(files)
            .map_err(|source| ContainerError::Folder { dir: files.folder.clone().into(), source })?;
        // Beside the folder, not in it: of what it unpacks in, the engine leaves owner and permissions alone.
        let path = folder.parent().unwrap_or(folder).to_string_lossy().into_owned();
        let options = UploadToContainerOptions { path, ..Default::default() };
        let sent = self.docker.upload_to_container(container, Some(options), bollard::body_full(tar)).await;
        sent.map_err(|error| match status_of(&error) {
            Some(status) if status < 500 => {
                ContainerError::Refused { name: container.to_owned(), message: engine_message(&error) }
            }
            _ => api(format!("putting files into `{}` of a container", files.folder))(error),
        })
    }
}

fn archive(files: &Files) -> std::io::Result<Bytes> {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(u64::from(files.owner.0));
        header.set_gid(u64::from(files.owner.1));
        header
    };
    let folder = Path::new(files.folder.rsplit('/').next().unwrap_or_default());
    // The folder itself: a new volume belongs to root.
    tar.append_data(&mut header(tar::EntryType::Directory, 0o700, 0), folder, std::io::empty())?;
    for (name, content) in &files.contents {
        let mut header = header(tar::EntryType::Regular, 0o600, content.len() as u64);
        tar.append_data(&mut header, folder.join(name), content.as_bytes())?;
    }
    Ok(tar.into_inner()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_an_archive_are_for_their_owner_alone_and_are_not_shown() {
        let files = Files {
            folder: "/home/x".to_owned(),
            owner: (1000, 1001),
            contents: vec![("key".to_owned(), "hush".to_owned())],
        };
        let bytes = archive(&files).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let seen: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                (path, header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap())
            })
            .collect();
        assert_eq!(seen, [("x".to_owned(), 0o700, 1000, 1001), ("x/key".to_owned(), 0o600, 1000, 1001)]);
        assert!(!format!("{files:?}").contains("hush"));
    }
}
