//! Listeners: the sessions whose standalone stream was opened here, with the changes due to each,
//! and the queue of those to be served.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use crate::identity::SessionId;
use crate::server::change::Change;

/// The number of changes a node holds for one session. Beyond it, the node asks the engine for the
/// changes that the session wants.
const HELD: usize = 64;

/// A session whose standalone stream was opened here.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// The newest reader of the session here; 0 until there is one.
    pub(super) generation: u32,
    /// The number of the last announcement that the session received.
    pub(super) delivered: u64,
    /// Boxed, because most sessions are due nothing.
    pub(super) due: Option<Box<Due>>,
    /// The session is in the queue, or is being served.
    pub(super) in_line: bool,
}

/// The changes that a session may have to receive.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Each with the number of its newest announcement.
    pub(super) changes: Vec<(u64, Change)>,
    /// The engine must be asked what was announced.
    pub(super) ask: bool,
    /// Everything counts as changed, up to this announcement.
    pub(super) everything: Option<u64>,
}

/// The queue of the sessions to be served.
#[derive(Debug, Default)]
pub(super) struct DeliveryQueue {
    pub(super) sessions: Mutex<VecDeque<SessionId>>,
    /// A task is serving the queue.
    pub(super) moves: AtomicBool,
    /// A retry is scheduled for failed deliveries.
    pub(super) retries: AtomicBool,
}

impl Listener {
    pub(super) fn due(&mut self) -> &mut Due {
        self.due.get_or_insert_default()
    }
}

impl Due {
    pub(super) fn hold(&mut self, change: &Change, number: u64) {
        if let Some(known) = self.changes.iter_mut().find(|(_, known)| known == change) {
            known.0 = known.0.max(number);
        } else if self.changes.len() < HELD {
            self.changes.push((number, change.clone()));
        } else {
            self.ask = true;
        }
    }
}

impl DeliveryQueue {
    pub(super) fn push(&self, session: SessionId) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push_back(session);
    }
}
