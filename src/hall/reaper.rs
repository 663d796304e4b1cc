//! The reaper: one task for each service that has the engine look for what has expired. It starts with the first
//! session or task used here, or with the first request where some may be left of earlier times, and ends with the
//! service. Where it ends before, because its runtime was dropped, the next use starts another.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Hall, LogLine};
use crate::panics::{OnAbort, caught};
use crate::store::NodeId;

/// How often at most. A look costs as much as there is to end, so this can be often.
const EVERY: Duration = Duration::from_secs(1);

/// Whether the task runs.
#[derive(Debug, Default)]
pub(super) struct Reaper(AtomicU8);

/// The values of [`Reaper`] besides 0, which it has until it is first needed: it runs, or it ended with its runtime.
const RUNS: u8 = 1;
const GONE: u8 = 2;

impl Reaper {
    /// Returns `true` if the caller is to start it.
    fn begin(&self) -> bool {
        self.0.load(Ordering::Acquire) != RUNS && self.0.swap(RUNS, Ordering::AcqRel) != RUNS
    }

    fn end(&self) {
        self.0.store(GONE, Ordering::Release);
    }

    fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }
}

impl Hall {
    /// Starts the task, if it does not run yet. It holds the service weakly, and notices at its next
    /// look that it is gone.
    pub(crate) fn start_reaper(self: &Arc<Self>, node: NodeId) {
        if !self.reaper.begin() {
            return;
        }
        let sessions = &self.settings.sessions;
        let shortest = sessions.idle_timeout.into_iter().chain(sessions.lifetime).min();
        let every = shortest.map_or(EVERY, |shortest| (shortest / 4).clamp(Duration::from_millis(10), EVERY));
        let hall = Arc::downgrade(self);
        let ended = OnAbort::new(move || {
            if let Some(hall) = hall.upgrade() {
                hall.reaper.end();
            }
        });
        tokio::spawn(look(Arc::downgrade(self), node, every, ended));
    }

    /// A request came in. What an earlier process, or another runtime, left expires though no client comes back for it.
    pub(crate) fn look_after(self: &Arc<Self>, node: NodeId) {
        if self.durable || self.reaper.is_gone() {
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
                if let Some(left_out) = self.log_line(LogLine::Background) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, left_out, "the session engine could not be swept");
                }
                0
            }
        }
    }
}

async fn look(hall: Weak<Hall>, node: NodeId, every: Duration, _ended: OnAbort<impl FnOnce()>) {
    loop {
        tokio::time::sleep(every).await;
        let Some(hall) = hall.upgrade() else { return };
        // An engine of the application's own may panic; what has expired is looked for again.
        let _ = caught(hall.reap(node)).await;
    }
}
