//! Decides where the messages of one POST go, and how its handlers, its response and its work meet.
//!
//! Handlers put messages into the [`Outbox`]; the [work](super::work) takes them out after each
//! poll of the handlers and appends them, in one step, to the stream; the [`Pace`] says when
//! handlers have to wait for whoever reads it.
//!
//! Invariants:
//!
//! 1. One task at a time takes from the outbox: the work. The order of the outbox is the order of
//!    the stream.
//! 2. What goes nowhere never streams, so its answers stay JSON.
//! 3. A log is written to once the response has its reader, or will not have one.
//! 4. The state's lock is never held while something is woken, or the engine called.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::Node;
use super::outbox::Outbox;
use super::pace::{Pace, Written};
use super::reader::SendOff;
use super::session::LiveSession;
use crate::error::Rejection;
use crate::hall::{LogLine, Permit};
use crate::identity::Principal;
use crate::message::ProtocolVersion;
use crate::store::{Event, StreamNo};
use crate::streams::Queue;

/// One POST with requests, from its arrival to its last answer.
#[derive(Debug)]
pub(super) struct Exchange {
    node: Arc<Node>,
    place: Place,
    principal: Option<Principal>,
    version: ProtocolVersion,
    outlet: Outlet,
    state: Mutex<State>,
    /// Wakes the work.
    work: AtomicWaker,
    /// Wakes whoever waits for room.
    room: Notify,
}

/// Where the engine finds an exchange.
#[derive(Debug)]
enum Place {
    InSession {
        session: Arc<LiveSession>,
        stream: StreamNo,
    },
    /// Nowhere, so it is counted here, until its handlers have ended: a context may outlive them.
    Alone {
        permit: Mutex<Option<Permit>>,
    },
}

/// Where an exchange streams to.
#[derive(Debug)]
pub(super) enum Outlet {
    /// The log of its stream.
    Log,
    /// One response, without a way back: stateless mode.
    Queue(Arc<Queue>),
    /// Nowhere: answers are JSON.
    Nowhere,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    pace: Pace,
    /// What a reader shall be told when it is made: to leave.
    send_off: Option<SendOff>,
    response: Response,
    /// Why the client gets an error instead of its answer.
    denied: Option<Denied>,
}

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    /// Its status can still be chosen.
    Open,
    /// Its head is on its way, or its client has left.
    Begun,
    /// It said something else: nothing is to be written.
    Refused,
}

/// Why an answer is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// It is larger than the limit.
    TooLarge,
    /// The engine has no room for it.
    NoRoom,
    /// Its session ended.
    SessionEnded,
}

impl State {
    /// Whether a handler may go on sending. After the end nobody is to be waited for.
    fn has_room(&self) -> bool {
        self.outbox.has_ended() || (self.outbox.has_room() && !self.pace.is_behind())
    }
}

impl Exchange {
    /// An exchange in a session, which the engine knows by its stream.
    pub(super) fn in_session(
        node: &Arc<Node>,
        session: &Arc<LiveSession>,
        principal: Option<Principal>,
        stream: StreamNo,
        outlet: Outlet,
    ) -> Arc<Self> {
        let version = session.info.version;
        Self::new(node, Place::InSession { session: Arc::clone(session), stream }, principal, version, outlet)
    }

    /// An exchange outside any session.
    pub(super) fn alone(
        node: &Arc<Node>,
        principal: Option<Principal>,
        version: ProtocolVersion,
        outlet: Outlet,
        permit: Permit,
    ) -> Arc<Self> {
        Self::new(node, Place::Alone { permit: Mutex::new(Some(permit)) }, principal, version, outlet)
    }

    fn new(
        node: &Arc<Node>,
        place: Place,
        principal: Option<Principal>,
        version: ProtocolVersion,
        outlet: Outlet,
    ) -> Arc<Self> {
        let bounds = node.settings.streams.bounds();
        let state = State {
            outbox: Outbox::new(bounds),
            pace: Pace::new(bounds),
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
        self.place().map(|(session, _)| session)
    }

    /// The number the engine knows the exchange under.
    pub(super) fn stream(&self) -> Option<StreamNo> {
        self.place().map(|(_, stream)| stream)
    }

    fn place(&self) -> Option<(&Arc<LiveSession>, StreamNo)> {
        match &self.place {
            Place::InSession { session, stream } => Some((session, *stream)),
            Place::Alone { .. } => None,
        }
    }

    pub(super) fn version(&self) -> ProtocolVersion {
        self.version
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// The session and the number of the log this streams to, where it does.
    pub(super) fn log(&self) -> Option<(&Arc<LiveSession>, StreamNo)> {
        if matches!(self.outlet, Outlet::Log) { self.place() } else { None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What handlers do.

    /// Queues a message; whether there is room for more.
    pub(super) fn emit(&self, event: Event) -> bool {
        if matches!(self.outlet, Outlet::Nowhere) {
            self.node.counters.dropped(1);
            return true;
        }
        let (taken, room, polled) = {
            let mut state = self.state();
            (state.outbox.push(event), state.has_room(), state.outbox.is_polled())
        };
        if !taken {
            self.node.counters.dropped(1);
        } else if !polled {
            self.wake_work();
        }
        room
    }

    /// Waits for room, but not for ever: a reader that stays behind is cut off.
    pub(super) async fn wait_for_room(&self) {
        let room = async {
            loop {
                if let Outlet::Queue(queue) = &self.outlet
                    && self.state().pace.is_behind()
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
        let patience = self.node.settings.streams.slow_reader;
        if tokio::time::timeout(patience, room).await.is_err() {
            self.cut_reader();
        }
    }

    fn cut_reader(&self) {
        if !self.state().pace.cut_off() {
            return;
        }
        self.node.counters.slow_reader();
        if let Some(left_out) = self.node.log_line(LogLine::SlowReader) {
            tracing::warn!(left_out, "a reader that was too slow was cut off");
        }
        match &self.outlet {
            Outlet::Log => self.hang_up_reader(self.node.settings.streams.retry_interval),
            Outlet::Queue(queue) => queue.abandon(),
            Outlet::Nowhere => {}
        }
        self.room.notify_waiters();
    }

    fn hang_up_reader(&self, retry: Option<Duration>) {
        if let Some((session, stream)) = self.log() {
            self.node.step_in_background(self.node.engine.hang_up(session.info.id, stream, retry));
        }
    }

    /// Ends the response while the calls go on; see `Context::close_sse_stream`.
    pub(super) fn close_stream(&self, retry: Option<Duration>) -> bool {
        let streams = &self.node.settings.streams;
        if self.log().is_none() || !streams.resumable || !self.version.has_priming() {
            return false;
        }
        let retry = retry.or(streams.retry_interval);
        let mut state = self.state();
        if state.outbox.has_ended() {
            return false;
        }
        state.outbox.start_streaming();
        if state.pace.is_attached() {
            drop(state);
            self.hang_up_reader(retry);
        } else {
            state.send_off = Some(SendOff { retry });
            drop(state);
            self.wake_work();
        }
        true
    }

    // What the response does.

    pub(super) fn start_streaming(&self) {
        if !matches!(self.outlet, Outlet::Nowhere) {
            self.state().outbox.start_streaming();
        }
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.state().outbox.is_streaming()
    }

    /// A reader was made, or will not be; what it shall be told at once.
    pub(super) fn attached(&self) -> Option<SendOff> {
        let mut state = self.state();
        state.pace.attach();
        state.send_off.take()
    }

    /// The head of the response is on its way, or its client has left. Returns why the answer is denied, where that is
    /// known by now: the status can say so.
    pub(super) fn begin_response(&self) -> Option<Denied> {
        let mut state = self.state();
        if state.response == Response::Open {
            state.response = Response::Begun;
        }
        state.denied
    }

    /// The response said something else than what the handlers did: nothing of theirs is written any more.
    pub(super) fn refuse(&self) {
        let mut state = self.state();
        state.response = Response::Refused;
        state.pace.attach();
    }

    /// Why the client gets an error instead of its answer.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.state().denied
    }

    /// The refusal that a denied answer is.
    pub(super) fn rejection(&self, denied: Denied) -> Rejection {
        match denied {
            Denied::TooLarge => self.node.too_large(),
            Denied::NoRoom => Rejection::AnswerNotKept,
            Denied::SessionEnded => Rejection::SessionEnded,
        }
    }

    /// Answers that were there before any handler ran: to the broken elements of a batch.
    pub(super) fn keep_answers(&self, answers: Vec<Bytes>) {
        self.state().outbox.keep_answers(answers);
    }

    /// The answers, to leave as JSON, and why one of them is denied.
    pub(super) fn take_answers(&self) -> (Vec<Bytes>, Option<Denied>) {
        let mut state = self.state();
        (state.outbox.take_answers(), state.denied)
    }

    /// The reader took something, or left.
    pub(super) fn reader_took(&self) {
        self.state().pace.took();
        self.room.notify_waiters();
    }

    /// The engine may have forgotten what was written: the work looks, or a call that says no more would
    /// not notice.
    pub(super) fn look_again(&self) {
        self.state().outbox.ask_for_a_look();
        self.wake_work();
    }

    // What the work does.

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
    pub(super) fn stop_polling(&self, answers: &mut Vec<Bytes>, done: bool) -> Option<Vec<Event>> {
        let mut state = self.state();
        state.pace.write_begins();
        state.outbox.stop_polling(answers, done)
    }

    /// An answer is not sent. Returns `true` while the status of the response can say so.
    pub(super) fn deny(&self, denied: Denied) -> bool {
        let mut state = self.state();
        state.denied = Some(denied);
        state.response == Response::Open
    }

    /// Waits until the response has its reader, or will not have one. What streams is written only then: an engine
    /// keeps what is read, and may need the room of what is not. Returns `false` if nothing is to be written.
    pub(super) async fn has_reader(&self) -> bool {
        poll_fn(|cx| {
            self.register_work(cx.waker());
            if self.state().pace.is_attached() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.state().response != Response::Refused
    }

    /// Messages went into the log.
    pub(super) fn written(&self, written: Written) {
        self.state().pace.written(written);
        self.room.notify_waiters();
    }

    /// Messages went into the queue; whether it is full.
    pub(super) fn queued(&self, full: bool) {
        self.state().pace.queued(full);
        self.room.notify_waiters();
    }

    /// Nobody is to be waited for any more.
    pub(super) fn end(&self) {
        self.state().outbox.end();
        if let Place::Alone { permit } = &self.place {
            let permit = permit.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let (Some(permit), Outlet::Queue(queue)) = (permit, &self.outlet) {
                queue.hold(permit);
            }
        }
        self.room.notify_waiters();
    }
}
