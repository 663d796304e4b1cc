//! Sessions: how an engine creates, finds, lists and ends them, and keeps their state.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::future::Result;
use super::{EngineFuture, NodeId};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId, SessionInfo};
use crate::message::RawJson;

/// A store of sessions and their state.
pub trait SessionStore: Send + Sync + 'static {
    /// Creates a session and returns the sessions that were evicted for it.
    ///
    /// At a limit a session with nothing in flight is evicted. The oldest of those that were never
    /// used since their creation goes first, then the one that has been idle longest. If there is
    /// none, the operation fails with `Full`, `FullForPrincipal` or `FullForPeer`. It fails with
    /// `Conflict` if the id exists. If a session was evicted for a creation that then failed, the
    /// next [`expire`](SessionStore::expire) returns it.
    fn create(&self, create: Create) -> EngineFuture<Result<Vec<Ended>>>;

    /// Returns a session of a principal. This counts as a use of the session.
    fn load(&self, session: SessionId, principal: Option<&Principal>) -> EngineFuture<Result<Loaded>>;

    /// Returns a value of the session's state and its version. Version 0 means that it was never
    /// written.
    fn load_state(&self, session: SessionId, key: &str) -> EngineFuture<Result<(Option<RawJson>, u64)>>;

    /// Returns the values of the session's state whose keys start with a prefix, in any order.
    /// Values that still have a version listed in `known` are left out. A key that is not listed
    /// counts as unknown.
    fn load_states(
        &self,
        session: SessionId,
        prefix: &str,
        known: &[(&str, u64)],
    ) -> EngineFuture<Result<Vec<StateValue>>>;

    /// Writes a value of the session's state if its version is still the given one. Returns `true`
    /// if it was.
    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> EngineFuture<Result<bool>>;

    /// Ends a session and signals this to every node. Only one caller receives the session. Every
    /// later operation on the session fails with `NotFound`, on every node.
    fn end_session(&self, session: SessionId, reason: EndReason) -> EngineFuture<Result<Ended>>;

    /// Ends a session that no caller wants to know of any more, such as one whose id no client has
    /// received. It is no error if the session does not exist. As with
    /// [`finish`](super::CallStore::finish), the engine performs it, now or later.
    fn discard_session(&self, session: SessionId) -> EngineFuture<Result<()>>;

    /// Ends sessions and tasks that have expired, and forgets finished streams after their
    /// retention. Returns the sessions that ended; each is returned to one caller only.
    fn expire(&self, node: NodeId) -> EngineFuture<Result<Vec<Ended>>>;

    /// Returns all sessions, for administration.
    fn list(&self) -> EngineFuture<Result<Vec<SessionSummary>>>;

    /// Returns a session of any principal, for administration. This does not count as a use of the
    /// session.
    fn peek(&self, session: SessionId) -> EngineFuture<Result<Arc<SessionInfo>>> {
        let list = self.list();
        EngineFuture::later(async move {
            let found = list.await?.into_iter().find(|summary| summary.info.id == session);
            found.map(|summary| summary.info).ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))
        })
    }

    /// Returns the sessions of a principal, for administration: each session that exists both
    /// before and after the operation. A caller can rely on the list to verify that no session is
    /// left.
    fn sessions_of(&self, principal: &Principal) -> EngineFuture<Result<Vec<SessionId>>> {
        let (list, principal) = (self.list(), principal.clone());
        EngineFuture::later(async move {
            let own = list.await?.into_iter().filter(|summary| summary.info.principal.as_ref() == Some(&principal));
            Ok(own.map(|summary| summary.info.id).collect())
        })
    }

    /// Returns the number of sessions.
    fn count(&self) -> EngineFuture<Result<usize>>;
}

/// The reason why a session ended. It is displayed and serialized as its [name](EndReason::as_str).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// The client sent DELETE.
    Deleted,
    /// The session was idle for the idle timeout.
    Idle,
    /// The session reached its maximum age.
    Lifetime,
    /// The session was evicted in favor of another one.
    Evicted,
    /// The application ended it.
    Closed,
    /// The service shut down.
    Shutdown,
}

impl EndReason {
    /// Returns a short name for logs and metrics: `deleted`, `idle`, `lifetime`, `evicted`,
    /// `closed` or `shutdown`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Evicted => "evicted",
            Self::Closed => "closed",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session that ended, with the reason.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ended {
    /// The session before its end.
    pub info: Arc<SessionInfo>,
    /// The reason.
    pub reason: EndReason,
}

/// The parameters of [`SessionStore::create`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Create {
    /// The session.
    pub info: Arc<SessionInfo>,
    /// A part of every event id of the session, so that ids of another session are not valid in it.
    pub epoch: u32,
}

/// The result of [`SessionStore::load`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Loaded {
    /// The session.
    pub info: Arc<SessionInfo>,
    /// The epoch that was passed to [`SessionStore::create`].
    pub epoch: u32,
    /// How often the service has changed its own data in the session's state: the sum of the
    /// versions of all keys that start with [`OWN_STATE`]. A node that knows an older revision
    /// reads them again.
    pub revision: u64,
}

/// The prefix of the keys under which the service keeps a session's log level and subscriptions.
pub const OWN_STATE: &str = "mcp.";

/// A result of [`SessionStore::load_states`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StateValue {
    /// The key.
    pub key: Box<str>,
    /// The value.
    pub value: RawJson,
    /// The version, as in [`SessionStore::load_state`]; at least 1.
    pub version: u64,
}

/// A summary of a session, for administration. It serializes with the names of its fields. The
/// session's id is among them, which is a secret if sessions have no principal.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SessionSummary {
    /// The facts about the session.
    pub info: Arc<SessionInfo>,
    /// The time since it was last used, serialized as a number of seconds. Zero while a call is in
    /// flight or a reader is attached.
    #[serde(serialize_with = "seconds")]
    pub idle: Duration,
    /// Calls in flight.
    pub calls: usize,
    /// Connected readers.
    pub readers: usize,
    /// Bytes kept in its streams.
    pub bytes: usize,
}

/// Serde's `serialize_with` passes a reference.
fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Returns the result of a discarded session, for that of its end.
pub(in crate::store) fn discarded(ended: Result<Ended>) -> Result<()> {
    match ended {
        Err(error) if error.kind() != StoreErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
