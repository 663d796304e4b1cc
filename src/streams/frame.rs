//! Decides what a response that streams is made of, whatever it is read from.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::EventId;

/// One event of an SSE response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message; with an id where a client can come back for what follows it.
    Message { id: Option<EventId>, payload: Bytes },
    /// No message: an id to come back with (SEP-1699). When to come back is a [`Frame::Retry`] at the
    /// end of the stream: a released Java client fails on any further field in this event.
    Prime(EventId),
    /// No message: when to come back, right before the server closes the stream.
    Retry(Duration),
}

/// What can be sent now.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) frames: Vec<Frame>,
    /// Whether the response ends after them.
    pub(crate) last: bool,
}

/// Where a response that streams is read from. Dropping it means that the client went away, or
/// has everything.
pub(crate) trait Source: fmt::Debug + Send {
    /// Everything that can be sent now, at least one frame or the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Frames>;

    /// Bytes that are kept for this response alone.
    fn held(&self) -> usize {
        0
    }
}
