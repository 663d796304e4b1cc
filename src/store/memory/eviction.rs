//! Creation, eviction and expiry: sessions that are created, and those that end for them or because
//! they have expired.
//!
//! At the limit of all sessions, one is evicted in this order:
//!
//! 1. Sessions that were never used, the oldest first.
//! 2. Sessions of the account that has the most, more than one. The one that has been idle longest
//!    goes first, so a client that opens many sessions and uses each of them evicts its own.
//! 3. The session that has been idle longest of all.
//!
//! A session counts against the limits of its account and of the engine before it is in the map,
//! until it is removed. At a limit, a search that finds no idle session has to check all of them.
//! It is done once, and not again before one of them may have become idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::mapref::entry::Entry;

use super::expiry::{Candidate, Expiry};
use super::order::Next;
use super::record::Record;
use super::{Marked, Result, Shared};
use crate::clock::Tick;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Account, SessionId};
use crate::store::journal::{Change, Journal, Notes};
use crate::store::policy::Share;
use crate::store::{Create, EndReason, Ended, Policy, Signal};

/// The number of the largest accounts that are searched for an idle session.
const LARGEST: usize = 4;

/// The pause before an account is scanned again, if none of its sessions was idle.
const RESCAN_PAUSE: Duration = Duration::from_secs(1);

/// The result of checking a session that seemed idle.
enum Found {
    Ended(Ended),
    /// It was used since and is requeued, or it no longer exists.
    Elsewhere,
    /// It has calls in flight or readers.
    Busy,
}

impl<J: Journal> Shared<J> {
    pub(in crate::store) fn create(&self, create: Create) -> Marked<Vec<Ended>, J> {
        // Checked before anything is evicted for it. Of two concurrent creations with the same id,
        // the map admits one.
        if self.sessions.contains_key(&create.info.id) {
            return (Err(StoreError::new(StoreErrorKind::Conflict)), self.journal.newest());
        }
        let mut evicted = Vec::new();
        let created = self.enter(create, &mut evicted);
        if created.is_err() && !evicted.is_empty() {
            // They have ended nevertheless, so the next sweep returns them.
            self.expiry().unreported.append(&mut evicted);
        }
        (created.map(|()| evicted), self.journal.newest())
    }

    fn enter(&self, create: Create, evicted: &mut Vec<Ended>) -> Result<()> {
        let (policy, now) = (self.policy(), self.clock.now());
        let info = Arc::clone(&create.info);
        let account = info.account();
        let usage = match &account {
            Some(account) => Some(self.place_of(account, info.id, policy, evicted)?),
            None => None,
        };
        let placed = self.place(policy, now, evicted).and_then(|()| {
            let vacant = match self.sessions.entry(info.id) {
                Entry::Occupied(_) => false,
                Entry::Vacant(vacant) => {
                    let mut notes = J::Notes::default();
                    let mut record = vacant.insert(Box::new(Record::new(create, usage, now, &mut notes)));
                    self.journal.keep(Some(info.id), notes, &mut record.mark);
                    true
                }
            };
            if vacant {
                return Ok(());
            }
            self.count.fetch_sub(1, Ordering::Relaxed);
            Err(StoreError::new(StoreErrorKind::Conflict))
        });
        if let (Err(_), Some(account)) = (&placed, &account) {
            self.forget_of(account, info.id);
        }
        placed?;
        self.expiry().opened(info.id, now, policy.lifetime.is_some());
        self.idle.mark();
        Ok(())
    }

    /// Counts a session against the limit of its account. Returns the counter of the account's
    /// calls.
    fn place_of(
        &self,
        account: &Account,
        session: SessionId,
        policy: &Policy,
        evicted: &mut Vec<Ended>,
    ) -> Result<Arc<AtomicUsize>> {
        let Share { sessions: limit, full, .. } = policy.share_of(account);
        loop {
            {
                let mut of = self.accounts.entry(account.clone()).or_default();
                if of.len() < limit {
                    of.add_unused(session);
                    return Ok(Arc::clone(&of.calls));
                }
            }
            let ended = self.evict_of(account, self.clock.now());
            let is_full = ended.is_none() && self.accounts.get(account).is_some_and(|of| of.len() >= limit);
            if is_full {
                self.forget_of(account, session);
                return Err(StoreError::new(full));
            }
            evicted.extend(ended);
        }
    }

    /// Counts a session against the limit of the engine.
    fn place(&self, policy: &Policy, now: Tick, evicted: &mut Vec<Ended>) -> Result<()> {
        let one_more = |count: usize| (count < policy.max_sessions).then_some(count + 1);
        while self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            let ended = self.evict_for_all(now);
            if ended.is_none() && self.count.load(Ordering::Relaxed) >= policy.max_sessions {
                return Err(StoreError::new(StoreErrorKind::Full));
            }
            evicted.extend(ended);
        }
        Ok(())
    }

    fn evict_of(&self, account: &Account, now: Tick) -> Option<Ended> {
        let mut scanned = false;
        loop {
            let next = self.accounts.get_mut(account).and_then(|mut of| of.next());
            let ended = match next {
                Some(Next::Unused(session)) => {
                    self.end_if(session, EndReason::Evicted, |record| !record.used && record.is_idle())
                }
                Some(Next::RestedSince(session, since)) => self.end_if(session, EndReason::Evicted, |record| {
                    record.used && record.touched == since && record.is_idle()
                }),
                None if scanned => return None,
                None => {
                    self.check_all_of(account, now);
                    scanned = true;
                    None
                }
            };
            if ended.is_some() {
                return ended;
            }
        }
    }

    fn check_all_of(&self, account: &Account, now: Tick) {
        let sessions = self.accounts.get(account).map(|of| of.ids()).unwrap_or_default();
        let resting = |id: SessionId| {
            let record = self.sessions.get(&id)?;
            record.is_idle().then_some((record.used, record.touched, id))
        };
        let resting = sessions.into_iter().filter_map(resting).collect();
        if let Some(mut of) = self.accounts.get_mut(account) {
            of.list(resting, now);
        }
    }

    /// Evicts a session of any account.
    fn evict_for_all(&self, now: Tick) -> Option<Ended> {
        if !self.idle.may_exist() {
            return None;
        }
        let unused = self.end_rested(EndReason::Evicted, now, 1, Expiry::unused).pop();
        let ended = unused.or_else(|| self.evict_of_largest(now));
        ended.or_else(|| self.end_rested(EndReason::Evicted, now, 1, |expiry| expiry.rested(|_| true)).pop())
    }

    /// Evicts an idle session of the account that has the most, more than one. If none is idle, the
    /// next account is searched.
    fn evict_of_largest(&self, now: Tick) -> Option<Ended> {
        let mut largest: Vec<(usize, Account)> = Vec::new();
        for of in self.accounts.iter().filter(|of| of.len() > 1) {
            let in_vain = of.scanned_in_vain.is_some_and(|scanned| scanned.after(RESCAN_PAUSE) > now);
            if !in_vain && (largest.len() < LARGEST || largest.last().is_some_and(|(least, _)| *least < of.len())) {
                largest.push((of.len(), of.key().clone()));
                largest.sort_by_key(|(sessions, _)| std::cmp::Reverse(*sessions));
                largest.truncate(LARGEST);
            }
        }
        largest.into_iter().find_map(|(_, account)| self.evict_of(&account, now))
    }

    /// Ends up to `limit` sessions that are taken out of their queues and are still idle.
    fn end_rested(
        &self,
        reason: EndReason,
        now: Tick,
        limit: usize,
        next: impl Fn(&mut Expiry) -> Option<Candidate>,
    ) -> Vec<Ended> {
        let (mut ended, mut busy) = (Vec::new(), Vec::new());
        let check = {
            let mut expiry = self.expiry();
            self.idle.begin_scan();
            expiry.begin_check()
        };
        while ended.len() < limit {
            let Some(candidate) = next(&mut self.expiry()) else { break };
            match self.check(candidate, reason, now) {
                Found::Ended(one) => ended.push(one),
                // A busy session has been used.
                Found::Busy => busy.push(Candidate { used: true, ..candidate }),
                Found::Elsewhere => {}
            }
        }
        let mut expiry = self.expiry();
        let saw_all = expiry.end_check(check) && ended.is_empty();
        // Requeued only now, or this loop could check them again indefinitely.
        busy.into_iter().for_each(|candidate| expiry.requeue(candidate, now));
        if saw_all {
            self.idle.end_scan_in_vain();
        }
        drop(expiry);
        ended
    }

    /// Ends a session that is idle and was last used at the time that the queue knows. Otherwise
    /// requeues it under its true time.
    fn check(&self, candidate: Candidate, reason: EndReason, now: Tick) -> Found {
        let session = candidate.session;
        let rests = |record: &Record<J::Mark>| {
            let is_known = record.touched == record.queued && record.used == candidate.used;
            is_known && record.is_idle()
        };
        if let Some(ended) = self.end_if(session, reason, rests) {
            return Found::Ended(ended);
        }
        let (rested_since, used) = {
            let Some(mut record) = self.sessions.get_mut(&session) else { return Found::Elsewhere };
            let since = record.is_idle().then_some(record.touched);
            record.queued = since.unwrap_or(now);
            (since, record.used)
        };
        let Some(since) = rested_since else { return Found::Busy };
        self.expiry().requeue(Candidate { session, used }, since);
        Found::Elsewhere
    }

    pub(super) fn end_if(
        &self,
        session: SessionId,
        reason: EndReason,
        condition: impl Fn(&Record<J::Mark>) -> bool,
    ) -> Option<Ended> {
        let ends = |_: &SessionId, record: &mut Box<Record<J::Mark>>| {
            let ends = condition(record);
            if ends {
                let mut notes = J::Notes::default();
                notes.note(|| Change::Ended);
                self.journal.keep(Some(session), notes, &mut record.mark);
            }
            ends
        };
        let (_, record) = self.sessions.remove_if_mut(&session, ends)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.expiry().ended(session, record.queued, record.opened, record.kept);
        self.budget.account(record.bytes(), 0);
        let info = Arc::clone(&record.info);
        // The record goes first, because it holds a reference to the entry of its account.
        drop(record);
        if let Some(account) = info.account() {
            self.forget_of(&account, session);
        }
        self.signal_all(&Signal::Ended { session, reason });
        Some(Ended { info, reason })
    }

    /// Removes a session from those of its account.
    fn forget_of(&self, account: &Account, session: SessionId) {
        if let Some(mut of) = self.accounts.get_mut(account) {
            of.remove(session);
        }
        self.accounts.remove_if(account, |_, of| of.len() == 0 && Arc::strong_count(&of.calls) == 1);
    }

    pub(in crate::store) fn expire(&self) -> Marked<Vec<Ended>, J> {
        self.sweep_tasks();
        let (policy, now) = (self.policy(), self.clock.now());
        let mut ended = std::mem::take(&mut self.expiry().unreported);
        if let Some(idle) = policy.idle_timeout {
            ended.extend(
                self.end_rested(EndReason::Idle, now, usize::MAX, |expiry| {
                    expiry.rested(|tick| tick.after(idle) <= now)
                }),
            );
        }
        if let Some(lifetime) = policy.lifetime {
            while let Some(session) = { self.expiry().aged(lifetime, now) } {
                ended.extend(self.end_if(session, EndReason::Lifetime, |_| true));
            }
        }
        let mut keeping = Vec::new();
        while let Some(session) = { self.expiry().kept(policy.finished_for, now) } {
            let next = self.sessions.get_mut(&session).and_then(|mut record| {
                let mut notes = J::Notes::default();
                let before = record.bytes();
                let next = record.forget_finished(policy, now, &mut notes);
                self.journal.keep(Some(session), notes, &mut record.mark);
                self.budget.account(before, record.bytes());
                next
            });
            keeping.extend(next.map(|next| (next, session)));
        }
        if !keeping.is_empty() {
            let mut expiry = self.expiry();
            keeping.into_iter().for_each(|(next, session)| expiry.keeps_finished(session, next));
        }
        let mark = if ended.is_empty() { J::Mark::default() } else { self.journal.newest() };
        (Ok(ended), mark)
    }
}
