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
//! 3. The state's lock is never held while something is woken, or the engine called.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Node;
use super::outbox::Outbox;
use super::pace::{Pace, Written};
use super::reader::SendOff;
use super::session::LiveSession;
use crate::hall::Permit;
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
    /// A draining service waits for this.
    _active: TaskTrackerToken,
}

/// Where the engine finds an exchange.
#[derive(Debug)]
enum Place {
    InSession {
        session: Arc<LiveSession>,
        stream: StreamNo,
    },
    /// Nowhere, so it is counted here.
    Alone {
        _permit: Permit,
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
        Self::new(node, Place::Alone { _permit: permit }, principal, version, outlet)
    }

    fn new(
        node: &Arc<Node>,
        place: Place,
        principal: Option<Principal>,
        version: ProtocolVersion,
        outlet: Outlet,
    ) -> Arc<Self> {
        let bounds = node.settings.streams.bounds();
        let state = State { outbox: Outbox::new(bounds), pace: Pace::new(bounds), send_off: None };
        Arc::new(Self {
            node: Arc::clone(node),
            place,
            principal,
            version,
            outlet,
            state: Mutex::new(state),
            work: AtomicWaker::new(),
            room: Notify::new(),
            _active: node.running.token(),
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
        tracing::warn!("a reader that was too slow was cut off");
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

    /// Answers that were there before any handler ran: to the broken elements of a batch.
    pub(super) fn keep_answers(&self, answers: Vec<Bytes>) {
        self.state().outbox.keep_answers(answers);
    }

    /// The answers, to leave as JSON.
    pub(super) fn take_answers(&self) -> Vec<Bytes> {
        self.state().outbox.take_answers()
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
        self.room.notify_waiters();
    }
}
