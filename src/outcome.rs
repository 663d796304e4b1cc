//! Decides nothing: it is the word the eras and the encoder share for how a request ended.

use std::any::Any;

use bytes::Bytes;
use http::HeaderValue;

use crate::error::Rejection;
use crate::identity::Account;
use crate::message::RequestId;
use crate::streams::{Frame, Source};

/// How a request is answered.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Taken, nothing to say (202).
    Accepted,
    /// The session is ended (200, empty).
    Ended,
    /// One body of JSON.
    Json(Bytes),
    /// One message as a stream that ends with it, for clients that were promised streams; or a
    /// stream that ends without one, which is a comment.
    ShortStream(Option<Bytes>),
    /// A stream: what it begins with, and where the rest comes from.
    Stream { prelude: Option<Frame>, source: Box<dyn Source> },
    /// Refused, with the request's id where it is known.
    Rejected(Rejection, Option<RequestId>),
}

impl Outcome {
    /// The bytes of an answer that is there as a whole.
    pub(crate) fn answer(&self) -> Option<&Bytes> {
        match self {
            Self::Json(answer) | Self::ShortStream(Some(answer)) => Some(answer),
            _ => None,
        }
    }
}

/// An outcome and the session header its response carries.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) outcome: Outcome,
    pub(crate) session: Option<HeaderValue>,
    /// Whose the response is, where it can be long.
    pub(crate) account: Option<Account>,
    /// What is released once the response has been written, or its client is given up.
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
