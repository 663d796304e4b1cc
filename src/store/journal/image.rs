//! The image of a journal: the sessions and tasks that result from all of its changes.
//!
//! Applying a change cannot fail. A change that a damaged journal does not explain is left out and
//! counted. Examples are an event of a stream that was never opened, or a session that cannot be
//! parsed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::Change;
use crate::clock::Tick;
use crate::identity::{Principal, SessionId, SessionInfo, TaskId};
use crate::message::{RawJson, RequestId};
use crate::store::StreamNo;
use crate::store::announcements::Topics;

/// How many streams may have been opened in a part that cannot be read.
const STREAMS_LOST: u32 = 1 << 16;

/// The restored state.
#[derive(Debug, Default)]
pub(in crate::store) struct Image {
    pub(in crate::store) sessions: HashMap<SessionId, SessionImage>,
    pub(in crate::store) tasks: HashMap<TaskId, TaskImage>,
    /// All nodes that joined have lower numbers.
    pub(in crate::store) nodes: u64,
    pub(in crate::store) topics: Topics,
    /// The latest time in the journal.
    pub(in crate::store) latest: Tick,
    /// Changes that could not be applied, by session. Those of a session that is written again
    /// later, or that ends, no longer count.
    unexplained: HashMap<Option<SessionId>, u64>,
}

#[derive(Debug)]
pub(in crate::store) struct SessionImage {
    pub(in crate::store) info: Arc<SessionInfo>,
    pub(in crate::store) epoch: u32,
    pub(in crate::store) opened: Tick,
    /// All streams that were opened have lower numbers.
    pub(in crate::store) below: StreamNo,
    pub(in crate::store) streams: BTreeMap<StreamNo, LogImage>,
    pub(in crate::store) state: HashMap<Box<str>, (RawJson, u64)>,
    /// The newest announcement that was delivered to the session.
    pub(in crate::store) delivered: u64,
}

#[derive(Debug, Default)]
pub(in crate::store) struct LogImage {
    pub(in crate::store) calls: Vec<RequestId>,
    /// By number: whether the event may be dropped, and its payload.
    pub(in crate::store) entries: BTreeMap<u64, (bool, Bytes)>,
    pub(in crate::store) closed: Option<(u64, Tick)>,
    pub(in crate::store) delivered: u64,
}

#[derive(Debug)]
pub(in crate::store) struct TaskImage {
    pub(in crate::store) principal: Option<Principal>,
    pub(in crate::store) ends: Option<Tick>,
    pub(in crate::store) version: u64,
    pub(in crate::store) done: Option<u64>,
    pub(in crate::store) document: Bytes,
}

impl Image {
    /// Applies a change, of a session or of none.
    pub(in crate::store) fn apply(&mut self, session: Option<SessionId>, change: Change) {
        let explained = match (session, change) {
            (None, change) => self.apply_to_all(change),
            (Some(id), Change::Session { info, epoch, opened }) => self.open(id, &info, epoch, opened),
            (Some(id), Change::Afresh | Change::Ended) => {
                self.sessions.remove(&id);
                self.unexplained.remove(&session);
                true
            }
            (Some(id), change) => {
                if let Change::Closed { at, .. } = &change {
                    self.latest = self.latest.max(*at);
                }
                self.sessions.get_mut(&id).is_some_and(|session| session.apply(change))
            }
        };
        if !explained {
            *self.unexplained.entry(session).or_default() += 1;
        }
    }

    /// Returns how many changes could not be applied.
    pub(in crate::store) fn unexplained(&self) -> u64 {
        self.unexplained.values().sum()
    }

    /// Skips stream numbers, so that a number that a client knows never comes to mean another
    /// stream.
    pub(in crate::store) fn skip_lost_streams(&mut self) {
        self.sessions.values_mut().for_each(|session| session.below = session.below.saturating_add(STREAMS_LOST));
    }

    fn open(&mut self, id: SessionId, info: &str, epoch: u32, opened: Tick) -> bool {
        let Ok(info) = serde_json::from_str::<SessionInfo>(info) else { return false };
        self.latest = self.latest.max(opened);
        let (streams, state) = (BTreeMap::new(), HashMap::new());
        let session = SessionImage { info: Arc::new(info), epoch, opened, below: 1, streams, state, delivered: 0 };
        self.sessions.insert(id, session);
        true
    }

    fn apply_to_all(&mut self, change: Change) -> bool {
        match change {
            Change::Task { id, principal, ends, version, done, document } => {
                self.tasks.insert(id, TaskImage { principal, ends, version, done, document });
            }
            Change::TaskGone { id } => drop(self.tasks.remove(&id)),
            Change::Nodes { below } => self.nodes = self.nodes.max(below),
            Change::Announced { topic, number, forgotten } => self.topics.restore(&topic, number, forgotten),
            _ => return false,
        }
        true
    }
}

impl SessionImage {
    fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Streams { below } => self.below = self.below.max(below),
            Change::AnnouncedUpTo { number } => self.delivered = number,
            Change::State { key, value, version } => {
                let Ok(value) = RawJson::parse(value) else { return false };
                self.state.insert(key, (value, version));
            }
            Change::Opened { stream, calls } => {
                let calls = calls.iter().filter_map(|id| id.parse().ok()).collect();
                self.streams.insert(stream, LogImage { calls, ..LogImage::default() });
                self.below = self.below.max(stream.saturating_add(1));
            }
            Change::Forgotten { stream } => drop(self.streams.remove(&stream)),
            Change::Event { stream, seq, droppable, payload } => {
                let Some(log) = self.streams.get_mut(&stream) else { return false };
                log.entries.insert(seq, (droppable, payload));
            }
            Change::Dropped { stream, seq } => {
                let Some(log) = self.streams.get_mut(&stream) else { return false };
                log.entries.remove(&seq);
            }
            Change::Closed { stream, first, at } => {
                let Some(log) = self.streams.get_mut(&stream) else { return false };
                log.closed = Some((first, at));
                log.calls.clear();
            }
            Change::Delivered { stream, seq } => {
                let Some(log) = self.streams.get_mut(&stream) else { return false };
                log.delivered = log.delivered.max(seq);
            }
            _ => return false,
        }
        true
    }
}
