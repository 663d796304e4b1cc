//! The operations on sessions: each takes the lock, changes the record under it, reports the
//! changes to the journal and then sends a signal.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::budget::demand;
use super::client_requests::Outcome;
use super::record::{Record, Wake};
use super::{Result, Shared};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId};
use crate::message::{RawJson, RequestId};
use crate::store::announcements::Topics;
use crate::store::journal::{Change, Journal, Notes};
use crate::store::{
    Announced, Append, Appended, Attach, Attached, Begin, Begun, Deliver, Delivered, EndReason, Ended, Event, Loaded,
    NodeId, Page, Policy, SessionSummary, SessionUpdate, Signal, SignalHandler, StateValue, StreamNo,
};

/// The result of an operation, with the position up to which the journal must be written before a
/// caller may receive it.
pub(in crate::store) type Marked<T, J> = (Result<T>, <J as Journal>::Mark);

fn unknown<T>() -> Result<T> {
    Err(StoreError::new(StoreErrorKind::NotFound))
}

/// Reports the number of responses that were lost for a failed operation, as a successful one does.
fn with_lost<T, M>((result, mark): (Result<T>, M), lost: usize) -> (Result<T>, M) {
    (result.map_err(|error| if lost > 0 { StoreError::after_losing(error.kind(), lost) } else { error }), mark)
}

impl<J: Journal> Shared<J> {
    /// Performs one operation on one session, then sends its signal.
    fn on<T>(
        &self,
        session: SessionId,
        operation: impl FnOnce(&mut Record<J::Mark>, &mut J::Notes) -> Result<(T, Wake)>,
    ) -> Marked<T, J> {
        self.on_with(session, 0, operation)
    }

    /// The same, with bytes of the budget that are already reserved.
    fn on_with<T>(
        &self,
        session: SessionId,
        reserved: usize,
        operation: impl FnOnce(&mut Record<J::Mark>, &mut J::Notes) -> Result<(T, Wake)>,
    ) -> Marked<T, J> {
        let (taken, mark) = {
            let Some(mut record) = self.sessions.get_mut(&session) else {
                self.budget.account(reserved, 0);
                return (unknown(), self.journal.newest());
            };
            let mut notes = J::Notes::default();
            let before = record.bytes();
            let taken = operation(&mut record, &mut notes);
            self.journal.keep(Some(session), notes, &mut record.mark);
            self.budget.account(before + reserved, record.bytes());
            (taken, record.mark)
        };
        self.budget.stirred(session);
        let value = taken.map(|(value, wake)| {
            self.wake(wake);
            value
        });
        (value, mark)
    }

    /// The same on behalf of a principal, if the session belongs to it.
    fn on_as<T>(
        &self,
        session: SessionId,
        principal: Option<&Principal>,
        operation: impl FnOnce(&mut Record<J::Mark>, &mut J::Notes) -> Result<(T, Wake)>,
    ) -> Marked<T, J> {
        self.on(session, |record, notes| if record.admits(principal) { operation(record, notes) } else { unknown() })
    }

    fn wake(&self, wake: Wake) {
        if let Some((node, signal)) = wake {
            self.signal_node(node, signal);
        }
    }

    pub(in crate::store) fn join(&self, handler: Arc<dyn SignalHandler>, policy: &Policy) -> NodeId {
        let node = self.new_node();
        if self.policy.get_or_init(|| policy.clone()) != policy {
            tracing::warn!("services that share a session engine have different limits; the first one's count");
        }
        self.add_handler(node, handler);
        node
    }

    pub(in crate::store) fn leave(&self, node: NodeId) {
        self.remove_handler(node);
        let (policy, now) = (self.policy(), self.clock.now());
        let (mut wakes, mut keeping) = (Vec::new(), Vec::new());
        for mut record in self.sessions.iter_mut() {
            let mut notes = J::Notes::default();
            let before = record.bytes();
            wakes.extend(record.abandon(node, policy, now, &mut notes));
            self.budget.account(before, record.bytes());
            let session = record.info.id;
            keeping.extend(record.first_kept(now).then_some(session));
            self.journal.keep(Some(session), notes, &mut record.mark);
        }
        if !keeping.is_empty() {
            let mut expiry = self.expiry();
            keeping.into_iter().for_each(|session| expiry.keeps_finished(session, now));
        }
        self.idle.mark();
        wakes.into_iter().for_each(|wake| self.wake(wake));
        self.orphan_tasks(node);
    }

    pub(in crate::store) fn load(&self, session: SessionId, principal: Option<&Principal>) -> Marked<Loaded, J> {
        let now = self.clock.now();
        self.on_as(session, principal, |record, _| {
            record.touch(now);
            let (info, epoch, revision) = (Arc::clone(&record.info), record.epoch, record.revision());
            Ok((Loaded { info, epoch, revision }, None))
        })
    }

    pub(in crate::store) fn begin(&self, begin: &Begin<'_>) -> Marked<Begun, J> {
        let now = self.clock.now();
        self.on_as(begin.session, begin.principal, |record, notes| {
            let stream = record.begin(begin, self.policy(), now, notes)?;
            Ok((Begun { stream, revision: record.revision() }, None))
        })
    }

    pub(in crate::store) fn finish(&self, session: SessionId, stream: StreamNo) -> Marked<(), J> {
        let now = self.clock.now();
        let finished = self.on(session, |record, notes| Ok(((), record.finish(stream, now, notes))));
        self.idle.mark();
        finished
    }

    pub(in crate::store) fn append(&self, append: Append) -> Marked<Appended, J> {
        let (session, close, now) = (append.session, append.close, self.clock.now());
        let reserved = demand(&append.events);
        let lost = match self.reserve(reserved) {
            Ok(lost) => lost,
            Err(lost) => return (Err(StoreError::after_losing(StoreErrorKind::Full, lost)), self.journal.newest()),
        };
        let mut first_kept = false;
        let appended = self.on_with(session, reserved, |record, notes| {
            let mut done = record.append(append, self.policy(), now, notes)?;
            done.0.lost += lost;
            first_kept = close && record.first_kept(now);
            Ok(done)
        });
        if close && appended.0.is_ok() {
            self.idle.mark();
        }
        if first_kept {
            self.expiry().keeps_finished(session, now);
        }
        with_lost(appended, lost)
    }

    pub(in crate::store) fn publish(&self, session: SessionId, node: NodeId, event: Event) -> Marked<Appended, J> {
        // Nothing is evicted for an event that will not be stored.
        if self.sessions.get(&session).is_none_or(|record| !record.has_standalone()) {
            return self.on(session, |record, notes| Ok(record.publish(node, event, self.policy(), notes)));
        }
        let reserved = event.payload.len();
        let lost = match self.reserve(reserved) {
            Ok(lost) => lost,
            Err(lost) => {
                let dropped = Appended { read: false, unread: 0, dropped: 1, lost, cancelled: false };
                return with_lost(self.on(session, |_, _| Ok((dropped, None))), lost);
            }
        };
        let published = self.on_with(session, reserved, |record, notes| {
            let mut done = record.publish(node, event, self.policy(), notes);
            done.0.lost += lost;
            Ok(done)
        });
        with_lost(published, lost)
    }

    pub(in crate::store) fn deliver(&self, deliver: Deliver) -> Marked<Delivered, J> {
        let session = deliver.session;
        // Nothing is evicted for events that will not be stored.
        if self.sessions.get(&session).is_none_or(|record| !record.stores(&deliver)) {
            return self.on(session, |record, notes| record.deliver(deliver, self.policy(), notes));
        }
        // If one delivery alone exceeds the budget, the bounds of the stream determine which events
        // remain.
        let demand: usize = deliver.events.iter().map(|event| event.payload.len()).sum();
        let reserved = demand.min(self.policy().kept_bytes);
        let lost = match self.reserve(reserved) {
            Ok(lost) => lost,
            Err(lost) => return with_lost(self.on(session, |_, _| Err(StoreError::new(StoreErrorKind::Full))), lost),
        };
        let delivered = self.on_with(session, reserved, |record, notes| {
            let mut done = record.deliver(deliver, self.policy(), notes)?;
            done.0.lost += lost;
            Ok(done)
        });
        with_lost(delivered, lost)
    }

    pub(in crate::store) fn attach(&self, attach: &Attach<'_>) -> Marked<Attached, J> {
        let (now, newest) = (self.clock.now(), self.topics().newest());
        self.on_as(attach.session, attach.principal, |record, notes| {
            record.attach(attach, newest, self.policy(), now, notes)
        })
    }

    pub(in crate::store) fn read_after(
        &self,
        session: SessionId,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max_bytes: usize,
    ) -> Marked<Page, J> {
        self.on(session, |record, notes| record.read_after(stream, generation, after, max_bytes, notes))
    }

    pub(in crate::store) fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> Marked<(), J> {
        let now = self.clock.now();
        let detached = self.on(session, |record, _| Ok(((), record.detach(stream, generation, now))));
        self.idle.mark();
        detached
    }

    pub(in crate::store) fn request_detach(
        &self,
        session: SessionId,
        stream: StreamNo,
        retry: Option<Duration>,
    ) -> Marked<(), J> {
        self.on(session, |record, _| Ok(((), record.request_detach(stream, retry))))
    }

    pub(in crate::store) fn answer(&self, session: SessionId, request: &str, outcome: Outcome) -> Marked<bool, J> {
        let now = self.clock.now();
        self.on(session, |record, _| record.answer(request, outcome, now))
    }

    pub(in crate::store) fn take(&self, session: SessionId, request: &str) -> Marked<Option<Outcome>, J> {
        self.on(session, |record, _| record.take(request).map(|answer| (answer, None)))
    }

    pub(in crate::store) fn withdraw(&self, session: SessionId, request: &str) -> Marked<(), J> {
        self.on(session, |record, _| {
            record.withdraw(request);
            Ok(((), None))
        })
    }

    pub(in crate::store) fn cancel(&self, session: SessionId, id: &RequestId) -> Marked<bool, J> {
        let now = self.clock.now();
        self.on(session, |record, _| Ok(record.cancel(id, now)))
    }

    pub(in crate::store) fn cancelled(&self, session: SessionId, stream: StreamNo) -> Marked<Vec<RequestId>, J> {
        self.on(session, |record, _| record.cancelled(stream).map(|ids| (ids, None)))
    }

    pub(in crate::store) fn load_state(&self, session: SessionId, key: &str) -> Marked<(Option<RawJson>, u64), J> {
        self.on(session, |record, _| Ok((record.load_state(key), None)))
    }

    pub(in crate::store) fn load_states(
        &self,
        session: SessionId,
        prefix: &str,
        known: &[(&str, u64)],
    ) -> Marked<Vec<StateValue>, J> {
        self.on(session, |record, _| Ok((record.load_states(prefix, known), None)))
    }

    pub(in crate::store) fn store_state(
        &self,
        session: SessionId,
        key: &str,
        value: &RawJson,
        version: u64,
    ) -> Marked<bool, J> {
        self.on(session, |record, notes| Ok((record.store_state(key, value, version, notes), None)))
    }

    pub(in crate::store) fn end(&self, session: SessionId, reason: EndReason) -> Marked<Ended, J> {
        let ended = self.end_if(session, reason, |_| true).ok_or_else(|| StoreError::new(StoreErrorKind::NotFound));
        (ended, self.journal.newest())
    }

    pub(in crate::store) fn announce(&self, topic: &str, id: u64) -> Marked<u64, J> {
        let mut mark = J::Mark::default();
        let (number, is_new) = {
            let mut topics = self.topics();
            let (number, is_new) = topics.announce(topic, id);
            if is_new {
                let mut notes = J::Notes::default();
                notes.note(|| topics.change(topic, number));
                // Under the lock, so that the journal has the order of the numbers.
                self.journal.keep(None, notes, &mut mark);
            }
            (number, is_new)
        };
        if is_new {
            self.signal_all(&Signal::Topic { topic: topic.into(), number });
        }
        (Ok(number), mark)
    }

    pub(in crate::store) fn announced(&self, after: u64, among: &[&str]) -> Announced {
        self.topics().after(after, among)
    }

    pub(super) fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::store) fn broadcast(&self, session: SessionId, node: NodeId, update: SessionUpdate) {
        self.signal_others(Some(node), &Signal::Update { session, update });
    }

    pub(in crate::store) fn list(&self) -> Vec<SessionSummary> {
        let now = self.clock.now();
        self.sessions.iter().map(|record| record.summary(now)).collect()
    }

    /// Assigns the number of a new node. A number is never reused, not even by a process that reads
    /// the journal later.
    fn new_node(&self) -> NodeId {
        let node = self.next_node.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut notes = J::Notes::default();
        notes.note(|| Change::Nodes { below: node + 1 });
        self.journal.keep(None, notes, &mut J::Mark::default());
        NodeId(node)
    }
}
