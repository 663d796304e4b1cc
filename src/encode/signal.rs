//! The clock of a watched body: since when it waits for the transport, and how much of it moves while data is ready.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::Wake;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::watch::Watched;

/// The least that a client takes of a body that has data ready all the time, in bytes a second. A slow mobile line
/// (GPRS) carries twice as much. A client that takes one piece now and then would keep a large answer for hours.
/// It is measured over twice the time-out: a client may pause for as long as that, and read twice as fast afterwards.
pub(super) const LEAST_RATE: u64 = 2 << 10;

/// What the transport, the watch and the source of a body tell each other.
pub(super) struct Signal {
    start: Instant,
    /// Moments are milliseconds since `start`, and one; 0: it does not wait.
    since: AtomicU64,
    /// From when on data was ready all the time; 0: there is none.
    ready: AtomicU64,
    /// Bytes that the transport took since then.
    moved: AtomicUsize,
    pub(super) transport: AtomicWaker,
    /// Weakly, because the body's source keeps the waker that this is.
    body: Weak<Watched>,
}

impl Signal {
    /// A body that has something to send from the start: its head.
    pub(super) fn new(start: Instant, body: Weak<Watched>) -> Self {
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

    /// Data is ready, from now on unless it was already.
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

    /// The transport has so many bytes more.
    pub(super) fn gave(&self, bytes: usize) {
        self.waits();
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Nothing is ready any more, or all of it is with the transport.
    pub(super) fn has_no_more(&self) {
        self.ready.store(0, Ordering::Release);
        self.moved.store(0, Ordering::Relaxed);
    }

    /// How long the body waits for the transport by now.
    pub(super) fn waited(&self) -> Option<Duration> {
        let since = self.since.load(Ordering::Acquire);
        (since > 0).then(|| Duration::from_millis(self.now().saturating_sub(since)))
    }

    /// Returns `true` if the client takes nothing of the body for so long, or too little for twice as long. To be asked
    /// now and then: the rate is that of one interval after the other.
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
        moved * 1_000 < u128::from(LEAST_RATE) * interval
    }
}

/// Something is ready in the body.
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
