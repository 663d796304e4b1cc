//! Control: what a service does for the application's handle, on both eras.

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::request::Parts;
use serde::Serialize;

use crate::counters::Statistics;
use crate::error::{Rejection, StoreError};
use crate::identity::{Principal, SessionId};
use crate::server::Session;
use crate::server::change::Change;
use crate::store::SessionSummary;

/// A running service, as its handle reaches it. The methods of
/// [`McpHandle`](crate::McpHandle) say more.
pub(crate) trait Control: Send + Sync {
    fn announce(&self, change: &Change);
    fn list(&self) -> BoxFuture<'_, Result<Vec<SessionSummary>, StoreError>>;
    /// Returns a session of any principal.
    fn session(&self, id: SessionId) -> BoxFuture<'_, Result<Session, StoreError>>;
    /// Returns a session of this principal, which counts as a use of it.
    fn session_of<'a>(
        &'a self,
        id: SessionId,
        principal: Option<&'a Principal>,
    ) -> BoxFuture<'a, Result<Session, Rejection>>;
    fn sessions_of<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, Result<Vec<SessionId>, StoreError>>;
    /// Ends the subscription streams of a principal on this node.
    fn end_listens_of(&self, principal: &Principal);
    fn principal_of(&self, parts: &Parts) -> Option<Principal>;
    fn end_session(&self, id: SessionId) -> BoxFuture<'_, Result<(), StoreError>>;
    fn expire_sessions(&self) -> BoxFuture<'_, Result<usize, StoreError>>;
    fn statistics(&self) -> BoxFuture<'_, Statistics>;
    fn is_shutting_down(&self) -> bool;
    fn begin_shutdown(&self);
    fn shutdown_started(&self) -> BoxFuture<'static, ()>;
    fn drain(&self, timeout: Duration) -> BoxFuture<'_, DrainReport>;
}

/// What a [drain](crate::McpHandle::drain) did. It serializes under the names of its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrainReport {
    /// Streams that were closed so that their clients reconnect to another node, subscription
    /// streams included.
    pub closed_streams: usize,
    /// Calls in flight when the drain began.
    pub calls: usize,
    /// Calls among these that were still running at the deadline and were cut off.
    pub cut_calls: usize,
    /// Sessions that ended with the service. Sessions of a durable engine continue.
    pub ended_sessions: usize,
    /// Sessions that should have ended with the service, and that the session engine failed to end.
    pub failed_sessions: usize,
}
