//! Decides when a session is at rest, and which of those that are goes when its place is needed.
//!
//! 1. A session without a call rests from its last use on, as the transport counts it.
//! 2. A session with a call rests when nobody is connected: a call outlives the connection it came on, so that
//!    its client can come back for the answer, and a process that never answers would keep its place for ever.
//! 3. Only a session whose process lives holds a place.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use mcp_http::{McpHandle, SessionId};
use tokio::time::timeout;

use crate::conversation::Conversation;
use crate::pool::Pool;

/// How often it is looked whether somebody is connected.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A session with a call rests no sooner. By then a client whose connection broke is back, and a call that is
/// silent has become a stream, by which its client is seen.
const MIN_ABSENCE: Duration = Duration::from_secs(5);

struct Resting {
    session: SessionId,
    /// What it does is lost with it.
    works: bool,
    rest: Duration,
}

/// Ends the session that has rested longest, and at least this long; one that works only when no other rests.
/// Whether one was ended: its place will be free.
pub(crate) async fn evict_one(handle: &McpHandle, rested: Duration) -> bool {
    for Resting { session, works, rest } in resting(handle, rested).await {
        // Another newcomer may have been faster.
        if handle.end(session).await {
            tracing::info!(?session, works, ?rest, "a session at rest makes room for a new one");
            return true;
        }
    }
    false
}

/// Those that hold a place, in the order in which they go.
async fn resting(handle: &McpHandle, rested: Duration) -> Vec<Resting> {
    let mut resting = Vec::new();
    for summary in handle.sessions().await.unwrap_or_default() {
        let (session, works) = (summary.info.id, summary.calls > 0);
        if summary.readers > 0 {
            continue;
        }
        let Some(conversation) = conversation(handle, session).await.filter(|held| held.has_process()) else {
            continue;
        };
        let (rest, least) =
            if works { (conversation.unattended(), rested.max(MIN_ABSENCE)) } else { (summary.idle, rested) };
        if rest >= least {
            resting.push(Resting { session, works, rest });
        }
    }
    resting.sort_unstable_by_key(|resting| (resting.works, Reverse(resting.rest)));
    resting
}

/// Keeps in mind when somebody was connected to a session with a call, and has it expire like any other when
/// nobody comes back.
pub(crate) async fn watch(pool: Arc<Pool>, handle: McpHandle) {
    let longest = pool.settings.idle_timeout.max(MIN_ABSENCE);
    while timeout(POLL_INTERVAL, pool.stop.cancelled()).await.is_err() {
        for summary in handle.sessions().await.unwrap_or_default() {
            if summary.calls == 0 {
                continue;
            }
            let session = summary.info.id;
            let Some(conversation) = conversation(&handle, session).await else { continue };
            if summary.readers > 0 {
                conversation.attend();
            } else if conversation.unattended() >= longest && handle.end(session).await {
                tracing::info!(?session, "a session has expired: nobody waits for its calls any more");
            }
        }
    }
}

async fn conversation(handle: &McpHandle, session: SessionId) -> Option<Arc<Conversation>> {
    handle.session(session).await?.extensions().get()
}
