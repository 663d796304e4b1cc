//! Decides what nodes tell each other of one session while it is used on several of them: what its
//! client wants to hear, and where it listens. The engine has the truth, which a node reads when
//! the session first comes to it; news keep it fresh after that.

use serde::{Deserialize, Serialize};

use super::Node;
use crate::identity::SessionId;
use crate::store::NodeId;

/// Something a node learnt of a session.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    session: SessionId,
    /// Who tells it, and need not be told.
    node: u64,
    news: News,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum News {
    /// The client set its log level.
    LogLevel(u8),
    /// The client wants to hear of a resource.
    Subscribed(Box<str>),
    /// It does not any more.
    Unsubscribed(Box<str>),
    /// The client opened its standalone stream: from now on this node tells it of changes, and no
    /// other.
    Listens,
}

impl Node {
    /// Tells the other nodes.
    pub(super) async fn spread(&self, session: SessionId, news: News) {
        let NodeId(node) = self.id;
        let Ok(topic) = serde_json::to_string(&Told { session, node, news }) else { return };
        if let Err(error) = self.engine.announce(&topic).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "other nodes could not be told of a session");
        }
    }

    /// Hears what another node told; whether it was such news at all.
    pub(super) fn hear(&self, topic: &str) -> bool {
        let Ok(Told { session, node, news }) = serde_json::from_str(topic) else { return false };
        if NodeId(node) == self.id {
            return true;
        }
        if matches!(news, News::Listens) {
            self.listening.remove(&session);
        }
        let here = self.sessions.get(&session).map(|session| std::sync::Arc::clone(&session));
        if let Some(session) = here {
            session.heard(news);
        }
        true
    }
}
