//! Decides how tasks are kept in memory: all of them behind one lock of their own, so that each
//! limit is kept exactly, and no step of a session waits for a task.

#[cfg(test)]
mod model;
mod table;

use std::sync::PoisonError;

pub(super) use self::table::Tasks;

use super::{Result, Shared};
use crate::clock::Tick;
use crate::identity::{Principal, TaskId};
use crate::store::{CreateTask, LoadedTask, NodeId, Ring, StoreTask};

impl Shared {
    pub(super) fn create_task(&self, create: CreateTask) -> Result<()> {
        self.on_tasks(|tasks, now| tasks.create(create, self.policy(), now))
    }

    pub(super) fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> Result<LoadedTask> {
        let (mut loaded, node) = self.on_tasks(|tasks, _| tasks.load(task, principal))?;
        // Asked now, not noted when it left: a task may be created for a node that left just before.
        loaded.orphaned = !loaded.done && !self.has_joined(node);
        Ok(loaded)
    }

    pub(super) fn store_task(&self, store: StoreTask) -> Result<bool> {
        self.on_tasks(|tasks, _| tasks.store(store, self.policy()))
    }

    /// Tells of the tasks of a node that is gone.
    pub(super) fn orphan_tasks(&self, node: NodeId) {
        self.on_tasks(|tasks, _| tasks.orphan(node));
    }

    pub(super) fn sweep_tasks(&self) {
        self.on_tasks(|_, _| ());
    }

    /// One step on the tasks whose time is not over, and the bells after it.
    fn on_tasks<T>(&self, step: impl FnOnce(&mut Tasks, Tick) -> T) -> T {
        let (value, news) = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now();
            tasks.expire(now);
            let value = step(&mut tasks, now);
            (value, tasks.take_news())
        };
        for task in news {
            self.ring_all(&Ring::Task { task });
        }
        value
    }
}
