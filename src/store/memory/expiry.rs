//! Decides which session is looked at next: the one that has rested longest, as far as is known.
//!
//! A session stands in a queue under the moment it was last *seen* at rest, not the moment it was
//! last used: a call does not touch the queue. Who comes to the front is looked at, and goes back
//! under its true moment if it was used since. Each session is thus looked at about once in an
//! idle timeout, however busy it is.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Tick;
use crate::identity::SessionId;
use crate::store::Ended;

#[derive(Debug, Default)]
pub(super) struct Expiry {
    rest: BTreeSet<(Tick, SessionId)>,
    /// By the moment they were opened; used only where sessions have a greatest age.
    age: BTreeSet<(Tick, SessionId)>,
    /// Sessions that keep finished streams, by the moment the first of them finished.
    finished: BTreeSet<(Tick, SessionId)>,
    /// Looks begun so far, and going on now.
    looks: (u64, usize),
    /// Sessions that ended without anybody having been told.
    pub(super) untold: Vec<Ended>,
}

/// A look at sessions at rest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    number: u64,
    alone: bool,
}

impl Expiry {
    pub(super) fn opened(&mut self, session: SessionId, now: Tick, ages: bool) {
        self.rest.insert((now, session));
        if ages {
            self.age.insert((now, session));
        }
    }

    #[cfg(feature = "file")]
    pub(super) fn restored(&mut self, session: SessionId, queued: Tick, opened: Tick) {
        self.rest.insert((queued, session));
        // Before anybody joined it is not known whether sessions have a greatest age.
        self.age.insert((opened, session));
    }

    pub(super) fn ended(&mut self, session: SessionId, queued: Tick, opened: Tick, kept: Option<Tick>) {
        self.rest.remove(&(queued, session));
        self.age.remove(&(opened, session));
        if let Some(kept) = kept {
            self.finished.remove(&(kept, session));
        }
    }

    pub(super) fn requeue(&mut self, session: SessionId, queued: Tick) {
        self.rest.insert((queued, session));
    }

    /// Somebody begins to take sessions out and put them back.
    pub(super) fn start_looking(&mut self) -> Look {
        let (begun, going_on) = &mut self.looks;
        *begun += 1;
        *going_on += 1;
        Look { number: *begun, alone: *going_on == 1 }
    }

    /// Whether that look, before it puts anything back, was at every session: nothing is left, and
    /// nobody else had taken one out meanwhile.
    pub(super) fn stop_looking(&mut self, look: Look) -> bool {
        self.looks.1 -= 1;
        look.alone && look.number == self.looks.0 && self.rest.is_empty()
    }

    /// Takes out the session that has rested longest, if its moment is due.
    pub(super) fn rested(&mut self, due: impl Fn(Tick) -> bool) -> Option<SessionId> {
        let (since, _) = self.rest.first()?;
        due(*since).then(|| self.rest.pop_first()).flatten().map(|(_, session)| session)
    }

    /// Takes out the oldest session, if it is old enough.
    pub(super) fn aged(&mut self, at_least: Duration, now: Tick) -> Option<SessionId> {
        let first = self.age.first()?;
        (first.0.after(at_least) <= now).then(|| self.age.pop_first()).flatten().map(|(_, session)| session)
    }

    pub(super) fn keeps_finished(&mut self, session: SessionId, since: Tick) {
        self.finished.insert((since, session));
    }

    /// Takes out the session whose finished streams were kept longest, if that is long enough.
    pub(super) fn kept(&mut self, at_least: Duration, now: Tick) -> Option<SessionId> {
        let first = self.finished.first()?;
        (first.0.after(at_least) <= now).then(|| self.finished.pop_first()).flatten().map(|(_, session)| session)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.age.is_empty() && self.finished.is_empty() && self.untold.is_empty()
    }
}
