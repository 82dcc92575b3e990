//! Where a function's code lies: the folder that `CodeUri` names, or what is in the archive that it names.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

/// Of what an archive holds, in bytes.
const LARGEST: u64 = if cfg!(test) { 50 } else { 2500 } << 20;
const MOST_FILES: usize = 200_000;

pub(super) struct Code {
    /// `LAMBDA_TASK_ROOT`
    pub folder: PathBuf,
    /// A jar is used as it is; the folder is then the one that it lies in.
    pub file: Option<PathBuf>,
}

impl Code {
    /// Finds the code, and unpacks an archive into the state folder.
    pub(crate) fn find(base: &Path, function: &sb_sam::Function, state_dir: &Path) -> Result<Self, String> {
        let path = base.join(&function.code);
        let path =
            fs::canonicalize(&path).map_err(|error| format!("CodeUri `{}`: {error}", path.display()))?;
        if path.is_dir() {
            return Ok(Self { folder: path, file: None });
        }
        if function.runtime.starts_with("java")
            && path.extension().is_some_and(|extension| extension == "jar")
        {
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            return Ok(Self { folder, file: Some(path) });
        }
        let folder = state_dir.join("code").join(&function.logical_id);
        unpack(&path, &folder).map_err(|error| {
            format!("CodeUri `{}` must be a folder or a zip archive: {error}", function.code)
        })?;
        Ok(Self { folder, file: None })
    }
}

/// What an earlier runtime unpacked goes: the archive may be another one.
fn unpack(archive: &Path, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut archive = ZipArchive::new(sb_durable::open_regular(archive)?)?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    check_size(&mut archive)?;
    Ok(archive.extract(folder)?)
}

/// AWS takes a function of 250 MiB at most, unpacked: ten times that is no function, but an archive that fills the disk. What an archive
/// states as its sizes may be a lie, so it is read once, and nothing written.
fn check_size(archive: &mut ZipArchive<File>) -> Result<(), Box<dyn std::error::Error>> {
    if archive.len() > MOST_FILES {
        return Err(format!("it holds {} files, more than {MOST_FILES}", archive.len()).into());
    }
    let mut left = LARGEST;
    for index in 0..archive.len() {
        let file = archive.by_index(index)?;
        let read =
            if file.size() > left { left + 1 } else { io::copy(&mut file.take(left + 1), &mut io::sink())? };
        left = left.checked_sub(read).ok_or_else(|| format!("it holds more than {} MiB", LARGEST >> 20))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    #[test]
    fn an_archive_that_would_fill_the_disk_is_not_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let archive = |name: &str, files: u64| {
            let path = folder.path().join(name);
            let mut zip = ZipWriter::new(File::create(&path).unwrap());
            let zeros = vec![0; 1 << 20];
            for file in 0..files {
                zip.start_file(format!("{file}"), SimpleFileOptions::default()).unwrap();
                zip.write_all(&zeros).unwrap();
            }
            zip.finish().unwrap();
            path
        };
        let to = folder.path().join("code");
        unpack(&archive("small.zip", 2), &to).unwrap();
        assert_eq!(fs::read_dir(&to).unwrap().count(), 2);
        let error = unpack(&archive("bomb.zip", 60), &to).unwrap_err().to_string();
        assert!(error.contains("it holds more than 50 MiB"), "{error}");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    }
}
