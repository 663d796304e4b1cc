//! The exchange of a running task with its client: requests, answers and status messages.
//!
//! Updates of the handler wait until the previous ones are stored, and are then stored in one
//! change. A handler that sends many requests at once therefore competes with its client, but never
//! with itself.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::document::Document;
use super::running::TaskRun;
use super::update::RetryBudget;
use crate::core::LogLine;
use crate::error::StoreErrorKind;
use crate::message::RawJson;
use crate::panics::OnAbort;
use crate::server::ClientError;

/// Waiting handlers, and updates to store. Plain data behind the lock of a run.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: Vec<(String, oneshot::Sender<RawJson>)>,
    unsaved: Unsaved,
    /// A background job stores the updates.
    storing: bool,
    /// A re-check of the task is scheduled.
    recheck_scheduled: bool,
    /// The task ends and accepts no more requests.
    closed: bool,
}

/// Updates that are not stored yet.
#[derive(Debug, Default)]
struct Unsaved {
    /// The status message. Only the newest counts.
    status: Option<String>,
    added: Vec<NewRequest>,
    withdrawn: Vec<String>,
}

#[derive(Debug)]
struct NewRequest {
    key: String,
    method: &'static str,
    params: RawJson,
}

impl Requests {
    /// Closes the exchange, and fails the waiting requests. Returns `false` if it was closed
    /// before.
    pub(super) fn close(&mut self) -> bool {
        self.waiting.clear();
        self.unsaved = Unsaved::default();
        !std::mem::replace(&mut self.closed, true)
    }

    fn add(&mut self, request: NewRequest) -> oneshot::Receiver<RawJson> {
        let (sender, answer) = oneshot::channel();
        // Once closed, the sender is dropped, which fails the request.
        if !self.closed {
            self.waiting.push((request.key.clone(), sender));
            self.unsaved.added.push(request);
        }
        answer
    }

    fn waits_for(&self, key: &str) -> bool {
        self.waiting.iter().any(|(waiting, _)| waiting == key)
    }

    /// Removes and returns the senders whose answer has arrived.
    fn answered(&mut self, document: &Document) -> Vec<(oneshot::Sender<RawJson>, RawJson)> {
        let answered = self.waiting.extract_if(.., |(key, _)| document.answer_to(key).is_some());
        answered.filter_map(|(key, waiting)| Some((waiting, document.answer_to(&key)?.clone()))).collect()
    }

    /// Removes a waiting request. Returns `true` if its withdrawal must be stored.
    fn withdraw(&mut self, key: &str) -> bool {
        if !self.waits_for(key) {
            return false;
        }
        self.waiting.retain(|(waiting, _)| waiting != key);
        let unsaid = self.unsaved.added.iter().position(|request| request.key == key);
        match unsaid {
            Some(at) => drop(self.unsaved.added.remove(at)),
            None => self.unsaved.withdrawn.push(key.to_owned()),
        }
        unsaid.is_none()
    }

    /// Takes back updates that could not be stored, to be stored with the newer ones. Requests that
    /// were withdrawn are left out.
    fn unsaid(&mut self, update: Unsaved) {
        let Unsaved { status: said, added: mut request, withdrawn } = update;
        request.retain(|request| self.waits_for(&request.key));
        request.append(&mut self.unsaved.added);
        self.unsaved.added = request;
        self.unsaved.status = self.unsaved.status.take().or(said);
        self.unsaved.withdrawn.extend(withdrawn);
    }

    /// Fails the requests among updates that could not be stored. They may have been stored despite
    /// the error, so they are also withdrawn.
    fn restore(&mut self, update: Unsaved) {
        for NewRequest { key, .. } in update.added {
            self.waiting.retain(|(waiting, _)| *waiting != key);
            self.unsaved.withdrawn.push(key);
        }
    }

    /// Returns `true` if the caller must schedule a re-check of the task.
    pub(super) fn schedule_recheck(&mut self) -> bool {
        !self.closed && !std::mem::replace(&mut self.recheck_scheduled, true)
    }

    /// Marks the scheduled re-check as started.
    pub(super) fn begin_recheck(&mut self) {
        self.recheck_scheduled = false;
    }

    /// Returns the updates to store next. Without any, the background job ends.
    fn next(&mut self) -> Option<Unsaved> {
        let update = std::mem::take(&mut self.unsaved);
        self.storing = !update.is_empty();
        self.storing.then_some(update)
    }
}

impl Unsaved {
    fn is_empty(&self) -> bool {
        self.status.is_none() && self.added.is_empty() && self.withdrawn.is_empty()
    }

    fn write(&self, document: &mut Document) {
        if let Some(said) = &self.status {
            document.say(said.clone());
        }
        for NewRequest { key, method, params } in &self.added {
            document.add_request(key, method, params);
        }
        for key in &self.withdrawn {
            document.withdraw(key);
        }
    }
}

impl TaskRun {
    /// Sends a request to the client, and waits for the answer.
    pub(in crate::modern) async fn request(
        self: &Arc<Self>,
        key: String,
        method: &'static str,
        params: RawJson,
    ) -> Result<RawJson, ClientError> {
        let answer = self.talk().add(NewRequest { key: key.clone(), method, params });
        let _withdrawal = Withdrawal { run: self, key };
        self.save();
        answer.await.map_err(|_| ClientError::Ended)
    }

    /// Sets the status message of the task.
    pub(in crate::modern) fn say(self: &Arc<Self>, message: &str) {
        self.talk().unsaved.status = Some(message.to_owned());
        self.save();
    }

    /// Delivers the answers to the requests that wait for them.
    pub(super) fn hand_out(&self, document: &Document) {
        let answered = self.talk().answered(document);
        for (waiting, answer) in answered {
            let _ = waiting.send(answer);
        }
    }

    /// Stores the updates in the background, unless that runs already.
    fn save(self: &Arc<Self>) {
        if std::mem::replace(&mut self.talk().storing, true) {
            return;
        }
        let (run, there) = (Arc::clone(self), Arc::clone(self));
        let aborted = OnAbort::new(move || there.talk().storing = false);
        self.node.core.in_background(Box::pin(async move {
            let mut patience = RetryBudget::default();
            loop {
                let next = run.talk().next();
                let Some(update) = next else { return aborted.disarm() };
                let told = run.node.change_task(&run.kept, |document| {
                    document.forget_answers(|key| run.talk().waits_for(key));
                    update.write(document);
                    !document.has_ended()
                });
                let error = match told.await {
                    Ok(document) => {
                        run.receive(&document);
                        patience = RetryBudget::default();
                        continue;
                    }
                    Err(error) => error,
                };
                if let Some(left_out) = run.node.core.log_line(LogLine::Task) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, task = ?run.kept.id, left_out, "a task is not heard");
                }
                let is_away = matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Conflict);
                if is_away && run.node.wait(&mut patience).await {
                    run.talk().unsaid(update);
                } else {
                    run.talk().restore(update);
                }
            }
        }));
    }
}

/// Withdraws a request when its handler stops waiting.
struct Withdrawal<'a> {
    run: &'a Arc<TaskRun>,
    key: String,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        let told = self.run.talk().withdraw(&self.key);
        if told {
            self.run.save();
        }
    }
}
