//! What runs share: named locks within a workspace, the sending of load within a machine.
//!
//! A lock is a file that the kernel unlocks when its process ends, however it ends. Nothing here waits: who is refused
//! asks again later.
//!
//! | file | locked by |
//! |---|---|
//! | `.sb/locks/NAME.K` | the runner of a step that holds slot K of the named lock |
//! | `MACHINE/invoke` | a runner while it sends load: alone where its plan says `invoke = 1`, else together with others |
//! | `MACHINE/quiet` | a runner: together with others while it works, alone while it sends load that wants quiet |
//! | `MACHINE/quiet.next` | the runner that waits for quiet: new work of others waits behind it |
//! | `MACHINE/invoke.load`, `invoke.alone`, `quiet.load` | the process that sends the load, which may outlive its runner |

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::workspace::Workspace;
use sb_plan::id::{RunId, file_name};

/// The locks as one run sees them.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    named: PathBuf,
    machine: PathBuf,
    run: RunId,
    /// Of the run, for people who wait for it elsewhere.
    workspace: PathBuf,
}

/// Held until dropped, or until the process ends.
#[derive(Debug)]
pub(crate) struct Guard {
    _files: Vec<File>,
}

/// What became of a wish to lock.
#[derive(Debug)]
pub(crate) enum Taken {
    Held(Guard),
    /// Another run holds it: `run X (process 123, in /folder)`, or `another run` when it is not known which.
    Busy {
        holder: String,
    },
}

/// Alone, or together with others that want it together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Alone,
    Together,
}

const INVOKE: &str = "invoke";
const QUIET: &str = "quiet";
const NEXT: &str = "quiet.next";
const INVOKE_LOAD: &str = "invoke.load";
const INVOKE_ALONE: &str = "invoke.alone";
const QUIET_LOAD: &str = "quiet.load";

impl Shared {
    /// The named locks of the workspace, and the locks of the machine in `machine`.
    pub(crate) fn new(workspace: &Workspace, machine: PathBuf, run: RunId) -> Self {
        let folder = workspace.folder();
        let folder = folder.parent().unwrap_or(folder).to_owned();
        Self { named: workspace.named_locks(), machine, run, workspace: folder }
    }

    /// One of `slots` slots of a named lock.
    pub(crate) fn named(&self, name: &str, slots: u32) -> io::Result<Taken> {
        fs::create_dir_all(&self.named)?;
        let mut holder = None;
        for slot in 1..=slots.max(1) {
            let path = self.named.join(format!("{}.{slot}", file_name(name)));
            match self.take(&path, Mode::Alone)? {
                Taken::Busy { holder: found } => holder = holder.or(Some(found)),
                held @ Taken::Held(_) => return Ok(held),
            }
        }
        Ok(Taken::Busy { holder: holder.unwrap_or_default() })
    }

    /// To send load: alone on this machine where `limit` is 1, else beside others that do not want to be alone.
    pub(crate) fn invoke(&self, limit: u32) -> io::Result<Taken> {
        let (mode, orphans) =
            if limit == 1 { (Mode::Alone, INVOKE_LOAD) } else { (Mode::Together, INVOKE_ALONE) };
        self.take_without_orphans(INVOKE, mode, orphans)
    }

    /// To be the next that gets quiet.
    pub(crate) fn next_for_quiet(&self) -> io::Result<Taken> {
        self.take(&self.machine()?.join(NEXT), Mode::Alone)
    }

    /// To send load while nothing works. Who asks should be [the next](Self::next_for_quiet).
    pub(crate) fn quiet(&self) -> io::Result<Taken> {
        self.take_without_orphans(QUIET, Mode::Alone, QUIET_LOAD)
    }

    /// To work while no load wants quiet, and none waits for it (unless this run is the one that waits).
    pub(crate) fn work(&self, is_next: bool) -> io::Result<Taken> {
        if !is_next {
            let next = self.machine()?.join(NEXT);
            if !try_lock(&open(&next)?, Mode::Together)? {
                return Ok(Taken::Busy { holder: self.other(holder_of(&next)) });
            }
        }
        self.take_without_orphans(QUIET, Mode::Together, QUIET_LOAD)
    }

    /// What a reattached step needs, as far as it can be had: it runs in any case, and its own load holds locks, too.
    pub(crate) fn again(
        &self,
        loads: bool,
        limit: u32,
        quiet: bool,
    ) -> io::Result<(Option<Guard>, Option<Guard>)> {
        let machine = self.machine()?;
        let held = |name: &str, mode| {
            Ok::<_, io::Error>(match self.take(&machine.join(name), mode)? {
                Taken::Held(guard) => Some(guard),
                Taken::Busy { .. } => None,
            })
        };
        if !loads {
            return Ok((None, held(QUIET, Mode::Together)?));
        }
        let invoke = held(INVOKE, if limit == 1 { Mode::Alone } else { Mode::Together })?;
        Ok((invoke, if quiet { held(QUIET, Mode::Alone)? } else { None }))
    }

    /// The files that the process of a load locks as long as it sends; whether alone.
    pub(crate) fn while_loading(&self, limit: u32, quiet: bool) -> Vec<(PathBuf, bool)> {
        let alone = limit == 1;
        let mut names = vec![INVOKE_LOAD];
        names.extend(alone.then_some(INVOKE_ALONE));
        names.extend(quiet.then_some(QUIET_LOAD));
        names.into_iter().map(|name| (self.machine.join(name), alone)).collect()
    }

    /// Takes the lock if, beside its holders, no load of a runner that died is still being sent.
    fn take_without_orphans(&self, name: &str, mode: Mode, orphans: &str) -> io::Result<Taken> {
        let path = self.machine()?.join(name);
        let before = holder_of(&path);
        let taken = self.take(&path, mode)?;
        if matches!(taken, Taken::Held(_)) && !try_lock(&open(&self.machine.join(orphans))?, Mode::Alone)? {
            // The load belongs to whoever held the lock before.
            let _ = fs::write(&path, before.as_deref().unwrap_or_default());
            return Ok(Taken::Busy { holder: self.other(before) });
        }
        Ok(taken)
    }

    fn take(&self, path: &Path, mode: Mode) -> io::Result<Taken> {
        let mut file = open(path)?;
        if try_lock(&file, Mode::Alone)? {
            // For people: that it cannot be written on a full disk is no reason not to hold it. Of several together the
            // first is named.
            let who = format!("{}\n{}\n{}\n", self.run, std::process::id(), self.workspace.display());
            let _ =
                file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(who.as_bytes()));
            if mode == Mode::Alone {
                return Ok(Taken::Held(Guard { _files: vec![file] }));
            }
        }
        // A change from one to the other may let someone in between.
        if mode == Mode::Alone || !try_lock(&file, mode)? {
            return Ok(Taken::Busy { holder: self.other(holder_of(path)) });
        }
        Ok(Taken::Held(Guard { _files: vec![file] }))
    }

    /// Of several the first is named, which may have left the others; that it is not us is certain.
    fn other(&self, holder: Option<String>) -> String {
        let text = holder.unwrap_or_default();
        let mut lines = text.lines();
        // An earlier version of sb wrote the first line only.
        let (run, process, folder) = (lines.next(), lines.next(), lines.next());
        let Some(run) = run.filter(|run| *run != self.run.as_str()) else { return "another run".to_owned() };
        let process = process.and_then(|number| number.parse().ok()).and_then(rustix::process::Pid::from_raw);
        // The load of a runner that died may hold it still.
        let process = process.filter(|pid| rustix::process::test_kill_process(*pid).is_ok());
        let process = process.map(|pid| format!("process {}", pid.as_raw_nonzero()));
        let about: Vec<_> = process.into_iter().chain(folder.map(|folder| format!("in {folder}"))).collect();
        if about.is_empty() { format!("run {run}") } else { format!("run {run} ({})", about.join(", ")) }
    }

    /// The folder of the machine's locks, which must be ours: in `/tmp` another user could have made it.
    fn machine(&self) -> io::Result<&Path> {
        let refuse =
            |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", self.machine.display()));
        if !self.machine.is_absolute() {
            // It would be another one for every working directory.
            return Err(refuse(io::Error::other("SB_LOCKS must name a folder by its absolute path")));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.machine).map_err(refuse)?;
        let found = fs::symlink_metadata(&self.machine).map_err(refuse)?;
        let is_ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
        if !is_ours || found.mode() & 0o022 != 0 {
            return Err(refuse(io::Error::other(
                "it is not a folder that only you can write to: remove it, or let SB_LOCKS name one",
            )));
        }
        Ok(&self.machine)
    }

    /// Whether the machine's locks can be used at all.
    pub(crate) fn check(&self) -> io::Result<()> {
        try_lock(&open(&self.machine()?.join(INVOKE))?, Mode::Together).map(drop)
    }
}

/// Where the machine's locks of this user are: `/tmp/sb-UID`, unless `SB_LOCKS` names a folder. Not
/// `$XDG_RUNTIME_DIR`: a session by ssh has one, cron and what was started in another session have none, and their runs
/// would not see each other.
pub(crate) fn machine_folder(given: Option<&std::ffi::OsStr>) -> PathBuf {
    match given {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => PathBuf::from(format!("/tmp/sb-{}", rustix::process::geteuid().as_raw())),
    }
}

fn open(path: &Path) -> io::Result<File> {
    sb_durable::private().read(true).write(true).create(true).truncate(false).open(path)
}

fn try_lock(file: &File, mode: Mode) -> io::Result<bool> {
    let tried = match mode {
        Mode::Alone => file.try_lock(),
        Mode::Together => file.try_lock_shared(),
    };
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The run that locked it last.
fn holder_of(path: &Path) -> Option<String> {
    let mut text = String::new();
    let _ = File::open(path).and_then(|file| file.take(8192).read_to_string(&mut text));
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Runs {
        _folder: tempfile::TempDir,
        one: Shared,
        two: Shared,
    }

    fn runs() -> Runs {
        let folder = tempfile::tempdir().unwrap();
        let of = |run: &str| {
            Shared::new(&Workspace::at(folder.path()), folder.path().join("machine"), RunId::new(run))
        };
        Runs { one: of("one"), two: of("two"), _folder: folder }
    }

    #[track_caller]
    fn held(taken: io::Result<Taken>) -> Guard {
        match taken.unwrap() {
            Taken::Held(guard) => guard,
            Taken::Busy { holder } => panic!("held by {holder}"),
        }
    }

    #[track_caller]
    fn busy(taken: io::Result<Taken>, by: &str) {
        match taken.unwrap() {
            Taken::Held(_) => panic!("it was free"),
            Taken::Busy { holder } => {
                let process = std::process::id();
                assert!(holder.starts_with(&format!("run {by} (process {process}, in /")), "{holder}");
            }
        }
    }

    #[test]
    fn a_named_lock_has_as_many_slots_as_it_says() {
        let Runs { one, two, _folder } = runs();
        let first = held(one.named("region/a", 2));
        let _second = held(two.named("region/a", 2));
        busy(two.named("region/a", 2), "one");
        held(two.named("other", 1));
        drop(first);
        held(two.named("region/a", 2));
    }

    #[test]
    fn a_load_that_is_alone_excludes_every_other_and_others_stand_each_other() {
        let Runs { one, two, _folder } = runs();
        let alone = held(one.invoke(1));
        busy(two.invoke(1), "one");
        busy(two.invoke(3), "one");
        drop(alone);
        let _some = held(one.invoke(3));
        let _more = held(two.invoke(2));
        busy(two.invoke(1), "one");
    }

    #[test]
    fn work_and_quiet_exclude_each_other_and_who_waits_for_quiet_comes_next() {
        let Runs { one, two, _folder } = runs();
        let work = held(one.work(false));
        let more = held(two.work(false));
        let next = held(two.next_for_quiet());
        drop(more);
        busy(two.quiet(), "one");
        busy(one.work(false), "two");
        held(two.work(true));
        drop(work);
        let quiet = held(two.quiet());
        drop(next);
        busy(one.work(false), "two");
        busy(one.quiet(), "two");
        drop(quiet);
        held(one.work(false));
    }

    #[test]
    fn a_load_that_outlives_its_runner_keeps_others_out_and_its_own_runner_takes_over() {
        for (limit, quiet) in [(1, true), (1, false), (2, true), (2, false)] {
            let Runs { one, two, _folder } = runs();
            let runner = (held(one.invoke(limit)), quiet.then(|| held(one.quiet())));
            let load: Vec<_> = one
                .while_loading(limit, quiet)
                .into_iter()
                .map(|(path, alone)| {
                    let file = open(&path).unwrap();
                    assert!(try_lock(&file, if alone { Mode::Alone } else { Mode::Together }).unwrap());
                    file
                })
                .collect();
            drop(runner);
            busy(two.invoke(1), "one");
            if limit == 1 {
                busy(two.invoke(2), "one");
            } else {
                held(two.invoke(2));
            }
            if quiet {
                busy(two.quiet(), "one");
                busy(two.work(false), "one");
            } else {
                held(two.work(false));
            }
            let (invoke, still) = one.again(true, limit, quiet).unwrap();
            assert!(invoke.is_some() && still.is_some() == quiet);
            drop((load, invoke, still));
            held(two.invoke(1));
            held(two.quiet());
        }
    }

    #[test]
    fn the_folder_of_the_machine_is_the_same_in_every_session_and_ours_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let own = format!("/tmp/sb-{}", rustix::process::geteuid().as_raw());
        assert_eq!(machine_folder(None), Path::new(&own));
        assert_eq!(machine_folder(Some("".as_ref())), Path::new(&own));
        assert_eq!(machine_folder(Some("/some/where".as_ref())), Path::new("/some/where"));
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            Shared::new(&Workspace::at(folder.path()), folder.path().join(name), RunId::new("r"))
        };
        of("new").check().unwrap();
        let relative = Shared::new(
            &Workspace::at(folder.path()),
            machine_folder(Some("relative".as_ref())),
            RunId::new("r"),
        );
        let refused = relative.check().unwrap_err().to_string();
        assert!(refused.ends_with("must name a folder by its absolute path"), "{refused}");
        std::os::unix::fs::symlink("new", folder.path().join("link")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        fs::create_dir(folder.path().join("open")).unwrap();
        fs::set_permissions(folder.path().join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        for name in ["link", "file", "open"] {
            let refused = of(name).check().unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
            assert!(of(name).invoke(1).is_err(), "{name}");
        }
    }
}
