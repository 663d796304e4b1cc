//! Tasks: the operations on tasks.

use super::client::{micros, number, size};
use super::{Inner, Result, scripts, signals};
use crate::identity::{Account, TaskId};
use crate::store::{CreateTask, LoadedTask, StoreTask};

impl Inner {
    pub(super) async fn create_task(&self, create: &CreateTask) -> Result<()> {
        let (client, policy) = (&self.client, self.policy());
        let task = client.names().task(create.id);
        let account = Account::of(create.principal.as_ref(), create.peer);
        let share = account.as_ref().map(|account| policy.share_of(account));
        let (tasks_of_one, bytes_of_one) =
            share.map_or((usize::MAX, usize::MAX), |share| (share.tasks, share.task_bytes));
        let call = client
            .call_with(&scripts::CREATE_TASK, &client.token())
            .arg(&task)
            .arg(client.names().principal(create.principal.as_ref()))
            .arg(signals::text(create.node))
            .arg(create.ttl.map(|ttl| micros(ttl).to_string()).unwrap_or_default())
            .arg(size(policy.max_tasks))
            .arg(size(tasks_of_one))
            .arg(size(policy.task_bytes))
            .arg(size(bytes_of_one))
            .arg(client.names().account(account.as_ref()))
            .arg(&*client.names().said.close(&task, &create.document)?);
        client.take(call).await.map(drop)
    }

    pub(super) async fn load_task(&self, task: TaskId, principal: String) -> Result<LoadedTask> {
        let task = self.client.names().task(task);
        let call = self.client.call(&scripts::LOAD_TASK).silent().arg(&task).arg(principal);
        let mut reply = self.client.take(call).await?;
        Ok(LoadedTask {
            document: self.client.names().said.open(&task, reply.bytes()?)?.into(),
            version: reply.number()?,
            done: reply.flag()?,
            orphaned: reply.flag()?,
        })
    }

    pub(super) async fn store_task(&self, store: &StoreTask) -> Result<bool> {
        let client = &self.client;
        let task = client.names().task(store.id);
        let call = client
            .call_with(&scripts::STORE_TASK, &client.token())
            .arg(&task)
            .arg(number(store.version))
            .arg(u8::from(store.done))
            .arg(size(self.policy().task_bytes))
            .arg(size(self.policy().task_bytes_per_principal))
            .arg(size(self.policy().task_bytes_per_peer))
            .arg(&*client.names().said.close(&task, &store.document)?);
        client.take(call).await?.flag()
    }
}
