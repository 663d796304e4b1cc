//! The tasks in memory. They share one lock of their own, so each limit is enforced exactly and no
//! operation on a session waits for a task.

#[cfg(test)]
mod model;
mod table;

use std::sync::PoisonError;

pub(super) use self::table::Tasks;

use super::{Marked, Result, Shared};
use crate::clock::Tick;
use crate::identity::{Principal, TaskId};
use crate::store::journal::Journal;
use crate::store::{CreateTask, LoadedTask, NodeId, Signal, StoreTask};

impl<J: Journal> Shared<J> {
    pub(in crate::store) fn create_task(&self, create: CreateTask) -> Marked<(), J> {
        self.on_tasks(|tasks, notes, now| tasks.create(create, self.policy(), now, notes))
    }

    pub(in crate::store) fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> Marked<LoadedTask, J> {
        let (loaded, mark) = self.on_tasks(|tasks, _, _| tasks.load(task, principal));
        let loaded = loaded.map(|(mut loaded, node)| {
            // Computed now, not recorded when the node left, because a task may be created for a
            // node that has just left.
            loaded.orphaned = !loaded.done && !self.has_joined(node);
            loaded
        });
        (loaded, mark)
    }

    pub(in crate::store) fn store_task(&self, store: StoreTask) -> Marked<bool, J> {
        self.on_tasks(|tasks, notes, _| tasks.store(store, self.policy(), notes))
    }

    /// Makes orphans of the unfinished tasks of a node that is gone, and sends their signals.
    pub(super) fn orphan_tasks(&self, node: NodeId) {
        let _ = self.on_tasks(|tasks, _, _| {
            tasks.orphan(node);
            Ok(())
        });
    }

    pub(super) fn sweep_tasks(&self) {
        let _ = self.on_tasks(|_, _, _| Ok(()));
    }

    /// Performs one operation on the tasks that have not expired, then sends its signals.
    fn on_tasks<T>(
        &self,
        operation: impl FnOnce(&mut Tasks<J::Mark>, &mut J::Notes, Tick) -> Result<T>,
    ) -> Marked<T, J> {
        let (value, mark, update) = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now();
            let mut notes = J::Notes::default();
            tasks.expire(now, &mut notes);
            let value = operation(&mut tasks, &mut notes, now);
            self.journal.keep(None, notes, &mut tasks.mark);
            (value, tasks.mark, tasks.take_changed())
        };
        for task in update {
            self.signal_all(&Signal::Task { task });
        }
        (value, mark)
    }
}
