//! The re-check after signals may have been lost. It covers the sessions with activity on this
//! node, a few at a time, so that an engine that has just recovered is not overloaded. Other
//! sessions are removed and loaded again at their next use.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::iter;

use super::Node;
use super::session::LiveSession;
use crate::core::Missed;
use crate::identity::SessionId;
use crate::store::SessionUpdate;

/// The number of sessions that are checked concurrently. Each sends one request after the other. At
/// half a millisecond per request, that makes tens of thousands of operations per second, which a
/// server can handle.
const CONCURRENCY: usize = 32;

impl Node {
    /// Re-checks everything. Requests for a re-check while one is running lead to exactly one more.
    pub(super) fn recheck(self: &Arc<Self>) {
        for id in self.listeners() {
            if let Some(session) = self.sessions.get(&id) {
                // The known versions may come from before the engine was restored from an older
                // copy.
                session.forget_versions();
            }
        }
        let node = Arc::clone(self);
        self.rechecks.check(&self.core, move || {
            let node = Arc::clone(&node);
            async move {
                node.catch_up().await;
                let sessions: Vec<SessionId> = node.sessions.iter().map(|session| *session.key()).collect();
                iter(sessions).for_each_concurrent(CONCURRENCY, |session| node.recheck_session(session)).await;
                node.serve_line();
                Some(())
            }
        });
    }

    /// Holds the announcements that were made while signals were lost, for the sessions that listen
    /// here.
    async fn catch_up(&self) {
        let after = self.member.received.low();
        let announced = self.core.engine.announced(after.unwrap_or(u64::MAX), &[]).await;
        match announced.map(|announced| self.member.received.missed(after, announced)) {
            Ok(Missed::Topics(topics)) => {
                topics.iter().for_each(|(number, topic)| self.hold_for_all(topic, *number));
            }
            Ok(Missed::Anything { newest }) => self.recheck_all(Some(newest)),
            // Each session asks the engine itself until it is answered.
            Err(_) => self.recheck_all(None),
        }
    }

    async fn recheck_session(self: &Arc<Self>, id: SessionId) {
        let listens = self.listeners.get(&id).map(|listener| listener.generation);
        if listens.is_none() && self.sessions.remove_if(&id, |_, session| LiveSession::is_at_rest(session)).is_some() {
            return;
        }
        let here = self.sessions.get(&id).map(|session| Arc::clone(&session));
        let Some(session) = here else { return };
        session.forget_versions();
        if !self.refresh(&session).await {
            return;
        }
        session.wake_all_readers();
        for (stream, call) in session.calls() {
            // Its reader may have taken something or left.
            call.reader_took();
            call.recheck();
            session.fetch_cancellations(&self.core, stream).await;
        }
        for request in session.open_requests() {
            if let Some(look) = session.begin_lookup(&request) {
                look.found(self.core.engine.take_answer(id, &request).await);
            }
        }
        if let Some(generation) = listens.filter(|generation| *generation > 0) {
            self.member.spread(id, SessionUpdate::Listens { generation }).await;
        }
    }
}
