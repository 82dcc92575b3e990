//! Where a function's code lies: the folder that `CodeUri` names, or what is in the archive that it names.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

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
    let mut archive = ZipArchive::new(File::open(archive)?)?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    Ok(archive.extract(folder)?)
}
