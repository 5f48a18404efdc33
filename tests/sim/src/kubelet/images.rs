//! Images: names of programs of this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All images there are, and those that are to fail.
#[derive(Debug)]
pub(crate) struct Images {
    programs: BTreeMap<String, PathBuf>,
    broken: Mutex<BTreeMap<String, String>>,
}

/// What a container of an image runs.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The program of this machine.
    pub(crate) program: PathBuf,
    /// Where it is in the container.
    pub(crate) inside: String,
}

impl Images {
    pub(crate) fn new(programs: BTreeMap<String, PathBuf>) -> Self {
        Self { programs, broken: Mutex::default() }
    }

    /// The image of a reference, or why it cannot be pulled.
    pub(crate) fn find(&self, reference: &str) -> Result<Image, String> {
        if let Some(why) = self.lock().get(reference) {
            return Err(format!("Failed to pull image \"{reference}\": {why}"));
        }
        let Some(program) = self.programs.get(reference) else {
            let known: Vec<&str> = self.programs.keys().map(String::as_str).collect();
            return Err(format!(
                "Failed to pull image \"{reference}\": not found; the embedded cluster has: {}",
                known.join(", ")
            ));
        };
        let called = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Image { program: program.clone(), inside: format!("/{called}") })
    }

    /// From now on pods cannot pull it, for this reason; without one they can again.
    pub(crate) fn set_broken(&self, reference: &str, why: Option<String>) {
        match why {
            Some(why) => drop(self.lock().insert(reference.to_owned(), why)),
            None => drop(self.lock().remove(reference)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
