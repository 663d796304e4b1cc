//! The queue of a call that cannot be resumed: bounded, between one call and one response, without
//! ids and without a log.
//!
//! 1. Messages leave in order.
//! 2. A push into a full queue returns `false`; the writer may then wait for capacity.
//! 3. Once the reader is gone, writes have no effect.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::{Frame, Frames, Source};

/// The writer's end.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    reader: AtomicWaker,
    drained: Notify,
    /// Notified once, when the reader is dropped.
    gone: Notify,
}

/// The reader's end. Dropping it notifies the writer.
#[derive(Debug)]
pub(crate) struct QueueReader(Arc<Queue>);

#[derive(Debug, Default)]
struct State {
    frames: Vec<Frame>,
    bytes: usize,
    closed: bool,
    reader_gone: bool,
    /// The reader has received the end.
    ended: bool,
    /// Dropped when the reader has received the end, or is itself dropped.
    held: Option<Box<dyn Any + Send + Sync>>,
}

impl State {
    fn has_room(&self) -> bool {
        self.reader_gone || self.bytes < HIGH_WATER
    }
}

/// How many bytes may be queued before the writer has to wait: a few network round trips of a fast
/// producer.
pub(crate) const HIGH_WATER: usize = 256 << 10;

impl Queue {
    /// Creates a queue and its only reader.
    pub(crate) fn new() -> (Arc<Self>, QueueReader) {
        let queue = Arc::new(Self::default());
        let reader = queue.reader();
        (queue, reader)
    }

    /// Creates the reader of a queue that has none yet.
    pub(crate) fn reader(self: &Arc<Self>) -> QueueReader {
        QueueReader(Arc::clone(self))
    }

    /// Waits until the reader is dropped.
    pub(crate) async fn reader_left(&self) {
        loop {
            let gone = self.gone.notified();
            if self.lock().reader_gone {
                return;
            }
            gone.await;
        }
    }

    /// Appends messages, and then closes the queue if `close` is set. Returns `true` if the queue
    /// has capacity for more.
    pub(crate) fn push(&self, messages: impl Iterator<Item = Bytes>, close: bool) -> bool {
        let room = {
            let mut state = self.lock();
            if !state.reader_gone && !state.closed {
                for payload in messages {
                    state.bytes += payload.len();
                    state.frames.push(Frame::Message { id: None, payload });
                }
            }
            state.closed |= close;
            state.has_room()
        };
        self.reader.wake();
        room
    }

    /// Keeps a value until the reader has received the end, or is dropped.
    pub(crate) fn hold(&self, held: impl Any + Send + Sync) {
        let mut state = self.lock();
        if !state.ended && !state.reader_gone {
            state.held = Some(Box::new(held));
        }
    }

    /// Waits until the queue has capacity, or the reader is gone.
    pub(crate) async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            if self.lock().has_room() {
                return;
            }
            drained.await;
        }
    }

    /// Ends the response, discards what is queued, and keeps nothing more for the reader.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.forget_reader(state);
        self.reader.wake();
    }

    fn forget_reader(&self, mut state: MutexGuard<'_, State>) {
        state.reader_gone = true;
        (state.frames, state.bytes) = (Vec::new(), 0);
        let held = state.held.take();
        drop(state);
        drop(held);
        self.drained.notify_waiters();
        self.gone.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for QueueReader {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Frames> {
        self.0.reader.register(cx.waker());
        let mut state = self.0.lock();
        if state.frames.is_empty() && !state.closed {
            return Poll::Pending;
        }
        state.bytes = 0;
        let frames = Frames { frames: std::mem::take(&mut state.frames), last: state.closed };
        state.ended = state.closed;
        let held = if state.ended { state.held.take() } else { None };
        drop(state);
        drop(held);
        self.0.drained.notify_waiters();
        Poll::Ready(frames)
    }

    fn held(&self) -> usize {
        self.0.lock().bytes
    }
}

impl Drop for QueueReader {
    fn drop(&mut self) {
        self.0.forget_reader(self.0.lock());
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::FutureExt;

    use super::*;

    fn read(reader: &mut QueueReader) -> Option<(Vec<u8>, bool)> {
        let Poll::Ready(frames) = reader.poll_next(&mut Context::from_waker(Waker::noop())) else { return None };
        let text = frames.frames.iter().flat_map(|frame| match frame {
            Frame::Message { payload, .. } => payload.to_vec(),
            other => panic!("{other:?}"),
        });
        Some((text.collect(), frames.last))
    }

    #[test]
    fn messages_arrive_in_order_before_the_end() {
        let (queue, mut reader) = Queue::new();
        assert_eq!(read(&mut reader), None);
        queue.push([Bytes::from("a"), Bytes::from("b")].into_iter(), false);
        queue.push([Bytes::from("c")].into_iter(), false);
        assert_eq!(read(&mut reader), Some((b"abc".to_vec(), false)));
        queue.push([Bytes::from("d")].into_iter(), true);
        assert_eq!(read(&mut reader), Some((b"d".to_vec(), true)));
    }

    #[test]
    fn a_full_queue_waits_for_its_reader() {
        let (queue, mut reader) = Queue::new();
        assert!(!queue.push([Bytes::from(vec![0; HIGH_WATER])].into_iter(), false));
        assert!(queue.room().now_or_never().is_none());
        assert!(read(&mut reader).is_some());
        assert!(queue.room().now_or_never().is_some());
    }

    #[test]
    fn without_a_reader_messages_are_dropped() {
        let (queue, reader) = Queue::new();
        drop(reader);
        assert!(queue.push([Bytes::from(vec![0; HIGH_WATER * 2])].into_iter(), false));
        assert!(queue.lock().frames.is_empty());
    }
}
