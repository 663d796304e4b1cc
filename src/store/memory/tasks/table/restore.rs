//! The restoration of tasks from a journal, and the changes that write them to one again.

use super::{Task, Tasks};
use crate::identity::{Account, TaskId};
use crate::store::journal::Change;
use crate::store::journal::image::TaskImage;
use crate::store::memory::restore::GONE;

impl<M: Default> Tasks<M> {
    /// Restores a task of an earlier process. Call it for finished tasks in the order in which they
    /// were done.
    pub(in crate::store::memory) fn restore(&mut self, id: TaskId, image: TaskImage) {
        let TaskImage { principal, ends, version, done, document } = image;
        self.ends.extend(ends.map(|ends| (ends, id)));
        self.bytes += document.len();
        self.ever_done = self.ever_done.max(done.unwrap_or_default());
        // No node runs it any more, so it can be evicted for any other task, and its peer need not
        // be known.
        self.count_in(Account::of(principal.as_ref(), None), document.len());
        self.tasks.insert(id, Task { principal, peer: None, node: GONE, ends, document, version, idle: None });
        self.rest(id, done);
    }

    pub(in crate::store::memory) fn ids(&self) -> Vec<TaskId> {
        self.tasks.keys().copied().collect()
    }

    /// Returns the change that restores a task.
    pub(in crate::store::memory) fn change(&self, id: TaskId) -> Option<Change> {
        self.tasks.get(&id).map(|task| task.change(id))
    }

    /// Returns the approximate size of all tasks, written once.
    pub(in crate::store::memory) fn weight(&self) -> usize {
        let length = |account: &Account| match account {
            Account::Principal(principal) => principal.as_str().len(),
            Account::Peer(_) => 0,
        };
        let owners: usize = self.accounts.iter().map(|(account, of)| of.tasks * length(account)).sum();
        self.bytes + owners + self.tasks.len() * 64
    }
}
