//! Decides how sessions are kept in memory: one map, one short critical section for each step,
//! every step ready at once.
//!
//! Invariants:
//!
//! 1. A step holds one lock at a time: a shard of the map, *or* the queue of expiry, *or* the list
//!    of nodes, *or* a principal's entry, *or* the tasks. Nothing can deadlock, nothing is held
//!    across an await.
//! 2. A bell is rung after the step's locks are gone.
//! 3. A session leaves the map once, by whoever removes it, so it is handed out as ended once.

mod expiry;
#[cfg(test)]
mod model;
mod questions;
mod record;
mod room;
mod streams;
mod tasks;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use dashmap::DashMap;

use self::expiry::Expiry;
use self::questions::Outcome;
use self::record::{Record, Wake};
use self::tasks::Tasks;
use super::{
    Append, Appended, Attach, Attached, Begin, Create, CreateTask, Doorbell, EndReason, Ended, Event, Loaded,
    LoadedTask, NodeId, Page, Policy, Ring, SessionEngine, SessionSummary, Step, StoreTask, StreamNo,
};
use crate::clock::Clock;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId, SessionMap, TaskId};
use crate::message::{RawJson, RequestId};

type Result<T> = std::result::Result<T, StoreError>;

/// Sessions and tasks in the memory of this process. They end with it.
///
/// A clone is the same engine: services that are given clones of one engine share what it
/// keeps, as nodes of a cluster would, which is handy in tests.
#[derive(Clone)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    /// Boxed, because a map holds up to twice the room its entries need.
    sessions: SessionMap<Box<Record>>,
    /// How many there are: asking the map would visit each of its shards.
    count: AtomicUsize,
    principals: DashMap<Principal, OfPrincipal>,
    expiry: Mutex<Expiry>,
    /// Whether some session may be at rest; see [`room`].
    rest: AtomicU8,
    tasks: Mutex<Tasks>,
    nodes: RwLock<Vec<(NodeId, Arc<dyn Doorbell>)>>,
    next_node: AtomicU64,
    policy: OnceLock<Policy>,
    default_policy: Policy,
}

#[derive(Debug, Default)]
struct OfPrincipal {
    sessions: Vec<SessionId>,
    calls: Arc<AtomicUsize>,
}

impl MemoryEngine {
    /// An empty engine.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            clock: Clock::new(),
            sessions: SessionMap::default(),
            count: AtomicUsize::new(0),
            principals: DashMap::new(),
            expiry: Mutex::default(),
            rest: AtomicU8::default(),
            tasks: Mutex::default(),
            nodes: RwLock::default(),
            next_node: AtomicU64::new(1),
            policy: OnceLock::new(),
            default_policy: Policy::default(),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.shared.count.load(Ordering::Relaxed);
        f.debug_struct("MemoryEngine").field("sessions", &sessions).finish_non_exhaustive()
    }
}

impl Shared {
    fn policy(&self) -> &Policy {
        self.policy.get().unwrap_or(&self.default_policy)
    }

    fn expiry(&self) -> MutexGuard<'_, Expiry> {
        self.expiry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step on one session, and the bell after it.
    fn on<T>(&self, session: SessionId, step: impl FnOnce(&mut Record) -> Result<(T, Wake)>) -> Result<T> {
        let (value, wake) = {
            let Some(mut record) = self.sessions.get_mut(&session) else {
                return Err(StoreError::new(StoreErrorKind::NotFound));
            };
            step(&mut record)?
        };
        if let Some((node, ring)) = wake {
            self.ring(node, ring);
        }
        Ok(value)
    }

    /// Whether a node is one of those that joined and did not leave.
    fn has_joined(&self, node: NodeId) -> bool {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).iter().any(|(id, _)| *id == node)
    }

    fn ring(&self, node: NodeId, ring: Ring) {
        let bell = {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().find(|(id, _)| *id == node).map(|(_, bell)| Arc::clone(bell))
        };
        if let Some(bell) = bell {
            bell.ring(ring);
        }
    }

    fn ring_all(&self, ring: &Ring) {
        let bells: Vec<_> = {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            nodes.iter().map(|(_, bell)| Arc::clone(bell)).collect()
        };
        for bell in bells {
            bell.ring(ring.clone());
        }
    }

    fn append(&self, append: Append) -> Result<Appended> {
        let (session, close, now) = (append.session, append.close, self.clock.now());
        let mut first_kept = false;
        let appended = self.on(session, |record| {
            let done = record.append(append, self.policy(), now)?;
            first_kept = close && record.kept.is_none() && record.keeps_finished();
            if first_kept {
                record.kept = Some(now);
            }
            Ok(done)
        })?;
        if close {
            self.somebody_rests();
        }
        if first_kept {
            self.expiry().keeps_finished(session, now);
        }
        Ok(appended)
    }
}

impl SessionEngine for MemoryEngine {
    fn join(&self, bell: Arc<dyn Doorbell>, policy: Policy) -> NodeId {
        let node = NodeId(self.shared.next_node.fetch_add(1, Ordering::Relaxed));
        if *self.shared.policy.get_or_init(|| policy.clone()) != policy {
            tracing::warn!("services that share a session engine have different limits; the first one's count");
        }
        self.shared.nodes.write().unwrap_or_else(PoisonError::into_inner).push((node, bell));
        node
    }

    fn leave(&self, node: NodeId) {
        self.shared.nodes.write().unwrap_or_else(PoisonError::into_inner).retain(|(id, _)| *id != node);
        let (policy, now) = (self.shared.policy(), self.shared.clock.now());
        let mut wakes = Vec::new();
        for mut record in self.shared.sessions.iter_mut() {
            wakes.extend(record.abandon(node, policy, now).into_iter().flatten());
        }
        self.shared.somebody_rests();
        wakes.into_iter().for_each(|(node, ring)| self.shared.ring(node, ring));
        self.shared.orphan_tasks(node);
    }

    fn create(&self, create: Create) -> Step<Result<Vec<Ended>>> {
        Step::ready(self.shared.create(create))
    }

    fn load(&self, session: SessionId, principal: Option<&Principal>) -> Step<Result<Loaded>> {
        let now = self.shared.clock.now();
        Step::ready(self.shared.on(session, |record| {
            if !record.admits(principal) {
                return Err(StoreError::new(StoreErrorKind::NotFound));
            }
            record.touched = now;
            Ok((Loaded { info: Arc::clone(&record.info), epoch: record.epoch }, None))
        }))
    }

    fn begin(&self, begin: Begin<'_>) -> Step<Result<StreamNo>> {
        let now = self.shared.clock.now();
        Step::ready(self.shared.on(begin.session, |record| {
            if !record.admits(begin.principal) {
                return Err(StoreError::new(StoreErrorKind::NotFound));
            }
            record.begin(&begin, self.shared.policy(), now).map(|stream| (stream, None))
        }))
    }

    fn finish(&self, session: SessionId, stream: StreamNo) -> Step<Result<()>> {
        let now = self.shared.clock.now();
        let finished = self.shared.on(session, |record| Ok(((), record.finish(stream, now))));
        self.shared.somebody_rests();
        Step::ready(finished)
    }

    fn append(&self, append: Append) -> Step<Result<Appended>> {
        Step::ready(self.shared.append(append))
    }

    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> Step<Result<Appended>> {
        Step::ready(self.shared.on(session, |record| Ok(record.publish(node, event, self.shared.policy()))))
    }

    fn attach(&self, attach: Attach<'_>) -> Step<Result<Attached>> {
        let now = self.shared.clock.now();
        Step::ready(self.shared.on(attach.session, |record| {
            if !record.admits(attach.principal) {
                return Err(StoreError::new(StoreErrorKind::NotFound));
            }
            record.attach(&attach, self.shared.policy(), now)
        }))
    }

    fn read_after(
        &self,
        session: SessionId,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max_bytes: usize,
    ) -> Step<Result<Page>> {
        Step::ready(self.shared.on(session, |record| record.read_after(stream, generation, after, max_bytes)))
    }

    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> Step<Result<()>> {
        let now = self.shared.clock.now();
        let detached = self.shared.on(session, |record| Ok(((), record.detach(stream, generation, now))));
        self.shared.somebody_rests();
        Step::ready(detached)
    }

    fn hang_up(&self, session: SessionId, stream: StreamNo, retry: Option<Duration>) -> Step<Result<()>> {
        Step::ready(self.shared.on(session, |record| Ok(((), record.hang_up(stream, retry)))))
    }

    fn answer(&self, session: SessionId, question: &str, outcome: Outcome) -> Step<Result<bool>> {
        let now = self.shared.clock.now();
        Step::ready(self.shared.on(session, |record| record.answer(question, outcome, now)))
    }

    fn take(&self, session: SessionId, question: &str) -> Step<Result<Option<Outcome>>> {
        Step::ready(self.shared.on(session, |record| record.take(question).map(|answer| (answer, None))))
    }

    fn withdraw(&self, session: SessionId, question: &str) -> Step<Result<()>> {
        Step::ready(self.shared.on(session, |record| {
            record.withdraw(question);
            Ok(((), None))
        }))
    }

    fn cancel(&self, session: SessionId, id: &RequestId) -> Step<Result<bool>> {
        let now = self.shared.clock.now();
        Step::ready(self.shared.on(session, |record| Ok(record.cancel(id, now))))
    }

    fn load_state(&self, session: SessionId, key: &str) -> Step<Result<(Option<RawJson>, u64)>> {
        Step::ready(self.shared.on(session, |record| Ok((record.load_state(key), None))))
    }

    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> Step<Result<bool>> {
        Step::ready(self.shared.on(session, |record| Ok((record.store_state(key, value, version), None))))
    }

    fn create_task(&self, create: CreateTask) -> Step<Result<()>> {
        Step::ready(self.shared.create_task(create))
    }

    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> Step<Result<LoadedTask>> {
        Step::ready(self.shared.load_task(task, principal))
    }

    fn store_task(&self, store: StoreTask) -> Step<Result<bool>> {
        Step::ready(self.shared.store_task(store))
    }

    fn end(&self, session: SessionId, reason: EndReason) -> Step<Result<Ended>> {
        let ended = self.shared.end_if(session, reason, |_| true);
        Step::ready(ended.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound)))
    }

    fn sweep(&self, _node: NodeId) -> Step<Result<Vec<Ended>>> {
        self.shared.sweep_tasks();
        Step::ready(Ok(self.shared.sweep()))
    }

    fn announce(&self, topic: &str) -> Step<Result<()>> {
        self.shared.ring_all(&Ring::Topic { topic: topic.into() });
        Step::ready(Ok(()))
    }

    fn list(&self) -> Step<Result<Vec<SessionSummary>>> {
        let now = self.shared.clock.now();
        Step::ready(Ok(self.shared.sessions.iter().map(|record| record.summary(now)).collect()))
    }

    fn count(&self) -> Step<Result<usize>> {
        Step::ready(Ok(self.shared.count.load(Ordering::Relaxed)))
    }
}
