//! Client request: a request that a handler sends to the client, and the limits of its size.

use std::borrow::Cow;

use super::ClientError;
use crate::message::RawJson;

/// A request to the client.
#[derive(Debug)]
pub(crate) struct ClientRequest {
    pub(crate) method: Cow<'static, str>,
    pub(crate) params: RawJson,
    /// The key of the request within its call, if the handler named one.
    pub(crate) key: Option<Cow<'static, str>>,
}

/// The most bytes of JSON in the parameters of `sampling/createMessage`. Its messages carry images.
/// It equals the default replay buffer of one stream.
pub(crate) const SAMPLING_REQUEST: usize = 1 << 20;

/// The most bytes of JSON in the parameters of any other request to a client. A person reads them,
/// and a client keeps them while it waits. They often repeat what the client itself sent.
pub(crate) const CLIENT_REQUEST: usize = 64 << 10;

/// Rejects a request to the client whose parameters are too large to be kept.
pub(super) fn check_request(method: &str, params: &RawJson) -> Result<(), ClientError> {
    let limit = if method == "sampling/createMessage" { SAMPLING_REQUEST } else { CLIENT_REQUEST };
    let bytes = params.as_bytes().len();
    if bytes <= limit { Ok(()) } else { Err(ClientError::TooLarge { bytes, limit }) }
}
