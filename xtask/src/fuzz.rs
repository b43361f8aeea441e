//! The parsers that read what strangers wrote, under libFuzzer, each for a bounded time.

use anyhow::{Context, Result, bail};

use crate::flags;
use crate::process::{cargo, root, run};
use crate::setup;

/// Long enough to get beyond what the seeds themselves reach.
const SECONDS: u32 = 60;
/// A checkpoint's headers are small; larger inputs only slow libFuzzer down.
const MAX_LEN: usize = 40_000;

/// `[--seconds N] [target…]`
pub fn run_all(args: &[String]) -> Result<()> {
    let (named, rest): (Vec<_>, Vec<_>) = split(args);
    let [seconds] = flags::values(&rest, ["--seconds"])?;
    let seconds =
        seconds.map_or(Ok(SECONDS), |n| n.parse().with_context(|| format!("`{n}` is no number of seconds")))?;
    let all = targets()?;
    if let Some(unknown) = named.iter().find(|name| !all.contains(name)) {
        bail!("no fuzz target `{unknown}`; there are {}", all.join(", "));
    }
    setup::cargo_fuzz()?;
    for target in if named.is_empty() { &all } else { &named } {
        let corpus = root().join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus).with_context(|| format!("can't make {}", corpus.display()))?;
        let mut fuzz = cargo();
        fuzz.args(["fuzz", "run", target]).arg(corpus).arg(root().join("fuzz/seeds").join(target)).arg("--");
        fuzz.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={MAX_LEN}"));
        // What is slower or larger than this has gone astray.
        fuzz.args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        // The sanitizers' flags are a nightly compiler's; this one takes them where it is told so.
        fuzz.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", root().join("target/fuzz"));
        run(&mut fuzz)?;
    }
    Ok(())
}

/// Names, and flags with their values.
fn split(args: &[String]) -> (Vec<String>, Vec<String>) {
    let mut value = false;
    args.iter().cloned().partition(|arg| {
        let flag = arg.starts_with("--");
        let name = !flag && !value;
        value = flag;
        name
    })
}

/// One file a target.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let files = std::fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}
