//! Decides which questions to the client are open, and what the first answer to each was.

use crate::error::{StoreError, StoreErrorKind};
use crate::message::RawJson;
use crate::store::{Event, EventKind, NodeId, StreamNo};

type Result<T> = std::result::Result<T, StoreError>;
pub(super) type Outcome = std::result::Result<RawJson, RawJson>;

/// The questions of one session that somebody waits for. There are few: a call waits for its own.
#[derive(Debug, Default)]
pub(super) struct Questions(Vec<Row>);

#[derive(Debug)]
struct Row {
    id: Box<str>,
    place: Place,
    node: NodeId,
    answer: Option<Outcome>,
}

/// Where a question stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) stream: StreamNo,
    pub(super) seq: u64,
}

impl Questions {
    /// The question an event is, if it is one, and its number in the stream.
    pub(super) fn in_event(event: &Event, seq: u64) -> Option<(Box<str>, u64)> {
        match &event.kind {
            EventKind::Request(id) => Some((id.clone(), seq)),
            EventKind::Notification | EventKind::Response => None,
        }
    }

    /// Opens questions that now stand in a stream; one that is open already stays as it is.
    pub(super) fn ask(&mut self, asked: impl IntoIterator<Item = (Box<str>, u64)>, stream: StreamNo, node: NodeId) {
        for (id, seq) in asked {
            if self.position(&id).is_none() {
                self.0.push(Row { id, place: Place { stream, seq }, node, answer: None });
            }
        }
    }

    /// Whom the answer wakes, if it is the first.
    pub(super) fn answer(&mut self, id: &str, outcome: Outcome) -> Result<Option<NodeId>> {
        let at = self.find(id)?;
        let row = &mut self.0[at];
        if row.answer.is_some() {
            return Ok(None);
        }
        row.answer = Some(outcome);
        Ok(Some(row.node))
    }

    /// The answer, if it is there, and closes the question then.
    pub(super) fn take(&mut self, id: &str) -> Result<Option<(Outcome, Place)>> {
        let at = self.find(id)?;
        let answer = self.0[at].answer.take();
        Ok(answer.map(|answer| (answer, self.0.swap_remove(at).place)))
    }

    /// Closes a question.
    pub(super) fn withdraw(&mut self, id: &str) -> Option<Place> {
        self.position(id).map(|at| self.0.swap_remove(at).place)
    }

    /// Closes the questions of a stream.
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
