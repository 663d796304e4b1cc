//! The shutdown state of a service: serving, leaving or draining.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The shutdown state. It never goes back.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    /// All requests are still served, but connections are asked to close. Separate from the token
    /// because every request reads it.
    leaving: AtomicBool,
    /// New sessions and calls are rejected.
    draining: AtomicBool,
    begun: CancellationToken,
}

impl Lifecycle {
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn begin_shutdown(&self) {
        self.leaving.store(true, Ordering::Release);
        self.begun.cancel();
    }

    /// Starts to drain. A draining service is also leaving.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.begin_shutdown();
    }

    /// Completes when the service starts to leave.
    pub(crate) fn left(&self) -> WaitForCancellationFutureOwned {
        self.begun.clone().cancelled_owned()
    }
}
