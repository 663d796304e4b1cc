//! Decides where the messages of one POST go, and what its calls can do while they run.
//!
//! Messages queue in the *outbox*; the [work](super::work) takes them out after each poll of the
//! handlers and appends them, in one step, to the stream. Handlers thus never wait for the engine
//! or the network, a burst is one append, and a dropped `progress()` future loses nothing.
//!
//! Invariants:
//!
//! 1. One task at a time takes from the outbox: the work. The order of the outbox is the order of
//!    the stream.
//! 2. `streaming` goes from false to true once, and only where there is a stream. Until then
//!    answers are kept apart, because they may still leave as JSON.
//! 3. After `ended` nothing is queued.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::reader::SendOff;
use super::session::LiveSession;
use super::{Node, input};
use crate::identity::Principal;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion, RawJson, RequestId};
use crate::server::ClientError;
use crate::server::channel::{Channel, SessionAccess};
use crate::store::{Event, EventKind, STANDALONE, StreamNo};
use crate::streams::{HIGH_WATER, Queue};

/// One POST with requests, from its arrival to its last answer.
#[derive(Debug)]
pub(super) struct Exchange {
    node: Arc<Node>,
    session: Option<Arc<LiveSession>>,
    principal: Option<Principal>,
    version: ProtocolVersion,
    /// The number the engine knows the exchange under; `None`: it knows nothing of it.
    stream: Option<StreamNo>,
    outlet: Outlet,
    state: Mutex<State>,
    /// Wakes the work.
    work: AtomicWaker,
    /// Wakes whoever waits for room.
    room: Notify,
    /// A draining service waits for this.
    _active: TaskTrackerToken,
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

#[derive(Debug, Default)]
struct State {
    outbox: Vec<Event>,
    outbox_bytes: usize,
    /// Answers that may still leave as JSON.
    answers: Vec<Bytes>,
    streaming: bool,
    /// The handlers are being polled: the outbox is looked at right after.
    polling: bool,
    /// The reader is far behind.
    behind: bool,
    /// The reader was cut off for it, and has neither left nor read since.
    cut: bool,
    /// The reader took some since the present write began: what the engine then tells of it is old.
    taken: bool,
    /// A reader of the stream was made.
    attached: bool,
    /// What a reader shall be told when it is made: to leave.
    send_off: Option<SendOff>,
    ended: bool,
}

/// What the outbox holds before an emitter has to wait for the work to come round; no more bytes
/// than a reader takes at once.
const OUTBOX_EVENTS: usize = 128;
const OUTBOX_BYTES: usize = 64 << 10;

impl Exchange {
    pub(super) fn new(
        node: &Arc<Node>,
        session: Option<Arc<LiveSession>>,
        principal: Option<Principal>,
        version: ProtocolVersion,
        stream: Option<StreamNo>,
        outlet: Outlet,
    ) -> Arc<Self> {
        Arc::new(Self {
            node: Arc::clone(node),
            session,
            principal,
            version,
            stream,
            outlet,
            state: Mutex::default(),
            work: AtomicWaker::new(),
            room: Notify::new(),
            _active: node.running.token(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(super) fn session(&self) -> Option<&Arc<LiveSession>> {
        self.session.as_ref()
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

    /// The number the engine knows the exchange under.
    pub(super) fn stream(&self) -> Option<StreamNo> {
        self.stream
    }

    /// The session and the number of the log this streams to, where it does.
    pub(super) fn log(&self) -> Option<(&Arc<LiveSession>, StreamNo)> {
        match self.outlet {
            Outlet::Log => self.session.as_ref().zip(self.stream),
            Outlet::Queue(_) | Outlet::Nowhere => None,
        }
    }

    // What handlers do.

    /// Queues a message; whether there is room for more.
    pub(super) fn emit(&self, event: Event) -> bool {
        if matches!(self.outlet, Outlet::Nowhere) {
            self.node.counters.dropped(1);
            return true;
        }
        let mut state = self.state();
        if state.ended {
            drop(state);
            self.node.counters.dropped(1);
            return true;
        }
        state.outbox_bytes += event.payload.len();
        state.outbox.push(event);
        state.streaming = true;
        let (room, polling) = (self.has_room(&state), state.polling);
        drop(state);
        if !polling {
            self.work.wake();
        }
        room
    }

    /// Waits for room, but not for ever: a reader that stays behind is cut off.
    async fn wait_for_room(&self) {
        let room = async {
            loop {
                if let Outlet::Queue(queue) = &self.outlet
                    && self.state().behind
                {
                    queue.room().await;
                    self.drained();
                }
                let freed = self.room.notified();
                if self.has_room(&self.state()) {
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

    /// An emitter has to wait beyond this. What a reader is behind must fit into its log, or it
    /// would lose messages though it reads.
    fn has_room(&self, state: &State) -> bool {
        let (events, bytes) = self.node.settings.streams.bounds();
        state.ended
            || (!state.behind
                && state.outbox.len() < (events / 4).clamp(1, OUTBOX_EVENTS)
                && state.outbox_bytes < (bytes / 4).clamp(1, OUTBOX_BYTES))
    }

    fn cut_reader(&self) {
        {
            let mut state = self.state();
            if std::mem::replace(&mut state.cut, true) {
                return;
            }
            state.behind = false;
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
            self.node.step_aside(self.node.engine.hang_up(session.info.id, stream, retry));
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
        if state.ended {
            return false;
        }
        state.streaming = true;
        if state.attached {
            drop(state);
            self.hang_up_reader(retry);
        } else {
            state.send_off = Some(SendOff { retry });
            drop(state);
            self.work.wake();
        }
        true
    }

    // What the response does.

    pub(super) fn start_streaming(&self) {
        if !matches!(self.outlet, Outlet::Nowhere) {
            self.state().streaming = true;
        }
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.state().streaming
    }

    /// A reader was made, or will not be; what it shall be told at once.
    pub(super) fn attached(&self) -> Option<SendOff> {
        let mut state = self.state();
        state.attached = true;
        state.send_off.take()
    }

    /// Answers that were there before any handler ran: the broken elements of a batch.
    pub(super) fn keep_answers(&self, answers: Vec<Bytes>) {
        self.state().answers = answers;
    }

    pub(super) fn take_answers(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.state().answers)
    }

    /// There is room again, as far as the reader is concerned.
    pub(super) fn drained(&self) {
        {
            let mut state = self.state();
            (state.behind, state.cut, state.taken) = (false, false, true);
        }
        self.room.notify_waiters();
    }

    // What the work does.

    pub(super) fn register_work(&self, waker: &Waker) {
        self.work.register(waker);
    }

    pub(super) fn start_polling(&self) {
        self.state().polling = true;
    }

    /// After the handlers were polled: what is to be written, or `None` to wait. `done`: every
    /// handler has ended, and with them the exchange; whether it streamed is settled then.
    pub(super) fn stop_polling(&self, answers: &mut Vec<Bytes>, done: bool) -> Option<Vec<Event>> {
        let mut state = self.state();
        state.polling = false;
        state.taken = false;
        state.ended |= done;
        if state.answers.is_empty() {
            std::mem::swap(&mut state.answers, answers);
        } else {
            state.answers.append(answers);
        }
        if !state.streaming {
            return done.then(Vec::new);
        }
        let answers = std::mem::take(&mut state.answers);
        state.outbox.extend(answers.into_iter().map(|payload| Event { kind: EventKind::Response, payload }));
        if state.outbox.is_empty() && !done {
            return None;
        }
        state.outbox_bytes = 0;
        Some(std::mem::take(&mut state.outbox))
    }

    /// Messages were written; how many messages and bytes the reader has not taken, and whether
    /// there is a reader.
    pub(super) fn written(&self, unread: (usize, usize), read: bool) {
        let (events, bytes) = self.node.settings.streams.bounds();
        {
            let mut state = self.state();
            // A reader that is still being made will read.
            let waits = (read || !state.attached) && !state.taken && !state.cut;
            state.behind = waits && (unread.0 > events / 2 || unread.1 > HIGH_WATER.min(bytes / 2));
        }
        self.room.notify_waiters();
    }

    /// Messages went into the queue; whether it is full.
    pub(super) fn queued(&self, full: bool) {
        self.state().behind = full;
        self.room.notify_waiters();
    }

    /// Nobody is to be waited for any more.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.room.notify_waiters();
    }
}

/// Why a call was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Cause {
    /// The client said so.
    Client = 1,
    /// Its session ended.
    SessionEnded = 2,
    /// The service could wait no longer.
    Shutdown = 3,
    /// There was no room for its stream.
    Refused = 4,
}

/// One call of an exchange: what its handler's context stands on.
#[derive(Debug)]
pub(crate) struct Ticket {
    exchange: Arc<Exchange>,
    id: RequestId,
    /// 0, or a [`Cause`].
    cancelled: AtomicU8,
    over: AtomicBool,
    /// Wakes those who wait for either.
    ended: Notify,
}

impl Ticket {
    pub(super) fn new(exchange: &Arc<Exchange>, id: RequestId) -> Arc<Self> {
        Arc::new(Self {
            exchange: Arc::clone(exchange),
            id,
            cancelled: AtomicU8::new(0),
            over: AtomicBool::new(false),
            ended: Notify::new(),
        })
    }

    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    pub(super) fn stream(&self) -> StreamNo {
        self.exchange.stream.unwrap_or(STANDALONE)
    }

    pub(super) fn cancel(&self, cause: Cause) {
        let first = self.cancelled.compare_exchange(0, cause as u8, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.ended.notify_waiters();
            self.exchange.work.wake();
        }
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        match self.cancelled.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Cause::Client),
            2 => Some(Cause::SessionEnded),
            3 => Some(Cause::Shutdown),
            _ => Some(Cause::Refused),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The handler has ended, one way or another.
    pub(super) fn is_over(&self) {
        self.over.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }
}

impl Channel for Ticket {
    fn version(&self) -> ProtocolVersion {
        self.exchange.version
    }

    fn client(&self) -> Option<&Implementation> {
        self.exchange.session.as_ref().map(|session| &session.info.client)
    }

    fn capabilities(&self) -> Option<&ClientCapabilities> {
        self.exchange.session.as_ref().map(|session| &session.info.capabilities)
    }

    fn principal(&self) -> Option<&Principal> {
        self.exchange.principal()
    }

    fn session(&self) -> Option<Arc<dyn SessionAccess>> {
        let session = self.exchange.session.as_ref()?;
        Some(Arc::clone(session) as _)
    }

    fn log_level(&self) -> u8 {
        self.exchange.session.as_ref().map_or(0, |session| session.log_level.load(Ordering::Relaxed))
    }

    fn set_log_level(&self, level: u8) {
        if let Some(session) = &self.exchange.session {
            session.set_log_level(level);
        }
    }

    fn send(&self, payload: Bytes) -> bool {
        self.exchange.emit(Event { kind: EventKind::Notification, payload })
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.exchange.wait_for_room())
    }

    fn request(&self, method: &'static str, params: RawJson) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        Box::pin(input::ask(self, method, params))
    }

    fn close_stream(&self, retry: Option<Duration>) -> bool {
        self.exchange.close_stream(retry)
    }

    fn is_cancelled(&self) -> bool {
        self.cause().is_some()
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let ended = self.ended.notified();
                if self.is_cancelled() || self.has_ended() {
                    return;
                }
                ended.await;
            }
        })
    }
}
