//! Decides when a server that keeps dying is started again.

use std::time::{Duration, Instant};

use mcp_http::message::ErrorObject;

use crate::peer::UNAVAILABLE;

/// After the second death in a row; each further one doubles it.
const FIRST: Duration = Duration::from_millis(500);

/// A server that is being repaired is found within this time.
const LONGEST: Duration = Duration::from_secs(30);

/// Starts that fail in a row. The first failure costs nothing: anything may die once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    last: Option<Instant>,
    until: Option<Instant>,
}

impl Backoff {
    /// Whether a start may be tried now.
    pub(crate) fn check(&self, now: Instant) -> Result<(), ErrorObject> {
        let Some(wait) = self.until.and_then(|until| until.checked_duration_since(now)).filter(|wait| !wait.is_zero())
        else {
            return Ok(());
        };
        let text = format!("The server keeps ending; it is not started again for {} s", wait.as_secs() + 1);
        Err(ErrorObject::new(UNAVAILABLE, text))
    }

    /// A start that began then has failed now. Of several that were under way together one counts, and each
    /// is counted once.
    pub(crate) fn failed(&mut self, began: Instant, now: Instant) {
        if self.last.is_some_and(|last| began < last) {
            return;
        }
        self.last = Some(now);
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.saturating_sub(2).min(16);
        self.until = (self.failures > 1).then(|| now + (FIRST * (1 << doublings)).min(LONGEST));
    }

    pub(crate) fn worked(&mut self) {
        *self = Self::default();
    }
}
