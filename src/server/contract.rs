//! Decides what a server is to this crate: something that answers JSON-RPC calls. Everything
//! typed ([`McpServer`](super::McpServer)) and every foreign framework stands on this.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::request::Parts;

use super::{Context, Discovery, MirroredArguments};
use crate::handle::McpHandle;
use crate::message::{ErrorObject, InitializeParams, ProtocolVersion, RawJson, RequestId};

/// A client that opens a session, on its way to a [`Server`]; in stateless mode, one that would.
#[derive(Debug)]
pub struct Initialize {
    /// Who the client is and what it would speak, as far as the transport needs it.
    pub params: InitializeParams,
    /// The parameters whole, as the client wrote them.
    pub text: RawJson,
    /// The HTTP request that brought it.
    pub parts: Box<Parts>,
    /// The way to the session that opens, if one does. Nobody else knows it yet.
    pub context: Context,
}

/// A client of 2026-07-28 that wants to know a [`Server`] (`server/discover`), or subscribes.
#[derive(Debug)]
pub struct Discover {
    /// The HTTP request that brought it.
    pub parts: Box<Parts>,
    /// What the client says of itself.
    pub context: Context,
}

/// A request of a client, on its way to a [`Server`].
#[derive(Debug)]
pub struct Call {
    /// The method, for example `tools/call`.
    pub method: Cow<'static, str>,
    /// The request's id, as the client wrote it.
    pub id: RequestId,
    /// The parameters, not parsed yet.
    pub params: Option<RawJson>,
    /// The HTTP request that brought it, with everything outer layers put into its extensions.
    pub parts: Box<Parts>,
    /// The way back to the client while the call runs.
    pub context: Context,
}

/// A notification of a client, on its way to a [`Server`]. `notifications/cancelled` does not
/// come this way: the transport ends the call it names.
#[derive(Debug)]
pub struct Notice {
    /// The method, for example `notifications/initialized`.
    pub method: Cow<'static, str>,
    /// The parameters, not parsed yet.
    pub params: Option<RawJson>,
    /// The HTTP request that brought it.
    pub parts: Box<Parts>,
    /// The way to the client's session; progress and requests have no stream to go on.
    pub context: Context,
}

/// A server at the level of JSON-RPC: what [`McpServer`](super::McpServer) is, and what another
/// framework implements to be served whole.
///
/// `S` is the state of the axum router the server is mounted in; a server that does not care
/// implements `Server<S>` for every `S`.
///
/// # Cancel safety
///
/// The futures are dropped when the client cancels or ends its session. What must be undone then
/// belongs in a `Drop`. A client that merely disconnects does not cancel (2025-11-25,
/// Streamable HTTP, "disconnection"); one of 2026-07-28 does.
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
    /// Answers `initialize` with the whole result: `protocolVersion`, `capabilities`,
    /// `serverInfo`. [`Context::protocol_version`] is what the transport would agree to; a result
    /// that names another served revision overrides it, and one that names a revision which is not
    /// served opens nothing. The session exists, for others, only after this returned `Ok`.
    fn initialize(&self, request: Initialize, state: &S) -> impl Future<Output = Result<RawJson, ErrorObject>> + Send;

    /// Answers a request with its `result`, or with an error.
    fn call(&self, call: Call, state: &S) -> impl Future<Output = Result<RawJson, ErrorObject>> + Send;

    /// Answers `server/discover` of 2026-07-28: what the server says of itself where there is no
    /// `initialize`. By default it is what `initialize` says, asked as a client of that revision.
    ///
    /// Asked at each `subscriptions/listen` too: clients are told of what the capabilities promise
    /// (`listChanged`, `resources.subscribe`).
    fn discover(&self, request: Discover, state: &S) -> impl Future<Output = Result<Discovery, ErrorObject>> + Send {
        let initialized = self.initialize(request.into(), state);
        async { Discovery::read(&initialized.await?) }
    }

    /// The server's name and version (an `Implementation`), for the `_meta` of each result of
    /// 2026-07-28. Nothing by default.
    fn info(&self) -> Option<RawJson> {
        None
    }

    /// Which revisions the server speaks, where it speaks fewer than the transport: no other is served, whatever is
    /// [set](crate::McpServiceBuilder::versions). Asked once, when it is mounted. All of them by default.
    fn versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(&ProtocolVersion::ALL)
    }

    /// Whether a method of 2026-07-28 exists here at all; one that does not is refused with HTTP
    /// status 404 and never called. `server/discover` and `subscriptions/listen` always do. By default every method may exist, and an answer of -32601
    /// says that it does not.
    fn serves(&self, method: &str) -> bool {
        let _ = method;
        true
    }

    /// Whether calls may become tasks that the transport keeps
    /// ([`Context::begin_task`]). It then serves `tasks/get`, `tasks/update` and `tasks/cancel`; else
    /// they are calls like any other, for servers with tasks of their own. No by default.
    fn has_tasks(&self) -> bool {
        false
    }

    /// Whether the server asks its clients of 2026-07-28 by itself: with results `input_required` of
    /// its own, whose `requestState` and answers are its own to check. No by default: they are the
    /// transport's, and a handler asks with [`Context::request`] in either era.
    fn own_rounds(&self) -> bool {
        false
    }

    /// Whether the server answers `subscriptions/listen` of 2026-07-28 by itself, as a call like any
    /// other that runs until it is cancelled; the transport ends it when it drains. No by default: subscriptions are
    /// the transport's, and hear what is announced through an [`McpHandle`].
    fn own_subscriptions(&self) -> bool {
        false
    }

    /// The arguments of a tool that clients of 2026-07-28 repeat as headers. None by default.
    fn mirrored(&self, tool: &str) -> Option<Arc<MirroredArguments>> {
        let _ = tool;
        None
    }

    /// Takes a notification of the session revisions; 2026-07-28 has none. Does nothing by default.
    fn notified(&self, notice: Notice, state: &S) -> impl Future<Output = ()> + Send {
        let _ = (notice, state);
        async {}
    }

    /// Called once for each mount, with the handle that reaches every client of it. Keep it to
    /// announce changes; it does not keep the service alive.
    fn mounted(&self, handle: &McpHandle) {
        let _ = handle;
    }
}

impl From<Discover> for Initialize {
    /// What `initialize` would have been asked.
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

type Answer = BoxFuture<'static, Result<RawJson, ErrorObject>>;

/// A [`Server`] with its type erased and its state type kept, as the transport holds it.
pub(crate) trait ErasedServer<S>: fmt::Debug + Send + Sync {
    fn initialize(self: Arc<Self>, request: Initialize, state: S) -> Answer;
    fn call(self: Arc<Self>, call: Call, state: S) -> Answer;
    fn discover(self: Arc<Self>, request: Discover, state: S) -> BoxFuture<'static, Result<Discovery, ErrorObject>>;
    fn info(&self) -> Option<RawJson>;
    fn versions(&self) -> Cow<'static, [ProtocolVersion]>;
    fn serves(&self, method: &str) -> bool;
    fn has_tasks(&self) -> bool;
    fn own_rounds(&self) -> bool;
    fn own_subscriptions(&self) -> bool;
    fn mirrored(&self, tool: &str) -> Option<Arc<MirroredArguments>>;
    fn notified(self: Arc<Self>, notice: Notice, state: S) -> BoxFuture<'static, ()>;
    fn mounted(&self, handle: &McpHandle);
}

impl<S: Clone + Send + Sync + 'static, V: Server<S>> ErasedServer<S> for V {
    fn initialize(self: Arc<Self>, request: Initialize, state: S) -> Answer {
        Box::pin(async move { Server::initialize(&*self, request, &state).await })
    }

    fn call(self: Arc<Self>, call: Call, state: S) -> Answer {
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

    fn has_tasks(&self) -> bool {
        Server::has_tasks(self)
    }

    fn own_rounds(&self) -> bool {
        Server::own_rounds(self)
    }

    fn own_subscriptions(&self) -> bool {
        Server::own_subscriptions(self)
    }

    fn mirrored(&self, tool: &str) -> Option<Arc<MirroredArguments>> {
        Server::mirrored(self, tool)
    }

    fn notified(self: Arc<Self>, notice: Notice, state: S) -> BoxFuture<'static, ()> {
        Box::pin(async move { Server::notified(&*self, notice, &state).await })
    }

    fn mounted(&self, handle: &McpHandle) {
        Server::mounted(self, handle);
    }
}
