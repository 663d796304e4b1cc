//! The table of tasks: it admits, stores, evicts and expires them. It is plain data without a clock
//! or lock; the engine provides both.
//!
//! Invariants:
//!
//! 1. Each task is in the map once, and in exactly the queues that its fields say. It is in `ends`
//!    if it has an end. It is in `idle`, and in the `idle` of its account, if no node runs it: it
//!    is done, or an orphan.
//! 2. `bytes` is the length of all documents, and `idle_bytes` of those that no node runs. The same
//!    holds for each account.
//! 3. The table checks the capacity before it evicts tasks. A rejected operation has changed
//!    nothing.

#[cfg(feature = "file")]
mod restore;

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use crate::clock::Tick;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Account, Peer, Principal, TaskId, TaskMap};
use crate::store::journal::{Change, Notes};
use crate::store::{CreateTask, LoadedTask, NodeId, Policy, StoreTask};

type Result<T> = std::result::Result<T, StoreError>;

/// The tasks of an engine.
#[derive(Debug, Default)]
pub(in crate::store::memory) struct Tasks<M = ()> {
    /// The position of the newest change of any task in the journal.
    pub(super) mark: M,
    tasks: TaskMap<Task>,
    accounts: HashMap<Account, OfAccount>,
    /// The tasks that have an end, so that expiry costs time only for expired tasks.
    ends: BTreeSet<(Tick, TaskId)>,
    /// The tasks that no node runs, in the order of their eviction.
    idle: BTreeSet<(u64, TaskId)>,
    /// The number of tasks that were ever done.
    ever_done: u64,
    bytes: usize,
    idle_bytes: usize,
    /// The tasks whose signals have yet to be sent.
    changed: Vec<TaskId>,
}

#[derive(Debug)]
struct Task {
    principal: Option<Principal>,
    peer: Option<Peer>,
    node: NodeId,
    ends: Option<Tick>,
    document: Bytes,
    version: u64,
    /// Its position among the tasks that no node runs; [`ORPHAN`] if it is not done.
    idle: Option<u64>,
}

/// The position of tasks that are not done and will not be, unless a node stores them. They are
/// evicted before finished tasks, because they have no result for a client.
const ORPHAN: u64 = 0;

#[derive(Debug, Default, PartialEq)]
struct OfAccount {
    tasks: usize,
    idle: BTreeSet<(u64, TaskId)>,
    bytes: usize,
    idle_bytes: usize,
}

impl OfAccount {
    fn running(&self) -> usize {
        self.tasks - self.idle.len()
    }

    /// Returns the length of the documents of tasks that a node runs.
    fn running_bytes(&self) -> usize {
        self.bytes - self.idle_bytes
    }
}

/// The capacity that an operation needs: more tasks, and a document in place of another.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    tasks: usize,
    old: usize,
    new: usize,
}

impl Task {
    /// Returns the account whose share it counts against.
    fn account(&self) -> Option<Account> {
        Account::of(self.principal.as_ref(), self.peer)
    }

    /// Returns its position among the finished tasks.
    fn done(&self) -> Option<u64> {
        self.idle.filter(|place| *place != ORPHAN)
    }

    fn change(&self, id: TaskId) -> Change {
        let Self { principal, ends, document, version, .. } = self;
        let (ends, version, done) = (*ends, *version, self.done());
        Change::Task { id, principal: principal.clone(), ends, version, done, document: document.clone() }
    }
}

fn fail<T>(kind: StoreErrorKind) -> Result<T> {
    Err(StoreError::new(kind))
}

impl<M: Default> Tasks<M> {
    pub(super) fn create(
        &mut self,
        create: CreateTask,
        policy: &Policy,
        now: Tick,
        notes: &mut impl Notes,
    ) -> Result<()> {
        let CreateTask { id, principal, peer, node, ttl, document } = create;
        if self.tasks.contains_key(&id) {
            return fail(StoreErrorKind::Conflict);
        }
        let account = Account::of(principal.as_ref(), peer);
        self.place(account.as_ref(), document.len(), policy, notes)?;
        let ends = ttl.map(|ttl| now.after(ttl));
        self.ends.extend(ends.map(|ends| (ends, id)));
        self.bytes += document.len();
        self.count_in(account, document.len());
        let task = Task { principal, peer, node, ends, document, version: 1, idle: None };
        notes.note(|| task.change(id));
        self.tasks.insert(id, task);
        Ok(())
    }

    /// Returns a task of a principal, with the node that runs it.
    pub(super) fn load(&self, id: TaskId, principal: Option<&Principal>) -> Result<(LoadedTask, NodeId)> {
        let Some(task) = self.tasks.get(&id).filter(|task| task.principal.as_ref() == principal) else {
            return fail(StoreErrorKind::NotFound);
        };
        let Task { document, version, .. } = task;
        let done = task.done().is_some();
        Ok((LoadedTask { document: document.clone(), version: *version, done, orphaned: false }, task.node))
    }

    pub(super) fn store(&mut self, store: StoreTask, policy: &Policy, notes: &mut impl Notes) -> Result<bool> {
        let StoreTask { id, version, document, done } = store;
        let Some(task) = self.tasks.get(&id) else { return fail(StoreErrorKind::NotFound) };
        if task.done().is_some() {
            return fail(StoreErrorKind::Fenced);
        }
        if task.version != version {
            return Ok(false);
        }
        let (old, size, orphan, account) = (task.document.len(), document.len(), task.idle, task.account());
        let running = if orphan.is_some() { 0 } else { old };
        self.check_share(account.as_ref(), Wanted { tasks: 0, old: running, new: size }, policy)?;
        if !self.could_grow(running, size, policy) {
            return fail(StoreErrorKind::Full);
        }
        // The task must not be evicted for itself.
        self.rest(id, None);
        self.free_capacity_of(account.as_ref(), Wanted { tasks: 0, old, new: size }, policy, notes);
        self.free_capacity(old, size, policy, notes);
        let Some(task) = self.tasks.get_mut(&id) else { return fail(StoreErrorKind::NotFound) };
        self.bytes = self.bytes - old + size;
        if let Some(of) = account.and_then(|account| self.accounts.get_mut(&account)) {
            of.bytes = of.bytes - old + size;
        }
        task.document = document;
        task.version += 1;
        self.ever_done += u64::from(done);
        self.rest(id, if done { Some(self.ever_done) } else { orphan });
        if let Some(task) = self.tasks.get(&id) {
            notes.note(|| task.change(id));
        }
        self.changed.push(id);
        Ok(true)
    }

    /// Sets the position of a task among those that no node runs, or removes it from them.
    fn rest(&mut self, id: TaskId, place: Option<u64>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let before = std::mem::replace(&mut task.idle, place);
        let size = task.document.len();
        let mut of = task.account().and_then(|account| self.accounts.get_mut(&account));
        if let Some(before) = before {
            self.idle.remove(&(before, id));
            self.idle_bytes -= size;
            if let Some(of) = &mut of {
                of.idle.remove(&(before, id));
                of.idle_bytes -= size;
            }
        }
        if let Some(place) = place {
            self.idle.insert((place, id));
            self.idle_bytes += size;
            if let Some(of) = &mut of {
                of.idle.insert((place, id));
                of.idle_bytes += size;
            }
        }
    }

    /// Removes the tasks that have expired.
    pub(super) fn expire(&mut self, now: Tick, notes: &mut impl Notes) {
        while self.ends.first().is_some_and(|(ends, _)| *ends <= now) {
            if let Some((_, task)) = self.ends.pop_first() {
                self.remove(task, notes);
            }
        }
    }

    /// Makes orphans of the unfinished tasks of a node, so that they can be evicted and signaled.
    pub(super) fn orphan(&mut self, node: NodeId) {
        let orphans = self.tasks.iter().filter(|(_, task)| task.node == node && task.done().is_none());
        let orphans: Vec<_> = orphans.map(|(id, _)| *id).collect();
        orphans.iter().for_each(|id| self.rest(*id, Some(ORPHAN)));
        self.changed.extend(orphans);
    }

    /// Returns the tasks to send signals for, and clears them.
    pub(super) fn take_changed(&mut self) -> Vec<TaskId> {
        std::mem::take(&mut self.changed)
    }

    /// Evicts tasks until one more fits, first the account's own and then any.
    fn place(&mut self, account: Option<&Account>, size: usize, policy: &Policy, notes: &mut impl Notes) -> Result<()> {
        let wanted = Wanted { tasks: 1, old: 0, new: size };
        self.check_share(account, wanted, policy)?;
        if self.tasks.len() - self.idle.len() >= policy.max_tasks || !self.could_grow(0, size, policy) {
            return fail(StoreErrorKind::Full);
        }
        self.free_capacity_of(account, wanted, policy, notes);
        while self.tasks.len() >= policy.max_tasks && self.forget_one(notes) {}
        self.free_capacity(0, size, policy, notes);
        Ok(())
    }

    /// Evicts tasks until a document fits in place of another one.
    fn free_capacity(&mut self, old: usize, new: usize, policy: &Policy, notes: &mut impl Notes) {
        while self.bytes - old + new > policy.task_bytes && self.forget_one(notes) {}
    }

    /// Returns `true` if a document fits in place of one that a node runs, once all tasks that no
    /// node runs are evicted.
    fn could_grow(&self, old: usize, new: usize, policy: &Policy) -> bool {
        self.bytes - self.idle_bytes - old + new <= policy.task_bytes
    }

    /// Checks that an account may have the wanted capacity, once all its tasks that no node runs
    /// are evicted. Tasks without an account have no share.
    fn check_share(&self, account: Option<&Account>, wanted: Wanted, policy: &Policy) -> Result<()> {
        let Some(account) = account else { return Ok(()) };
        let share = policy.share_of(account);
        let of = self.accounts.get(account);
        let (running, bytes) = of.map_or((0, 0), |of| (of.running(), of.running_bytes()));
        let fits = running + wanted.tasks <= share.tasks && bytes - wanted.old + wanted.new <= share.task_bytes;
        if fits { Ok(()) } else { fail(share.full) }
    }

    /// Evicts tasks of an account until the wanted capacity is within its share.
    fn free_capacity_of(&mut self, account: Option<&Account>, wanted: Wanted, policy: &Policy, notes: &mut impl Notes) {
        let Some(account) = account else { return };
        while self.first_of(account, wanted, policy).is_some_and(|task| self.remove(task, notes)) {}
    }

    /// Returns the task of an account that is evicted next, if the wanted capacity exceeds its
    /// share.
    fn first_of(&self, account: &Account, wanted: Wanted, policy: &Policy) -> Option<TaskId> {
        let (of, share) = (self.accounts.get(account)?, policy.share_of(account));
        let fits = of.tasks + wanted.tasks <= share.tasks && of.bytes - wanted.old + wanted.new <= share.task_bytes;
        if fits { None } else { of.idle.first().map(|(_, task)| *task) }
    }

    /// Evicts an orphan, or else the task that has been done longest. Returns `false` if there was
    /// none.
    fn forget_one(&mut self, notes: &mut impl Notes) -> bool {
        let first = self.idle.first().map(|(_, task)| *task);
        first.is_some_and(|task| self.remove(task, notes))
    }

    fn remove(&mut self, id: TaskId, notes: &mut impl Notes) -> bool {
        self.rest(id, None);
        let Some(task) = self.tasks.remove(&id) else { return false };
        self.bytes -= task.document.len();
        if let Some(ends) = task.ends {
            self.ends.remove(&(ends, id));
        }
        if let Some(account) = task.account() {
            self.forget_of(&account, task.document.len());
        }
        notes.note(|| Change::TaskGone { id });
        self.changed.push(id);
        true
    }

    /// Counts one more task of an account.
    fn count_in(&mut self, account: Option<Account>, size: usize) {
        let Some(account) = account else { return };
        let of = self.accounts.entry(account).or_default();
        of.tasks += 1;
        of.bytes += size;
    }

    fn forget_of(&mut self, account: &Account, size: usize) {
        let Some(of) = self.accounts.get_mut(account) else { return };
        of.tasks -= 1;
        of.bytes -= size;
        if of.tasks == 0 {
            self.accounts.remove(account);
        }
    }

    #[cfg(test)]
    pub(in crate::store::memory) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.changed.is_empty() && self.is_whole()
    }

    /// Returns `true` if invariants 1 and 2 hold.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        let mut counted = Self::default();
        for (id, task) in &self.tasks {
            counted.ends.extend(task.ends.map(|ends| (ends, *id)));
            counted.idle.extend(task.idle.map(|place| (place, *id)));
            counted.bytes += task.document.len();
            counted.idle_bytes += task.idle.map_or(0, |_| task.document.len());
            let Some(account) = task.account() else { continue };
            let of = counted.accounts.entry(account).or_default();
            of.tasks += 1;
            of.bytes += task.document.len();
            of.idle_bytes += task.idle.map_or(0, |_| task.document.len());
            of.idle.extend(task.idle.map(|place| (place, *id)));
        }
        let is = (&self.ends, &self.idle, self.bytes, self.idle_bytes, &self.accounts);
        is == (&counted.ends, &counted.idle, counted.bytes, counted.idle_bytes, &counted.accounts)
    }
}
