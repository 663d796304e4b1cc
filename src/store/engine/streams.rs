//! Streams: the logs of events, who writes them and who reads them.

use std::time::Duration;

use bytes::Bytes;

use super::future::Result;
use super::{EngineFuture, NodeId, StreamNo};
use crate::identity::{Principal, SessionId};
use crate::store::Policy;

/// A store of streams: the log of each, its writer and its reader.
pub trait StreamStore: Send + Sync + 'static {
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
    /// [`publish`](StreamStore::publish) does, and records the number. Returns the number that the
    /// session has now reached, and how many answers were evicted for the events. Nothing is
    /// appended if that number was not [`after`](Deliver::after): another node was faster, or this
    /// call is a repetition. So each announcement is delivered once, however many nodes try and
    /// however often.
    ///
    /// Nothing is delivered to a session whose standalone stream was never opened. `Full`: no
    /// capacity is available, as in [`append`](StreamStore::append), and nothing is delivered.
    /// `Conflict`: the [revision](super::Loaded::revision) of the session has changed, so it may want
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
    /// Any other is `Fenced`, and a [`Signal::Detach`](super::Signal::Detach) has been sent to it.
    fn read_after(
        &self,
        session: SessionId,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max_bytes: usize,
    ) -> EngineFuture<Result<Page>>;

    /// Detaches a reader. Does nothing if another reader has replaced it. The operation is queued
    /// while the engine is out of reach, as [`finish`](super::CallStore::finish) is.
    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> EngineFuture<Result<()>>;

    /// Requests that the reader of a stream detaches, and that its client reconnects after `retry`.
    fn request_detach(&self, session: SessionId, stream: StreamNo, retry: Option<Duration>)
    -> EngineFuture<Result<()>>;
}

/// The parameters of [`StreamStore::append`].
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

impl Event {
    /// Returns `true` for an event that is accepted without free capacity.
    pub(crate) fn is_always_kept(&self) -> bool {
        self.kind == EventKind::Response && self.payload.len() <= Policy::ALWAYS_KEPT
    }
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
    /// `true` if a call of the stream was cancelled; [`CallStore::cancelled_calls`](super::CallStore::cancelled_calls) returns which.
    pub cancelled: bool,
}

/// The parameters of [`StreamStore::deliver`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Deliver {
    /// The session.
    pub session: SessionId,
    /// The node that delivers.
    pub node: NodeId,
    /// The announcement that the session has reached, as far as the node knows.
    pub after: u64,
    /// The number of the last announcement that this operation delivers.
    pub up_to: u64,
    /// The [revision](crate::store::Loaded::revision) of the session by which the node chose the
    /// events.
    pub revision: u64,
    /// The events that the session wants, of the announcements in between.
    pub events: Vec<Event>,
}

/// The result of [`StreamStore::deliver`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The last announcement that the session has received by now.
    pub up_to: u64,
    /// The number of answers, of this session or of others, that no client had fetched and that
    /// were evicted for these events.
    pub lost: usize,
}

/// The parameters of [`StreamStore::attach`].
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

/// The result of [`StreamStore::attach`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The number of this reader among the readers of the stream; a later reader has a larger one.
    pub generation: u32,
    /// The position after which the reader starts.
    pub after: u64,
    /// For the standalone stream: the announcement that the session has reached. A stream that
    /// never had a reader before counts as having reached all earlier announcements.
    pub delivered: u64,
    /// The number of the newest announcement, or of one before it.
    pub newest: u64,
    /// The revision, as in [`Loaded`](super::Loaded).
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
