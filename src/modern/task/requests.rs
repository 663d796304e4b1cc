//! The requests, answers and status messages of a running task, until they are stored or delivered.
//!
//! Updates of the handler wait until the previous ones are stored, and are then stored in one
//! change. A handler that sends many requests at once therefore competes with its client, but never
//! with itself.

use tokio::sync::oneshot;

use super::document::Document;
use crate::message::RawJson;

/// Waiting handlers, and updates to store. Plain data behind the lock of a run.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: Vec<(String, oneshot::Sender<RawJson>)>,
    pub(super) unsaved: Unsaved,
    /// A background job stores the updates.
    pub(super) storing: bool,
    /// A re-check of the task is scheduled.
    recheck_scheduled: bool,
    /// The task ends and accepts no more requests.
    closed: bool,
}

/// Updates that are not stored yet.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    /// The status message. Only the newest counts.
    pub(super) status: Option<String>,
    added: Vec<NewRequest>,
    withdrawn: Vec<String>,
}

#[derive(Debug)]
pub(super) struct NewRequest {
    pub(super) key: String,
    pub(super) method: &'static str,
    pub(super) params: RawJson,
}

impl Requests {
    /// Closes the exchange, and fails the waiting requests. Returns `false` if it was closed
    /// before.
    pub(super) fn close(&mut self) -> bool {
        self.waiting.clear();
        self.unsaved = Unsaved::default();
        !std::mem::replace(&mut self.closed, true)
    }

    pub(super) fn add(&mut self, request: NewRequest) -> oneshot::Receiver<RawJson> {
        let (sender, answer) = oneshot::channel();
        // Once closed, the sender is dropped, which fails the request.
        if !self.closed {
            self.waiting.push((request.key.clone(), sender));
            self.unsaved.added.push(request);
        }
        answer
    }

    pub(super) fn waits_for(&self, key: &str) -> bool {
        self.waiting.iter().any(|(waiting, _)| waiting == key)
    }

    /// Removes and returns the senders whose answer has arrived.
    pub(super) fn answered(&mut self, document: &Document) -> Vec<(oneshot::Sender<RawJson>, RawJson)> {
        let answered = self.waiting.extract_if(.., |(key, _)| document.answer_to(key).is_some());
        answered.filter_map(|(key, waiting)| Some((waiting, document.answer_to(&key)?.clone()))).collect()
    }

    /// Removes a waiting request. Returns `true` if its withdrawal must be stored.
    pub(super) fn withdraw(&mut self, key: &str) -> bool {
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
    pub(super) fn unsaid(&mut self, update: Unsaved) {
        let Unsaved { status: said, added: mut request, withdrawn } = update;
        request.retain(|request| self.waits_for(&request.key));
        request.append(&mut self.unsaved.added);
        self.unsaved.added = request;
        self.unsaved.status = self.unsaved.status.take().or(said);
        self.unsaved.withdrawn.extend(withdrawn);
    }

    /// Fails the requests among updates that could not be stored. They may have been stored despite
    /// the error, so they are also withdrawn.
    pub(super) fn restore(&mut self, update: Unsaved) {
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
    pub(super) fn next(&mut self) -> Option<Unsaved> {
        let update = std::mem::take(&mut self.unsaved);
        self.storing = !update.is_empty();
        self.storing.then_some(update)
    }
}

impl Unsaved {
    fn is_empty(&self) -> bool {
        self.status.is_none() && self.added.is_empty() && self.withdrawn.is_empty()
    }

    pub(super) fn write(&self, document: &mut Document) {
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
