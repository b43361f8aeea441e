//! What an architecture costs in code: the lines of each family's file, and of what they share.

use std::fs;

use anyhow::{Context, Result};

use crate::process::root;

/// What a family's file has and no other.
const FAMILY: &str = ": Family = Family {";

/// Prints the lines of every file of `src/models`, comments and blank lines among them.
pub fn print() -> Result<()> {
    let folder = root().join("src/models");
    let (mut families, mut shared) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name == "tests" {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let types: Vec<&str> = text.lines().filter_map(model_type).collect();
        match text.contains(FAMILY) {
            true => families.push((text.lines().count(), types.join(", "))),
            false => shared.push((text.lines().count(), name)),
        }
    }
    for (title, mut files) in [("an architecture's own file", families), ("what they share", shared)] {
        files.sort();
        println!("{:>6} lines, {title}", files.iter().map(|(lines, _)| lines).sum::<usize>());
        files.iter().for_each(|(lines, name)| println!("{lines:>6} {name}"));
    }
    Ok(())
}

/// The `model_type` that a line of a family's says.
fn model_type(line: &str) -> Option<&str> {
    line.trim().strip_prefix("model_type: \"")?.strip_suffix("\",")
}
