//! Detaching clients when a node leaves or drains. Streams that can be resumed elsewhere are
//! closed, other calls are cut off, and sessions that end with the service end last.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::cells::Cause;
use super::session::LiveSession;
use crate::core::LogLine;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::store::{EndReason, STANDALONE};

/// How long the last answers may take to be sent.
const FLUSH_GRACE: Duration = Duration::from_secs(1);

/// The interval at which their progress is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The sessions of a node that drains.
pub(crate) struct Draining {
    sessions: Vec<Arc<LiveSession>>,
    pub(crate) closed_streams: usize,
}

/// The sessions that were to end with the service.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    pub(crate) ended: usize,
    /// The engine failed to end these.
    pub(crate) failed: usize,
}

impl Draining {
    /// Cancels the calls that still run, because the service can wait no longer.
    pub(crate) fn cut_calls(&self) {
        let calls = self.sessions.iter().flat_map(|session| session.calls());
        calls.for_each(|(_, call)| call.cancel(Cause::Shutdown));
    }
}

/// See [`McpHandle::begin_shutdown`](crate::McpHandle::begin_shutdown) and
/// [`McpHandle::drain`](crate::McpHandle::drain). The latter drains both eras.
impl Node {
    /// Closes the streams that began before the service left, if other nodes have their sessions
    /// too. Their connections were not asked to close. A client that reuses one for its next call,
    /// just when the drain closes it, would lose that call.
    pub(crate) fn begin_shutdown(&self) {
        if self.core.engine.durable() {
            let closed: usize = self.all_here().iter().map(|session| self.detach_clients(session)).sum();
            tracing::debug!(closed, "streams were closed so that their clients reconnect");
        }
    }

    /// Closes the streams whose clients can resume elsewhere. The service accepts no new calls by
    /// now.
    pub(crate) fn begin_drain(&self) -> Draining {
        let sessions = self.all_here();
        let closed_streams = sessions.iter().map(|session| self.detach_clients(session)).sum();
        Draining { sessions, closed_streams }
    }

    fn all_here(&self) -> Vec<Arc<LiveSession>> {
        self.sessions.iter().map(|session| Arc::clone(&session)).collect()
    }

    /// Finishes the drain after the calls are over.
    pub(crate) async fn finish_drain(&self, leaving: Draining) -> Drained {
        answers_sent(&leaving.sessions).await;
        if !self.core.engine.durable() {
            return self.end_all(EndReason::Shutdown).await;
        }
        // Clients that came back during the drain continue at another node.
        let retry = self.core.settings.streams.retry_interval;
        let readers = self.sessions.iter().flat_map(|session| session.readers());
        readers.for_each(|cell| cell.release(u32::MAX, retry));
        Drained::default()
    }

    /// Closes the streams of a session whose clients can resume: standalone streams, and, if
    /// another node has the session too, streams of calls since 2025-11-25. Older clients treat an
    /// early end as the loss of the answer. If the session ends with this process, the answer would
    /// indeed be lost.
    fn detach_clients(&self, session: &LiveSession) -> usize {
        let retry = self.core.settings.streams.retry_interval;
        let can_return =
            session.info.version.has_priming() && self.core.settings.streams.resumable && self.core.engine.durable();
        let leaving = session.readers().into_iter().filter(|cell| cell.stream() == STANDALONE || can_return);
        leaving.map(|cell| cell.release(u32::MAX, retry)).count()
    }

    async fn end_all(&self, reason: EndReason) -> Drained {
        let ids: Vec<SessionId> = self.sessions.iter().map(|session| *session.key()).collect();
        let mut drained = Drained::default();
        for id in ids {
            match self.core.end_session(id, reason).await {
                Ok(()) => drained.ended += 1,
                Err(error) if error.kind() == StoreErrorKind::NotFound => {}
                Err(error) => {
                    drained.failed += 1;
                    self.log_failure(&error);
                }
            }
        }
        drained
    }

    fn log_failure(&self, error: &StoreError) {
        if let Some(left_out) = self.core.log_line(LogLine::Background) {
            tracing::warn!(error = error as &dyn std::error::Error, left_out, "a session could not be ended");
        }
    }
}

/// Waits until the responses of calls have been read to their end. When a session ends, its streams
/// end immediately.
async fn answers_sent(sessions: &[Arc<LiveSession>]) {
    let answers = |session: &Arc<LiveSession>| session.readers().iter().any(|cell| cell.stream() != STANDALONE);
    let all = async {
        while sessions.iter().any(answers) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    // Clients that still do not read are given up.
    let _ = tokio::time::timeout(FLUSH_GRACE, all).await;
}
