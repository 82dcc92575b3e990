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
            let read = read(files, path, &self.known);
            if let Some(benchmark) = &read.benchmark {
                self.known.lock().extend(&benchmark.templates);
            }
            Arc::new(read)
        };
        Arc::clone(cell.get_or_init(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::read::Snapshot;

    #[test]
    fn a_benchmark_holds_its_own_templates_and_none_of_others_that_were_read_before() {
        let mut texts = Vec::new();
        for name in ["a", "b", "c"] {
            let manifest = format!(
                "[benchmark]\nname = \"{name}\"\nroot = \"..\"\n[targets.local]\n[[deploy]]\nname = \"stack\"\n\
                 local = {{ template = \"{}template.yaml\" }}\n[[cleanup]]\nname = \"stack\"\nlocal = {{ down = true }}\n",
                if name == "c" { "../a/" } else { "" }
            );
            texts.push((format!("/w/{name}/benchmark.toml"), manifest));
            texts.push((
                format!("/w/{name}/template.yaml"),
                format!("Description: {name}\nResources: {{}}\n"),
            ));
        }
        texts.push(("/w/.git/HEAD".to_owned(), String::new()));
        let files = Snapshot::new(texts);
        let benchmarks = Benchmarks::default();
        // The templates have no functions: that is a problem of each, and of no interest here.
        let templates = |name: &str| {
            let read = benchmarks.get(&files, Path::new(&format!("/w/{name}/benchmark.toml")));
            read.benchmark.as_ref().expect("a benchmark").templates.clone()
        };
        let (first, second, third) = (templates("a"), templates("b"), templates("c"));
        assert_eq!(first.paths(), [Path::new("/w/a/template.yaml")]);
        assert_eq!(second.paths(), [Path::new("/w/b/template.yaml")]);
        // The same one, which was not parsed again.
        let text = "Description: a\nResources: {}\n";
        let path = Path::new("/w/a/template.yaml");
        assert!(Arc::ptr_eq(&first.get(path, text).unwrap(), &third.get(path, text).unwrap()));
    }
}
