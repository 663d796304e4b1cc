//! Eviction: ends an idle session when a new one needs its process, and expires sessions whose
//! clients have abandoned a call.
//!
//! 1. A session without a call is idle from its last use on, as the transport counts it.
//! 2. A session with a call is idle while no client is connected. A call outlives its connection so
//!    that the client can resume it, and a process that never answers would otherwise keep its
//!    permit indefinitely.
//! 3. Only sessions with a running process are evicted: others hold no permit.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use mcp_http::{McpHandle, SessionId};
use tokio::time::timeout;

use crate::pool::Pool;
use crate::session::StdioSession;

/// How often the bridge checks which sessions have a connected client.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum time without a client before a session with a call counts as idle. By then, a client
/// that lost its connection has returned, and a silent call has become a stream, which shows that
/// its client is there.
const MIN_ABSENCE: Duration = Duration::from_secs(5);

/// An idle session.
struct Candidate {
    session: SessionId,
    /// A call is in flight, and would be lost.
    busy: bool,
    idle: Duration,
}

/// Ends the session that has been idle longest, and for at least `evict_after`. Prefers sessions
/// without a call. Returns `true` if one was ended: its permit will be released.
pub(crate) async fn evict_one(handle: &McpHandle, evict_after: Duration) -> bool {
    for Candidate { session, busy, idle } in candidates(handle, evict_after).await {
        // Another new session may have evicted it already.
        if handle.end_session(session).await.unwrap_or(false) {
            tracing::info!(?session, busy, ?idle, "ended an idle session to free its process for a new one");
            return true;
        }
    }
    false
}

/// Returns the sessions that may be evicted, in order.
async fn candidates(handle: &McpHandle, evict_after: Duration) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for summary in handle.sessions().await.unwrap_or_default() {
        let (session, busy) = (summary.info.id, summary.calls > 0);
        if summary.readers > 0 {
            continue;
        }
        let Some(stdio) = stdio_session(handle, session).await.filter(|stdio| stdio.has_process()) else {
            continue;
        };
        let (idle, minimum) =
            if busy { (stdio.since_seen(), evict_after.max(MIN_ABSENCE)) } else { (summary.idle, evict_after) };
        if idle >= minimum {
            candidates.push(Candidate { session, busy, idle });
        }
    }
    candidates.sort_unstable_by_key(|candidate| (candidate.busy, Reverse(candidate.idle)));
    candidates
}

/// Records which sessions with a call have a connected client, and ends a session whose client has
/// been away for the idle timeout. The transport itself does not expire sessions with a call.
pub(crate) async fn expire_abandoned(pool: Arc<Pool>, handle: McpHandle) {
    let max_absence = pool.settings.idle_timeout.max(MIN_ABSENCE);
    while timeout(POLL_INTERVAL, pool.stop.cancelled()).await.is_err() {
        for summary in handle.sessions().await.unwrap_or_default() {
            if summary.calls == 0 {
                continue;
            }
            let session = summary.info.id;
            let Some(stdio) = stdio_session(&handle, session).await else { continue };
            if summary.readers > 0 {
                stdio.mark_seen();
            } else if stdio.since_seen() >= max_absence && handle.end_session(session).await.unwrap_or(false) {
                tracing::info!(?session, "ended a session: its client has not returned for its calls");
            }
        }
    }
}

/// Sessions are kept in memory: the engine is always in reach.
async fn stdio_session(handle: &McpHandle, session: SessionId) -> Option<Arc<StdioSession>> {
    handle.session(session).await.ok()??.extensions().get()
}
