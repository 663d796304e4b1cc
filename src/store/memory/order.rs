//! The sessions of one account, in the order of their eviction: those that were never used, the
//! oldest first, then the one that has been idle longest.
//!
//! One scan of all of them makes a list, and later evictions continue in it. A session that was
//! used after the scan belongs behind all entries of the list, so an entry that has changed since
//! is skipped. A new scan is needed only when the list is exhausted.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::clock::Tick;
use crate::identity::{IdHasher, SessionId};

/// The sessions and calls of one account.
#[derive(Debug, Default)]
pub(super) struct OfAccount {
    sessions: HashSet<SessionId, BuildHasherDefault<IdHasher>>,
    /// Sessions that had not been used when they were added. Some of them may have ended, or may
    /// have been used since.
    fresh: VecDeque<SessionId>,
    /// Sessions that were idle at the scan, with the time since when.
    rested: VecDeque<(Tick, SessionId)>,
    /// `true` if there are sessions that the list does not contain yet.
    unlisted: bool,
    /// The time of a scan that found none of them idle.
    pub(super) scanned_in_vain: Option<Tick>,
    /// Calls in flight.
    pub(super) calls: Arc<AtomicUsize>,
}

/// The session that is evicted next, if it has not changed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    Unused(SessionId),
    RestedSince(SessionId, Tick),
}

/// The number of surplus entries up to which those of ended sessions are not worth removing.
const FEW: usize = 16;

impl OfAccount {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.sessions.iter().copied().collect()
    }

    /// Adds a session that has not been used.
    pub(super) fn add_unused(&mut self, session: SessionId) {
        self.sessions.insert(session);
        if self.fresh.len() > 2 * self.sessions.len() + FEW {
            self.fresh.retain(|id| self.sessions.contains(id));
        }
        self.fresh.push_back(session);
    }

    /// Adds a session that may have been used, as the restoration from a journal does.
    #[cfg(feature = "file")]
    pub(super) fn add(&mut self, session: SessionId) {
        self.sessions.insert(session);
        self.unlisted = true;
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Takes the next session out of the list.
    pub(super) fn next(&mut self) -> Option<Next> {
        if self.unlisted {
            return None;
        }
        if let Some(session) = self.fresh.pop_front() {
            return Some(Next::Unused(session));
        }
        self.rested.pop_front().map(|(since, session)| Next::RestedSince(session, since))
    }

    /// Replaces the list by a scan of idle sessions: if they were used, and since when they are
    /// idle. Sessions that were added during the scan are kept.
    pub(super) fn list(&mut self, mut resting: Vec<(bool, Tick, SessionId)>, now: Tick) {
        resting.sort_unstable();
        self.unlisted = false;
        self.scanned_in_vain = resting.is_empty().then_some(now);
        let used = resting.iter().position(|(used, ..)| *used).unwrap_or(resting.len());
        self.rested = resting.split_off(used).into_iter().map(|(_, since, session)| (since, session)).collect();
        let newer = std::mem::take(&mut self.fresh);
        self.fresh = resting.into_iter().map(|(_, _, session)| session).chain(newer).collect();
    }
}
