//! Folders that a program replaces only where it wrote everything in them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

/// As many foreign files are named.
const NAMED: usize = 3;

/// Refuses a folder that holds anything but what the same program wrote there. A missing or an empty folder is fine. The file
/// `about` in the folder lists its files: `known` reads their names, as [`files_below`] has them, and gives `None` where the file is
/// of another program. `what` is what the program writes, such as `report`.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let known = |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect());
/// let check = || sb_durable::expect_own(folder.path(), "list", "list", known);
/// assert!(check().is_ok());
/// std::fs::write(folder.path().join("list"), "list\n")?;
/// assert!(check().is_ok());
/// std::fs::write(folder.path().join("mine"), "all of it")?;
/// assert!(check().unwrap_err().contains("files that are not of a list: mine;"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What is wrong and what to do, to follow the name of the folder.
pub fn expect_own(
    target: &Path,
    about: &str,
    what: &str,
    known: impl FnOnce(&[u8]) -> Option<Vec<String>>,
) -> Result<(), String> {
    let is_empty = match fs::read_dir(target) {
        Ok(mut inside) => inside.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(target).is_err(),
    };
    if is_empty {
        return Ok(());
    }
    let listed = super::open_regular(&target.join(about)).and_then(|mut file| {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut file, &mut bytes).map(|_| bytes)
    });
    let Some(ours) = listed.ok().and_then(|bytes| known(&bytes)) else {
        return Err(format!(
            "is there already and is no {what} of sb; name another folder, or remove this one"
        ));
    };
    let ours: HashSet<&str> = ours.iter().map(String::as_str).collect();
    let mut foreign =
        files_below(target).map_err(|error| format!("cannot be read: {error}; name another folder"))?;
    foreign.retain(|name| !ours.contains(&**name));
    foreign.sort();
    if foreign.is_empty() {
        return Ok(());
    }
    let more = foreign.len().saturating_sub(NAMED);
    foreign.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(format!(
        "holds files that are not of a {what}: {}{more}; move them elsewhere, or name another folder",
        foreign.join(", ")
    ))
}

/// Everything below a folder that is no folder, and every empty folder: paths with `/`. Links are not followed.
///
/// # Errors
/// What the file system refuses.
pub fn files_below(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut left = vec![(folder.to_owned(), String::new())];
    while let Some((folder, name)) = left.pop() {
        let mut is_empty = true;
        for item in fs::read_dir(&folder)? {
            let item = item?;
            is_empty = false;
            let below = match &*name {
                "" => item.file_name().to_string_lossy().into_owned(),
                name => format!("{name}/{}", item.file_name().to_string_lossy()),
            };
            if item.file_type()?.is_dir() {
                left.push((item.path(), below));
            } else {
                found.push(below);
            }
        }
        if is_empty && !name.is_empty() {
            found.push(format!("{name}/"));
        }
    }
    Ok(found)
}
