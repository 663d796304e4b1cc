//! The expiry queues: the order in which idle sessions are checked, because they may have expired
//! or another session needs their capacity.
//!
//! Sessions that were never used since they were opened have a queue of their own. They are evicted
//! first, so that a flood of new sessions evicts itself and not the sessions that clients work
//! with.
//!
//! The key of a session in a queue is the time at which it was last *seen* idle, not the time of
//! its last use. So a call does not touch the queue. The session at the front is checked, and
//! requeued under its true time if it was used since. Each session is thus checked about once in an
//! idle timeout, however busy it is.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Tick;
use crate::identity::SessionId;
use crate::store::Ended;

#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// Sessions that were not used since they were opened, as far as is known, by that time.
    fresh: BTreeSet<(Tick, SessionId)>,
    rest: BTreeSet<(Tick, SessionId)>,
    /// Sessions by the time at which they were opened; filled only if sessions have a maximum age.
    age: BTreeSet<(Tick, SessionId)>,
    /// Sessions that retain finished streams, by the time at which the first of them finished.
    finished: BTreeSet<(Tick, SessionId)>,
    /// The number of scans that have begun, and of those that are running.
    checks: (u64, usize),
    /// Sessions that ended and that no caller has received yet.
    pub(super) unreported: Vec<Ended>,
}

/// A session that was taken out of its queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) session: SessionId,
    /// `true` if it was known as used.
    pub(super) used: bool,
}

/// A scan of idle sessions.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpiryCheck {
    number: u64,
    alone: bool,
}

impl Expiry {
    pub(super) fn opened(&mut self, session: SessionId, now: Tick, ages: bool) {
        self.fresh.insert((now, session));
        if ages {
            self.age.insert((now, session));
        }
    }

    #[cfg(feature = "file")]
    pub(super) fn restored(&mut self, session: SessionId, queued: Tick, opened: Tick, used: bool) {
        self.requeue(Candidate { session, used }, queued);
        // Until a node joins, it is unknown if sessions have a maximum age.
        self.age.insert((opened, session));
    }

    pub(super) fn ended(&mut self, session: SessionId, queued: Tick, opened: Tick, kept: Option<Tick>) {
        self.fresh.remove(&(queued, session));
        self.rest.remove(&(queued, session));
        self.age.remove(&(opened, session));
        if let Some(kept) = kept {
            self.finished.remove(&(kept, session));
        }
    }

    pub(super) fn requeue(&mut self, Candidate { session, used }: Candidate, queued: Tick) {
        let queue = if used { &mut self.rest } else { &mut self.fresh };
        queue.insert((queued, session));
    }

    /// Begins a scan, which takes sessions out and puts them back.
    pub(super) fn begin_check(&mut self) -> ExpiryCheck {
        let (begun, going_on) = &mut self.checks;
        *begun += 1;
        *going_on += 1;
        ExpiryCheck { number: *begun, alone: *going_on == 1 }
    }

    /// Ends a scan, before it puts sessions back. Returns `true` if it saw every session: the
    /// queues are empty, and no other scan has taken out a session in the meantime.
    pub(super) fn end_check(&mut self, check: ExpiryCheck) -> bool {
        self.checks.1 -= 1;
        check.alone && check.number == self.checks.0 && self.fresh.is_empty() && self.rest.is_empty()
    }

    /// Takes out a session that is due: the oldest that was never used, or else the one that has
    /// been idle longest.
    pub(super) fn rested(&mut self, due: impl Fn(Tick) -> bool) -> Option<Candidate> {
        self.first_of(false, &due).or_else(|| self.first_of(true, &due))
    }

    /// Takes out the oldest session that was never used, as far as is known.
    pub(super) fn unused(&mut self) -> Option<Candidate> {
        self.first_of(false, |_| true)
    }

    fn first_of(&mut self, used: bool, due: impl Fn(Tick) -> bool) -> Option<Candidate> {
        let queue = if used { &mut self.rest } else { &mut self.fresh };
        let (since, _) = queue.first()?;
        due(*since).then(|| queue.pop_first()).flatten().map(|(_, session)| Candidate { session, used })
    }

    /// Takes out the oldest session, if it is old enough.
    pub(super) fn aged(&mut self, at_least: Duration, now: Tick) -> Option<SessionId> {
        let first = self.age.first()?;
        (first.0.after(at_least) <= now).then(|| self.age.pop_first()).flatten().map(|(_, session)| session)
    }

    pub(super) fn keeps_finished(&mut self, session: SessionId, since: Tick) {
        self.finished.insert((since, session));
    }

    /// Takes out the session whose finished streams were retained longest, if that is long enough.
    pub(super) fn kept(&mut self, at_least: Duration, now: Tick) -> Option<SessionId> {
        let first = self.finished.first()?;
        (first.0.after(at_least) <= now).then(|| self.finished.pop_first()).flatten().map(|(_, session)| session)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty()
            && self.rest.is_empty()
            && self.age.is_empty()
            && self.finished.is_empty()
            && self.unreported.is_empty()
    }
}
