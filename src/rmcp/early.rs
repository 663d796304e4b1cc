//! Decides what becomes of what a handler tells before its client first listens. Servers speak as soon as they
//! are told that the client is ready, and clients open their standalone stream in the same moment: what is told until
//! then is kept a while, in its order. A client that has not listened by then has missed it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::convert::Outgoing;
use super::desk::Desk;
use crate::server::Session;

/// How long a client may take to listen: some round trips, the first of them on a new connection.
pub(super) const LISTENS_WITHIN: Duration = Duration::from_secs(5);

/// Messages that are kept; whatever comes after them is not.
const MOST: usize = 64;

/// What one client shall find when it first listens.
#[derive(Debug)]
pub(super) struct Early {
    until: Instant,
    /// While anything waits to be told, what comes then comes after it. Never held across an await.
    kept: Mutex<VecDeque<Outgoing>>,
}

impl Early {
    pub(super) fn new() -> Self {
        Self { until: Instant::now() + LISTENS_WITHIN, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Outgoing>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a message behind those that wait; gives it back where none do.
    fn behind(&self, told: Outgoing) -> Option<Outgoing> {
        let mut kept = self.kept();
        if kept.is_empty() {
            return Some(told);
        }
        if kept.len() < MOST {
            kept.push_back(told);
        }
        None
    }

    /// Keeps a message; whether it is the first that waits.
    fn keep(&self, told: Outgoing) -> bool {
        let mut kept = self.kept();
        if kept.len() < MOST {
            kept.push_back(told);
        }
        kept.len() == 1
    }

    fn first(&self) -> Option<Outgoing> {
        self.kept().front().cloned()
    }

    /// The first one was told; the last one takes the room with it.
    fn told(&self) {
        let mut kept = self.kept();
        kept.pop_front();
        if kept.is_empty() {
            *kept = VecDeque::new();
        }
    }
}

/// Sends a notification on the stream of a session; nobody waits for its client to listen.
pub(super) async fn tell(desk: &Arc<Desk>, session: &Session, told: Outgoing) {
    let Some(told) = desk.early.behind(told) else { return };
    let until = desk.early.until;
    if Instant::now() >= until {
        return session.notify(&told.method, &told.params);
    }
    let opens = session.stream_opens();
    if session.tell(&told.method, &told.params).await || !desk.early.keep(told) {
        return;
    }
    let desk = Arc::clone(desk);
    tokio::spawn(async move {
        let _ = timeout_at(until, opens).await;
        while let (Some(told), Some(session)) = (desk.early.first(), desk.session()) {
            session.tell(&told.method, &told.params).await;
            desk.early.told();
        }
    });
}
