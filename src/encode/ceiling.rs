//! The ceiling: counts the bytes that all response bodies together hold for clients that have not
//! read them. [`relief`](super::relief) brings them below the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::throttle::Throttle;

/// The longest body that is handed to the transport whole and not watched: what HTTP/2 sends in one
/// frame.
pub(crate) const SHORT: usize = 16 << 10;

/// The limit in bytes, and the bytes held now.
#[derive(Debug)]
pub(super) struct Ceiling {
    pub(super) limit: usize,
    held: AtomicUsize,
    /// Notified when the held bytes exceed the limit.
    pub(super) reached: Notify,
    pub(super) lines: Throttle,
}

impl Ceiling {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0), reached: Notify::new(), lines: Throttle::default() })
    }

    pub(super) fn has_room(&self, more: usize) -> bool {
        self.held.load(Ordering::Relaxed).saturating_add(more) <= self.limit
    }
}

/// The bytes of one body. Dropping it subtracts them.
#[derive(Debug)]
pub(super) struct Counted {
    ceiling: Arc<Ceiling>,
    pub(super) bytes: usize,
}

impl Counted {
    pub(super) fn nothing(ceiling: &Arc<Ceiling>) -> Self {
        Self { ceiling: Arc::clone(ceiling), bytes: 0 }
    }

    /// Sets how many bytes the body holds now.
    pub(super) fn set(&mut self, bytes: usize) {
        let bytes = if bytes > SHORT { bytes } else { 0 };
        if bytes > self.bytes {
            self.ceiling.held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
            if !self.ceiling.has_room(0) {
                self.ceiling.reached.notify_one();
            }
        } else if bytes < self.bytes {
            self.ceiling.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(0);
    }
}
