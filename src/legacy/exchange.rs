//! Exchange: one POST with requests, and the state that its handlers, response and work share.
//!
//! Handlers put messages into the [`Outbox`]. The [work](super::driver) takes them out after each
//! poll of the handlers and appends them to the stream in one operation. The [`Backpressure`] determines
//! when handlers wait for the reader.
//!
//! Invariants:
//!
//! 1. Only one task at a time takes from the outbox: the work. The order of the outbox is the order
//!    of the stream.
//! 2. An exchange whose messages go nowhere never streams, so its answers remain JSON.
//! 3. A log is written only after the response has its reader, or is certain to get none.
//! 4. The lock on the state is never held while a task is woken or the engine is called.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::Node;
use super::backpressure::{Backpressure, Written};
use super::cells::Detach;
use super::outbox::{Next, Outbox};
use super::session::LiveSession;
use crate::core::{LogLine, Permit};
use crate::error::Rejection;
use crate::identity::Principal;
use crate::message::ProtocolVersion;
use crate::store::{Event, StreamNo};
use crate::streams::Queue;

/// One POST with requests, from its arrival to its last answer.
#[derive(Debug)]
pub(super) struct Exchange {
    node: Arc<Node>,
    place: Scope,
    principal: Option<Principal>,
    version: ProtocolVersion,
    outlet: Delivery,
    state: Mutex<State>,
    /// Wakes the work.
    work: AtomicWaker,
    /// Wakes handlers that wait for capacity.
    room: Notify,
}

/// The scope of an exchange: in a session, or outside any.
#[derive(Debug)]
enum Scope {
    InSession {
        session: Arc<LiveSession>,
        stream: StreamNo,
    },
    /// The engine does not know the exchange, so this permit counts it. When the handlers have
    /// ended, it is released, or passed to the queue until that has been read. It is not tied to
    /// the exchange, because a context may outlive the handlers.
    Alone {
        permit: Mutex<Option<Permit>>,
    },
}

/// Where the messages of an exchange go.
#[derive(Debug)]
pub(super) enum Delivery {
    /// To the log of its stream.
    Log,
    /// To one response, without resumption: stateless mode.
    Queue(Arc<Queue>),
    /// Nowhere: the answers are sent as JSON.
    Discard,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    backpressure: Backpressure,
    /// The detach request for a reader that has not been created yet.
    send_off: Option<Detach>,
    response: Response,
    /// The reason why the client receives an error instead of its answer.
    denied: Option<Denied>,
}

/// The progress of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    /// The status can still be chosen.
    Open,
    /// The head is being sent, or the client has disconnected.
    Begun,
    /// The response was an error of its own: nothing may be written.
    Refused,
}

/// The reason why an answer is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// It is larger than the limit.
    TooLarge,
    /// The engine has no capacity for it.
    NoRoom,
    /// Its session ended.
    SessionEnded,
    /// Its handler needs these scopes.
    Scopes(Vec<String>),
}

impl State {
    /// Returns `true` if handlers may continue to send. After the end they need not wait.
    fn has_room(&self) -> bool {
        self.outbox.has_ended() || (self.outbox.has_room() && !self.backpressure.is_behind())
    }
}

impl Exchange {
    /// Creates an exchange in a session. The engine knows it by its stream.
    pub(super) fn in_session(
        node: &Arc<Node>,
        session: &Arc<LiveSession>,
        principal: Option<Principal>,
        stream: StreamNo,
        outlet: Delivery,
    ) -> Arc<Self> {
        let version = session.info.version;
        Self::new(node, Scope::InSession { session: Arc::clone(session), stream }, principal, version, outlet)
    }

    /// Creates an exchange outside any session.
    pub(super) fn alone(
        node: &Arc<Node>,
        principal: Option<Principal>,
        version: ProtocolVersion,
        outlet: Delivery,
        permit: Permit,
    ) -> Arc<Self> {
        Self::new(node, Scope::Alone { permit: Mutex::new(Some(permit)) }, principal, version, outlet)
    }

    fn new(
        node: &Arc<Node>,
        place: Scope,
        principal: Option<Principal>,
        version: ProtocolVersion,
        outlet: Delivery,
    ) -> Arc<Self> {
        let bounds = node.core.settings.streams.bounds();
        let state = State {
            outbox: Outbox::new(bounds),
            backpressure: Backpressure::new(bounds),
            send_off: None,
            response: Response::Open,
            denied: None,
        };
        Arc::new(Self {
            node: Arc::clone(node),
            place,
            principal,
            version,
            outlet,
            state: Mutex::new(state),
            work: AtomicWaker::new(),
            room: Notify::new(),
        })
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(super) fn session(&self) -> Option<&Arc<LiveSession>> {
        self.scope().map(|(session, _)| session)
    }

    /// Returns the number by which the engine knows the exchange.
    pub(super) fn stream(&self) -> Option<StreamNo> {
        self.scope().map(|(_, stream)| stream)
    }

    fn scope(&self) -> Option<(&Arc<LiveSession>, StreamNo)> {
        match &self.place {
            Scope::InSession { session, stream } => Some((session, *stream)),
            Scope::Alone { .. } => None,
        }
    }

    pub(super) fn version(&self) -> ProtocolVersion {
        self.version
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    pub(super) fn outlet(&self) -> &Delivery {
        &self.outlet
    }

    /// Returns the session and the log's number, if the exchange streams to a log.
    pub(super) fn log(&self) -> Option<(&Arc<LiveSession>, StreamNo)> {
        if matches!(self.outlet, Delivery::Log) { self.scope() } else { None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Called by handlers.

    /// Queues a message. Returns `false` if the handler should wait before the next one.
    pub(super) fn emit(&self, event: Event) -> bool {
        if matches!(self.outlet, Delivery::Discard) {
            self.node.core.counters.dropped(1);
            return true;
        }
        let (taken, room, polled) = {
            let mut state = self.state();
            (state.outbox.push(event), state.has_room(), state.outbox.is_polled())
        };
        if !taken {
            self.node.core.counters.dropped(1);
        } else if !polled {
            self.wake_work();
        }
        room
    }

    /// Waits until capacity is available. A reader that remains behind longer than the slow-reader
    /// timeout is detached.
    pub(super) async fn wait_for_room(&self) {
        let room = async {
            loop {
                if let Delivery::Queue(queue) = &self.outlet
                    && self.state().backpressure.is_behind()
                {
                    queue.room().await;
                    self.reader_took();
                }
                let freed = self.room.notified();
                if self.state().has_room() {
                    return;
                }
                freed.await;
            }
        };
        let patience = self.node.core.settings.streams.slow_reader_timeout;
        if tokio::time::timeout(patience, room).await.is_err() {
            self.cut_reader();
        }
    }

    fn cut_reader(&self) {
        if !self.state().backpressure.cut_off() {
            return;
        }
        self.node.core.counters.slow_reader();
        if let Some(left_out) = self.node.core.log_line(LogLine::SlowReader) {
            tracing::warn!(left_out, "a reader that was too slow was cut off");
        }
        match &self.outlet {
            Delivery::Log => self.detach_reader(self.node.core.settings.streams.retry_interval),
            Delivery::Queue(queue) => queue.abandon(),
            Delivery::Discard => {}
        }
        self.room.notify_waiters();
    }

    fn detach_reader(&self, retry: Option<Duration>) {
        if let Some((session, stream)) = self.log() {
            self.node.core.step_in_background(self.node.core.engine.request_detach(session.info.id, stream, retry));
        }
    }

    /// Ends the response while the calls continue; see `Context::close_sse_stream`.
    pub(super) fn close_stream(&self, retry: Option<Duration>) -> bool {
        let streams = &self.node.core.settings.streams;
        if self.log().is_none() || !streams.resumable || !self.version.has_priming() {
            return false;
        }
        let retry = retry.or(streams.retry_interval);
        let mut state = self.state();
        if state.outbox.has_ended() {
            return false;
        }
        state.outbox.start_streaming();
        if state.backpressure.is_attached() {
            drop(state);
            self.detach_reader(retry);
        } else {
            state.send_off = Some(Detach { retry });
            drop(state);
            self.wake_work();
        }
        true
    }

    // Called by the response.

    pub(super) fn start_streaming(&self) {
        if !matches!(self.outlet, Delivery::Discard) {
            self.state().outbox.start_streaming();
        }
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.state().outbox.is_streaming()
    }

    /// Records that the reader exists, or that none will. Returns a detach request that arrived
    /// before the reader.
    pub(super) fn attached(&self) -> Option<Detach> {
        let mut state = self.state();
        state.backpressure.attach();
        state.send_off.take()
    }

    /// Records that the response has its reader by now, or will never have one.
    pub(super) fn settle_reader(&self) {
        self.state().backpressure.attach();
    }

    /// Records that the response's head is being sent, or that its client has disconnected. Returns
    /// the reason if the answer has been denied by now, so that the status can show it.
    pub(super) fn begin_response(&self) -> Option<Denied> {
        let mut state = self.state();
        if state.response == Response::Open {
            state.response = Response::Begun;
        }
        state.denied.clone()
    }

    /// Records that the response was an error of its own. No message of the handlers is written
    /// from now on.
    pub(super) fn reject(&self) {
        let mut state = self.state();
        state.response = Response::Refused;
        state.backpressure.attach();
    }

    /// Returns the reason why the client receives an error instead of its answer.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.state().denied.clone()
    }

    /// Returns the rejection for a denied answer.
    pub(super) fn rejection(&self, denied: Denied) -> Rejection {
        match denied {
            Denied::TooLarge => self.node.core.too_large(),
            Denied::NoRoom => Rejection::AnswerNotKept,
            Denied::SessionEnded => Rejection::SessionEnded,
            Denied::Scopes(scopes) => Rejection::InsufficientScope { scopes },
        }
    }

    /// Stores the answers that exist before any handler runs: those to the malformed elements of a
    /// batch.
    pub(super) fn keep_answers(&self, answers: Vec<Bytes>) {
        self.state().outbox.keep_answers(answers);
    }

    /// Returns the answers to be sent as JSON, and the reason if one of them is denied.
    pub(super) fn take_answers(&self) -> (Vec<Bytes>, Option<Denied>) {
        let mut state = self.state();
        (state.outbox.take_answers(), state.denied.clone())
    }

    /// Records that the reader took messages or disconnected.
    pub(super) fn reader_took(&self) {
        self.state().backpressure.took();
        self.room.notify_waiters();
    }

    /// Makes the work check that the engine still has what was written. Without this, a call that
    /// sends no further message would not notice a loss.
    pub(super) fn recheck(&self) {
        self.state().outbox.request_recheck();
        self.wake_work();
    }

    // Called by the work.

    pub(super) fn register_work(&self, waker: &Waker) {
        self.work.register(waker);
    }

    pub(super) fn wake_work(&self) {
        self.work.wake();
    }

    pub(super) fn start_polling(&self) {
        self.state().outbox.start_polling();
    }

    /// See [`Outbox::stop_polling`].
    pub(super) fn stop_polling(&self, answers: &mut Vec<Bytes>, done: bool) -> Next {
        let mut state = self.state();
        state.backpressure.write_begins();
        state.outbox.stop_polling(answers, done)
    }

    /// Records that an answer is not sent. Returns `true` if the status of the response can still
    /// show it.
    pub(super) fn deny(&self, denied: Denied) -> bool {
        let mut state = self.state();
        state.denied = Some(denied);
        state.response == Response::Open
    }

    /// Waits until the response has its reader, or is certain to get none. Streamed messages are
    /// written only then: an engine keeps what is being read, and may reclaim the space of anything
    /// else. Returns `false` if nothing may be written.
    pub(super) async fn has_reader(&self) -> bool {
        poll_fn(|cx| {
            self.register_work(cx.waker());
            if self.state().backpressure.is_attached() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.state().response != Response::Refused
    }

    /// Records that messages were appended to the log.
    pub(super) fn written(&self, written: Written) {
        self.state().backpressure.written(written);
        self.room.notify_waiters();
    }

    /// Records that messages were put into the queue, and whether it is full.
    pub(super) fn queued(&self, full: bool) {
        self.state().backpressure.queued(full);
        self.room.notify_waiters();
    }

    /// Ends the exchange: no handler waits for the reader from now on.
    pub(super) fn end(&self) {
        self.state().outbox.end();
        if let Scope::Alone { permit } = &self.place {
            let permit = permit.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let (Some(permit), Delivery::Queue(queue)) = (permit, &self.outlet) {
                queue.hold(permit);
            }
        }
        self.room.notify_waiters();
    }
}
