//! The pending requests of a session to its client, and the tasks that wait for their answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::LiveSession;
use crate::core::LogLine;
use crate::error::{StoreError, StoreErrorKind};
use crate::legacy::Node;
use crate::message::RawJson;
use crate::store::{STANDALONE, StreamNo};

/// The answer of a client.
pub(in crate::legacy) type Answer = Result<RawJson, RawJson>;

/// A pending request to the client.
#[derive(Debug)]
pub(super) struct PendingRequest {
    id: Box<str>,
    /// The request has been written to its stream, so the engine must know it.
    sent: bool,
    /// The number of lookups of its answer that run now. The one that finds the answer ends the
    /// wait, and the others find nothing.
    lookups: u32,
    /// `None` if there will be no answer.
    sender: Option<oneshot::Sender<Answer>>,
}

/// A lookup of an answer in the engine. If it is dropped before its end, it has found nothing.
#[derive(Debug)]
pub(in crate::legacy) struct Lookup {
    session: Arc<LiveSession>,
    id: Box<str>,
    /// The request had been written when the lookup began.
    sent: bool,
    /// The lookup no longer counts as running.
    over: bool,
}

impl Lookup {
    /// Processes the result of the lookup. If the engine does not know a request that was written,
    /// it has lost it, unless another lookup has just found its answer.
    pub(in crate::legacy) fn found(mut self, taken: Result<Option<Answer>, StoreError>) {
        if let Ok(Some(answer)) = taken {
            return self.session.answered(&self.id, answer);
        }
        let is_unknown = taken.is_err_and(|error| error.kind() == StoreErrorKind::NotFound);
        self.over = true;
        let (session, request, was_asked) = (&self.session, &*self.id, self.sent);
        let sender = session.change_pending(request, |waiting| {
            waiting.lookups -= 1;
            let forgotten = is_unknown && was_asked && waiting.lookups == 0;
            if forgotten { waiting.sender.take() } else { None }
        });
        if sender.flatten().is_some()
            && let Some(left_out) = session.node.upgrade().and_then(|node| node.log_line(LogLine::Forgotten))
        {
            tracing::warn!(session = ?session.info.id, request, left_out, "a question was forgotten that no client had answered");
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if !self.over {
            self.session.change_pending(&self.id, |waiting| waiting.lookups -= 1);
        }
    }
}

impl LiveSession {
    /// Returns an id that no other request of the session ever has. Other nodes write to other
    /// streams; on the standalone stream the node's number is part of the id.
    pub(in crate::legacy) fn open_request(&self, stream: StreamNo, node: &Node) -> Box<str> {
        let count = self.requests_opened.fetch_add(1, Ordering::Relaxed);
        match stream {
            STANDALONE => format!("s{stream}-{}-{count}", node.id.0).into(),
            stream => format!("s{stream}-{count}").into(),
        }
    }

    /// Starts to wait for the answer to a request. Returns `None` if the session has ended.
    pub(in crate::legacy) fn wait_for(&self, request: Box<str>) -> Option<oneshot::Receiver<Answer>> {
        let mut live = self.live();
        if live.ended {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        live.waiting.push(PendingRequest { id: request, sent: false, lookups: 0, sender: Some(sender) });
        Some(receiver)
    }

    /// Stops waiting for an answer. Returns `false` if the wait was already over.
    pub(in crate::legacy) fn stop_waiting(&self, request: &str) -> bool {
        let mut live = self.live();
        let before = live.waiting.len();
        live.waiting.retain(|waiting| *waiting.id != *request);
        live.waiting.len() < before
    }

    pub(in crate::legacy) fn answered(&self, request: &str, answer: Answer) {
        let sender = {
            let mut live = self.live();
            let at = live.waiting.iter().position(|waiting| *waiting.id == *request);
            at.and_then(|at| live.waiting.swap_remove(at).sender)
        };
        if let Some(sender) = sender {
            // The waiting task may have just ended.
            let _ = sender.send(answer);
        }
    }

    fn change_pending<T>(&self, request: &str, change: impl FnOnce(&mut PendingRequest) -> T) -> Option<T> {
        self.live().waiting.iter_mut().find(|waiting| *waiting.id == *request).map(change)
    }

    /// Records that the request has been written to its stream.
    pub(in crate::legacy) fn mark_sent(&self, request: &str) {
        self.change_pending(request, |waiting| waiting.sent = true);
    }

    /// Records that the request could not be written. Its waiting task wakes up and withdraws it.
    pub(in crate::legacy) fn mark_unsent(&self, request: &str) {
        let sender = self.change_pending(request, |waiting| waiting.sender.take());
        drop(sender);
    }

    /// Begins a lookup of an answer in the engine. Returns `None` if no task waits for the answer.
    pub(in crate::legacy) fn begin_lookup(self: &Arc<Self>, request: &str) -> Option<Lookup> {
        let asked = self.change_pending(request, |waiting| {
            waiting.lookups += 1;
            waiting.sent
        })?;
        Some(Lookup { session: Arc::clone(self), id: request.into(), sent: asked, over: false })
    }

    pub(in crate::legacy) fn open_requests(&self) -> Vec<Box<str>> {
        self.live().waiting.iter().map(|waiting| waiting.id.clone()).collect()
    }
}
