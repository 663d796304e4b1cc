//! Updates between nodes about the sessions that they share.
//!
//! The engine has the authoritative state. A node reads it when it first uses a session and after
//! signals were lost; updates keep it current in between. They also settle which node delivers
//! changes to the client.
//!
//! 1. For the log level and the subscriptions, an update says that they changed, not how.
//! 2. The node that created the newest reader of the standalone stream delivers
//!    [changes](super::delivery). The engine numbers readers across all nodes, so updates that cross
//!    or arrive late have no effect. A node that learns of a newer reader than its own stops
//!    delivering. A node that learns of an older reader announces its own again. If two nodes
//!    deliver for a while, the engine accepts one delivery. If no node delivers, the next delivery
//!    includes what was missed.

use std::sync::Arc;

use super::Node;
use super::session::LiveSession;
use crate::core::LogLine;
use crate::error::StoreErrorKind;
use crate::identity::SessionId;
use crate::store::{Attached, SessionUpdate};

impl Node {
    /// Records that a reader of a standalone stream was created here, and informs the other nodes.
    pub(super) async fn listens(self: &Arc<Self>, session: &LiveSession, attached: Attached) {
        let (id, generation) = (session.info.id, attached.generation);
        self.listens_from(session, attached);
        if self.sessions.contains_key(&id) {
            self.serve_line();
            self.member.spread(id, SessionUpdate::Listens { generation }).await;
        } else {
            // The session ended before it listened.
            self.listeners.remove(&id);
        }
    }

    /// Processes an update of another node.
    pub(super) fn receive(self: &Arc<Self>, session: SessionId, update: SessionUpdate) {
        match update {
            SessionUpdate::State => {
                let here = self.sessions.get(&session).map(|session| Arc::clone(&session));
                let Some(session) = here else { return };
                // Further announcements are held until it is known whether the client wants them.
                session.set_stale();
                if !self.refresh_later(session.info.id) {
                    let node = Arc::clone(self);
                    self.core.in_background(Box::pin(async move {
                        node.refresh(&session).await;
                    }));
                }
            }
            SessionUpdate::Listens { generation } => {
                if let Some(session) = self.sessions.get(&session) {
                    session.stream_opened();
                }
                let is_older = |own: u32| own > 0 && own < generation;
                self.listeners.remove_if(&session, |_, listener| is_older(listener.generation));
                let newest = self.listeners.get(&session).map(|listener| listener.generation);
                let newer = newest.filter(|newest| *newest > generation);
                if let Some(generation) = newer {
                    self.core.step_in_background(self.core.engine.broadcast(
                        session,
                        self.id,
                        SessionUpdate::Listens { generation },
                    ));
                }
            }
        }
    }

    /// Reads a session's state again. Returns `false` if the session has ended.
    pub(super) async fn refresh(&self, session: &LiveSession) -> bool {
        let Err(error) = session.catch_up(&self.core).await else { return true };
        if error.kind() == StoreErrorKind::NotFound {
            // The session ended, and the signal for it did not reach this node.
            self.forget(session.info.id);
            return false;
        }
        if let Some(left_out) = self.core.log_line(LogLine::Background) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, left_out, "a session could not be re-checked");
        }
        true
    }

    /// Reads the state again if the engine reports a revision that is not known here.
    pub(super) async fn keep_up(self: &Arc<Self>, session: &LiveSession, revision: u64) {
        if revision > session.revision() {
            self.refresh(session).await;
            // The client may have wanted announcements that were made since.
            self.recheck_later(session.info.id);
            self.serve_line();
        }
    }
}
