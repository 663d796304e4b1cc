//! Decides what a GET is given, a standalone stream or the rest of a broken one, and what a
//! DELETE ends.

use std::sync::Arc;

use super::Node;
use super::post::Incoming;
use super::reader::LogReader;
use crate::error::{Rejection, StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::outcome::{Outcome, Reply};
use crate::store::{EndReason, STANDALONE, StreamNo};
use crate::streams::{EventId, Frame};

/// Opens the standalone stream of a session, or resumes the stream that `Last-Event-ID` names.
pub(crate) async fn get(node: &Arc<Node>, incoming: Incoming) -> Result<Reply, Rejection> {
    let id = incoming.headers.session_id()?.ok_or(Rejection::SessionRequired)?;
    let principal = incoming.principal.as_ref();
    let session = node.session(id, principal).await?;
    // A session may have ended elsewhere; and a GET is a use of it.
    let loaded = node.engine.load(id, principal).await.map_err(|error| node.refusal(&error))?;
    let streams = &node.settings.streams;
    let (stream, after) = match incoming.headers.last_event()? {
        Some(_) if !streams.resumable => return Err(Rejection::NotResumable),
        Some(text) => {
            let event = EventId::parse(text.as_bytes()).filter(|event| event.epoch == loaded.epoch);
            let event = event.ok_or(Rejection::UnknownEvent)?;
            (event.stream, Some(event.seq))
        }
        None => (STANDALONE, None),
    };
    if after.is_none() && node.is_draining() {
        // Whoever comes back for the rest of a call may have it; nobody is to settle down.
        return Err(Rejection::Draining);
    }
    // Whoever comes back with an event has a right to the stream; a newcomer may be a second one.
    let takeover = after.is_some() || !streams.exclusive;
    let expected = Expected::new(node, id, stream);
    let (reader, attached) = match LogReader::open(node, &session, principal, stream, after, takeover).await {
        Ok(opened) => opened,
        Err(error) => {
            if error.kind() == StoreErrorKind::NotFound {
                // It may have ended since, and then it is not the stream that is missing.
                node.engine.load(id, principal).await.map_err(|error| node.refusal(&error))?;
            }
            return Err(refusal(node, &error));
        }
    };
    if stream == STANDALONE {
        session.stream_opened();
        node.listens(&session, attached).await;
    }
    drop(expected);
    let primes = streams.resumable && session.info.version.has_priming();
    let prelude = primes.then(|| Frame::Prime(reader.position()));
    let reader = reader.of_calls(if stream == STANDALONE { Vec::new() } else { session.tickets_of(stream) });
    let outcome = Outcome::Stream { prelude, source: Box::new(reader) };
    Ok(Reply { session: incoming.headers.session_text, ..outcome.into() })
}

/// A standalone stream that is being opened. Unless it is, the session does not listen here.
struct Expected<'a> {
    node: &'a Node,
    session: SessionId,
}

impl<'a> Expected<'a> {
    fn new(node: &'a Node, session: SessionId, stream: StreamNo) -> Option<Self> {
        (stream == STANDALONE).then(|| {
            node.hold_for(session);
            Self { node, session }
        })
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.node.hold_no_longer(self.session);
    }
}

/// The session is there, so what is not found is the stream.
fn refusal(node: &Node, error: &StoreError) -> Rejection {
    match error.kind() {
        StoreErrorKind::NotFound => Rejection::EventsExpired,
        StoreErrorKind::BeyondEnd => Rejection::UnknownEvent,
        StoreErrorKind::Conflict => Rejection::StreamTaken,
        StoreErrorKind::Full => Rejection::TooManyStreams { limit: node.settings.policy().max_streams },
        _ => node.refusal(error),
    }
}

/// Ends a session: its calls are cancelled, its streams end.
pub(crate) async fn delete(node: &Arc<Node>, incoming: &Incoming) -> Result<Reply, Rejection> {
    let id = incoming.headers.session_id()?.ok_or(Rejection::SessionRequired)?;
    let session = node.session(id, incoming.principal.as_ref()).await?;
    node.end(session.info.id, EndReason::Deleted).await.map_err(|error| node.refusal(&error))?;
    Ok(Outcome::Ended.into())
}
