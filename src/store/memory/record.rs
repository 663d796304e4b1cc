//! Decides what happens to one session: its calls in flight, its streams, its questions, its
//! state. Plain data, no clock, no lock; the engine around it brings both.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::Tick;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionInfo};
use crate::message::{RawJson, RequestId};
use crate::store::{
    Append, Appended, Attach, Attached, Begin, Create, Event, EventKind, NodeId, Page, Policy, Ring, STANDALONE,
    SessionSummary, StreamNo,
};
use crate::streams::{Bounds, StreamLog};

type Result<T> = std::result::Result<T, StoreError>;
type Outcome = std::result::Result<RawJson, RawJson>;

/// A bell to ring once no lock is held any more.
pub(super) type Wake = Option<(NodeId, Ring)>;

/// One session.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) info: Arc<SessionInfo>,
    pub(super) epoch: u32,
    next_stream: StreamNo,
    pub(super) opened: Tick,
    /// When it was last used.
    pub(super) touched: Tick,
    /// Under which moment the queue of expiry knows it.
    pub(super) queued: Tick,
    /// Whether the queue of finished streams knows it.
    pub(super) retained: bool,
    /// Calls in flight of its principal, everywhere.
    usage: Option<Arc<AtomicUsize>>,
    calls: Vec<CallRow>,
    /// Ascending by number; a log is made when it is first written or read.
    streams: Vec<(StreamNo, StreamLog)>,
    questions: Vec<QuestionRow>,
    state: Option<Box<HashMap<Box<str>, (RawJson, u64)>>>,
}

#[derive(Debug)]
struct CallRow {
    id: RequestId,
    stream: StreamNo,
    node: NodeId,
}

#[derive(Debug)]
struct QuestionRow {
    id: Box<str>,
    stream: StreamNo,
    node: NodeId,
    answer: Option<Outcome>,
}

fn fail<T>(kind: StoreErrorKind) -> Result<T> {
    Err(StoreError::new(kind))
}

impl Record {
    pub(super) fn new(create: Create, usage: Option<Arc<AtomicUsize>>, now: Tick) -> Self {
        Self {
            info: create.info,
            epoch: create.epoch,
            next_stream: STANDALONE + 1,
            opened: now,
            touched: now,
            queued: now,
            retained: false,
            usage,
            calls: Vec::new(),
            streams: Vec::new(),
            questions: Vec::new(),
            state: None,
        }
    }

    /// Whether a caller may know that the session exists.
    pub(super) fn admits(&self, principal: Option<&Principal>) -> bool {
        self.info.principal.as_ref() == principal
    }

    /// Nothing in flight and nobody connected.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.streams.iter().all(|(_, log)| log.holder().is_none())
    }

    pub(super) fn begin(&mut self, begin: &Begin<'_>, policy: &Policy, now: Tick) -> Result<StreamNo> {
        self.touched = now;
        let wanted = begin.ids.len();
        if begin.unique && self.calls.iter().any(|row| begin.ids.contains(&row.id)) {
            return fail(StoreErrorKind::Conflict);
        }
        if self.calls.len() + wanted > policy.max_calls {
            return fail(StoreErrorKind::Full);
        }
        if let Some(usage) = &self.usage {
            let before = usage.fetch_add(wanted, Ordering::Relaxed);
            if before + wanted > policy.max_calls_per_principal {
                usage.fetch_sub(wanted, Ordering::Relaxed);
                return fail(StoreErrorKind::FullForPrincipal);
            }
        }
        let stream = self.next_stream;
        self.next_stream += 1;
        // Exactly, because a session keeps the room of its first call, and most have one at a time.
        self.calls.reserve_exact(wanted);
        self.calls.extend(begin.ids.iter().map(|id| CallRow { id: id.clone(), stream, node: begin.node }));
        Ok(stream)
    }

    pub(super) fn finish(&mut self, stream: StreamNo, now: Tick) -> Wake {
        self.touched = now;
        self.release(stream);
        let at = self.position(stream).ok()?;
        if self.streams[at].1.closed_at().is_some() {
            return None;
        }
        // Given up without an answer: nobody shall come back for it.
        let (_, log) = self.streams.remove(at);
        log.holder().map(|holder| (holder.node, self.detached(stream, holder.generation, None)))
    }

    /// The calls of a stream are over, and with them their questions.
    fn release(&mut self, stream: StreamNo) {
        let before = self.calls.len();
        self.calls.retain(|row| row.stream != stream);
        if let Some(usage) = &self.usage {
            usage.fetch_sub(before - self.calls.len(), Ordering::Relaxed);
        }
        self.questions.retain(|row| row.stream != stream);
    }

    pub(super) fn append(&mut self, append: Append, policy: &Policy, now: Tick) -> Result<(Appended, Wake)> {
        let Append { stream, node, first, events, close, .. } = append;
        let at = self.open(stream)?;
        let asked: Vec<_> = events.iter().filter_map(question_of).collect();
        let appended = self.streams[at].1.append(node, first, events, close, bounds(policy), now)?;
        for id in asked {
            if !self.questions.iter().any(|row| row.id == id) {
                self.questions.push(QuestionRow { id, stream, node, answer: None });
            }
        }
        if close {
            self.touched = now;
            self.release(stream);
        }
        let wake = self.wake_reader(stream, at);
        self.shrink(policy);
        Ok((appended, wake))
    }

    pub(super) fn publish(&mut self, node: NodeId, event: Event, policy: &Policy) -> (Appended, Wake) {
        let Ok(at) = self.position(STANDALONE) else {
            return (Appended { read: false, unread: 0, dropped: 1 }, None);
        };
        if let Some(id) = question_of(&event) {
            self.questions.push(QuestionRow { id, stream: STANDALONE, node, answer: None });
        }
        let appended = self.streams[at].1.publish(event, bounds(policy));
        (appended, self.wake_reader(STANDALONE, at))
    }

    fn wake_reader(&self, stream: StreamNo, at: usize) -> Wake {
        let holder = self.streams[at].1.holder()?;
        Some((holder.node, Ring::Stream { session: self.info.id, stream }))
    }

    pub(super) fn attach(&mut self, attach: &Attach<'_>, policy: &Policy, now: Tick) -> Result<(Attached, Wake)> {
        self.touched = now;
        let readers = self.streams.iter().filter(|(_, log)| log.holder().is_some()).count();
        let at = if attach.stream == STANDALONE { self.make(STANDALONE, None) } else { self.open(attach.stream)? };
        let log = &mut self.streams[at].1;
        if log.holder().is_some() && !attach.takeover {
            return fail(StoreErrorKind::Conflict);
        }
        if log.holder().is_none() && readers >= policy.max_streams {
            return fail(StoreErrorKind::Full);
        }
        let (holder, after, before) = log.attach(attach.node, attach.after)?;
        let wake = before.map(|old| {
            // The replaced client is alive, as far as anybody knows: it may come back.
            (old.node, self.detached(attach.stream, old.generation, Some(TAKEN_OVER_RETRY)))
        });
        Ok((Attached { generation: holder.generation, after }, wake))
    }

    pub(super) fn read_after(
        &mut self,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max: usize,
    ) -> Result<(Page, Wake)> {
        let Ok(at) = self.position(stream) else { return fail(StoreErrorKind::NotFound) };
        let page = self.streams[at].1.read_after(generation, after, max)?;
        Ok((page, self.wake_owner(stream, at)))
    }

    pub(super) fn detach(&mut self, stream: StreamNo, generation: u32, now: Tick) -> Wake {
        let at = self.position(stream).ok()?;
        if !self.streams[at].1.detach(generation) {
            return None;
        }
        self.touched = now;
        self.wake_owner(stream, at)
    }

    /// Whoever writes may be waiting for its reader.
    fn wake_owner(&self, stream: StreamNo, at: usize) -> Wake {
        let log = &self.streams[at].1;
        let owner = log.owner().filter(|_| log.closed_at().is_none())?;
        Some((owner, Ring::Drained { session: self.info.id, stream }))
    }

    pub(super) fn hang_up(&self, stream: StreamNo, retry: Option<Duration>) -> Wake {
        let at = self.position(stream).ok()?;
        let holder = self.streams[at].1.holder()?;
        Some((holder.node, self.detached(stream, holder.generation, retry)))
    }

    fn detached(&self, stream: StreamNo, generation: u32, retry: Option<Duration>) -> Ring {
        Ring::Detach { session: self.info.id, stream, generation, retry }
    }

    pub(super) fn answer(&mut self, question: &str, outcome: Outcome, now: Tick) -> Result<(bool, Wake)> {
        self.touched = now;
        let session = self.info.id;
        let Some(row) = self.questions.iter_mut().find(|row| *row.id == *question) else {
            return fail(StoreErrorKind::NotFound);
        };
        if row.answer.is_some() {
            return Ok((false, None));
        }
        row.answer = Some(outcome);
        Ok((true, Some((row.node, Ring::Answer { session, question: row.id.clone() }))))
    }

    pub(super) fn take(&mut self, question: &str) -> Result<Option<Outcome>> {
        let Some(at) = self.questions.iter().position(|row| *row.id == *question) else {
            return fail(StoreErrorKind::NotFound);
        };
        if self.questions[at].answer.is_none() {
            return Ok(None);
        }
        Ok(self.questions.swap_remove(at).answer)
    }

    pub(super) fn withdraw(&mut self, question: &str) {
        self.questions.retain(|row| *row.id != *question);
    }

    pub(super) fn cancel(&mut self, id: &RequestId, now: Tick) -> (bool, Wake) {
        self.touched = now;
        let mut rows = self.calls.iter().filter(|row| row.id == *id);
        let (Some(row), None) = (rows.next(), rows.next()) else { return (false, None) };
        let ring = Ring::Cancel { session: self.info.id, stream: row.stream, id: id.clone() };
        (true, Some((row.node, ring)))
    }

    pub(super) fn load_state(&self, key: &str) -> (Option<RawJson>, u64) {
        let entry = self.state.as_ref().and_then(|state| state.get(key));
        entry.map_or((None, 0), |(value, version)| (Some(value.clone()), *version))
    }

    pub(super) fn store_state(&mut self, key: &str, value: RawJson, version: u64) -> bool {
        let state = self.state.get_or_insert_default();
        let stored = state.get(key).map_or(0, |(_, version)| *version);
        if stored == version {
            state.insert(key.into(), (value, version + 1));
        }
        stored == version
    }

    /// Forgets finished streams that were kept long enough; whether others are still kept.
    pub(super) fn forget_finished(&mut self, policy: &Policy, now: Tick) -> bool {
        self.streams.retain(|(_, log)| {
            log.holder().is_some() || log.closed_at().is_none_or(|closed| closed.after(policy.finished_for) > now)
        });
        self.retained = self.keeps_finished();
        self.retained
    }

    pub(super) fn keeps_finished(&self) -> bool {
        self.streams.iter().any(|(_, log)| log.closed_at().is_some())
    }

    /// Makes the session fit its bounds again; finished streams nobody reads go first, the
    /// oldest of them first.
    fn shrink(&mut self, policy: &Policy) {
        loop {
            let finished = self.streams.iter().filter(|(_, log)| log.closed_at().is_some()).count();
            let bytes: usize = self.streams.iter().map(|(_, log)| log.bytes()).sum();
            if finished <= policy.finished_streams && bytes <= policy.session_bytes {
                return;
            }
            let unread = |(_, log): &(StreamNo, StreamLog)| log.closed_at().is_some() && log.holder().is_none();
            let Some(oldest) = self.streams.iter().position(unread) else { return };
            self.streams.remove(oldest);
        }
    }

    pub(super) fn summary(&self, now: Tick) -> SessionSummary {
        SessionSummary {
            info: Arc::clone(&self.info),
            idle: if self.is_idle() { now.since(self.touched) } else { Duration::ZERO },
            calls: self.calls.len(),
            readers: self.streams.iter().filter(|(_, log)| log.holder().is_some()).count(),
            bytes: self.streams.iter().map(|(_, log)| log.bytes()).sum(),
        }
    }

    /// The stream's log; made now if the stream is in flight and nobody needed it before.
    fn open(&mut self, stream: StreamNo) -> Result<usize> {
        match self.position(stream) {
            Ok(at) => Ok(at),
            Err(_) => match self.calls.iter().find(|row| row.stream == stream).map(|row| row.node) {
                Some(owner) => Ok(self.make(stream, Some(owner))),
                None => fail(StoreErrorKind::NotFound),
            },
        }
    }

    fn make(&mut self, stream: StreamNo, owner: Option<NodeId>) -> usize {
        self.position(stream).unwrap_or_else(|at| {
            self.streams.insert(at, (stream, StreamLog::new(owner)));
            at
        })
    }

    fn position(&self, stream: StreamNo) -> std::result::Result<usize, usize> {
        self.streams.binary_search_by_key(&stream, |(number, _)| *number)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(usage) = &self.usage {
            usage.fetch_sub(self.calls.len(), Ordering::Relaxed);
        }
    }
}

/// How long a replaced reader should wait before it comes back: two clients that both think the
/// stream is theirs must not chase each other in a tight loop.
const TAKEN_OVER_RETRY: Duration = Duration::from_secs(5);

fn bounds(policy: &Policy) -> Bounds {
    Bounds { events: policy.stream_events, bytes: policy.stream_bytes }
}

fn question_of(event: &Event) -> Option<Box<str>> {
    match &event.kind {
        EventKind::Request(id) => Some(id.clone()),
        EventKind::Notification | EventKind::Response => None,
    }
}
