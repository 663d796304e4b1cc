//! Decides which task comes in, which goes for it or because its time is over, and which store of
//! its document counts. Plain data, no clock, no lock; the engine around it brings both.
//!
//! Invariants:
//!
//! 1. Each task stands once in the map, and in exactly the queues its fields say: `ends` if it has
//!    an end, `idle` and its account's `idle` if nobody runs it: it is done, or an orphan.
//! 2. `bytes` is the length of all documents, `idle_bytes` of those that nobody runs; the same for each
//!    account.
//! 3. Whether there is room is decided before anything makes some: whoever is refused has changed
//!    nothing.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use crate::clock::Tick;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Account, Peer, Principal, TaskId, TaskMap};
#[cfg(feature = "file")]
use crate::store::file::image::TaskImage;
use crate::store::journal::{Change, Notes};
#[cfg(feature = "file")]
use crate::store::memory::restore::GONE;
use crate::store::{CreateTask, LoadedTask, NodeId, Policy, StoreTask};

type Result<T> = std::result::Result<T, StoreError>;

/// The tasks of an engine.
#[derive(Debug, Default)]
pub(in crate::store::memory) struct Tasks<M = ()> {
    /// Where the journal has the newest change of any.
    pub(super) mark: M,
    tasks: TaskMap<Task>,
    accounts: HashMap<Account, OfAccount>,
    /// Those that have an end, so that looking for what is over costs what is over.
    ends: BTreeSet<(Tick, TaskId)>,
    /// Those that nobody runs, in the order they make room.
    idle: BTreeSet<(u64, TaskId)>,
    /// How many were ever done.
    ever_done: u64,
    bytes: usize,
    idle_bytes: usize,
    /// Whose bell is due.
    news: Vec<TaskId>,
}

#[derive(Debug)]
struct Task {
    principal: Option<Principal>,
    peer: Option<Peer>,
    node: NodeId,
    ends: Option<Tick>,
    document: Bytes,
    version: u64,
    /// Its place among those that nobody runs; [`ORPHAN`] if it is not done.
    idle: Option<u64>,
}

/// The place of what is not done and never will be, unless somebody says so: before all that is
/// done, because there is nothing in it for anybody.
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

    /// The length of the documents of those that somebody runs.
    fn running_bytes(&self) -> usize {
        self.bytes - self.idle_bytes
    }
}

/// What is to be kept: more tasks, and a document in place of another.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    tasks: usize,
    old: usize,
    new: usize,
}

impl Task {
    /// Whose share it counts in.
    fn account(&self) -> Option<Account> {
        Account::of(self.principal.as_ref(), self.peer)
    }

    /// Its place among those that are done.
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

    /// A task for a principal, and the node that runs it.
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
        // It does not make room for itself.
        self.rest(id, None);
        self.make_room_of(account.as_ref(), Wanted { tasks: 0, old, new: size }, policy, notes);
        self.make_room(old, size, policy, notes);
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
        self.news.push(id);
        Ok(true)
    }

    /// From now on a task has this place among those that nobody runs, or none.
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

    /// Lets those go whose time is over.
    pub(super) fn expire(&mut self, now: Tick, notes: &mut impl Notes) {
        while self.ends.first().is_some_and(|(ends, _)| *ends <= now) {
            if let Some((_, task)) = self.ends.pop_first() {
                self.remove(task, notes);
            }
        }
    }

    /// Brings back a task of an earlier process; those that are done, in the order they became so.
    #[cfg(feature = "file")]
    pub(in crate::store::memory) fn restore(&mut self, id: TaskId, image: TaskImage) {
        let TaskImage { principal, ends, version, done, document } = image;
        self.ends.extend(ends.map(|ends| (ends, id)));
        self.bytes += document.len();
        self.ever_done = self.ever_done.max(done.unwrap_or_default());
        // No node runs it any more, so it makes room for anybody: its peer need not be known.
        self.count_in(Account::of(principal.as_ref(), None), document.len());
        self.tasks.insert(id, Task { principal, peer: None, node: GONE, ends, document, version, idle: None });
        self.rest(id, done);
    }

    #[cfg(feature = "file")]
    pub(in crate::store::memory) fn ids(&self) -> Vec<TaskId> {
        self.tasks.keys().copied().collect()
    }

    /// What makes a task what it is.
    #[cfg(feature = "file")]
    pub(in crate::store::memory) fn change(&self, id: TaskId) -> Option<Change> {
        self.tasks.get(&id).map(|task| task.change(id))
    }

    /// About what it would weigh, written once.
    #[cfg(feature = "file")]
    pub(in crate::store::memory) fn weight(&self) -> usize {
        let length = |account: &Account| match account {
            Account::Principal(principal) => principal.as_str().len(),
            Account::Peer(_) => 0,
        };
        let owners: usize = self.accounts.iter().map(|(account, of)| of.tasks * length(account)).sum();
        self.bytes + owners + self.tasks.len() * 64
    }

    /// Tells of what a node leaves unfinished, and lets it make room.
    pub(super) fn orphan(&mut self, node: NodeId) {
        let orphans = self.tasks.iter().filter(|(_, task)| task.node == node && task.done().is_none());
        let orphans: Vec<_> = orphans.map(|(id, _)| *id).collect();
        orphans.iter().for_each(|id| self.rest(*id, Some(ORPHAN)));
        self.news.extend(orphans);
    }

    /// The tasks to ring for since this was asked last.
    pub(super) fn take_news(&mut self) -> Vec<TaskId> {
        std::mem::take(&mut self.news)
    }

    /// Makes room for one more task: among the account's own first, then among all.
    fn place(&mut self, account: Option<&Account>, size: usize, policy: &Policy, notes: &mut impl Notes) -> Result<()> {
        let wanted = Wanted { tasks: 1, old: 0, new: size };
        self.check_share(account, wanted, policy)?;
        if self.tasks.len() - self.idle.len() >= policy.max_tasks || !self.could_grow(0, size, policy) {
            return fail(StoreErrorKind::Full);
        }
        self.make_room_of(account, wanted, policy, notes);
        while self.tasks.len() >= policy.max_tasks && self.forget_one(notes) {}
        self.make_room(0, size, policy, notes);
        Ok(())
    }

    /// Makes room for a document in place of another one.
    fn make_room(&mut self, old: usize, new: usize, policy: &Policy, notes: &mut impl Notes) {
        while self.bytes - old + new > policy.task_bytes && self.forget_one(notes) {}
    }

    /// Whether a document fits in place of one that somebody runs, if nothing is left that nobody does.
    fn could_grow(&self, old: usize, new: usize, policy: &Policy) -> bool {
        self.bytes - self.idle_bytes - old + new <= policy.task_bytes
    }

    /// Returns whether an account may have what is wanted, if nothing of its own is left that no node runs. Tasks
    /// without an account have no share.
    fn check_share(&self, account: Option<&Account>, wanted: Wanted, policy: &Policy) -> Result<()> {
        let Some(account) = account else { return Ok(()) };
        let share = policy.share_of(account);
        let of = self.accounts.get(account);
        let (running, bytes) = of.map_or((0, 0), |of| (of.running(), of.running_bytes()));
        let fits = running + wanted.tasks <= share.tasks && bytes - wanted.old + wanted.new <= share.task_bytes;
        if fits { Ok(()) } else { fail(share.full) }
    }

    /// Makes room among the tasks of an account, if there is one.
    fn make_room_of(&mut self, account: Option<&Account>, wanted: Wanted, policy: &Policy, notes: &mut impl Notes) {
        let Some(account) = account else { return };
        while self.first_of(account, wanted, policy).is_some_and(|task| self.remove(task, notes)) {}
    }

    /// The task of an account that makes room for what is wanted, where one must.
    fn first_of(&self, account: &Account, wanted: Wanted, policy: &Policy) -> Option<TaskId> {
        let (of, share) = (self.accounts.get(account)?, policy.share_of(account));
        let fits = of.tasks + wanted.tasks <= share.tasks && of.bytes - wanted.old + wanted.new <= share.task_bytes;
        if fits { None } else { of.idle.first().map(|(_, task)| *task) }
    }

    /// Lets an orphan go, or else the task that is done since longest ago; whether there was one.
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
        self.news.push(id);
        true
    }

    /// An account has one task more.
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
        self.tasks.is_empty() && self.news.is_empty() && self.is_whole()
    }

    /// Whether invariants 1 and 2 hold.
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
