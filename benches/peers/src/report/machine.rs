//! The machine of a run, which the report describes because times depend on it.

use std::fs;
use std::process::Command;

/// The machine that the figures were measured on.
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    memory: String,
    kernel: String,
    rustc: String,
    revision: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        Self {
            processor: line("/proc/cpuinfo", "model name"),
            processors,
            memory: memory(),
            kernel: read("/proc/sys/kernel/osrelease"),
            rustc: said("rustc", &["--version"]),
            revision: revision(),
        }
    }

    /// Returns the commit of this crate that was measured.
    pub(crate) fn revision(&self) -> &str {
        &self.revision
    }

    /// Returns a paragraph about the machine.
    pub(super) fn describe(&self) -> String {
        let Self { processor, processors, memory, kernel, rustc, revision } = self;
        format!("{processor}, {processors} processors, {memory}, Linux {kernel}, {rustc}, mcp-http at {revision}.")
    }
}

fn revision() -> String {
    const CRATE: [&str; 4] = ["--", ":/src", ":/Cargo.toml", ":/Cargo.lock"];
    let git = |arguments: &[&str]| said("git", &[arguments, &CRATE].concat());
    let changed = if git(&["status", "--porcelain"]).is_empty() { "" } else { ", changed" };
    git(&["log", "-1", "--format=%h"]) + changed
}

fn memory() -> String {
    let total = line("/proc/meminfo", "MemTotal");
    let kib: Option<f64> = total.strip_suffix(" kB").and_then(|kib| kib.parse().ok());
    kib.map_or(total, |kib| format!("{:.0} GiB of memory", kib / f64::from(1 << 20)))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Returns the value after a name in a file of the kernel.
fn line(path: &str, name: &str) -> String {
    let text = read(path);
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    found.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| format!("no {program}"), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
