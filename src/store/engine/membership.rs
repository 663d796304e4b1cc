//! Membership: how nodes join an engine, and what they send each other: signals and announcements.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::future::Result;
use super::{EngineFuture, NodeId, StreamNo};
use crate::identity::{SessionId, TaskId};
use crate::message::RequestId;
use crate::store::{EndReason, Policy};

/// The membership of an engine: which nodes use it, and what they send each other.
pub trait Membership: fmt::Debug + Send + Sync + 'static {
    /// Returns `true` if sessions and tasks outlive this process. A service that drains does not
    /// end them then.
    fn durable(&self) -> bool {
        false
    }

    /// Registers a service as a node; the engine sends signals to its handler from now on. A
    /// service registers once for each era. The node of the era without sessions receives the
    /// signals of tasks and announcements.
    fn join(&self, handler: Arc<dyn SignalHandler>, policy: Policy) -> NodeId;

    /// Removes a node. It receives no more signals, its readers are detached and its calls are
    /// abandoned, so that it keeps no session from becoming idle. Its unfinished tasks become
    /// orphans, and the engine sends [`Signal::Task`] for each of them.
    fn leave(&self, node: NodeId);

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

    /// Sends an update about a session to the other nodes, which may have it in use:
    /// [`Signal::Update`] goes to every node except the sender. The engine does not check that the
    /// session exists, and keeps nothing. A node that may have missed the update reads what the
    /// engine keeps.
    fn broadcast(&self, session: SessionId, node: NodeId, update: SessionUpdate) -> EngineFuture<Result<()>>;
}

/// The handler of an engine's signals, which wake a service. An engine may call it from any thread,
/// but never while it holds one of its locks. It must not block.
pub trait SignalHandler: fmt::Debug + Send + Sync + 'static {
    /// Handles a signal: something may have happened.
    fn signal(&self, signal: Signal);
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
        /// The generation, as in [`Attached`](super::Attached).
        generation: u32,
    },
}

/// The result of [`Membership::announced`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announced {
    /// The topics, each with the number of its newest announcement, in ascending order of number.
    pub topics: Vec<(u64, Box<str>)>,
    /// The number of the newest announcement of all; 0 before the first.
    pub newest: u64,
    /// `true` if the topics are complete. Otherwise the engine has forgotten some topics that were
    /// announced after the requested number.
    pub complete: bool,
}
