//! The state of the reaper: whether its task runs.

use std::sync::atomic::{AtomicU8, Ordering};

/// The state of the task.
#[derive(Debug, Default)]
pub(super) struct Reaper(AtomicU8);

/// The states besides 0, which means that the task has not been needed yet: it runs, or it ended
/// with its runtime.
const RUNS: u8 = 1;
const GONE: u8 = 2;

impl Reaper {
    /// Returns `true` if the caller must start the task.
    pub(super) fn begin(&self) -> bool {
        self.0.load(Ordering::Acquire) != RUNS && self.0.swap(RUNS, Ordering::AcqRel) != RUNS
    }

    pub(super) fn end(&self) {
        self.0.store(GONE, Ordering::Release);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }
}
