//! Processes: runs a server pinned to one processor, and reads its use of resources from the
//! kernel.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// The processors of the server and of the load generator.
pub(crate) const SERVER_CPU: usize = 0;
pub(crate) const LOAD_CPU: usize = 1;

/// Long enough for an interpreter under valgrind.
const READY_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// A running server. Dropping this value kills it.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    /// The lines that the server prints.
    lines: Receiver<String>,
    pub(crate) address: SocketAddr,
    /// A tool writes its counts when the server ends.
    counted_by_tool: bool,
    /// The server, if the child is strace. Killing strace would leave the server behind.
    traced: Option<Pid>,
}

/// The tool that a server runs under.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Under<'a> {
    Nothing,
    /// Writes the number of instructions to the file.
    Callgrind(&'a Path),
    /// Writes a table of system calls to the file.
    Strace(&'a Path),
}

impl Process {
    /// Starts a server and waits until it listens.
    pub(crate) fn start(command: &[String], under: Under<'_>) -> Result<Self> {
        let mut line = vec!["taskset".to_owned(), "--cpu-list".to_owned(), SERVER_CPU.to_string()];
        match under {
            Under::Nothing => {}
            Under::Callgrind(log) => line.extend([
                "valgrind".to_owned(),
                "--tool=callgrind".to_owned(),
                "--callgrind-out-file=/dev/null".to_owned(),
                format!("--log-file={}", log.display()),
            ]),
            Under::Strace(table) => {
                line.extend(["strace", "-f", "-c", "-o"].map(str::to_owned));
                line.push(table.display().to_string());
            }
        }
        line.extend_from_slice(command);
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", line.join(" ")))?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let counted_by_tool = !matches!(under, Under::Nothing);
        let address = ([0, 0, 0, 0], 0).into();
        let mut process = Self { child, stdin, lines, address, counted_by_tool, traced: None };
        process.address = process.ready().with_context(|| command.join(" "))?;
        if let Under::Strace(_) = under {
            process.traced = Some(process.only_child()?);
        }
        Ok(process)
    }

    fn ready(&self) -> Result<SocketAddr> {
        let until = Instant::now() + READY_WITHIN;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if let Some(url) = line.strip_prefix("listening on http://") {
                return url.trim_end_matches("/mcp").parse().context("no address in its line");
            }
        }
        bail!("it did not say where it listens")
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn only_child(&self) -> Result<Pid> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid()))?;
        Ok(Pid::from_raw(children.trim().parse().context("strace has not one child")?))
    }

    /// Returns the processor time of all its threads so far, in user and system mode.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let clock: ClockId = clock_getcpuclockid(self.pid())?;
        Ok(clock.now()?.into())
    }

    /// Returns its anonymous resident memory, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// Returns the allocations and allocated bytes so far, if the server counts them.
    pub(crate) fn allocations(&mut self) -> Result<(u64, u64)> {
        self.stdin.write_all(b"\n")?;
        let line = self.lines.recv_timeout(Duration::from_secs(5)).context("it does not count")?;
        let (count, bytes) = line.split_once(' ').context("not two numbers")?;
        Ok((count.parse()?, bytes.parse()?))
    }

    /// Ends the server, and fails if it has ended already. The server is asked to end, and waited
    /// for, only if a tool has to write its counts: how servers end their sessions is not compared.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended by itself: {status}");
        }
        if !self.counted_by_tool {
            return Ok(());
        }
        kill(self.traced.unwrap_or(self.pid()), Signal::SIGTERM)?;
        let until = Instant::now() + STOP_WITHIN;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("the server did not end");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A server that cannot be killed is ignored. While strace runs, the traced process exists
        // too and owns this id.
        if let (Some(traced), Ok(None)) = (self.traced, self.child.try_wait()) {
            let _ = kill(traced, Signal::SIGKILL);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
