//! Browsers, the software Vulkan driver and Python: by apt on Debian; elsewhere it is said what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::step;
use crate::process::{cache, command, quiet};

/// Mesa's first major version whose lavapipe Chromium's WebGPU implementation, Dawn, accepts, with a margin.
const MESA: u32 = 25;

pub fn chromium() -> Result<()> {
    if super::chromium().is_some() && super::chromedriver().is_some() {
        return Ok(());
    }
    install(
        &["chromium", "chromium-driver"],
        "Chromium or Chrome, and its chromedriver (CHROME_PATH, CHROMEDRIVER or PATH)",
    )
}

pub fn firefox() -> Result<()> {
    if super::firefox().is_some() {
        return Ok(());
    }
    install(&["firefox-esr"], "Firefox (FIREFOX_PATH or PATH)")
}

pub fn python() -> Result<()> {
    if quiet(command("python3").args(["-c", "import ensurepip, venv"])).is_ok() {
        return Ok(());
    }
    install(&["python3", "python3-venv"], "python3 with its venv module")
}

/// The description of Mesa's lavapipe for Vulkan's loader, where it is installed.
pub fn lavapipe_icd() -> Option<PathBuf> {
    let folder = fs::read_dir("/usr/share/vulkan/icd.d").ok()?;
    let mut found: Vec<PathBuf> = folder
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd")))
        .collect();
    found.sort();
    found.into_iter().next()
}

pub fn vulkan() -> Result<()> {
    if std::env::var_os("VK_DRIVER_FILES").is_some() {
        return Ok(());
    }
    let missing = "Mesa's software Vulkan driver, lavapipe, version 25 or newer (or another driver in VK_DRIVER_FILES)";
    if !is_debian() {
        return if lavapipe_icd().is_some() { Ok(()) } else { install(&[], missing) };
    }
    let version = quiet(command("dpkg-query").args(["-W", "-f", "${Version}", "mesa-vulkan-drivers"]));
    if version.is_ok_and(|version| major(&version) >= MESA) && lavapipe_icd().is_some() {
        return Ok(());
    }
    update()?;
    if candidate("mesa-vulkan-drivers")? >= MESA {
        return install(&["mesa-vulkan-drivers"], missing);
    }
    let backports = format!("{}-backports", codename()?);
    add_suite(&backports)?;
    install(&["-t", &backports, "mesa-vulkan-drivers"], missing)
}

/// Installs packages by apt, or says what is missing where that can't be done.
fn install(packages: &[&str], missing: &str) -> Result<()> {
    if !is_debian() {
        bail!("missing on this system: {missing}; install it in this system's own way");
    }
    update()?;
    step(format!("apt-get install {}", packages.join(" ")), || {
        quiet(as_root("apt-get").args(["install", "-y", "--no-install-recommends"]).args(packages)).map(drop)
    })
}

fn is_debian() -> bool {
    os_release("ID").is_some_and(|id| id == "debian")
}

fn codename() -> Result<String> {
    os_release("VERSION_CODENAME").context("/etc/os-release has no VERSION_CODENAME")
}

fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// Refreshes apt's lists once a run.
fn update() -> Result<()> {
    static DONE: std::sync::Mutex<bool> = std::sync::Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*done {
        step("apt-get update", || quiet(as_root("apt-get").arg("update")).map(drop))?;
        *done = true;
    }
    Ok(())
}

/// The major version of a package that apt would install.
fn candidate(package: &str) -> Result<u32> {
    let policy = quiet(command("apt-cache").args(["policy", package]).env("LC_ALL", "C"))?;
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    Ok(version.map_or(0, major))
}

/// `25` of `1:25.0.7-2~bpo12+1`; 0 of what is no version.
fn major(version: &str) -> u32 {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    upstream.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Adds one of the release's own suites, from the mirror that the release itself comes from.
fn add_suite(suite: &str) -> Result<()> {
    let lists = ["indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"];
    let lists = quiet(command("apt-get").args(lists))?;
    let mirror_of = |name: &str| lists.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    if mirror_of(suite).is_some() {
        return Ok(());
    }
    let release = codename()?;
    let mirror = mirror_of(&release).with_context(|| format!("apt has no mirror of {release}"))?;
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    if !Path::new(keyring).is_file() {
        bail!("{keyring} is missing: install debian-archive-keyring");
    }
    let source = format!("Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\nSigned-By: {keyring}\n");
    step(format!("adding the suite {suite} to apt's sources"), || {
        let ours = cache().join(format!("{suite}.sources"));
        fs::create_dir_all(cache())?;
        fs::write(&ours, source)?;
        quiet(as_root("install").args(["-m", "644"]).arg(&ours).arg("/etc/apt/sources.list.d/"))?;
        quiet(as_root("apt-get").arg("update")).map(drop)
    })
}

fn as_root(program: &str) -> Command {
    let is_root = quiet(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if is_root {
        let mut root = command(program);
        root.env("DEBIAN_FRONTEND", "noninteractive");
        root
    } else {
        let mut sudo = command("sudo");
        sudo.args(["DEBIAN_FRONTEND=noninteractive", program]);
        sudo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions_of_debian_packages() {
        assert_eq!(major("25.0.7-2~bpo12+1"), 25);
        assert_eq!(major("1:22.3.6-1+deb12u2"), 22);
        assert_eq!(major("(none)"), 0);
    }
}
