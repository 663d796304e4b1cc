//! A throttle for log lines that clients can cause: some a second, then how many were left out. Each kind of line
//! has a throttle of its own, so that many lines of one kind hide no other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The most lines in one second: enough to see what is refused, and 4 KiB of log at most.
const MOST: u64 = 10;

/// Lines of the current second. Two threads that begin a second together may write a line too many.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    second: AtomicU64,
    lines: AtomicU64,
}

impl Throttle {
    /// Returns how many lines were left out before this one, or `None` where this one is left out too.
    pub(crate) fn line(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.line_at(now)
    }

    fn line_at(&self, now: u64) -> Option<u64> {
        if self.second.swap(now, Ordering::Relaxed) != now {
            return Some(self.lines.swap(1, Ordering::Relaxed).saturating_sub(MOST));
        }
        (self.lines.fetch_add(1, Ordering::Relaxed) < MOST).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_are_written_and_the_rest_is_counted() {
        let throttle = Throttle::default();
        let written = |second| (0..1_000).filter(|_| throttle.line_at(second).is_some()).count();
        assert_eq!(written(1), 10);
        assert_eq!(throttle.line_at(2), Some(990));
        assert_eq!(written(2), 9);
        assert_eq!(throttle.line_at(9), Some(991));
    }
}
