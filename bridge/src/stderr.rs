//! Decides how much of what a child writes to stderr the operator reads: lines of a bounded length, a long
//! trace of them at once, and few in the long run. The rest is read, too, and counted: no child shall have to
//! wait because it complains.

use std::time::{Duration, Instant};

use tokio::process::ChildStderr;

use crate::lines::{Line, Lines};

/// The longest line that is logged whole.
const LONGEST: usize = 4 << 10;

/// Lines at once: what a server says in detail when it starts, or a deep trace.
const AT_ONCE: u32 = 1_000;

/// After this long there may be one line more: of ordinary ones about a hundred megabytes a day.
const REGAIN: Duration = Duration::from_millis(100);

/// Logs what a child writes to stderr, to its end.
///
/// # Cancel safety
///
/// What was not read is not logged.
pub(crate) async fn log(stderr: ChildStderr, session: &str, pid: Option<u32>) {
    let mut lines = Lines::new(stderr, LONGEST);
    let mut allowance = Allowance { left: AT_ONCE, counted: Instant::now() };
    let mut left_out = 0u64;
    let mut last = None;
    let say = |line| {
        let (line, rest) = match line {
            Line::Whole(line) => (line, ""),
            Line::TooLong(line) => (line, " (and more)"),
        };
        // Quoted, so that it can neither pass for a line of the bridge's nor steer a terminal.
        let text = String::from_utf8_lossy(&line);
        tracing::info!(%session, pid, "stderr: {:?}{rest}", text.trim_end());
    };
    // The last of them is said all the same: it may be the reason of an end.
    let make_up = |left_out: u64, last: Line| {
        if left_out > 0 {
            tracing::warn!(%session, pid, "stderr: {left_out} lines were left out, because there were so many");
        }
        say(last);
    };
    while let Ok(Some(line)) = lines.next().await {
        if !allowance.take(Instant::now()) {
            left_out += u64::from(last.replace(line).is_some());
            continue;
        }
        if let Some(last) = last.take() {
            make_up(std::mem::take(&mut left_out), last);
        }
        say(line);
    }
    if let Some(last) = last {
        make_up(left_out, last);
    }
}

/// How many lines may be logged.
struct Allowance {
    left: u32,
    /// What became free until then is counted.
    counted: Instant,
}

impl Allowance {
    /// Whether one line more may be.
    fn take(&mut self, now: Instant) -> bool {
        let regained = now.duration_since(self.counted).as_millis() / REGAIN.as_millis();
        if regained > 0 {
            self.left = self.left.saturating_add(u32::try_from(regained).unwrap_or(AT_ONCE)).min(AT_ONCE);
            self.counted = now;
        }
        self.left.checked_sub(1).map(|left| self.left = left).is_some()
    }
}
