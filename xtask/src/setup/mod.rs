//! What the other commands need on this machine: found where it is, else installed.

mod apt;
mod node;
mod rust;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, anyhow};

pub use apt::lavapipe_icd;
pub use rust::{cargo_fuzz, wasm_bindgen_version};

/// Something that must be there before a command or a test can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// rustc's wasm32 target, rustfmt and clippy.
    Rust,
    /// wasm-bindgen and its test runner, at the version of Cargo.lock.
    WasmBindgen,
    /// geckodriver, which drives Firefox.
    Geckodriver,
    /// The npm packages of package-lock.json.
    Npm,
    /// Chromium and chromedriver.
    Chromium,
    /// Firefox.
    Firefox,
    /// A software Vulkan driver that WebGPU implementations accept.
    Vulkan,
    /// A Python that can make virtual environments.
    Python,
    /// The sample model under .cache/models.
    Model,
    /// Other models beside it, as PyPI packages carry them.
    PackagedModels,
}

impl Need {
    /// All of them, in an order in which each comes after what it needs itself.
    pub const ALL: [Need; 10] = [
        Need::Rust,
        Need::WasmBindgen,
        Need::Geckodriver,
        Need::Chromium,
        Need::Firefox,
        Need::Vulkan,
        Need::Npm,
        Need::Python,
        Need::Model,
        Need::PackagedModels,
    ];

    /// Needs that compile; the others download.
    const COMPILED: [Need; 3] = [Need::Rust, Need::WasmBindgen, Need::Geckodriver];

    fn ensure(self) -> Result<()> {
        match self {
            Need::Rust => rust::components(),
            Need::WasmBindgen => rust::wasm_bindgen(),
            Need::Geckodriver => rust::geckodriver(),
            Need::Npm => node::packages(),
            Need::Chromium => apt::chromium(),
            Need::Firefox => apt::firefox(),
            Need::Vulkan => apt::vulkan(),
            Need::Python => apt::python(),
            Need::Model => crate::python::sample_model(),
            Need::PackagedModels => crate::python::packaged_models(),
        }
    }
}

/// Ensures the needs, the compiled beside the downloaded ones; each with what became of it.
pub fn ensure(needs: &[Need]) -> Vec<(Need, Result<()>)> {
    let wanted = |compiled: bool| {
        let chosen = Need::ALL.into_iter().filter(|need| needs.contains(need));
        chosen.filter(move |need| Need::COMPILED.contains(need) == compiled)
    };
    let in_turn = |compiled| wanted(compiled).map(|need| (need, need.ensure())).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let compiling = scope.spawn(|| in_turn(true));
        let mut results = in_turn(false);
        match compiling.join() {
            Ok(compiled) => results.extend(compiled),
            Err(_) => results.extend(wanted(true).map(|need| (need, Err(anyhow!("setting it up panicked"))))),
        }
        results
    })
}

/// Ensures the needs; an error says which are missing, after all were tried.
pub fn ensure_all(needs: &[Need]) -> Result<()> {
    let failures: Vec<String> = ensure(needs)
        .into_iter()
        .filter_map(|(need, result)| result.err().map(|error| format!("{need:?}: {error:#}")))
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(anyhow!("set-up failed\n{}", failures.join("\n"))) }
}

/// Says what is being done, does it, and says how long it took.
fn step(what: impl Display, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("setup: {what} …");
    let started = Instant::now();
    work()?;
    eprintln!("setup: {what}: done in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Where a browser or driver lies: named by an environment variable, or found on PATH.
fn find(variable: &str, names: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file());
    named.or_else(|| names.iter().find_map(|name| crate::process::which(name)))
}

/// Chromium's or Chrome's program.
pub fn chromium() -> Option<PathBuf> {
    find("CHROME_PATH", &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"])
}

/// The program that drives Chromium.
pub fn chromedriver() -> Option<PathBuf> {
    find("CHROMEDRIVER", &["chromedriver"])
}

/// Firefox's program.
pub fn firefox() -> Option<PathBuf> {
    find("FIREFOX_PATH", &["firefox-esr", "firefox"])
}

/// The program that drives Firefox.
pub fn geckodriver() -> Option<PathBuf> {
    find("GECKODRIVER", &["geckodriver"])
}
