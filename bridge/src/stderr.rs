//! The stderr of a process: logs its lines with a limited length and rate. Lines beyond the rate
//! are read and counted, so that logging never blocks the process.

use std::time::{Duration, Instant};

use tokio::process::ChildStderr;

use crate::lines::{Line, Lines};

/// Longest line that is logged whole.
const MAX_LINE_BYTES: usize = 4 << 10;

/// Lines that may be logged at once: detailed start-up output, or a deep stack trace.
const MAX_BURST: u32 = 1_000;

/// Time after which one more line may be logged: about 100 MB of ordinary lines a day.
const REFILL_INTERVAL: Duration = Duration::from_millis(100);

/// Logs what a process writes to stderr, until the stream ends.
///
/// # Cancel safety
///
/// If this future is dropped, lines that were not read yet are not logged.
pub(crate) async fn log(stderr: ChildStderr, session: &str, pid: Option<u32>) {
    let mut lines = Lines::new(stderr, MAX_LINE_BYTES);
    let mut rate = RateLimit { tokens: MAX_BURST, refilled_at: Instant::now() };
    let mut dropped = 0u64;
    let mut last = None;
    let log_line = |line| {
        let (line, rest) = match line {
            Line::Whole(line) => (line, ""),
            Line::TooLong(line) => (line, " (truncated)"),
        };
        // Quoted and escaped, so that it can neither look like a log line of the bridge nor control
        // a terminal.
        let text = String::from_utf8_lossy(&line);
        tracing::info!(%session, pid, "stderr: {:?}{rest}", text.trim_end());
    };
    // The last suppressed line is always logged: it may say why the process ended.
    let log_suppressed = |dropped: u64, last: Line| {
        if dropped > 0 {
            tracing::warn!(%session, pid, "stderr: dropped {dropped} lines, more than 10 a second");
        }
        log_line(last);
    };
    while let Ok(Some(line)) = lines.next().await {
        if !rate.try_acquire(Instant::now()) {
            dropped += u64::from(last.replace(line).is_some());
            continue;
        }
        if let Some(last) = last.take() {
            log_suppressed(std::mem::take(&mut dropped), last);
        }
        log_line(line);
    }
    if let Some(last) = last {
        log_suppressed(dropped, last);
    }
}

/// A token bucket: one token for each line.
struct RateLimit {
    tokens: u32,
    refilled_at: Instant,
}

impl RateLimit {
    /// Takes a token. Returns `false` if none is left.
    fn try_acquire(&mut self, now: Instant) -> bool {
        let refill = now.duration_since(self.refilled_at).as_millis() / REFILL_INTERVAL.as_millis();
        if refill > 0 {
            self.tokens = self.tokens.saturating_add(u32::try_from(refill).unwrap_or(MAX_BURST)).min(MAX_BURST);
            self.refilled_at = now;
        }
        self.tokens.checked_sub(1).map(|tokens| self.tokens = tokens).is_some()
    }
}
