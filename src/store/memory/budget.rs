//! How many bytes the streams of all sessions keep together, and which session makes room where that is too much.
//!
//! 1. A step takes the bytes before it writes them, and releases afterwards what it did not keep, or made go: the sum
//!    is exact, and a step that writes nothing touches no counter.
//! 2. Over the budget sessions make room, the largest first: what a reader was given of all of them, then
//!    notifications that no reader was given, then finished streams with an answer that no reader was given.
//! 3. One look at all sessions makes a list, and the steps after it go on where the one before stopped. A new list is made
//!    after a pause: a step costs the same however many sessions there are, also where nothing can be given up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::record::{Class, Record};
use crate::clock::Tick;
use crate::identity::SessionId;
use crate::store::journal::Journal;
use crate::store::{Event, Policy};

/// From one look at all sessions to the next: a hundred times what it takes with ten thousand of them.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Budget {
    kept: AtomicUsize,
    round: Mutex<Round>,
}

/// Who makes room, and of what.
#[derive(Debug, Default)]
struct Round {
    began: Option<Tick>,
    /// The largest first.
    sessions: Vec<SessionId>,
    /// The next of them, and what it gives up.
    at: usize,
    class: Class,
}

impl Round {
    fn next(&mut self) -> Option<(SessionId, Class)> {
        loop {
            if let Some(session) = self.sessions.get(self.at) {
                return Some((*session, self.class));
            }
            self.class = self.class.next()?;
            self.at = 0;
            if self.sessions.is_empty() {
                return None;
            }
        }
    }

    /// A session has nothing of a kind any more.
    fn pass(&mut self, session: SessionId, class: Class) {
        if self.class == class && self.sessions.get(self.at) == Some(&session) {
            self.at += 1;
        }
    }
}

/// The bytes that events need room for. A small answer always has room: it may be what says that there is none.
pub(super) fn demand(events: &[Event]) -> usize {
    events.iter().filter(|event| !Policy::is_always_kept(event)).map(|event| event.payload.len()).sum()
}

impl Budget {
    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was so many bytes is so many now.
    pub(super) fn account(&self, before: usize, after: usize) {
        if after > before {
            self.kept.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.kept.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

impl<J: Journal> Shared<J> {
    /// Takes bytes that are to be written. Returns how many answers were lost for it, or `None` where there is no room.
    pub(super) fn take_room(&self, bytes: usize) -> Option<usize> {
        if bytes == 0 {
            return Some(0);
        }
        let limit = self.policy().kept_bytes;
        let before = self.budget.kept.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= limit {
            return Some(0);
        }
        let lost = if bytes > limit { None } else { self.make_room(limit) };
        if lost.is_none() {
            self.budget.account(bytes, 0);
        }
        lost
    }

    fn make_room(&self, limit: usize) -> Option<usize> {
        let now = self.clock.now();
        let is_due = self.budget.round().began.is_none_or(|began| began.after(PAUSE) <= now);
        if is_due {
            let sessions = self.largest_first();
            *self.budget.round() = Round { began: Some(now), sessions, ..Round::default() };
        }
        let mut lost = 0;
        loop {
            let excess = self.budget.kept.load(Ordering::Relaxed).saturating_sub(limit);
            if excess == 0 {
                return Some(lost);
            }
            let next = { self.budget.round().next() };
            let (session, class) = next?;
            let (freed, answers) = self.give_up(session, class, excess);
            lost += answers;
            if freed < excess {
                self.budget.round().pass(session, class);
            }
        }
    }

    fn largest_first(&self) -> Vec<SessionId> {
        let sizes = self.sessions.iter().map(|record| (record.bytes(), *record.key()));
        let mut sizes: Vec<_> = sizes.filter(|(bytes, _)| *bytes > 0).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.into_iter().map(|(_, session)| session).collect()
    }

    /// Returns the bytes that a session gave up, and how many answers were lost with them.
    fn give_up(&self, session: SessionId, class: Class, wanted: usize) -> (usize, usize) {
        let Some(mut record) = self.sessions.get_mut(&session) else { return (0, 0) };
        let mut notes = J::Notes::default();
        let before = record.bytes();
        let lost = Record::give_up(&mut record, class, wanted, &mut notes);
        self.journal.keep(Some(session), notes, &mut record.mark);
        let after = record.bytes();
        drop(record);
        self.budget.account(before, after);
        (before - after, lost)
    }
}
