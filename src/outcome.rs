//! Outcomes: the results of requests, which the eras produce and the encoder turns into responses.

use std::any::Any;

use bytes::Bytes;
use http::HeaderValue;

use crate::error::Rejection;
use crate::identity::Account;
use crate::message::RequestId;
use crate::streams::{Frame, Source};

/// The result of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Accepted, with nothing to return (202).
    Accepted,
    /// The session has ended (200, empty).
    Ended,
    /// A JSON body.
    Json(Bytes),
    /// A stream with one message, for clients that were promised a stream. Without a message, the
    /// stream consists of a comment.
    ShortStream(Option<Bytes>),
    /// A stream: its first frame, and the source of the others.
    Stream { prelude: Option<Frame>, source: Box<dyn Source> },
    /// Rejected, with the request's id if it is known.
    Rejected(Rejection, Option<RequestId>),
}

impl Outcome {
    /// Returns the bytes of an answer that is complete.
    pub(crate) fn answer(&self) -> Option<&Bytes> {
        match self {
            Self::Json(answer) | Self::ShortStream(Some(answer)) => Some(answer),
            _ => None,
        }
    }
}

/// An outcome, with the session header of its response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) outcome: Outcome,
    pub(crate) session: Option<HeaderValue>,
    /// The account in which the response counts, if it can be long.
    pub(crate) account: Option<Account>,
    /// Dropped when the response has been written or its client is given up.
    pub(crate) held: Option<Box<dyn Any + Send + Sync>>,
}

impl From<Rejection> for Outcome {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection, None)
    }
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, session: None, account: None, held: None }
    }
}
