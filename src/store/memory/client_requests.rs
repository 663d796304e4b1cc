//! The open requests to a client, and the first answer to each.

use crate::error::{StoreError, StoreErrorKind};
use crate::message::RawJson;
use crate::store::{Event, EventKind, NodeId, StreamNo};

type Result<T> = std::result::Result<T, StoreError>;
pub(super) type Outcome = std::result::Result<RawJson, RawJson>;

/// The requests to the client of one session that have a waiting caller. They are few, because each
/// call waits for its own.
#[derive(Debug, Default)]
pub(super) struct ClientRequests(Vec<Row>);

#[derive(Debug)]
struct Row {
    id: Box<str>,
    place: Position,
    node: NodeId,
    answer: Option<Outcome>,
}

/// The position of a request to the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) stream: StreamNo,
    pub(super) seq: u64,
}

impl ClientRequests {
    /// Returns the id of the request in an event, if it contains one, and its number in the stream.
    pub(super) fn in_event(event: &Event, seq: u64) -> Option<(Box<str>, u64)> {
        match &event.kind {
            EventKind::Request(id) => Some((id.clone(), seq)),
            EventKind::Notification | EventKind::Response => None,
        }
    }

    /// Opens requests that were appended to a stream. A request that is open already stays
    /// unchanged.
    pub(super) fn open(&mut self, requests: impl IntoIterator<Item = (Box<str>, u64)>, stream: StreamNo, node: NodeId) {
        for (id, seq) in requests {
            if self.position(&id).is_none() {
                self.0.push(Row { id, place: Position { stream, seq }, node, answer: None });
            }
        }
    }

    /// Records an answer. Returns the node that waits for it, or `None` if the request already has
    /// an answer.
    pub(super) fn answer(&mut self, id: &str, outcome: Outcome) -> Result<Option<NodeId>> {
        let at = self.find(id)?;
        let row = &mut self.0[at];
        if row.answer.is_some() {
            return Ok(None);
        }
        row.answer = Some(outcome);
        Ok(Some(row.node))
    }

    /// Returns the answer if it has arrived, and closes the request then.
    pub(super) fn take(&mut self, id: &str) -> Result<Option<(Outcome, Position)>> {
        let at = self.find(id)?;
        let answer = self.0[at].answer.take();
        Ok(answer.map(|answer| (answer, self.0.swap_remove(at).place)))
    }

    /// Closes a request.
    pub(super) fn withdraw(&mut self, id: &str) -> Option<Position> {
        self.position(id).map(|at| self.0.swap_remove(at).place)
    }

    /// Closes the requests of a stream.
    pub(super) fn release(&mut self, stream: StreamNo) {
        self.0.retain(|row| row.place.stream != stream);
    }

    fn find(&self, id: &str) -> Result<usize> {
        self.position(id).ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.0.iter().position(|row| *row.id == *id)
    }
}
