//! The writer of a call's messages to its stream. It tolerates an engine that is unreachable for a
//! while.
//!
//! 1. Each batch of messages has a sequence number, and the next batch follows it. If the engine
//!    did not confirm a batch, the batch may or may not be written. The engine would take a
//!    different batch at that number for a repetition, so the same batch is written again first.
//! 2. Messages sent while such a batch is pending are lost and logged, except for the end of the
//!    stream.
//! 3. The end is retried until it is written, as long as the call is wanted. Without it, the call
//!    would remain in flight in the engine indefinitely, and the client would get no answer.
//!    Meanwhile readers are detached if they can resume, because an open stream suggests that the
//!    call still runs.
//! 4. An answer that exceeds the engine's capacity is replaced by an error that says so. The engine
//!    rejects no such error.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{Span, field};

use super::backpressure::Written;
use super::exchange::{Delivery, Denied, Exchange};
use crate::core::LogLine;
use crate::error::{Rejection, StoreError, StoreErrorKind};
use crate::message::{RequestId, write};
use crate::store::{Append, Backoff, Event, EventKind};

/// Writes to the stream of an exchange.
pub(super) struct Writer<'a> {
    exchange: &'a Exchange,
    next: u64,
    closed: bool,
    /// The batch that may have been written at `next`.
    unsettled: Vec<Event>,
    /// The sizes of the newest messages, as far back as the reader may not have taken them.
    unread: VecDeque<usize>,
    unread_bytes: usize,
    /// The span of the first call, for log lines.
    span: Span,
}

/// The result of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// The attempt is complete; no retry is needed.
    Done,
    /// The engine has no capacity for the batch.
    Full,
    /// The batch may or may not have been written.
    Later,
}

impl<'a> Writer<'a> {
    pub(super) fn new(exchange: &'a Exchange, span: Span) -> Self {
        let (unsettled, unread) = (Vec::new(), VecDeque::new());
        Self { exchange, next: 1, closed: false, unsettled, unread, unread_bytes: 0, span }
    }

    /// Returns `true` if the end of the stream has been written.
    pub(super) fn has_closed(&self) -> bool {
        self.closed
    }

    pub(super) async fn write(&mut self, events: Vec<Event>, close: bool) {
        if !self.exchange.is_streaming() || (events.is_empty() && !close) {
            return;
        }
        match self.exchange.outlet() {
            Delivery::Discard => {}
            Delivery::Queue(queue) => {
                let room = queue.push(events.into_iter().map(|event| event.payload), close);
                self.exchange.queued(!room);
            }
            Delivery::Log => self.append(events, close).await,
        }
    }

    /// Checks that the engine still has what was written, by an append without events.
    pub(super) async fn recheck(&mut self) {
        let written = self.next > 1 || !self.unsettled.is_empty();
        if written && self.exchange.log().is_some() && self.settle().await {
            self.try_append(Vec::new(), false).await;
        }
    }

    async fn append(&mut self, events: Vec<Event>, close: bool) {
        if !self.exchange.has_reader().await {
            return;
        }
        let answers = Answers::of(&events);
        // Messages are copied for a retry. An engine that is not durable is in this process and
        // always reachable, so it needs no copy.
        let again = if self.exchange.node().core.engine.durable() { events.clone() } else { Vec::new() };
        // Boxed, because it is rare.
        let settled = self.unsettled.is_empty() || Box::pin(self.settle()).await;
        let tried = if settled { self.try_append(events, close).await } else { Tried::Later };
        match tried {
            Tried::Done => return,
            // Boxed, because it is rare.
            Tried::Full => return Box::pin(self.deny(answers, close)).await,
            Tried::Later => {}
        }
        if close && !again.is_empty() {
            Box::pin(self.insist(again)).await;
        } else if settled {
            self.unsettled = again;
        } else {
            if let Some(left_out) = self.log_line(LogLine::MessagesLost) {
                tracing::error!(left_out, "messages of a call were lost");
            }
            self.mark_unsent(&again);
        }
    }

    /// Writes the pending batch again. Returns `true` if no batch is pending any more.
    async fn settle(&mut self) -> bool {
        if self.unsettled.is_empty() {
            return true;
        }
        let settled = self.try_append(self.unsettled.clone(), false).await != Tried::Later;
        if settled {
            self.unsettled = Vec::new();
        }
        settled
    }

    /// Retries until the end of the stream is written or the call is no longer wanted.
    async fn insist(&mut self, events: Vec<Event>) {
        let Some((session, stream)) = self.exchange.log() else { return };
        let streams = &self.exchange.node().core.settings.streams;
        let can_return = streams.resumable && self.exchange.version().has_priming();
        while session.is_wanted(stream) {
            if can_return {
                session.release_reader(stream, u32::MAX, streams.retry_interval);
            }
            Backoff::background().pause().await;
            if !self.settle().await {
                continue;
            }
            match self.try_append(events.clone(), true).await {
                Tried::Done => return,
                Tried::Full => return Box::pin(self.deny(Answers::of(&events), true)).await,
                Tried::Later => {}
            }
        }
    }

    /// Replaces answers that exceed the engine's capacity by errors. The response's status shows
    /// the error if nothing was sent yet; otherwise the stream does.
    async fn deny(&mut self, answers: Answers, close: bool) {
        let error = Rejection::AnswerNotKept.to_error();
        let mut events = Vec::new();
        for id in answers.ids() {
            self.exchange.node().core.counters.answer_rejected();
            if let Some(left_out) = self.log_line(LogLine::NotKept) {
                self.span.in_scope(|| {
                    tracing::error!(%id, left_out, "an answer could not be kept; raise `Streams::max_replay_bytes`");
                });
            }
            events.push(Event { kind: EventKind::Response, payload: write::failure(Some(&id), &error) });
        }
        if events.is_empty() || (self.next == 1 && self.exchange.deny(Denied::NoRoom)) {
            return;
        }
        if self.try_append(events.clone(), close).await == Tried::Later && close {
            self.insist(events).await;
        }
    }

    async fn try_append(&mut self, events: Vec<Event>, close: bool) -> Tried {
        let (node, Some((session, stream))) = (self.exchange.node(), self.exchange.log()) else { return Tried::Done };
        let sizes: Vec<usize> = events.iter().map(|event| event.payload.len()).collect();
        let notifications = events.iter().filter(|event| event.kind == EventKind::Notification).count();
        let requests: Vec<Box<str>> = events.iter().filter_map(request_id).map(Box::from).collect();
        let append = Append { session: session.info.id, stream, node: node.id, first: self.next, events, close };
        let appended = node.core.engine.append(append).await;
        node.core.count_lost(session.info.id, &appended);
        let error = match appended {
            Ok(appended) => {
                self.next += sizes.len() as u64;
                self.closed |= close;
                node.core.counters.dropped(appended.dropped);
                requests.iter().for_each(|request| session.mark_sent(request));
                if appended.cancelled {
                    self.fetch_cancellations();
                }
                self.remember(sizes, appended.unread);
                self.exchange.written(Written {
                    untaken_events: self.unread.len(),
                    untaken_bytes: appended.unread,
                    read: appended.read,
                });
                return Tried::Done;
            }
            Err(error) => error,
        };
        requests.iter().for_each(|request| session.mark_unsent(request));
        self.exchange.written(Written::default());
        if error.kind() == StoreErrorKind::Full {
            node.core.counters.dropped(notifications);
            return Tried::Full;
        }
        self.log(&error);
        match error.kind() {
            // The engine has given the calls up, or has lost their last messages. It would accept
            // no further messages, and the reader would wait for them in vain.
            StoreErrorKind::Fenced | StoreErrorKind::Conflict => session.give_up(stream),
            StoreErrorKind::Unavailable => return Tried::Later,
            // A session that has ended cancels its calls by itself.
            _ => {}
        }
        Tried::Done
    }

    fn log_line(&self, kind: LogLine) -> Option<u64> {
        self.exchange.node().core.log_line(kind)
    }

    /// Logs for the operator why messages were not written.
    fn log(&self, error: &StoreError) {
        let kind = match error.kind() {
            StoreErrorKind::NotFound => return,
            StoreErrorKind::Fenced | StoreErrorKind::Conflict => LogLine::GivenUp,
            StoreErrorKind::Unavailable => LogLine::NotWrittenYet,
            _ => LogLine::MessagesLost,
        };
        let Some(left_out) = self.log_line(kind) else { return };
        let session = self.exchange.session().map(|session| field::debug(session.info.id));
        let cause = error as &dyn std::error::Error;
        match error.kind() {
            StoreErrorKind::Fenced => {
                tracing::warn!(session, left_out, "a call was abandoned while this node could not reach the engine");
            }
            StoreErrorKind::Conflict => {
                tracing::error!(session, left_out, "a call was abandoned: the engine lost its messages");
            }
            StoreErrorKind::Unavailable => {
                tracing::warn!(error = cause, left_out, "messages of a call could not be written yet");
            }
            _ => tracing::error!(error = cause, left_out, "messages of a call were lost"),
        }
    }

    fn fetch_cancellations(&self) {
        let (node, Some((session, stream))) = (self.exchange.node(), self.exchange.log()) else { return };
        let (core, session) = (Arc::clone(&node.core), Arc::clone(session));
        node.core.in_background(Box::pin(async move { session.fetch_cancellations(&core, stream).await }));
    }

    /// Ends the wait for answers to the requests to the client among these events.
    fn mark_unsent(&self, events: &[Event]) {
        if let Some((session, _)) = self.exchange.log() {
            events.iter().filter_map(request_id).for_each(|request| session.mark_unsent(request));
        }
    }

    /// Updates the number of unread messages. The engine reports only unread bytes, so the sizes of
    /// the newest messages are remembered.
    fn remember(&mut self, sizes: Vec<usize>, unread: usize) {
        self.unread_bytes += sizes.iter().sum::<usize>();
        self.unread.extend(sizes);
        while self.unread_bytes > unread
            && let Some(taken) = self.unread.pop_front()
        {
            self.unread_bytes -= taken;
        }
    }
}

/// The answers among some events. There is nearly always at most one, which needs no allocation.
struct Answers {
    first: Option<Bytes>,
    rest: Vec<Bytes>,
}

impl Answers {
    fn of(events: &[Event]) -> Self {
        let mut answers = events.iter().filter(|event| event.kind == EventKind::Response).map(|event| &event.payload);
        Self { first: answers.next().cloned(), rest: answers.cloned().collect() }
    }

    /// Returns the ids that they answer.
    fn ids(&self) -> impl Iterator<Item = RequestId> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
        }
        let id = |answer: &Bytes| serde_json::from_slice::<Answer<'_>>(answer).ok()?.id.get().parse().ok();
        self.first.iter().chain(&self.rest).filter_map(id)
    }
}

fn request_id(event: &Event) -> Option<&str> {
    match &event.kind {
        EventKind::Request(request) => Some(request),
        EventKind::Notification | EventKind::Response => None,
    }
}
