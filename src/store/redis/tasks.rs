//! Tasks: the operations on tasks.

use super::link::{micros, number, size};
use super::{Inner, Result, bells, scripts};
use crate::identity::{Account, TaskId};
use crate::store::{CreateTask, LoadedTask, StoreTask};

impl Inner {
    pub(super) async fn create_task(&self, create: &CreateTask) -> Result<()> {
        let (link, policy) = (&self.link, self.policy());
        let task = link.names().task(create.id);
        let account = Account::of(create.principal.as_ref(), create.peer);
        let share = account.as_ref().map(|account| policy.share_of(account));
        let (tasks_of_one, bytes_of_one) =
            share.map_or((usize::MAX, usize::MAX), |share| (share.tasks, share.task_bytes));
        let call = link
            .call_with(&scripts::CREATE_TASK, &link.token())
            .arg(&task)
            .arg(link.names().principal(create.principal.as_ref()))
            .arg(bells::text(create.node))
            .arg(create.ttl.map(|ttl| micros(ttl).to_string()).unwrap_or_default())
            .arg(size(policy.max_tasks))
            .arg(size(tasks_of_one))
            .arg(size(policy.task_bytes))
            .arg(size(bytes_of_one))
            .arg(link.names().account(account.as_ref()))
            .arg(&*link.names().said.close(&task, &create.document)?);
        link.take(call).await.map(drop)
    }

    pub(super) async fn load_task(&self, task: TaskId, principal: String) -> Result<LoadedTask> {
        let task = self.link.names().task(task);
        let call = self.link.call(&scripts::LOAD_TASK).silent().arg(&task).arg(principal);
        let mut reply = self.link.take(call).await?;
        Ok(LoadedTask {
            document: self.link.names().said.open(&task, reply.bytes()?)?.into(),
            version: reply.number()?,
            done: reply.flag()?,
            orphaned: reply.flag()?,
        })
    }

    pub(super) async fn store_task(&self, store: &StoreTask) -> Result<bool> {
        let link = &self.link;
        let task = link.names().task(store.id);
        let call = link
            .call_with(&scripts::STORE_TASK, &link.token())
            .arg(&task)
            .arg(number(store.version))
            .arg(u8::from(store.done))
            .arg(size(self.policy().task_bytes))
            .arg(size(self.policy().task_bytes_per_principal))
            .arg(size(self.policy().task_bytes_per_peer))
            .arg(&*link.names().said.close(&task, &store.document)?);
        link.take(call).await?.flag()
    }
}
