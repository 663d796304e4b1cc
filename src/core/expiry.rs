//! Expiry: the reaper is one task for each service that makes the engine remove what has expired.
//!
//! It starts with the first session or task used on this node. If the engine may hold older ones,
//! it starts with the first request. It ends with the service. If it ends earlier because its
//! runtime was dropped, the next use starts another.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Core, LogLine};
use crate::error::StoreError;
use crate::panics::{OnAbort, caught};
use crate::store::NodeId;

/// The minimum interval between two checks. A check costs only as much as there is to end, so it
/// can run often.
const EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// Starts the task unless it runs already. The task refers to the service weakly, and ends at
    /// the first check after the service is gone.
    pub(crate) fn start_reaper(self: &Arc<Self>, node: NodeId) {
        if !self.reaper.begin() {
            return;
        }
        let sessions = &self.settings.sessions;
        let shortest = sessions.idle_timeout.into_iter().chain(sessions.lifetime).min();
        let every = shortest.map_or(EVERY, |shortest| (shortest / 4).clamp(Duration::from_millis(10), EVERY));
        let core = Arc::downgrade(self);
        let ended = OnAbort::new(move || {
            if let Some(core) = core.upgrade() {
                core.reaper.end();
            }
        });
        tokio::spawn(run(Arc::downgrade(self), node, every, ended));
    }

    /// Starts the task for a request, if needed. Sessions of an earlier process or another runtime
    /// then expire even if their clients do not return.
    pub(crate) fn ensure_reaper(self: &Arc<Self>, node: NodeId) {
        if self.durable || self.reaper.is_gone() {
            self.start_reaper(node);
        }
    }

    /// Ends what has expired. Returns the number of sessions ended.
    pub(crate) async fn expire(&self, node: NodeId) -> Result<usize, StoreError> {
        let ended = self.engine.expire(node).await?;
        let count = ended.len();
        self.closed(ended);
        Ok(count)
    }

    async fn check_expiry(&self, node: NodeId) {
        if let Err(error) = self.expire(node).await
            && let Some(left_out) = self.log_line(LogLine::Background)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, left_out, "expired sessions could not be ended; the next check tries again");
        }
    }
}

async fn run(core: Weak<Core>, node: NodeId, every: Duration, _ended: OnAbort<impl FnOnce()>) {
    loop {
        tokio::time::sleep(every).await;
        let Some(core) = core.upgrade() else { return };
        // An application's own engine may panic. The next check tries again.
        let _ = caught(core.check_expiry(node)).await;
    }
}
