//! Decides how sessions are kept in memory: one map, one short critical section for each step,
//! every step ready at once.
//!
//! Invariants:
//!
//! 1. A step holds one lock at a time: a shard of the map, *or* the queue of expiry, *or* the list
//!    of nodes, *or* a principal's entry. Nothing can deadlock, nothing is held across an await.
//! 2. A bell is rung after the step's locks are gone.
//! 3. A session leaves the map once, by whoever removes it, so it is handed out as ended once.

mod expiry;
mod record;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use dashmap::DashMap;

use self::expiry::Expiry;
use self::record::{Record, Wake};
use super::{
    Append, Appended, Attach, Attached, Begin, Create, Doorbell, EndReason, Ended, Event, Loaded, NodeId, Page, Policy,
    Ring, SessionEngine, SessionSummary, Step, StreamNo,
};
use crate::clock::{Clock, Tick};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId, SessionMap};
use crate::message::{RawJson, RequestId};

type Result<T> = std::result::Result<T, StoreError>;
type Outcome = std::result::Result<RawJson, RawJson>;

/// Sessions in the memory of this process. They end with it.
///
/// A clone is the same engine: services that are given clones of one engine share its sessions,
/// as nodes of a cluster would, which is handy in tests.
#[derive(Clone)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    sessions: SessionMap<Record>,
    /// How many there are: asking the map would visit each of its shards.
    count: AtomicUsize,
    principals: DashMap<Principal, OfPrincipal>,
    expiry: Mutex<Expiry>,
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

    fn create(&self, create: Create) -> Result<Vec<Ended>> {
        let policy = self.policy();
        let (session, principal) = (create.info.id, create.info.principal.clone());
        if self.sessions.contains_key(&session) {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        let now = self.clock.now();
        // Its place is taken first and room is made then: two that are opened at once never take
        // the same room, and who has made room is never refused.
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let claimed = principal.as_ref().map(|principal| self.claim(principal, session, policy)).transpose();
        let (usage, mut evicted) = match claimed {
            Ok(claimed) => claimed.map_or((None, None), |(usage, evicted)| (Some(usage), evicted)),
            Err(error) => {
                self.count.fetch_sub(1, Ordering::Relaxed);
                return Err(error);
            }
        };
        if evicted.is_none() && before >= policy.max_sessions {
            evicted = self.evict_longest_idle(now);
            if evicted.is_none() {
                drop(usage);
                self.count.fetch_sub(1, Ordering::Relaxed);
                if let Some(principal) = &principal {
                    self.forget_of(principal, session);
                }
                return Err(StoreError::new(StoreErrorKind::Full));
            }
        }
        self.sessions.insert(session, Record::new(create, usage, now));
        self.expiry().opened(session, now, policy.lifetime.is_some());
        Ok(evicted.into_iter().collect())
    }

    /// Counts one more session of a principal, which makes room for it if need be.
    fn claim(
        &self,
        principal: &Principal,
        session: SessionId,
        policy: &Policy,
    ) -> Result<(Arc<AtomicUsize>, Option<Ended>)> {
        let (usage, sessions) = {
            let mut of = self.principals.entry(principal.clone()).or_default();
            of.sessions.push(session);
            if of.sessions.len() <= policy.max_sessions_per_principal {
                return Ok((Arc::clone(&of.calls), None));
            }
            (Arc::clone(&of.calls), of.sessions.clone())
        };
        let resting = |id: &SessionId| {
            let record = self.sessions.get(id)?;
            record.is_idle().then_some((record.touched, *id))
        };
        let mut longest: Vec<_> = sessions.iter().filter_map(resting).collect();
        longest.sort_unstable();
        let ended = longest.into_iter().find_map(|(_, id)| self.end_if(id, EndReason::Evicted, Record::is_idle));
        if ended.is_none() {
            drop(usage);
            self.forget_of(principal, session);
            return Err(StoreError::new(StoreErrorKind::FullForPrincipal));
        }
        Ok((usage, ended))
    }

    fn evict_longest_idle(&self, now: Tick) -> Option<Ended> {
        // Those in use go back last, so that each is looked at once.
        let mut busy = Vec::new();
        let ended = loop {
            let Some(session) = self.next_rested(Duration::ZERO, now) else { break None };
            if let Some(ended) = self.end_if(session, EndReason::Evicted, Record::is_at_rest) {
                break Some(ended);
            }
            match self.moment_of(session, now) {
                Some((rests_since, true)) => self.expiry().requeue(session, rests_since),
                Some((_, false)) => busy.push(session),
                None => {}
            }
        };
        let mut expiry = self.expiry();
        busy.into_iter().for_each(|session| expiry.requeue(session, now));
        ended
    }

    fn next_rested(&self, at_least: Duration, now: Tick) -> Option<SessionId> {
        self.expiry().rested(at_least, now)
    }

    /// Ends a session that rests, and whose last use is as long ago as the queue believed;
    /// otherwise puts it back under its true moment.
    fn end_or_requeue(&self, session: SessionId, idle: Duration, now: Tick) -> Option<Ended> {
        let due = |record: &Record| record.is_at_rest() && record.touched.after(idle) <= now;
        if let Some(ended) = self.end_if(session, EndReason::Idle, due) {
            return Some(ended);
        }
        let (moment, _) = self.moment_of(session, now)?;
        self.expiry().requeue(session, moment);
        None
    }

    /// Under which moment a session belongs into the queue, and whether it rests since then.
    fn moment_of(&self, session: SessionId, now: Tick) -> Option<(Tick, bool)> {
        let mut record = self.sessions.get_mut(&session)?;
        let rests = record.is_idle();
        record.queued = if rests { record.touched } else { now };
        Some((record.queued, rests))
    }

    fn end_if(&self, session: SessionId, reason: EndReason, condition: impl Fn(&Record) -> bool) -> Option<Ended> {
        let (_, record) = self.sessions.remove_if(&session, |_, record| condition(record))?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.expiry().ended(session, record.queued, record.opened);
        let info = Arc::clone(&record.info);
        // First the record, which counts as a user of its principal's entry.
        drop(record);
        if let Some(principal) = &info.principal {
            self.forget_of(principal, session);
        }
        self.ring_all(&Ring::Ended { session, reason });
        Some(Ended { info, reason })
    }

    fn forget_of(&self, principal: &Principal, session: SessionId) {
        if let Some(mut of) = self.principals.get_mut(principal) {
            of.sessions.retain(|id| *id != session);
        }
        self.principals.remove_if(principal, |_, of| of.sessions.is_empty() && Arc::strong_count(&of.calls) == 1);
    }

    fn sweep(&self) -> Vec<Ended> {
        let (policy, now) = (self.policy(), self.clock.now());
        let mut ended = Vec::new();
        if let Some(idle) = policy.idle_timeout {
            while let Some(session) = self.next_rested(idle, now) {
                ended.extend(self.end_or_requeue(session, idle, now));
            }
        }
        if let Some(lifetime) = policy.lifetime {
            while let Some(session) = { self.expiry().aged(lifetime, now) } {
                ended.extend(self.end_if(session, EndReason::Lifetime, |_| true));
            }
        }
        while let Some(session) = { self.expiry().kept(policy.finished_for, now) } {
            let more = self.sessions.get_mut(&session).is_some_and(|mut record| record.forget_finished(policy, now));
            if more {
                self.expiry().keeps_finished(session, now);
            }
        }
        ended
    }

    fn append(&self, append: Append) -> Result<Appended> {
        let (session, close, now) = (append.session, append.close, self.clock.now());
        let mut retained = false;
        let appended = self.on(session, |record| {
            let done = record.append(append, self.policy(), now)?;
            retained = close && !record.retained && record.keeps_finished();
            record.retained |= retained;
            Ok(done)
        })?;
        if retained {
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
        Step::ready(self.shared.on(session, |record| Ok(((), record.finish(stream, now)))))
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
        Step::ready(self.shared.on(session, |record| Ok(((), record.detach(stream, generation, now)))))
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

    fn end(&self, session: SessionId, reason: EndReason) -> Step<Result<Ended>> {
        let ended = self.shared.end_if(session, reason, |_| true);
        Step::ready(ended.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound)))
    }

    fn sweep(&self, _node: NodeId) -> Step<Result<Vec<Ended>>> {
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
