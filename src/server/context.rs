//! Decides what a handler can do while its call runs: tell progress, log, ask the client, hear of
//! its cancellation.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::channel::{Channel, Question, check_request};
use super::{ClientError, Session};
use crate::error::StoreError;
use crate::handle::McpHandle;
use crate::identity::Principal;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion, RawJson, RequestId, whole, write};

/// The way back to the client while a call runs. A handler takes it as an argument; it is cheap
/// to clone, and clones may be moved into tasks.
///
/// Everything sent through it goes on the stream of this call, in order, before the result. Once
/// the call has ended it goes nowhere, silently.
///
/// ```
/// use mcp_http::server::Context;
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
    /// Read when first asked for: most calls have no progress.
    progress_token: OnceLock<Option<RawJson>>,
    named: Option<(RawJson, Option<RawJson>)>,
    /// The name of the tool, prompt or resource whose handler runs.
    name: Option<Arc<str>>,
}

/// What a transport has read of the parameters of a call.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) params: Option<RawJson>,
    pub(crate) progress_token: Option<RawJson>,
    /// `name`, a text, and `arguments`.
    pub(crate) named: Option<(RawJson, Option<RawJson>)>,
}

/// A client's `notifications/cancelled` for a call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Cancellation {
    /// Why, in the client's words.
    pub reason: Option<String>,
    /// The HTTP request that brought it.
    pub parts: Box<Parts>,
}

/// How urgent a log message is, from RFC 5424, least severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

/// A number that says how far a call has come: any of Rust's number types.
pub trait Amount: Send + private::Sealed {
    /// As the protocol has it. Beyond 2^53 it is rounded, which no progress bar shows.
    fn amount(self) -> f64;
}

/// What [`Amount`] there is to do in all, if that is known.
pub trait Total: Send + private::Sealed {
    /// As the protocol has it.
    fn total(self) -> Option<f64>;
}

mod private {
    pub trait Sealed {}
}

macro_rules! amounts {
    ($($number:ty),*) => {$(
        impl private::Sealed for $number {}

        impl Amount for $number {
            #[allow(clippy::cast_lossless, clippy::cast_precision_loss)]
            fn amount(self) -> f64 {
                self as f64
            }
        }

        impl Total for $number {
            fn total(self) -> Option<f64> {
                Some(self.amount())
            }
        }
    )*};
}

amounts!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64);

impl private::Sealed for Option<f64> {}

impl Total for Option<f64> {
    fn total(self) -> Self {
        self
    }
}

impl Context {
    pub(crate) fn new(channel: Arc<dyn Channel>, params: Option<RawJson>) -> Self {
        Self { channel, params, progress_token: OnceLock::new(), named: None, name: None }
    }

    /// For a transport that has looked into the parameters already.
    pub(crate) fn of_read(channel: Arc<dyn Channel>, read: Read) -> Self {
        let Read { params, progress_token, named } = read;
        Self { channel, params, progress_token: OnceLock::from(progress_token), named, name: None }
    }

    /// For a transport that has met these in the parameters.
    pub(crate) fn with_named(self, named: Option<(RawJson, Option<RawJson>)>) -> Self {
        Self { named, ..self }
    }

    /// What the call is about by name, and its arguments, where the transport has read them.
    pub(super) fn take_named(&mut self) -> Option<(RawJson, Option<RawJson>)> {
        self.named.take()
    }

    /// For the handler of something that has a name.
    pub(super) fn of(self, name: &Arc<str>) -> Self {
        Self { name: Some(Arc::clone(name)), ..self }
    }

    /// The name under which the handler that runs was registered: of a tool, a prompt, a resource or
    /// a resource template. `None` in a [`Server`](super::Server) of your own.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The id of the request that is answered; `None` for a notification.
    #[must_use]
    pub fn request_id(&self) -> Option<&RequestId> {
        self.channel.request_id()
    }

    /// Reads the request's `_meta`: what the client, or a proxy on its behalf, says beside the
    /// arguments, such as a trace context. Without any it is read from an empty object, so that a type
    /// whose members are optional always fits.
    ///
    /// The client says what it likes there; keys of the protocol are among it. As an argument of a
    /// handler, [`Meta<T>`](crate::server::Meta) is the same.
    ///
    /// ```
    /// use mcp_http::server::Context;
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
    /// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("traced", "Says its trace.", traced);
    /// ```
    ///
    /// # Errors
    ///
    /// When `_meta` does not fit the type.
    pub fn meta<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        #[derive(Deserialize)]
        struct Params<'a> {
            #[serde(borrow, default, rename = "_meta")]
            meta: Option<&'a RawValue>,
        }
        // By position there is none.
        let params = self.params.as_ref().filter(|params| params.as_str().starts_with('{'));
        let params = params.and_then(|params| params.read_borrowed::<Params<'_>>().ok());
        whole::read(params.and_then(|params| params.meta).map_or("{}", RawValue::get))
    }

    /// The protocol revision this call is served in.
    #[must_use]
    pub fn protocol_version(&self) -> ProtocolVersion {
        self.channel.version()
    }

    /// Which program the client says it is; for display only.
    #[must_use]
    pub fn client_info(&self) -> Option<&Implementation> {
        self.channel.client()
    }

    /// What the client can be asked for; `None` where it never said (stateless mode).
    #[must_use]
    pub fn client_capabilities(&self) -> Option<&ClientCapabilities> {
        self.channel.capabilities()
    }

    /// Who sent this request, as the authentication layer said.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.channel.principal()
    }

    /// The application's hand on the service, for example to announce a change this call made. As
    /// an argument of a handler, [`McpHandle`] is the same.
    #[must_use]
    pub fn handle(&self) -> McpHandle {
        self.channel.handle()
    }

    /// The session this call belongs to; `None` in stateless mode and for clients of 2026-07-28, which
    /// have none.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.channel.session().map(Session::new)
    }

    /// Tells how far the call has come. Nothing is sent when the client asked for no progress
    /// (no `progressToken`).
    ///
    /// `total` may be `None` when it is not known. The specification wants each figure larger
    /// than the one before: one that is not is not sent, and neither are NaN and infinities.
    ///
    /// Source: Utilities, "Progress".
    ///
    /// # Cancel safety
    ///
    /// The notification is either queued whole or not at all.
    pub async fn progress(&self, progress: impl Amount, total: impl Total) {
        self.progress_message(progress, total, None::<&str>).await;
    }

    /// As [`Context::progress`], with a sentence for the person who waits. In a task, where no progress
    /// is sent, the sentence is what a client that polls is shown.
    ///
    /// # Cancel safety
    ///
    /// As [`Context::progress`].
    pub async fn progress_message(
        &self,
        progress: impl Amount,
        total: impl Total,
        message: Option<impl AsRef<str> + Send>,
    ) {
        let message = message.as_ref().map(AsRef::as_ref);
        if let Some(message) = message {
            self.channel.say(message);
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

    /// Sends a figure that is larger than the one before; `None` for others. Clones of a context may
    /// be used at the same time, so that the figure is compared and sent as one.
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

    /// Sends a log message to the client, if it wants messages this severe
    /// (`logging/setLevel`, and all of them until it said so; in 2026-07-28 the level that the request
    /// names, and none where it names none).
    ///
    /// Source: Utilities, "Logging".
    ///
    /// `data` is any JSON value, most often a sentence. It goes to the client: no secrets.
    ///
    /// # Cancel safety
    ///
    /// The message is either queued whole or not at all.
    pub async fn log(&self, level: LogLevel, data: impl Serialize + Send) {
        self.log_as(level, None, data).await;
    }

    /// As [`Context::log`], under the name of a logger.
    ///
    /// # Cancel safety
    ///
    /// As [`Context::log`].
    pub async fn log_as(&self, level: LogLevel, logger: Option<&str>, data: impl Serialize + Send) {
        if !self.logs(level) {
            return;
        }
        let Ok(data) = RawJson::from_value(&data) else { return };
        if let Ok(params) = RawJson::from_value(&Log { level, logger, data }) {
            self.notify("notifications/message", &params).await;
        }
    }

    /// Whether the client wants log messages this severe, for messages that cost something to make.
    #[must_use]
    pub fn logs(&self, level: LogLevel) -> bool {
        level as u8 >= self.channel.log_level()
    }

    /// Sets what [`Context::logs`] says from now on in this session: what a [`Server`](super::Server) of
    /// your own does at `logging/setLevel`. It changes nothing where there is no session. Once it has returned, a
    /// call at any node uses the level.
    ///
    /// # Errors
    ///
    /// When the session has ended, or its engine cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// The level may be set at this node only.
    pub async fn set_log_level(&self, level: LogLevel) -> Result<(), StoreError> {
        self.channel.set_log_level(level as u8).await
    }

    /// Sends any notification on the stream of this call.
    ///
    /// # Cancel safety
    ///
    /// The notification is either queued whole or not at all.
    pub async fn notify(&self, method: &str, params: &RawJson) {
        let room = self.channel.notify(method, params);
        self.sent(room).await;
    }

    /// Waits for room where there is none. Where there is always some, because nobody reads, a
    /// handler that does nothing but send would never wait: now and then it is the turn of others.
    async fn sent(&self, room: bool) {
        if !room {
            self.channel.room().await;
        }
        tokio::task::coop::consume_budget().await;
    }

    /// Sends any request to the client on the stream of this call and waits for the answer, at
    /// most for the time given. [`Context::elicit`], [`Context::sample`] and [`Context::roots`]
    /// are this with types.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
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
        self.put(Question { method: method.into(), params, key: None }, within).await
    }

    pub(super) async fn put(&self, question: Question, within: Duration) -> Result<RawJson, ClientError> {
        check_request(&question.method, &question.params)?;
        let answer = self.channel.request(question);
        tokio::time::timeout(within, answer).await.map_err(|_| ClientError::Timeout(within))?
    }

    /// What it means that an answer does not fit its question.
    pub(super) async fn misread(&self, method: &'static str, error: serde_json::Error) -> ClientError {
        self.channel.misread(method, error).await
    }

    /// From here on the call is a task: its client is told so, and polls for the answer. For tools that
    /// are declared to [become one later](crate::server::Tool::task_later), after they asked what had
    /// to be known first. Whether it is a task now; not for clients that take none, and clients of
    /// the session revisions, which wait.
    ///
    /// The handler goes on as before. What it asks from now on is asked while it waits. A call that
    /// cannot become a task, because there is no room for one, ends here.
    ///
    /// # Cancel safety
    ///
    /// The task may exist and end at once.
    pub async fn begin_task(&self) -> bool {
        self.channel.begin_task().await
    }

    pub(super) fn takes_tasks(&self) -> bool {
        self.channel.takes_tasks()
    }

    /// Takes a step of the call that must not be taken twice, such as placing an order, before a
    /// question.
    ///
    /// A client of 2026-07-28 answers a question by calling again, and the handler begins again. A
    /// step that succeeded is not taken again then: its value is part of what the client carries
    /// (sealed, bounded by [`Inputs`](crate::Inputs)), and is returned at once. For clients of the
    /// session revisions, whose calls wait for their answers, the step is simply taken.
    ///
    /// `key` names the step within its handler; steps of one name are counted, in the order in which
    /// they begin. A value whose JSON is not read as it was written (a number that is none) cannot be
    /// kept, and a question after it fails the call.
    ///
    /// A client may still make the same call again from its beginning, or from any question it was
    /// asked, as long as that is [valid](crate::Inputs::lifetime): what may be done once in all, such as
    /// redeeming a voucher, is for the application to check.
    ///
    /// ```
    /// use mcp_http::server::{Context, ToolError};
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
    /// Those of the step; an error is not remembered.
    ///
    /// # Cancel safety
    ///
    /// That of the step.
    pub async fn once<T, E>(&self, key: &str, step: impl Future<Output = Result<T, E>> + Send) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned + Send,
    {
        let (name, known) = self.channel.step(key);
        match known.map(|value| value.read()) {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => tracing::error!(%error, key, "a step is taken again: its value has another type now"),
            None => {}
        }
        let value = step.await?;
        let written = RawJson::from_value(&value).ok().filter(|written| written.read::<T>().is_ok());
        if written.is_none() {
            tracing::error!(key, "a step cannot be kept: its value is not read as it is written");
        }
        self.channel.remember(name, written);
        Ok(value)
    }

    /// Ends the HTTP response that carries this call, while the call goes on: the client comes
    /// back after `retry` (or the service's retry interval) and is given the rest. Use it before
    /// a long wait, so that no connection is held for it.
    ///
    /// Returns whether it was done. It is not where the client could not come back: revisions
    /// before 2025-11-25 and 2026-07-28, stateless mode, JSON answers, or resumability switched off.
    ///
    /// Source: SEP-1699; 2025-11-25, Streamable HTTP, "Sending messages to the server".
    #[allow(clippy::must_use_candidate)]
    pub fn close_sse_stream(&self, retry: impl Into<Option<Duration>>) -> bool {
        self.channel.close_stream(retry.into())
    }

    /// Whether the client cancelled this call. A handler needs it only for work it moved
    /// elsewhere: its own future is dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.channel.is_cancelled()
    }

    /// Waits until the call is cancelled or has ended; for work that was moved to another task.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn cancelled(&self) {
        self.channel.cancelled().await;
    }

    /// What the client said when it cancelled the call: only clients of the session revisions say anything, and
    /// only the node that was told knows.
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

/// A number that is written without `.0` when it is whole, as people count steps.
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            #[allow(clippy::cast_possible_truncation)]
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}
