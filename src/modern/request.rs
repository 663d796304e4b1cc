//! Requests: what the edge admitted, and the one JSON-RPC request of it.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;

use crate::edge::{BodyShare, McpHeaders};
use crate::identity::{Peer, Principal};
use crate::message::{RawJson, RequestMeta};

/// A request that passed the edge.
pub(crate) struct Incoming<'a> {
    /// Boxed, because it is passed from future to future.
    pub(crate) parts: Box<Parts>,
    /// Borrowed, because it is large and is passed from future to future.
    pub(crate) headers: &'a McpHeaders,
    pub(crate) principal: Option<Principal>,
    /// The address it comes from, if it has no principal and the address is known.
    pub(crate) peer: Option<Peer>,
    /// The metadata of the request, if any.
    pub(crate) meta: Option<Box<RequestMeta>>,
    /// Whether the client accepts a stream.
    pub(crate) takes_streams: bool,
    /// The body's share of the service's budget, held while the call runs.
    pub(crate) share: Option<Arc<BodyShare>>,
}

/// One parsed request.
pub(super) struct Request {
    pub(super) method: Cow<'static, str>,
    pub(super) params: Option<RawJson>,
    pub(super) parts: Box<Parts>,
}
