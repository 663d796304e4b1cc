//! A throttle for log lines that clients can cause: lets some through each second and counts the
//! rest. Each kind of line has its own throttle, so that frequent lines of one kind do not hide
//! another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The maximum of lines in one second: enough to see what is rejected, and at most 4 KiB of log.
const MAX_LINES: u64 = 10;

/// The lines of the current second. Two threads that start a second together may write a line too
/// many.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    second: AtomicU64,
    lines: AtomicU64,
}

impl Throttle {
    /// Returns how many lines were left out before this one, or `None` if this one is to be left
    /// out too.
    pub(crate) fn line(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.line_at(now)
    }

    fn line_at(&self, now: u64) -> Option<u64> {
        if self.second.swap(now, Ordering::Relaxed) != now {
            return Some(self.lines.swap(1, Ordering::Relaxed).saturating_sub(MAX_LINES));
        }
        (self.lines.fetch_add(1, Ordering::Relaxed) < MAX_LINES).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excess_log_lines_are_counted() {
        let throttle = Throttle::default();
        let written = |second| (0..1_000).filter(|_| throttle.line_at(second).is_some()).count();
        assert_eq!(written(1), 10);
        assert_eq!(throttle.line_at(2), Some(990));
        assert_eq!(written(2), 9);
        assert_eq!(throttle.line_at(9), Some(991));
    }
}
