//! The requests of a session to its client: their ids, the wait for their answers, and the lookup
//! of answers in the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::LiveSession;
use super::pending::Answer;
use crate::core::LogLine;
use crate::error::{StoreError, StoreErrorKind};
use crate::store::{NodeId, STANDALONE, StreamNo};

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
        let (session, request) = (&self.session, &*self.id);
        let sender = session.live().pending.end_lookup(request, is_unknown && self.sent);
        if sender.is_some()
            && let Some(left_out) = session.member.upgrade().and_then(|member| member.core.log_line(LogLine::Forgotten))
        {
            tracing::warn!(session = ?session.info.id, request, left_out, "a request to the client was lost before the client answered");
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if !self.over {
            self.session.live().pending.end_lookup(&self.id, false);
        }
    }
}

impl LiveSession {
    /// Returns an id that no other request of the session ever has. Other nodes write to other
    /// streams; on the standalone stream the node's number is part of the id.
    pub(in crate::legacy) fn open_request(&self, stream: StreamNo, node: NodeId) -> Box<str> {
        let count = self.requests_opened.fetch_add(1, Ordering::Relaxed);
        match stream {
            STANDALONE => format!("s{stream}-{}-{count}", node.0).into(),
            stream => format!("s{stream}-{count}").into(),
        }
    }

    /// Starts to wait for the answer to a request. Returns `None` if the session has ended.
    pub(in crate::legacy) fn wait_for(&self, request: Box<str>) -> Option<oneshot::Receiver<Answer>> {
        let mut live = self.live();
        if live.ended { None } else { Some(live.pending.add(request)) }
    }

    /// Stops waiting for an answer. Returns `false` if the wait was already over.
    pub(in crate::legacy) fn stop_waiting(&self, request: &str) -> bool {
        self.live().pending.remove(request)
    }

    pub(in crate::legacy) fn answered(&self, request: &str, answer: Answer) {
        let sender = self.live().pending.answered(request);
        if let Some(sender) = sender {
            // The waiting task may have just ended.
            let _ = sender.send(answer);
        }
    }

    /// Records that the request has been written to its stream.
    pub(in crate::legacy) fn mark_sent(&self, request: &str) {
        self.live().pending.mark_sent(request);
    }

    /// Records that the request could not be written. Its waiting task wakes up and withdraws it.
    pub(in crate::legacy) fn mark_unsent(&self, request: &str) {
        let sender = self.live().pending.mark_unsent(request);
        drop(sender);
    }

    /// Begins a lookup of an answer in the engine. Returns `None` if no task waits for the answer.
    pub(in crate::legacy) fn begin_lookup(self: &Arc<Self>, request: &str) -> Option<Lookup> {
        let sent = self.live().pending.begin_lookup(request)?;
        Some(Lookup { session: Arc::clone(self), id: request.into(), sent, over: false })
    }

    pub(in crate::legacy) fn open_requests(&self) -> Vec<Box<str>> {
        self.live().pending.ids()
    }
}
