//! Benchmarks that are read once, for all plans that use them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::benchmark::{Benchmark, SamTemplates};
use crate::manifest::problem::{Checked, LeftOut, Problem};
use crate::manifest::read::Files;
use crate::validate::benchmark::read;

/// Manifests as they were read and checked, by absolute path. Threads that ask for the same one wait for the first of them.
#[derive(Debug, Default)]
pub struct Benchmarks {
    /// SAM templates that were parsed.
    known: Mutex<SamTemplates>,
    read: Mutex<BTreeMap<PathBuf, Arc<OnceLock<Arc<ReadBenchmark>>>>>,
}

/// A manifest that was read.
#[derive(Debug)]
pub(super) struct ReadBenchmark {
    /// None: nothing could be made of the file. With errors in `problems` it is incomplete, and good for finding more of
    /// them only.
    pub benchmark: Option<Arc<Benchmark>>,
    pub problems: Vec<Problem>,
    pub left_out: Vec<LeftOut>,
}

impl Benchmarks {
    /// None were read yet, but some SAM templates were parsed.
    pub fn knowing(templates: &SamTemplates) -> Self {
        Self { known: Mutex::new(templates.clone()), read: Mutex::default() }
    }

    /// As [`benchmark`](super::benchmark); files must be the same ones each time.
    pub fn benchmark(&self, files: &dyn Files, path: &Path) -> Checked<Arc<Benchmark>> {
        let path = super::check::absolute(path);
        if super::check::leads_out(files, &path).is_some() {
            return Checked::new(None, super::check::open_named(files, &path).1.problems);
        }
        let read = self.get(files, &path);
        Checked::new(read.benchmark.clone(), read.problems.clone())
    }

    pub(super) fn get(&self, files: &dyn Files, path: &Path) -> Arc<ReadBenchmark> {
        let cell = Arc::clone(self.read.lock().entry(path.to_owned()).or_default());
        let first = || {
            let known = self.known.lock().clone();
            let read = read(files, path, &known);
            if let Some(benchmark) = &read.benchmark {
                self.known.lock().extend(&benchmark.templates);
            }
            Arc::new(read)
        };
        Arc::clone(cell.get_or_init(first))
    }
}
