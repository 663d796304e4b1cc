//! The memory engine: sessions in one map, with one short critical section for each operation, so
//! that every operation is ready immediately.
//!
//! Invariants:
//!
//! 1. An operation holds one lock at a time: a shard of the map, *or* the expiry queues, *or* the
//!    list of nodes, *or* the entry of an account, *or* the tasks, *or* the topics, *or* the list
//!    of sessions that release bytes. Deadlocks are impossible, and no lock is held across an
//!    await.
//! 2. A signal is sent after the operation has released its locks.
//! 3. Only one operation removes a session from the map, so only one caller receives it as ended.

mod budget;
mod client_requests;
mod eviction;
mod expiry;
mod idle;
mod locked;
#[cfg(test)]
mod model;
mod order;
mod record;
#[cfg(feature = "file")]
pub(super) mod restore;
mod streams;
mod tasks;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use dashmap::DashMap;

use self::budget::Budget;
use self::client_requests::Outcome;
use self::expiry::Expiry;
use self::idle::IdleSessions;
pub(in crate::store) use self::locked::Marked;
use self::order::OfAccount;
use self::record::Record;
use self::tasks::Tasks;
use super::announcements::Topics;
use super::engine::sessions::discarded;
use super::engine::{CallStore, Membership, SessionStore, StreamStore, TaskStore};
use super::journal::Journal;
use super::{
    Announced, Append, Appended, Attach, Attached, Begin, Begun, Create, CreateTask, Deliver, Delivered, EndReason,
    Ended, EngineFuture, Event, Loaded, LoadedTask, NodeId, Page, Policy, SessionSummary, SessionUpdate, Signal,
    SignalHandler, StateValue, StoreTask, StreamNo,
};
use crate::clock::Clock;
use crate::error::StoreError;
use crate::identity::{Account, Principal, SessionId, SessionMap, TaskId};
use crate::message::{RawJson, RequestId};

type Result<T> = std::result::Result<T, StoreError>;

/// An engine that keeps sessions and tasks in the memory of this process. They end with it.
///
/// A clone is the same engine. Services that are given clones of one engine share its sessions and
/// tasks, as the nodes of a cluster would. This is useful in tests.
#[derive(Clone)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

/// The state of the engine, and the nodes that receive its signals.
pub(in crate::store) struct Shared<J: Journal = ()> {
    journal: J,
    clock: Clock,
    /// Boxed, because a map reserves up to twice the memory that its entries need.
    sessions: SessionMap<Box<Record<J::Mark>>>,
    /// The number of sessions. The map would have to visit each of its shards to count them.
    count: AtomicUsize,
    accounts: DashMap<Account, OfAccount>,
    expiry: Mutex<Expiry>,
    budget: Budget,
    idle: IdleSessions,
    tasks: Mutex<Tasks<J::Mark>>,
    topics: Mutex<Topics>,
    nodes: RwLock<Vec<(NodeId, Arc<dyn SignalHandler>)>>,
    next_node: AtomicU64,
    policy: OnceLock<Policy>,
    default_policy: Policy,
}

impl MemoryEngine {
    /// Creates an empty engine.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared::new((), Clock::new())) }
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.shared.count();
        f.debug_struct("MemoryEngine").field("sessions", &sessions).finish_non_exhaustive()
    }
}

impl<J: Journal> Shared<J> {
    fn new(journal: J, clock: Clock) -> Self {
        Self {
            journal,
            clock,
            sessions: SessionMap::default(),
            count: AtomicUsize::new(0),
            accounts: DashMap::new(),
            expiry: Mutex::default(),
            budget: Budget::default(),
            idle: IdleSessions::default(),
            tasks: Mutex::default(),
            topics: Mutex::default(),
            nodes: RwLock::default(),
            next_node: AtomicU64::new(1),
            policy: OnceLock::new(),
            default_policy: Policy::default(),
        }
    }

    pub(in crate::store) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn add_handler(&self, node: NodeId, handler: Arc<dyn SignalHandler>) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).push((node, handler));
    }

    fn remove_handler(&self, node: NodeId) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != node);
    }

    fn policy(&self) -> &Policy {
        self.policy.get().unwrap_or(&self.default_policy)
    }

    fn expiry(&self) -> MutexGuard<'_, Expiry> {
        self.expiry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if a node has joined and not left.
    fn has_joined(&self, node: NodeId) -> bool {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).iter().any(|(id, _)| *id == node)
    }

    fn signal_node(&self, node: NodeId, signal: Signal) {
        let handler = {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().find(|(id, _)| *id == node).map(|(_, handler)| Arc::clone(handler))
        };
        if let Some(handler) = handler {
            handler.signal(signal);
        }
    }

    fn signal_all(&self, signal: &Signal) {
        self.signal_others(None, signal);
    }

    /// Sends a signal to every node except one.
    fn signal_others(&self, by: Option<NodeId>, signal: &Signal) {
        let handlers: Vec<_> = {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().filter(|(id, _)| Some(*id) != by).map(|(_, handler)| Arc::clone(handler)).collect()
        };
        for handler in handlers {
            handler.signal(signal.clone());
        }
    }
}

impl Membership for MemoryEngine {
    fn join(&self, handler: Arc<dyn SignalHandler>, policy: Policy) -> NodeId {
        self.shared.join(handler, &policy)
    }

    fn leave(&self, node: NodeId) {
        self.shared.leave(node);
    }

    fn announce(&self, topic: &str, id: u64) -> EngineFuture<Result<u64>> {
        EngineFuture::ready(self.shared.announce(topic, id).0)
    }

    fn announced(&self, after: u64, among: &[&str]) -> EngineFuture<Result<Announced>> {
        EngineFuture::ready(Ok(self.shared.announced(after, among)))
    }

    fn broadcast(&self, session: SessionId, node: NodeId, update: SessionUpdate) -> EngineFuture<Result<()>> {
        self.shared.broadcast(session, node, update);
        EngineFuture::ready(Ok(()))
    }
}

impl SessionStore for MemoryEngine {
    fn create(&self, create: Create) -> EngineFuture<Result<Vec<Ended>>> {
        EngineFuture::ready(self.shared.create(create).0)
    }

    fn load(&self, session: SessionId, principal: Option<&Principal>) -> EngineFuture<Result<Loaded>> {
        EngineFuture::ready(self.shared.load(session, principal).0)
    }

    fn load_state(&self, session: SessionId, key: &str) -> EngineFuture<Result<(Option<RawJson>, u64)>> {
        EngineFuture::ready(self.shared.load_state(session, key).0)
    }

    fn load_states(
        &self,
        session: SessionId,
        prefix: &str,
        known: &[(&str, u64)],
    ) -> EngineFuture<Result<Vec<StateValue>>> {
        EngineFuture::ready(self.shared.load_states(session, prefix, known).0)
    }

    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> EngineFuture<Result<bool>> {
        EngineFuture::ready(self.shared.store_state(session, key, &value, version).0)
    }

    fn end_session(&self, session: SessionId, reason: EndReason) -> EngineFuture<Result<Ended>> {
        EngineFuture::ready(self.shared.end(session, reason).0)
    }

    fn discard_session(&self, session: SessionId) -> EngineFuture<Result<()>> {
        EngineFuture::ready(discarded(self.shared.end(session, EndReason::Closed).0))
    }

    fn expire(&self, _node: NodeId) -> EngineFuture<Result<Vec<Ended>>> {
        EngineFuture::ready(self.shared.expire().0)
    }

    fn list(&self) -> EngineFuture<Result<Vec<SessionSummary>>> {
        EngineFuture::ready(Ok(self.shared.list()))
    }

    fn count(&self) -> EngineFuture<Result<usize>> {
        EngineFuture::ready(Ok(self.shared.count()))
    }
}

impl CallStore for MemoryEngine {
    fn begin(&self, begin: Begin<'_>) -> EngineFuture<Result<Begun>> {
        EngineFuture::ready(self.shared.begin(&begin).0)
    }

    fn finish(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<()>> {
        EngineFuture::ready(self.shared.finish(session, stream).0)
    }

    fn cancel(&self, session: SessionId, id: &RequestId) -> EngineFuture<Result<bool>> {
        EngineFuture::ready(self.shared.cancel(session, id).0)
    }

    fn cancelled_calls(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<Vec<RequestId>>> {
        EngineFuture::ready(self.shared.cancelled(session, stream).0)
    }

    fn answer_request(&self, session: SessionId, request: &str, outcome: Outcome) -> EngineFuture<Result<bool>> {
        EngineFuture::ready(self.shared.answer(session, request, outcome).0)
    }

    fn take_answer(&self, session: SessionId, request: &str) -> EngineFuture<Result<Option<Outcome>>> {
        EngineFuture::ready(self.shared.take(session, request).0)
    }

    fn withdraw_request(&self, session: SessionId, request: &str) -> EngineFuture<Result<()>> {
        EngineFuture::ready(self.shared.withdraw(session, request).0)
    }
}

impl StreamStore for MemoryEngine {
    fn append(&self, append: Append) -> EngineFuture<Result<Appended>> {
        EngineFuture::ready(self.shared.append(append).0)
    }

    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> EngineFuture<Result<Appended>> {
        EngineFuture::ready(self.shared.publish(session, node, event).0)
    }

    fn deliver(&self, deliver: Deliver) -> EngineFuture<Result<Delivered>> {
        EngineFuture::ready(self.shared.deliver(deliver).0)
    }

    fn attach(&self, attach: Attach<'_>) -> EngineFuture<Result<Attached>> {
        EngineFuture::ready(self.shared.attach(&attach).0)
    }

    fn read_after(
        &self,
        session: SessionId,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max_bytes: usize,
    ) -> EngineFuture<Result<Page>> {
        EngineFuture::ready(self.shared.read_after(session, stream, generation, after, max_bytes).0)
    }

    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> EngineFuture<Result<()>> {
        EngineFuture::ready(self.shared.detach(session, stream, generation).0)
    }

    fn request_detach(
        &self,
        session: SessionId,
        stream: StreamNo,
        retry: Option<Duration>,
    ) -> EngineFuture<Result<()>> {
        EngineFuture::ready(self.shared.request_detach(session, stream, retry).0)
    }
}

impl TaskStore for MemoryEngine {
    fn create_task(&self, create: CreateTask) -> EngineFuture<Result<()>> {
        EngineFuture::ready(self.shared.create_task(create).0)
    }

    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> EngineFuture<Result<LoadedTask>> {
        EngineFuture::ready(self.shared.load_task(task, principal).0)
    }

    fn store_task(&self, store: StoreTask) -> EngineFuture<Result<bool>> {
        EngineFuture::ready(self.shared.store_task(store).0)
    }
}
