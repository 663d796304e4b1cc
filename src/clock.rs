//! Clocks: the source of the current time. Each engine or service has one clock, reads it at its
//! boundary and passes the time on as a value. So tests can run all decisions at any time.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A moment, in milliseconds since its clock was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub(crate) struct Tick(u64);

/// A clock. It follows tokio's, so that tests can pause and advance it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    /// The time that it showed at `start`.
    first: Tick,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), first: Tick::default() }
    }

    /// Makes a clock of milliseconds since 1970, so that a later process can interpret its moments.
    /// It starts after `known`, a moment that has already passed, even if the system clock shows an
    /// earlier time.
    #[cfg(feature = "file")]
    pub(crate) fn of_day(known: Tick) -> Self {
        let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { first: Tick(millis(today)).max(known.after(Duration::from_millis(1))), ..Self::new() }
    }

    pub(crate) fn now(&self) -> Tick {
        self.first.after(self.start.elapsed())
    }
}

impl Tick {
    /// Returns the moment after this duration; the latest possible moment if the sum overflows.
    pub(crate) fn after(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(millis(while_)))
    }

    /// Returns how long ago the earlier moment was; zero if it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The time of day, as the system clock shows it, also after that was set. Tests that pause tokio's
/// clock can advance it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    clock: Clock,
    start: std::time::Instant,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self { clock: Clock::new(), start: std::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> SystemTime {
        // Zero, unless tokio's clock was advanced.
        let advanced = self.clock.start.elapsed().saturating_sub(self.start.elapsed());
        SystemTime::now() + advanced
    }

    /// Returns the milliseconds since 1970.
    pub(crate) fn unix_millis(&self) -> u64 {
        millis(self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }
}
