//! Decides how a server that was written against rmcp is served here: which service of rmcp answers
//! what, and how long each of them lives.
//!
//! ```text
//!  of a session:  Call, Notice -> Conversation -> rmcp's service -> the handler
//!  of none:       Call, Discover -> alone ------------|-----------> the handler
//!                                     |               v
//!                   Desk: which call is it? <------ Line: answers, messages, questions -> Context, Session
//! ```
//!
//! Nothing in this room knows more of this crate than a framework outside of it could, but for the seal, which is the
//! one that the rounds of this crate's own handlers have.

mod alone;
mod conversation;
mod convert;
mod desk;
mod discover;
mod early;
mod guarded;
mod line;
mod mirrored;
mod owned;
mod remember;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::request::Parts;
use rmcp::ServerHandler;
use rmcp::model::{ClientRequest, RequestId, SubscriptionFilter};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::OnceCell;

use self::conversation::Conversation;
use self::desk::{Answer, Desk};
use self::mirrored::Mirrored;
use self::owned::Owners;
use self::remember::Remember;
use crate::SealingKey;
use crate::message::{ErrorObject, InitializeParams, ProtocolVersion, RawJson, shown};
use crate::server::{Call, Context, Discover, Discovery, Initialize, MirroredArguments, Notice, Server, Session};
use crate::service::McpService;

/// A server that was written against [rmcp] 3 (3.9 or later), served by this crate:
/// `mcp_router(RmcpServer::new(Counter::new))`.
///
/// The handler is used as it is: tools, prompts, resources, completion, logging, progress, cancellation,
/// questions to the client, changes of lists, subscriptions, tasks and methods of its own. What this crate sets
/// and keeps holds for it as for any server: response modes, resuming, limits, principals, engines.
///
/// - **Sessions** have a handler each, made when they open. A session that is used on another node, or after a restart
///   of a durable engine, is given a new one with its first call there. To that one `initialize`,
///   `notifications/initialized` and a `resources/subscribe` for each subscription are sent anew, with what the session
///   knows of its client; what handlers share or keep besides is theirs to share or keep. A client that only listens is
///   told of what [`McpHandle::resource_updated`](crate::McpHandle::resource_updated) announces, wherever it is.
/// - **Requests without a session** (2026-07-28, stateless mode) have a handler each.
/// - **Revisions**: those that both the service and the handler (`supported_protocol_versions`) speak are served.
/// - [`http::request::Parts`] and this crate's [`Context`] are in the extensions of each `RequestContext` and
///   `NotificationContext`. Those of `initialize` know the session as it was proposed, and should not be kept. Those of
///   `on_cancelled` are the call's context, and the request that cancelled it, if this node was told; else one without
///   headers.
/// - A `Peer` that a handler keeps works as long as its session, or its request; then it fails with an error.
/// - What a handler sends that names no call goes to one stream. A log message: that of the call that runs, if just one
///   does, and the session's standalone stream otherwise. A question from a task of the handler's own: the standalone
///   stream, if its client listens, and that of the only call otherwise. A change: the standalone stream, or where there
///   is no session, to whoever listens, as by [`McpHandle`](crate::McpHandle).
/// - A client may be asked and told as soon as it is ready (`on_initialized`): what comes before its standalone stream waits
///   for that, up to five seconds.
/// - A call that is cancelled is cancelled as in rmcp: its token says so, and the handler goes on until it has seen
///   it; what it asks from then on fails. A handler that panics answers with an error.
/// - Rounds of questions (2026-07-28) and tasks are the handler's own: [`Inputs`](crate::Inputs) and
///   [`Tasks`](crate::Tasks) have no effect on them. rmcp keeps tasks (`TaskManager`) in the memory of one process, with
///   their limits and their expiry, and checks request states (`RequestStateCodec`) against forgery. Neither knows
///   principals.
/// - **Principals**: this crate enforces that a task and a request state belong to the [`Principal`](crate::Principal)
///   that made them. A client with a principal is given each `taskId` and `requestState` sealed
///   ([`RmcpServer::keys`]); the handler sees its own. To a client with another principal, or with none, the handler
///   answers as for a task that does not exist, and the state is refused (-32602). `notifications/tasks` and the answer
///   to a `tasks/list` of the handler's own name the last 64 tasks that the session was given, and no others.
/// - Not enforced: an id or a state that a handler writes elsewhere, in a text or in the result of another method
///   of its own, leaves as it is. It opens nothing for a client with a principal. Without principals, a task belongs to
///   every client that knows its id. How many tasks a principal has is for the handler to bound.
///
/// One more handler is made when first needed, and asked only what it says of itself.
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
    question_timeout: Duration,
    /// Seals what clients carry.
    owners: Arc<Owners>,
    /// The handler that is only asked what it says of itself.
    model: OnceLock<Model<H>>,
}

/// What a handler says of itself.
struct Model<H> {
    handler: H,
    info: Option<RawJson>,
    subscriptions: bool,
    mirrored: Mirrored,
}

/// The service of a session, in the session's extensions.
struct Seat<H: ServerHandler>(OnceCell<Conversation<H>>);

impl<H: ServerHandler> RmcpServer<H> {
    /// A server whose handlers are made by a function, most often their `new`.
    pub fn new(make: impl Fn() -> H + Send + Sync + 'static) -> Self {
        let make: Arc<dyn Fn() -> H + Send + Sync> = Arc::new(make);
        let owners = owners(&make, &[SealingKey::random()]);
        Self { make, question_timeout: Self::DEFAULT_QUESTION_TIMEOUT, owners, model: OnceLock::new() }
    }

    /// The keys that seal the task ids and request states of clients with a principal: the first key seals, each of
    /// them opens. Nodes that serve the same clients share them, and may be given those of
    /// [`Inputs::keys`](crate::Inputs::keys). To rotate: append the new key on every node, move it to the front, then
    /// remove the old one. Default, and where none is given: a random key, so that what a client carries cannot be used
    /// after a restart or on another node.
    ///
    /// What is sealed is also bound to the name of the server (`get_info`): servers with different names may share keys.
    #[must_use]
    pub fn keys(mut self, keys: impl IntoIterator<Item = SealingKey>) -> Self {
        let keys: Vec<_> = keys.into_iter().collect();
        if !keys.is_empty() {
            self.owners = owners(&self.make, &keys);
        }
        self
    }

    /// An hour: a person may be away from the screen, but not for ever.
    const DEFAULT_QUESTION_TIMEOUT: Duration = Duration::from_secs(3_600);

    /// How long a question to a client of a session may be open; then its handler is told that nobody answered,
    /// and the client that it need not. By default an hour. A handler may give up long before: rmcp tells of it
    /// where it was asked with a timeout of its own (`PeerRequestOptions`, `RequestHandle::cancel`), but not where a future is dropped
    /// (`tokio::time::timeout`, `select!`), and then this is what ends the question.
    ///
    /// A handler may have 128 questions open, as many as its session may have calls by default: one more, and the oldest is given up.
    #[must_use]
    pub fn question_timeout(mut self, timeout: Duration) -> Self {
        self.question_timeout = timeout;
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

    /// The service of a session; made anew where the session was opened elsewhere.
    async fn seat(&self, session: &Session, parts: &Parts, context: &Context) -> Result<Arc<Seat<H>>, ErrorObject> {
        let seat = session.extensions().get_or_insert_with(|| Seat(OnceCell::new()));
        seat.0.get_or_try_init(|| self.reopen(session, parts, context)).await?;
        Ok(seat)
    }

    async fn reopen(
        &self,
        session: &Session,
        parts: &Parts,
        context: &Context,
    ) -> Result<Conversation<H>, ErrorObject> {
        tracing::debug!(session = ?session.id, "a session goes on with a new handler");
        let initialize = convert::initialize(&introduction(context)?, None)?;
        let desk = Desk::new(context, self.question_timeout);
        let (conversation, _) =
            Conversation::open((self.make)(), desk, initialize, parts.clone(), context.clone()).await?;
        conversation.be_ready(parts, context).await;
        for uri in session.subscriptions() {
            let params = RawJson::from_value(&json!({ "uri": uri })).ok();
            let (parts, context) = (Box::new(parts.clone()), context.clone());
            // The client's own calls come later: none of them can be mistaken for this one.
            let subscribe = Call { id: 0.into(), method: "resources/subscribe".into(), params, parts, context };
            if let Err(error) = conversation.call(subscribe, None).await {
                let (error, uri) = (error.to_string(), shown(&uri));
                tracing::debug!(
                    error = &*shown(&error),
                    uri = &*uri,
                    "a new handler does not take a subscription over"
                );
            }
        }
        Ok(conversation)
    }

    /// Answers a request without a session.
    async fn alone(&self, id: RequestId, request: ClientRequest, parts: Parts, context: Context) -> Answer {
        let client = read(&introduction(&context)?)?;
        let desk = Desk::new(&context, self.question_timeout);
        let owner = self.owners.of(&context);
        alone::answer((self.make)(), (desk, owner), client, id, request, parts, context).await
    }
}

/// What seals for the server of a handler.
fn owners<H: ServerHandler>(make: &Arc<dyn Fn() -> H + Send + Sync>, keys: &[SealingKey]) -> Arc<Owners> {
    let make = Arc::clone(make);
    Owners::new(keys, move || make().get_info().server_info.name)
}

/// What a client would have said in `initialize`.
fn introduction(context: &Context) -> Result<RawJson, ErrorObject> {
    let params = RawJson::from_value(&InitializeParams {
        protocol_version: context.protocol_version().to_string(),
        capabilities: context.client_capabilities().cloned().unwrap_or_default(),
        client_info: context.client_info().cloned().unwrap_or_default(),
    });
    params.map_err(|_| ErrorObject::internal())
}

/// Reads what both sides write alike.
fn read<T: DeserializeOwned>(text: &RawJson) -> Result<T, ErrorObject> {
    text.read().map_err(|error| {
        tracing::error!(%error, "rmcp and this crate do not understand each other");
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
        let desk = Desk::new(&context, self.question_timeout);
        let (conversation, result) = Conversation::open((self.make)(), desk, initialize, *parts, context).await?;
        if let Some(session) = session {
            session.extensions().insert(Seat(OnceCell::new_with(Some(conversation))));
        }
        Ok(result)
    }

    async fn call(&self, call: Call, _: &S) -> Answer {
        let Some(session) = call.context.session() else {
            let request = convert::request(&call.method, call.params.as_ref())?;
            return self.alone(convert::id(&call.id), request, *call.parts, call.context).await;
        };
        let seat = self.seat(&session, &call.parts, &call.context).await?;
        let Some(conversation) = seat.0.get() else { return Err(ErrorObject::internal()) };
        // Who only looks whether the server is there need not be ready.
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
        // Of a handler that is made for this alone: a service that is only mounted keeps none.
        let theirs = (self.make)().supported_protocol_versions();
        theirs.iter().filter_map(|version| version.as_str().parse().ok()).collect()
    }

    fn own_rounds(&self) -> bool {
        true
    }

    fn own_subscriptions(&self) -> bool {
        self.model().subscriptions
    }

    fn mirrored(&self, tool: &str) -> Option<Arc<MirroredArguments>> {
        let model = self.model();
        model.mirrored.of(&model.handler.get_tool(tool)?)
    }

    async fn notified(&self, notice: Notice, _: &S) {
        let Some(session) = notice.context.session() else { return };
        if let Ok(seat) = self.seat(&session, &notice.parts, &notice.context).await
            && let Some(conversation) = seat.0.get()
        {
            conversation.tell(notice).await;
        }
    }
}

impl<S: Clone + Send + Sync + 'static, H: ServerHandler> From<RmcpServer<H>> for McpService<S> {
    fn from(server: RmcpServer<H>) -> Self {
        Self::new(server)
    }
}

impl<H> fmt::Debug for RmcpServer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RmcpServer").field("handler", &std::any::type_name::<H>()).finish_non_exhaustive()
    }
}
