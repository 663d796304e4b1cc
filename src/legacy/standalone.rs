//! The base of a context without a call. Handlers of notifications and openings use it, because
//! they have no stream of their own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Node;
use super::session::LiveSession;
use crate::error::StoreError;
use crate::handle::McpHandle;
use crate::identity::Principal;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion, RawJson};
use crate::server::ClientError;
use crate::server::channel::Channel;
use crate::server::client_request::ClientRequest;
use crate::server::session_access::SessionAccess;

/// A session without a call. Messages are sent to its standalone stream.
#[derive(Debug)]
pub(super) struct Standalone {
    session: Arc<LiveSession>,
    handle: McpHandle,
}

impl Standalone {
    pub(super) fn new(node: &Node, session: &Arc<LiveSession>) -> Self {
        Self { session: Arc::clone(session), handle: node.core.handle.clone() }
    }
}

impl Channel for Standalone {
    fn version(&self) -> ProtocolVersion {
        self.session.info.version
    }

    fn client(&self) -> Option<&Implementation> {
        Some(&self.session.info.client)
    }

    fn capabilities(&self) -> Option<&ClientCapabilities> {
        Some(&self.session.info.capabilities)
    }

    fn principal(&self) -> Option<&Principal> {
        self.session.info.principal.as_ref()
    }

    fn session(&self) -> Option<Arc<dyn SessionAccess>> {
        Some(Arc::clone(&self.session) as _)
    }

    fn handle(&self) -> McpHandle {
        self.handle.clone()
    }

    fn log_level(&self) -> u8 {
        self.session.log_level.load(Ordering::Relaxed)
    }

    fn set_log_level(&self, level: u8) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.session.set_log_level(level))
    }

    fn send(&self, notification: Bytes) -> bool {
        self.session.publish(notification);
        true
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn request(&self, request: ClientRequest) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        SessionAccess::request(&*self.session, request.method, request.params)
    }

    fn close_stream(&self, _retry: Option<Duration>) -> bool {
        false
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}
