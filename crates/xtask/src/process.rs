//! Child processes that end when they should.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(25);

/// How long a process may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);

/// A server that was started here, and is stopped when this is dropped.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
    stop_signal: Signal,
    log: PathBuf,
}

impl Server {
    /// Starts a command whose output goes to a file. It gets a process group of
    /// its own, so that Ctrl-C in the terminal reaches only `cargo xtask`, which
    /// stops things in their order.
    ///
    /// # Errors
    ///
    /// When the command can't be started or the file not be written.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        log: &Path,
        stop_signal: Signal,
    ) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt;
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("can't write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start {name}"))?;
        Ok(Self { name, child, stop_signal, log: log.to_path_buf() })
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    ///
    /// When the process ends, or is not ready in time; with the end of its log.
    pub fn wait_until(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}; the end of its log:\n{}", self.name, self.log_end());
            }
            if started.elapsed() > limit {
                bail!(
                    "{} is not ready after {} seconds; the end of its log:\n{}",
                    self.name,
                    limit.as_secs(),
                    self.log_end()
                );
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(self.pid()?, signal)?)
    }

    /// The number by which the system knows the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When it does not end within the given time.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                bail!("{} did not end within {} seconds", self.name, limit.as_secs());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Asks it to stop, and waits for it.
    ///
    /// # Errors
    ///
    /// When it does not stop in time; then it is killed.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal(self.stop_signal)?;
        let stopped = self.wait(STOP_TIMEOUT);
        if stopped.is_err() {
            self.child.kill()?;
            self.child.wait()?;
        }
        stopped.map(drop)
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("xtask: {error:#}");
        }
    }
}

/// Runs a command to its end. All that it writes goes to standard error:
/// standard output is for what `cargo xtask` itself has to say.
///
/// # Errors
///
/// When it can't be started or fails.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    run_verbatim(command.stdout(std::io::stderr()))
}

/// The same, with the command's standard output as ours.
///
/// # Errors
///
/// When it can't be started or fails.
pub fn run_verbatim(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("can't start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}

/// Runs a command to its end and returns what it wrote to standard output.
///
/// # Errors
///
/// When it can't be started or fails; with what it wrote to standard error.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("can't start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}:\n{}",
            command.get_program().display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A port of 127.0.0.1 that nobody listens on now.
///
/// # Errors
///
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether `GET path` is answered with 200.
#[must_use]
pub fn answers_ok(address: &str, path: &str) -> bool {
    get(address, path).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

/// The whole answer to `GET path`, head and body, of a server on this machine.
///
/// # Errors
///
/// When nobody answers.
pub fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
