//! Decides what an application can see and do from outside: announce changes, look at sessions,
//! end them, drain.

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use serde::Serialize;

use crate::counters::Statistics;
use crate::error::{StoreError, StoreErrorKind};
use crate::hall::Hall;
use crate::identity::{Principal, SessionId};
use crate::legacy;
use crate::modern;
use crate::server::channel::Change;
use crate::server::{Context, Session};
use crate::store::{EndReason, SessionSummary};

/// The application's hand on a mounted service. Cheap to clone. It does not keep the service
/// running: once the service is gone, there is nothing to see and nothing to do.
///
/// What it announces reaches, in both eras and through every service on the same
/// [engine](crate::store), the subscription streams of 2026-07-28 that asked for it, and each session that
/// has opened its standalone stream: at once while the stream is open, and once when the client opens it
/// again, at any node. A session that never opened it receives nothing. Announcements wait for no
/// client: a change that is announced again before a stream has read it is sent once.
#[derive(Debug, Clone)]
pub struct McpHandle(Arc<Reach>);

/// What a handle reaches, as long as it is there.
#[derive(Debug, Default)]
struct Reach {
    hall: Weak<Hall>,
    legacy: Weak<legacy::Node>,
    modern: Weak<modern::Node>,
}

/// The service of a request: as an argument of a tool, resource or prompt handler, and on routes
/// below an [`McpLayer`](crate::McpLayer) or with the handle as an [`Extension`](axum::Extension).
impl<S: Sync> FromRequestParts<S> for McpHandle {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, StatusCode> {
        let context = parts.extensions.get::<Context>().map(Context::handle);
        context.or_else(|| parts.extensions.get().cloned()).ok_or_else(|| {
            tracing::error!("a route takes an McpHandle, but was not given the service: layer it with McpLayer, or with Extension(handle)");
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

/// How long the answers of calls that were cut off may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a [drain](McpHandle::drain) did. It serializes under the names of its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrainReport {
    /// Streams that were closed so that their clients come back elsewhere, subscription streams
    /// among them.
    pub closed_streams: usize,
    /// Calls in flight when it began.
    pub calls: usize,
    /// Of these, the calls that were still running at the deadline and were cut off.
    pub cut_calls: usize,
    /// Sessions that ended with the service; those of a durable engine live on.
    pub ended_sessions: usize,
}

impl McpHandle {
    pub(crate) fn new(hall: &Arc<Hall>, legacy: &Arc<legacy::Node>, modern: &Arc<modern::Node>) -> Self {
        let reach =
            Reach { hall: Arc::downgrade(hall), legacy: Arc::downgrade(legacy), modern: Arc::downgrade(modern) };
        Self(Arc::new(reach))
    }

    /// The handle of a service that is gone, or never was.
    pub(crate) fn nowhere() -> Self {
        Self(Arc::default())
    }

    fn hall(&self) -> Option<Arc<Hall>> {
        self.0.hall.upgrade()
    }

    fn legacy(&self) -> Option<Arc<legacy::Node>> {
        self.0.legacy.upgrade()
    }

    /// Tells every client that listens, on every node, that the list of tools changed. A
    /// [`Catalog`](crate::server::Catalog) does it by itself. It is done in the background: while the session
    /// engine cannot be reached, this service keeps the change and announces it when the engine is back.
    pub fn tools_changed(&self) {
        self.announce(&Change::Tools);
    }

    /// Tells every client that listens that the list of prompts changed.
    pub fn prompts_changed(&self) {
        self.announce(&Change::Prompts);
    }

    /// Tells every client that listens that the list of resources changed.
    pub fn resources_changed(&self) {
        self.announce(&Change::Resources);
    }

    /// Tells every client that subscribed to a resource that it changed: with `resources/subscribe`
    /// in a session, with `subscriptions/listen` since 2026-07-28.
    pub fn resource_updated(&self, uri: impl Into<String>) {
        self.announce(&Change::resource(uri.into()));
    }

    fn announce(&self, change: &Change) {
        if let Some(hall) = self.hall() {
            hall.publish(change);
        }
    }

    /// All sessions, with what they do at this moment.
    ///
    /// # Errors
    ///
    /// When the session engine cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so nothing is lost.
    pub async fn sessions(&self) -> Result<Vec<SessionSummary>, StoreError> {
        match self.hall() {
            Some(hall) => hall.engine.list().await,
            None => Ok(Vec::new()),
        }
    }

    /// A session by its id, whoever it belongs to; `None` when there is none, or the session engine
    /// cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so nothing is lost.
    pub async fn session(&self, id: SessionId) -> Option<Session> {
        let node = self.legacy()?;
        let principal = node.owner_of(id).await?;
        let session = node.session(id, principal.as_ref()).await.ok()?;
        Some(Session::new(session as _))
    }

    /// A session by its id, if it is this principal's.
    pub(crate) async fn session_of(&self, id: SessionId, principal: Option<&Principal>) -> Option<Session> {
        let node = self.legacy()?;
        let session = node.session(id, principal).await.ok()?;
        // A use of the session like any other.
        node.engine.load(id, principal).await.ok()?;
        Some(Session::new(session as _))
    }

    /// Who a request comes from, as the service sees it.
    pub(crate) fn principal_of(&self, parts: &Parts) -> Option<Principal> {
        self.hall()?.settings.sessions.principal_of(parts)
    }

    /// Ends a session: its calls are cancelled, its id is unknown afterwards. Returns `false` if there is no
    /// such session, or the session engine cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// The session may have ended all the same; then nobody is told of it as ended.
    pub async fn end(&self, id: SessionId) -> bool {
        let Some(node) = self.legacy() else { return false };
        node.end(id, EndReason::Closed).await.is_ok()
    }

    /// Ends every session of a principal that is there now, as when somebody leaves. Returns how many there
    /// were.
    ///
    /// # Errors
    ///
    /// When the session engine cannot be reached. Some of the sessions may have ended then.
    ///
    /// # Cancel safety
    ///
    /// Some of the sessions may have ended; calling it again ends the rest.
    pub async fn end_all_of(&self, principal: &Principal) -> Result<usize, StoreError> {
        let Some(node) = self.legacy() else { return Ok(0) };
        let mut count = 0;
        for session in node.engine.sessions_of(principal).await? {
            match node.end(session, EndReason::Closed).await {
                Ok(()) => count += 1,
                // Somebody was faster.
                Err(error) if error.kind() == StoreErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Ends what has expired, now, and returns how many sessions that was. The service does this by itself,
    /// once a second.
    ///
    /// # Cancel safety
    ///
    /// Sessions may have ended all the same; then nobody is told of them as ended.
    pub async fn reap(&self) -> usize {
        match self.legacy() {
            Some(node) => node.reap(node.id).await,
            None => 0,
        }
    }

    /// What was counted since the service started. [`Statistics::sessions`] is the engine's figure, of all
    /// nodes that share it, and 0 while it cannot be reached; everything else is this service's.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so nothing is lost.
    pub async fn statistics(&self) -> Statistics {
        let (Some(hall), Some(modern)) = (self.hall(), self.0.modern.upgrade()) else {
            return Statistics::default();
        };
        let sessions = hall.engine.count().await.unwrap_or_default();
        hall.counters.read(sessions, modern.listens())
    }

    /// Whether new sessions and calls are taken: the answer for a readiness probe. `false` from
    /// the moment it [leaves](Self::leave) or drains. It does not ask the session engine: while that is away requests in sessions
    /// get 503 on every node alike, and taking one of them out would help nobody.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.hall().is_some_and(|hall| !hall.ending.is_leaving())
    }

    /// Begins the end of a service whose clients can go to other nodes, and waits for `linger`. Everything is
    /// served as before; but [`is_ready`](Self::is_ready) says no, a listener that was told to
    /// ([`McpListener::until`](crate::McpListener::until)) takes no new connection, and each answer asks its own
    /// to close (`Connection: close`, HTTP/1). Streams that began before, whose answers could not ask for it, are closed
    /// with a `retry` where their clients can come back for the rest. [`drain`](Self::drain) comes after.
    ///
    /// Clients seldom repeat a call that was refused or whose connection broke, and a connection that is
    /// closed while it idles may carry a call at that very moment. So `linger` is longer than clients keep idle
    /// connections (the official ones: five seconds), and than a load balancer takes to notice.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use axum::Router;
    /// use mcp_http::{McpListener, McpService};
    ///
    /// # async fn serve(service: McpService, signal: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    /// let handle = service.handle();
    /// let listener = McpListener::bind("0.0.0.0:3000").await?.until(handle.leaving());
    /// let app = Router::new().nest("/mcp", service.into_router());
    /// let end = async move {
    ///     signal.await;
    ///     handle.leave(Duration::from_secs(6)).await;
    ///     handle.drain(Duration::from_secs(30)).await;
    /// };
    /// axum::serve(listener, app).with_graceful_shutdown(end).await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// It is leaving all the same; only nobody waits any more.
    pub async fn leave(&self, linger: Duration) {
        if let Some(hall) = self.hall() {
            hall.ending.leave();
            if let Some(legacy) = self.legacy() {
                legacy.begin_leave();
            }
            drop(hall);
            tokio::time::sleep(linger).await;
        }
    }

    /// Waits until the service [leaves](Self::leave) or drains; for ever, if it is gone already.
    pub fn leaving(&self) -> impl Future<Output = ()> + Send + 'static {
        let left = self.hall().map(|hall| hall.ending.left());
        async move {
            match left {
                Some(left) => left.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Prepares for the end of the service: from now on new sessions and calls are refused (503,
    /// `Retry-After`), and calls in flight may finish until the deadline, `within` from now. Subscription
    /// streams end with their result, standalone streams with a `retry`. With an engine whose sessions outlive
    /// the process so do the streams of calls, whose clients find the rest on another node (since 2025-11-25,
    /// and unless [`Streams::resumable`](crate::Streams::resumable) is off). What still runs at the deadline is cut off and has
    /// one more second for its last words; then sessions that cannot outlive the process are ended.
    ///
    /// Connections are not the service's: `axum::serve`, told to shut down, waits for each request
    /// that has begun, even for one that is never sent to its end. Bound that wait, as
    /// `examples/graceful.rs` does.
    ///
    /// # Cancel safety
    ///
    /// The service stays closed for new work; calling it again goes on where it was left.
    pub async fn drain(&self, within: Duration) -> DrainReport {
        let (Some(hall), Some(legacy), Some(modern)) = (self.hall(), self.legacy(), self.0.modern.upgrade()) else {
            return DrainReport::default();
        };
        hall.ending.drain();
        let leaving = legacy.begin_drain();
        let mut report = DrainReport {
            closed_streams: leaving.closed_streams + modern.end_listens(),
            calls: hall.running.len(),
            ..DrainReport::default()
        };
        if !hall.finished_within(within).await {
            report.cut_calls = hall.running.len();
            leaving.cut_calls();
            modern.cut_calls();
            hall.finished_within(LAST_WORDS).await;
        }
        report.ended_sessions = legacy.finish_drain(leaving).await;
        report
    }
}
