//! Member: the service as a member of its engine. Sessions refer to it, so that they need not know
//! the node that has them.

use std::sync::Arc;

use crate::core::{Core, LogLine, Received};
use crate::identity::SessionId;
use crate::store::{NodeId, SessionUpdate};

/// The core of a service, and what it is to its engine.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) core: Arc<Core>,
    pub(super) id: NodeId,
    /// The announcements that reached this node.
    pub(super) received: Received,
}

impl Member {
    /// Sends an update of a session to the other nodes.
    pub(super) async fn spread(&self, session: SessionId, update: SessionUpdate) {
        if let Err(error) = self.core.engine.broadcast(session, self.id, update).await
            && let Some(left_out) = self.core.log_line(LogLine::Background)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, left_out, "other nodes did not receive an update of a session");
        }
    }
}
