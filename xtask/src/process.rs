//! Running other programs: one environment for all of them, and none left behind.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Process groups that must not outlive this program.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Everything that is downloaded or built once lies here, outside git.
pub fn cache() -> PathBuf {
    root().join(".cache")
}

/// A command in the repository's root that sees the project's own tools and a software Vulkan driver where there is one.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("PATH", search_path());
    // Output that is read on its way would lose its colours.
    if std::io::stdout().is_terminal() {
        command.env("FORCE_COLOR", "1").env("CARGO_TERM_COLOR", "always");
    }
    if std::env::var_os("VK_DRIVER_FILES").is_none()
        && let Some(icd) = crate::setup::lavapipe_icd()
    {
        command.env("VK_DRIVER_FILES", icd);
    }
    command
}

/// The cargo that runs this program.
pub fn cargo() -> Command {
    command(option_env!("CARGO").unwrap_or("cargo"))
}

fn search_path() -> OsString {
    let own = [cache().join("tools/bin"), root().join("node_modules/.bin")];
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(own.into_iter().chain(std::env::split_paths(&inherited))).unwrap_or(inherited)
}

/// Where a program lies, as [`command`] would find it.
pub fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The command as one would type it.
pub fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs with this program's own output; fails unless it exits with 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("can't start `{}`", display(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", display(command));
    }
    Ok(())
}

/// Runs without showing its output, which is returned (stdout), or is in the error (the end of both).
pub fn quiet(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("can't start `{}`", display(command)))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let all = stdout + &String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = all.lines().collect();
        let tail = lines[lines.len().saturating_sub(120)..].join("\n");
        bail!("`{}` ended with {}:\n{tail}", display(command), output.status);
    }
    Ok(stdout)
}

/// Runs and gives each line of the output to `on_line`, without its colours; with `shown` it is shown too.
///
/// After `limit` it is killed and reported as failed. Whatever it started is killed when it ends.
pub fn tee(
    command: &mut Command,
    limit: Duration,
    shown: bool,
    on_line: impl FnMut(&str) + Send,
) -> Result<ExitStatus> {
    let mut service = Service::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let on_line = Mutex::new(on_line);
    let (stdout, stderr) = (service.child.stdout.take(), service.child.stderr.take());
    std::thread::scope(|scope| {
        let [out, err]: [Box<dyn Write + Send>; 2] = match shown {
            true => [Box::new(std::io::stdout()), Box::new(std::io::stderr())],
            false => [Box::new(std::io::sink()), Box::new(std::io::sink())],
        };
        scope.spawn(|| stdout.map(|pipe| copy_lines(pipe, out, &on_line)));
        scope.spawn(|| stderr.map(|pipe| copy_lines(pipe, err, &on_line)));
        let started = Instant::now();
        let status = loop {
            match service.child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if started.elapsed() > limit => {
                    eprintln!("xtask: `{}` took over {} minutes: killed", display(command), limit.as_secs() / 60);
                    break Ok(ExitStatus::from_raw(9));
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(50)),
                Err(error) => break Err(error),
            }
        };
        // The readers end only when nobody holds the pipes any more.
        drop(service);
        Ok(status?)
    })
}

fn copy_lines(pipe: impl Read, mut to: impl Write, on_line: &Mutex<impl FnMut(&str)>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        if let Ok(mut on_line) = on_line.lock() {
            // A closed terminal is no reason to lose count of the tests.
            let _ = to.write_all(&line);
            let _ = to.flush();
            on_line(without_colours(&String::from_utf8_lossy(&line)).trim_end());
        }
        line.clear();
    }
}

/// Removes ANSI's escape sequences of the form `ESC [ … letter`.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

/// A program in the background, killed with all it started when this is dropped.
pub struct Service {
    child: Child,
}

impl Service {
    /// Starts it in a process group of its own, without an input.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start `{}`", display(command)))?;
        if let Ok(mut groups) = GROUPS.lock() {
            groups.push(child.id());
        }
        Ok(Self { child })
    }

    /// Starts a server and waits until it accepts connections on its loopback port.
    pub fn listening(command: &mut Command, port: u16) -> Result<Self> {
        let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        if answers() {
            bail!("port {port} is taken by another program");
        }
        let mut service = Self::start(command)?;
        let started = Instant::now();
        while !answers() {
            if let Some(status) = service.child.try_wait()? {
                bail!("the server for port {port} ended with {status}");
            }
            if started.elapsed() > Duration::from_secs(60) {
                bail!("nothing listens on port {port} after a minute");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(service)
    }

    /// Waits until it ends by itself; fails unless it exits with 0.
    pub fn wait(mut self) -> Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("it ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        kill_group(self.child.id(), "KILL");
        let _ = self.child.wait();
        if let Ok(mut groups) = GROUPS.lock() {
            groups.retain(|&id| id != self.child.id());
        }
    }
}

/// On Ctrl-C and on SIGTERM, ends the children's groups and then this program.
pub fn kill_children_on_signals() {
    let installed = ctrlc::set_handler(|| {
        if let Ok(groups) = GROUPS.lock() {
            groups.iter().for_each(|&id| kill_group(id, "TERM"));
        }
        std::process::exit(130);
    });
    if let Err(error) = installed {
        eprintln!("xtask: Ctrl-C may leave servers running: {error}");
    }
}

fn kill_group(id: u32, signal: &str) {
    // The shell's own `kill`: a minimal system has no other.
    let kill = format!("kill -{signal} -{id} 2>/dev/null");
    let _ = Command::new("sh").args(["-c", &kill]).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_removed() {
        assert_eq!(without_colours("\u{1b}[32mtest result: ok\u{1b}[0m. 1"), "test result: ok. 1");
    }

    #[test]
    fn what_a_child_leaves_running_does_not_hold_up_its_reader() {
        let mut lines = Vec::new();
        let mut leaving = command("sh");
        leaving.args(["-c", "sleep 600 & echo started"]);
        let status = tee(&mut leaving, Duration::from_secs(60), true, |line| lines.push(line.to_owned()));
        assert!(status.expect("sh starts").success());
        assert_eq!(lines, ["started"]);
    }
}
