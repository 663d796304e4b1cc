//! The restoration of sessions and tasks from a journal into memory, and their writing into a new
//! one.
//!
//! The nodes that ran them are gone. Calls in flight and tasks belong to [`GONE`], a node that
//! leaves when the first node joins.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::Shared;
use super::record::Record;
use crate::clock::Clock;
use crate::identity::{SessionId, TaskId};
use crate::store::journal::image::Image;
use crate::store::journal::{self, Change, Journal};
use crate::store::{Ended, NodeId};

/// The node that represents all nodes of earlier processes.
pub(in crate::store) const GONE: NodeId = NodeId(0);

impl<J: Journal<Notes = Vec<Change>>> Shared<J> {
    pub(in crate::store) fn restored(journal: J, image: Image) -> Self {
        let shared = Self::new(journal, Clock::of_day(image.latest));
        shared.next_node.store(image.nodes.max(GONE.0 + 1), Ordering::Relaxed);
        *shared.topics() = image.topics;
        let now = shared.clock.now();
        let away = now.since(image.latest);
        for (id, session) in image.sessions {
            let usage = session.info.account().map(|account| {
                let mut of = shared.accounts.entry(account).or_default();
                of.add(id);
                Arc::clone(&of.calls)
            });
            let record = Record::restored(session, usage, now, away);
            let mut expiry = shared.expiry();
            expiry.restored(id, record.queued, record.opened, record.used);
            if let Some(kept) = record.kept {
                expiry.keeps_finished(id, kept);
            }
            drop(expiry);
            shared.budget.account(0, record.bytes());
            shared.sessions.insert(id, Box::new(record));
            shared.count.fetch_add(1, Ordering::Relaxed);
        }
        let mut tasks = shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept: Vec<_> = image.tasks.into_iter().collect();
        kept.sort_by_key(|(id, task)| (task.done, *id));
        kept.into_iter().for_each(|(id, task)| tasks.restore(id, task));
        drop(tasks);
        shared
    }

    pub(in crate::store) fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.iter().map(|record| *record.key()).collect()
    }

    /// Returns the approximate size of everything, written once.
    pub(in crate::store) fn bytes(&self) -> u64 {
        let sessions: usize = self.sessions.iter().map(|record| record.weight()).sum();
        (sessions + self.topics().bytes() + self.tasks.lock().unwrap_or_else(PoisonError::into_inner).weight()) as u64
    }

    /// Hands over sessions that ended, for the next sweep to return.
    pub(in crate::store) fn report_later(&self, mut ended: Vec<Ended>) {
        self.expiry().unreported.append(&mut ended);
    }

    /// Writes all of a session to the journal. Returns its approximate size.
    pub(in crate::store) fn write_anew(&self, session: SessionId) -> usize {
        let Some(record) = self.sessions.get(&session) else { return 0 };
        let mut notes = Vec::new();
        record.note_all(&mut notes);
        let weight = journal::weight(&notes);
        self.journal.keep(Some(session), notes, &mut J::Mark::default());
        weight
    }

    pub(in crate::store) fn task_ids(&self) -> Vec<TaskId> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).ids()
    }

    /// Writes all of a task to the journal. Returns its approximate size.
    pub(in crate::store) fn write_task_anew(&self, task: TaskId) -> usize {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(change) = tasks.change(task) else { return 0 };
        let notes = vec![change];
        let weight = journal::weight(&notes);
        self.journal.keep(None, notes, &mut J::Mark::default());
        weight
    }

    /// Writes the numbers of the nodes and the announcements to the journal. Returns the position
    /// after them.
    pub(in crate::store) fn write_nodes_anew(&self) -> J::Mark {
        let below = self.next_node.load(Ordering::Relaxed);
        let mut changes = self.topics().changes();
        changes.push(Change::Nodes { below });
        self.journal.keep(None, changes, &mut J::Mark::default());
        self.journal.newest()
    }
}
