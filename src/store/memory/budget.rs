//! The budget: the bytes that the streams of all sessions keep together, and the sessions that
//! release some when it is exceeded.
//!
//! 1. An operation reserves bytes before it writes them. Afterwards it releases those that it did
//!    not keep, or that it freed. The sum is exact, and an operation that writes nothing touches no
//!    counter.
//! 2. Over the budget sessions release bytes. Those of the account whose sessions keep the most go
//!    first, its largest session first. All sessions release what readers have received. Then they
//!    release unread notifications, and finally finished streams with an unread response. A session
//!    without an account counts as an account of its own.
//! 3. One scan of all sessions makes a list, and later operations continue where the previous one
//!    stopped. A new list is made only after a pause. So an operation costs the same for any number
//!    of sessions, even if nothing can be released.
//! 4. Once the list is exhausted, a session that is used is appended to it. So bytes that it can
//!    release since then are found without a new list.
//! 5. An operation that frees capacity reports the responses that were lost, even if the capacity
//!    did not suffice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::record::{Class, Record};
use crate::clock::Tick;
use crate::identity::{Account, SessionId};
use crate::store::Event;
use crate::store::journal::Journal;

/// The pause between two scans of all sessions: a hundred times what a scan takes with ten thousand
/// of them.
const RESCAN_PAUSE: Duration = Duration::from_millis(100);

/// The maximum number of used sessions that are noted, until the list is processed again. So many
/// are processed in a moment.
const AGAIN: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Budget {
    kept: AtomicUsize,
    /// `true` if the sessions that are used are noted.
    notes_use: AtomicBool,
    round: Mutex<ReleaseList>,
}

/// The list of sessions that release bytes, and the position in it.
#[derive(Debug, Default)]
struct ReleaseList {
    began: Option<Tick>,
    /// The sessions, those of the largest account first.
    sessions: Vec<SessionId>,
    /// The position of the next session, and what it releases.
    at: usize,
    class: Class,
    /// The sessions that were used since the list was made or exhausted.
    again: Vec<SessionId>,
    /// Those of them that have released what was read.
    later: Vec<SessionId>,
}

impl ReleaseList {
    fn next(&mut self) -> Option<(SessionId, Class)> {
        loop {
            if let Some(session) = self.sessions.get(self.at) {
                // What was read since the list was made goes before an unread response.
                let used = if self.class == Class::Answers { self.again.pop() } else { None };
                self.later.extend(used);
                return Some(used.map_or((*session, self.class), |used| (used, Class::Given)));
            }
            self.at = 0;
            match self.class.next().filter(|_| !self.sessions.is_empty()) {
                Some(class) => self.class = class,
                None => {
                    self.later.append(&mut self.again);
                    (self.sessions, self.class) = (std::mem::take(&mut self.later), Class::default());
                    if self.sessions.is_empty() {
                        return None;
                    }
                }
            }
        }
    }

    /// Moves on to the next session, because this one has nothing of a class any more.
    fn pass(&mut self, session: SessionId, class: Class) {
        if self.class == class && self.sessions.get(self.at) == Some(&session) {
            self.at += 1;
        }
    }
}

/// Returns the bytes that events need to reserve. A small response needs none, because it may be
/// the one that reports the lack of capacity.
pub(super) fn demand(events: &[Event]) -> usize {
    events.iter().filter(|event| !event.is_always_kept()).map(|event| event.payload.len()).sum()
}

impl Budget {
    fn round(&self) -> MutexGuard<'_, ReleaseList> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces a number of bytes by another one in the sum.
    pub(super) fn account(&self, before: usize, after: usize) {
        if after > before {
            self.kept.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.kept.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Notes that a session was used, and may have bytes to release now.
    pub(super) fn stirred(&self, session: SessionId) {
        if !self.notes_use.load(Ordering::Relaxed) {
            return;
        }
        let mut round = self.round();
        if round.again.len() >= AGAIN {
            self.notes_use.store(false, Ordering::Relaxed);
        } else if round.again.last() != Some(&session) {
            round.again.push(session);
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

impl<J: Journal> Shared<J> {
    /// Reserves bytes that will be written. Returns the number of responses that were lost to free
    /// them.
    ///
    /// # Errors
    ///
    /// If the capacity does not suffice, the number of responses that were lost in vain.
    pub(super) fn reserve(&self, bytes: usize) -> Result<usize, usize> {
        if bytes == 0 {
            return Ok(0);
        }
        let limit = self.policy().kept_bytes;
        let before = self.budget.kept.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= limit {
            return Ok(0);
        }
        let lost = if bytes > limit { Err(0) } else { self.free_capacity(limit) };
        if lost.is_err() {
            self.budget.account(bytes, 0);
        }
        lost
    }

    fn free_capacity(&self, limit: usize) -> Result<usize, usize> {
        let now = self.clock.now();
        let is_due = self.budget.round().began.is_none_or(|began| began.after(RESCAN_PAUSE) <= now);
        if is_due {
            let sessions = self.largest_first();
            self.budget.notes_use.store(true, Ordering::Relaxed);
            *self.budget.round() = ReleaseList { began: Some(now), sessions, ..ReleaseList::default() };
        }
        let mut lost = 0;
        // Each session once for each class, and those that others use meanwhile, but not forever.
        let mut steps = 3 * self.count.load(Ordering::Relaxed) + 4 * AGAIN;
        loop {
            let excess = self.budget.kept.load(Ordering::Relaxed).saturating_sub(limit);
            if excess == 0 {
                return Ok(lost);
            }
            steps = steps.saturating_sub(1);
            let next = if steps > 0 { self.budget.round().next() } else { None };
            let Some((session, class)) = next else {
                self.budget.notes_use.store(true, Ordering::Relaxed);
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

    /// Makes a session release bytes. Returns how many it released, and the number of responses
    /// that were lost with them.
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
