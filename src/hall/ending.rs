//! Decides how far a service has come towards its end: it serves, it leaves, it drains.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How far it has come. It never goes back.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Everything is served; connections are asked to close. Beside the token, because each request looks.
    leaving: AtomicBool,
    /// Nothing new is taken.
    draining: AtomicBool,
    told: CancellationToken,
}

impl Ending {
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.told.cancel();
    }

    /// Who drains has left.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.leave();
    }

    /// Waits until it leaves.
    pub(crate) fn left(&self) -> WaitForCancellationFutureOwned {
        self.told.clone().cancelled_owned()
    }
}
