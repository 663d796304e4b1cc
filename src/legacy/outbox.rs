//! Outbox: the messages of an exchange that are not yet written.
//!
//! It also holds the answers while they may still be sent as JSON.
//!
//! 1. Messages are written in the order they came. Handlers never wait for the engine or the
//!    network: a burst becomes one write, and a dropped `progress()` future loses nothing.
//! 2. The exchange *streams* from its first message on, or from an explicit start, and never stops
//!    again. Until then answers are stored separately, because they may still be sent as JSON.
//! 3. Once it streams, an answer is a message like any other, and comes after the messages of its
//!    handler.
//! 4. After the end no message is accepted.
//! 5. The bound is soft: a handler that finds the outbox full has already put its message in, and
//!    waits before the next.

use bytes::Bytes;

use crate::store::{Event, EventKind};

/// The messages that are not yet written. Only one task at a time takes from it: the
/// [work](super::driver).
#[derive(Debug)]
pub(super) struct Outbox {
    /// The largest number of messages and bytes.
    bounds: (usize, usize),
    events: Vec<Event>,
    bytes: usize,
    /// Answers that may still be sent as JSON.
    answers: Vec<Bytes>,
    streaming: bool,
    /// The work must check that what it wrote still exists, even if there is nothing to write.
    look: bool,
    /// The handlers are being polled; the outbox is read right afterwards.
    polled: bool,
    ended: bool,
}

/// What the work does after a poll of the handlers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Wait,
    /// It checks that the engine still has what it wrote.
    Recheck,
    /// It writes these messages, none if only the end is due.
    Write(Vec<Event>),
}

/// The upper bounds above which senders wait. The bytes are as many as a reader takes at once.
const MAX_EVENTS: usize = 128;
const MAX_BYTES: usize = 64 << 10;

impl Outbox {
    /// Creates the outbox of a stream that keeps this many messages and bytes for its reader. The
    /// outbox holds at most a quarter of that. The reader's backlog and the outbox must fit into
    /// the log together, or the reader would lose messages although it reads.
    pub(super) fn new((events, bytes): (usize, usize)) -> Self {
        Self {
            bounds: ((events / 4).clamp(1, MAX_EVENTS), (bytes / 4).clamp(1, MAX_BYTES)),
            events: Vec::new(),
            bytes: 0,
            answers: Vec::new(),
            streaming: false,
            look: false,
            polled: false,
            ended: false,
        }
    }

    /// Appends a message. Returns `false` if the exchange has ended.
    pub(super) fn push(&mut self, event: Event) -> bool {
        if self.ended {
            return false;
        }
        self.bytes += event.payload.len();
        self.events.push(event);
        self.streaming = true;
        true
    }

    /// Stores the answers that exist before any handler runs: those to the malformed elements of a
    /// batch.
    pub(super) fn keep_answers(&mut self, answers: Vec<Bytes>) {
        self.answers = answers;
    }

    /// Returns the answers to be sent as JSON.
    pub(super) fn take_answers(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.answers)
    }

    /// Makes the exchange stream. This has no effect after the end: the answers then wait to be
    /// sent as JSON, while the engine is informed that the calls are over.
    pub(super) fn start_streaming(&mut self) {
        self.streaming |= !self.ended;
    }

    pub(super) fn request_recheck(&mut self) {
        self.look = true;
    }

    pub(super) fn start_polling(&mut self) {
        self.polled = true;
    }

    /// Ends a poll of the handlers, and returns what the work does next. `done` means that every
    /// handler has ended; the exchange ends with them, and can no longer start to stream.
    pub(super) fn stop_polling(&mut self, answers: &mut Vec<Bytes>, done: bool) -> Next {
        self.polled = false;
        self.ended |= done;
        if self.answers.is_empty() {
            std::mem::swap(&mut self.answers, answers);
        } else {
            self.answers.append(answers);
        }
        if !self.streaming {
            return if done { Next::Write(Vec::new()) } else { Next::Wait };
        }
        let answers = std::mem::take(&mut self.answers);
        let look = std::mem::take(&mut self.look);
        self.events.extend(answers.into_iter().map(|payload| Event { kind: EventKind::Response, payload }));
        if self.events.is_empty() && !done {
            return if look { Next::Recheck } else { Next::Wait };
        }
        self.bytes = 0;
        Next::Write(std::mem::take(&mut self.events))
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn has_room(&self) -> bool {
        self.events.len() < self.bounds.0 && self.bytes < self.bounds.1
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.streaming
    }

    pub(super) fn is_polled(&self) -> bool {
        self.polled
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new((1_024, 1 << 20))
    }

    fn message(text: &'static str) -> Event {
        Event { kind: EventKind::Notification, payload: Bytes::from(text) }
    }

    fn answers(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().copied().map(Bytes::from).collect()
    }

    fn written(outbox: &mut Outbox, new: &[&'static str], done: bool) -> Option<Vec<Bytes>> {
        match outbox.stop_polling(&mut answers(new), done) {
            Next::Wait => None,
            Next::Recheck => Some(vec![]),
            Next::Write(events) => Some(events.into_iter().map(|event| event.payload).collect()),
        }
    }

    #[test]
    fn without_a_stream_answers_stay_for_json() {
        let mut outbox = outbox();
        outbox.keep_answers(answers(&["broken"]));
        assert_eq!(written(&mut outbox, &["a"], false), None);
        assert_eq!(written(&mut outbox, &["b"], true), Some(vec![]));
        assert_eq!(outbox.take_answers(), answers(&["broken", "a", "b"]));
    }

    #[test]
    fn answers_follow_earlier_messages() {
        let mut outbox = outbox();
        assert_eq!(written(&mut outbox, &["first"], false), None);
        assert!(outbox.push(message("progress")));
        assert_eq!(written(&mut outbox, &["last"], true), Some(answers(&["progress", "first", "last"])));
        assert!(outbox.take_answers().is_empty());
    }

    #[test]
    fn a_stream_without_messages_waits_for_the_end() {
        let mut outbox = outbox();
        outbox.start_streaming();
        assert_eq!(written(&mut outbox, &[], false), None);
        assert_eq!(written(&mut outbox, &[], true), Some(vec![]));
    }

    #[test]
    fn a_recheck_runs_once_and_only_on_streams() {
        let mut outbox = outbox();
        outbox.request_recheck();
        assert_eq!(written(&mut outbox, &[], false), None);
        outbox.start_streaming();
        assert_eq!(written(&mut outbox, &[], false), Some(vec![]));
        assert_eq!(written(&mut outbox, &[], false), None);
    }

    #[test]
    fn messages_after_the_end_are_dropped() {
        let mut outbox = outbox();
        assert_eq!(written(&mut outbox, &[], true), Some(vec![]));
        assert!(!outbox.push(message("late")));
        outbox.start_streaming();
        assert!(!outbox.is_streaming());
    }

    #[test]
    fn capacity_is_bounded_by_count_and_size() {
        // A quarter of 8 messages and of 40 bytes.
        for messages in [&["a", "b"][..], &["ten bytes!"]] {
            let mut outbox = Outbox::new((8, 40));
            for text in messages {
                assert!(outbox.has_room());
                outbox.push(message(text));
            }
            assert!(!outbox.has_room());
            written(&mut outbox, &[], false);
            assert!(outbox.has_room());
        }
    }
}
