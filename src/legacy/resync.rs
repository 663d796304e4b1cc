//! The re-check after signals may have been lost. It covers the sessions with activity on this
//! node, a few at a time, so that an engine that has just recovered is not overloaded. Other
//! sessions are removed and loaded again at their next use.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::iter;

use super::Node;
use super::session::LiveSession;
use crate::hall::Missed;
use crate::identity::SessionId;
use crate::store::News;

/// The number of sessions that are checked concurrently. Each sends one request after the other. At
/// half a millisecond per request, that makes tens of thousands of operations per second, which a
/// server can handle.
const AT_ONCE: usize = 32;

impl Node {
    /// Re-checks everything. Requests for a re-check while one is running lead to exactly one more.
    pub(super) fn look_again(self: &Arc<Self>) {
        for id in self.listeners() {
            if let Some(session) = self.sessions.get(&id) {
                // The known versions may come from before the engine was restored from an older
                // copy.
                session.forget_versions();
            }
        }
        let node = Arc::clone(self);
        self.looks_owed.check(self, move || {
            let node = Arc::clone(&node);
            async move {
                node.catch_up().await;
                let sessions: Vec<SessionId> = node.sessions.iter().map(|session| *session.key()).collect();
                iter(sessions).for_each_concurrent(AT_ONCE, |session| node.look_at(session)).await;
                node.serve_line();
                Some(())
            }
        });
    }

    /// Holds the announcements that were made while signals were lost, for the sessions that listen
    /// here.
    async fn catch_up(&self) {
        let after = self.heard.low();
        let announced = self.engine.announced(after.unwrap_or(u64::MAX), &[]).await;
        match announced.map(|announced| self.heard.missed(after, announced)) {
            Ok(Missed::Topics(topics)) => {
                topics.iter().for_each(|(number, topic)| self.hold_for_all(topic, *number));
            }
            Ok(Missed::Anything { newest }) => self.ask_for_all(Some(newest)),
            // Each session asks the engine itself until it is answered.
            Err(_) => self.ask_for_all(None),
        }
    }

    async fn look_at(self: &Arc<Self>, id: SessionId) {
        let listens = self.listening.get(&id).map(|listener| listener.generation);
        if listens.is_none() && self.sessions.remove_if(&id, |_, session| LiveSession::is_at_rest(session)).is_some() {
            return;
        }
        let here = self.sessions.get(&id).map(|session| Arc::clone(&session));
        let Some(session) = here else { return };
        session.forget_versions();
        if !session.refresh(self).await {
            return;
        }
        session.wake_all_readers();
        for ticket in session.tickets() {
            // Its reader may have taken something or left.
            ticket.exchange().reader_took();
            ticket.exchange().look_again();
            session.look_for_cancellations(self, ticket.stream()).await;
        }
        for question in session.open_questions() {
            if let Some(look) = session.begin_look(&question) {
                look.found(self.engine.take(id, &question).await);
            }
        }
        if let Some(generation) = listens.filter(|generation| *generation > 0) {
            self.spread(id, News::Listens { generation }).await;
        }
    }
}
