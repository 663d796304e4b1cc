//! GET and DELETE: opens or resumes a stream, and ends a session.

use std::sync::Arc;

use super::Node;
use super::reader::LogReader;
use super::request::Incoming;
use crate::error::{Limit, Rejection, StoreError, StoreErrorKind};
use crate::identity::SessionId;
use crate::outcome::{Outcome, Reply};
use crate::store::{EndReason, STANDALONE, StreamNo};
use crate::streams::{EventId, Frame};

/// Opens the standalone stream of a session, or resumes the stream that `Last-Event-ID` names.
pub(crate) async fn get(node: &Arc<Node>, incoming: Incoming<'_>) -> Result<Reply, Rejection> {
    let id = incoming.headers.session_id()?.ok_or(Rejection::SessionRequired)?;
    let principal = incoming.principal.as_ref();
    let session = node.session(id, principal).await?;
    // The session may have ended at another node. The load also counts as a use of the session.
    let loaded = node.core.engine.load(id, principal).await.map_err(|error| node.rejection(&error))?;
    let streams = &node.core.settings.streams;
    let (stream, after) = match incoming.headers.last_event()? {
        Some(_) if !streams.resumable => return Err(Rejection::NotResumable),
        Some(text) => {
            let event = EventId::parse(text.as_bytes()).filter(|event| event.epoch == loaded.epoch);
            let event = event.ok_or(Rejection::UnknownEvent)?;
            (event.stream, Some(event.seq))
        }
        None => (STANDALONE, None),
    };
    if after.is_none() && node.core.is_draining() {
        // A client may still resume the rest of a call, but no new standalone stream is opened.
        return Err(Rejection::Draining);
    }
    // A client that resumes from an event is entitled to the stream. A new stream may be a second
    // one.
    let takeover = after.is_some() || !streams.reject_second_stream;
    let expected = Expected::new(node, id, stream);
    let (reader, attached) = match LogReader::open(node, &session, principal, stream, after, takeover).await {
        Ok(opened) => opened,
        Err(error) => {
            if error.kind() == StoreErrorKind::NotFound {
                // If the session has ended meanwhile, the error must name the session, not the
                // stream.
                node.core.engine.load(id, principal).await.map_err(|error| node.rejection(&error))?;
            }
            return Err(rejection(node, &error));
        }
    };
    if stream == STANDALONE {
        session.stream_opened();
        node.listens(&session, attached).await;
    }
    drop(expected);
    let primes = streams.resumable && session.info.version.has_priming();
    let prelude = primes.then(|| Frame::Prime(reader.position()));
    let reader = reader.of_calls(if stream == STANDALONE { Vec::new() } else { session.calls_of(stream) });
    let outcome = Outcome::Stream { prelude, source: Box::new(reader) };
    Ok(Reply { session: incoming.headers.session_text.clone(), ..outcome.into() })
}

/// A standalone stream that is being opened. If opening fails, changes are no longer held for the
/// session.
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

/// Maps an engine's error to a rejection. The session exists, so `NotFound` means the stream.
fn rejection(node: &Node, error: &StoreError) -> Rejection {
    match error.kind() {
        StoreErrorKind::NotFound => Rejection::EventsExpired,
        StoreErrorKind::BeyondEnd => Rejection::UnknownEvent,
        StoreErrorKind::Conflict => Rejection::StreamTaken,
        StoreErrorKind::Full => {
            Rejection::LimitReached { limit: Limit::Streams, max: node.core.settings.policy().max_streams }
        }
        _ => node.rejection(error),
    }
}

/// Ends a session: cancels its calls and ends its streams.
pub(crate) async fn delete(node: &Arc<Node>, incoming: &Incoming<'_>) -> Result<Reply, Rejection> {
    let id = incoming.headers.session_id()?.ok_or(Rejection::SessionRequired)?;
    let session = node.session(id, incoming.principal.as_ref()).await?;
    node.core.end_session(session.info.id, EndReason::Deleted).await.map_err(|error| node.rejection(&error))?;
    Ok(Outcome::Ended.into())
}
