//! Notifications in a call: a bounded queue between the process that sends them and the client that
//! reads them.
//!
//! A client that reads slowly delays the process for a moment, once in a call. After that,
//! notifications that do not fit are dropped, because the process has other callers. The transport
//! disconnects clients that stay behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_http::Context;
use mcp_http::message::RawJson;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// Maximum bytes that wait in one call: hundreds of progress notifications.
const MAX_QUEUED_BYTES: u32 = 256 << 10;

/// Minimum size a notification counts with, so that the number of small ones is bounded too.
const MIN_COUNTED_BYTES: usize = 256;

/// How long a call may delay its process, once.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Queues the notifications of a process for one call.
#[derive(Debug, Clone)]
pub(crate) struct NotificationSender {
    sender: mpsc::UnboundedSender<QueuedNotification>,
    capacity: Arc<Semaphore>,
    /// The client has used up its one delay.
    stalled: Arc<AtomicBool>,
}

/// A notification that waits for its client.
#[derive(Debug)]
pub(crate) struct QueuedNotification {
    method: String,
    params: RawJson,
    _capacity: OwnedSemaphorePermit,
}

/// Returns both ends of a queue.
pub(crate) fn channel() -> (NotificationSender, mpsc::UnboundedReceiver<QueuedNotification>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let capacity = Arc::new(Semaphore::new(MAX_QUEUED_BYTES as usize));
    (NotificationSender { sender, capacity, stalled: Arc::default() }, receiver)
}

impl NotificationSender {
    /// Queues a notification. Drops it if the client does not read in time.
    pub(crate) async fn send(&self, method: &str, params: RawJson) {
        let size = params.as_bytes().len().max(MIN_COUNTED_BYTES);
        let size = u32::try_from(size).unwrap_or(MAX_QUEUED_BYTES).min(MAX_QUEUED_BYTES);
        let capacity = Arc::clone(&self.capacity).acquire_many_owned(size);
        let stall_timeout = if self.stalled.load(Ordering::Relaxed) { Duration::ZERO } else { STALL_TIMEOUT };
        let Ok(Ok(capacity)) = timeout(stall_timeout, capacity).await else {
            if !self.stalled.swap(true, Ordering::Relaxed) {
                tracing::info!(method, "a client reads slowly: notifications of its call are dropped");
            }
            return;
        };
        // This fails if the call has just ended.
        let _ = self.sender.send(QueuedNotification { method: method.to_owned(), params, _capacity: capacity });
    }
}

impl QueuedNotification {
    /// Sends the notification to the client, and waits until the client's stream can take more.
    pub(crate) async fn send(self, call: &Context) {
        call.notify(&self.method, &self.params).await;
    }
}
