//! The SAM templates of a benchmark's `local` steps, each parsed once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// SAM templates as they were parsed, by path. Clones share them.
///
/// All of them are equal: what a template holds is part of the step that deploys it.
#[derive(Clone, Debug, Default)]
pub struct SamTemplates(BTreeMap<PathBuf, Arc<sb_sam::Template>>);

impl PartialEq for SamTemplates {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl SamTemplates {
    /// The template of a file that holds this text: the one that was parsed, or else a new one.
    ///
    /// # Errors
    /// The text is no template.
    pub fn get(&self, path: &Path, text: &str) -> Result<Arc<sb_sam::Template>, sb_sam::Problem> {
        match self.0.get(path) {
            Some(known) if known.source() == text => Ok(Arc::clone(known)),
            _ => sb_sam::Template::parse(text).map(Arc::new),
        }
    }

    /// The template of a file, as it was parsed.
    pub(crate) fn parsed(&self, path: &Path) -> Option<&sb_sam::Template> {
        self.0.get(path).map(Arc::as_ref)
    }

    /// As [`SamTemplates::get`]; the next one who asks gets the same. What is not among these may be among `known`, which
    /// others read, too.
    pub(crate) fn keep(
        &mut self,
        path: &Path,
        text: &str,
        known: &Mutex<Self>,
    ) -> Result<Arc<sb_sam::Template>, sb_sam::Problem> {
        if let Some(own) = self.0.get(path).filter(|own| own.source() == text) {
            return Ok(Arc::clone(own));
        }
        let others = known.lock().0.get(path).map(Arc::clone);
        let template = match others.filter(|one| one.source() == text) {
            Some(known) => known,
            None => sb_sam::Template::parse(text).map(Arc::new)?,
        };
        self.0.insert(path.to_owned(), Arc::clone(&template));
        Ok(template)
    }

    /// The files of the templates.
    #[cfg(test)]
    pub(crate) fn paths(&self) -> Vec<&Path> {
        self.0.keys().map(PathBuf::as_path).collect()
    }

    /// Takes over what somebody else has parsed.
    pub(crate) fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().map(|(path, template)| (path.clone(), Arc::clone(template))));
    }
}
