//! Decides what an engine must be able to do: the atomic steps of a session's life and of a
//! task's, and the bell that wakes whoever waits for one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::{Announced, Deliver, Policy, Step};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Peer, Principal, SessionId, SessionInfo, TaskId};
use crate::message::{RawJson, RequestId};

/// A stream of a session, by number: [`STANDALONE`] for the GET stream, then one for each POST.
pub type StreamNo = u32;

/// The stream that belongs to no request.
pub const STANDALONE: StreamNo = 0;

/// One service that uses an engine. Never used twice, so that a restarted node is another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub u64);

type Result<T> = std::result::Result<T, StoreError>;

/// Where sessions and tasks live. See the [module](crate::store) for what it is there to decide.
///
/// Each method is one atomic step. Unless it says otherwise it fails with
/// [`NotFound`](crate::error::StoreErrorKind::NotFound) when the session does not exist, has ended
/// or belongs to another principal (the three must not be told apart), and with
/// [`Unavailable`](crate::error::StoreErrorKind::Unavailable) when the engine is out of reach.
/// Every step may be repeated after a failure of which nobody knows whether it happened.
pub trait SessionEngine: fmt::Debug + Send + Sync + 'static {
    /// Whether sessions and tasks outlive this process, so that a drained service leaves them
    /// alone.
    fn durable(&self) -> bool {
        false
    }

    /// Registers a service; its bell is rung from now on. A service registers once
    /// for each era: the one without sessions hears of tasks and announcements only.
    fn join(&self, bell: Arc<dyn Doorbell>, policy: Policy) -> NodeId;

    /// The service is gone: its bell is not rung again, its readers are detached, its calls are
    /// given up, so that nothing of it keeps a session from resting. Its tasks that are not done
    /// are orphans, and [`Ring::Task`] is rung for each of them.
    fn leave(&self, node: NodeId);

    /// Keeps a new session. At a limit a session with nothing in flight makes room: the oldest of
    /// those that were never used since they were created, else the longest idle. Without one it
    /// fails with `Full`, `FullForPrincipal` or `FullForPeer`. An id that exists is a
    /// `Conflict`. A session that made room for a creation that then failed is handed out by the
    /// next [`sweep`](SessionEngine::sweep).
    fn create(&self, create: Create) -> Step<Result<Vec<Ended>>>;

    /// Finds a session for a principal, and counts as its use.
    fn load(&self, session: SessionId, principal: Option<&Principal>) -> Step<Result<Loaded>>;

    /// A POST with requests arrives: registers them as in flight, all or none, and gives them a
    /// stream. `Full` and `FullForPrincipal` are the limits of calls; `Conflict` an id that is in
    /// flight already, where that is refused. Nobody would answer what was begun without the caller
    /// learning of it, so a step that was dropped, or failed with `Unavailable`, is taken back by the
    /// engine; so is [`attach`](SessionEngine::attach).
    fn begin(&self, begin: Begin<'_>) -> Step<Result<Begun>>;

    /// The requests of a stream are in flight no more. A stream that was not closed by its answer
    /// was given up: it is forgotten, and its reader is told to let go. Doing it twice is no error.
    ///
    /// The engine takes responsibility for this step, as for [`detach`](SessionEngine::detach) and
    /// [`withdraw`](SessionEngine::withdraw): while it is out of reach it keeps the step and takes it later,
    /// once. So these three never fail with `Unavailable`, and the caller does not repeat them.
    fn finish(&self, session: SessionId, stream: StreamNo) -> Step<Result<()>>;

    /// The owner of a stream adds events. `first` makes it repeatable: the same events at the
    /// same place are there once. `Conflict`: another place was due. `Fenced`: the stream is
    /// closed, or another node's. Where more is kept than may be, what a reader was given goes first, and the stream that
    /// is written to never goes. `Full`: [`Policy::kept_bytes`] are kept, and nothing can be given up. Answers of at most
    /// [`Policy::ALWAYS_KEPT`] bytes are taken even then.
    fn append(&self, append: Append) -> Step<Result<Appended>>;

    /// Any node adds one event to the standalone stream. Before somebody listened for the first
    /// time it is dropped, and nothing is told; so is a question while nobody listens, which is
    /// never asked later. An event equal to the newest one that nobody has read yet is merged with
    /// it. The one step that is not safe to repeat: an event may then stand twice.
    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> Step<Result<Appended>>;

    /// Brings a session up to date with announcements, from the one up to which it was told to a later one:
    /// adds what it wants of them to its standalone stream, as [`publish`](SessionEngine::publish) does, and
    /// remembers up to where that was. Returns up to which announcement the session is told now. Where that
    /// was not [`after`](Deliver::after) nothing is added: another node was faster, or this is the step
    /// repeated. So each announcement is told once, however many nodes try, and however often.
    ///
    /// A session whose standalone stream was never opened is due nothing. `Full`: there is no room, as in
    /// [`append`](SessionEngine::append), and the session is told of nothing. `Conflict`: the session has another
    /// [revision](Loaded::revision), so it may want other events.
    fn deliver(&self, deliver: Deliver) -> Step<Result<u64>>;

    /// A reader takes over a stream from a cursor; the one before is told to let go. `NotFound`
    /// also for a stream that is not kept (any more), `BeyondEnd` for a cursor that was never
    /// given out, `Conflict` for a held stream when taking over is not wanted, `Full` for the limit
    /// of readers.
    fn attach(&self, attach: Attach<'_>) -> Step<Result<Attached>>;

    /// Reads on after a place: ascending, at most about `max_bytes`, always at least one event
    /// if there is one. Only the present reader may; another is `Fenced`, and [`Ring::Detach`] is on
    /// its way to it.
    fn read_after(
        &self,
        session: SessionId,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max_bytes: usize,
    ) -> Step<Result<Page>>;

    /// A reader leaves. Nothing happens when it is no longer the present one. Kept while the engine is out of
    /// reach, as [`finish`](SessionEngine::finish) is.
    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> Step<Result<()>>;

    /// Tells whoever reads a stream to let go and come back after `retry`.
    fn hang_up(&self, session: SessionId, stream: StreamNo, retry: Option<Duration>) -> Step<Result<()>>;

    /// A client answered a question that stands in a stream. The first answer wins; whether this
    /// was it. A question nobody asked is `NotFound`. An engine may refuse with `Full` what would make the
    /// answers that nobody has fetched yet outgrow [`Policy::session_bytes`].
    fn answer(
        &self,
        session: SessionId,
        question: &str,
        outcome: std::result::Result<RawJson, RawJson>,
    ) -> Step<Result<bool>>;

    /// Fetches the answer to a question, if it is there; the question is forgotten then.
    fn take(&self, session: SessionId, question: &str) -> Step<Result<Option<std::result::Result<RawJson, RawJson>>>>;

    /// The caller does not wait for the answer any more. Kept while the engine is out of reach, as
    /// [`finish`](SessionEngine::finish) is.
    fn withdraw(&self, session: SessionId, question: &str) -> Step<Result<()>>;

    /// A client cancels a call; whether one was found. An id that names two calls in flight
    /// cancels neither: which was meant cannot be known.
    fn cancel(&self, session: SessionId, id: &RequestId) -> Step<Result<bool>>;

    /// The calls of a stream that were cancelled and are still in flight, for an owner that may
    /// not have been told. `NotFound` also for a stream without calls in flight: whoever still runs
    /// one of its calls runs it for nobody.
    fn cancelled(&self, session: SessionId, stream: StreamNo) -> Step<Result<Vec<RequestId>>>;

    /// A value of the session's state, and its version; version 0 is "never written".
    fn load_state(&self, session: SessionId, key: &str) -> Step<Result<(Option<RawJson>, u64)>>;

    /// The values of the session's state whose keys begin with a prefix, in any order, except those whose version
    /// is the known one. A key that is not named is not known.
    fn load_states(&self, session: SessionId, prefix: &str, known: &[(&str, u64)]) -> Step<Result<Vec<StateValue>>>;

    /// Writes a value if its version is still the given one; whether it was.
    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> Step<Result<bool>>;

    /// Keeps a new task; once it returned, every node can load it. At a limit tasks that nobody
    /// runs make room, orphans first, then those that are done, the longest done first, and none
    /// where that would not be enough; it fails with `Full`, `FullForPrincipal` or `FullForPeer` then. An id that
    /// exists is a `Conflict`.
    fn create_task(&self, create: CreateTask) -> Step<Result<()>>;

    /// Finds a task for a principal. `NotFound` for one that is unknown, made room, is past its
    /// ttl or belongs to another principal.
    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> Step<Result<LoadedTask>>;

    /// Replaces the document of a task if its version is still the given one; whether it was.
    /// Any node may. Once a task is done each store is `Fenced`, whichever version it names.
    /// `Full` where the documents would outgrow [`Policy::task_bytes`] though all other tasks that
    /// nobody runs made room; none does then. `NotFound` as for
    /// [`load_task`](SessionEngine::load_task). Asked for again after it happened it is `false`,
    /// or `Fenced` if it was the last: look at what is there.
    fn store_task(&self, store: StoreTask) -> Step<Result<bool>>;

    /// Ends a session and tells every node. Given to exactly one caller; everything of the
    /// session is `NotFound` afterwards, everywhere.
    fn end(&self, session: SessionId, reason: EndReason) -> Step<Result<Ended>>;

    /// Ends what has expired, tasks too, and forgets what was kept long enough. Each ended session
    /// is handed to exactly one caller.
    fn sweep(&self, node: NodeId) -> Step<Result<Vec<Ended>>>;

    /// Gives an announcement the next number, which is returned, and rings [`Ring::Topic`] on every node. The
    /// topic is kept, once, under its newest number: the newest 1,024 topics, as far as they fit into a
    /// megabyte. `id`, which no other announcement has, makes the step repeatable: asked for again with it, it is
    /// the same announcement.
    fn announce(&self, topic: &str, id: u64) -> Step<Result<u64>>;

    /// What was announced after a number: of the named topics, or of all where none is named. For a node that
    /// may have missed bells, and for a session whose stream no node held.
    fn announced(&self, after: u64, among: &[&str]) -> Step<Result<Announced>>;

    /// Tells the other nodes something of a session that they may have in use: rings [`Ring::News`]
    /// on every node but the one that tells. It is not looked whether the session exists, and nothing
    /// is kept: whoever may have missed it looks at what the engine keeps.
    fn tell(&self, session: SessionId, node: NodeId, news: News) -> Step<Result<()>>;

    /// All sessions, for people.
    fn list(&self) -> Step<Result<Vec<SessionSummary>>>;

    /// A session, whoever it belongs to; that is no use of it. For people.
    fn find(&self, session: SessionId) -> Step<Result<Arc<SessionInfo>>> {
        let list = self.list();
        Step::later(async move {
            let found = list.await?.into_iter().find(|summary| summary.info.id == session);
            found.map(|summary| summary.info).ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))
        })
    }

    /// The sessions of a principal: each that is there before and after. For people, who may have to be
    /// sure that none is left.
    fn sessions_of(&self, principal: &Principal) -> Step<Result<Vec<SessionId>>> {
        let (list, principal) = (self.list(), principal.clone());
        Step::later(async move {
            let own = list.await?.into_iter().filter(|summary| summary.info.principal.as_ref() == Some(&principal));
            Ok(own.map(|summary| summary.info.id).collect())
        })
    }

    /// How many sessions there are.
    fn count(&self) -> Step<Result<usize>>;
}

/// How an engine wakes a service. May be called from anywhere and must not block; never called
/// under a lock of the engine.
pub trait Doorbell: fmt::Debug + Send + Sync + 'static {
    /// Something may have happened.
    fn ring(&self, ring: Ring);
}

/// What may have happened. Correctness never depends on one of these arriving.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Ring {
    /// A stream this node reads has more.
    Stream { session: SessionId, stream: StreamNo },
    /// A reader of this node was replaced, or told to leave.
    Detach { session: SessionId, stream: StreamNo, generation: u32, retry: Option<Duration> },
    /// The reader of a stream this node writes took events, or left.
    Drained { session: SessionId, stream: StreamNo },
    /// A question of this node has an answer.
    Answer { session: SessionId, question: Box<str> },
    /// A call of this node was cancelled.
    Cancel { session: SessionId, stream: StreamNo, id: RequestId },
    /// A session ended.
    Ended { session: SessionId, reason: EndReason },
    /// Something was announced, under this number.
    Topic { topic: Box<str>, number: u64 },
    /// Another node told something of a session.
    News { session: SessionId, news: News },
    /// A task was stored, is an orphan, or is there no more; rung on every node.
    Task { task: TaskId },
    /// Rings may have been lost: look at everything again.
    Resync,
}

/// What nodes tell each other of a session. Nothing of it is a secret: what changed is read where it
/// is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// Its log level or its subscriptions changed; they are in its state.
    State,
    /// Its client listens where this is told from, with this generation of the standalone stream's
    /// readers: the newest of them is told of changes by its node, and by no other.
    Listens {
        /// As in [`Attached`].
        generation: u32,
    },
}

/// Why a session ended. It displays and serializes as its [name](EndReason::as_str).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// The client sent DELETE.
    Deleted,
    /// Nothing happened for the idle timeout.
    Idle,
    /// It reached its greatest age.
    Lifetime,
    /// It made room for another one.
    Evicted,
    /// The application ended it.
    Closed,
    /// The service shut down.
    Shutdown,
}

impl EndReason {
    /// A short name for logs and metrics, one for each reason: `deleted`, `idle`, `lifetime`, `evicted`,
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

/// A session that ended, and why.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The session as it was.
    pub info: Arc<SessionInfo>,
    /// Why it ended.
    pub reason: EndReason,
}

/// See [`SessionEngine::create`].
#[derive(Debug, Clone)]
pub struct Create {
    /// The session.
    pub info: Arc<SessionInfo>,
    /// Part of each event id of the session, so that another session's ids are no ids of this one.
    pub epoch: u32,
}

/// See [`SessionEngine::load`].
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The session.
    pub info: Arc<SessionInfo>,
    /// As given to [`SessionEngine::create`].
    pub epoch: u32,
    /// How often the service has changed what it keeps of the session in its state: the versions of all keys
    /// that begin with [`OWN_STATE`], added up. A node that knows an older one reads them again.
    pub revision: u64,
}

/// What the keys begin with under which the service keeps a session's log level and subscriptions.
pub const OWN_STATE: &str = "mcp.";

/// See [`SessionEngine::load_states`].
#[derive(Debug, Clone, PartialEq)]
pub struct StateValue {
    /// Its key.
    pub key: Box<str>,
    /// The value.
    pub value: RawJson,
    /// As in [`SessionEngine::load_state`]; at least 1.
    pub version: u64,
}

/// See [`SessionEngine::begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The stream that the calls got.
    pub stream: StreamNo,
    /// As in [`Loaded`].
    pub revision: u64,
}

/// See [`SessionEngine::begin`].
#[derive(Debug)]
pub struct Begin<'a> {
    /// The session.
    pub session: SessionId,
    /// Who asks.
    pub principal: Option<&'a Principal>,
    /// The node that will answer, and owns the stream.
    pub node: NodeId,
    /// The ids of the requests.
    pub ids: &'a [RequestId],
    /// Whether an id that is in flight already is refused.
    pub unique: bool,
}

/// See [`SessionEngine::append`].
#[derive(Debug)]
pub struct Append {
    /// The session.
    pub session: SessionId,
    /// The stream.
    pub stream: StreamNo,
    /// The node that writes; it must own the stream.
    pub node: NodeId,
    /// The number the first of the events will have; the first event of a stream is 1.
    pub first: u64,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Whether the stream ends with them.
    pub close: bool,
}

/// One message on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is, which decides what may be dropped.
    pub kind: EventKind,
    /// The JSON-RPC message, as text on one line.
    pub payload: Bytes,
}

/// The kinds of message a stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// May be dropped when a stream outgrows its bounds; the hole is reported.
    Notification,
    /// A question to the client, by its id; never dropped while it is open. Its answer is
    /// accepted from the moment the event stands.
    Request(Box<str>),
    /// An answer; never dropped while the stream is kept.
    Response,
}

/// What became of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Whether somebody reads the stream.
    pub read: bool,
    /// Bytes the reader has not taken yet.
    pub unread: usize,
    /// Notifications of this stream that were dropped to make room.
    pub dropped: usize,
    /// Answers that no reader was given, and that were forgotten with their streams to make room.
    pub lost: usize,
    /// Whether a call of the stream was cancelled; [`SessionEngine::cancelled`] says which.
    pub cancelled: bool,
}

/// See [`SessionEngine::attach`].
#[derive(Debug)]
pub struct Attach<'a> {
    /// The session.
    pub session: SessionId,
    /// Who asks.
    pub principal: Option<&'a Principal>,
    /// The stream.
    pub stream: StreamNo,
    /// The node that reads.
    pub node: NodeId,
    /// The last event the reader has; `None`: whatever was not given to a reader yet.
    pub after: Option<u64>,
    /// Whether a present reader is replaced.
    pub takeover: bool,
}

/// A reader's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// Which reader of the stream it is; a later one has a larger number.
    pub generation: u32,
    /// The place it starts after.
    pub after: u64,
    /// Of the standalone stream: up to which announcement the session was told. One that was never read before
    /// counts as told of all that came before.
    pub told: u64,
    /// The number of the newest announcement, or of one before it.
    pub newest: u64,
    /// As in [`Loaded`].
    pub revision: u64,
}

/// Some events of a stream.
///
/// A jump in their numbers is a hole: what is missing was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The events, ascending.
    pub events: Vec<Stored>,
    /// The number of the newest event ever written.
    pub tail: u64,
    /// Whether nothing will follow after `tail`.
    pub closed: bool,
}

/// An event with its number in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Counted from 1, without gaps, by the writer.
    pub seq: u64,
    /// The message.
    pub payload: Bytes,
}

/// See [`SessionEngine::create_task`].
#[derive(Debug, Clone)]
pub struct CreateTask {
    /// The task.
    pub id: TaskId,
    /// Who may load it; no other principal, and nobody without one.
    pub principal: Option<Principal>,
    /// Whose share it counts in, where it has no principal and this is known.
    pub peer: Option<Peer>,
    /// The node that runs it.
    pub node: NodeId,
    /// How long it is kept, counted from now, done or not; `None`: until it is done and others
    /// need the room.
    pub ttl: Option<Duration>,
    /// What it is, in words of the caller.
    pub document: Bytes,
}

/// See [`SessionEngine::load_task`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedTask {
    /// As stored last.
    pub document: Bytes,
    /// 1 for a new task, and one more with each store.
    pub version: u64,
    /// Whether nothing will be stored any more.
    pub done: bool,
    /// It is not done, and the node that runs it has left.
    pub orphaned: bool,
}

/// See [`SessionEngine::store_task`].
#[derive(Debug, Clone)]
pub struct StoreTask {
    /// The task.
    pub id: TaskId,
    /// The version that is replaced.
    pub version: u64,
    /// What it is from now on.
    pub document: Bytes,
    /// Whether this is the last store.
    pub done: bool,
}

/// A session as people look at it. It serializes under the names of its fields, with the session's id, which
/// is a secret where sessions have no principal.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SessionSummary {
    /// Its facts.
    pub info: Arc<SessionInfo>,
    /// How long ago it was last used; serialized as a number of seconds.
    #[serde(serialize_with = "seconds")]
    pub idle: Duration,
    /// Calls in flight.
    pub calls: usize,
    /// Connected readers.
    pub readers: usize,
    /// Bytes kept in its streams.
    pub bytes: usize,
}

/// With serde, a reference is what is handed over.
fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
