//! Decides what an engine in memory tells of each step, so that a journal can bring it back.
//!
//! 1. A change says what is there afterwards, never what to do with what was there before: applied
//!    twice, it is there once.
//! 2. What a step changed is handed over whole, under the lock of what it changed: the order of
//!    the journal is the order of the steps.
//! 3. An engine without a journal pays nothing: its notes are never made.

use std::fmt;

use bytes::Bytes;

use super::StreamNo;
use super::log::LogNotes;
use crate::clock::Tick;
use crate::identity::{Principal, SessionId, TaskId};

/// One thing that is otherwise after a step.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "file", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(not(feature = "file"), allow(dead_code, reason = "without a journal nothing is read back"))]
pub(in crate::store) enum Change {
    /// Whatever was known of the session counts no more.
    Afresh,
    /// The session is there; `info` is JSON.
    Session {
        info: Box<str>,
        epoch: u32,
        opened: Tick,
    },
    /// Streams with a lower number may have been given out.
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
    /// A reader was given everything up to here.
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
    /// `done`: its place among those that are done.
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
    /// A topic was announced under this number last. `forgotten`: the newest number of a topic that is not kept any more.
    Announced {
        topic: Box<str>,
        number: u64,
        forgotten: u64,
    },
    /// The session was told of announcements up to this one.
    Told {
        number: u64,
    },
}

/// What a step changes, while it is taken.
pub(in crate::store) trait Notes: Default {
    fn note(&mut self, change: impl FnOnce() -> Change);
}

/// Keeps what steps change.
pub(in crate::store) trait Journal: fmt::Debug + Send + Sync + 'static {
    type Notes: Notes;
    /// A place in the journal; a later place is larger.
    type Mark: fmt::Debug + Copy + Default + Send + Sync;

    /// Takes what a step changed in a session, or outside of any. `mark` becomes its place, unless
    /// there is nothing that anybody would wait for.
    fn keep(&self, session: Option<SessionId>, notes: Self::Notes, mark: &mut Self::Mark);

    /// The newest place.
    fn newest(&self) -> Self::Mark;
}

/// No journal.
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

/// The notes of one stream.
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
