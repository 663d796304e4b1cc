//! Decides how a node looks again after bells may have been lost: at the sessions it does something
//! for, a few at a time, so that an engine that has just come back is not asked for everything at once.
//! The others are let go, and brought in anew at their next use.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::iter;

use super::Node;
use super::session::LiveSession;
use crate::hall::Missed;
use crate::identity::SessionId;
use crate::store::News;

/// How many sessions are looked at at a time. Each asks for one thing after the other: with half a
/// millisecond for each that is tens of thousands of steps in a second, which is what a server can do.
const AT_ONCE: usize = 32;

impl Node {
    /// Looks at everything again, once more if it is already being looked at: what is owed meanwhile
    /// is owed once.
    pub(super) fn look_again(self: &Arc<Self>) {
        for id in self.listeners() {
            if let Some(session) = self.sessions.get(&id) {
                // What is known may come from before an engine came back with an older copy.
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

    /// Holds what was announced while no bell was heard for those who listen here.
    async fn catch_up(&self) {
        let after = self.heard.low();
        let announced = self.engine.announced(after.unwrap_or(u64::MAX), &[]).await;
        match announced.map(|announced| self.heard.missed(after, announced)) {
            Ok(Missed::Topics(topics)) => {
                topics.iter().for_each(|(number, topic)| self.hold_for_all(topic, *number));
            }
            Ok(Missed::Anything { newest }) => self.ask_for_all(Some(newest)),
            // Each of them asks until it is answered.
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
            // Its reader may have taken something, or left.
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
