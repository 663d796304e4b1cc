//! Messages that a handler sends before its client first listens. Servers send as soon as the
//! client is ready, and clients open their standalone stream at the same moment. Messages sent
//! until then are held for a limited time, in order. A client that has not listened by then is not
//! waited for again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::convert::Outgoing;
use super::pending::Pending;
use crate::server::Session;

/// How long a client may take to listen: some round trips, the first of them on a new connection.
pub(super) const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum of held messages. Later ones are dropped.
const MAX_MESSAGES: usize = 64;

/// The messages that one client receives when it first listens.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Never held across an await.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// While messages wait, later ones queue behind them.
    waiting: VecDeque<Outgoing>,
    /// The wait for the client is over.
    over: bool,
}

impl Held {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.kept().over
    }

    /// Queues a message behind those that wait. Returns it if none do.
    fn behind(&self, message: Outgoing) -> Option<Outgoing> {
        let mut kept = self.kept();
        if kept.waiting.is_empty() {
            return Some(message);
        }
        kept.push(message);
        None
    }

    /// Queues a message. Returns `true` if it is the first that waits.
    fn keep(&self, message: Outgoing) -> bool {
        let mut kept = self.kept();
        kept.push(message);
        kept.waiting.len() == 1
    }

    fn first(&self) -> Option<Outgoing> {
        self.kept().waiting.front().cloned()
    }

    /// Removes the first message after it was sent, and releases the allocation with the last one.
    fn sent(&self) {
        let mut kept = self.kept();
        kept.waiting.pop_front();
        if kept.waiting.is_empty() {
            *kept = Kept { waiting: VecDeque::new(), over: true };
        }
    }
}

impl Kept {
    fn push(&mut self, message: Outgoing) {
        if self.waiting.len() < MAX_MESSAGES {
            self.waiting.push_back(message);
        }
    }
}

/// Sends a notification on the stream of a session. Does not wait for the client to listen.
pub(super) async fn send_or_hold(pending: &Arc<Pending>, session: &Session, message: Outgoing) {
    let Some(message) = pending.held.behind(message) else { return };
    if pending.held.is_over() {
        return session.notify(&message.method, &message.params);
    }
    let opens = session.stream_opened();
    // An engine that fails counts as a client that does not listen: the notification is held.
    if session.try_notify(&message.method, &message.params).await.unwrap_or(false) || !pending.held.keep(message) {
        return;
    }
    let pending = Arc::clone(pending);
    tokio::spawn(async move {
        let _ = timeout(LISTEN_TIMEOUT, opens).await;
        while let (Some(message), Some(session)) = (pending.held.first(), pending.session()) {
            if let Err(error) = session.try_notify(&message.method, &message.params).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a notification was lost");
            }
            pending.held.sent();
        }
    });
}
