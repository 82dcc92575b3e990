use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_whole_and_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    for durability in [Durability::Disk, Durability::Processes] {
        let options = Options::new().survives(durability);
        write(&path, options, b"a longer text").unwrap();
        write_with(&path, options, |out| out.write_all(b"short")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(names(folder.path()), ["a.json"]);
    }
}

#[test]
fn a_process_that_ends_before_the_file_is_complete_leaves_the_one_from_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    write(&path, Options::new(), b"before").unwrap();
    let begun = Replacement::create(&path, Options::new()).unwrap();
    (&begun).write_all(b"half of wh").unwrap();
    // As a kill does: nothing is run any more.
    std::mem::forget(begun);
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(names(folder.path()).len(), 2, "the temporary file is left");

    write(&path, Options::new(), b"after").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"after");
}

#[test]
fn leftovers_go_when_their_process_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let kept = [format!(".a.json.{}-0.partial", std::process::id()), ".b.json.4294967295.partial".to_owned()];
    let gone = [".a.json.4294967295-3.partial", ".a.json.4294967295.partial"];
    for name in kept.iter().map(String::as_str).chain(gone).chain([".a.json.x-1.partial"]) {
        fs::write(folder.path().join(name), "").unwrap();
    }
    remove_leftovers(&path);
    let mut expected = kept.to_vec();
    expected.push(".a.json.x-1.partial".to_owned());
    expected.sort();
    assert_eq!(names(folder.path()), expected);
}

#[test]
fn what_fails_leaves_the_file_from_before_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    write(&path, Options::new(), b"before").unwrap();
    let error = write_with(&path, Options::new(), |out| {
        out.write_all(b"half")?;
        Err(io::Error::other("no more"))
    });
    assert_eq!(error.unwrap_err().to_string(), format!("cannot write {}: no more", path.display()));
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(names(folder.path()), ["a.json"]);

    // A folder cannot be replaced by a file.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    let error = io::Error::from(write(&taken, Options::new(), b"x").unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    assert!(error.to_string().contains("taken"), "{error}");
    assert_eq!(names(folder.path()), ["a.json", "taken"]);

    let nowhere = folder.path().join("missing/a.json");
    let error = write(&nowhere, Options::new(), b"x").unwrap_err();
    assert_eq!((error.path, error.source.kind()), (nowhere, io::ErrorKind::NotFound));
}

/// `/dev/full` refuses every write as a full disk does.
#[test]
fn a_full_disk_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a.json");
    let temporary = folder.path().join(".a.json.partial");
    symlink("/dev/full", &temporary).unwrap();
    let file = OpenOptions::new().write(true).open(&temporary).unwrap();
    let full = Replacement {
        file,
        temporary,
        target: target.clone(),
        durability: Durability::Disk,
        is_placed: false,
    };
    let written = (&full).write_all(b"x").map_err(WriteError::of(&target));
    assert_eq!(written.unwrap_err().source.kind(), io::ErrorKind::StorageFull);
    drop(full);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_private_file_is_its_owners_even_where_another_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    fs::write(&path, "for all").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::metadata(&path).unwrap().ino();
    write(&path, Options::new().private(), b"secret").unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.mode() & 0o777, 0o600);
    assert_ne!(after.ino(), before, "who holds the old file open does not see the new one");
}

#[test]
fn a_symbolic_link_is_replaced_and_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("a.json"), folder.path().join("other"));
    fs::write(&other, "stays").unwrap();
    symlink(&other, &path).unwrap();
    write(&path, Options::new(), b"new").unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"stays");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn writers_at_the_same_time_do_not_share_a_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    thread::scope(|scope| {
        for letter in b'a'..b'i' {
            let path = &path;
            scope.spawn(move || {
                let options = Options::new().survives(Durability::Processes);
                for _ in 0..50 {
                    write(path, options, &[letter; 5000]).unwrap();
                    let found = fs::read(path).unwrap();
                    assert_eq!(found.len(), 5000);
                    assert!(found.iter().all(|byte| *byte == found[0]));
                }
            });
        }
    });
    assert_eq!(names(folder.path()), ["a.json"]);
    // Nor does a process that has the number of one that is gone, or of one in another container.
    let next = Replacement::create(&path, Options::new()).unwrap();
    let name = next.temporary.file_name().unwrap().to_str().unwrap().to_owned();
    let (start, number) = name.strip_suffix(".partial").unwrap().rsplit_once('-').unwrap();
    let number: u64 = number.parse().unwrap();
    let foreign: Vec<PathBuf> = (number + 1..number + 200)
        .map(|number| folder.path().join(format!("{start}-{number}.partial")))
        .collect();
    for path in &foreign {
        fs::write(path, "foreign").unwrap();
    }
    write(&path, Options::new(), b"mine").unwrap();
    assert!(foreign.iter().all(|path| fs::read(path).unwrap() == b"foreign"));
}

#[test]
fn several_files_take_their_places_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| folder.path().join(name));
    let begin = || -> Vec<Replacement> {
        paths.iter().map(|path| Replacement::create(path, Options::new()).unwrap()).collect()
    };
    drop(begin());
    assert!(names(folder.path()).is_empty());
    let files = begin();
    for file in &files {
        let mut file = file;
        file.write_all(b"x").unwrap();
        assert!(!file.target().exists());
    }
    Replacement::place_all(files).unwrap();
    assert_eq!(names(folder.path()), ["a", "b", "c"]);
}

#[test]
fn a_name_may_be_as_long_as_the_file_system_allows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n".repeat(255));
    write(&path, Options::new(), b"x").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"x");
}
