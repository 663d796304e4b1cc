//! Requests: what the edge admitted, and one JSON-RPC request of it, before any handler runs.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderValue;
use http::request::Parts;

use super::Node;
use super::session::LiveSession;
use crate::edge::{BodyShare, McpHeaders};
use crate::error::Rejection;
use crate::identity::{Account, Peer, Principal};
use crate::message::{Envelope, Kind, Params, RawJson, RequestId};
use crate::server::server_trait::ErasedServer;

/// A request that passed the edge.
#[derive(Clone)]
pub(crate) struct Incoming<'a> {
    /// Boxed, because it is passed from future to future.
    pub(crate) parts: Box<Parts>,
    /// Borrowed, because it is large and is passed from future to future.
    pub(crate) headers: &'a McpHeaders,
    pub(crate) principal: Option<Principal>,
    /// The session that the request's head names, if it was looked up before the body was read.
    pub(crate) session: Option<Arc<LiveSession>>,
    /// The body's share of the service's memory budget. It is held as long as the calls run.
    pub(crate) share: Option<Arc<BodyShare>>,
    /// The peer address, if the request has no principal and the address is known.
    pub(crate) peer: Option<Peer>,
}

impl Incoming<'_> {
    /// Returns the account under which the request counts towards the limits.
    pub(super) fn account(&self) -> Option<Account> {
        Account::of(self.principal.as_ref(), self.peer)
    }
}

/// What the handling of a POST needs: the node, the user's server and its state.
pub(super) struct Post<'a, S> {
    pub(super) node: &'a Arc<Node>,
    pub(super) server: &'a Arc<dyn ErasedServer<S>>,
    pub(super) state: S,
    pub(super) incoming: Incoming<'a>,
}

impl<S: Clone> Post<'_, S> {
    /// Returns a copy for another message of a batch.
    pub(super) fn again(&self) -> Self {
        Self { node: self.node, server: self.server, state: self.state.clone(), incoming: self.incoming.clone() }
    }
}

/// A request that has no handler yet.
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) method: Cow<'static, str>,
    pub(super) params: Option<Params>,
}

impl Request {
    /// Rejects parameters that no handler may receive.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        self.params.as_ref().map_or(Ok(()), Params::check).map_err(Rejection::InvalidParams)
    }
}

/// One message of a body.
pub(super) enum Message {
    Request(Request),
    OneWay(OneWay),
}

/// A message that is accepted without an answer.
pub(super) enum OneWay {
    Notification {
        method: Cow<'static, str>,
        params: Option<Params>,
    },
    /// The answer to a request of this server.
    Answer {
        id: RequestId,
        outcome: Result<RawJson, RawJson>,
    },
}

impl From<Envelope> for Message {
    fn from(Envelope { kind, params }: Envelope) -> Self {
        match kind {
            Kind::Request { id, method } => Self::Request(Request { id, method, params }),
            Kind::Notification { method } => Self::OneWay(OneWay::Notification { method, params }),
            Kind::Answer { id, outcome } => Self::OneWay(OneWay::Answer { id, outcome }),
        }
    }
}

/// Returns the session header for responses.
pub(super) fn session_header(session: &LiveSession) -> Option<HeaderValue> {
    HeaderValue::try_from(session.info.id.to_string()).ok()
}
