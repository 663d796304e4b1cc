//! Decides how sessions let go of their clients when a node leaves or drains: what can come back elsewhere is sent away, what
//! cannot is cut off, and what ends with the service ends last.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::session::LiveSession;
use super::ticket::Cause;
use crate::identity::SessionId;
use crate::store::{EndReason, STANDALONE};

/// How long the last answers may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often it is looked whether they have left.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The sessions of a node that drains.
pub(crate) struct Leaving {
    sessions: Vec<Arc<LiveSession>>,
    pub(crate) closed_streams: usize,
}

impl Leaving {
    /// The service can wait no longer.
    pub(crate) fn cut_calls(&self) {
        let tickets = self.sessions.iter().flat_map(|session| session.tickets());
        tickets.for_each(|ticket| ticket.cancel(Cause::Shutdown));
    }
}

/// See [`McpHandle::leave`](crate::McpHandle::leave) and [`McpHandle::drain`](crate::McpHandle::drain), which takes both eras through it.
impl Node {
    /// Sends away, where another node has the session too, whoever reads a stream that began before the service
    /// left: its connection was not asked to close, and a client that takes it for its next call in the
    /// moment in which the drain closes it would lose that call.
    pub(crate) fn begin_leave(&self) {
        if self.engine.durable() {
            let closed: usize = self.all_here().iter().map(|session| self.send_away(session)).sum();
            tracing::debug!(closed, "streams were closed for their clients to come back");
        }
    }

    /// Nothing new is taken any more: sends away whoever can come back elsewhere.
    pub(crate) fn begin_drain(&self) -> Leaving {
        let sessions = self.all_here();
        let closed_streams = sessions.iter().map(|session| self.send_away(session)).sum();
        Leaving { sessions, closed_streams }
    }

    fn all_here(&self) -> Vec<Arc<LiveSession>> {
        self.sessions.iter().map(|session| Arc::clone(&session)).collect()
    }

    /// The calls are over: how many sessions ended with the service.
    pub(crate) async fn finish_drain(&self, leaving: Leaving) -> usize {
        answers_sent(&leaving.sessions).await;
        if !self.engine.durable() {
            return self.end_all(EndReason::Shutdown).await;
        }
        // Whoever came back while it drained goes on elsewhere.
        let retry = self.settings.streams.retry_interval;
        let readers = self.sessions.iter().flat_map(|session| session.readers());
        readers.for_each(|cell| cell.release(u32::MAX, retry));
        0
    }

    /// Closes the streams of a session whose clients can come back for the rest: standalone ones,
    /// and, where another node has the session too, those of calls since 2025-11-25. Older clients
    /// take an early end for the loss of the answer; and where the session ends with this process,
    /// it would be.
    fn send_away(&self, session: &LiveSession) -> usize {
        let retry = self.settings.streams.retry_interval;
        let can_return = session.info.version.has_priming() && self.settings.streams.resumable && self.engine.durable();
        let leaving = session.readers().into_iter().filter(|cell| cell.stream() == STANDALONE || can_return);
        leaving.map(|cell| cell.release(u32::MAX, retry)).count()
    }

    async fn end_all(&self, reason: EndReason) -> usize {
        let ids: Vec<SessionId> = self.sessions.iter().map(|session| *session.key()).collect();
        let mut count = 0;
        for id in ids {
            count += usize::from(self.end(id, reason).await.is_ok());
        }
        count
    }
}

/// Waits until the responses of calls are read to their end: with its session a stream ends where
/// it stands.
async fn answers_sent(sessions: &[Arc<LiveSession>]) {
    let answers = |session: &Arc<LiveSession>| session.readers().iter().any(|cell| cell.stream() != STANDALONE);
    let all = async {
        while sessions.iter().any(answers) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    // Whoever does not read even now is left behind.
    let _ = tokio::time::timeout(LAST_WORDS, all).await;
}
