//! The sessions of one account, and the order in which they make room: those that were never used first, the oldest
//! first, then the one that has rested longest.
//!
//! One look at all of them makes a list, and what makes room after it goes on where the list stands. What is used after
//! the look belongs behind all that the list has, so an entry that is not as it was then is left out. A new look
//! is needed only where the list is used up.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::clock::Tick;
use crate::identity::{IdHasher, SessionId};

/// What one account has.
#[derive(Debug, Default)]
pub(super) struct OfAccount {
    sessions: HashSet<SessionId, BuildHasherDefault<IdHasher>>,
    /// Not used when they were put here. Some of them may have ended, or were used since.
    fresh: VecDeque<SessionId>,
    /// At rest, since that moment, when they were looked at.
    rested: VecDeque<(Tick, SessionId)>,
    /// There are sessions that the list does not know yet.
    #[cfg(feature = "file")]
    unlisted: bool,
    /// When none of them was at rest.
    pub(super) looked_in_vain: Option<Tick>,
    /// Calls in flight.
    pub(super) calls: Arc<AtomicUsize>,
}

/// The one that makes room next, if it is still what it was.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    Unused(SessionId),
    RestedSince(SessionId, Tick),
}

/// Entries of sessions that ended, as many as these beyond the others, are not worth clearing.
const FEW: usize = 16;

impl OfAccount {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.sessions.iter().copied().collect()
    }

    /// A session comes in, and was not used yet.
    pub(super) fn add_unused(&mut self, session: SessionId) {
        self.sessions.insert(session);
        if self.fresh.len() > 2 * self.sessions.len() + FEW {
            self.fresh.retain(|id| self.sessions.contains(id));
        }
        self.fresh.push_back(session);
    }

    /// A session comes in that may have been used.
    #[cfg(feature = "file")]
    pub(super) fn add(&mut self, session: SessionId) {
        self.sessions.insert(session);
        self.unlisted = true;
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Takes the next one out of the list, if there is one.
    pub(super) fn next(&mut self) -> Option<Next> {
        #[cfg(feature = "file")]
        if self.unlisted {
            return None;
        }
        if let Some(session) = self.fresh.pop_front() {
            return Some(Next::Unused(session));
        }
        self.rested.pop_front().map(|(since, session)| Next::RestedSince(session, since))
    }

    /// A new list, of those at rest: since when, and whether they were used. Those that came in during the look stay.
    pub(super) fn list(&mut self, mut resting: Vec<(bool, Tick, SessionId)>, now: Tick) {
        resting.sort_unstable();
        #[cfg(feature = "file")]
        {
            self.unlisted = false;
        }
        self.looked_in_vain = resting.is_empty().then_some(now);
        let used = resting.iter().position(|(used, ..)| *used).unwrap_or(resting.len());
        self.rested = resting.split_off(used).into_iter().map(|(_, since, session)| (since, session)).collect();
        let newer = std::mem::take(&mut self.fresh);
        self.fresh = resting.into_iter().map(|(_, _, session)| session).chain(newer).collect();
    }
}
