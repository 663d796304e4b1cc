//! Decides how messages reach a client that cannot come back for them: a bounded queue between
//! one call and one response, without ids and without a log.
//!
//! Rules: messages leave in order; a full queue makes the writer wait; when the reader is gone,
//! writing is a no-op that says so.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;

/// The writer's end.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// The reader's end; dropping it tells the writer.
#[derive(Debug)]
pub(crate) struct QueueReader(Arc<Queue>);

#[derive(Debug, Default)]
struct State {
    messages: Vec<Bytes>,
    bytes: usize,
    closed: bool,
    reader_gone: bool,
}

/// Bytes that may wait for the reader before the writer has to: a few network round trips of a
/// fast producer.
const HIGH_WATER: usize = 256 << 10;

impl Queue {
    /// A queue and its one reader.
    pub(crate) fn new() -> (Arc<Self>, QueueReader) {
        let queue = Arc::new(Self::default());
        (Arc::clone(&queue), QueueReader(queue))
    }

    /// Adds messages, closing the queue after them if asked; whether there is room for more.
    pub(crate) fn push(&self, messages: impl Iterator<Item = Bytes>, close: bool) -> bool {
        let room = {
            let mut state = self.lock();
            if !state.reader_gone && !state.closed {
                for message in messages {
                    state.bytes += message.len();
                    state.messages.push(message);
                }
            }
            state.closed |= close;
            state.reader_gone || state.bytes < HIGH_WATER
        };
        self.reader.wake();
        room
    }

    /// Ready when there is room again, or nobody reads any more.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.writer.register(cx.waker());
        let state = self.lock();
        if state.reader_gone || state.bytes < HIGH_WATER { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Gives up on the reader: nothing more is kept for it.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.reader_gone = true;
        state.closed = true;
        state.messages = Vec::new();
        drop(state);
        self.reader.wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueReader {
    /// All messages that are there; `None` when there will be no more.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Vec<Bytes>, bool)>> {
        self.0.reader.register(cx.waker());
        let mut state = self.0.lock();
        if state.messages.is_empty() {
            return if state.closed { Poll::Ready(None) } else { Poll::Pending };
        }
        state.bytes = 0;
        let messages = std::mem::take(&mut state.messages);
        let last = state.closed;
        drop(state);
        self.0.writer.wake();
        Poll::Ready(Some((messages, last)))
    }
}

impl Drop for QueueReader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_gone = true;
        state.messages = Vec::new();
        drop(state);
        self.0.writer.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn messages_come_out_in_order_and_then_the_end() {
        let (queue, mut reader) = Queue::new();
        assert!(reader.poll_next(&mut cx()).is_pending());
        queue.push([Bytes::from("a"), Bytes::from("b")].into_iter(), false);
        queue.push([Bytes::from("c")].into_iter(), true);
        let Poll::Ready(Some((messages, last))) = reader.poll_next(&mut cx()) else { panic!() };
        assert_eq!((messages.concat(), last), (b"abc".to_vec(), true));
        assert!(matches!(reader.poll_next(&mut cx()), Poll::Ready(None)));
    }

    #[test]
    fn a_full_queue_waits_for_its_reader() {
        let (queue, mut reader) = Queue::new();
        assert!(!queue.push([Bytes::from(vec![0; HIGH_WATER])].into_iter(), false));
        assert!(queue.poll_room(&mut cx()).is_pending());
        assert!(reader.poll_next(&mut cx()).is_ready());
        assert!(queue.poll_room(&mut cx()).is_ready());
    }

    #[test]
    fn without_a_reader_nothing_is_kept() {
        let (queue, reader) = Queue::new();
        drop(reader);
        assert!(queue.push([Bytes::from(vec![0; HIGH_WATER * 2])].into_iter(), false));
        assert_eq!(queue.lock().messages.len(), 0);
    }
}
