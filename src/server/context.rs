//! Context: what a handler can do while its call runs. It reports progress, logs, sends requests to
//! the client and notices cancellation.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::amount::Number;
use super::channel::Channel;
use super::client_request::{ClientRequest, check_request};
use super::{Amount, Cancellation, ClientError, LogLevel, Session, Total};
use crate::error::StoreError;
use crate::handle::McpHandle;
use crate::identity::Principal;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion, RawJson, RequestId, whole, write};

/// Access to the client while a call runs. A handler takes it as an argument. It is cheap to clone,
/// and clones may be moved into tasks.
///
/// Everything sent through it goes to the stream of this call, in order, before the result. After
/// the call has ended, further messages are dropped silently.
///
/// ```
/// use mcp_http::Context;
///
/// async fn index(cx: Context) -> &'static str {
///     for step in 1..=3 {
///         cx.progress(step, 3.0).await;
///     }
///     "indexed"
/// }
/// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("index", "Indexes.", index);
/// ```
#[derive(Debug, Clone)]
pub struct Context {
    channel: Arc<dyn Channel>,
    params: Option<RawJson>,
    /// Parsed on first use, because most calls report no progress.
    progress_token: OnceLock<Option<RawJson>>,
    /// The name of the tool, prompt or resource whose handler runs.
    name: Option<Arc<str>>,
}

impl Context {
    pub(crate) fn new(channel: Arc<dyn Channel>, params: Option<RawJson>) -> Self {
        Self { channel, params, progress_token: OnceLock::new(), name: None }
    }

    /// Makes the context of a call whose progress token the transport has found already.
    pub(crate) fn with_token(channel: Arc<dyn Channel>, params: Option<RawJson>, token: Option<RawJson>) -> Self {
        Self { progress_token: OnceLock::from(token), ..Self::new(channel, params) }
    }

    /// Returns this context with the name of the handler's tool, prompt or resource.
    pub(super) fn of(self, name: &Arc<str>) -> Self {
        Self { name: Some(Arc::clone(name)), ..self }
    }

    /// Returns the name under which the running handler was registered: of a tool, a prompt, a
    /// resource or a resource template. `None` in a custom [`Server`](super::Server).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the id of the request; `None` for a notification.
    #[must_use]
    pub fn request_id(&self) -> Option<&RequestId> {
        self.channel.request_id()
    }

    /// Reads the request's `_meta`: what the client, or a proxy on its behalf, sends beside the
    /// arguments, such as a trace context. If it is absent, an empty object is read instead. So a
    /// type with only optional members always matches.
    ///
    /// The client controls its content, which includes keys of the protocol. As an argument of a
    /// handler, [`Meta<T>`](crate::server::Meta) is equivalent.
    ///
    /// ```
    /// use mcp_http::Context;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Trace {
    ///     traceparent: Option<String>,
    /// }
    ///
    /// async fn traced(cx: Context) -> String {
    ///     let trace = cx.meta::<Trace>().ok().and_then(|trace| trace.traceparent);
    ///     format!("{} in {trace:?}", cx.name().unwrap_or_default())
    /// }
    /// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("traced", "Shows it.", traced);
    /// ```
    ///
    /// # Errors
    ///
    /// If `_meta` does not match the type.
    pub fn meta<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, default, rename = "_meta")]
            meta: Option<&'a RawValue>,
        }
        // Parameters by position have no `_meta`.
        let params = self.params.as_ref().filter(|params| params.as_str().starts_with('{'));
        let params = params.and_then(|params| params.read_borrowed::<Params<'_>>().ok());
        whole::read(params.and_then(|params| params.meta).map_or("{}", RawValue::get))
    }

    /// Returns the protocol revision of this call.
    #[must_use]
    pub fn protocol_version(&self) -> ProtocolVersion {
        self.channel.version()
    }

    /// Returns the name and version that the client declares; for display only.
    #[must_use]
    pub fn client_info(&self) -> Option<&Implementation> {
        self.channel.client()
    }

    /// Returns the capabilities of the client; `None` if it never declared any (stateless mode).
    #[must_use]
    pub fn client_capabilities(&self) -> Option<&ClientCapabilities> {
        self.channel.capabilities()
    }

    /// Returns the settings of an extension of the protocol that the client declared, an object:
    /// `{}` if there are none. `None` if the client did not declare the extension.
    ///
    /// ```
    /// use mcp_http::Context;
    ///
    /// async fn chart(cx: Context) -> &'static str {
    ///     match cx.client_extension("io.modelcontextprotocol/ui") {
    ///         Some(_) => "The chart is on your screen.",
    ///         None => "12, 17, 11",
    ///     }
    /// }
    /// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("chart", "Draws.", chart);
    /// ```
    #[must_use]
    pub fn client_extension(&self, id: &str) -> Option<RawJson> {
        self.client_capabilities()?.extension(id)
    }

    /// Returns the principal of this request, from the authentication layer.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.channel.principal()
    }

    /// Returns the application's handle to the service, for example to announce a change that this
    /// call made. As an argument of a handler, [`McpHandle`] is equivalent.
    #[must_use]
    pub fn handle(&self) -> McpHandle {
        self.channel.handle()
    }

    /// Returns the session of this call; `None` in stateless mode and for clients of 2026-07-28,
    /// which have no sessions.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.channel.session().map(Session::new)
    }

    /// Reports the progress of the call. Nothing is sent if the client did not request progress (no
    /// `progressToken`).
    ///
    /// `total` may be `None` if it is unknown. The specification requires each figure to be larger
    /// than the previous one. Figures that are not, NaN and infinities are not sent.
    ///
    /// Source: Utilities, "Progress".
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the notification is either queued whole or not at all.
    #[doc(alias = "notify")]
    pub async fn progress(&self, progress: impl Amount, total: impl Total) {
        self.progress_message(progress, total, None::<&str>).await;
    }

    /// Reports progress as [`Context::progress`] does, with a sentence for the user who waits. A
    /// task sends no progress; there the sentence becomes the status message that a polling client
    /// sees.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the notification is either queued whole or not at all.
    pub async fn progress_message(
        &self,
        progress: impl Amount,
        total: impl Total,
        message: Option<impl AsRef<str> + Send>,
    ) {
        let message = message.as_ref().map(AsRef::as_ref);
        if let Some(message) = message {
            self.channel.set_status(message);
        }
        let (progress, total) = (progress.amount(), total.total().filter(|total| total.is_finite()));
        let Some(token) = self.progress_token().filter(|_| progress.is_finite()) else { return };
        let (progress, total) = (Number(progress), total.map(Number));
        if let Ok(notification) = write::progress(token, &progress, total.as_ref(), message)
            && let Some(room) = self.send_progress(progress.0, notification)
        {
            self.sent(room).await;
        }
    }

    /// Sends a figure that is larger than the previous one; returns `None` for others. Clones of a
    /// context may run concurrently, so comparing and sending are one step.
    fn send_progress(&self, progress: f64, notification: Bytes) -> Option<bool> {
        let last = self.channel.progress().map(|last| last.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(mut last) = last {
            if progress <= *last {
                return None;
            }
            *last = progress;
            return Some(self.channel.send(notification));
        }
        Some(self.channel.send(notification))
    }

    /// Sends a log message to the client if it wants messages of this severity. In the session
    /// revisions the client chooses with `logging/setLevel`, and receives all messages until then.
    /// In 2026-07-28 each request names the level, and receives no messages if it names none.
    ///
    /// Source: Utilities, "Logging".
    ///
    /// `data` is any JSON value, most often a sentence. The client sees it: it must hold no
    /// secrets.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the message is either queued whole or not at all.
    pub async fn log(&self, level: LogLevel, data: impl Serialize + Send) {
        self.log_as(level, None, data).await;
    }

    /// Sends a log message as [`Context::log`] does, with the name of a logger.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the message is either queued whole or not at all.
    pub async fn log_as(&self, level: LogLevel, logger: Option<&str>, data: impl Serialize + Send) {
        if !self.logs(level) {
            return;
        }
        let Ok(data) = RawJson::from_value(&data) else { return };
        if let Ok(params) = RawJson::from_value(&Log { level, logger, data }) {
            self.notify("notifications/message", &params).await;
        }
    }

    /// Returns `true` if the client wants log messages of this severity. Check it before building
    /// an expensive message.
    #[must_use]
    pub fn logs(&self, level: LogLevel) -> bool {
        level as u8 >= self.channel.log_level()
    }

    /// Sets the level of [`Context::logs`] for this session: a custom [`Server`](super::Server)
    /// calls this for `logging/setLevel`. Without a session it does nothing. After it has returned,
    /// calls on every node use the level.
    ///
    /// # Errors
    ///
    /// If the session has ended, or its engine cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the level may be set on this node only.
    pub async fn set_log_level(&self, level: LogLevel) -> Result<(), StoreError> {
        self.channel.set_log_level(level as u8).await
    }

    /// Sends any notification on the stream of this call.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the notification is either queued whole or not at all.
    pub async fn notify(&self, method: &str, params: &RawJson) {
        let room = self.channel.notify(method, params);
        self.sent(room).await;
    }

    /// Waits for capacity if there is none. Without a reader there is always capacity, so a handler
    /// that only sends would never yield: consuming the task budget lets other tasks run.
    async fn sent(&self, room: bool) {
        if !room {
            self.channel.ready().await;
        }
        tokio::task::coop::consume_budget().await;
    }

    /// Sends any request to the client on the stream of this call, and waits for the answer, at
    /// most for `timeout`. [`Context::elicit`], [`Context::sample`] and [`Context::roots`] are
    /// typed versions.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
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
        self.send_and_wait(ClientRequest { method: method.into(), params, key: None }, timeout).await
    }

    pub(super) async fn send_and_wait(
        &self,
        request: ClientRequest,
        timeout: Duration,
    ) -> Result<RawJson, ClientError> {
        check_request(&request.method, &request.params)?;
        let answer = self.channel.request(request);
        tokio::time::timeout(timeout, answer).await.map_err(|_| ClientError::Timeout(timeout))?
    }

    /// Returns the error for an answer that does not match its request.
    pub(super) async fn misread(&self, method: &'static str, error: serde_json::Error) -> ClientError {
        self.channel.misread(method, error).await
    }

    /// Turns the call into a task: the client receives the task and polls for the result. It is for
    /// tools that may [become a task later](crate::server::Tool::task_on_demand), after they have
    /// requested the input they need. Returns `true` if the call is now a task. Returns `false` for
    /// clients that do not support tasks, and for clients of the session revisions, which wait for
    /// the result.
    ///
    /// The handler continues as before. From now on its requests reach the client when it polls,
    /// and the handler waits for the answers. A call that cannot become a task, because the limit
    /// is reached, ends here.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the task may exist and end at once.
    pub async fn begin_task(&self) -> bool {
        self.channel.begin_task().await
    }

    pub(super) fn takes_tasks(&self) -> bool {
        self.channel.takes_tasks()
    }

    /// Runs a step of the call that must not run twice, such as placing an order, before a request
    /// to the client.
    ///
    /// A client of 2026-07-28 answers a request by repeating the call, and the handler starts
    /// again. A step that succeeded does not run again then. Its value is part of the state that
    /// the client carries (sealed, bounded by [`InputRequests`](crate::InputRequests)), and is returned at once.
    /// For clients of the session revisions, whose calls wait for the answers, the step simply
    /// runs.
    ///
    /// `key` names the step within its handler. Steps with the same key are numbered in the order
    /// in which they start. A value that does not survive serialization to JSON and back (such as
    /// NaN) cannot be kept. A later request to the client then fails the call.
    ///
    /// A client may still repeat the same call from its start, or from any earlier request, while
    /// that state is [valid](crate::InputRequests::lifetime). The application must itself check what may
    /// happen only once, such as redeeming a voucher.
    ///
    /// ```
    /// use mcp_http::server::ToolError;
    /// use mcp_http::Context;
    ///
    /// # async fn reserve() -> Result<String, ToolError> { Ok("A7".into()) }
    /// # #[derive(serde::Deserialize, schemars::JsonSchema)] struct Sure { sure: bool }
    /// async fn book(cx: Context) -> Result<String, ToolError> {
    ///     let seat: String = cx.once("seat", reserve()).await?;
    ///     cx.elicit::<Sure>(format!("Seat {seat} is yours for a minute. Take it?")).await?;
    ///     Ok(seat)
    /// }
    /// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("book", "Books a seat.", book);
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the error of the step. Errors are not kept.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as the step.
    pub async fn once<T, E>(&self, key: &str, step: impl Future<Output = Result<T, E>> + Send) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned + Send,
    {
        let (name, known) = self.channel.step(key);
        match known.map(|value| value.read()) {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => {
                tracing::error!(%error, key, "a step runs again: its stored value does not match its type")
            }
            None => {}
        }
        let value = step.await?;
        let written = RawJson::from_value(&value).ok().filter(|written| written.read::<T>().is_ok());
        if written.is_none() {
            tracing::error!(key, "the value of a step cannot be stored: it cannot be written as JSON");
        }
        self.channel.remember(name, written);
        Ok(value)
    }

    /// Ends the HTTP response that carries this call, while the call continues. The client
    /// reconnects after `retry` (or the service's retry interval) and receives the rest. Use it
    /// before a long wait, so that no connection is held open.
    ///
    /// Returns `true` if the response was ended. Returns `false` if the client could not resume:
    /// revisions before 2025-11-25 and 2026-07-28, stateless mode, JSON responses, or resumption
    /// disabled.
    ///
    /// Source: SEP-1699; 2025-11-25, Streamable HTTP, "Sending messages to the server".
    #[allow(clippy::must_use_candidate)]
    pub fn close_sse_stream(&self, retry: impl Into<Option<Duration>>) -> bool {
        self.channel.close_stream(retry.into())
    }

    /// Returns `true` if the client cancelled this call. Use it for work that the handler moved to
    /// another task. The handler itself needs no check, because its future is dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.channel.is_cancelled()
    }

    /// Waits until the call is cancelled or has ended. Use it for work that the handler moved to
    /// another task.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn cancelled(&self) {
        self.channel.cancelled().await;
    }

    /// Returns what the client sent to cancel the call. It exists only in the session revisions,
    /// and only on the node that received it.
    #[must_use]
    pub fn cancellation(&self) -> Option<Cancellation> {
        self.channel.cancellation()
    }

    fn progress_token(&self) -> Option<&RawJson> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, default, rename = "_meta")]
            meta: Option<Meta<'a>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Meta<'a> {
            #[serde(borrow, default)]
            progress_token: Option<&'a RawValue>,
        }
        let read = || {
            let params = self.params.as_ref()?;
            let read: Params<'_> = params.read_borrowed().ok()?;
            Some(params.slice(read.meta?.progress_token?))
        };
        self.progress_token.get_or_init(read).as_ref()
    }
}

#[derive(Serialize)]
struct Log<'a> {
    level: LogLevel,
    #[serde(skip_serializing_if = "Option::is_none")]
    logger: Option<&'a str>,
    data: RawJson,
}
