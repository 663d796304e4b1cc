//! The write queue of a process: bounds what waits to be written to its stdin, and keeps the order.
//!
//! 1. Calls and responses wait for one of a few slots. A process that does not read therefore
//!    delays its callers, and they delay only themselves.
//! 2. Notifications never wait. Up to a number of bytes are queued, and further ones are dropped.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Maximum queued calls and responses: enough to keep the pipe busy.
const MAX_QUEUED_CALLS: usize = 8;

/// Maximum bytes of queued notifications: hundreds, more than clients send while their server is
/// busy.
const MAX_NOTIFICATION_BYTES: u32 = 256 << 10;

/// Minimum size a notification counts with, so that the number of small ones is bounded too.
const MIN_COUNTED_BYTES: usize = 256;

/// A line for the process.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A call, which is skipped if its client no longer waits.
    Call(u64, Bytes),
    Other(Bytes),
}

/// Puts lines into the queue.
#[derive(Debug, Clone)]
pub(crate) struct QueueSender {
    sender: mpsc::UnboundedSender<Entry>,
    slots: Arc<Semaphore>,
    notification_bytes: Arc<Semaphore>,
}

/// Takes lines from the queue. Dropping it wakes every caller that waits for a slot.
#[derive(Debug)]
pub(crate) struct QueueReceiver {
    receiver: mpsc::UnboundedReceiver<Entry>,
    slots: Arc<Semaphore>,
}

#[derive(Debug)]
struct Entry {
    line: Outgoing,
    _permit: OwnedSemaphorePermit,
}

/// Returns both ends of a queue.
pub(crate) fn queue() -> (QueueSender, QueueReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let slots = Arc::new(Semaphore::new(MAX_QUEUED_CALLS));
    let notification_bytes = Arc::new(Semaphore::new(MAX_NOTIFICATION_BYTES as usize));
    (QueueSender { sender, slots: Arc::clone(&slots), notification_bytes }, QueueReceiver { receiver, slots })
}

/// Capacity for one line.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    queue: &'a QueueSender,
    permit: OwnedSemaphorePermit,
}

impl QueueSender {
    /// Waits for a slot. Returns `None` if the process has ended.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the caller loses its turn in the queue.
    pub(crate) async fn slot(&self) -> Option<Slot<'_>> {
        let permit = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        Some(Slot { queue: self, permit })
    }

    /// Queues a notification. Returns `false` if its bytes do not fit.
    pub(crate) fn try_notify(&self, line: Bytes) -> bool {
        let size = u32::try_from(line.len().max(MIN_COUNTED_BYTES)).unwrap_or(MAX_NOTIFICATION_BYTES);
        let permit = Arc::clone(&self.notification_bytes).try_acquire_many_owned(size.min(MAX_NOTIFICATION_BYTES));
        permit.map(|permit| self.put(Outgoing::Other(line), permit)).is_ok()
    }

    fn put(&self, line: Outgoing, permit: OwnedSemaphorePermit) {
        // This fails if the process has just ended.
        let _ = self.sender.send(Entry { line, _permit: permit });
    }
}

impl Slot<'_> {
    pub(crate) fn put(self, line: Outgoing) {
        self.queue.put(line, self.permit);
    }
}

impl QueueReceiver {
    /// Returns the next line and releases its slot. The writer therefore holds one line at most.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        self.receiver.recv().await.map(|entry| entry.line)
    }
}

impl Drop for QueueReceiver {
    fn drop(&mut self) {
        self.slots.close();
    }
}
