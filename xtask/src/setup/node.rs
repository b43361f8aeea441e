//! The npm packages of the workspace.

use std::fs;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::step;
use crate::process::{command, quiet, root, which};

/// Installs what package-lock.json says, unless what is installed is newer than it.
pub fn packages() -> Result<()> {
    if which("npm").is_none() {
        bail!("npm is missing: install Node.js 20 or newer (https://nodejs.org)");
    }
    let modified = |path: &str| fs::metadata(root().join(path)).and_then(|file| file.modified());
    let lock = modified("package-lock.json").context("can't read package-lock.json")?;
    // npm writes this file at the end of every installation, also of a developer's own `npm install`.
    let installed = modified("node_modules/.package-lock.json").unwrap_or(SystemTime::UNIX_EPOCH);
    if installed >= lock {
        return Ok(());
    }
    // Install scripts of dependencies are refused: some download from elsewhere, none is needed.
    let npm_ci = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    step("npm ci", || quiet(command("npm").args(npm_ci)).map(drop))
}
