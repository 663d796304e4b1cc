//! How many bytes the streams of all sessions keep together, and which session makes room where that is too much.
//!
//! 1. A step takes the bytes before it writes them, and releases afterwards what it did not keep, or made go: the sum
//!    is exact, and a step that writes nothing touches no counter.
//! 2. Over the budget sessions make room, those of the account first whose sessions keep most together, its largest
//!    first: what a reader was given of all of them, then notifications that no reader was given, then finished
//!    streams with an answer that no reader was given. A session without an account stands for itself.
//! 3. One look at all sessions makes a list, and the steps after it go on where the one before stopped. A new list is made
//!    after a pause: a step costs the same however many sessions there are, also where nothing can be given up.
//! 4. Once a list is used up, a session in which something happens puts itself at its end: what it can give up since
//!    then is found without a new list.
//! 5. Answers that were lost are told to the step that made room, also where that did not suffice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::record::{Class, Record};
use crate::clock::Tick;
use crate::identity::{Account, SessionId};
use crate::store::journal::Journal;
use crate::store::{Event, Policy};

/// From one look at all sessions to the next: a hundred times what it takes with ten thousand of them.
const PAUSE: Duration = Duration::from_millis(100);

/// How many sessions put themselves at the end of a list until it is gone through again: as many as are gone through
/// in a moment.
const AGAIN: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Budget {
    kept: AtomicUsize,
    /// The list is used up.
    used_up: AtomicBool,
    round: Mutex<Round>,
}

/// Who makes room, and of what.
#[derive(Debug, Default)]
struct Round {
    began: Option<Tick>,
    /// The largest account first.
    sessions: Vec<SessionId>,
    /// The next of them, and what it gives up.
    at: usize,
    class: Class,
    /// In which something happened since the list was used up.
    again: Vec<SessionId>,
}

impl Round {
    fn next(&mut self) -> Option<(SessionId, Class)> {
        loop {
            if let Some(session) = self.sessions.get(self.at) {
                return Some((*session, self.class));
            }
            self.at = 0;
            match self.class.next().filter(|_| !self.sessions.is_empty()) {
                Some(class) => self.class = class,
                None if self.again.is_empty() => {
                    self.sessions = Vec::new();
                    return None;
                }
                None => (self.sessions, self.class) = (std::mem::take(&mut self.again), Class::default()),
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

    /// Something happened in a session: it may have something to give up now.
    pub(super) fn stirred(&self, session: SessionId) {
        if !self.used_up.load(Ordering::Relaxed) {
            return;
        }
        let mut round = self.round();
        if round.again.len() < AGAIN && round.again.last() != Some(&session) {
            round.again.push(session);
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

impl<J: Journal> Shared<J> {
    /// Takes bytes that are to be written. Returns how many answers were lost for it.
    ///
    /// # Errors
    ///
    /// Where there is no room, as many as were lost in vain.
    pub(super) fn take_room(&self, bytes: usize) -> Result<usize, usize> {
        if bytes == 0 {
            return Ok(0);
        }
        let limit = self.policy().kept_bytes;
        let before = self.budget.kept.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= limit {
            return Ok(0);
        }
        let lost = if bytes > limit { Err(0) } else { self.make_room(limit) };
        if lost.is_err() {
            self.budget.account(bytes, 0);
        }
        lost
    }

    fn make_room(&self, limit: usize) -> Result<usize, usize> {
        let now = self.clock.now();
        let is_due = self.budget.round().began.is_none_or(|began| began.after(PAUSE) <= now);
        if is_due {
            let sessions = self.largest_first();
            self.budget.used_up.store(false, Ordering::Relaxed);
            *self.budget.round() = Round { began: Some(now), sessions, ..Round::default() };
        }
        let mut lost = 0;
        loop {
            let excess = self.budget.kept.load(Ordering::Relaxed).saturating_sub(limit);
            if excess == 0 {
                return Ok(lost);
            }
            let next = { self.budget.round().next() };
            let Some((session, class)) = next else {
                self.budget.used_up.store(true, Ordering::Relaxed);
                return Err(lost);
            };
            let (freed, answers) = self.give_up(session, class, excess);
            lost += answers;
            if freed < excess {
                self.budget.round().pass(session, class);
            }
        }
    }

    fn largest_first(&self) -> Vec<SessionId> {
        let mut of_accounts: HashMap<Account, usize> = HashMap::new();
        let mut sizes = Vec::new();
        for record in self.sessions.iter().filter(|record| record.bytes() > 0) {
            let account = record.info.account();
            if let Some(account) = &account {
                *of_accounts.entry(account.clone()).or_default() += record.bytes();
            }
            sizes.push((account, record.bytes(), *record.key()));
        }
        let together = |account: Option<Account>| account.and_then(|account| of_accounts.get(&account).copied());
        let mut sizes: Vec<_> =
            sizes.into_iter().map(|(of, bytes, session)| (together(of).unwrap_or(bytes), bytes, session)).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.into_iter().map(|(.., session)| session).collect()
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
