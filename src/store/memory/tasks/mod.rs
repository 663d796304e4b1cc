//! Decides how tasks are kept in memory: all of them behind one lock of their own, so that each
//! limit is kept exactly, and no step of a session waits for a task.

#[cfg(test)]
mod model;
mod table;

use std::sync::PoisonError;

pub(super) use self::table::Tasks;

use super::{Marked, Result, Shared};
use crate::clock::Tick;
use crate::identity::{Principal, TaskId};
use crate::store::journal::Journal;
use crate::store::{CreateTask, LoadedTask, NodeId, Ring, StoreTask};

impl<J: Journal> Shared<J> {
    pub(in crate::store) fn create_task(&self, create: CreateTask) -> Marked<(), J> {
        self.on_tasks(|tasks, notes, now| tasks.create(create, self.policy(), now, notes))
    }

    pub(in crate::store) fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> Marked<LoadedTask, J> {
        let (loaded, mark) = self.on_tasks(|tasks, _, _| tasks.load(task, principal));
        let loaded = loaded.map(|(mut loaded, node)| {
            // Asked now, not noted when it left: a task may be created for a node that left just before.
            loaded.orphaned = !loaded.done && !self.has_joined(node);
            loaded
        });
        (loaded, mark)
    }

    pub(in crate::store) fn store_task(&self, store: StoreTask) -> Marked<bool, J> {
        self.on_tasks(|tasks, notes, _| tasks.store(store, self.policy(), notes))
    }

    /// Tells of the tasks of a node that is gone.
    pub(super) fn orphan_tasks(&self, node: NodeId) {
        let _ = self.on_tasks(|tasks, _, _| {
            tasks.orphan(node);
            Ok(())
        });
    }

    pub(super) fn sweep_tasks(&self) {
        let _ = self.on_tasks(|_, _, _| Ok(()));
    }

    /// One step on the tasks whose time is not over, and the bells after it.
    fn on_tasks<T>(&self, step: impl FnOnce(&mut Tasks<J::Mark>, &mut J::Notes, Tick) -> Result<T>) -> Marked<T, J> {
        let (value, mark, news) = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now();
            let mut notes = J::Notes::default();
            tasks.expire(now, &mut notes);
            let value = step(&mut tasks, &mut notes, now);
            self.journal.keep(None, notes, &mut tasks.mark);
            (value, tasks.mark, tasks.take_news())
        };
        for task in news {
            self.ring_all(&Ring::Task { task });
        }
        (value, mark)
    }
}
