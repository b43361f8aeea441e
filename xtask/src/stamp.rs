//! Stamps: what a step's inputs were when it last succeeded, so that it is not done again for nothing.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A hash over a step's inputs.
pub struct Inputs(DefaultHasher);

impl Inputs {
    /// Starts with words that the step depends on: versions, flags.
    pub fn new(words: &[&str]) -> Self {
        let mut hasher = DefaultHasher::new();
        words.hash(&mut hasher);
        Self(hasher)
    }

    /// Adds a file's bytes, or those of every file under a folder but for `node_modules`, `dist` and hidden ones.
    pub fn path(mut self, path: &Path) -> Result<Self> {
        self.add(path).with_context(|| format!("can't read {}", path.display()))?;
        Ok(self)
    }

    fn add(&mut self, path: &Path) -> std::io::Result<()> {
        path.hash(&mut self.0);
        if path.is_file() {
            fs::read(path)?.hash(&mut self.0);
            return Ok(());
        }
        let mut entries: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            if name != "node_modules" && name != "dist" && !name.as_encoded_bytes().starts_with(b".") {
                self.add(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Runs `step` unless these inputs were its inputs last time and `output` is still there.
    pub fn when_changed(self, name: &str, output: &Path, step: impl FnOnce() -> Result<()>) -> Result<()> {
        let file = stamp_file(name);
        let stamp = format!("{:016x}", self.0.finish());
        if output.exists() && fs::read_to_string(&file).is_ok_and(|last| last == stamp) {
            return Ok(());
        }
        let _ = fs::remove_file(&file);
        step()?;
        fs::create_dir_all(stamp_file(""))?;
        fs::write(&file, stamp).with_context(|| format!("can't write {}", file.display()))
    }
}

fn stamp_file(name: &str) -> PathBuf {
    crate::process::cache().join("stamps").join(name)
}
