//! `cargo xtask demo`: the demo page with the loopback hub and the sample model, for a person or headless.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::process::{Service, command, root};
use crate::setup::{self, Need};
use crate::{build, flags, hub};

const PORT: u16 = 8088;
const SAMPLE_MODEL: &str = "layerline/SmolLM2-135M-Instruct-dq4";

pub fn run(args: &[String]) -> Result<ExitCode> {
    let [port, prompt, endpoint, model] = flags::values(args, ["--port", "--headless", "--endpoint", "--model"])?;
    let port = flags::port(port, PORT)?;
    let model = model.unwrap_or_else(|| SAMPLE_MODEL.to_owned());

    let mut needs = vec![Need::Npm];
    if endpoint.is_none() {
        needs.push(Need::Model);
    }
    if prompt.is_some() {
        needs.push(Need::Chromium);
    }
    setup::ensure_all(&needs)?;
    build::build(build::Mode::Release)?;

    let (endpoint, _hub) = match endpoint {
        Some(endpoint) => (endpoint, None),
        None => (hub::address(hub::PORT), Some(hub::start(hub::PORT)?)),
    };
    let serve = ["preview", "--host", "127.0.0.1", "--strictPort", "--port", &port.to_string()];
    let mut vite = command("vite");
    vite.current_dir(root().join("www")).args(serve);
    let server = Service::listening(&mut vite, port).context("the page's server didn't start")?;
    let page = format!("http://127.0.0.1:{port}/");

    if let Some(prompt) = prompt {
        let mut driver = command("node");
        driver.arg("tests/e2e/headless-demo.mjs").args(["--page", &page, "--hub", &endpoint]);
        driver.args(["--model", &model, "--prompt", &prompt]);
        driver.env("CHROME_PATH", setup::chromium().unwrap_or_default());
        Service::start(&mut driver)?.wait().context("the headless demo failed")?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nhub   {endpoint}\npage  {page}?endpoint={endpoint}&model={model}\n\nCtrl-C ends both.");
    server.wait()?;
    Ok(ExitCode::SUCCESS)
}
