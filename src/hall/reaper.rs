//! Decides when the engine is looked at for what has expired: by one task for each service, which
//! starts with the first session or task used here, or with the first request where some may be left
//! of earlier times, and ends with the service.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Hall;
use crate::store::NodeId;

/// How often at most. A look costs as much as there is to end, so this can be often.
const EVERY: Duration = Duration::from_secs(1);

impl Hall {
    /// Starts the task, if it does not run yet. It holds the service weakly, and notices at its next
    /// look that it is gone.
    pub(crate) fn start_reaper(self: &Arc<Self>, node: NodeId) {
        self.reaper.get_or_init(|| {
            let sessions = &self.settings.sessions;
            let shortest = sessions.idle_timeout.into_iter().chain(sessions.lifetime).min();
            let every = shortest.map_or(EVERY, |shortest| (shortest / 4).clamp(Duration::from_millis(10), EVERY));
            tokio::spawn(look(Arc::downgrade(self), node, every));
        });
    }

    /// A request came in. What an earlier process left expires though nobody comes back for it.
    pub(crate) fn look_after(self: &Arc<Self>, node: NodeId) {
        if self.durable {
            self.start_reaper(node);
        }
    }

    /// Ends what has expired; how many sessions that was.
    pub(crate) async fn reap(&self, node: NodeId) -> usize {
        match self.engine.sweep(node).await {
            Ok(ended) => {
                let count = ended.len();
                self.closed(ended);
                count
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the session engine could not be swept");
                0
            }
        }
    }
}

async fn look(hall: Weak<Hall>, node: NodeId, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(hall) = hall.upgrade() else { return };
        hall.reap(node).await;
    }
}
