//! The interface of a journal: the changes that an operation of an engine in memory reports, so
//! that a journal can restore them.
//!
//! 1. A change states a result, never a modification of the previous state. Applied twice, it has
//!    the effect of one.
//! 2. The changes of an operation are passed together, under the lock of what they change. So the
//!    journal has the order of the operations.
//! 3. An engine without a journal pays nothing: its changes are never constructed.

#[cfg(feature = "file")]
pub(in crate::store) mod image;

use std::fmt;

use bytes::Bytes;

use super::StreamNo;
use super::log::LogNotes;
use crate::clock::Tick;
use crate::identity::{Principal, SessionId, TaskId};

/// One change that an operation makes.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "file", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(not(feature = "file"), allow(dead_code, reason = "without a journal nothing is read back"))]
pub(in crate::store) enum Change {
    /// Everything known about the session is discarded.
    Afresh,
    /// The session exists; `info` is JSON.
    Session {
        info: Box<str>,
        epoch: u32,
        opened: Tick,
    },
    /// Streams with a lower number may have been assigned.
    Streams {
        below: StreamNo,
    },
    /// A stream has a log. Its calls, as JSON, are in flight until it is closed or forgotten.
    Opened {
        stream: StreamNo,
        calls: Vec<Box<str>>,
    },
    Event {
        stream: StreamNo,
        seq: u64,
        droppable: bool,
        payload: Bytes,
    },
    Dropped {
        stream: StreamNo,
        seq: u64,
    },
    Closed {
        stream: StreamNo,
        first: u64,
        at: Tick,
    },
    /// A reader has received everything up to this event.
    Delivered {
        stream: StreamNo,
        seq: u64,
    },
    Forgotten {
        stream: StreamNo,
    },
    State {
        key: Box<str>,
        value: Bytes,
        version: u64,
    },
    Ended,
    /// A task was stored. `done`: its position among the finished tasks.
    Task {
        id: TaskId,
        principal: Option<Principal>,
        ends: Option<Tick>,
        version: u64,
        done: Option<u64>,
        document: Bytes,
    },
    TaskGone {
        id: TaskId,
    },
    /// Nodes with a lower number may have joined.
    Nodes {
        below: u64,
    },
    /// This is the newest number of a topic. `forgotten`: the newest number of a topic that is no
    /// longer kept.
    Announced {
        topic: Box<str>,
        number: u64,
        forgotten: u64,
    },
    /// Announcements up to this one were delivered to the session.
    AnnouncedUpTo {
        number: u64,
    },
}

/// Returns the approximate size of changes, in a journal and while they wait to be written.
#[cfg(feature = "file")]
pub(in crate::store) fn weight(changes: &[Change]) -> usize {
    let payload = |change: &Change| match change {
        Change::Event { payload: bytes, .. } | Change::Task { document: bytes, .. } => bytes.len(),
        Change::State { key, value, .. } => key.len() + value.len(),
        Change::Session { info, .. } => info.len(),
        Change::Announced { topic, .. } => topic.len(),
        Change::Opened { calls, .. } => calls.iter().map(|id| 16 + id.len()).sum(),
        _ => 0,
    };
    changes.iter().map(|change| 32 + payload(change)).sum()
}

/// Collects the changes of an operation while it runs.
pub(in crate::store) trait Notes: Default {
    fn note(&mut self, change: impl FnOnce() -> Change);
}

/// Keeps the changes of operations.
pub(in crate::store) trait Journal: fmt::Debug + Send + Sync + 'static {
    type Notes: Notes;
    /// A position in the journal; later positions are larger.
    type Mark: fmt::Debug + Copy + Default + Send + Sync;

    /// Appends the changes of an operation, to a session or outside of any. Sets `mark` to their
    /// position, unless no caller has to wait for them.
    fn keep(&self, session: Option<SessionId>, notes: Self::Notes, mark: &mut Self::Mark);

    /// Returns the newest position.
    fn newest(&self) -> Self::Mark;
}

/// The journal of an engine that has none.
impl Journal for () {
    type Notes = ();
    type Mark = ();

    fn keep(&self, _: Option<SessionId>, (): (), (): &mut ()) {}

    fn newest(&self) {}
}

impl Notes for () {
    fn note(&mut self, _: impl FnOnce() -> Change) {}
}

#[cfg(feature = "file")]
impl Notes for Vec<Change> {
    fn note(&mut self, change: impl FnOnce() -> Change) {
        self.push(change());
    }
}

/// Collects the changes of one stream.
pub(in crate::store) struct OnStream<'a, N>(pub(in crate::store) StreamNo, pub(in crate::store) &'a mut N);

impl<N: Notes> LogNotes for OnStream<'_, N> {
    fn event(&mut self, seq: u64, droppable: bool, payload: &Bytes) {
        self.1.note(|| Change::Event { stream: self.0, seq, droppable, payload: payload.clone() });
    }

    fn dropped(&mut self, seq: u64) {
        self.1.note(|| Change::Dropped { stream: self.0, seq });
    }

    fn closed(&mut self, first: u64, at: Tick) {
        self.1.note(|| Change::Closed { stream: self.0, first, at });
    }
}
