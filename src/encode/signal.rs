//! The state of a watched body: how long it has waited for the transport, and how many ready bytes
//! have been taken.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Wake;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// The minimum rate in bytes a second at which a client must read a body that has data ready all
/// the time. A slow mobile connection (GPRS) carries twice as much. Without this rate, a client that
/// takes a piece now and then would hold a large answer for hours.
///
/// The rate is measured over twice the timeout. So a client may pause for one timeout, and then
/// read twice as fast.
pub(super) const MIN_RATE: u64 = 2 << 10;

/// A body whose ready data can be counted.
pub(super) trait Measured: Send + Sync {
    /// Counts the data that is ready.
    fn measure(&self);
}

/// The state shared by the transport, the watch and the source of a body.
pub(super) struct Signal {
    start: Instant,
    /// Since when the body waits; 0 if it does not wait. Moments are milliseconds since `start`,
    /// plus one.
    since: AtomicU64,
    /// Since when data has been ready without a gap; 0 if none is ready.
    ready: AtomicU64,
    /// The bytes that the transport took since `ready`.
    moved: AtomicUsize,
    pub(super) transport: AtomicWaker,
    /// A weak reference, because the body's source keeps this waker.
    body: Weak<dyn Measured>,
}

impl Signal {
    /// Makes the state of a body that waits from the start, to send its head.
    pub(super) fn new(start: Instant, body: Weak<dyn Measured>) -> Self {
        let signal = Self {
            start,
            since: AtomicU64::new(0),
            ready: AtomicU64::new(0),
            moved: AtomicUsize::new(0),
            transport: AtomicWaker::new(),
            body,
        };
        signal.waits();
        signal
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Records that data is ready, unless it was ready before.
    fn waits(&self) {
        self.waits_from(self.now());
    }

    fn waits_from(&self, now: u64) {
        for moment in [&self.since, &self.ready] {
            if moment.load(Ordering::Acquire) == 0 {
                let _ = moment.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
            }
        }
    }

    pub(super) fn is_asked(&self) {
        self.since.store(0, Ordering::Release);
    }

    /// Records that the transport took this many bytes.
    pub(super) fn gave(&self, bytes: usize) {
        self.waits();
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Records that no data is ready, or that the transport has all of it.
    pub(super) fn has_no_more(&self) {
        self.ready.store(0, Ordering::Release);
        self.moved.store(0, Ordering::Relaxed);
    }

    /// Returns how long the body has waited for the transport.
    pub(super) fn waited(&self) -> Option<Duration> {
        let since = self.since.load(Ordering::Acquire);
        (since > 0).then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// Returns `true` if the client has taken nothing for the timeout, or too little for twice the
    /// timeout. Must be called repeatedly, because the rate is measured over consecutive intervals.
    pub(super) fn is_late(&self, timeout: Duration) -> bool {
        if self.waited().is_some_and(|waited| waited >= timeout) {
            return true;
        }
        let (now, ready) = (self.now(), self.ready.load(Ordering::Acquire));
        let interval = u128::from(now.saturating_sub(ready));
        if ready == 0 || interval < 2 * timeout.as_millis() {
            return false;
        }
        let moved = self.moved.swap(0, Ordering::Relaxed) as u128;
        let _ = self.ready.compare_exchange(ready, now, Ordering::AcqRel, Ordering::Acquire);
        moved * 1_000 < u128::from(MIN_RATE) * interval
    }
}

/// Called by the source when data is ready.
impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.waits();
        if let Some(body) = self.body.upgrade() {
            body.measure();
        }
        self.transport.wake();
    }
}
