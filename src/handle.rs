//! Handle: the application's access to a running service. It announces changes, inspects and ends
//! sessions, reports statistics and shuts the service down.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use serde::Serialize;

use crate::core::Core;
use crate::counters::Statistics;
use crate::error::{Rejection, StoreError, if_found};
use crate::identity::{Principal, SessionId};
use crate::legacy;
use crate::modern;
use crate::server::channel::Change;
use crate::server::{Context, Session};
use crate::store::{EndReason, SessionSummary};

/// The application's handle to a mounted service. Cheap to clone. It does not keep the service
/// alive: once the service is gone, its methods find nothing and do nothing.
///
/// Announcements reach the clients of both eras, through every service on the same
/// [engine](crate::store). Subscription streams of 2026-07-28 receive what they asked for. A
/// session receives announcements at once while its standalone stream is open, and once when the
/// client opens it again, on any node. A session that never opened it receives nothing.
/// Announcements never wait for a client: a change that is announced again before a stream has read
/// it is sent once.
#[derive(Debug, Clone)]
pub struct McpHandle(Arc<Reach>);

/// The parts of the service that a handle reaches, while they exist.
#[derive(Debug, Default)]
struct Reach {
    core: Weak<Core>,
    legacy: Weak<legacy::Node>,
    modern: Weak<modern::Node>,
}

/// The handle of the service that serves the request. It is an extractor for the handlers of tools,
/// resources and prompts, and for axum routes below an [`McpLayer`](crate::McpLayer) or with the
/// handle as an [`Extension`](axum::Extension).
impl<S: Sync> FromRequestParts<S> for McpHandle {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, StatusCode> {
        let context = parts.extensions.get::<Context>().map(Context::handle);
        context.or_else(|| parts.extensions.get().cloned()).ok_or_else(|| {
            tracing::error!("a route takes an McpHandle but has no service: add McpLayer or Extension(handle) to it");
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

/// How long the responses of cut calls may take to be written.
const FLUSH_GRACE: Duration = Duration::from_secs(1);

/// What a [drain](McpHandle::drain) did. It serializes under the names of its fields.
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

impl McpHandle {
    pub(crate) fn new(core: &Arc<Core>, legacy: &Arc<legacy::Node>, modern: &Arc<modern::Node>) -> Self {
        let reach =
            Reach { core: Arc::downgrade(core), legacy: Arc::downgrade(legacy), modern: Arc::downgrade(modern) };
        Self(Arc::new(reach))
    }

    /// Returns the handle of a service that is gone or never existed.
    pub(crate) fn nowhere() -> Self {
        Self(Arc::default())
    }

    fn core(&self) -> Option<Arc<Core>> {
        self.0.core.upgrade()
    }

    fn legacy(&self) -> Option<Arc<legacy::Node>> {
        self.0.legacy.upgrade()
    }

    /// Announces to all subscribed clients, on every node, that the list of tools changed. A
    /// [`Catalog`](crate::server::Catalog) calls this by itself. It returns immediately. While the
    /// session engine cannot be reached, this service keeps the change and announces it once the
    /// engine is back.
    pub fn tools_changed(&self) {
        self.announce(&Change::Tools);
    }

    /// Announces to all subscribed clients that the list of prompts changed.
    pub fn prompts_changed(&self) {
        self.announce(&Change::Prompts);
    }

    /// Announces to all subscribed clients that the list of resources changed.
    pub fn resources_changed(&self) {
        self.announce(&Change::Resources);
    }

    /// Announces that a resource changed, to the clients that subscribed to it: with
    /// `resources/subscribe` in a session, with `subscriptions/listen` since 2026-07-28.
    pub fn resource_updated(&self, uri: impl Into<String>) {
        self.announce(&Change::resource(uri.into()));
    }

    fn announce(&self, change: &Change) {
        if let Some(core) = self.core() {
            core.publish(change);
        }
    }

    /// Returns all sessions with their current activity.
    ///
    /// # Errors
    ///
    /// If the session engine cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: it changes nothing.
    pub async fn sessions(&self) -> Result<Vec<SessionSummary>, StoreError> {
        match self.core() {
            Some(core) => core.engine.list().await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns a session by its id, regardless of its principal, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If the session engine cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: it changes nothing.
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let Some(node) = self.legacy() else { return Ok(None) };
        Ok(if_found(node.session_of_any(id).await)?.map(|session| Session::new(session as _)))
    }

    /// Returns a session by its id if it belongs to this principal.
    pub(crate) async fn session_of(&self, id: SessionId, principal: Option<&Principal>) -> Result<Session, Rejection> {
        let Some(node) = self.legacy() else { return Err(Rejection::SessionNotFound) };
        let session = node.session(id, principal).await?;
        // This counts as a use of the session.
        node.engine.load(id, principal).await.map_err(|error| node.rejection(&error))?;
        Ok(Session::new(session as _))
    }

    /// Returns the principal of a request according to the settings.
    pub(crate) fn principal_of(&self, parts: &Parts) -> Option<Principal> {
        self.core()?.settings.sessions.principal_of(parts)
    }

    /// Ends a session: its calls are cancelled, and its id becomes unknown. Returns `false` if the
    /// session does not exist.
    ///
    /// # Errors
    ///
    /// If the session engine cannot be reached. The session may have ended then.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the session may still end, but `on_close` is not called.
    pub async fn end_session(&self, id: SessionId) -> Result<bool, StoreError> {
        let Some(node) = self.legacy() else { return Ok(false) };
        Ok(if_found(node.end(id, EndReason::Closed).await)?.is_some())
    }

    /// Ends all current sessions of a principal, for example when a user is removed. Returns their
    /// number. Its subscription streams on this node (2026-07-28) end too, with their result.
    ///
    /// Before this, make your authentication layer reject the principal. Otherwise its clients come
    /// back.
    ///
    /// # Errors
    ///
    /// If the session engine cannot be reached. Some of the sessions may have ended then.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, some sessions may have ended. Call it again to end the rest.
    pub async fn end_sessions_of(&self, principal: &Principal) -> Result<usize, StoreError> {
        let Some(node) = self.legacy() else { return Ok(0) };
        if let Some(modern) = self.0.modern.upgrade() {
            modern.end_listens_of(principal);
        }
        let mut count = 0;
        for session in node.engine.sessions_of(principal).await? {
            // It may have ended in the meantime.
            count += usize::from(if_found(node.end(session, EndReason::Closed).await)?.is_some());
        }
        Ok(count)
    }

    /// Ends all expired sessions now and returns their number. The service does this by itself once
    /// a second.
    ///
    /// # Errors
    ///
    /// If the session engine cannot be reached. Some of the sessions may have ended then.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, sessions may still end, but `on_close` is not called for them.
    pub async fn expire_sessions(&self) -> Result<usize, StoreError> {
        match self.legacy() {
            Some(node) => node.expire(node.id).await,
            None => Ok(0),
        }
    }

    /// Returns the counters since the service started. [`Statistics::sessions`] is the engine's
    /// figure, for all nodes that share it, and `None` while the engine cannot be reached. All other
    /// figures are of this service.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: it changes nothing.
    #[doc(alias = "metrics")]
    pub async fn statistics(&self) -> Statistics {
        let (Some(core), Some(modern)) = (self.core(), self.0.modern.upgrade()) else {
            return Statistics::default();
        };
        let sessions = core.engine.count().await.ok();
        core.counters.read(sessions, modern.listens())
    }

    /// Returns `true` while the service accepts new sessions and calls: use it for a readiness
    /// probe. It is `false` once the service [leaves](Self::begin_shutdown) or drains. It does not query the
    /// session engine: without the engine every node responds 503 to requests in sessions, so
    /// removing one node from the load balancer would not help.
    #[doc(alias = "health")]
    #[doc(alias = "readiness")]
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.core().is_some_and(|core| !core.lifecycle.is_shutting_down())
    }

    /// Begins the shutdown of a service whose clients can use other nodes, and waits for `linger`.
    /// Call [`drain`](Self::drain) afterwards.
    ///
    /// During this time everything is served as before, with these differences:
    ///
    /// - [`is_ready`](Self::is_ready) returns `false`.
    /// - A listener with [`McpListener::until`](crate::McpListener::until) accepts no new
    ///   connections.
    /// - Each response asks its client to close the connection (`Connection: close`, HTTP/1).
    /// - Streams opened before this call could not carry that header. If their clients can resume,
    ///   they are closed with a `retry` hint.
    ///
    /// Clients seldom repeat a call that was rejected or whose connection broke. An idle connection
    /// may carry a new call at the moment it is closed. So choose `linger` longer than clients keep
    /// idle connections (the official ones: five seconds), and longer than a load balancer takes to
    /// notice.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use axum::Router;
    /// use mcp_http::{McpListener, McpService};
    ///
    /// # async fn serve(
    /// #     service: McpService,
    /// #     signal: impl Future<Output = ()> + Send + 'static,
    /// # ) -> std::io::Result<()> {
    /// let handle = service.handle();
    /// let listener = McpListener::bind("0.0.0.0:3000").await?.until(handle.shutdown_started());
    /// let app = Router::new().nest("/mcp", service.into_router());
    /// let end = async move {
    ///     signal.await;
    ///     handle.begin_shutdown(Duration::from_secs(6)).await;
    ///     handle.drain(Duration::from_secs(30)).await;
    /// };
    /// axum::serve(listener, app).with_graceful_shutdown(end).await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the shutdown has still begun; only the wait ends.
    #[doc(alias = "shutdown")]
    pub async fn begin_shutdown(&self, linger: Duration) {
        if let Some(core) = self.core() {
            core.lifecycle.begin_shutdown();
            if let Some(legacy) = self.legacy() {
                legacy.begin_shutdown();
            }
            drop(core);
            tokio::time::sleep(linger).await;
        }
    }

    /// Returns a future that completes when the service [leaves](Self::begin_shutdown) or drains. It never
    /// completes if the service is already gone.
    pub fn shutdown_started(&self) -> impl Future<Output = ()> + Send + 'static {
        let left = self.core().map(|core| core.lifecycle.left());
        async move {
            match left {
                Some(left) => left.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Drains the service before it stops. From now on new sessions and calls are rejected (503,
    /// `Retry-After`). Calls in flight may finish until the deadline, `timeout` from now.
    /// Subscription streams end with their result, standalone streams with a `retry` hint.
    ///
    /// With an engine whose sessions outlive the process, the streams of calls end with a `retry`
    /// hint too: their clients fetch the rest from another node. That needs revision 2025-11-25 or
    /// later and [`Streams::resumable`](crate::Streams::resumable).
    ///
    /// Calls that still run at the deadline are cut off, and their responses have one more second
    /// to be written. Then sessions that cannot outlive the process are ended.
    ///
    /// This does not close connections. After its shutdown signal, `axum::serve` waits for each
    /// request that has begun, even for one whose client never sends the rest. Bound that wait, as
    /// `examples/graceful.rs` does.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the service stays closed for new work. Call it again to continue.
    #[doc(alias = "shutdown")]
    #[doc(alias = "graceful")]
    pub async fn drain(&self, timeout: Duration) -> DrainReport {
        let (Some(core), Some(legacy), Some(modern)) = (self.core(), self.legacy(), self.0.modern.upgrade()) else {
            return DrainReport::default();
        };
        core.lifecycle.drain();
        let leaving = legacy.begin_drain();
        let mut report = DrainReport {
            closed_streams: leaving.closed_streams + modern.end_listens(),
            calls: core.running.len(),
            ..DrainReport::default()
        };
        if !core.finished_within(timeout).await {
            report.cut_calls = core.running.len();
            leaving.cut_calls();
            modern.cut_calls();
            core.finished_within(FLUSH_GRACE).await;
        }
        let ended = legacy.finish_drain(leaving).await;
        (report.ended_sessions, report.failed_sessions) = (ended.ended, ended.failed);
        report
    }
}
