//! Decides what a session offers to the code of its server: its facts, its state, a way to its
//! client outside any call.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::channel::{SessionAccess, check_request};
use super::{ClientError, Context, LogLevel};
use crate::error::{Rejection, StoreError};
use crate::handle::McpHandle;
use crate::identity::{SessionId, SessionInfo};
use crate::message::RawJson;
use crate::panics::{call, drop_quietly};

/// A session of the session revisions, from a [`Context`] or, on a route of your
/// own, as an extractor. Its facts ([`SessionInfo`]) are reached by dereference.
#[derive(Debug, Clone)]
pub struct Session {
    inner: Arc<dyn SessionAccess>,
}

impl Session {
    pub(crate) fn new(inner: Arc<dyn SessionAccess>) -> Self {
        Self { inner }
    }

    /// Reads a value of this session's state. It lives where the session lives: with a durable
    /// engine it survives a restart, with a shared one every node sees it.
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached, or the stored value does not fit the type.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so nothing is lost.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let (value, _) = self.inner.load_state(key).await?;
        value.map(|value| value.read().map_err(StoreError::corrupt)).transpose()
    }

    /// Changes a value of this session's state, starting from its default, and returns the new
    /// value. When another call, on this node or another, changed it in the meantime, the change
    /// is made again on the newer value: no update is lost.
    ///
    /// # Errors
    ///
    /// As [`Session::get`].
    ///
    /// # Cancel safety
    ///
    /// The change may or may not have been written.
    ///
    /// ```
    /// use mcp_http::server::Context;
    ///
    /// async fn count(cx: Context) -> String {
    ///     let Some(session) = cx.session() else { return "no session".into() };
    ///     match session.update("count", |n: &mut u32| *n += 1).await {
    ///         Ok(n) => format!("call number {n}"),
    ///         Err(_) => "the count is out of reach".into(),
    ///     }
    /// }
    /// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("count", "Counts.", count);
    /// ```
    pub async fn update<T>(&self, key: &str, mut change: impl FnMut(&mut T) + Send) -> Result<T, StoreError>
    where
        T: DeserializeOwned + Serialize + Default + Send,
    {
        loop {
            let (stored, version) = self.inner.load_state(key).await?;
            let mut value: T =
                stored.map(|value| value.read()).transpose().map_err(StoreError::corrupt)?.unwrap_or_default();
            change(&mut value);
            let text = RawJson::from_value(&value).map_err(StoreError::corrupt)?;
            if self.inner.store_state(key, text, version).await? {
                return Ok(value);
            }
        }
    }

    /// Values that belong to the session on this node only: connections, caches, a framework's
    /// own session object. They end with it.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.inner.extensions()
    }

    /// Sends a notification on the session's standalone stream. Without a listener it goes
    /// nowhere, silently.
    pub fn notify(&self, method: &str, params: &RawJson) {
        self.inner.notify(method, params);
    }

    /// As [`Session::notify`], and says whether the client will have it: because it listens, or because it
    /// did before and finds it when it comes back. `false`: it has never listened, or the session has ended, and
    /// the notification is gone.
    ///
    /// # Cancel safety
    ///
    /// The notification may have been sent.
    pub async fn tell(&self, method: &str, params: &RawJson) -> bool {
        self.inner.tell(method, params).await
    }

    /// Waits until the client opens the session's standalone stream the next time, here or, if it is its first
    /// there, on another node; or until the session ends. A client opens one just after its session, if at all, so
    /// what [`Session::tell`] or [`Session::request`] cannot deliver yet may be worth another try then. Call this
    /// before the first one, and no opening is missed. Waiting keeps nothing alive.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so nothing is lost.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mcp_http::message::RawJson;
    /// use mcp_http::server::Session;
    ///
    /// async fn greet(session: Session, greeting: RawJson) {
    ///     let opens = session.stream_opens();
    ///     if !session.tell("notifications/greeting", &greeting).await {
    ///         let _ = tokio::time::timeout(Duration::from_secs(5), opens).await;
    ///         session.tell("notifications/greeting", &greeting).await;
    ///     }
    /// }
    /// ```
    pub fn stream_opens(&self) -> impl Future<Output = ()> + Send + use<> {
        self.inner.stream_opens()
    }

    /// Whether the client wants log messages this severe; see [`Context::logs`].
    #[must_use]
    pub fn logs(&self, level: LogLevel) -> bool {
        level as u8 >= self.inner.log_level()
    }

    /// Asks the client on the session's standalone stream and waits for its answer, at most for the
    /// time given. For questions while a call runs, see [`Context::request`].
    ///
    /// # Errors
    ///
    /// [`ClientError::NoStream`] at once when no such stream is open ([`Session::stream_opens`] waits for one);
    /// see [`ClientError`] for the rest.
    ///
    /// # Cancel safety
    ///
    /// The request may have been sent; a late answer to it is dropped.
    pub async fn request(
        &self,
        method: impl Into<Cow<'static, str>> + Send,
        params: RawJson,
        within: Duration,
    ) -> Result<RawJson, ClientError> {
        let method = method.into();
        check_request(&method, &params)?;
        let answer = self.inner.request(method, params);
        tokio::time::timeout(within, answer).await.map_err(|_| ClientError::Timeout(within))?
    }

    /// Ends the session: its calls are cancelled, its streams end, its id is unknown after. Where
    /// the session engine cannot be reached, it lives on.
    ///
    /// # Cancel safety
    ///
    /// The session may have ended all the same; then nobody is told of it as ended.
    pub async fn end(&self) {
        self.inner.end().await;
    }

    /// A way to the session that does not keep it alive: for what is itself kept in its
    /// [extensions](Session::extensions).
    #[must_use]
    pub fn downgrade(&self) -> WeakSession {
        WeakSession(Arc::downgrade(&self.inner))
    }

    /// The URIs of the resources that its client subscribes to, for a [`Server`](super::Server) that keeps them and
    /// takes up a session that was opened elsewhere.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<String> {
        self.inner.subscriptions()
    }

    /// Subscribes to, or unsubscribes from, updates of one resource: what a [`Server`](super::Server)
    /// of your own does at `resources/subscribe` and `resources/unsubscribe`. Its client is told then of
    /// what [`McpHandle::resource_updated`] announces.
    ///
    /// # Errors
    ///
    /// [`Full`](crate::error::StoreErrorKind::Full) beyond [`Limits::SUBSCRIPTIONS`](crate::Limits::SUBSCRIPTIONS), [`Limits::SUBSCRIPTION_BYTES`](crate::Limits::SUBSCRIPTION_BYTES)
    /// or [`Limits::SUBSCRIPTION_URI`](crate::Limits::SUBSCRIPTION_URI); another kind when the engine
    /// cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// The change may or may not have been written.
    pub async fn subscribe(&self, uri: &str, wanted: bool) -> Result<(), StoreError> {
        self.inner.subscribe(uri, wanted).await
    }
}

/// The session of a request, on handlers of tools and on routes of your own.
///
/// A handler that takes one serves clients of the session revisions only: calls of 2026-07-28, and of
/// stateless mode, have none and are answered with an internal error (-32603; the log says why). One that
/// can do without takes the [`Context`] and asks [`Context::session`].
///
/// On a route of your own it is the session that the request's `Mcp-Session-Id` header names, if
/// it is the request's principal's. The route must be given the service: it is below an
/// [`McpLayer`](crate::McpLayer), or has the [`McpHandle`] as an
/// [`Extension`](axum::Extension).
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use mcp_http::server::Session;
/// use mcp_http::{McpServer, McpService};
///
/// async fn whoami(session: Session) -> String {
///     session.client.name.clone()
/// }
///
/// let mcp = McpService::new(McpServer::new("doc", "1"));
/// let app: Router = Router::new()
///     .route("/whoami", get(whoami).layer(Extension(mcp.handle())))
///     .nest("/mcp", mcp.into_router());
/// # let _ = app;
/// ```
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionRefused;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, SessionRefused> {
        if let Some(context) = parts.extensions.get::<Context>() {
            return context.session().ok_or_else(|| {
                tracing::error!("a handler takes a Session, but its call has none: the client speaks 2026-07-28, or the service is stateless");
                SessionRefused(Rejection::Internal)
            });
        }
        let Some(handle) = parts.extensions.get::<McpHandle>().cloned() else {
            tracing::error!(
                "a route takes a Session, but was not given the service: layer it with McpLayer, or with Extension(handle)"
            );
            return Err(SessionRefused(Rejection::Internal));
        };
        let header = parts.headers.get("mcp-session-id").ok_or(SessionRefused(Rejection::SessionRequired))?;
        let id = header.to_str().ok().and_then(SessionId::parse).ok_or(SessionRefused(Rejection::SessionNotFound))?;
        let Ok(principal) = call(|| handle.principal_of(parts)) else {
            return Err(SessionRefused(Rejection::Internal));
        };
        handle.session_of(id, principal.as_ref()).await.ok_or(SessionRefused(Rejection::SessionNotFound))
    }
}

/// Why a request has no [`Session`]: it names none (400), or none of its principal's (404); or the route
/// was not given the service, or the call's revision has no sessions (500, and the log says which).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRefused(Rejection);

impl SessionRefused {
    /// The refusal.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.0
    }
}

impl IntoResponse for SessionRefused {
    fn into_response(self) -> Response {
        (self.0.status(), self.0.to_string()).into_response()
    }
}

impl Deref for Session {
    type Target = SessionInfo;

    fn deref(&self) -> &SessionInfo {
        self.inner.info()
    }
}

/// A way to a [`Session`] that does not keep it alive.
#[derive(Debug, Clone)]
pub struct WeakSession(Weak<dyn SessionAccess>);

impl WeakSession {
    /// The session, unless it is gone from this node.
    #[must_use]
    pub fn upgrade(&self) -> Option<Session> {
        self.0.upgrade().map(Session::new)
    }
}

/// Values by type, for what belongs to a session and cannot be stored.
#[derive(Default)]
pub struct Extensions {
    /// Allocated on first use: an idle session carries none. Never held across an await.
    values: Mutex<Option<Box<Values>>>,
}

type Values = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

impl Extensions {
    pub(crate) fn is_empty(&self) -> bool {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.as_ref().is_none_or(|values| values.is_empty())
    }

    /// Everything, moved to another place.
    pub(crate) fn take(&self) -> Self {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner).take();
        Self { values: Mutex::new(values) }
    }

    /// The value of a type, if one was put in.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.as_ref()?.get(&TypeId::of::<T>())?.clone().downcast().ok()
    }

    /// Puts a value in; the one before of the same type is returned.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) -> Option<Arc<T>> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.get_or_insert_default().insert(TypeId::of::<T>(), Arc::new(value))?.downcast().ok()
    }

    /// The value of a type; made and put in if there is none. Whoever comes second gets the first one's.
    pub fn get_or_insert_with<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let values = values.get_or_insert_default();
        let known = values.get(&TypeId::of::<T>()).cloned().and_then(|value| value.downcast().ok());
        known.unwrap_or_else(|| {
            let made = Arc::new(make());
            values.insert(TypeId::of::<T>(), Arc::clone(&made) as _);
            made
        })
    }

    /// Takes a value out.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.as_mut()?.remove(&TypeId::of::<T>())?.downcast().ok()
    }
}

/// They end with the session, by whichever task ends it.
impl Drop for Extensions {
    fn drop(&mut self) {
        let values = self.values.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        values.into_iter().flat_map(|values| values.into_values()).for_each(drop_quietly);
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions").finish_non_exhaustive()
    }
}
