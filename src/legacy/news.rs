//! Decides what nodes tell each other of a session that several of them use, and which of them tells
//! its client of changes. The engine has the truth, which a node reads when the session first comes to
//! it and when bells were lost; news keep it fresh in between.
//!
//! 1. Of its log level and its subscriptions they tell that something changed, and not what.
//! 2. The node that made the newest reader of the standalone stream tells of changes. The engine counts
//!    readers over all nodes, so that news which cross, or come late, change nothing: whoever hears of a
//!    newer reader than its own stops, and whoever hears of an older one says so. One of them goes on.

use std::sync::Arc;

use super::Node;
use crate::identity::SessionId;
use crate::store::News;

impl Node {
    /// Tells the other nodes.
    pub(super) async fn spread(&self, session: SessionId, news: News) {
        if let Err(error) = self.engine.tell(session, self.id, news).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "other nodes could not be told of a session");
        }
    }

    /// A reader of a standalone stream was made here.
    pub(super) async fn listens(&self, session: SessionId, generation: u32) {
        self.listening.entry(session).and_modify(|newest| *newest = generation.max(*newest)).or_insert(generation);
        if self.sessions.contains_key(&session) {
            self.spread(session, News::Listens { generation }).await;
        } else {
            // It ended before it listened.
            self.listening.remove(&session);
        }
    }

    /// Hears what another node told.
    pub(super) fn hear(self: &Arc<Self>, session: SessionId, news: News) {
        match news {
            News::State => {
                let here = self.sessions.get(&session).map(|session| Arc::clone(&session));
                if let Some(session) = here {
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
                self.listening.remove_if(&session, |_, newest| *newest < generation);
                let newer = self.listening.get(&session).map(|newest| *newest).filter(|newest| *newest > generation);
                if let Some(generation) = newer {
                    self.step_in_background(self.engine.tell(session, self.id, News::Listens { generation }));
                }
            }
        }
    }
}
