//! Decides when sessions are looked at for expiry: by one task for each service, which starts
//! with the first session used here and ends with the service.

use std::sync::Weak;
use std::time::Duration;

use super::Node;
use crate::settings::Settings;

/// How often at most. A look costs as much as there is to end, so this can be often.
const EVERY: Duration = Duration::from_secs(1);

/// Starts the task. It holds the service weakly, and notices at its next look that it is gone.
pub(super) fn start(node: Weak<Node>, settings: &Settings) {
    let sessions = &settings.sessions;
    let shortest = sessions.idle_timeout.into_iter().chain(sessions.lifetime).min();
    let every = shortest.map_or(EVERY, |shortest| (shortest / 4).clamp(Duration::from_millis(10), EVERY));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            let Some(node) = node.upgrade() else { return };
            node.reap().await;
        }
    });
}

impl Node {
    /// Ends what has expired; how many that was.
    pub(crate) async fn reap(&self) -> usize {
        match self.engine.sweep(self.id).await {
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
