//! Back-off: the pauses between attempts to reach an engine, and the rule who repeats what.
//!
//! 1. An engine repeats an operation itself, for a limited time, while its caller waits. The caller
//!    then receives [`Unavailable`](crate::error::StoreErrorKind::Unavailable), and does not repeat
//!    the operation.
//! 2. An engine performs operations that release something, now or later. They never fail with
//!    `Unavailable`; see [`CallStore::finish`](crate::store::engine::CallStore::finish).
//! 3. The service repeats only what an engine cannot know to be wanted still: the end of a call's
//!    stream, changes that wait to be announced or delivered, and the end of a task.

use std::time::Duration;

/// The pauses between attempts: each is twice as long as the one before, up to the longest.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
    /// How many pauses are left; `None`: there is always one more.
    left: Option<u32>,
}

impl Backoff {
    const fn between(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest, left: None }
    }

    /// The pauses of an engine whose caller waits: from 20 ms to half a second.
    #[cfg(feature = "redis")]
    pub(in crate::store) const fn waiting() -> Self {
        Self::between(Duration::from_millis(20), Duration::from_millis(500))
    }

    /// Half a second each time, for what clients wait for while no caller does.
    pub(crate) const fn soon() -> Self {
        Self::between(Duration::from_millis(500), Duration::from_millis(500))
    }

    /// A second each time, for the background. An engine also repeats within each attempt.
    pub(crate) const fn background() -> Self {
        Self::between(Duration::from_secs(1), Duration::from_secs(1))
    }

    /// Thirteen pauses from 100 ms, about a quarter of an hour in all.
    pub(crate) const fn limited() -> Self {
        Self { left: Some(13), ..Self::between(Duration::from_millis(100), Duration::MAX) }
    }

    /// Returns the next pause, unless none is left.
    pub(crate) fn next_pause(&mut self) -> Option<Duration> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        Some(pause)
    }

    /// Waits for the next pause. Returns `false` at once if none is left.
    pub(crate) async fn pause(&mut self) -> bool {
        match self.next_pause() {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::between(Duration::from_millis(20), Duration::from_millis(70));
        let pauses: Vec<_> = (0..4).filter_map(|_| backoff.next_pause()).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [20, 40, 70, 70]);
    }

    #[test]
    fn limited_pauses_end_after_a_quarter_of_an_hour() {
        let mut backoff = Backoff::limited();
        let pauses: Vec<_> = std::iter::from_fn(|| backoff.next_pause()).collect();
        assert_eq!((pauses.len(), pauses.iter().sum::<Duration>().as_secs()), (13, 819));
        assert_eq!(backoff.next_pause(), None);
    }
}
