//! Session: the API of a session for server code. It gives access to its info, its state, and its
//! client outside of any call.

use std::borrow::Cow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client_request::check_request;
use super::session_access::SessionAccess;
use super::{ClientError, Extensions, LogLevel};
use crate::error::StoreError;
use crate::identity::SessionInfo;
use crate::message::RawJson;

/// A session of the session revisions, from a [`Context`](super::Context) or, on your own route, as an extractor.
#[derive(Debug, Clone)]
pub struct Session {
    inner: Arc<dyn SessionAccess>,
}

impl Session {
    pub(crate) fn new(inner: Arc<dyn SessionAccess>) -> Self {
        Self { inner }
    }

    /// Returns what the client said of itself in `initialize`, and the id, the revision and the
    /// principal of the session.
    #[must_use]
    pub fn info(&self) -> &SessionInfo {
        self.inner.info()
    }

    /// Reads a value of this session's state. The state is stored with the session: with a durable
    /// engine it survives a restart, with a shared engine every node sees it.
    ///
    /// # Errors
    ///
    /// If the engine cannot be reached, or the stored value does not match the type.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: it changes nothing.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let (value, _) = self.inner.load_state(key).await?;
        value.map(|value| value.read().map_err(StoreError::corrupt)).transpose()
    }

    /// Changes a value of this session's state, starting from its default, and returns the new
    /// value. If another call, on this node or another, changed it in the meantime, `change` runs
    /// again on the newer value: no update is lost.
    ///
    /// # Errors
    ///
    /// If the engine cannot be reached, or the stored value does not match the type.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the change may or may not have been written.
    ///
    /// ```
    /// use mcp_http::Context;
    ///
    /// async fn count(cx: Context) -> String {
    ///     let Some(session) = cx.session() else { return "no session".into() };
    ///     match session.update("count", |n: &mut u32| *n += 1).await {
    ///         Ok(n) => format!("call number {n}"),
    ///         Err(_) => "the count is unavailable".into(),
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

    /// Values that belong to the session on this node only: connections, caches, a framework's own
    /// session object. They are dropped with the session.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.inner.extensions()
    }

    /// Sends a notification on the session's standalone stream. Without a reader it is dropped
    /// silently.
    pub fn notify(&self, method: &str, params: &RawJson) {
        self.inner.notify(method, params);
    }

    /// Sends a notification as [`Session::notify`] does. Returns `true` if the client has the
    /// stream open, or had it open before and will receive the notification when it reconnects.
    /// Returns `false` if the client has never opened the stream or the session has ended; the
    /// notification is dropped.
    ///
    /// # Errors
    ///
    /// If the session engine cannot be reached. The notification may have been sent.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the notification may have been sent.
    #[doc(alias = "notify")]
    pub async fn try_notify(&self, method: &str, params: &RawJson) -> Result<bool, StoreError> {
        self.inner.try_notify(method, params).await
    }

    /// Waits until the client next opens the session's standalone stream, or until the session
    /// ends. It notices a stream on this node and, if it is the session's first there, on another
    /// node.
    ///
    /// A client that opens this stream does so soon after its session. So if [`Session::try_notify`] or
    /// [`Session::request`] fails, wait and try again. Call this method before the first attempt,
    /// so that no opening is missed. Waiting does not keep the session alive.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: it changes nothing.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mcp_http::error::StoreError;
    /// use mcp_http::message::RawJson;
    /// use mcp_http::server::Session;
    ///
    /// async fn greet(session: Session, greeting: RawJson) -> Result<(), StoreError> {
    ///     let opened = session.stream_opened();
    ///     if !session.try_notify("notifications/greeting", &greeting).await? {
    ///         let _ = tokio::time::timeout(Duration::from_secs(5), opened).await;
    ///         session.try_notify("notifications/greeting", &greeting).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn stream_opened(&self) -> impl Future<Output = ()> + Send + use<> {
        self.inner.stream_opened()
    }

    /// Returns `true` if the client wants log messages of this severity; see [`Context::logs`](super::Context::logs).
    #[must_use]
    pub fn logs(&self, level: LogLevel) -> bool {
        level as u8 >= self.inner.log_level()
    }

    /// Sends a request to the client on the session's standalone stream, and waits for the answer,
    /// at most for `timeout`. While a call runs, use [`Context::request`](super::Context::request).
    ///
    /// # Errors
    ///
    /// [`ClientError::NoStream`] at once if no such stream is open ([`Session::stream_opened`] waits
    /// for one). See [`ClientError`] for the others.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the request may have been sent; a late answer to it is dropped.
    pub async fn request(
        &self,
        method: impl Into<Cow<'static, str>> + Send,
        params: RawJson,
        timeout: Duration,
    ) -> Result<RawJson, ClientError> {
        let method = method.into();
        check_request(&method, &params)?;
        let answer = self.inner.request(method, params);
        tokio::time::timeout(timeout, answer).await.map_err(|_| ClientError::Timeout(timeout))?
    }

    /// Ends the session: its calls are cancelled, its streams end, and its id becomes unknown.
    /// Returns `false` if it has ended already.
    ///
    /// # Errors
    ///
    /// If the session engine cannot be reached. The session may have ended then.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the session may still end, but `on_close` is not called.
    pub async fn end(&self) -> Result<bool, StoreError> {
        self.inner.end().await
    }

    /// Returns a reference that does not keep the session alive, for values stored in its
    /// [extensions](Session::extensions).
    #[must_use]
    pub fn downgrade(&self) -> WeakSession {
        WeakSession(Arc::downgrade(&self.inner))
    }

    /// Returns the URIs of the resources to which the client subscribes. A
    /// [`Server`](super::Server) that tracks subscriptions needs them when it takes over a session
    /// that was opened on another node.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<String> {
        self.inner.subscriptions()
    }

    /// Subscribes the session to updates of one resource. A custom [`Server`](super::Server) calls
    /// this for `resources/subscribe`. The client then receives what
    /// [`McpHandle::resource_updated`](crate::McpHandle::resource_updated) announces.
    ///
    /// # Errors
    ///
    /// [`Full`](crate::error::StoreErrorKind::Full) beyond
    /// [`Limits::MAX_SUBSCRIPTIONS`](crate::Limits::MAX_SUBSCRIPTIONS),
    /// [`Limits::MAX_SUBSCRIPTION_BYTES`](crate::Limits::MAX_SUBSCRIPTION_BYTES) or
    /// [`Limits::MAX_SUBSCRIPTION_URI_BYTES`](crate::Limits::MAX_SUBSCRIPTION_URI_BYTES). Another kind if the engine
    /// cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the change may or may not have been written.
    pub async fn subscribe(&self, uri: &str) -> Result<(), StoreError> {
        self.inner.subscribe(uri, true).await
    }

    /// Ends a subscription, as a custom [`Server`](super::Server) does for `resources/unsubscribe`.
    /// Without such a subscription this does nothing.
    ///
    /// # Errors
    ///
    /// If the engine cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the change may or may not have been written.
    pub async fn unsubscribe(&self, uri: &str) -> Result<(), StoreError> {
        self.inner.subscribe(uri, false).await
    }
}

/// A reference to a [`Session`] that does not keep it alive.
#[derive(Debug, Clone)]
pub struct WeakSession(Weak<dyn SessionAccess>);

impl WeakSession {
    /// Returns the session, unless it is gone from this node.
    #[must_use]
    pub fn upgrade(&self) -> Option<Session> {
        self.0.upgrade().map(Session::new)
    }
}
