//! Decides which session is looked at next: the one that has rested longest, as far as is known.
//!
//! A session stands in a queue under the moment it was last *seen* at rest, not the moment it was
//! last used: a call does not touch the queue. Who comes to the front is looked at, and goes back
//! under its true moment if it was used since. Each session is thus looked at about once in an
//! idle timeout, however busy it is.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::clock::Tick;
use crate::identity::SessionId;

#[derive(Debug, Default)]
pub(super) struct Expiry {
    rest: BTreeSet<(Tick, SessionId)>,
    /// By the moment they were opened; used only where sessions have a greatest age.
    age: BTreeSet<(Tick, SessionId)>,
    /// Sessions that keep finished streams, by the moment they were last looked at for it.
    finished: VecDeque<(Tick, SessionId)>,
}

impl Expiry {
    pub(super) fn opened(&mut self, session: SessionId, now: Tick, ages: bool) {
        self.rest.insert((now, session));
        if ages {
            self.age.insert((now, session));
        }
    }

    pub(super) fn ended(&mut self, session: SessionId, queued: Tick, opened: Tick) {
        self.rest.remove(&(queued, session));
        self.age.remove(&(opened, session));
    }

    pub(super) fn requeue(&mut self, session: SessionId, queued: Tick) {
        self.rest.insert((queued, session));
    }

    /// Takes out the session that has rested longest, if that is long enough.
    pub(super) fn rested(&mut self, at_least: Duration, now: Tick) -> Option<SessionId> {
        let first = self.rest.first()?;
        (first.0.after(at_least) <= now).then(|| self.rest.pop_first()).flatten().map(|(_, session)| session)
    }

    /// Takes out the oldest session, if it is old enough.
    pub(super) fn aged(&mut self, at_least: Duration, now: Tick) -> Option<SessionId> {
        let first = self.age.first()?;
        (first.0.after(at_least) <= now).then(|| self.age.pop_first()).flatten().map(|(_, session)| session)
    }

    pub(super) fn keeps_finished(&mut self, session: SessionId, now: Tick) {
        self.finished.push_back((now, session));
    }

    /// Takes out the session whose finished streams were kept longest, if that is long enough.
    pub(super) fn kept(&mut self, at_least: Duration, now: Tick) -> Option<SessionId> {
        let first = self.finished.front()?;
        (first.0.after(at_least) <= now).then(|| self.finished.pop_front()).flatten().map(|(_, session)| session)
    }
}
