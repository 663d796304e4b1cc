//! Pending requests to a client: what waits for an answer, and the lookups of answers that run.

use tokio::sync::oneshot;

use crate::message::RawJson;

/// The answer of a client.
pub(in crate::legacy) type Answer = Result<RawJson, RawJson>;

/// The pending requests of one session.
#[derive(Debug, Default)]
pub(super) struct PendingRequests(Vec<PendingRequest>);

#[derive(Debug)]
struct PendingRequest {
    id: Box<str>,
    /// The request has been written to its stream, so the engine must know it.
    sent: bool,
    /// The number of lookups of its answer that run now. The one that finds the answer ends the
    /// wait, and the others find nothing.
    lookups: u32,
    /// `None` if there will be no answer.
    sender: Option<oneshot::Sender<Answer>>,
}

impl PendingRequests {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Starts to wait for the answer to a request.
    pub(super) fn add(&mut self, id: Box<str>) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.0.push(PendingRequest { id, sent: false, lookups: 0, sender: Some(sender) });
        receiver
    }

    /// Stops waiting for an answer. Returns `false` if the wait was already over.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|request| *request.id != *id);
        self.0.len() < before
    }

    /// Ends the wait, and returns where the answer goes.
    pub(super) fn answered(&mut self, id: &str) -> Option<oneshot::Sender<Answer>> {
        let at = self.0.iter().position(|request| *request.id == *id)?;
        self.0.swap_remove(at).sender
    }

    pub(super) fn mark_sent(&mut self, id: &str) {
        if let Some(request) = self.find(id) {
            request.sent = true;
        }
    }

    /// Records that there will be no answer. Dropping the result wakes the task that waits.
    pub(super) fn mark_unsent(&mut self, id: &str) -> Option<oneshot::Sender<Answer>> {
        self.find(id)?.sender.take()
    }

    /// Begins a lookup. Returns whether the request had been written, or `None` if no task waits.
    pub(super) fn begin_lookup(&mut self, id: &str) -> Option<bool> {
        let request = self.find(id)?;
        request.lookups += 1;
        Some(request.sent)
    }

    /// Ends a lookup that found nothing. If the engine has lost the request, returns where its
    /// answer would have gone, unless another lookup may still find the answer.
    pub(super) fn end_lookup(&mut self, id: &str, is_lost: bool) -> Option<oneshot::Sender<Answer>> {
        let request = self.find(id)?;
        request.lookups -= 1;
        if is_lost && request.lookups == 0 { request.sender.take() } else { None }
    }

    pub(super) fn ids(&self) -> Vec<Box<str>> {
        self.0.iter().map(|request| request.id.clone()).collect()
    }

    fn find(&mut self, id: &str) -> Option<&mut PendingRequest> {
        self.0.iter_mut().find(|request| *request.id == *id)
    }
}
