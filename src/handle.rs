//! Handle: the application's access to a running service. It announces changes, inspects and ends
//! sessions, reports statistics and shuts the service down.

mod control;
#[cfg(test)]
mod gone;

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::request::Parts;

pub(crate) use self::control::Control;
pub use self::control::DrainReport;
use crate::counters::Statistics;
use crate::error::{Rejection, StoreError, if_found};
use crate::identity::{Principal, SessionId};
use crate::server::Session;
use crate::server::change::Change;
use crate::store::SessionSummary;

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
pub struct McpHandle(Weak<dyn Control>);

impl McpHandle {
    pub(crate) fn new(service: Weak<dyn Control>) -> Self {
        Self(service)
    }

    /// Returns the service, unless it is gone.
    fn service(&self) -> Option<Arc<dyn Control>> {
        self.0.upgrade()
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
        if let Some(service) = self.service() {
            service.announce(change);
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
        match self.service() {
            Some(service) => service.list().await,
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
        match self.service() {
            Some(service) => if_found(service.session(id).await),
            None => Ok(None),
        }
    }

    /// Returns a session by its id if it belongs to this principal.
    pub(crate) async fn session_of(&self, id: SessionId, principal: Option<&Principal>) -> Result<Session, Rejection> {
        match self.service() {
            Some(service) => service.session_of(id, principal).await,
            None => Err(Rejection::SessionNotFound),
        }
    }

    /// Returns the principal of a request according to the settings.
    pub(crate) fn principal_of(&self, parts: &Parts) -> Option<Principal> {
        self.service()?.principal_of(parts)
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
        let Some(service) = self.service() else { return Ok(false) };
        Ok(if_found(service.end_session(id).await)?.is_some())
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
        let Some(service) = self.service() else { return Ok(0) };
        service.end_listens_of(principal);
        let mut count = 0;
        for session in service.sessions_of(principal).await? {
            // It may have ended in the meantime.
            count += usize::from(if_found(service.end_session(session).await)?.is_some());
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
        match self.service() {
            Some(service) => service.expire_sessions().await,
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
        match self.service() {
            Some(service) => service.statistics().await,
            None => Statistics::default(),
        }
    }

    /// Returns `true` while the service accepts new sessions and calls: use it for a readiness
    /// probe. It is `false` once the service [leaves](Self::begin_shutdown) or drains. It does not query the
    /// session engine: without the engine every node responds 503 to requests in sessions, so
    /// removing one node from the load balancer would not help.
    #[doc(alias = "health")]
    #[doc(alias = "readiness")]
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.service().is_some_and(|service| !service.is_shutting_down())
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
        if let Some(service) = self.service() {
            service.begin_shutdown();
            drop(service);
            tokio::time::sleep(linger).await;
        }
    }

    /// Returns a future that completes when the service [leaves](Self::begin_shutdown) or drains. It never
    /// completes if the service is already gone.
    pub fn shutdown_started(&self) -> impl Future<Output = ()> + Send + 'static {
        let started = self.service().map(|service| service.shutdown_started());
        async move {
            match started {
                Some(started) => started.await,
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
        match self.service() {
            Some(service) => service.drain(timeout).await,
            None => DrainReport::default(),
        }
    }
}
