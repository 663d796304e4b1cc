//! Decides what the handler of a task stands on while it runs, and what stops it: the end of the
//! task, whoever made it, or of the service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::document::{Document, End};
use super::keep::Kept;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, TaskId};
use crate::message::{ErrorObject, RawJson};
use crate::modern::Node;
use crate::server::ClientError;
use crate::server::channel::Question;

/// The tasks that run here.
pub(in crate::modern) type TaskMap = DashMap<TaskId, Arc<TaskRun>>;

/// A task that runs here.
#[derive(Debug)]
pub(in crate::modern) struct TaskRun {
    node: Arc<Node>,
    kept: Kept,
    /// The answer to the call that became it.
    created: Result<RawJson, ErrorObject>,
    /// Cancelled when the handler is to stop.
    pub(in crate::modern) stopped: CancellationToken,
    live: Mutex<Live>,
}

/// What moves. Never held across an await.
#[derive(Debug, Default)]
struct Live {
    waiting: Vec<(String, oneshot::Sender<RawJson>)>,
    /// How often each name of a question was used.
    used: BTreeMap<String, u32>,
    /// What the handler said last and nobody has stored yet.
    said: Option<String>,
    /// Somebody stores what it says.
    storing: bool,
}

impl TaskRun {
    /// Makes a task of a call.
    pub(in crate::modern) async fn begin(
        node: &Arc<Node>,
        principal: Option<&Principal>,
    ) -> Result<Arc<Self>, StoreError> {
        let (kept, document) = node.create_task(principal).await?;
        let created = document.created(kept.id).map_err(|_| ErrorObject::internal());
        let (stopped, live) = (CancellationToken::new(), Mutex::default());
        let run = Arc::new(Self { node: Arc::clone(node), kept, created, stopped, live });
        node.tasks.insert(run.kept.id, Arc::clone(&run));
        Ok(run)
    }

    pub(in crate::modern) fn created(&self) -> Result<RawJson, ErrorObject> {
        self.created.clone()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may have happened to the task.
    pub(in crate::modern) async fn look(&self) {
        match self.node.change_task(&self.kept, |_| false).await {
            Ok(document) if document.is_cancelled() => self.stopped.cancel(),
            Ok(document) => self.hand_out(&document),
            // It expired, or made room.
            Err(error) if error.kind() == StoreErrorKind::NotFound => self.stopped.cancel(),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, task = ?self.kept.id, "a task is out of reach");
            }
        }
    }

    /// Gives the answers to those who wait for them.
    fn hand_out(&self, document: &Document) {
        let answered: Vec<_> = {
            let mut live = self.live();
            let (answered, waiting) =
                std::mem::take(&mut live.waiting).into_iter().partition(|(key, _)| document.answer_to(key).is_some());
            live.waiting = waiting;
            answered
        };
        for (key, waiting) in answered {
            if let Some(answer) = document.answer_to(&key) {
                let _ = waiting.send(answer.clone());
            }
        }
    }

    /// Asks the client, and waits until it has answered.
    pub(in crate::modern) async fn ask(&self, question: Question) -> Result<RawJson, ClientError> {
        let Question { method, params, key } = question;
        let key = self.key(method, key.as_deref());
        let (sender, answer) = oneshot::channel();
        self.live().waiting.push((key.clone(), sender));
        let mut withdrawal = Withdrawal { run: self, key: Some(key.clone()) };
        let asked = self.node.change_task(&self.kept, |document| {
            document.ask(&key, method, &params);
            true
        });
        if let Err(error) = asked.await {
            tracing::warn!(error = &error as &dyn std::error::Error, task = ?self.kept.id, "a task cannot ask");
            return Err(ClientError::Ended);
        }
        let answer = answer.await.map_err(|_| ClientError::Ended)?;
        withdrawal.key = None;
        Ok(answer)
    }

    /// A name that no other question of the task has.
    fn key(&self, method: &str, key: Option<&str>) -> String {
        let name = key.unwrap_or_else(|| method.split('/').next().unwrap_or(method));
        let mut live = self.live();
        let used = live.used.entry(name.to_owned()).or_default();
        *used += 1;
        match (key, *used) {
            (Some(name), 1) => name.to_owned(),
            (_, n) => format!("{name}-{n}"),
        }
    }

    /// Tells the client how far the task has come. Only the newest is stored.
    pub(in crate::modern) fn say(self: &Arc<Self>, message: &str) {
        let mut live = self.live();
        live.said = Some(message.to_owned());
        if live.storing {
            return;
        }
        live.storing = true;
        drop(live);
        let run = Arc::clone(self);
        self.node.hall.in_background(Box::pin(async move {
            while let Some(message) = run.next_said() {
                let said = run.node.change_task(&run.kept, |document| {
                    document.say(message.clone());
                    true
                });
                if let Err(error) = said.await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a task could not say how far it is");
                }
            }
        }));
    }

    fn next_said(&self) -> Option<String> {
        let mut live = self.live();
        let said = live.said.take();
        live.storing = said.is_some();
        said
    }

    /// The handler has answered.
    pub(in crate::modern) async fn finish(&self, answer: Result<RawJson, ErrorObject>) {
        let end = match answer {
            Ok(result) => End::Completed(result),
            Err(error) => End::Failed(error),
        };
        let mut stored = self.node.change_task(&self.kept, |document| document.end(end.clone())).await;
        if matches!(&stored, Err(error) if error.kind() == StoreErrorKind::Full) {
            let error = ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The result of the task is too large to be kept");
            stored = self.node.change_task(&self.kept, |document| document.end(End::Failed(error.clone()))).await;
        }
        if let Err(error) = stored
            && error.kind() != StoreErrorKind::NotFound
        {
            tracing::error!(error = &error as &dyn std::error::Error, task = ?self.kept.id, "the end of a task was lost");
        }
    }
}

/// A task that runs as long as this lives.
#[derive(Debug)]
pub(in crate::modern) struct Runs(pub(in crate::modern) Arc<TaskRun>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.node.tasks.remove(&self.0.kept.id);
    }
}

/// A handler that does not wait for its answer any more takes the question back.
struct Withdrawal<'a> {
    run: &'a TaskRun,
    key: Option<String>,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        self.run.live().waiting.retain(|(waiting, _)| *waiting != key);
        let (node, kept) = (Arc::clone(&self.run.node), self.run.kept.clone());
        self.run.node.hall.in_background(Box::pin(async move {
            let _ = node
                .change_task(&kept, |document| {
                    document.withdraw(&key);
                    !document.has_ended()
                })
                .await;
        }));
    }
}
