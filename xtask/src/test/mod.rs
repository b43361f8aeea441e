//! `cargo xtask test`: every runner in turn, one line at the end.

mod suites;
mod tally;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::build::{self, Mode};
use crate::process::{display, tee};
use crate::setup::{self, Need};
use suites::{SUITES, Suite};
use tally::{Counts, Tally};

/// A suite that takes longer hangs. The browser suite takes a third of it on two slow cores without a GPU.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// What `cargo xtask test <group>` accepts.
pub fn group_names() -> Vec<&'static str> {
    let mut names: Vec<_> = SUITES.iter().flat_map(|suite| [suite.group, suite.name]).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Runs the groups that are named before `--` (all if none is), with the words after it as the runners' filter.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut parts = args.splitn(2, |arg| arg == "--");
    let groups = parts.next().unwrap_or_default();
    let filter = parts.next().unwrap_or_default();
    if let Some(unknown) = groups.iter().find(|group| !group_names().contains(&group.as_str())) {
        bail!("no test group `{unknown}`; there are: {}", group_names().join(", "));
    }
    let chosen: Vec<&Suite> = SUITES
        .iter()
        .filter(|suite| groups.is_empty() || groups.iter().any(|group| group == suite.group || group == suite.name))
        .collect();

    let started = Instant::now();
    let mut needs: Vec<Need> = chosen.iter().flat_map(|suite| suite.needs).copied().collect();
    if chosen.iter().any(|suite| suite.built) {
        needs.extend([Need::Rust, Need::WasmBindgen, Need::Npm]);
    }
    let ready = setup::ensure(&needs);
    let missing: Vec<(Need, String)> =
        ready.into_iter().filter_map(|(need, result)| Some((need, format!("{:#}", result.err()?)))).collect();
    let mut rows = vec![("set-up".to_owned(), Counts::default(), started.elapsed())];
    for (need, error) in &missing {
        eprintln!("xtask: {need:?} is missing: {error}");
    }

    let started = Instant::now();
    let mut unbuilt = None;
    if chosen.iter().any(|suite| suite.built) {
        unbuilt = build::build(Mode::Release).err().map(|error| format!("the build failed: {error:#}"));
        if let Some(error) = &unbuilt {
            eprintln!("xtask: {error}");
        }
        rows.push(("build".to_owned(), Counts::default(), started.elapsed()));
    }

    let mut total = Counts::default();
    for suite in chosen {
        let started = Instant::now();
        let lacks = missing.iter().find(|(need, _)| suite.needs.contains(need));
        let counts = match (lacks, &unbuilt) {
            (Some((need, _)), _) => failed(suite, &format!("{need:?} is missing")),
            (None, Some(error)) if suite.built => failed(suite, error),
            _ => run_suite(suite, filter).unwrap_or_else(|error| failed(suite, &format!("{error:#}"))),
        };
        total += counts;
        rows.push((suite.name.to_owned(), counts, started.elapsed()));
    }

    println!("\n{:<14} {:>7} {:>7} {:>7} {:>8}", "", "passed", "failed", "skipped", "seconds");
    for (name, counts, took) in rows {
        let Counts { passed, failed, skipped } = counts;
        println!("{name:<14} {passed:>7} {failed:>7} {skipped:>7} {:>8.1}", took.as_secs_f64());
    }
    println!();
    let skipped = if total.skipped > 0 { format!(", {} skipped", total.skipped) } else { String::new() };
    println!("{} passed, {} failed{skipped}", total.passed, total.failed);
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_suite(suite: &Suite, filter: &[String]) -> Result<Counts> {
    // Whatever runs beside the suite, such as the hub, ends with it.
    let (mut command, _beside) = (suite.command)(filter)?;
    println!("\n── {} ── {}", suite.name, display(&command));
    let mut tally = Tally::new(suite.runner);
    let status = tee(&mut command, LIMIT, |line| tally.line(line))?;
    Ok(tally.finish(status.success()))
}

fn failed(suite: &Suite, reason: &str) -> Counts {
    eprintln!("xtask: {}: not run, counted as failed: {reason}", suite.name);
    Counts { failed: 1, ..Counts::default() }
}
