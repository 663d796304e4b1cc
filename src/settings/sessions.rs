//! Decides what can be set about sessions.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::request::Parts;

use super::{at_least_one, positive_if_set};
use crate::error::ConfigError;
use crate::identity::Principal;
use crate::message::ErrorObject;
use crate::server::Session;
use crate::store::{Ended, Policy};

// What a hook does before its future exists runs in the future, too: a panic there is caught with it.
type OpenHook = Arc<dyn Fn(Session) -> BoxFuture<'static, Result<(), ErrorObject>> + Send + Sync>;
type CloseHook = Arc<dyn Fn(Ended) -> BoxFuture<'static, ()> + Send + Sync>;
type PrincipalOf = Arc<dyn Fn(&Parts) -> Option<Principal> + Send + Sync>;

/// How sessions live and die. Give it to [`McpServiceBuilder::sessions`](crate::McpServiceBuilder::sessions).
///
/// ```
/// use std::time::Duration;
/// use mcp_http::{McpServer, McpService, Sessions};
///
/// let sessions = Sessions::new().idle_timeout(Duration::from_secs(600)).max(2_000);
/// let service = McpService::builder(McpServer::<()>::new("doc", "1")).sessions(sessions).build()?;
/// # let _ = service;
/// # Ok::<(), mcp_http::error::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Sessions {
    pub(crate) stateless: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) lifetime: Option<Duration>,
    pub(crate) max: usize,
    pub(crate) max_per_principal: usize,
    pub(crate) max_per_peer: Option<usize>,
    principal: Option<PrincipalOf>,
    pub(crate) opened: Option<OpenHook>,
    pub(crate) closed: Option<CloseHook>,
}

impl Sessions {
    /// Half an hour: longer than a person's pause, short enough that abandoned sessions (most
    /// clients never send DELETE) do not pile up.
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(1800);

    /// Ten thousand, the figure of the official SDKs; about six megabytes when idle.
    pub const DEFAULT_MAX: usize = 10_000;

    /// A tenth of all: one principal cannot lock the others out.
    pub const DEFAULT_MAX_PER_PRINCIPAL: usize = 1_000;

    /// Half of all: one address cannot take every session, and an office behind one address, or a proxy that is
    /// not among the trusted ones, has room for thousands.
    pub const DEFAULT_MAX_PER_PEER: usize = 5_000;

    /// The defaults: sessions, half an hour idle, no greatest age.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stateless: false,
            idle_timeout: Some(Self::DEFAULT_IDLE_TIMEOUT),
            lifetime: None,
            max: Self::DEFAULT_MAX,
            max_per_principal: Self::DEFAULT_MAX_PER_PRINCIPAL,
            max_per_peer: Some(Self::DEFAULT_MAX_PER_PEER),
            principal: None,
            opened: None,
            closed: None,
        }
    }

    /// No sessions at all: each POST of the session revisions stands for itself, GET and DELETE are refused
    /// (405), nothing is kept, and the client cannot be asked. A client that closes its connection cancels its
    /// calls, because no client could fetch their answers; so does one that stops reading
    /// ([`Streams::slow_reader`](crate::Streams::slow_reader)). `notifications/cancelled` has no effect. Requests of
    /// 2026-07-28 are served as always. For functions, and for load balancers without session affinity.
    /// Default: no, because without a session nothing can be resumed.
    #[must_use]
    pub fn stateless(mut self, stateless: bool) -> Self {
        self.stateless = stateless;
        self
    }

    /// Ends a session that has nothing in flight, no open stream and no request for this long.
    /// `None`: never. Default [`Sessions::DEFAULT_IDLE_TIMEOUT`]. Must be longer than zero and than the
    /// [retry interval](super::Streams::retry_interval).
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Ends a session this long after it was opened, whatever it does; longer than zero. Default: never,
    /// because a client at work would lose it.
    #[must_use]
    pub fn lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.lifetime = lifetime.into();
        self
    }

    /// How many sessions there may be. A new one beyond it ends one with nothing in flight: the oldest of those
    /// whose clients sent nothing since `initialize`, else the longest idle. Without such a one it is refused (503,
    /// `Retry-After`). At least 1, default [`Sessions::DEFAULT_MAX`].
    #[must_use]
    pub fn max(mut self, sessions: usize) -> Self {
        self.max = sessions;
        self
    }

    /// The same for the sessions of one principal; requests without one are not counted here. At least 1,
    /// default [`Sessions::DEFAULT_MAX_PER_PRINCIPAL`].
    #[must_use]
    pub fn max_per_principal(mut self, sessions: usize) -> Self {
        self.max_per_principal = sessions;
        self
    }

    /// The same for the sessions without a principal that were opened from one [`Peer`](crate::Peer): an IPv4
    /// address, or the /64 network of an IPv6 address. At this limit its own sessions make room, and no others.
    ///
    /// It counts where the connection's address is known: serve the application with
    /// `into_make_service_with_connect_info::<SocketAddr>()`. Behind proxies the peer is the client's address as
    /// [`Security::trusted_proxies`](crate::Security::trusted_proxies) say it. Without that address nothing changes. A
    /// peer only counts; it opens no session. At least 1; `None`: peers have no share. Default
    /// [`Sessions::DEFAULT_MAX_PER_PEER`].
    #[must_use]
    pub fn max_per_peer(mut self, sessions: impl Into<Option<usize>>) -> Self {
        self.max_per_peer = sessions.into();
        self
    }

    /// Reads the principal of a request from its head. Without this it is the [`Principal`] that
    /// a layer put into the request's extensions. Never take it from a header that nobody
    /// verified.
    #[must_use]
    pub fn principal(mut self, of: impl Fn(&Parts) -> Option<Principal> + Send + Sync + 'static) -> Self {
        self.principal = Some(Arc::new(of));
        self
    }

    /// Called once for each session, after it was opened and before the client learns its id. An
    /// error refuses the opening: the client gets it, and the session is gone. What is to be said to the client belongs
    /// in a task, which [waits](Session::stream_opens) until it listens.
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

    /// Called once for each session that was opened, after it ended, with the reason.
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

    /// Who a request comes from.
    pub(crate) fn principal_of(&self, parts: &Parts) -> Option<Principal> {
        match &self.principal {
            Some(of) => of(parts),
            None => parts.extensions.get().cloned(),
        }
    }

    pub(super) fn check(&self, error: &mut ConfigError) {
        positive_if_set(error, "Sessions::idle_timeout", self.idle_timeout);
        positive_if_set(error, "Sessions::lifetime", self.lifetime);
        at_least_one(error, "Sessions::max", self.max);
        at_least_one(error, "Sessions::max_per_principal", self.max_per_principal);
        at_least_one(error, "Sessions::max_per_peer", self.max_per_peer.unwrap_or(usize::MAX));
    }

    pub(super) fn apply(&self, policy: &mut Policy) {
        policy.idle_timeout = self.idle_timeout;
        policy.lifetime = self.lifetime;
        policy.max_sessions = self.max;
        policy.max_sessions_per_principal = self.max_per_principal;
        policy.max_sessions_per_peer = self.max_per_peer.unwrap_or(usize::MAX);
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("stateless", &self.stateless)
            .field("idle_timeout", &self.idle_timeout)
            .field("lifetime", &self.lifetime)
            .field("max", &self.max)
            .field("max_per_principal", &self.max_per_principal)
            .field("max_per_peer", &self.max_per_peer)
            .finish_non_exhaustive()
    }
}
