//! Decides what nodes tell each other of a session that several of them use, and which of them tells
//! its client of changes. The engine has the truth, which a node reads when the session first comes to
//! it and when bells were lost; news keep it fresh in between.
//!
//! 1. Of its log level and its subscriptions they tell that something changed, and not what.
//! 2. The node that made the newest reader of the standalone stream tells of [changes](super::changes). The
//!    engine counts readers over all nodes, so that news which cross, or come late, change nothing: a node that
//!    hears of a newer reader than its own stops, and one that hears of an older one says so. Where two of them
//!    go on for a while the engine takes one delivery, and where none does the next delivery has it.

use std::sync::Arc;

use super::Node;
use super::session::LiveSession;
use crate::hall::LogLine;
use crate::identity::SessionId;
use crate::store::{Attached, News};

impl Node {
    /// Tells the other nodes.
    pub(super) async fn spread(&self, session: SessionId, news: News) {
        if let Err(error) = self.engine.tell(session, self.id, news).await
            && let Some(left_out) = self.log_line(LogLine::Background)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, left_out, "other nodes could not be told of a session");
        }
    }

    /// A reader of a standalone stream was made here.
    pub(super) async fn listens(self: &Arc<Self>, session: &LiveSession, attached: Attached) {
        let (id, generation) = (session.info.id, attached.generation);
        self.listens_from(session, attached);
        if self.sessions.contains_key(&id) {
            self.serve_line();
            self.spread(id, News::Listens { generation }).await;
        } else {
            // It ended before it listened.
            self.listening.remove(&id);
        }
    }

    /// Hears what another node told.
    pub(super) fn hear(self: &Arc<Self>, session: SessionId, news: News) {
        match news {
            News::State => {
                let here = self.sessions.get(&session).map(|session| Arc::clone(&session));
                let Some(session) = here else { return };
                // What is announced from here on waits until it is known whether it is wanted.
                session.set_stale();
                if !self.owe_refresh(session.info.id) {
                    let node = Arc::clone(self);
                    self.in_background(Box::pin(async move {
                        session.refresh(&node).await;
                    }));
                }
            }
            News::Listens { generation } => {
                if let Some(session) = self.sessions.get(&session) {
                    session.stream_opened();
                }
                let is_older = |own: u32| own > 0 && own < generation;
                self.listening.remove_if(&session, |_, listener| is_older(listener.generation));
                let newest = self.listening.get(&session).map(|listener| listener.generation);
                let newer = newest.filter(|newest| *newest > generation);
                if let Some(generation) = newer {
                    self.step_in_background(self.engine.tell(session, self.id, News::Listens { generation }));
                }
            }
        }
    }
}
