//! Counting tests from what their runners print.

use std::ops::AddAssign;

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Which program's summary to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// The exit status is the one test.
    Check,
    /// libtest's and wasm-bindgen-test's `test result: ok. 3 passed; 0 failed; …`, one for each test binary.
    Cargo,
    /// node:test's `pass 3`, `fail 0`, … behind `# ` or `ℹ `.
    Node,
    /// Vitest's `Tests  1 failed | 3 passed (4)`.
    Vitest,
}

/// Reads a runner's output line by line.
pub struct Tally {
    runner: Runner,
    counts: Counts,
    /// Test binaries that were started, and summaries that were seen.
    started: usize,
    summaries: usize,
}

impl Tally {
    pub fn new(runner: Runner) -> Self {
        Self { runner, counts: Counts::default(), started: 0, summaries: 0 }
    }

    pub fn line(&mut self, line: &str) {
        let line = line.trim();
        match self.runner {
            Runner::Check => {}
            Runner::Cargo => self.cargo_line(line),
            Runner::Node => self.node_line(line),
            Runner::Vitest => self.vitest_line(line),
        }
    }

    fn cargo_line(&mut self, line: &str) {
        if line.starts_with("Running ") && line.ends_with(')') || line.starts_with("Doc-tests ") {
            self.started += 1;
        } else if line == "no tests to run!" {
            self.summaries += 1;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.summaries += 1;
            // `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
            let (_, counts) = result.split_once(". ").unwrap_or_default();
            for count in counts.split(';') {
                self.add(count);
            }
        }
    }

    fn node_line(&mut self, line: &str) {
        let Some((name, count)) = line.strip_prefix("# ").or(line.strip_prefix("ℹ ")).and_then(|l| l.split_once(' '))
        else {
            return;
        };
        let Ok(count) = count.parse::<usize>() else { return };
        match name {
            "tests" => self.summaries += 1,
            "pass" => self.counts.passed += count,
            "fail" | "cancelled" => self.counts.failed += count,
            "skipped" | "todo" => self.counts.skipped += count,
            _ => {}
        }
    }

    fn vitest_line(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("Tests ").and_then(|rest| rest.rsplit_once(" (")) else { return };
        self.summaries += 1;
        for count in counts.0.split('|') {
            self.add(count);
        }
    }

    /// Adds one of `3 passed`, `1 failed`, `2 ignored`, …
    fn add(&mut self, count: &str) {
        let Some((number, what)) = count.trim().split_once(' ') else { return };
        let Ok(number) = number.parse::<usize>() else { return };
        match what {
            "passed" => self.counts.passed += number,
            "failed" => self.counts.failed += number,
            "ignored" | "skipped" | "todo" => self.counts.skipped += number,
            _ => {}
        }
    }

    /// The counts, once the runner has ended. One that died or gave no summary has failed, whatever it said before.
    pub fn finish(self, success: bool) -> Counts {
        let mut counts = self.counts;
        if self.runner == Runner::Check {
            if success {
                counts.passed += 1
            } else {
                counts.failed += 1
            }
            return counts;
        }
        counts.failed += self.started.saturating_sub(self.summaries);
        if counts.failed == 0 && (!success || self.summaries == 0) {
            counts.failed = 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(runner: Runner, output: &str, success: bool) -> (usize, usize, usize) {
        let mut tally = Tally::new(runner);
        output.lines().for_each(|line| tally.line(line));
        let counts = tally.finish(success);
        (counts.passed, counts.failed, counts.skipped)
    }

    const TWO_BINARIES: &str = "
     Running unittests src/lib.rs (target/debug/deps/layerline-0123)
running 3 tests
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s
   Doc-tests layerline
test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.50s";

    #[test]
    fn cargo_sums_its_binaries() {
        assert_eq!(count(Runner::Cargo, TWO_BINARIES, false), (6, 2, 1));
    }

    #[test]
    fn a_binary_that_dies_counts_as_a_failure_beside_the_others() {
        let died =
            format!("{TWO_BINARIES}\n     Running tests/gpu.rs (target/debug/deps/gpu-4567)\nSegmentation fault");
        assert_eq!(count(Runner::Cargo, &died, false), (6, 3, 1));
    }

    #[test]
    fn a_binary_without_browser_tests_is_no_failure() {
        let none = "     Running unittests src/lib.rs (target/wasm32/x.wasm)\nno tests to run!";
        assert_eq!(count(Runner::Cargo, none, true), (0, 0, 0));
    }

    #[test]
    fn no_summary_is_a_failure() {
        for runner in [Runner::Cargo, Runner::Node, Runner::Vitest] {
            assert_eq!(count(runner, "error: could not compile", false), (0, 1, 0));
            assert_eq!(count(runner, "", true), (0, 1, 0));
        }
    }

    #[test]
    fn a_failure_that_no_summary_admits_still_counts() {
        let passed = "# tests 1\n# pass 1\n# fail 0";
        assert_eq!(count(Runner::Node, passed, false), (1, 1, 0));
    }

    #[test]
    fn node_in_both_of_its_reports() {
        assert_eq!(
            count(Runner::Node, "# tests 4\n# suites 1\n# pass 2\n# fail 1\n# cancelled 0\n# skipped 1", false),
            (2, 1, 1)
        );
        assert_eq!(
            count(Runner::Node, "ℹ tests 2\nℹ pass 1\nℹ fail 0\nℹ cancelled 1\nℹ duration_ms 7.5", false),
            (1, 1, 0)
        );
    }

    #[test]
    fn vitest() {
        let output = " Test Files  1 failed | 2 passed (3)\n      Tests  1 failed | 7 passed | 2 skipped (10)\n";
        assert_eq!(count(Runner::Vitest, output, false), (7, 1, 2));
    }

    #[test]
    fn a_check_is_one_test() {
        assert_eq!(count(Runner::Check, "", true), (1, 0, 0));
        assert_eq!(count(Runner::Check, "", false), (0, 1, 0));
    }
}
