//! Constructors of the parameters and results of engine operations, for engines and tests outside
//! this crate.
//!
//! The types may gain fields in any version, so a literal of them does not compile elsewhere. A
//! constructor takes what each value needs, and leaves every other field at its default. All fields
//! are public: set the others on the value.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    Announced, Append, Attach, Attached, Begin, Begun, Create, CreateTask, Deliver, Delivered, Event, EventKind,
    Loaded, LoadedTask, NodeId, Page, StateValue, StoreTask, Stored, StreamNo,
};
use crate::identity::{Principal, SessionId, SessionInfo, TaskId};
use crate::message::{RawJson, RequestId};
use crate::store::{EndReason, Ended, SessionSummary};

impl Create {
    /// Makes the parameters.
    #[must_use]
    pub fn new(info: Arc<SessionInfo>, epoch: u32) -> Self {
        Self { info, epoch }
    }
}

impl Loaded {
    /// Makes the result.
    #[must_use]
    pub fn new(info: Arc<SessionInfo>, epoch: u32, revision: u64) -> Self {
        Self { info, epoch, revision }
    }
}

impl Ended {
    /// Makes the result.
    #[must_use]
    pub fn new(info: Arc<SessionInfo>, reason: EndReason) -> Self {
        Self { info, reason }
    }
}

impl StateValue {
    /// Makes the result.
    #[must_use]
    pub fn new(key: impl Into<Box<str>>, value: RawJson, version: u64) -> Self {
        Self { key: key.into(), value, version }
    }
}

impl<'a> Begin<'a> {
    /// Makes the parameters. An id that is in flight already is accepted.
    #[must_use]
    pub fn new(session: SessionId, principal: Option<&'a Principal>, node: NodeId, ids: &'a [RequestId]) -> Self {
        Self { session, principal, node, ids, unique: false }
    }
}

impl Begun {
    /// Makes the result.
    #[must_use]
    pub fn new(stream: StreamNo, revision: u64) -> Self {
        Self { stream, revision }
    }
}

impl Append {
    /// Makes the parameters. The stream stays open.
    #[must_use]
    pub fn new(session: SessionId, stream: StreamNo, node: NodeId, first: u64, events: Vec<Event>) -> Self {
        Self { session, stream, node, first, events, close: false }
    }
}

impl Event {
    /// Makes an event.
    #[must_use]
    pub fn new(kind: EventKind, payload: impl Into<Bytes>) -> Self {
        Self { kind, payload: payload.into() }
    }
}

impl<'a> Attach<'a> {
    /// Makes the parameters. The reader starts with the first event that no reader has received,
    /// and replaces no other reader.
    #[must_use]
    pub fn new(session: SessionId, principal: Option<&'a Principal>, stream: StreamNo, node: NodeId) -> Self {
        Self { session, principal, stream, node, after: None, takeover: false }
    }
}

impl Attached {
    /// Makes the result for an engine without announcements: every announcement was received.
    #[must_use]
    pub fn new(generation: u32, after: u64) -> Self {
        Self { generation, after, delivered: 0, newest: 0, revision: 0 }
    }
}

impl Page {
    /// Makes a page of a stream that is still open.
    #[must_use]
    pub fn new(events: Vec<Stored>, tail: u64) -> Self {
        Self { events, tail, closed: false }
    }
}

impl Stored {
    /// Makes an event of a page.
    #[must_use]
    pub fn new(seq: u64, payload: impl Into<Bytes>) -> Self {
        Self { seq, payload: payload.into() }
    }
}

impl CreateTask {
    /// Makes the parameters. The task has no principal, no peer and no TTL.
    #[must_use]
    pub fn new(id: TaskId, node: NodeId, document: impl Into<Bytes>) -> Self {
        Self { id, principal: None, peer: None, node, ttl: None, document: document.into() }
    }
}

impl LoadedTask {
    /// Makes the result for a task that its node still runs.
    #[must_use]
    pub fn new(document: impl Into<Bytes>, version: u64) -> Self {
        Self { document: document.into(), version, done: false, orphaned: false }
    }
}

impl StoreTask {
    /// Makes the parameters. The task is not done.
    #[must_use]
    pub fn new(id: TaskId, version: u64, document: impl Into<Bytes>) -> Self {
        Self { id, version, document: document.into(), done: false }
    }
}

impl Announced {
    /// Makes the result.
    #[must_use]
    pub fn new(topics: Vec<(u64, Box<str>)>, newest: u64, complete: bool) -> Self {
        Self { topics, newest, complete }
    }
}

impl Deliver {
    /// Makes the parameters, without events.
    #[must_use]
    pub fn new(session: SessionId, node: NodeId, after: u64, up_to: u64, revision: u64) -> Self {
        Self { session, node, after, up_to, revision, events: Vec::new() }
    }
}

impl Delivered {
    /// Makes the result. No answer was lost.
    #[must_use]
    pub fn new(up_to: u64) -> Self {
        Self { up_to, lost: 0 }
    }
}

impl SessionSummary {
    /// Makes the summary of a session that is in use but keeps nothing.
    #[must_use]
    pub fn new(info: Arc<SessionInfo>) -> Self {
        Self { info, idle: Duration::ZERO, calls: 0, readers: 0, bytes: 0 }
    }
}
