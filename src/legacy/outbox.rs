//! Decides what of an exchange waits to be written, and whether its answers leave as JSON or in
//! its stream.
//!
//! 1. Messages leave in the order they came. Handlers never wait for the engine or the network: a
//!    burst is one write, and a dropped `progress()` future loses nothing.
//! 2. The exchange *streams* from its first message on, or from when it is told to, and never
//!    stops again. Until then answers are kept apart: they may still leave as JSON.
//! 3. Once it streams, an answer is a message like any other, and comes after what its handler
//!    sent.
//! 4. After the end nothing is taken in.
//! 5. What waits is bounded, softly: whoever finds the outbox full has put its message in, and
//!    waits before the next.

use bytes::Bytes;

use crate::store::{Event, EventKind};

/// What waits to be written. One task at a time takes from it: the [work](super::work).
#[derive(Debug)]
pub(super) struct Outbox {
    /// Messages and bytes it may hold.
    bounds: (usize, usize),
    events: Vec<Event>,
    bytes: usize,
    /// Answers that may still leave as JSON.
    answers: Vec<Bytes>,
    streaming: bool,
    /// The work is to look whether what it wrote stands, though there may be nothing to write.
    look: bool,
    /// The handlers are being polled; the outbox is looked at right after.
    polled: bool,
    ended: bool,
}

/// The most that waits before whoever sends has to; no more bytes than a reader takes at once.
const MAX_EVENTS: usize = 128;
const MAX_BYTES: usize = 64 << 10;

impl Outbox {
    /// Of a stream that holds so many messages and bytes for its reader. The outbox holds a
    /// quarter of that at most: what a reader is behind must fit into its log together with it,
    /// or the reader would lose messages though it reads.
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

    /// Takes a message in; whether it did.
    pub(super) fn push(&mut self, event: Event) -> bool {
        if self.ended {
            return false;
        }
        self.bytes += event.payload.len();
        self.events.push(event);
        self.streaming = true;
        true
    }

    /// Answers that were there before any handler ran: to the broken elements of a batch.
    pub(super) fn keep_answers(&mut self, answers: Vec<Bytes>) {
        self.answers = answers;
    }

    /// The answers, to leave as JSON.
    pub(super) fn take_answers(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.answers)
    }

    /// Not after the end: the answers wait to leave as JSON then, while the engine hears that the calls are over.
    pub(super) fn start_streaming(&mut self) {
        self.streaming |= !self.ended;
    }

    pub(super) fn ask_for_a_look(&mut self) {
        self.look = true;
    }

    pub(super) fn start_polling(&mut self) {
        self.polled = true;
    }

    /// After the handlers were polled: what is to be written, or `None` to wait. Nothing before they are
    /// done: only a look was asked for. `done`: every
    /// handler has ended, and with them the exchange; whether it streamed is settled then.
    pub(super) fn stop_polling(&mut self, answers: &mut Vec<Bytes>, done: bool) -> Option<Vec<Event>> {
        self.polled = false;
        self.ended |= done;
        if self.answers.is_empty() {
            std::mem::swap(&mut self.answers, answers);
        } else {
            self.answers.append(answers);
        }
        if !self.streaming {
            return done.then(Vec::new);
        }
        let answers = std::mem::take(&mut self.answers);
        let look = std::mem::take(&mut self.look);
        self.events.extend(answers.into_iter().map(|payload| Event { kind: EventKind::Response, payload }));
        if self.events.is_empty() && !done && !look {
            return None;
        }
        self.bytes = 0;
        Some(std::mem::take(&mut self.events))
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
        let events = outbox.stop_polling(&mut answers(new), done)?;
        Some(events.into_iter().map(|event| event.payload).collect())
    }

    #[test]
    fn what_never_streams_keeps_its_answers_for_json() {
        let mut outbox = outbox();
        outbox.keep_answers(answers(&["broken"]));
        assert_eq!(written(&mut outbox, &["a"], false), None);
        assert_eq!(written(&mut outbox, &["b"], true), Some(vec![]));
        assert_eq!(outbox.take_answers(), answers(&["broken", "a", "b"]));
    }

    #[test]
    fn an_answer_comes_after_what_was_sent_before_it() {
        let mut outbox = outbox();
        assert_eq!(written(&mut outbox, &["first"], false), None);
        assert!(outbox.push(message("progress")));
        assert_eq!(written(&mut outbox, &["last"], true), Some(answers(&["progress", "first", "last"])));
        assert!(outbox.take_answers().is_empty());
    }

    #[test]
    fn a_stream_without_news_waits_until_it_is_done() {
        let mut outbox = outbox();
        outbox.start_streaming();
        assert_eq!(written(&mut outbox, &[], false), None);
        assert_eq!(written(&mut outbox, &[], true), Some(vec![]));
    }

    #[test]
    fn a_look_is_taken_once_and_only_where_something_was_written() {
        let mut outbox = outbox();
        outbox.ask_for_a_look();
        assert_eq!(written(&mut outbox, &[], false), None);
        outbox.start_streaming();
        assert_eq!(written(&mut outbox, &[], false), Some(vec![]));
        assert_eq!(written(&mut outbox, &[], false), None);
    }

    #[test]
    fn after_the_end_nothing_is_taken_in() {
        let mut outbox = outbox();
        assert_eq!(written(&mut outbox, &[], true), Some(vec![]));
        assert!(!outbox.push(message("late")));
        outbox.start_streaming();
        assert!(!outbox.is_streaming());
    }

    #[test]
    fn it_is_full_by_number_or_by_size_until_it_is_taken() {
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
