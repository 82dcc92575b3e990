//! Exit codes of `sb`, documented, from one exhaustive match.

use std::process::ExitCode;

use sb_plan::event::Verdict;

/// How a command ended, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: everything asked for was done.
    Done,
    /// 1: a step failed, or the command could not do its work.
    Failed,
    /// 2: the command line is wrong (also given by the argument parser).
    Usage,
    /// 3: a manifest or plan is invalid.
    InvalidManifest,
    /// 4: a cleanup failed, or was left out on purpose: something may still be deployed (`sb leaks` lists it).
    CleanupOwed,
    /// 5: all steps ran, but a trial missed its tolerances and must not be used.
    InvalidTrials,
    /// 6: another process works on the same run or deployment.
    Locked,
    /// 7: the state could not be read or written; nothing new was started.
    Store,
    /// 8: a comparison found a regression that is larger than allowed, or nothing of what was there before.
    Regressed,
    /// 130: stopped by a signal; what is left can be resumed.
    Interrupted,
    /// That of a command which `sb` ran for somebody in a terminal: `sb shell`, `sb login`, `sb remote`.
    OfCommand(u8),
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InvalidManifest => 3,
            Self::CleanupOwed => 4,
            Self::InvalidTrials => 5,
            Self::Locked => 6,
            Self::Store => 7,
            Self::Regressed => 8,
            Self::Interrupted => 130,
            Self::OfCommand(code) => code,
        }
    }

    /// The exit code of a command, as it gave it.
    pub fn of_command(code: i64) -> Self {
        match u8::try_from(code) {
            Ok(0) => Self::Done,
            Ok(code) => Self::OfCommand(code),
            Err(_) => Self::Failed,
        }
    }

    /// The exit code of a run that came to its end. An unpaid cleanup outweighs the rest: it costs money.
    pub fn of_run(measurement: Verdict, cleanup: Verdict) -> Self {
        match (measurement, cleanup) {
            (_, Verdict::Failed | Verdict::Cancelled | Verdict::Invalid | Verdict::Kept) => Self::CleanupOwed,
            (Verdict::Cancelled, _) => Self::Interrupted,
            (Verdict::Failed | Verdict::Kept, _) => Self::Failed,
            (Verdict::Invalid, _) => Self::InvalidTrials,
            (Verdict::Complete | Verdict::None, Verdict::Complete | Verdict::None) => Self::Done,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
