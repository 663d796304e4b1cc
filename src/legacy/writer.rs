//! Decides how what a call says comes into its stream, also where the engine is out of reach for a while.
//!
//! 1. A batch of messages has a place, and the next batch has the next one. Of a batch that was not
//!    answered for nobody knows whether it stands. Another at its place would be taken for the same, said
//!    again; so it is written once more before anything else is.
//! 2. What is said while such a batch waits is lost, and logged, but for the end of the stream.
//! 3. The end is written however long that takes, as long as the call is wanted: without it the engine
//!    has a call in flight for ever, and the client no answer. Who reads meanwhile is sent away to come
//!    back, where it can: an open stream looks as if the call went on.
//! 4. An answer for which the engine has no room becomes an error that says so; of such an error it refuses none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{Span, field};

use super::exchange::{Denied, Exchange, Outlet};
use super::pace::Written;
use crate::error::{Rejection, StoreError, StoreErrorKind};
use crate::hall::LogLine;
use crate::message::{RequestId, write};
use crate::store::{Append, Event, EventKind};

/// The one that writes to the stream of an exchange.
pub(super) struct Writer<'a> {
    exchange: &'a Exchange,
    next: u64,
    closed: bool,
    /// The batch that may stand at `next`.
    unsettled: Vec<Event>,
    /// The sizes of the newest messages, as far back as the reader may not have taken them.
    unread: VecDeque<usize>,
    unread_bytes: usize,
    /// Of the first call, for the log.
    span: Span,
}

/// What came of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// The engine answered for it.
    Done,
    /// The engine has no room for it.
    Full,
    /// It may have been written, or not.
    Later,
}

/// Between two attempts to write the end. The engine has its own patience in each.
const PAUSE: Duration = Duration::from_secs(1);

impl<'a> Writer<'a> {
    pub(super) fn new(exchange: &'a Exchange, span: Span) -> Self {
        let (unsettled, unread) = (Vec::new(), VecDeque::new());
        Self { exchange, next: 1, closed: false, unsettled, unread, unread_bytes: 0, span }
    }

    /// Whether the end stands in the stream.
    pub(super) fn has_closed(&self) -> bool {
        self.closed
    }

    pub(super) async fn write(&mut self, events: Vec<Event>, close: bool) {
        if !self.exchange.is_streaming() || (events.is_empty() && !close) {
            return;
        }
        match self.exchange.outlet() {
            Outlet::Nowhere => {}
            Outlet::Queue(queue) => {
                let room = queue.push(events.into_iter().map(|event| event.payload), close);
                self.exchange.queued(!room);
            }
            Outlet::Log => self.append(events, close).await,
        }
    }

    /// Looks whether what was written stands: that no events come next, says so.
    pub(super) async fn look(&mut self) {
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
        // What ends with this process is never out of reach of it.
        let again = if self.exchange.node().engine.durable() { events.clone() } else { Vec::new() };
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
            self.not_asked(&again);
        }
    }

    /// Writes the batch that may stand already; whether the engine answered for it.
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

    /// Writes the end as soon as that can be.
    async fn insist(&mut self, events: Vec<Event>) {
        let Some((session, stream)) = self.exchange.log() else { return };
        let streams = &self.exchange.node().settings.streams;
        let can_return = streams.resumable && self.exchange.version().has_priming();
        while session.is_wanted(stream) {
            if can_return {
                session.release_reader(stream, u32::MAX, streams.retry_interval);
            }
            tokio::time::sleep(PAUSE).await;
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

    /// Says instead of answers for which there is no room that there is none: with the status of the response where
    /// nothing was sent, else in the stream.
    async fn deny(&mut self, answers: Answers, close: bool) {
        let error = Rejection::AnswerNotKept.to_error();
        let mut events = Vec::new();
        for id in answers.ids() {
            self.exchange.node().counters.answer_refused();
            if let Some(left_out) = self.log_line(LogLine::NotKept) {
                self.span.in_scope(|| {
                    tracing::error!(%id, left_out, "there was no room for an answer; `Streams::kept_in_all` makes more");
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
        let questions: Vec<Box<str>> = events.iter().filter_map(question).map(Box::from).collect();
        let append = Append { session: session.info.id, stream, node: node.id, first: self.next, events, close };
        let appended = node.engine.append(append).await;
        node.count_lost(session.info.id, &appended);
        let error = match appended {
            Ok(appended) => {
                self.next += sizes.len() as u64;
                self.closed |= close;
                node.counters.dropped(appended.dropped);
                questions.iter().for_each(|question| session.asked(question));
                if appended.cancelled {
                    self.look_for_cancellations();
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
        questions.iter().for_each(|question| session.not_asked(question));
        self.exchange.written(Written::default());
        if error.kind() == StoreErrorKind::Full {
            node.counters.dropped(notifications);
            return Tried::Full;
        }
        self.log(&error);
        match error.kind() {
            // The engine has given the calls up, or forgotten what was said last: nothing that follows would be taken,
            // and its reader would wait for it in vain.
            StoreErrorKind::Fenced | StoreErrorKind::Conflict => session.give_up(stream),
            StoreErrorKind::Unavailable => return Tried::Later,
            // A session that ended takes its calls with it.
            _ => {}
        }
        Tried::Done
    }

    fn log_line(&self, kind: LogLine) -> Option<u64> {
        self.exchange.node().log_line(kind)
    }

    /// Says for the operator why messages were not written.
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
                tracing::warn!(session, left_out, "a call was given up while this node was away");
            }
            StoreErrorKind::Conflict => {
                tracing::error!(session, left_out, "a call was given up whose messages were forgotten");
            }
            StoreErrorKind::Unavailable => {
                tracing::warn!(error = cause, left_out, "messages of a call could not be written yet");
            }
            _ => tracing::error!(error = cause, left_out, "messages of a call were lost"),
        }
    }

    fn look_for_cancellations(&self) {
        let (node, Some((session, stream))) = (self.exchange.node(), self.exchange.log()) else { return };
        let (there, session) = (Arc::clone(node), Arc::clone(session));
        node.in_background(Box::pin(async move { session.look_for_cancellations(&there, stream).await }));
    }

    /// Whoever asked something in these messages does not wait for an answer.
    fn not_asked(&self, events: &[Event]) {
        if let Some((session, _)) = self.exchange.log() {
            events.iter().filter_map(question).for_each(|question| session.not_asked(question));
        }
    }

    /// The engine counts what is unread in bytes; the sizes tell how many messages that are.
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

/// The answers in some events. Nearly always there is one at most, which takes no list.
struct Answers {
    first: Option<Bytes>,
    rest: Vec<Bytes>,
}

impl Answers {
    fn of(events: &[Event]) -> Self {
        let mut answers = events.iter().filter(|event| event.kind == EventKind::Response).map(|event| &event.payload);
        Self { first: answers.next().cloned(), rest: answers.cloned().collect() }
    }

    /// The ids they answer.
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

fn question(event: &Event) -> Option<&str> {
    match &event.kind {
        EventKind::Request(question) => Some(question),
        EventKind::Notification | EventKind::Response => None,
    }
}
