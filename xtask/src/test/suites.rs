//! The suites: what each runs, needs, and is called.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::tally::Runner;
use crate::hub;
use crate::process::{cargo, command, root, which};
use crate::setup::{self, Need};

pub struct Suite {
    pub name: &'static str,
    /// Suites that are run together under this name.
    pub group: &'static str,
    pub runner: Runner,
    pub needs: &'static [Need],
    /// Whether it tests what `cargo xtask build` builds.
    pub built: bool,
    /// The port of a loopback hub of its own that must run beside it.
    pub hub: Option<u16>,
    /// Whether it may run beside the suite before it: each of them leaves a core idle.
    pub beside: bool,
    /// Makes the command; it is given the filter.
    pub command: fn(&[String]) -> Result<Command>,
}

/// The port of the hub of Firefox's tests, known when they are compiled: they count requests, as other browsers' do beside them.
const FIREFOX_HUB: u16 = hub::PORT + 1;

pub static SUITES: [Suite; 16] = [
    check("rustfmt", &[Need::Rust], false, |_| Ok(cargo_with(&["fmt", "--all", "--check"], &[]))),
    check("rustfmt-burn", &[Need::Rust], false, |_| {
        Ok(cargo_with(&["fmt", "--check", "--manifest-path", "tests/burn/Cargo.toml"], &[]))
    }),
    check("clippy-native", &[Need::Rust], false, |_| clippy(&["--workspace", "--all-targets", "--all-features"])),
    check("clippy-engine", &[Need::Rust], false, |_| clippy_wasm("engine")),
    check("clippy-text", &[Need::Rust], false, |_| clippy_wasm("text")),
    check("clippy-wasm", &[Need::Rust], false, |_| {
        clippy(&[
            "--package",
            "layerline",
            "--package",
            "relaxed",
            "--lib",
            "--tests",
            "--target",
            "wasm32-unknown-unknown",
        ])
    }),
    check("biome", &[Need::Npm], false, |_| {
        let mut biome = command("biome");
        let colours = if std::io::stdout().is_terminal() { "--colors=force" } else { "--colors=off" };
        biome.args(["ci", "--error-on-warnings", colours]);
        Ok(biome)
    }),
    check("types-js", &[Need::Npm], true, |_| tsc("js")),
    check("types-www", &[Need::Npm], true, |_| tsc("www")),
    Suite {
        name: "native",
        group: "native",
        runner: Runner::Cargo,
        needs: &[Need::Rust, Need::Vulkan],
        built: false,
        hub: None,
        beside: false,
        command: |filter| {
            let mut cargo = cargo_with(&["test", "--workspace", "--all-features", "--no-fail-fast"], filter);
            compiles_fast(&mut cargo);
            Ok(cargo)
        },
    },
    Suite {
        name: "burn",
        group: "native",
        runner: Runner::Cargo,
        needs: &[Need::Rust],
        built: false,
        hub: None,
        beside: false,
        command: |filter| {
            let mut cargo = cargo_with(&["test", "--manifest-path", "tests/burn/Cargo.toml", "--locked"], filter);
            cargo.env("CARGO_TARGET_DIR", root().join("target/burn"));
            Ok(cargo)
        },
    },
    Suite {
        name: "chromium",
        group: "browser",
        runner: Runner::Cargo,
        needs: &[Need::Rust, Need::WasmBindgen, Need::Chromium, Need::Model],
        built: false,
        hub: Some(hub::PORT),
        beside: false,
        command: |filter| in_browser(filter, "CHROMEDRIVER", setup::chromedriver()),
    },
    Suite {
        name: "firefox",
        group: "browser",
        runner: Runner::Cargo,
        needs: &[Need::Rust, Need::WasmBindgen, Need::Firefox, Need::Geckodriver, Need::Vulkan, Need::Model],
        built: false,
        hub: Some(FIREFOX_HUB),
        beside: true,
        command: |filter| in_browser(filter, "GECKODRIVER", setup::geckodriver()),
    },
    Suite {
        name: "hub",
        group: "hub",
        runner: Runner::Node,
        needs: &[Need::Npm],
        built: false,
        hub: None,
        beside: false,
        command: |filter| node_test("tests/hub", filter),
    },
    Suite {
        name: "js",
        group: "js",
        runner: Runner::Vitest,
        needs: &[Need::Npm],
        built: true,
        hub: None,
        beside: false,
        command: |filter| {
            let mut npm = command("npm");
            npm.args(["test", "--workspace", "js", "--"]).args(filter);
            Ok(npm)
        },
    },
    Suite {
        name: "e2e",
        group: "e2e",
        runner: Runner::Node,
        needs: &[Need::Npm, Need::Chromium, Need::Firefox, Need::Vulkan, Need::Model, Need::PackagedModels],
        built: true,
        hub: None,
        beside: false,
        command: |filter| node_test("tests/e2e", filter),
    },
];

const fn check(
    name: &'static str,
    needs: &'static [Need],
    built: bool,
    command: fn(&[String]) -> Result<Command>,
) -> Suite {
    Suite { name, group: "lint", runner: Runner::Check, needs, built, hub: None, beside: false, command }
}

fn cargo_with(args: &[&str], filter: &[String]) -> Command {
    let mut cargo = cargo();
    cargo.args(args);
    if !filter.is_empty() {
        cargo.arg("--").args(filter);
    }
    cargo
}

fn clippy(args: &[&str]) -> Result<Command> {
    let mut cargo = cargo();
    cargo.arg("clippy").args(args).args(["--", "-D", "warnings"]);
    Ok(cargo)
}

fn clippy_wasm(feature: &str) -> Result<Command> {
    let target = ["--package", "layerline", "--lib", "--target", "wasm32-unknown-unknown"];
    clippy(&[&target[..], &["--no-default-features", "--features", feature]].concat())
}

fn tsc(workspace: &str) -> Result<Command> {
    let mut tsc = command("tsc");
    tsc.args(["--noEmit", "--project", workspace]);
    Ok(tsc)
}

/// Has Mesa's lavapipe leave its compiler's optimisations out. What these tests run is small, and there are hundreds of kernels: on a
/// machine that has compiled none of them yet, compiling takes most of their time.
fn compiles_fast(command: &mut Command) {
    command.env("GALLIVM_PERF", "nopt");
}

/// The wasm-bindgen tests, in the browser of a driver.
fn in_browser(filter: &[String], variable: &str, driver: Option<PathBuf>) -> Result<Command> {
    let driver = driver.with_context(|| format!("no {}", variable.to_lowercase()))?;
    let runner = which("wasm-bindgen-test-runner").context("no wasm-bindgen-test-runner")?;
    let test =
        ["test", "--package", "layerline", "--lib", "--tests", "--target", "wasm32-unknown-unknown", "--no-fail-fast"];
    let mut cargo = cargo_with(&test, filter);
    // The runner takes the first driver that the environment names.
    for other in ["CHROMEDRIVER", "GECKODRIVER", "SAFARIDRIVER", "MSEDGEDRIVER"] {
        cargo.env_remove(other).env_remove(format!("{other}_REMOTE"));
    }
    cargo.env(variable, driver);
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    cargo.env("WASM_BINDGEN_USE_BROWSER", "1");
    compiles_fast(&mut cargo);
    // Seconds for a whole test binary, on an emulated GPU.
    cargo.env("WASM_BINDGEN_TEST_TIMEOUT", "1200");
    cargo.env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "60");
    // The same for both, since they run what was compiled once.
    if hub_address().is_none() {
        cargo.env("LAYERLINE_HUB", hub::address(hub::PORT)).env("LAYERLINE_FIREFOX_HUB", hub::address(FIREFOX_HUB));
    }
    Ok(cargo)
}

/// A hub that runs already.
pub fn hub_address() -> Option<String> {
    std::env::var("LAYERLINE_HUB").ok()
}

/// node:test on the test files of a folder, two at a time: while one computes on an emulated GPU, another waits for a page.
fn node_test(folder: &str, filter: &[String]) -> Result<Command> {
    let mut files = Vec::new();
    test_files(&root().join(folder), &mut files).with_context(|| format!("can't read {folder}"))?;
    files.sort();
    if files.is_empty() {
        bail!("{folder} has no *.test.mjs");
    }
    let mut node = command("node");
    node.args(["--test", "--test-reporter=spec", "--test-concurrency=2"]);
    node.args(filter.iter().map(|word| format!("--test-name-pattern={word}"))).args(files);
    let path = |found: Option<PathBuf>| found.unwrap_or_default();
    node.env("CHROME_PATH", path(setup::chromium())).env("FIREFOX_PATH", path(setup::firefox()));
    Ok(node)
}

fn test_files(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            test_files(&entry.path(), files)?;
        } else if entry.file_name().to_string_lossy().ends_with(".test.mjs") {
            files.push(entry.path());
        }
    }
    Ok(())
}
