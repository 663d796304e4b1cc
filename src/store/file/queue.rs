//! The journal's queue: changes that wait to be written, in order, and the operations that wait for
//! them.
//!
//! Its lock is the innermost one. Operations take it while they hold the lock of a session. Under
//! it, nothing is called and nothing waits.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::frame::Frame;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::store::journal::{self, Change, Journal};

/// How many bytes the queue may hold before operations that add data have to wait. A disk writes
/// this much in a moment, and it is small compared to what the sessions themselves may hold.
const MAX_WAITING: usize = 16 << 20;

/// The approximate weight of an operation without payload.
const FRAME: usize = 96;

/// The queue between operations and the writer.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the writer.
    changed: Condvar,
    written: watch::Sender<Written>,
}

#[derive(Debug)]
struct Waiting {
    frames: Vec<Frame>,
    weight: usize,
    newest: u64,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    /// Everything up to this number is as durable as configured.
    up_to: u64,
    /// The last attempt to write failed.
    failing: bool,
    /// Nothing will be written any more.
    over: bool,
}

/// What the writer takes from the queue.
pub(super) enum Taken {
    Frames(Vec<Frame>),
    /// Nothing arrived within the timeout.
    Nothing,
    /// The queue is closed and empty.
    Closed,
}

impl Queue {
    /// Creates a queue that continues after a number.
    pub(super) fn new(newest: u64) -> Self {
        let waiting = Waiting { frames: Vec::new(), weight: 0, newest, closed: false };
        let written = watch::Sender::new(Written { up_to: newest, failing: false, over: false });
        Self { waiting: Mutex::new(waiting), changed: Condvar::new(), written }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The side of the operations.

    /// Returns `true` if everything up to a number is written.
    pub(super) fn has_written(&self, number: u64) -> bool {
        self.written.borrow().up_to >= number
    }

    /// Returns `true` if the queue holds so much that further operations should wait.
    pub(super) fn is_full(&self) -> bool {
        self.waiting().weight >= MAX_WAITING
    }

    /// Returns `true` if the queue is full and cannot be written.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_failing() && self.is_full()
    }

    /// Returns `true` if nothing can be written at the moment.
    pub(super) fn is_failing(&self) -> bool {
        self.written.borrow().failing
    }

    /// Waits until everything up to a number is written, or a write has failed.
    pub(super) async fn written(&self, number: u64) -> Result<(), StoreError> {
        let at = self.wait(|written| written.up_to >= number || written.failing).await;
        at.is_some_and(|at| at >= number).then_some(()).ok_or_else(away)
    }

    /// Like `written`, but waits however long writes fail.
    pub(super) async fn written_at_last(&self, number: u64) -> Result<(), StoreError> {
        let at = self.wait(|written| written.up_to >= number).await;
        at.is_some_and(|at| at >= number).then_some(()).ok_or_else(away)
    }

    /// Waits until writes succeed.
    pub(super) async fn works(&self) -> Result<(), StoreError> {
        self.wait(|written| !written.failing).await.map(drop).ok_or_else(away)
    }

    /// Waits for a condition, and returns up to which number everything is written then. Returns
    /// `None` if the writer ended before.
    async fn wait(&self, until: impl Fn(&Written) -> bool) -> Option<u64> {
        let mut written = self.written.subscribe();
        let written = written.wait_for(|written| written.over || until(written)).await.ok()?;
        until(&written).then_some(written.up_to)
    }

    // The side of the writer.

    /// Takes everything that is queued. Waits up to the timeout if the queue is empty.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let is_idle = |waiting: &mut Waiting| waiting.frames.is_empty() && !waiting.closed;
        let waited = self.changed.wait_timeout_while(self.waiting(), patience, is_idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.frames.is_empty() {
            return if waiting.closed { Taken::Closed } else { Taken::Nothing };
        }
        waiting.weight = 0;
        Taken::Frames(std::mem::take(&mut waiting.frames))
    }

    /// Returns up to which number everything is written.
    pub(super) fn written_up_to(&self) -> u64 {
        self.written.borrow().up_to
    }

    pub(super) fn wrote(&self, up_to: u64) {
        self.written.send_replace(Written { up_to, failing: false, over: false });
    }

    /// Marks the writer as ended: operations that still wait fail.
    pub(super) fn over(&self) {
        self.written.send_modify(|written| (written.failing, written.over) = (true, true));
    }

    /// Marks writes as failing. Returns `true` if they were not failing before.
    pub(super) fn failed(&self) -> bool {
        self.written.send_if_modified(|written| !std::mem::replace(&mut written.failing, true))
    }

    /// Waits before the next attempt. Returns `false` if the queue was closed meanwhile.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.waiting(), time, |waiting| !waiting.closed);
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !waiting.closed
    }

    /// Returns how many bytes are queued.
    pub(super) fn weight(&self) -> usize {
        self.waiting().weight
    }

    /// Closes the queue and wakes the writer.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_all();
    }
}

fn away() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable)
}

impl Journal for Arc<Queue> {
    type Notes = Vec<Change>;
    type Mark = u64;

    fn keep(&self, session: Option<SessionId>, changes: Vec<Change>, mark: &mut u64) {
        if changes.is_empty() {
            return;
        }
        // If one of these is lost, a reader receives something twice, or a number stays unused.
        // Changes that depend on one of them follow it in the journal.
        let is_minor = |change: &Change| {
            use Change::{AnnouncedUpTo, Delivered, Nodes, Streams};
            matches!(change, Delivered { .. } | Streams { .. } | Nodes { .. } | AnnouncedUpTo { .. })
        };
        let counts = !changes.iter().all(is_minor);
        let weight = FRAME + journal::weight(&changes);
        {
            let mut waiting = self.waiting();
            waiting.newest += 1;
            waiting.weight += weight;
            let number = waiting.newest;
            waiting.frames.push(Frame { number, settled: number, first: 0, session, changes });
            if counts {
                *mark = number;
            }
        }
        self.changed.notify_one();
    }

    fn newest(&self) -> u64 {
        self.waiting().newest
    }
}
