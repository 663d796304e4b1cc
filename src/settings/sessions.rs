//! Settings for sessions: lifetime, number, principals, hooks.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::request::Parts;

use super::group::settings;
use super::{anything, at_least_one, at_least_one_if_set, positive_if_set};
use crate::error::ConfigError;
use crate::identity::Principal;
use crate::message::ErrorObject;
use crate::server::Session;
use crate::store::{Ended, Policy};

// A hook runs inside its future from its first line on, so that a panic is caught with the future.
type OpenHook = Arc<dyn Fn(Session) -> BoxFuture<'static, Result<(), ErrorObject>> + Send + Sync>;
type CloseHook = Arc<dyn Fn(Ended) -> BoxFuture<'static, ()> + Send + Sync>;
type PrincipalOf = Arc<dyn Fn(&Parts) -> Option<Principal> + Send + Sync>;

settings! {
    /// How long sessions live, how many there may be, and which hooks run. Pass this to
    /// [`McpServiceBuilder::sessions`](crate::McpServiceBuilder::sessions).
    ///
    /// ```
    /// use std::time::Duration;
    /// use mcp_http::{McpServer, McpService, Sessions};
    ///
    /// let sessions = Sessions::new().idle_timeout(Duration::from_secs(600)).max_sessions(2_000);
    /// let service = McpService::builder(McpServer::<()>::new("doc", "1")).sessions(sessions).build()?;
    /// # let _ = service;
    /// # Ok::<(), mcp_http::error::ConfigError>(())
    /// ```
    #[derive(Clone)]
    pub struct Sessions {
        /// Serves the session revisions without sessions. Each POST is independent, nothing is stored,
        /// GET and DELETE are rejected (405), and handlers cannot send requests to the client. A client
        /// that closes its connection cancels its calls, because no client could fetch their results.
        /// So does a client that stops reading ([`Streams::slow_reader_timeout`](crate::Streams::slow_reader_timeout)).
        /// `notifications/cancelled` has no effect. Requests of 2026-07-28 are served as usual. Use it
        /// for serverless functions, and for load balancers without session affinity. Default: no,
        /// because nothing can be resumed without a session.
        stateless: value bool = false, anything;

        /// Ends a session that had no call in flight, no open stream and no request for this long.
        /// `None`: never. Must be longer than zero and than the [retry
        /// interval](super::Streams::retry_interval). Default [`Sessions::DEFAULT_IDLE_TIMEOUT`].
        idle_timeout: option Duration = Some(Self::DEFAULT_IDLE_TIMEOUT), positive_if_set;

        /// Ends a session this long after it was opened, even if it is in use. Longer than zero.
        /// Default: never, because a working client would lose its session.
        lifetime: option Duration = None, positive_if_set;

        /// How many sessions there may be. At the limit, a new session replaces one with nothing in
        /// flight: the oldest of those whose clients sent nothing since `initialize`, else the longest
        /// idle. If there is none, the new session is rejected (503, `Retry-After`). At least 1,
        /// default [`Sessions::DEFAULT_MAX_SESSIONS`].
        max_sessions: value usize = Self::DEFAULT_MAX_SESSIONS, at_least_one;

        /// How many sessions one principal may have. Requests without a principal are not counted here.
        /// At least 1, default [`Sessions::DEFAULT_MAX_SESSIONS_PER_PRINCIPAL`].
        max_sessions_per_principal: value usize = Self::DEFAULT_MAX_SESSIONS_PER_PRINCIPAL, at_least_one;

        /// How many sessions without a principal may be opened from one [`Peer`](crate::Peer): an IPv4
        /// address, or the /64 network of an IPv6 address. At this limit a new session replaces only
        /// sessions of the same peer.
        ///
        /// It applies if the connection's address is known: serve the application with
        /// `into_make_service_with_connect_info::<SocketAddr>()`. Behind proxies, the peer is the
        /// client's address according to
        /// [`Security::trusted_proxies`](crate::Security::trusted_proxies). Without an address there is
        /// no limit per peer. The peer is only counted; it grants no access to a session. At least 1;
        /// `None`: no limit per peer. Default [`Sessions::DEFAULT_MAX_SESSIONS_PER_PEER`].
        max_sessions_per_peer: option usize = Some(Self::DEFAULT_MAX_SESSIONS_PER_PEER), at_least_one_if_set;
    }
    other {
        principal: Option<PrincipalOf> = None;
        opened: Option<OpenHook> = None;
        closed: Option<CloseHook> = None;
    }
}

impl Sessions {
    /// Half an hour: longer than a person's pause, short enough that abandoned sessions do not pile
    /// up. Most clients never send DELETE.
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(1800);

    /// Ten thousand, the figure of the official SDKs. They take about six megabytes when idle.
    pub const DEFAULT_MAX_SESSIONS: usize = 10_000;

    /// A tenth of all sessions: one principal cannot lock out the others.
    pub const DEFAULT_MAX_SESSIONS_PER_PRINCIPAL: usize = 1_000;

    /// Half of all sessions: one address cannot take all of them. An office behind one address, or
    /// a proxy that is not trusted, may still have thousands.
    pub const DEFAULT_MAX_SESSIONS_PER_PEER: usize = 5_000;

    /// Reads the principal of a request from its head. Default: the [`Principal`] that a layer put
    /// into the request's extensions. Never read it from a header that is not verified.
    #[doc(alias = "auth")]
    #[doc(alias = "authentication")]
    #[must_use]
    pub fn principal(mut self, of: impl Fn(&Parts) -> Option<Principal> + Send + Sync + 'static) -> Self {
        self.principal = Some(Arc::new(of));
        self
    }

    /// Called once for each session, after it was opened and before the client receives its id. An
    /// error rejects the session: the client receives the error, and the session is removed. To
    /// send something to the client, spawn a task that [waits](Session::stream_opened) for its
    /// stream.
    #[must_use]
    pub fn on_open<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Session) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), ErrorObject>> + Send + 'static,
    {
        let hook = Arc::new(hook);
        self.opened = Some(Arc::new(move |session| {
            let hook = Arc::clone(&hook);
            Box::pin(async move { hook(session).await })
        }));
        self
    }

    /// Called once after each session that was opened has ended, with the reason.
    #[must_use]
    pub fn on_close<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Ended) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let hook = Arc::new(hook);
        self.closed = Some(Arc::new(move |ended| {
            let hook = Arc::clone(&hook);
            Box::pin(async move { hook(ended).await })
        }));
        self
    }

    /// Returns the principal of a request.
    pub(crate) fn principal_of(&self, parts: &Parts) -> Option<Principal> {
        match &self.principal {
            Some(of) => of(parts),
            None => parts.extensions.get().cloned(),
        }
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        self.check_each(error);
    }

    pub(super) fn apply(&self, policy: &mut Policy) {
        policy.idle_timeout = self.idle_timeout;
        policy.lifetime = self.lifetime;
        policy.max_sessions = self.max_sessions;
        policy.max_sessions_per_principal = self.max_sessions_per_principal;
        policy.max_sessions_per_peer = self.max_sessions_per_peer.unwrap_or(usize::MAX);
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("stateless", &self.stateless)
            .field("idle_timeout", &self.idle_timeout)
            .field("lifetime", &self.lifetime)
            .field("max", &self.max_sessions)
            .field("max_per_principal", &self.max_sessions_per_principal)
            .field("max_per_peer", &self.max_sessions_per_peer)
            .finish_non_exhaustive()
    }
}
