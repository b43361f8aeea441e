//! `cargo xtask test`: every runner in turn, one line at the end.

mod suites;
mod tally;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::build::{self, Mode};
use crate::hub;
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
    let chosen: Vec<&'static Suite> = SUITES
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
    for round in rounds(&chosen) {
        let ports = round.iter().filter_map(|suite| suite.hub).filter(|_| suites::hub_address().is_none());
        let hubs: Result<Vec<_>> = ports.map(hub::start).collect();
        let started = Instant::now();
        let one = |suite: &Suite, is_first: bool| {
            let lacks = missing.iter().find(|(need, _)| suite.needs.contains(need));
            let counts = match (lacks, &unbuilt, &hubs) {
                (Some((need, _)), _, _) => failed(suite, &format!("{need:?} is missing")),
                (None, Some(error), _) if suite.built => failed(suite, error),
                (None, _, Err(error)) => failed(suite, &format!("{error:#}")),
                _ => run_suite(suite, filter, is_first).unwrap_or_else(|error| failed(suite, &format!("{error:#}"))),
            };
            (suite.name.to_owned(), counts, started.elapsed())
        };
        let done: Vec<_> = std::thread::scope(|scope| {
            let run = |(nth, suite): (usize, &&'static Suite)| {
                let suite: &'static Suite = suite;
                let one = &one;
                scope.spawn(move || one(suite, nth == 0))
            };
            let running: Vec<_> = round.iter().enumerate().map(run).collect();
            running.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        // A thread that panicked has no counts.
        total.failed += round.len() - done.len();
        done.iter().for_each(|(_, counts, _)| total += *counts);
        rows.extend(done);
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

/// Suites that run at a time.
fn rounds(chosen: &[&'static Suite]) -> Vec<Vec<&'static Suite>> {
    let mut rounds: Vec<Vec<&'static Suite>> = Vec::new();
    for suite in chosen {
        match rounds.last_mut() {
            Some(round) if suite.beside => round.push(suite),
            _ => rounds.push(vec![suite]),
        }
    }
    rounds
}

/// Runs a suite. The first of a round shows what it prints as it comes, the others when they have ended.
fn run_suite(suite: &Suite, filter: &[String], is_first: bool) -> Result<Counts> {
    let mut command = (suite.command)(filter)?;
    let title = format!("\n── {} ── {}", suite.name, display(&command));
    if is_first {
        println!("{title}");
    }
    let mut tally = Tally::new(suite.runner);
    let mut kept = vec![title];
    let status = tee(&mut command, LIMIT, is_first, |line| {
        tally.line(line);
        if !is_first {
            kept.push(line.to_owned());
        }
    });
    if !is_first {
        println!("{}", kept.join("\n"));
    }
    Ok(tally.finish(status?.success()))
}

fn failed(suite: &Suite, reason: &str) -> Counts {
    eprintln!("xtask: {}: not run, counted as failed: {reason}", suite.name);
    Counts { failed: 1, ..Counts::default() }
}
