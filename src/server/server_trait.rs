//! The server trait: a type that answers JSON-RPC calls, and the requests it receives. Everything
//! typed ([`McpServer`](crate::McpServer)) and every foreign framework implements it.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::request::Parts;

use super::{Context, Discovery, MirroredArguments};
use crate::handle::McpHandle;
use crate::message::{ErrorObject, InitializeParams, Outline, ProtocolVersion, RawJson, RequestId};

/// An `initialize` request for a [`Server`]: the client opens a session, or would in stateless
/// mode.
#[derive(Debug)]
#[non_exhaustive]
pub struct Initialize {
    /// The client's info, capabilities and revision, as far as the transport needs them.
    pub params: InitializeParams,
    /// All parameters, as the client wrote them.
    pub text: RawJson,
    /// The head of the HTTP request.
    pub parts: Box<Parts>,
    /// Access to the session that opens, if one does. No other request can use it yet.
    pub context: Context,
}

/// A request to describe the [`Server`], for a client of 2026-07-28 that sends `server/discover` or
/// subscribes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Discover {
    /// The head of the HTTP request.
    pub parts: Box<Parts>,
    /// The client's info, capabilities and revision.
    pub context: Context,
}

/// A request of a client, for a [`Server`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Call {
    /// The method, for example `tools/call`.
    pub method: Cow<'static, str>,
    /// The request's id, as the client wrote it.
    pub id: RequestId,
    /// The parameters, not parsed yet.
    pub params: Option<RawJson>,
    /// The head of the HTTP request, with all extensions that outer layers added.
    pub parts: Box<Parts>,
    /// Access to the client while the call runs.
    pub context: Context,
    /// The tool or prompt and its arguments, if the transport found them in the parameters.
    pub(crate) outline: Option<Outline>,
}

/// A notification of a client, for a [`Server`]. `notifications/cancelled` is not delivered this
/// way: the transport ends the call that it names.
#[derive(Debug)]
#[non_exhaustive]
pub struct Notification {
    /// The method, for example `notifications/initialized`.
    pub method: Cow<'static, str>,
    /// The parameters, not parsed yet.
    pub params: Option<RawJson>,
    /// The head of the HTTP request.
    pub parts: Box<Parts>,
    /// Access to the client's session. It has no stream for progress or requests to the client.
    pub context: Context,
}

/// A server at the level of JSON-RPC. [`McpServer`](crate::McpServer) implements it, and so can
/// another framework that wants this crate as its transport.
///
/// `S` is the state of the axum router in which the server is mounted. A server that does not use
/// the state implements `Server<S>` for every `S`.
///
/// # Cancel safety
///
/// The futures are dropped when the client cancels the call or ends its session. Put cleanup into a
/// `Drop` implementation. A client that only disconnects does not cancel (2025-11-25, Streamable
/// HTTP, "disconnection"); a client of 2026-07-28 does.
///
/// ```
/// use mcp_http::message::{ErrorObject, RawJson};
/// use mcp_http::server::{Call, Initialize, Server};
///
/// #[derive(Debug)]
/// struct Echo;
///
/// impl<S: Send + Sync> Server<S> for Echo {
///     async fn initialize(&self, request: Initialize, _: &S) -> Result<RawJson, ErrorObject> {
///         let result = serde_json::json!({
///             "protocolVersion": request.context.protocol_version(),
///             "capabilities": {},
///             "serverInfo": {"name": "echo", "version": "1.0.0"},
///         });
///         RawJson::from_value(&result).map_err(|_| ErrorObject::internal())
///     }
///
///     async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
///         call.params.ok_or_else(|| ErrorObject::method_not_found(&call.method))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an MCP server for an axum router with state `{S}`",
    note = "a server is an `McpServer`, or a type that implements `mcp_http::server::Server`",
    note = "an `McpServer` whose handlers take `State<T>` fits a `Router<T>`, or any router after `.with_state(..)`"
)]
pub trait Server<S = ()>: fmt::Debug + Send + Sync + 'static {
    /// Answers `initialize` with the whole result: `protocolVersion`, `capabilities`, `serverInfo`.
    /// [`Context::protocol_version`] is the revision that the transport would agree to. A result
    /// that names another served revision overrides it. A result with a revision that is not served
    /// opens no session. Others can use the session only after this returned `Ok`.
    fn initialize(&self, request: Initialize, state: &S) -> impl Future<Output = Result<RawJson, ErrorObject>> + Send;

    /// Answers a request with its `result` or an error.
    fn call(&self, call: Call, state: &S) -> impl Future<Output = Result<RawJson, ErrorObject>> + Send;

    /// Answers `server/discover` of 2026-07-28, which replaces `initialize` there. By default it
    /// returns what `initialize` returns for a client of that revision.
    ///
    /// It is also called at each `subscriptions/listen`: clients receive the notifications that the
    /// capabilities promise (`listChanged`, `resources.subscribe`).
    fn discover(&self, request: Discover, state: &S) -> impl Future<Output = Result<Discovery, ErrorObject>> + Send {
        let initialized = self.initialize(request.into(), state);
        async { Discovery::read(&initialized.await?) }
    }

    /// Returns the server's name and version (an `Implementation`), for the `_meta` of each result
    /// of 2026-07-28. Default: `None`.
    fn info(&self) -> Option<RawJson> {
        None
    }

    /// Returns the revisions that the server supports, if it supports fewer than the transport. No
    /// other revision is served, regardless of the [setting](crate::McpServiceBuilder::versions).
    /// Called once, when the server is mounted. Default: all.
    fn versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(&ProtocolVersion::ALL)
    }

    /// Returns whether a method of 2026-07-28 exists. Other methods are rejected with HTTP status
    /// 404, and [`call`](Self::call) never sees them. `server/discover` and `subscriptions/listen`
    /// always exist. By default every method may exist, and a response of -32601 says that it does
    /// not.
    fn serves(&self, method: &str) -> bool {
        let _ = method;
        true
    }

    /// Returns whether calls may become tasks that the transport keeps ([`Context::begin_task`]).
    /// If so, the transport serves `tasks/get`, `tasks/update` and `tasks/cancel`. Otherwise these
    /// are ordinary calls, for servers with tasks of their own. Default: `false`.
    fn uses_tasks(&self) -> bool {
        false
    }

    /// Returns whether the server itself sends requests to clients of 2026-07-28: it returns
    /// results `input_required`, and checks their `requestState` and answers. By default (`false`)
    /// the transport does this, and a handler uses [`Context::request`] in either era.
    fn handles_input_requests(&self) -> bool {
        false
    }

    /// Returns whether the server itself answers `subscriptions/listen` of 2026-07-28. It is then
    /// an ordinary call that runs until it is cancelled; the transport ends it when it drains. By
    /// default (`false`) the transport keeps the subscriptions, and announcements of an
    /// [`McpHandle`] reach them.
    fn handles_subscriptions(&self) -> bool {
        false
    }

    /// Returns all scopes that the access token of a request must have for an operation, besides
    /// those that its resource server requires of every request. Without them the client gets a 403
    /// that names them, and the server does not see the request. Default: none.
    fn required_scopes(&self, method: &str, params: Option<&RawJson>) -> Vec<String> {
        let _ = (method, params);
        Vec::new()
    }

    /// Returns the arguments of a tool that clients of 2026-07-28 repeat as headers. Default:
    /// `None`.
    fn mirrored_arguments(&self, tool: &str) -> Option<Arc<MirroredArguments>> {
        let _ = tool;
        None
    }

    /// Handles a notification of the session revisions; 2026-07-28 has none. Does nothing by
    /// default.
    fn notification(&self, notice: Notification, state: &S) -> impl Future<Output = ()> + Send {
        let _ = (notice, state);
        async {}
    }

    /// Called once for each mount, with the handle that reaches all its clients. Keep the handle to
    /// announce changes; it does not keep the service alive.
    fn on_mount(&self, handle: &McpHandle) {
        let _ = handle;
    }
}

impl From<Discover> for Initialize {
    /// Builds the equivalent `initialize` request.
    fn from(Discover { parts, context }: Discover) -> Self {
        let params = InitializeParams {
            protocol_version: context.protocol_version().to_string(),
            capabilities: context.client_capabilities().cloned().unwrap_or_default(),
            client_info: context.client_info().cloned().unwrap_or_default(),
        };
        let text = RawJson::from_value(&params).unwrap_or_else(|_| RawJson::empty_object());
        Self { params, text, parts, context }
    }
}

type ResponseFuture = BoxFuture<'static, Result<RawJson, ErrorObject>>;

/// A [`Server`] with its type erased and its state type kept, as the transport stores it.
pub(crate) trait ErasedServer<S>: fmt::Debug + Send + Sync {
    fn initialize(self: Arc<Self>, request: Initialize, state: S) -> ResponseFuture;
    fn call(self: Arc<Self>, call: Call, state: S) -> ResponseFuture;
    fn discover(self: Arc<Self>, request: Discover, state: S) -> BoxFuture<'static, Result<Discovery, ErrorObject>>;
    fn info(&self) -> Option<RawJson>;
    fn versions(&self) -> Cow<'static, [ProtocolVersion]>;
    fn serves(&self, method: &str) -> bool;
    fn uses_tasks(&self) -> bool;
    fn handles_input_requests(&self) -> bool;
    fn handles_subscriptions(&self) -> bool;
    fn required_scopes(&self, method: &str, params: Option<&RawJson>) -> Vec<String>;
    fn mirrored_arguments(&self, tool: &str) -> Option<Arc<MirroredArguments>>;
    fn notification(self: Arc<Self>, notice: Notification, state: S) -> BoxFuture<'static, ()>;
    fn on_mount(&self, handle: &McpHandle);
}

impl<S: Clone + Send + Sync + 'static, V: Server<S>> ErasedServer<S> for V {
    fn initialize(self: Arc<Self>, request: Initialize, state: S) -> ResponseFuture {
        Box::pin(async move { Server::initialize(&*self, request, &state).await })
    }

    fn call(self: Arc<Self>, call: Call, state: S) -> ResponseFuture {
        Box::pin(async move { Server::call(&*self, call, &state).await })
    }

    fn discover(self: Arc<Self>, request: Discover, state: S) -> BoxFuture<'static, Result<Discovery, ErrorObject>> {
        Box::pin(async move { Server::discover(&*self, request, &state).await })
    }

    fn info(&self) -> Option<RawJson> {
        Server::info(self)
    }

    fn versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Server::versions(self)
    }

    fn serves(&self, method: &str) -> bool {
        Server::serves(self, method)
    }

    fn uses_tasks(&self) -> bool {
        Server::uses_tasks(self)
    }

    fn handles_input_requests(&self) -> bool {
        Server::handles_input_requests(self)
    }

    fn handles_subscriptions(&self) -> bool {
        Server::handles_subscriptions(self)
    }

    fn required_scopes(&self, method: &str, params: Option<&RawJson>) -> Vec<String> {
        Server::required_scopes(self, method, params)
    }

    fn mirrored_arguments(&self, tool: &str) -> Option<Arc<MirroredArguments>> {
        Server::mirrored_arguments(self, tool)
    }

    fn notification(self: Arc<Self>, notice: Notification, state: S) -> BoxFuture<'static, ()> {
        Box::pin(async move { Server::notification(&*self, notice, &state).await })
    }

    fn on_mount(&self, handle: &McpHandle) {
        Server::on_mount(self, handle);
    }
}
