//! `cargo xtask bench`: what Layerline costs, beside its bars; with `--peers` beside transformers.js, with `--cpu` beside it and
//! wllama on the CPU; with `--threads`, what several threads do beside one; with `--quantised`, integers beside half precision; with
//! `--offload`, layers in CPU memory beside all on either device.

use anyhow::Result;

use crate::process::{command, quiet, root, run as run_command};
use crate::setup::{self, Need};
use crate::stamp::Inputs;
use crate::{build, python};

pub fn run(args: &[String]) -> Result<()> {
    let mut needs = vec![Need::Model, Need::Chromium, Need::Vulkan];
    if args.iter().any(|arg| arg == "firefox") {
        needs.push(Need::Firefox);
    }
    setup::ensure_all(&needs)?;
    build::build(build::Mode::Release)?;
    if args.iter().any(|arg| arg == "--peers" || arg == "--cpu") {
        peers()?;
    }
    let mut node = command("node");
    node.arg("benches/run.mjs").args(args).env("CHROME_PATH", setup::chromium().unwrap_or_default());
    run_command(&mut node)
}

/// transformers.js and wllama, and the sample model as ONNX and GGUF. Kept out of the workspace: nothing else wants them.
fn peers() -> Result<()> {
    let benches = root().join("benches");
    Inputs::new(&[]).path(&benches.join("package-lock.json"))?.when_changed(
        "bench-peers",
        &benches.join("node_modules"),
        || {
            eprintln!("bench: npm packages of benches/ …");
            let npm_ci = ["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"];
            quiet(command("npm").current_dir(&benches).args(npm_ci)).map(drop)
        },
    )?;
    python::onnx_model()?;
    python::gguf_models()
}
