//! The two wasm files, the npm package around them, and the demo page.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::process::{cargo, command, quiet, root, run};
use crate::setup::{self, Need};
use crate::stamp::Inputs;

const TARGET: &str = "wasm32-unknown-unknown";

/// How the wasm is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it is published.
    Release,
    /// In seconds, with function names in stack traces.
    Dev,
}

impl Mode {
    pub fn from_args(args: &[String]) -> Result<Self> {
        match args {
            [] => Ok(Mode::Release),
            [dev] if dev == "--dev" => Ok(Mode::Dev),
            _ => bail!("`build` knows only --dev"),
        }
    }
}

/// One of the wasm files: a cargo feature of its own, and so a file that is loaded only where it is wanted.
struct Wasm {
    feature: &'static str,
    /// The cargo profile of [`Mode::Release`].
    profile: &'static str,
    wasm_opt: &'static str,
}

const WASM: [Wasm; 2] = [
    Wasm { feature: "engine", profile: "release", wasm_opt: "-O3" },
    Wasm { feature: "text", profile: "release-text", wasm_opt: "-Oz" },
];

/// What `.cargo/config.toml` turns on: stripping removes the section by which wasm-opt would know.
const WASM_OPT_FEATURES: [&str; 8] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-reference-types",
];

impl Wasm {
    fn folder(&self) -> PathBuf {
        root().join("js/wasm").join(self.feature)
    }

    fn file(&self) -> PathBuf {
        self.folder().join(format!("{}_bg.wasm", self.feature))
    }

    /// Where it lies then.
    fn compile(&self, mode: Mode) -> Result<PathBuf> {
        let profile = if mode == Mode::Dev { "dev" } else { self.profile };
        let mut rustc = cargo();
        // The cdylib alone: with an rlib beside it, link-time optimisation would be left out.
        rustc.args(["rustc", "--package", "layerline", "--lib", "--crate-type", "cdylib", "--profile", profile]);
        rustc.args(["--target", TARGET, "--no-default-features", "--features", self.feature]);
        run(&mut rustc)?;
        let profile_folder = if mode == Mode::Dev { "debug" } else { self.profile };
        Ok(target_folder().join(TARGET).join(profile_folder).join("layerline.wasm"))
    }

    fn finish(&self, mode: Mode, compiled: &Path) -> Result<()> {
        let profile = if mode == Mode::Dev { "dev" } else { self.profile };
        let versions = [setup::wasm_bindgen_version()?, format!("{profile} {} {WASM_OPT_FEATURES:?}", self.wasm_opt)];
        let inputs = Inputs::new(&[&versions[0], &versions[1]]).path(compiled)?;
        inputs.path(&root().join("package.json"))?.when_changed(&format!("wasm-{}", self.feature), &self.file(), || {
            self.bindgen(compiled)?;
            if mode == Mode::Release { self.optimise() } else { Ok(()) }
        })
    }

    fn bindgen(&self, compiled: &Path) -> Result<()> {
        eprintln!("build: wasm-bindgen {}", self.feature);
        let mut bindgen = command("wasm-bindgen");
        bindgen.args(["--target", "web", "--out-name", self.feature, "--out-dir"]).arg(self.folder()).arg(compiled);
        quiet(&mut bindgen).map(drop)
    }

    fn optimise(&self) -> Result<()> {
        let started = Instant::now();
        let optimised = self.file().with_extension("wasm.optimised");
        let mut wasm_opt = command("wasm-opt");
        wasm_opt.args(WASM_OPT_FEATURES).arg(self.wasm_opt).arg(self.file()).arg("-o").arg(&optimised);
        quiet(&mut wasm_opt)?;
        fs::rename(&optimised, self.file())?;
        eprintln!("build: wasm-opt {} in {} s", self.feature, started.elapsed().as_secs());
        Ok(())
    }
}

/// Builds all of it; what hasn't changed is not built again.
pub fn build(mode: Mode) -> Result<()> {
    setup::ensure_all(&[Need::Rust, Need::WasmBindgen, Need::Npm])?;
    relaxed()?;
    wasm(mode)?;
    package("js", &[])?;
    package("www", &["js"])
}

/// Builds the loops with relaxed-simd, which work in the engine's memory: a few kilobytes, which are a text in a script of the package.
fn relaxed() -> Result<()> {
    let mut rustc = cargo();
    rustc.args(["rustc", "--package", "relaxed", "--lib", "--release", "--target", TARGET, "--"]);
    run(rustc.args(["-Ctarget-feature=+relaxed-simd", "-Clink-arg=--import-memory"]))?;
    let compiled = target_folder().join(TARGET).join("release/relaxed.wasm");
    let folder = root().join("js/wasm/relaxed");
    let script = folder.join("relaxed.js");
    let inputs = Inputs::new(&[&format!("{WASM_OPT_FEATURES:?}")]).path(&compiled)?;
    inputs.path(&root().join("package.json"))?.when_changed("wasm-relaxed", &script, || {
        eprintln!("build: wasm-opt relaxed");
        fs::create_dir_all(&folder)?;
        let optimised = compiled.with_extension("wasm.optimised");
        let wasm_opt = |to: &[&str]| {
            let mut wasm_opt = command("wasm-opt");
            wasm_opt.args(WASM_OPT_FEATURES).args(["--enable-relaxed-simd", "-O3"]).arg(&compiled);
            quiet(wasm_opt.args(to).arg("-o").arg(&optimised))
        };
        wasm_opt(&["-S"])?;
        let text = fs::read_to_string(&optimised)?;
        if let Some(found) = ["(mut ", "(data ", "(table "].iter().find(|found| text.contains(**found)) {
            bail!("relaxed.wasm has `{found}`: a stack or data, which would lie in the engine's");
        }
        wasm_opt(&[])?;
        let bytes: String = fs::read(&optimised)?.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(&script, format!("export const RELAXED = \"{bytes}\";\n"))?;
        fs::write(
            folder.join("relaxed.d.ts"),
            "/** The file's bytes, in hexadecimal. */\nexport const RELAXED: string;\n",
        )?;
        Ok(())
    })
}

/// Builds the wasm files: one is optimised, for half a minute on one core, while the next is compiled.
fn wasm(mode: Mode) -> Result<()> {
    std::thread::scope(|scope| {
        let mut finishing = Vec::new();
        for wasm in &WASM {
            let compiled = wasm.compile(mode)?;
            match mode {
                // Both are compiled to the same file.
                Mode::Dev => wasm.finish(mode, &compiled)?,
                Mode::Release => finishing.push(scope.spawn(move || wasm.finish(mode, &compiled))),
            }
        }
        let joined = finishing.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("a build panicked")));
        joined.collect()
    })
}

/// Builds an npm workspace, which depends on its own files and on those of other workspaces.
fn package(workspace: &str, others: &[&str]) -> Result<()> {
    let mut inputs = Inputs::new(&[]).path(&root().join("package-lock.json"))?;
    if !root().join(workspace).join("package.json").is_file() {
        eprintln!("build: {workspace} isn't there yet: skipped");
        return Ok(());
    }
    for folder in others.iter().chain([&workspace]) {
        inputs = inputs.path(&root().join(folder))?;
    }
    inputs.when_changed(&format!("npm-{workspace}"), &root().join(workspace).join("dist"), || {
        eprintln!("build: npm run build -w {workspace}");
        quiet(command("npm").args(["run", "build", "-w", workspace])).map(drop)
    })
}

/// Prints what each wasm file weighs.
pub fn size() -> Result<()> {
    let files: Vec<PathBuf> = WASM.iter().map(Wasm::file).collect();
    if let Some(missing) = files.iter().find(|file| !file.is_file()) {
        bail!("{} is missing: run `cargo xtask build` first", missing.display());
    }
    run(command("node").arg("benches/wasm_sizes.mjs"))
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}
