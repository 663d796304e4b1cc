//! The record of one session: its calls in flight, streams, requests to the client and state. It is
//! plain data without a clock or lock; the engine provides both.

mod calls;
mod fit;
#[cfg(feature = "file")]
mod kept;
mod readers;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(super) use self::fit::Class;
use self::state::State;
use super::client_requests::{ClientRequests, Outcome, Position};
use super::streams::Streams;
use crate::clock::Tick;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionInfo};
use crate::message::{RawJson, RequestId, write};
use crate::store::journal::{Change, Notes, OnStream};
use crate::store::log::{Bounds, StreamLog};
use crate::store::lost::node_lost;
use crate::store::{
    Append, Appended, Create, Deliver, Delivered, Event, EventKind, NodeId, Policy, STANDALONE, SessionSummary, Signal,
    StateValue, StreamNo,
};

type Result<T> = std::result::Result<T, StoreError>;

/// A signal to send after all locks are released.
pub(super) type Wake = Option<(NodeId, Signal)>;

/// The record of one session.
#[derive(Debug)]
pub(super) struct Record<M = ()> {
    pub(super) info: Arc<SessionInfo>,
    pub(super) epoch: u32,
    next_stream: StreamNo,
    pub(super) opened: Tick,
    /// The time of its last use.
    pub(super) touched: Tick,
    /// `true` if its client has used it since it was opened.
    pub(super) used: bool,
    /// Its key in the expiry queue.
    pub(super) queued: Tick,
    /// Its key in the queue of finished streams.
    pub(super) kept: Option<Tick>,
    /// The position of its newest change in the journal.
    pub(super) mark: M,
    /// The number of calls in flight of its account, in all sessions.
    usage: Option<Arc<AtomicUsize>>,
    calls: Vec<CallRow>,
    /// A log is created when it is first written or read.
    streams: Streams,
    client_requests: ClientRequests,
    /// The announcement that it has reached.
    delivered: u64,
    /// Created when it is first written. Boxed, because most sessions have none.
    state: Option<Box<State>>,
}

#[derive(Debug)]
struct CallRow {
    id: RequestId,
    stream: StreamNo,
    node: NodeId,
    cancelled: bool,
}

fn fail<T>(kind: StoreErrorKind) -> Result<T> {
    Err(StoreError::new(kind))
}

impl<M: Default> Record<M> {
    pub(super) fn new(create: Create, usage: Option<Arc<AtomicUsize>>, now: Tick, notes: &mut impl Notes) -> Self {
        let record = Self::empty(create, usage, now, now);
        record.note_session(notes);
        record
    }

    /// Creates the record of a session that has not been used.
    fn empty(create: Create, usage: Option<Arc<AtomicUsize>>, opened: Tick, now: Tick) -> Self {
        Self {
            info: create.info,
            epoch: create.epoch,
            next_stream: STANDALONE + 1,
            opened,
            touched: now,
            used: false,
            queued: now,
            kept: None,
            mark: M::default(),
            usage,
            calls: Vec::new(),
            streams: Streams::default(),
            client_requests: ClientRequests::default(),
            delivered: 0,
            state: None,
        }
    }
}

impl<M> Record<M> {
    fn note_session(&self, notes: &mut impl Notes) {
        notes.note(|| {
            let info = serde_json::to_string(&self.info).unwrap_or_default().into();
            Change::Session { info, epoch: self.epoch, opened: self.opened }
        });
    }

    /// Sets the number of the next stream, as if all lower numbers had been assigned.
    #[cfg(test)]
    pub(super) fn spend_streams(&mut self, next: StreamNo) {
        self.next_stream = next;
    }

    /// Returns `true` if a principal may access the session.
    pub(super) fn admits(&self, principal: Option<&Principal>) -> bool {
        self.info.principal.as_ref() == principal
    }

    /// Records a use by the client.
    pub(super) fn touch(&mut self, now: Tick) {
        self.touched = now;
        self.used = true;
    }

    /// Returns `true` if no call is in flight and no reader is connected.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.streams.readers() == 0
    }

    /// Detaches the readers of a node that is gone, and abandons its calls. Events that the calls
    /// have streamed are kept, and their streams end with an error. Returns the signals to send.
    pub(super) fn abandon(&mut self, node: NodeId, policy: &Policy, now: Tick, notes: &mut impl Notes) -> Vec<Wake> {
        for at in 0..self.streams.len() {
            if let Some(holder) = self.streams.at(at).holder().filter(|holder| holder.node == node) {
                self.streams.change(at, |log| log.detach(holder.generation));
                self.touched = now;
            }
        }
        let mut streams: Vec<StreamNo> =
            self.calls.iter().filter(|row| row.node == node).map(|row| row.stream).collect();
        streams.dedup();
        let close = |stream| self.close_abandoned(stream, node, policy, now, notes);
        let wakes = streams.into_iter().map(close).collect();
        // Their writer is gone, so nothing reports what is dropped.
        let mut unreported = Appended { read: false, unread: 0, dropped: 0, lost: 0, cancelled: false };
        self.shrink(policy, STANDALONE, &mut unreported, notes);
        wakes
    }

    fn close_abandoned(
        &mut self,
        stream: StreamNo,
        node: NodeId,
        policy: &Policy,
        now: Tick,
        notes: &mut impl Notes,
    ) -> Wake {
        self.touched = now;
        let lost = node_lost();
        let rows = self.calls.iter().filter(|row| row.stream == stream);
        let events = rows
            .map(|row| Event { kind: EventKind::Response, payload: write::failure(Some(&row.id), &lost) })
            .collect();
        let wake = match self.position(stream) {
            Ok(at) => {
                // The append fails if the log is closed. The log then contains its responses
                // already.
                let (session, first) = (self.info.id, self.streams.at(at).next());
                let append = Append { session, stream, node, first, events, close: true };
                let notes = &mut OnStream(stream, notes);
                let _ = self.streams.change(at, |log| log.append(append, bounds(policy), now, notes));
                self.wake_reader(stream, at)
            }
            Err(_) => None,
        };
        self.release(stream);
        wake
    }

    pub(super) fn append(
        &mut self,
        append: Append,
        policy: &Policy,
        now: Tick,
        notes: &mut impl Notes,
    ) -> Result<(Appended, Wake)> {
        let Append { stream, node, first, close, .. } = append;
        if stream == STANDALONE {
            return fail(StoreErrorKind::Fenced);
        }
        let at = self.open(stream, notes)?;
        let requests: Vec<_> = append
            .events
            .iter()
            .zip(0..)
            .filter_map(|(event, at)| ClientRequests::in_event(event, first.wrapping_add(at)))
            .collect();
        let is_new = self.streams.at(at).next() == first;
        let on_stream = &mut OnStream(stream, notes);
        let mut appended = self.streams.change(at, |log| log.append(append, bounds(policy), now, on_stream))?;
        if is_new {
            self.client_requests.open(requests, stream, node);
        }
        appended.cancelled = self.calls.iter().any(|row| row.cancelled && row.stream == stream);
        if close {
            self.touched = now;
            self.release(stream);
        }
        let wake = self.wake_reader(stream, at);
        self.shrink(policy, stream, &mut appended, notes);
        Ok((appended, wake))
    }

    pub(super) fn publish(
        &mut self,
        node: NodeId,
        event: Event,
        policy: &Policy,
        notes: &mut impl Notes,
    ) -> (Appended, Wake) {
        let Ok(at) = self.position(STANDALONE) else {
            return (Appended { read: false, unread: 0, dropped: 1, lost: 0, cancelled: false }, None);
        };
        let log = self.streams.at(at);
        if log.holder().is_none() && matches!(event.kind, EventKind::Request(_)) {
            return (Appended { read: false, unread: log.unread(), dropped: 1, lost: 0, cancelled: false }, None);
        }
        let requests = ClientRequests::in_event(&event, log.next());
        let on_stream = &mut OnStream(STANDALONE, notes);
        let mut appended = self.streams.change(at, |log| log.publish(event, bounds(policy), on_stream));
        self.client_requests.open(requests, STANDALONE, node);
        let wake = self.wake_reader(STANDALONE, at);
        self.shrink(policy, STANDALONE, &mut appended, notes);
        (appended, wake)
    }

    /// Returns `true` if the standalone stream exists: a client has opened it once.
    pub(super) fn has_standalone(&self) -> bool {
        self.position(STANDALONE).is_ok()
    }

    /// Returns `true` if a delivery would add its events to the standalone stream.
    pub(super) fn stores(&self, deliver: &Deliver) -> bool {
        self.has_standalone()
            && self.delivered == deliver.after
            && deliver.up_to > self.delivered
            && self.revision() == deliver.revision
    }

    pub(super) fn deliver(
        &mut self,
        deliver: Deliver,
        policy: &Policy,
        notes: &mut impl Notes,
    ) -> Result<(Delivered, Wake)> {
        let Deliver { after, up_to, revision, events, .. } = deliver;
        let reached = |up_to| Delivered { up_to, lost: 0 };
        let Ok(at) = self.position(STANDALONE) else { return Ok((reached(up_to), None)) };
        if self.delivered != after || up_to <= self.delivered {
            return Ok((reached(self.delivered), None));
        }
        if self.revision() != revision {
            return fail(StoreErrorKind::Conflict);
        }
        self.set_told(up_to, notes);
        if events.is_empty() {
            return Ok((reached(up_to), None));
        }
        let mut appended = Appended { read: false, unread: 0, dropped: 0, lost: 0, cancelled: false };
        for event in events {
            let on_stream = &mut OnStream(STANDALONE, notes);
            self.streams.change(at, |log| log.publish(event, bounds(policy), on_stream));
        }
        let wake = self.wake_reader(STANDALONE, at);
        self.shrink(policy, STANDALONE, &mut appended, notes);
        Ok((Delivered { up_to, lost: appended.lost }, wake))
    }

    fn set_told(&mut self, number: u64, notes: &mut impl Notes) {
        self.delivered = number;
        notes.note(|| Change::AnnouncedUpTo { number });
    }

    fn wake_reader(&self, stream: StreamNo, at: usize) -> Wake {
        let holder = self.streams.at(at).holder()?;
        Some((holder.node, Signal::Stream { session: self.info.id, stream }))
    }

    pub(super) fn answer(&mut self, request: &str, outcome: Outcome, now: Tick) -> Result<(bool, Wake)> {
        self.touch(now);
        let session = self.info.id;
        let asker = self.client_requests.answer(request, outcome)?;
        let wake = asker.map(|node| (node, Signal::Answer { session, request: request.into() }));
        Ok((wake.is_some(), wake))
    }

    pub(super) fn take(&mut self, request: &str) -> Result<Option<Outcome>> {
        let taken = self.client_requests.take(request)?;
        Ok(taken.map(|(answer, place)| {
            self.settle(place);
            answer
        }))
    }

    pub(super) fn withdraw(&mut self, request: &str) {
        if let Some(place) = self.client_requests.withdraw(request) {
            self.settle(place);
        }
    }

    /// Makes a request to the client droppable, because no caller waits for its answer any more.
    fn settle(&mut self, place: Position) {
        if let Ok(at) = self.position(place.stream) {
            self.streams.change(at, |log| log.settle(place.seq));
        }
    }

    pub(super) fn load_state(&self, key: &str) -> (Option<RawJson>, u64) {
        self.state.as_ref().map_or((None, 0), |state| state.load(key))
    }

    pub(super) fn load_states(&self, prefix: &str, known: &[(&str, u64)]) -> Vec<StateValue> {
        self.state.as_ref().map_or_else(Vec::new, |state| state.load_all(prefix, known))
    }

    pub(super) fn store_state(&mut self, key: &str, value: &RawJson, version: u64, notes: &mut impl Notes) -> bool {
        let stored = self.state.get_or_insert_default().store(key, value, version);
        if stored {
            notes.note(|| note_state(key, value, version + 1));
        }
        stored
    }

    /// Returns [`Loaded::revision`](crate::store::Loaded::revision).
    pub(super) fn revision(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.revision())
    }

    /// Forgets finished streams after their retention, if they have no reader. Returns the time
    /// from which the next one counts.
    pub(super) fn forget_finished(&mut self, policy: &Policy, now: Tick, notes: &mut impl Notes) -> Option<Tick> {
        let keep = |closed: Tick| closed.after(policy.finished_for) > now;
        self.streams.forget_finished(keep, |stream| notes.note(|| Change::Forgotten { stream }));
        let counts = |log: &StreamLog| log.closed_at().map(|at| if log.holder().is_some() { now } else { at });
        self.kept = self.streams.finished().filter_map(|at| counts(self.streams.at(at))).min();
        self.kept
    }

    /// Returns `true` if the session has finished streams that their queue does not contain yet.
    pub(super) fn first_kept(&mut self, now: Tick) -> bool {
        let first = self.kept.is_none() && self.streams.finished_count() > 0;
        if first {
            self.kept = Some(now);
        }
        first
    }

    pub(super) fn summary(&self, now: Tick) -> SessionSummary {
        SessionSummary {
            info: Arc::clone(&self.info),
            idle: if self.is_idle() { now.since(self.touched) } else { Duration::ZERO },
            calls: self.calls.len(),
            readers: self.streams.readers(),
            bytes: self.streams.bytes(),
        }
    }

    /// Returns the log of a stream. It is created now if the stream is in flight and no operation
    /// needed it before.
    fn open(&mut self, stream: StreamNo, notes: &mut impl Notes) -> Result<usize> {
        match self.position(stream) {
            Ok(at) => Ok(at),
            Err(_) => match self.calls.iter().find(|row| row.stream == stream).map(|row| row.node) {
                Some(owner) => Ok(self.make(stream, Some(owner), notes)),
                None => fail(StoreErrorKind::NotFound),
            },
        }
    }

    fn make(&mut self, stream: StreamNo, owner: Option<NodeId>, notes: &mut impl Notes) -> usize {
        self.position(stream).unwrap_or_else(|at| {
            self.streams.insert(at, stream, StreamLog::new(owner));
            notes.note(|| self.note_opened(stream));
            at
        })
    }

    fn note_opened(&self, stream: StreamNo) -> Change {
        let calls = self.calls.iter().filter(|row| row.stream == stream);
        Change::Opened { stream, calls: calls.map(|row| row.id.as_json().into()).collect() }
    }

    fn position(&self, stream: StreamNo) -> std::result::Result<usize, usize> {
        self.streams.position(stream)
    }
}

fn note_state(key: &str, value: &RawJson, version: u64) -> Change {
    Change::State { key: key.into(), value: value.clone().into_bytes(), version }
}

/// The number of streams that are reported to a journal at once. Most calls never have a log, so
/// they need no entry.
const STREAMS_PER_STEP: StreamNo = 64;

/// Returns the number below which streams count as assigned after this one was.
fn given_out(stream: StreamNo) -> StreamNo {
    (stream / STREAMS_PER_STEP + 1).saturating_mul(STREAMS_PER_STEP)
}

impl<M> Drop for Record<M> {
    fn drop(&mut self) {
        if let Some(usage) = &self.usage {
            usage.fetch_sub(self.calls.len(), Ordering::Relaxed);
        }
    }
}

fn bounds(policy: &Policy) -> Bounds {
    Bounds { events: policy.stream_events, bytes: policy.stream_bytes }
}
