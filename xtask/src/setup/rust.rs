//! The wasm32 target, rustfmt and clippy by rustup; wasm-bindgen-cli and geckodriver from crates.io.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::step;
use crate::process::{cache, cargo, command, quiet, root, which};

pub fn components() -> Result<()> {
    let sysroot = quiet(command("rustc").args(["--print", "sysroot"]))?;
    let sysroot = Path::new(sysroot.trim());
    let has_target = sysroot.join("lib/rustlib/wasm32-unknown-unknown").is_dir();
    let has_tools = sysroot.join("bin/cargo-clippy").is_file() && sysroot.join("bin/rustfmt").is_file();
    if has_target && has_tools {
        return Ok(());
    }
    if which("rustup").is_none() {
        bail!("this Rust isn't rustup's: install its wasm32-unknown-unknown target, rustfmt and clippy as it came");
    }
    step("rustup: wasm32-unknown-unknown, rustfmt, clippy", || {
        quiet(command("rustup").args(["target", "add", "wasm32-unknown-unknown"]))?;
        quiet(command("rustup").args(["component", "add", "rustfmt", "clippy"]))?;
        Ok(())
    })
}

/// The version of wasm-bindgen in Cargo.lock: the command-line tool must be the very same.
pub fn wasm_bindgen_version() -> Result<String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("can't read Cargo.lock")?;
    lock.split_once("name = \"wasm-bindgen\"\nversion = \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(version, _)| version.to_owned())
        .context("Cargo.lock has no wasm-bindgen")
}

pub fn wasm_bindgen() -> Result<()> {
    let version = wasm_bindgen_version()?;
    let is_right = |tool: &str| quiet(command(tool).arg("--version")).is_ok_and(|said| said.contains(&version));
    if is_right("wasm-bindgen") && is_right("wasm-bindgen-test-runner") {
        return Ok(());
    }
    install("wasm-bindgen-cli", &["--version", &version], "1")
}

pub fn geckodriver() -> Result<()> {
    if super::geckodriver().is_some() { Ok(()) } else { install("geckodriver", &[], "0") }
}

/// cargo-fuzz, which builds and runs libFuzzer's targets.
pub fn cargo_fuzz() -> Result<()> {
    if which("cargo-fuzz").is_some() { Ok(()) } else { install("cargo-fuzz", &[], "0") }
}

/// Tools that run for a second are not worth minutes of optimising, and those that wait for others none.
fn install(package: &str, args: &[&str], opt_level: &str) -> Result<()> {
    let what =
        format!("cargo install {package} {}(a few minutes)", args.iter().map(|a| format!("{a} ")).collect::<String>());
    step(what, || {
        let tools = cache().join("tools");
        let target = cache().join("tools-target");
        let install = || -> Command {
            let mut install = cargo();
            install.args(["install", package, "--force", "--root"]).arg(&tools).args(args);
            install.envs([
                ("CARGO_PROFILE_RELEASE_LTO", "off"),
                ("CARGO_PROFILE_RELEASE_OPT_LEVEL", opt_level),
                ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
                ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
            ]);
            install.env("CARGO_TARGET_DIR", &target);
            install
        };
        // A registry mirror may lack a version that the package's own lock file names; any compatible one will do then.
        if let Err(locked) = quiet(install().arg("--locked")) {
            eprintln!("setup: {package} doesn't install with its own lock file, trying without ({locked:#})");
            quiet(&mut install())?;
        }
        // Hundreds of megabytes that nothing reads again.
        fs::remove_dir_all(&target).with_context(|| format!("can't remove {}", target.display()))
    })
}
