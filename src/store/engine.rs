//! The engine interface: the atomic operations on sessions and tasks, and the signals that an
//! engine sends to its nodes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::{Announced, Deliver, Delivered, EngineFuture, Policy};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Peer, Principal, SessionId, SessionInfo, TaskId};
use crate::message::{RawJson, RequestId};

/// The number of a stream in its session: [`STANDALONE`] for the GET stream, then one for each
/// POST.
pub type StreamNo = u32;

/// The standalone stream, which belongs to no request.
pub const STANDALONE: StreamNo = 0;

/// One service that uses an engine. A number is never reused, so a restarted node is a new node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub u64);

type Result<T> = std::result::Result<T, StoreError>;

/// A store of sessions and tasks. The [module](crate::store) says which decisions it makes.
///
/// Each method is one atomic operation. Unless it says otherwise, it can fail in two ways:
///
/// 1. [`NotFound`](crate::error::StoreErrorKind::NotFound): the session does not exist, has ended
///    or belongs to another principal. A caller must not be able to distinguish the three.
/// 2. [`Unavailable`](crate::error::StoreErrorKind::Unavailable): the engine is out of reach.
///
/// An operation may be repeated after a failure that leaves open whether it happened.
pub trait SessionEngine: fmt::Debug + Send + Sync + 'static {
    /// Returns `true` if sessions and tasks outlive this process. A service that drains does not
    /// end them then.
    fn durable(&self) -> bool {
        false
    }

    /// Registers a service as a node; the engine sends signals to its handler from now on. A
    /// service registers once for each era. The node of the era without sessions receives the
    /// signals of tasks and announcements.
    fn join(&self, bell: Arc<dyn SignalHandler>, policy: Policy) -> NodeId;

    /// Removes a node. It receives no more signals, its readers are detached and its calls are
    /// abandoned, so that it keeps no session from becoming idle. Its unfinished tasks become
    /// orphans, and the engine sends [`Signal::Task`] for each of them.
    fn leave(&self, node: NodeId);

    /// Creates a session and returns the sessions that were evicted for it.
    ///
    /// At a limit a session with nothing in flight is evicted. The oldest of those that were never
    /// used since their creation goes first, then the one that has been idle longest. If there is
    /// none, the operation fails with `Full`, `FullForPrincipal` or `FullForPeer`. It fails with
    /// `Conflict` if the id exists. If a session was evicted for a creation that then failed, the
    /// next [`expire`](SessionEngine::expire) returns it.
    fn create(&self, create: Create) -> EngineFuture<Result<Vec<Ended>>>;

    /// Returns a session of a principal. This counts as a use of the session.
    fn load(&self, session: SessionId, principal: Option<&Principal>) -> EngineFuture<Result<Loaded>>;

    /// Registers the requests of a POST as in flight, all or none, and assigns them a stream.
    ///
    /// Fails with `Full` or `FullForPrincipal` at the limits of calls. Fails with `Conflict` if an
    /// id is in flight already and [`unique`](Begin::unique) is set. If the future is dropped, or
    /// fails with `Unavailable`, the engine undoes the operation: the caller does not know that the
    /// calls began, so they would never be answered. The same holds for
    /// [`attach`](SessionEngine::attach).
    fn begin(&self, begin: Begin<'_>) -> EngineFuture<Result<Begun>>;

    /// Removes the requests of a stream from those in flight. If no response has closed the stream,
    /// it was abandoned: it is forgotten and its reader is detached. Repeating the operation is no
    /// error.
    ///
    /// The engine is responsible for this operation, for [`detach`](SessionEngine::detach) and for
    /// [`withdraw_request`](SessionEngine::withdraw_request). While it is out of reach it queues them, and performs
    /// each later, once. They never fail with `Unavailable`, and the caller does not repeat them.
    fn finish(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<()>>;

    /// Appends events to a stream, on behalf of the node that owns it.
    ///
    /// `first` makes the operation repeatable: the same events at the same position are appended
    /// once. `Conflict`: another position was next. `Fenced`: the stream is closed, or belongs to
    /// another node.
    ///
    /// If the session then keeps more than its limits allow, events that a reader has received are
    /// dropped first. The stream that is being written is never dropped. `Full`:
    /// [`Policy::kept_bytes`] bytes are kept, and none of them can be released. Responses of at
    /// most [`Policy::ALWAYS_KEPT`] bytes are accepted even then.
    fn append(&self, append: Append) -> EngineFuture<Result<Appended>>;

    /// Appends one event to the standalone stream, on behalf of any node.
    ///
    /// The event is dropped without an error until the stream has had a reader. A request to the
    /// client is also dropped while no reader is attached, and is never sent later. An event that
    /// equals the newest unread one is merged with it. This is the only operation that is not safe
    /// to repeat: the event may then be appended twice.
    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> EngineFuture<Result<Appended>>;

    /// Delivers announcements to a session, from the number that it has reached to a later one.
    ///
    /// Appends the events that the session wants to its standalone stream, as
    /// [`publish`](SessionEngine::publish) does, and records the number. Returns the number that
    /// the session has now reached, and how many answers were evicted for the events. Nothing is appended if that number was not
    /// [`after`](Deliver::after): another node was faster, or this call is a repetition. So each
    /// announcement is delivered once, however many nodes try and however often.
    ///
    /// Nothing is delivered to a session whose standalone stream was never opened. `Full`: no
    /// capacity is available, as in [`append`](SessionEngine::append), and nothing is delivered.
    /// `Conflict`: the [revision](Loaded::revision) of the session has changed, so it may want
    /// other events.
    fn deliver(&self, deliver: Deliver) -> EngineFuture<Result<Delivered>>;

    /// Attaches a reader to a stream, after a cursor. A present reader is replaced and receives a
    /// request to detach.
    ///
    /// `NotFound`: also for a stream that is not retained. `BeyondEnd`: the cursor was never
    /// issued. `Conflict`: the stream has a reader, and [`takeover`](Attach::takeover) is not set.
    /// `Full`: the limit of readers is reached.
    fn attach(&self, attach: Attach<'_>) -> EngineFuture<Result<Attached>>;

    /// Returns the events after a position, in ascending order. They have about `max_bytes` bytes
    /// at most, but at least one event is returned if one exists. Only the present reader may read.
    /// Any other is `Fenced`, and a [`Signal::Detach`] has been sent to it.
    fn read_after(
        &self,
        session: SessionId,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max_bytes: usize,
    ) -> EngineFuture<Result<Page>>;

    /// Detaches a reader. Does nothing if another reader has replaced it. The operation is queued
    /// while the engine is out of reach, as [`finish`](SessionEngine::finish) is.
    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> EngineFuture<Result<()>>;

    /// Requests that the reader of a stream detaches, and that its client reconnects after `retry`.
    fn request_detach(&self, session: SessionId, stream: StreamNo, retry: Option<Duration>)
    -> EngineFuture<Result<()>>;

    /// Records a client's answer to a request to the client. The first answer wins; returns `true`
    /// if this was it. Fails with `NotFound` if no such request exists. An engine may fail with
    /// `Full` if the answers that have not been fetched would exceed [`Policy::session_bytes`].
    fn answer_request(
        &self,
        session: SessionId,
        question: &str,
        outcome: std::result::Result<RawJson, RawJson>,
    ) -> EngineFuture<Result<bool>>;

    /// Returns the answer to a request to the client, if it has arrived; the request is forgotten
    /// then.
    fn take_answer(
        &self,
        session: SessionId,
        question: &str,
    ) -> EngineFuture<Result<Option<std::result::Result<RawJson, RawJson>>>>;

    /// Withdraws a request to the client, because the caller no longer waits for the answer. The
    /// operation is queued while the engine is out of reach, as [`finish`](SessionEngine::finish)
    /// is.
    fn withdraw_request(&self, session: SessionId, question: &str) -> EngineFuture<Result<()>>;

    /// Cancels a call on behalf of the client. Returns `true` if a call was found. If two calls in
    /// flight have the id, neither is cancelled, because the intended one cannot be known.
    fn cancel(&self, session: SessionId, id: &RequestId) -> EngineFuture<Result<bool>>;

    /// Returns the calls of a stream that were cancelled and are still in flight, for an owner that
    /// may have missed the signals. Fails with `NotFound` also if the stream has no calls in
    /// flight. An owner that still runs one of its calls runs it in vain.
    fn cancelled_calls(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<Vec<RequestId>>>;

    /// Returns a value of the session's state and its version. Version 0 means that it was never
    /// written.
    fn load_state(&self, session: SessionId, key: &str) -> EngineFuture<Result<(Option<RawJson>, u64)>>;

    /// Returns the values of the session's state whose keys start with a prefix, in any order.
    /// Values that still have a version listed in `known` are left out. A key that is not listed
    /// counts as unknown.
    fn load_states(
        &self,
        session: SessionId,
        prefix: &str,
        known: &[(&str, u64)],
    ) -> EngineFuture<Result<Vec<StateValue>>>;

    /// Writes a value of the session's state if its version is still the given one. Returns `true`
    /// if it was.
    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> EngineFuture<Result<bool>>;

    /// Creates a task. After this operation returns, every node can load the task.
    ///
    /// At a limit tasks that no node runs are evicted: orphans first, then finished ones, the
    /// longest finished first. If evicting them all would not be enough, none is evicted and the
    /// operation fails with `Full`, `FullForPrincipal` or `FullForPeer`. It fails with `Conflict`
    /// if the id exists.
    fn create_task(&self, create: CreateTask) -> EngineFuture<Result<()>>;

    /// Returns a task of a principal. Fails with `NotFound` if it is unknown, was evicted, has
    /// passed its TTL or belongs to another principal.
    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> EngineFuture<Result<LoadedTask>>;

    /// Replaces the document of a task if its version is still the given one. Returns `true` if it
    /// was.
    ///
    /// Any node may store. After a task is done each store is `Fenced`, whatever its version.
    /// `Full`: the documents would exceed [`Policy::task_bytes`] even if all other tasks that no
    /// node runs were evicted; none is evicted then. `NotFound`: as for
    /// [`load_task`](SessionEngine::load_task).
    ///
    /// A repetition of a store that succeeded returns `false`, or `Fenced` if it was the last one.
    /// The caller must then load the task to see what is stored.
    fn store_task(&self, store: StoreTask) -> EngineFuture<Result<bool>>;

    /// Ends a session and signals this to every node. Only one caller receives the session. Every
    /// later operation on the session fails with `NotFound`, on every node.
    fn end_session(&self, session: SessionId, reason: EndReason) -> EngineFuture<Result<Ended>>;

    /// Ends sessions and tasks that have expired, and forgets finished streams after their
    /// retention. Returns the sessions that ended; each is returned to one caller only.
    fn expire(&self, node: NodeId) -> EngineFuture<Result<Vec<Ended>>>;

    /// Assigns the next number to an announcement, returns it, and sends [`Signal::Topic`] to every
    /// node.
    ///
    /// Each topic is kept once, under its newest number. The newest 1,024 topics are kept, as far
    /// as they fit into one megabyte. `id` is unique to an announcement and makes the operation
    /// repeatable: a repetition with the same id is the same announcement.
    fn announce(&self, topic: &str, id: u64) -> EngineFuture<Result<u64>>;

    /// Returns the announcements after a number: of the given topics, or of all topics if none is
    /// given. It serves nodes that may have missed signals, and sessions whose stream no node held.
    fn announced(&self, after: u64, among: &[&str]) -> EngineFuture<Result<Announced>>;

    /// Sends an update about a session to the other nodes, which may have it in use: [`Signal::Update`]
    /// goes to every node except the sender. The engine does not check that the session exists, and
    /// keeps nothing. A node that may have missed the update reads what the engine keeps.
    fn broadcast(&self, session: SessionId, node: NodeId, news: SessionUpdate) -> EngineFuture<Result<()>>;

    /// Returns all sessions, for administration.
    fn list(&self) -> EngineFuture<Result<Vec<SessionSummary>>>;

    /// Returns a session of any principal, for administration. This does not count as a use of the
    /// session.
    fn peek(&self, session: SessionId) -> EngineFuture<Result<Arc<SessionInfo>>> {
        let list = self.list();
        EngineFuture::later(async move {
            let found = list.await?.into_iter().find(|summary| summary.info.id == session);
            found.map(|summary| summary.info).ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))
        })
    }

    /// Returns the sessions of a principal, for administration: each session that exists both
    /// before and after the operation. A caller can rely on the list to verify that no session is
    /// left.
    fn sessions_of(&self, principal: &Principal) -> EngineFuture<Result<Vec<SessionId>>> {
        let (list, principal) = (self.list(), principal.clone());
        EngineFuture::later(async move {
            let own = list.await?.into_iter().filter(|summary| summary.info.principal.as_ref() == Some(&principal));
            Ok(own.map(|summary| summary.info.id).collect())
        })
    }

    /// Returns the number of sessions.
    fn count(&self) -> EngineFuture<Result<usize>>;
}

/// The handler of an engine's signals, which wake a service. An engine may call it from any thread,
/// but never while it holds one of its locks. It must not block.
pub trait SignalHandler: fmt::Debug + Send + Sync + 'static {
    /// Handles a signal: something may have happened.
    fn signal(&self, ring: Signal);
}

/// A signal: what may have happened. Correctness never depends on the arrival of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Signal {
    /// A stream that this node reads has more events.
    Stream { session: SessionId, stream: StreamNo },
    /// A reader of this node was replaced, or must detach.
    Detach { session: SessionId, stream: StreamNo, generation: u32, retry: Option<Duration> },
    /// The reader of a stream that this node writes received events, or detached.
    Drained { session: SessionId, stream: StreamNo },
    /// A request to the client from this node has an answer.
    Answer { session: SessionId, request: Box<str> },
    /// A call of this node was cancelled.
    Cancel { session: SessionId, stream: StreamNo, id: RequestId },
    /// A session ended.
    Ended { session: SessionId, reason: EndReason },
    /// A topic was announced, under this number.
    Topic { topic: Box<str>, number: u64 },
    /// Another node sent an update about a session.
    Update { session: SessionId, update: SessionUpdate },
    /// A task was stored, became an orphan, or was removed. Sent to every node.
    Task { task: TaskId },
    /// Signals may have been lost: the node must re-check everything.
    Resync,
}

/// An update about a session that nodes send each other. It contains no secret: the receiver reads
/// what changed from the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionUpdate {
    /// The log level or the subscriptions of the session changed; they are in its state.
    State,
    /// The client reads the standalone stream at the sending node, with a reader of this
    /// generation. Only the node of the newest reader sends it notifications of changes.
    Listens {
        /// The generation, as in [`Attached`].
        generation: u32,
    },
}

/// The reason why a session ended. It is displayed and serialized as its [name](EndReason::as_str).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// The client sent DELETE.
    Deleted,
    /// The session was idle for the idle timeout.
    Idle,
    /// The session reached its maximum age.
    Lifetime,
    /// The session was evicted in favor of another one.
    Evicted,
    /// The application ended it.
    Closed,
    /// The service shut down.
    Shutdown,
}

impl EndReason {
    /// Returns a short name for logs and metrics: `deleted`, `idle`, `lifetime`, `evicted`,
    /// `closed` or `shutdown`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Evicted => "evicted",
            Self::Closed => "closed",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session that ended, with the reason.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ended {
    /// The session before its end.
    pub info: Arc<SessionInfo>,
    /// The reason.
    pub reason: EndReason,
}

/// The parameters of [`SessionEngine::create`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Create {
    /// The session.
    pub info: Arc<SessionInfo>,
    /// A part of every event id of the session, so that ids of another session are not valid in it.
    pub epoch: u32,
}

/// The result of [`SessionEngine::load`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Loaded {
    /// The session.
    pub info: Arc<SessionInfo>,
    /// The epoch that was passed to [`SessionEngine::create`].
    pub epoch: u32,
    /// How often the service has changed its own data in the session's state: the sum of the
    /// versions of all keys that start with [`OWN_STATE`]. A node that knows an older revision
    /// reads them again.
    pub revision: u64,
}

/// The prefix of the keys under which the service keeps a session's log level and subscriptions.
pub const OWN_STATE: &str = "mcp.";

/// A result of [`SessionEngine::load_states`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StateValue {
    /// The key.
    pub key: Box<str>,
    /// The value.
    pub value: RawJson,
    /// The version, as in [`SessionEngine::load_state`]; at least 1.
    pub version: u64,
}

/// The result of [`SessionEngine::begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Begun {
    /// The stream that was assigned to the calls.
    pub stream: StreamNo,
    /// The revision, as in [`Loaded`].
    pub revision: u64,
}

/// The parameters of [`SessionEngine::begin`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Begin<'a> {
    /// The session.
    pub session: SessionId,
    /// The principal that sends the requests.
    pub principal: Option<&'a Principal>,
    /// The node that will respond, and owns the stream.
    pub node: NodeId,
    /// The ids of the requests.
    pub ids: &'a [RequestId],
    /// If `true`, an id that is in flight already is rejected.
    pub unique: bool,
}

/// The parameters of [`SessionEngine::append`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Append {
    /// The session.
    pub session: SessionId,
    /// The stream.
    pub stream: StreamNo,
    /// The node that writes; it must own the stream.
    pub node: NodeId,
    /// The number of the first of these events. The first event of a stream is 1.
    pub first: u64,
    /// The events, in order.
    pub events: Vec<Event>,
    /// If `true`, the stream ends after these events.
    pub close: bool,
}

/// A message on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The kind of the message, which determines whether it may be dropped.
    pub kind: EventKind,
    /// The JSON-RPC message, as text on one line.
    pub payload: Bytes,
}

/// The kinds of messages in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// May be dropped when a stream exceeds its bounds; the gap is reported.
    Notification,
    /// A request to the client, by its id. It is never dropped while it is open. Its answer is
    /// accepted as soon as the event is in the stream.
    Request(Box<str>),
    /// A response; never dropped while the stream is retained.
    Response,
}

/// The result of writing events to a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// `true` if the stream has a reader.
    pub read: bool,
    /// The bytes that the reader has not received yet.
    pub unread: usize,
    /// The notifications of this stream that were dropped to free capacity.
    pub dropped: usize,
    /// The responses that no reader had received, and that were forgotten with their streams to
    /// free capacity.
    pub lost: usize,
    /// `true` if a call of the stream was cancelled; [`SessionEngine::cancelled_calls`] returns which.
    pub cancelled: bool,
}

/// The parameters of [`SessionEngine::attach`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Attach<'a> {
    /// The session.
    pub session: SessionId,
    /// The principal that reads.
    pub principal: Option<&'a Principal>,
    /// The stream.
    pub stream: StreamNo,
    /// The node that reads.
    pub node: NodeId,
    /// The last event that the reader has. `None`: it starts with the first event that no reader
    /// has received.
    pub after: Option<u64>,
    /// If `true`, a present reader is replaced.
    pub takeover: bool,
}

/// The result of [`SessionEngine::attach`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The number of this reader among the readers of the stream; a later reader has a larger one.
    pub generation: u32,
    /// The position after which the reader starts.
    pub after: u64,
    /// For the standalone stream: the announcement that the session has reached. A stream that
    /// never had a reader before counts as having reached all earlier announcements.
    pub told: u64,
    /// The number of the newest announcement, or of one before it.
    pub newest: u64,
    /// The revision, as in [`Loaded`].
    pub revision: u64,
}

/// A page of events of a stream.
///
/// A gap in their numbers means that the missing events were dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The events, in ascending order.
    pub events: Vec<Stored>,
    /// The number of the newest event ever written.
    pub tail: u64,
    /// `true` if the stream ends after `tail`.
    pub closed: bool,
}

/// An event with its number in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The number, which the writer counts from 1 without gaps.
    pub seq: u64,
    /// The message.
    pub payload: Bytes,
}

/// The parameters of [`SessionEngine::create_task`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CreateTask {
    /// The task.
    pub id: TaskId,
    /// The principal that may load the task. Without one, only requests without a principal may
    /// load it.
    pub principal: Option<Principal>,
    /// The peer whose share the task counts against, if it has no principal and its peer is known.
    pub peer: Option<Peer>,
    /// The node that runs the task.
    pub node: NodeId,
    /// How long the task is kept from now on, done or not. `None`: until it is done and others need
    /// the capacity.
    pub ttl: Option<Duration>,
    /// The content of the task, in a format of the caller's choice.
    pub document: Bytes,
}

/// The result of [`SessionEngine::load_task`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadedTask {
    /// The document that was stored last.
    pub document: Bytes,
    /// 1 for a new task, and incremented by each store.
    pub version: u64,
    /// `true` if the task is done: nothing will be stored any more.
    pub done: bool,
    /// `true` if the task is not done and the node that runs it has left.
    pub orphaned: bool,
}

/// The parameters of [`SessionEngine::store_task`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreTask {
    /// The task.
    pub id: TaskId,
    /// The version that is replaced.
    pub version: u64,
    /// The new document.
    pub document: Bytes,
    /// If `true`, the task is done and this is the last store.
    pub done: bool,
}

/// A summary of a session, for administration. It serializes with the names of its fields. The
/// session's id is among them, which is a secret if sessions have no principal.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SessionSummary {
    /// The facts about the session.
    pub info: Arc<SessionInfo>,
    /// The time since it was last used, serialized as a number of seconds. Zero while a call is in
    /// flight or a reader is attached.
    #[serde(serialize_with = "seconds")]
    pub idle: Duration,
    /// Calls in flight.
    pub calls: usize,
    /// Connected readers.
    pub readers: usize,
    /// Bytes kept in its streams.
    pub bytes: usize,
}

/// Serde's `serialize_with` passes a reference.
fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
