//! Client errors: why a request to the client failed.

use std::fmt;
use std::time::Duration;

use crate::message::ErrorObject;

/// The reason why a request to the client has no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The client did not declare the capability that the request needs.
    NotCapable(&'static str),
    /// The client answered with a JSON-RPC error.
    Refused(ErrorObject),
    /// The client did not answer within the timeout.
    Timeout(Duration),
    /// No stream can carry the request: stateless mode, JSON responses, or no open standalone
    /// stream.
    NoStream,
    /// The call or the session ended before the client answered, or the session engine lost the
    /// request.
    Ended,
    /// The client's answer does not match the request.
    Unreadable(serde_json::Error),
    /// The request was not sent because its parameters are too large: more than
    /// [`Limits::MAX_SAMPLING_REQUEST_BYTES`](crate::Limits::MAX_SAMPLING_REQUEST_BYTES) for sampling,
    /// [`Limits::MAX_CLIENT_REQUEST_BYTES`](crate::Limits::MAX_CLIENT_REQUEST_BYTES) for all others.
    TooLarge {
        /// The size of the parameters in bytes of JSON.
        bytes: usize,
        /// The largest allowed size.
        limit: usize,
    },
    /// The request was not sent because its type is not a form that the protocol can express. Holds
    /// the reason.
    NotAForm(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCapable(capability) => write!(f, "the client does not support {capability}"),
            Self::Refused(error) => write!(f, "the client rejected the request: {error}"),
            Self::Timeout(after) => write!(f, "the client did not answer within {after:?}"),
            Self::NoStream => f.write_str("the request cannot be sent: the client has no open stream"),
            Self::Ended => f.write_str("the call or the session ended before the client answered"),
            Self::Unreadable(_) => f.write_str("the client's answer does not match the request"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "the request was not sent: it has {bytes} bytes, the limit is {limit}")
            }
            Self::NotAForm(why) => write!(f, "the request was not sent: {why}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Unreadable(error) => Some(error),
            Self::NotCapable(_)
            | Self::Timeout(_)
            | Self::NoStream
            | Self::Ended
            | Self::TooLarge { .. }
            | Self::NotAForm(_) => None,
        }
    }
}
