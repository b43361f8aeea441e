//! The loopback hub: a small Hugging Face Hub that serves .cache/models.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Service, command, root};
use crate::setup::{self, Need};

/// The port of the hub, known when the browser tests are compiled.
pub const PORT: u16 = 8090;

/// The hub's address for a port.
pub fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn cli(port: u16) -> Command {
    let mut node = command("node");
    node.arg(root().join("tests/hub/cli.mjs")).arg("--root").arg(crate::python::models());
    node.args(["--port", &port.to_string()]);
    // Gated and private faces of the sample model.
    node.arg("--repos").arg(root().join("tests/hub/browser-repos.json"));
    node
}

/// Starts the hub in the background and waits until it answers.
pub fn start(port: u16) -> Result<Service> {
    Service::listening(&mut cli(port), port).context("the loopback hub didn't start")
}

/// `cargo xtask hub`.
pub fn run_alone(port: u16) -> Result<()> {
    setup::ensure_all(&[Need::Model])?;
    Service::start(&mut cli(port))?.wait()
}
