//! Decides how far a child may be ahead of the client that reads what it says in a call.
//!
//! What is said in a call waits here for the call to send it, at the client's pace. A client that reads
//! slowly holds the child up for a moment; then what it does not read is dropped, because the child has
//! other callers. The transport cuts the client off when it stays behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_http::message::RawJson;
use mcp_http::server::Context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// What may wait, in bytes: hundreds of figures of progress.
const ROOM: u32 = 256 << 10;

/// What a message counts at least, so that the number of small ones is bounded, too.
const LEAST: usize = 256;

/// How long a call may hold up its child, once.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Takes what a child says in a call.
#[derive(Debug, Clone)]
pub(crate) struct Notifications {
    sender: mpsc::UnboundedSender<Notification>,
    room: Arc<Semaphore>,
    /// It held its child up long enough.
    behind: Arc<AtomicBool>,
}

/// Something that is said in a call.
#[derive(Debug)]
pub(crate) struct Notification {
    method: String,
    params: RawJson,
    _room: OwnedSemaphorePermit,
}

/// A place for notes, and where they come out.
pub(crate) fn channel() -> (Notifications, mpsc::UnboundedReceiver<Notification>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(ROOM as usize));
    (Notifications { sender, room, behind: Arc::default() }, receiver)
}

impl Notifications {
    pub(crate) async fn put(&self, method: &str, params: RawJson) {
        let size = u32::try_from(params.as_bytes().len().max(LEAST)).unwrap_or(ROOM).min(ROOM);
        let room = Arc::clone(&self.room).acquire_many_owned(size);
        let patience = if self.behind.load(Ordering::Relaxed) { Duration::ZERO } else { STALL_TIMEOUT };
        let Ok(Ok(room)) = timeout(patience, room).await else {
            if !self.behind.swap(true, Ordering::Relaxed) {
                tracing::info!(method, "a client reads slowly: what it is not in time for is dropped");
            }
            return;
        };
        // The call may have ended in this very moment.
        let _ = self.sender.send(Notification { method: method.to_owned(), params, _room: room });
    }
}

impl Notification {
    /// Sends it, and waits until there is room for more.
    pub(crate) async fn send(self, call: &Context) {
        call.notify(&self.method, &self.params).await;
    }
}
