//! Frames: what a streamed response consists of, whatever source it is read from.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::EventId;

/// One event of an SSE response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message. It has an id if the client can resume after it.
    Message { id: Option<EventId>, payload: Bytes },
    /// An event without a message that carries an id to resume from (SEP-1699). The `retry` hint is
    /// a separate [`Frame::Retry`] at the end of the stream, because a released Java client fails
    /// on any further field in this event.
    Prime(EventId),
    /// A `retry` hint without a message, sent right before the server closes the stream.
    Retry(Duration),
}

/// The frames that can be sent now.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) frames: Vec<Frame>,
    /// The response ends after these frames.
    pub(crate) last: bool,
}

/// What a source does when the access token of its client has expired.
#[derive(Debug)]
pub(crate) enum Expiry {
    /// It sends these frames, which may be the last.
    Ends(Frames),
    /// It ends after this time.
    EndsIn(Duration),
    /// It goes on, because its client could not continue it elsewhere.
    GoesOn,
}

/// The source of a streamed response. It is dropped when the client disconnects or has received
/// everything.
pub(crate) trait Source: fmt::Debug + Send {
    /// Returns everything that can be sent now: at least one frame, or the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Frames>;

    /// Ends the stream, because the access token of its client has expired.
    fn expire(&mut self, cx: &mut Context<'_>) -> Expiry {
        let _ = cx;
        Expiry::GoesOn
    }

    /// Returns how many bytes are kept for this response alone.
    fn held(&self) -> usize {
        0
    }
}
