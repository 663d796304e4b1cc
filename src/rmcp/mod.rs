//! The rmcp adapter: serves a server written against rmcp. It maps sessions and requests to
//! services of rmcp, and sets how long each of them lives.
//!
//! ```text
//!  of a session:  Call, Notice -> Conversation -> rmcp's service -> the handler
//!  of none:       Call, Discover -> alone ------------|-----------> the handler
//!                                     |               v
//!                   Desk: which call is it? <------ Line: answers, messages, requests -> Context, Session
//! ```
//!
//! This module uses only what a framework outside of this crate could use, except for the seal. The
//! seal is the one that protects the rounds of this crate's own handlers.

mod catch_panic;
mod convert;
mod discover;
mod held;
mod mirrored;
mod owned;
mod pending;
mod session;
mod session_state;
mod sessionless;
mod transport;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::request::Parts;
use rmcp::ServerHandler;
use rmcp::model::{ClientRequest, RequestId, SubscriptionFilter};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::OnceCell;

use self::mirrored::Mirrored;
use self::owned::Owners;
use self::pending::{Answer, Pending};
use self::session::RmcpSession;
use self::session_state::Remember;
use crate::SealingKey;
use crate::message::{ErrorObject, InitializeParams, ProtocolVersion, RawJson, shown};
use crate::server::{Call, Context, Discover, Discovery, Initialize, MirroredArguments, Notification, Server, Session};

/// A server that was written against [rmcp] 3 (3.9 or later), served by this crate:
/// `mcp_router(RmcpServer::new(Counter::new))`.
///
/// The handler is used unchanged. Tools, prompts, resources, completion, logging, progress,
/// cancellation, requests to the client, list changes, subscriptions, tasks and custom methods all
/// work. This crate's settings and guarantees apply to it as to any server: response modes,
/// resuming, limits, principals, engines.
///
/// - **Sessions** have one handler each, made when the session opens. A session that is used on
///   another node, or after a restart of a durable engine, gets a new handler with its first call
///   there. That handler receives `initialize`, `notifications/initialized` and a
///   `resources/subscribe` for each subscription again, with what the session knows of its client.
///   The application must share or persist any other state. A client that only listens receives
///   what [`McpHandle::resource_updated`](crate::McpHandle::resource_updated) announces, on any
///   node.
/// - **Requests without a session** (2026-07-28, stateless mode) have one handler each.
/// - **Revisions**: the service serves those that both it and the handler
///   (`supported_protocol_versions`) speak.
/// - [`http::request::Parts`] and this crate's [`Context`] are in the extensions of each
///   `RequestContext` and `NotificationContext`. Those of `initialize` know the session as it was
///   proposed, and should not be kept. In `on_cancelled`, the context is the one of the call. The
///   parts are those of the request that cancelled it if this node received that request, and
///   otherwise have no headers.
/// - A `Peer` that a handler keeps works as long as its session or its request. Afterwards it fails
///   with an error.
/// - A message that names no call goes to one stream. A log message goes to the running call if
///   there is exactly one, and otherwise to the session's standalone stream. A request to the
///   client from a task that the handler spawned goes to the standalone stream if the client
///   listens there, and otherwise to the only call. A change goes to the standalone stream. Without
///   a session, a change goes to all subscribed clients, as with [`McpHandle`](crate::McpHandle).
/// - A handler may send requests and notifications as soon as the client is ready
///   (`on_initialized`). Those sent before the standalone stream opens wait for it, up to five
///   seconds.
/// - A call is cancelled as in rmcp: its token reports the cancellation, and the handler runs on
///   until it has noticed. Requests to the client that it sends afterwards fail. A handler that
///   panics answers with an error.
/// - Rounds of input requests (2026-07-28) and tasks belong to the handler:
///   [`InputRequests`](crate::InputRequests) and [`Tasks`](crate::Tasks) have no effect on them. rmcp keeps tasks
///   (`TaskManager`) in the memory of one process, with their limits and their expiry, and protects
///   request states (`RequestStateCodec`) against forgery. Neither knows principals.
/// - **Principals**: this crate enforces that a task and a request state belong to the
///   [`Principal`](crate::Principal) that made them. A client with a principal receives each
///   `taskId` and `requestState` sealed ([`RmcpServer::keys`]), while the handler sees its own. For
///   a client with another principal, or with none, the handler answers as for a task that does not
///   exist, and the state is rejected (-32602). `notifications/tasks` and the answer to a custom
///   `tasks/list` name only the last 64 tasks that the session received.
/// - Not enforced: an id or a state that a handler writes elsewhere, in a text or in the result of
///   another custom method, is sent unchanged. It opens nothing for a client with a principal.
///   Without principals, a task belongs to every client that knows its id. The handler has to bound
///   the number of tasks of a principal.
///
/// Some more handlers are made when the server is mounted or on first use. They are only queried
/// for their properties and serve no request.
///
/// ```
/// use mcp_http::{RmcpServer, mcp_router};
/// use rmcp::ServerHandler;
///
/// #[derive(Clone, Default)]
/// struct Quiet;
///
/// impl ServerHandler for Quiet {}
///
/// let app: axum::Router = axum::Router::new().nest("/mcp", mcp_router(RmcpServer::new(Quiet::default)));
/// # let _ = app;
/// ```
pub struct RmcpServer<H> {
    make: Arc<dyn Fn() -> H + Send + Sync>,
    request_timeout: Duration,
    /// The scopes that calls of a tool need.
    tool_scopes: HashMap<String, Vec<String>>,
    /// Seals task ids and request states for clients.
    owners: Arc<Owners>,
    /// A handler that is only queried for its properties.
    model: OnceLock<Model<H>>,
}

/// The properties that a handler states.
struct Model<H> {
    handler: H,
    info: Option<RawJson>,
    subscriptions: bool,
    mirrored: Mirrored,
}

/// The service of a session, in the session's extensions.
struct SessionSlot<H: ServerHandler>(OnceCell<RmcpSession<H>>);

impl<H: ServerHandler> RmcpServer<H> {
    /// Creates a server that makes its handlers with a function, most often their `new`.
    pub fn new(make: impl Fn() -> H + Send + Sync + 'static) -> Self {
        let make: Arc<dyn Fn() -> H + Send + Sync> = Arc::new(make);
        let owners = owners(&make, &[SealingKey::random()]);
        Self {
            make,
            request_timeout: Self::DEFAULT_REQUEST_TIMEOUT,
            tool_scopes: HashMap::new(),
            owners,
            model: OnceLock::new(),
        }
    }

    /// Sets the keys that seal the task ids and request states of clients with a principal. The
    /// first key seals, and each of them opens. Nodes that serve the same clients share their keys,
    /// which may be those of [`InputRequests::keys`](crate::InputRequests::keys). To rotate: append the new key
    /// on every node, move it to the front, then remove the old one.
    ///
    /// Default, also for an empty list: a random key. Then a sealed id or state cannot be used
    /// after a restart or on another node.
    ///
    /// The seal is also bound to the name of the server (`get_info`), so servers with different
    /// names may share keys.
    #[must_use]
    pub fn keys(mut self, keys: impl IntoIterator<Item = SealingKey>) -> Self {
        let keys: Vec<_> = keys.into_iter().collect();
        if !keys.is_empty() {
            self.owners = owners(&self.make, &keys);
        }
        self
    }

    /// Sets the scopes that the access token of a request must have to call a tool, as
    /// [`Tool::scopes`](crate::server::Tool::scopes) does. Default: none.
    #[must_use]
    pub fn tool_scopes<I: IntoIterator<Item: Into<String>>>(mut self, tool: impl Into<String>, scopes: I) -> Self {
        self.tool_scopes.insert(tool.into(), scopes.into_iter().map(Into::into).collect());
        self
    }

    /// One hour: the user may be away from the screen for a while, but not indefinitely.
    const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(3_600);

    /// Sets how long a request to a client of a session may stay open. Default: one hour. Then the
    /// handler receives an error, and the client a cancellation.
    ///
    /// A handler may stop waiting earlier. rmcp reports that if the request had a timeout of its
    /// own (`PeerRequestOptions`, `RequestHandle::cancel`). It does not report a dropped future
    /// (`tokio::time::timeout`, `select!`), so such a request ends by this timeout.
    ///
    /// A handler may have 128 requests open, as many as its session may have calls by default.
    /// Beyond that, the oldest is abandoned.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    fn model(&self) -> &Model<H> {
        self.model.get_or_init(|| {
            let handler = (self.make)();
            let everything = SubscriptionFilter::builder()
                .tools_list_changed()
                .prompts_list_changed()
                .resources_list_changed()
                .resource_subscriptions(["urn:example:any"])
                .build();
            Model {
                info: RawJson::from_value(&handler.get_info().server_info).ok(),
                subscriptions: handler.accepted_subscription_filter(&everything).is_some(),
                mirrored: Mirrored::default(),
                handler,
            }
        })
    }

    /// Returns the service of a session, and creates it if the session was opened elsewhere.
    async fn session_slot(
        &self,
        session: &Session,
        parts: &Parts,
        context: &Context,
    ) -> Result<Arc<SessionSlot<H>>, ErrorObject> {
        let slot = session.extensions().get_or_insert_with(|| SessionSlot(OnceCell::new()));
        slot.0.get_or_try_init(|| self.reopen(session, parts, context)).await?;
        Ok(slot)
    }

    async fn reopen(&self, session: &Session, parts: &Parts, context: &Context) -> Result<RmcpSession<H>, ErrorObject> {
        tracing::debug!(session = ?session.info().id, "a session continues with a new handler");
        let initialize = convert::initialize(&introduction(context)?, None)?;
        let pending = Pending::new(context, self.request_timeout);
        let (conversation, _) =
            RmcpSession::open((self.make)(), pending, initialize, parts.clone(), context.clone()).await?;
        conversation.be_ready(parts, context).await;
        for uri in session.subscriptions() {
            let params = RawJson::from_value(&json!({ "uri": uri })).ok();
            let (parts, context) = (Box::new(parts.clone()), context.clone());
            // The client's own calls come later, so none of them can be mistaken for this one.
            let subscribe =
                Call { id: 0.into(), method: "resources/subscribe".into(), params, parts, context, outline: None };
            if let Err(error) = conversation.call(subscribe, None).await {
                let (error, uri) = (error.to_string(), shown(&uri));
                tracing::debug!(error = &*shown(&error), uri = &*uri, "a new handler rejected a subscription");
            }
        }
        Ok(conversation)
    }

    /// Answers a request without a session.
    async fn alone(&self, id: RequestId, request: ClientRequest, parts: Parts, context: Context) -> Answer {
        let client = read(&introduction(&context)?)?;
        let pending = Pending::new(&context, self.request_timeout);
        let owner = self.owners.of(&context);
        sessionless::answer((self.make)(), (pending, owner), client, id, request, parts, context).await
    }
}

/// Creates the sealer for the server of a handler.
fn owners<H: ServerHandler>(make: &Arc<dyn Fn() -> H + Send + Sync>, keys: &[SealingKey]) -> Arc<Owners> {
    let make = Arc::clone(make);
    Owners::new(keys, move || make().get_info().server_info.name)
}

/// Builds the parameters that the client would have sent in `initialize`.
fn introduction(context: &Context) -> Result<RawJson, ErrorObject> {
    let params = RawJson::from_value(&InitializeParams {
        protocol_version: context.protocol_version().to_string(),
        capabilities: context.client_capabilities().cloned().unwrap_or_default(),
        client_info: context.client_info().cloned().unwrap_or_default(),
    });
    params.map_err(|_| ErrorObject::internal())
}

/// Reads a text whose form rmcp and this crate share.
fn read<T: DeserializeOwned>(text: &RawJson) -> Result<T, ErrorObject> {
    text.read().map_err(|error| {
        tracing::error!(%error, "rmcp sent a message that this crate cannot read");
        ErrorObject::internal()
    })
}

impl<S: Send + Sync, H: ServerHandler> Server<S> for RmcpServer<H> {
    async fn initialize(&self, request: Initialize, _: &S) -> Answer {
        let Initialize { params, text, parts, context } = request;
        let version = context.protocol_version();
        let served = (params.protocol_version != version.as_str()).then_some(version);
        let initialize = convert::initialize(&text, served)?;
        let session = context.session();
        let pending = Pending::new(&context, self.request_timeout);
        let (conversation, result) = RmcpSession::open((self.make)(), pending, initialize, *parts, context).await?;
        if let Some(session) = session {
            session.extensions().insert(SessionSlot(OnceCell::new_with(Some(conversation))));
        }
        Ok(result)
    }

    async fn call(&self, call: Call, _: &S) -> Answer {
        let Some(session) = call.context.session() else {
            let request = convert::request(&call.method, call.params.as_ref())?;
            return self.alone(convert::id(&call.id), request, *call.parts, call.context).await;
        };
        let slot = self.session_slot(&session, &call.parts, &call.context).await?;
        let Some(conversation) = slot.0.get() else { return Err(ErrorObject::internal()) };
        // A client that only checks that the server is alive need not be ready.
        if call.method != "ping" {
            conversation.be_ready(&call.parts, &call.context).await;
        }
        let remember = Remember::of(&call);
        let owner = self.owners.of(&call.context);
        let result = conversation.call(call, owner).await?;
        if let Some(remember) = remember {
            remember.apply(&session).await;
        }
        Ok(result)
    }

    async fn discover(&self, request: Discover, _: &S) -> Result<Discovery, ErrorObject> {
        let Discover { parts, context } = request;
        let introduced = discover::params(&context).map_err(|_| ErrorObject::internal())?;
        let request = convert::request("server/discover", Some(&introduced))?;
        let said = self.alone(discover::ID, request, *parts, context).await?;
        read::<discover::Said>(&said).map(Discovery::from)
    }

    fn info(&self) -> Option<RawJson> {
        self.model().info.clone()
    }

    fn versions(&self) -> Cow<'static, [ProtocolVersion]> {
        // Asks a handler made only for this: a service that is merely mounted keeps none.
        let theirs = (self.make)().supported_protocol_versions();
        theirs.iter().filter_map(|version| version.as_str().parse().ok()).collect()
    }

    fn handles_input_requests(&self) -> bool {
        true
    }

    fn handles_subscriptions(&self) -> bool {
        self.model().subscriptions
    }

    fn required_scopes(&self, method: &str, params: Option<&RawJson>) -> Vec<String> {
        #[derive(serde::Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        if self.tool_scopes.is_empty() || method != "tools/call" {
            return Vec::new();
        }
        let named = params.and_then(|params| params.read_borrowed::<Named<'_>>().ok());
        named.and_then(|named| self.tool_scopes.get(&*named.name).cloned()).unwrap_or_default()
    }

    fn mirrored_arguments(&self, tool: &str) -> Option<Arc<MirroredArguments>> {
        let model = self.model();
        model.mirrored.of(&model.handler.get_tool(tool)?)
    }

    async fn notification(&self, notice: Notification, _: &S) {
        let Some(session) = notice.context.session() else { return };
        if let Ok(slot) = self.session_slot(&session, &notice.parts, &notice.context).await
            && let Some(conversation) = slot.0.get()
        {
            conversation.notify(notice).await;
        }
    }
}

impl<H> fmt::Debug for RmcpServer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RmcpServer").field("handler", &std::any::type_name::<H>()).finish_non_exhaustive()
    }
}
