//! Back-off: the growing delay before a process that keeps exiting is started again.

use std::time::{Duration, Instant};

use mcp_http::message::ErrorObject;

use crate::connection::UNAVAILABLE;

/// Delay after the second failure in a row. Each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// Longest delay: once a server is repaired, it is used again within this time.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Failed starts in a row. The first failure causes no delay, because any process may crash once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    last_failure: Option<Instant>,
    retry_at: Option<Instant>,
}

impl Backoff {
    /// Checks that a start is allowed now.
    ///
    /// # Errors
    ///
    /// The delay has not passed yet. The error names the remaining seconds.
    pub(crate) fn check(&self, now: Instant) -> Result<(), ErrorObject> {
        let remaining = self.retry_at.and_then(|retry_at| retry_at.checked_duration_since(now));
        let Some(remaining) = remaining.filter(|remaining| !remaining.is_zero()) else {
            return Ok(());
        };
        let seconds = remaining.as_secs() + 1;
        let text = format!("The server behind the bridge keeps exiting; it can start again in {seconds} s");
        Err(ErrorObject::new(UNAVAILABLE, text))
    }

    /// Records that the start that began at `started_at` has failed. Starts that ran at the same
    /// time count as one failure, and each start counts once.
    pub(crate) fn record_failure(&mut self, started_at: Instant, now: Instant) {
        if self.last_failure.is_some_and(|last| started_at < last) {
            return;
        }
        self.last_failure = Some(now);
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.saturating_sub(2).min(16);
        self.retry_at = (self.failures > 1).then(|| now + (FIRST_DELAY * (1 << doublings)).min(MAX_DELAY));
    }

    /// Forgets earlier failures.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
