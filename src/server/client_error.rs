//! Decides how a question to the client can fail.

use std::fmt;
use std::time::Duration;

use crate::message::ErrorObject;

/// Why a client gave no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The client did not declare the capability the question needs.
    NotCapable(&'static str),
    /// The client answered with a JSON-RPC error.
    Refused(ErrorObject),
    /// The client did not answer in time.
    Timeout(Duration),
    /// There is no stream to ask on: stateless mode, JSON answers, or no standalone stream open.
    NoStream,
    /// The call or the session ended while the question was open, or the session engine lost the question.
    Ended,
    /// The client answered with something that does not fit the question.
    Unreadable(serde_json::Error),
    /// The client was not asked: the parameters of the request have more bytes than they may:
    /// [`Limits::SAMPLING_REQUEST`](crate::Limits::SAMPLING_REQUEST) for sampling,
    /// [`Limits::CLIENT_REQUEST`](crate::Limits::CLIENT_REQUEST) for every other.
    TooLarge {
        /// How many bytes of JSON they have.
        bytes: usize,
        /// How many they may have.
        limit: usize,
    },
    /// The client was not asked: the type is no form that the protocol can show, and why.
    NotAForm(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCapable(capability) => write!(f, "the client does not support {capability}"),
            Self::Refused(error) => write!(f, "the client refused: {error}"),
            Self::Timeout(after) => write!(f, "the client did not answer within {after:?}"),
            Self::NoStream => f.write_str("the client cannot be asked: it has no open stream"),
            Self::Ended => f.write_str("the call ended before the client answered"),
            Self::Unreadable(_) => f.write_str("the client's answer does not fit the question"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "the client was not asked: the request has {bytes} bytes, the limit is {limit}")
            }
            Self::NotAForm(why) => write!(f, "the client was not asked: {why}"),
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
