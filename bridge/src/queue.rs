//! Decides what may wait to be written to a child. It is written in the order in which it began to wait.
//!
//! 1. Whoever calls waits with the call for one of a few slots, and so does who answers the child: a child that
//!    does not read holds up its callers, who hold nothing up but themselves.
//! 2. Nobody waits with a notification. Of those there may wait as much as fits into a room of its own, and
//!    what does not is dropped.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Calls and answers that wait: no more than a little air.
const SLOTS: usize = 8;

/// Notifications that wait, in bytes: hundreds, more than a client has to say while its server is busy.
const ROOM: u32 = 256 << 10;

/// What a notification counts at least, so that the number of small ones is bounded, too.
const LEAST: usize = 256;

/// A line for the child.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Not written when nobody waits for it any more.
    Call(u64, Bytes),
    Other(Bytes),
}

/// Takes lines for the child.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<Waiting>,
    slots: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// Where they come out. Dropped, it lets go who waits for a slot.
#[derive(Debug)]
pub(crate) struct Queued {
    receiver: mpsc::UnboundedReceiver<Waiting>,
    slots: Arc<Semaphore>,
}

#[derive(Debug)]
struct Waiting {
    line: Outgoing,
    _place: OwnedSemaphorePermit,
}

/// A queue, and where it comes out.
pub(crate) fn queue() -> (Queue, Queued) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let slots = Arc::new(Semaphore::new(SLOTS));
    let queue = Queue { sender, slots: Arc::clone(&slots), room: Arc::new(Semaphore::new(ROOM as usize)) };
    (queue, Queued { receiver, slots })
}

/// The right to put one line into the queue.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    queue: &'a Queue,
    place: OwnedSemaphorePermit,
}

impl Queue {
    /// Waits for a slot; `None` when the child has ended.
    ///
    /// # Cancel safety
    ///
    /// Whoever waits loses the turn, and nothing else.
    pub(crate) async fn slot(&self) -> Option<Slot<'_>> {
        let place = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        Some(Slot { queue: self, place })
    }

    /// Takes a notification; whether there was room for it.
    pub(crate) fn tell(&self, line: Bytes) -> bool {
        let size = u32::try_from(line.len().max(LEAST)).unwrap_or(ROOM).min(ROOM);
        let place = Arc::clone(&self.room).try_acquire_many_owned(size);
        place.map(|place| self.put(Outgoing::Other(line), place)).is_ok()
    }

    fn put(&self, line: Outgoing, place: OwnedSemaphorePermit) {
        // A child that has ended in this very moment needs nothing any more.
        let _ = self.sender.send(Waiting { line, _place: place });
    }
}

impl Slot<'_> {
    pub(crate) fn put(self, line: Outgoing) {
        self.queue.put(line, self.place);
    }
}

impl Queued {
    /// The next line. Its place is free then: whoever writes it holds one line and no more.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        self.receiver.recv().await.map(|waiting| waiting.line)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.slots.close();
    }
}
