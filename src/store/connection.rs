//! Opening the database: made or only looked at, brought to this version's form, and compared with the records beside it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use super::identity::{self, Relocation};
use super::reconcile::reconcile;
use super::tables::{corrupt, is_corrupt};
use super::worker::Access;
use crate::workspace::Workspace;

/// Every migration, in order; the number of those applied is SQLite's `user_version`.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_journal.sql"),
    include_str!("migrations/0002_ended_runs.sql"),
    include_str!("migrations/0003_checksums.sql"),
];

/// How long others may keep the database locked.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Opened {
    pub(super) connection: Connection,
    /// None: it cannot be written to.
    pub(super) place: Option<Place>,
    pub(super) relocation: Relocation,
    /// It is a copy, only to be looked at.
    pub(super) copied: Option<StoreError>,
    /// What was wrong and was mended, for people.
    pub(super) notes: Vec<String>,
}

/// Where the database lies: a file that is removed while it is open can be written to, and nobody finds it.
pub(super) struct Place {
    folder: File,
    folder_path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let folder_path = path.parent().unwrap_or(path).to_owned();
        Ok(Self { folder: File::open(&folder_path)?, folder_path, file: inode(path)? })
    }

    /// Whether the open database is still the one at this path.
    pub(super) fn holds(&self, path: &Path) -> bool {
        inode(path).is_ok_and(|found| found == self.file)
    }

    /// Where the folder of the state is now, with this database in it.
    pub(super) fn moved_to(&self) -> Option<PathBuf> {
        let now = fs::read_link(format!("/proc/self/fd/{}", self.folder.as_raw_fd())).ok()?;
        (now != self.folder_path && self.holds(&now.join("state.db"))).then_some(now)
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

pub(super) fn open(workspace: &Workspace, access: Access) -> Result<Opened, StoreError> {
    expect_own(workspace)?;
    let path = workspace.database();
    let failed = |error: rusqlite::Error| failed(&path, &error);
    // What may not be looked at is not taken for nothing.
    let unseen = |error: io::Error| StoreError::Read { path: path.clone(), message: error.to_string() };
    let is_there = path.try_exists().map_err(unseen)?;
    if access == Access::Read && !is_there && !has_records(workspace) {
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        migrate(&mut connection, &path)?;
        let relocation = Relocation::default();
        return Ok(Opened { connection, place: None, relocation, copied: None, notes: vec![] });
    }
    let io = |error: io::Error| StoreError::Open { path: path.clone(), message: error.to_string() };
    DirBuilder::new().recursive(true).mode(0o700).create(workspace.folder()).map_err(io)?;
    let ignore = workspace.folder().join(".gitignore");
    if !ignore.exists() {
        // State is never meant for version control; failing to say so is harmless.
        let _ = sb_durable::private()
            .write(true)
            .create_new(true)
            .open(ignore)
            .and_then(|mut file| io::Write::write_all(&mut file, b"*\n"));
    }
    // What SQLite makes beside it has the same mode. Where it cannot be done, opening says why.
    if let Ok(database) = sb_durable::private().append(true).create(true).open(&path) {
        let _ = database.set_permissions(Permissions::from_mode(0o600));
    }
    let mut connection = match open_to_write(&path) {
        Err(error) if access == Access::Read && is_refused(&error) => {
            let connection = open_to_read(&path).map_err(failed)?;
            expect_known(&connection, &path)?;
            let mut notes = reconcile(&connection, workspace, false)?;
            let (relocation, copied) = identity::settle(&connection, workspace, access, &mut notes)?;
            return Ok(Opened { connection, place: None, relocation, copied, notes });
        }
        opened => opened.map_err(failed)?,
    };
    migrate(&mut connection, &path)?;
    let mut notes = reconcile(&connection, workspace, true)?;
    let (relocation, copied) = identity::settle(&connection, workspace, access, &mut notes)?;
    let place = Some(Place::of(&path).map_err(io)?);
    Ok(Opened { connection, place, relocation, copied, notes })
}

/// Commands of steps stand in the state: one that was found in a folder above must be ours. One that was named is trusted.
///
/// # Errors
/// It belongs to another user, or others may write to it.
pub(crate) fn expect_own(workspace: &Workspace) -> Result<(), StoreError> {
    let path = workspace.folder();
    // With the link, where it is one, and with what it leads to.
    for found in [fs::symlink_metadata(path), fs::metadata(path)].into_iter().flatten() {
        let own = rustix::process::geteuid().as_raw();
        // As git has it: who became root by sudo works on what is their own.
        let by_sudo = || {
            let user = std::env::var("SUDO_UID").ok().and_then(|user| user.parse::<u32>().ok());
            own == 0 && user == Some(found.uid())
        };
        if workspace.is_named() {
            continue;
        }
        if found.uid() != own && !by_sudo() {
            return Err(StoreError::Foreign { path: path.to_owned(), owner: found.uid() });
        }
        if found.is_dir() && found.mode() & 0o002 != 0 {
            return Err(StoreError::Writable { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Whether something was run here, whatever the database says.
fn has_records(workspace: &Workspace) -> bool {
    let has_any = |folder: PathBuf| fs::read_dir(folder).is_ok_and(|mut items| items.next().is_some());
    has_any(workspace.owed()) || has_any(workspace.runs())
}

fn open_to_write(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    configure(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// A file system that cannot be written to has no room for the files by which readers and writers agree. Without a log
/// there is nothing to agree on.
fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = fs::metadata(log).is_ok_and(|log| log.len() > 0);
    let name: String = path.to_string_lossy().bytes().fold(String::new(), |mut name, byte| {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
        name
    });
    let uri = format!("file:{name}?mode=ro{}", if has_log { "" } else { "&immutable=1" });
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    configure(&connection)?;
    Ok(connection)
}

fn is_refused(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly | SystemIoFailure))
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // Plans that do not depend on what is bound: without it many a statement is compiled anew for each row.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "foreign_keys", "ON")
}

/// Everything into the one file, as far as readers of the log allow.
pub(super) fn checkpoint(connection: &Connection) {
    // What is not moved now is safe in the log, and moved later.
    let _ = connection.busy_timeout(Duration::from_secs(1));
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    let _ = connection.busy_timeout(PATIENCE);
}

fn failed(path: &Path, error: &rusqlite::Error) -> StoreError {
    if is_corrupt(error) {
        return corrupt(path, error);
    }
    StoreError::Open { path: path.to_owned(), message: error.to_string() }
}

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn expect_known(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(connection).map_err(|error| failed(path, &error))?;
    let known = known();
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::Newer { path: path.to_owned(), found, known }),
        std::cmp::Ordering::Less => {
            let message =
                "an earlier version of sb has written it, and its form cannot be changed here".to_owned();
            Err(StoreError::Open { path: path.to_owned(), message })
        }
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let open = |error: rusqlite::Error| failed(path, &error);
    let known = known();
    if version(connection).map_err(open)? == known {
        return Ok(());
    }
    // Another process may migrate at the same moment: look again once the write lock is ours.
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(open)?;
    let found = version(&transaction).map_err(open)?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(sql).map_err(open)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(open)?;
    transaction.commit().map_err(open)
}
