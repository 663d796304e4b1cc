//! Decides what happens to one session: its calls in flight, its streams, its questions, its
//! state. Plain data, no clock, no lock; the engine around it brings both.

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
use super::questions::{Outcome, Place, Questions};
use super::streams::Streams;
use crate::clock::Tick;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionInfo};
use crate::message::{RawJson, RequestId, write};
use crate::store::journal::{Change, Notes, OnStream};
use crate::store::log::{Bounds, StreamLog};
use crate::store::lost::node_lost;
use crate::store::{
    Append, Appended, Create, Deliver, Event, EventKind, NodeId, Policy, Ring, STANDALONE, SessionSummary, StateValue,
    StreamNo,
};

type Result<T> = std::result::Result<T, StoreError>;

/// A bell to ring once no lock is held any more.
pub(super) type Wake = Option<(NodeId, Ring)>;

/// One session.
#[derive(Debug)]
pub(super) struct Record<M = ()> {
    pub(super) info: Arc<SessionInfo>,
    pub(super) epoch: u32,
    next_stream: StreamNo,
    pub(super) opened: Tick,
    /// When it was last used.
    pub(super) touched: Tick,
    /// Whether its client has used it since it opened it.
    pub(super) used: bool,
    /// Under which moment the queue of expiry knows it.
    pub(super) queued: Tick,
    /// Under which moment the queue of finished streams knows it.
    pub(super) kept: Option<Tick>,
    /// Where the journal has its newest change.
    pub(super) mark: M,
    /// Calls in flight of its account, everywhere.
    usage: Option<Arc<AtomicUsize>>,
    calls: Vec<CallRow>,
    /// A log is made when it is first written or read.
    streams: Streams,
    questions: Questions,
    /// Up to which announcement it was told.
    told: u64,
    /// Made when it is first written; boxed, because most sessions have none.
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

    /// A session in which nothing has happened yet.
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
            questions: Questions::default(),
            told: 0,
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

    /// As if so many streams had been given out.
    #[cfg(test)]
    pub(super) fn spend_streams(&mut self, next: StreamNo) {
        self.next_stream = next;
    }

    /// Whether a caller may know that the session exists.
    pub(super) fn admits(&self, principal: Option<&Principal>) -> bool {
        self.info.principal.as_ref() == principal
    }

    /// Its client uses it.
    pub(super) fn touch(&mut self, now: Tick) {
        self.touched = now;
        self.used = true;
    }

    /// Nothing in flight and no reader connected.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.streams.readers() == 0
    }

    /// A node is gone: it reads nothing any more, and its calls will not be answered by it. What
    /// they had streamed stays, and ends with an error; whether the session had anything of it.
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
        // Nobody is left to be told what is dropped of them.
        let mut untold = Appended { read: false, unread: 0, dropped: 0, lost: 0, cancelled: false };
        self.shrink(policy, STANDALONE, &mut untold, notes);
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
                // A log that is closed already has its answers.
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
        let asked: Vec<_> = append
            .events
            .iter()
            .zip(0..)
            .filter_map(|(event, at)| Questions::in_event(event, first.wrapping_add(at)))
            .collect();
        let is_new = self.streams.at(at).next() == first;
        let on_stream = &mut OnStream(stream, notes);
        let mut appended = self.streams.change(at, |log| log.append(append, bounds(policy), now, on_stream))?;
        if is_new {
            self.questions.ask(asked, stream, node);
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
        let asked = Questions::in_event(&event, log.next());
        let on_stream = &mut OnStream(STANDALONE, notes);
        let mut appended = self.streams.change(at, |log| log.publish(event, bounds(policy), on_stream));
        self.questions.ask(asked, STANDALONE, node);
        let wake = self.wake_reader(STANDALONE, at);
        self.shrink(policy, STANDALONE, &mut appended, notes);
        (appended, wake)
    }

    pub(super) fn deliver(&mut self, deliver: Deliver, policy: &Policy, notes: &mut impl Notes) -> Result<(u64, Wake)> {
        let Deliver { after, up_to, revision, events, .. } = deliver;
        let Ok(at) = self.position(STANDALONE) else { return Ok((up_to, None)) };
        if self.told != after || up_to <= self.told {
            return Ok((self.told, None));
        }
        if self.revision() != revision {
            return fail(StoreErrorKind::Conflict);
        }
        self.set_told(up_to, notes);
        if events.is_empty() {
            return Ok((up_to, None));
        }
        let mut appended = Appended { read: false, unread: 0, dropped: 0, lost: 0, cancelled: false };
        for event in events {
            let on_stream = &mut OnStream(STANDALONE, notes);
            self.streams.change(at, |log| log.publish(event, bounds(policy), on_stream));
        }
        let wake = self.wake_reader(STANDALONE, at);
        self.shrink(policy, STANDALONE, &mut appended, notes);
        Ok((up_to, wake))
    }

    fn set_told(&mut self, number: u64, notes: &mut impl Notes) {
        self.told = number;
        notes.note(|| Change::Told { number });
    }

    fn wake_reader(&self, stream: StreamNo, at: usize) -> Wake {
        let holder = self.streams.at(at).holder()?;
        Some((holder.node, Ring::Stream { session: self.info.id, stream }))
    }

    pub(super) fn answer(&mut self, question: &str, outcome: Outcome, now: Tick) -> Result<(bool, Wake)> {
        self.touch(now);
        let session = self.info.id;
        let asker = self.questions.answer(question, outcome)?;
        let wake = asker.map(|node| (node, Ring::Answer { session, question: question.into() }));
        Ok((wake.is_some(), wake))
    }

    pub(super) fn take(&mut self, question: &str) -> Result<Option<Outcome>> {
        let taken = self.questions.take(question)?;
        Ok(taken.map(|(answer, place)| {
            self.settle(place);
            answer
        }))
    }

    pub(super) fn withdraw(&mut self, question: &str) {
        if let Some(place) = self.questions.withdraw(question) {
            self.settle(place);
        }
    }

    /// Nobody waits for the answer any more, so the question need not be kept for ever.
    fn settle(&mut self, place: Place) {
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

    /// See [`Loaded::revision`](crate::store::Loaded::revision).
    pub(super) fn revision(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.revision())
    }

    /// Forgets finished streams that were kept long enough, and nobody reads; the moment from
    /// which the next of them counts.
    pub(super) fn forget_finished(&mut self, policy: &Policy, now: Tick, notes: &mut impl Notes) -> Option<Tick> {
        let keep = |closed: Tick| closed.after(policy.finished_for) > now;
        self.streams.forget_finished(keep, |stream| notes.note(|| Change::Forgotten { stream }));
        let counts = |log: &StreamLog| log.closed_at().map(|at| if log.holder().is_some() { now } else { at });
        self.kept = self.streams.finished().filter_map(|at| counts(self.streams.at(at))).min();
        self.kept
    }

    /// Whether there are finished streams now that the queue of them is to know of.
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

    /// The stream's log; made now if the stream is in flight and nobody needed it before.
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

/// How many streams a journal hears of at once: most calls never have a log, and need no word.
const STREAMS_AT_ONCE: StreamNo = 64;

/// The number below which streams count as given out once this one was.
fn given_out(stream: StreamNo) -> StreamNo {
    (stream / STREAMS_AT_ONCE + 1).saturating_mul(STREAMS_AT_ONCE)
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
