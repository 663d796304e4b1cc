//! Decides what "now" is: one clock for each engine or service, read at its edge and handed down
//! as a value, so that everything that decides can be tested on any time.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment, in milliseconds since its clock was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Tick(u64);

/// A clock. It follows tokio's, so tests can pause and advance it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Tick {
        Tick(millis(self.start.elapsed()))
    }
}

impl Tick {
    /// This moment and a while; far in the future where that cannot be counted.
    pub(crate) fn after(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(millis(while_)))
    }

    /// How long ago another moment was.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that people share: the time of day. It goes at least as fast as tokio's, so tests can
/// advance it; a machine that slept is told the right time all the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    clock: Clock,
    start: SystemTime,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self { clock: Clock::new(), start: SystemTime::now() }
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.start + self.clock.start.elapsed()).max(SystemTime::now())
    }

    /// Milliseconds since 1970.
    pub(crate) fn unix_millis(&self) -> u64 {
        millis(self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }
}
