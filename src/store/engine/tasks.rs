//! Tasks: documents that belong to no session, and outlive the call that created them.

use std::time::Duration;

use bytes::Bytes;

use super::future::Result;
use super::{EngineFuture, NodeId};
use crate::identity::{Peer, Principal, TaskId};

/// A store of tasks.
pub trait TaskStore: Send + Sync + 'static {
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
    /// `Full`: the documents would exceed [`Policy::task_bytes`](crate::store::Policy::task_bytes) even if all other tasks that no
    /// node runs were evicted; none is evicted then. `NotFound`: as for
    /// [`load_task`](TaskStore::load_task).
    ///
    /// A repetition of a store that succeeded returns `false`, or `Fenced` if it was the last one.
    /// The caller must then load the task to see what is stored.
    fn store_task(&self, store: StoreTask) -> EngineFuture<Result<bool>>;
}

/// The parameters of [`TaskStore::create_task`].
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

/// The result of [`TaskStore::load_task`].
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

/// The parameters of [`TaskStore::store_task`].
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
