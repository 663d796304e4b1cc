//! A task that runs here: its start, its stop, and its end. It ends with its handler's answer, or
//! without one when the handler no longer runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::document::{Document, End};
use super::requests::Requests;
use super::update::Kept;
use crate::core::LogLine;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Peer, Principal, TaskId};
use crate::message::{ErrorObject, RawJson};
use crate::modern::member::Member;
use crate::panics::OnAbort;
use crate::store::Backoff;

/// The tasks that run here.
pub(in crate::modern) type TaskMap = DashMap<TaskId, Arc<TaskRun>>;

/// A task that runs here.
#[derive(Debug)]
pub(in crate::modern) struct TaskRun {
    pub(super) member: Arc<Member>,
    /// The map that has it while it runs.
    tasks: Arc<TaskMap>,
    pub(super) kept: Kept,
    /// The answer to the call that became it.
    created: Result<RawJson, ErrorObject>,
    /// Cancelled when the handler must stop.
    stopped: CancellationToken,
    /// Never held across an await.
    requests: Mutex<Requests>,
}

/// A new task that no call has taken over yet. Dropping it ends the task.
#[derive(Debug)]
pub(in crate::modern) struct Begun(Option<Arc<TaskRun>>);

impl TaskRun {
    /// Creates a task for a call.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the task may still be created, and then ends at once.
    pub(in crate::modern) async fn begin(
        member: &Arc<Member>,
        tasks: &Arc<TaskMap>,
        principal: Option<&Principal>,
        peer: Option<Peer>,
    ) -> Result<Begun, StoreError> {
        let kept = Kept { id: TaskId::random(), principal: principal.cloned() };
        let (sender, begun) = oneshot::channel();
        let (there, tasks) = (Arc::clone(member), Arc::clone(tasks));
        member.core.in_background(Box::pin(async move {
            match there.create_task(&kept, peer).await {
                Ok(document) => {
                    let _ = sender.send(Ok(Begun::new(there, tasks, kept, &document)));
                }
                Err(error) => {
                    let is_full = error.kind().is_full();
                    let _ = sender.send(Err(error));
                    // The task may exist despite the error.
                    if !is_full {
                        there.end_task(&kept, End::Cancelled).await;
                    }
                }
            }
        }));
        begun.await.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Unavailable)))
    }

    pub(in crate::modern) fn created(&self) -> Result<RawJson, ErrorObject> {
        self.created.clone()
    }

    pub(super) fn talk(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Re-checks the task after a signal. The signal is not repeated, so a failed check is retried.
    pub(in crate::modern) async fn recheck(&self) {
        let mut backoff = Backoff::limited();
        loop {
            match self.member.change_task(&self.kept, |_| false).await {
                Ok(document) => return self.receive(&document),
                // It expired, or was evicted.
                Err(error) if error.kind() == StoreErrorKind::NotFound => return self.stopped.cancel(),
                Err(error) => {
                    if let Some(left_out) = self.member.core.log_line(LogLine::Task) {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, task = ?self.kept.id, left_out, "a task cannot be read");
                    }
                }
            }
            if !self.talk().schedule_recheck() {
                return;
            }
            let rechecks = OnAbort::new(|| self.talk().begin_recheck());
            let again = self.member.wait(&mut backoff).await;
            drop(rechecks);
            if !again {
                return;
            }
        }
    }

    /// Applies the current state of the task: stops the handler, or delivers answers.
    pub(super) fn receive(&self, document: &Document) {
        if document.has_ended() {
            self.stopped.cancel();
        } else {
            let answered = self.talk().answered(document);
            for (waiting, answer) in answered {
                let _ = waiting.send(answer);
            }
        }
    }

    /// Waits until the handler must stop.
    pub(in crate::modern) async fn stopped(&self) {
        self.stopped.cancelled().await;
    }

    /// Ends the task with the handler's answer.
    pub(in crate::modern) fn finish(self: &Arc<Self>, answer: Result<RawJson, ErrorObject>) {
        self.end(match answer {
            Ok(result) => End::Completed(result),
            Err(error) => End::Failed(error),
        });
    }

    /// Ends the task when its handler no longer runs. If the handler has not answered, the task was
    /// stopped, or its client never learned of it.
    pub(in crate::modern) fn detach(self: &Arc<Self>) {
        self.end(End::Cancelled);
    }

    /// Ends the task, independently of the request and the handler. Only the first end counts.
    fn end(self: &Arc<Self>, end: End) {
        if !self.talk().close() {
            return;
        }
        let (run, active) = (Runs(Arc::clone(self)), self.member.core.running.token());
        self.member.core.in_background(Box::pin(async move {
            run.0.member.end_task(&run.0.kept, end).await;
            drop((run, active));
        }));
    }
}

impl Begun {
    fn new(member: Arc<Member>, tasks: Arc<TaskMap>, kept: Kept, document: &Document) -> Self {
        let created = document.created(kept.id).map_err(|_| ErrorObject::internal());
        let (stopped, requests) = (CancellationToken::new(), Mutex::default());
        let run = Arc::new(TaskRun { member, tasks, kept, created, stopped, requests });
        run.tasks.insert(run.kept.id, Arc::clone(&run));
        Self(Some(run))
    }

    /// Returns the task. The caller must make sure that it ends.
    pub(in crate::modern) fn keep(mut self) -> Option<Arc<TaskRun>> {
        self.0.take()
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run.detach();
        }
    }
}

/// Keeps a task in the map of running tasks, where signals find it, until dropped.
struct Runs(Arc<TaskRun>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.tasks.remove(&self.0.kept.id);
    }
}
