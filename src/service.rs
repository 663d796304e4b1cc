//! Decides how a server is mounted: with which settings, and that each request passes the edge,
//! goes to its era and leaves through the encoder.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, NestedPath, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, StatusCode, Version};
use tower_service::Service;

use crate::edge::{self, Admitted, Allow, Fork, Gate, Method, Needs, Security};
use crate::encode::respond;
use crate::error::{ConfigError, Rejection};
use crate::hall::Hall;
use crate::handle::McpHandle;
use crate::legacy;
use crate::message::{Era, ProtocolVersion, RequestId};
use crate::modern;
use crate::outcome::{Outcome, Reply};
use crate::router;
use crate::server::McpServer;
use crate::server::contract::{ErasedServer, Server};
use crate::settings::{Inputs, Limits, ResponseMode, Sessions, Settings, Streams, Tasks};
use crate::store::{MemoryEngine, SessionEngine};

type RejectionHook = Arc<dyn Fn(&Rejection) + Send + Sync>;

/// A server with its settings, ready to be mounted: as a [`Router`](McpService::into_router), as
/// a [layer](crate::McpLayer), or as the tower service it is.
///
/// Each setter checks what it is given. The first use (a [handle](McpService::handle), a clone, a
/// router) settles the settings; setters refuse after it.
///
/// ```
/// use mcp_http::{McpServer, McpService, ResponseMode, Streams};
///
/// let mcp = McpService::new(McpServer::new("weather", "1.0.0"))
///     .streams(Streams::new().response_mode(ResponseMode::Sse))?;
/// let handle = mcp.handle();
/// let app: axum::Router = axum::Router::new().nest("/mcp", mcp.into_router());
/// # let _ = (handle, app);
/// # Ok::<(), mcp_http::error::ConfigError>(())
/// ```
pub struct McpService<S = ()> {
    server: Arc<dyn ErasedServer<S>>,
    settings: Settings,
    security: Security,
    versions: Vec<ProtocolVersion>,
    engine: Option<Arc<dyn SessionEngine>>,
    on_rejection: Option<RejectionHook>,
    mounted: OnceLock<Mounted<S>>,
}

impl<S: Clone + Send + Sync + 'static> McpService<S> {
    /// A server with the default settings.
    pub fn new(server: impl Server<S>) -> Self {
        Self {
            server: Arc::new(server),
            settings: Settings::default(),
            security: Security::default(),
            versions: ProtocolVersion::ALL.to_vec(),
            engine: None,
            on_rejection: None,
            mounted: OnceLock::new(),
        }
    }

    /// How sessions live and die.
    ///
    /// # Errors
    ///
    /// A setting that cannot be, alone or beside the others, is named in the error.
    pub fn sessions(mut self, sessions: Sessions) -> Result<Self, ConfigError> {
        self.settings.sessions = sessions;
        self.checked()
    }

    /// How answers travel, and how long they wait.
    ///
    /// # Errors
    ///
    /// As [`McpService::sessions`].
    pub fn streams(mut self, streams: Streams) -> Result<Self, ConfigError> {
        self.settings.streams = streams;
        self.checked()
    }

    /// How much one client may ask for.
    ///
    /// # Errors
    ///
    /// As [`McpService::sessions`].
    pub fn limits(mut self, limits: Limits) -> Result<Self, ConfigError> {
        self.settings.limits = limits;
        self.checked()
    }

    /// How clients of 2026-07-28 are asked.
    ///
    /// # Errors
    ///
    /// As [`McpService::sessions`].
    pub fn inputs(mut self, inputs: Inputs) -> Result<Self, ConfigError> {
        self.settings.inputs = inputs;
        self.checked()
    }

    /// How long tasks are kept, and how many (clients of 2026-07-28).
    ///
    /// # Errors
    ///
    /// As [`McpService::sessions`].
    pub fn tasks(mut self, tasks: Tasks) -> Result<Self, ConfigError> {
        self.settings.tasks = tasks;
        self.checked()
    }

    /// Which hosts and origins are served. Default: loopback names.
    ///
    /// # Errors
    ///
    /// When the service is in use already.
    pub fn security(mut self, security: Security) -> Result<Self, ConfigError> {
        self.security = security;
        self.checked()
    }

    /// Which protocol revisions are served, of those that the server
    /// [speaks](crate::server::Server::versions). Default: [all of them](ProtocolVersion::ALL). An era is
    /// switched off by naming none of its revisions.
    ///
    /// # Errors
    ///
    /// When there is none, or the service is in use already.
    pub fn versions(mut self, versions: impl IntoIterator<Item = ProtocolVersion>) -> Result<Self, ConfigError> {
        self.versions = versions.into_iter().collect();
        self.versions.sort_unstable();
        self.versions.dedup();
        if self.versions.is_empty() {
            return Err(ConfigError::new("versions", "at least one protocol version must be served"));
        }
        self.checked()
    }

    /// Where sessions are kept. Default: a [`MemoryEngine`] of its own.
    ///
    /// # Errors
    ///
    /// When the service is in use already.
    pub fn engine(mut self, engine: impl SessionEngine) -> Result<Self, ConfigError> {
        self.engine = Some(Arc::new(engine));
        self.checked()
    }

    /// Called for each refused request, once, before its response leaves: for logs, metrics and
    /// alarms. It must not block. Default: nothing is called; refusals are counted in the
    /// [statistics](McpHandle::statistics) all the same.
    ///
    /// # Errors
    ///
    /// When the service is in use already.
    pub fn on_rejection(mut self, hook: impl Fn(&Rejection) + Send + Sync + 'static) -> Result<Self, ConfigError> {
        self.on_rejection = Some(Arc::new(hook));
        self.checked()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        if self.mounted.get().is_some() {
            return Err(ConfigError::new(
                "(any)",
                "the service is in use: settings come before handles, clones and routers",
            ));
        }
        self.settings.check()?;
        Ok(self)
    }

    /// The application's hand on the service: announce changes, look at sessions, drain.
    #[must_use]
    pub fn handle(&self) -> McpHandle {
        self.mounted().handle()
    }

    /// A router to nest at any path: `Router::new().nest("/mcp", service.into_router())` serves
    /// `/mcp`.
    pub fn into_router(self) -> Router<S> {
        router::nested(self.mounted().clone())
    }

    /// A router to merge, that serves the path given, with and without a slash at its end. It may have a
    /// slash at its beginning or not, and is taken as axum takes paths (`{name}` is a parameter).
    pub fn into_router_at(self, path: &str) -> Router<S> {
        router::at(path, self.mounted().clone())
    }

    /// What is served of what the server speaks.
    fn spoken(&self) -> Vec<ProtocolVersion> {
        let spoken = self.server.versions();
        let versions: Vec<_> = self.versions.iter().copied().filter(|version| spoken.contains(version)).collect();
        if versions.is_empty() {
            tracing::error!(?spoken, "the server speaks no protocol revision that is served: every client is refused");
        }
        versions
    }

    pub(crate) fn mounted(&self) -> &Mounted<S> {
        self.mounted.get_or_init(|| {
            let engine = self.engine.clone().unwrap_or_else(|| Arc::new(MemoryEngine::new()));
            let versions = self.spoken();
            let sessions = !self.settings.sessions.stateless && edge::serves(&versions, Era::Legacy);
            let hall = Hall::new(engine, self.settings.clone(), versions);
            let (legacy, modern) = (legacy::Node::new(&hall), modern::Node::new(&hall));
            let handle = McpHandle::new(&hall, &legacy, &modern);
            hall.set_handle(handle.clone());
            let gate = Gate {
                security: self.security.clone(),
                allow: if sessions { Allow::Sessions } else { Allow::PostOnly },
                post_needs: match self.settings.streams.response_mode {
                    ResponseMode::Json => Needs::Json,
                    ResponseMode::Auto | ResponseMode::Sse => Needs::Both,
                },
            };
            self.server.mounted(&handle);
            let (server, on_rejection) = (Arc::clone(&self.server), self.on_rejection.clone());
            Mounted(Arc::new(Shared { server, hall, legacy, modern, gate, on_rejection }))
        })
    }
}

impl<S: Clone + Send + Sync + 'static> From<McpServer<S>> for McpService<S> {
    fn from(server: McpServer<S>) -> Self {
        Self::new(server)
    }
}

impl<S: Clone + Send + Sync + 'static> Clone for McpService<S> {
    /// The same service: clones share sessions.
    fn clone(&self) -> Self {
        let mounted = OnceLock::from(self.mounted().clone());
        Self {
            server: Arc::clone(&self.server),
            settings: self.settings.clone(),
            security: self.security.clone(),
            versions: self.versions.clone(),
            engine: self.engine.clone(),
            on_rejection: self.on_rejection.clone(),
            mounted,
        }
    }
}

impl<S> fmt::Debug for McpService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpService")
            .field("server", &self.server)
            .field("settings", &self.settings)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

impl<B> Service<http::Request<B>> for McpService<()>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let mounted = self.mounted().clone();
        let request = request.map(Body::new);
        Box::pin(async move {
            if !is_endpoint(&request) {
                return Ok(StatusCode::NOT_FOUND.into_response());
            }
            Ok(mounted.serve(request, ()).await)
        })
    }
}

/// A service in use.
#[derive(Debug)]
pub(crate) struct Mounted<S>(Arc<Shared<S>>);

struct Shared<S> {
    server: Arc<dyn ErasedServer<S>>,
    hall: Arc<Hall>,
    legacy: Arc<legacy::Node>,
    modern: Arc<modern::Node>,
    gate: Gate,
    on_rejection: Option<RejectionHook>,
}

impl<S> Clone for Mounted<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("server", &self.server).field("hall", &self.hall).finish_non_exhaustive()
    }
}

impl<S: Clone + Send + Sync + 'static> Mounted<S> {
    pub(crate) fn handle(&self) -> McpHandle {
        self.0.hall.handle()
    }

    /// Serves one request: admit, fork, encode.
    pub(crate) async fn serve(&self, request: Request, state: S) -> Response {
        let shared = &*self.0;
        shared.hall.look_after(shared.legacy.id);
        let (parts, body) = request.into_parts();
        let version = parts.version;
        let reply = shared
            .answer(Box::new(parts), body, state)
            .await
            .unwrap_or_else(|(rejection, id)| Outcome::Rejected(rejection, id).into());
        if let Outcome::Rejected(rejection, _) = &reply.outcome {
            shared.rejected(rejection);
        }
        let mut response = respond(reply, shared.hall.settings.streams.keep_alive);
        if shared.hall.ending.is_leaving() && version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

type Refused = (Rejection, Option<RequestId>);

impl<S: Clone + Send + Sync + 'static> Shared<S> {
    async fn answer(&self, parts: Box<Parts>, body: Body, state: S) -> Result<Reply, Refused> {
        let unknown = |rejection| (rejection, None);
        let admitted = edge::admit(&parts, &self.gate).map_err(unknown)?;
        match admitted.method {
            Method::Post => self.post(parts, admitted, body, state).await,
            Method::Get | Method::Delete => self.get_or_delete(parts, admitted).await.map_err(unknown),
        }
    }

    async fn post(&self, parts: Box<Parts>, admitted: Admitted, body: Body, state: S) -> Result<Reply, Refused> {
        let limits = &self.hall.settings.limits;
        let body = edge::read_json(body, admitted.length, limits.body, limits.body_timeout).await?;
        let fork = edge::fork(&admitted.headers, &body);
        edge::check_served(&fork, &admitted.headers, &body, &self.hall.versions)
            .map_err(|rejection| (rejection, body.request_id().cloned()))?;
        let principal = self.hall.settings.sessions.principal_of(&parts);
        match fork {
            Fork::Modern(meta) => {
                let incoming = modern::Incoming {
                    parts,
                    headers: admitted.headers,
                    principal,
                    meta,
                    takes_streams: admitted.takes_streams,
                };
                Ok(modern::post(&self.modern, &self.server, state, incoming, body).await)
            }
            // A notification of an era that is not served at all: see the check.
            _ if !edge::serves(&self.hall.versions, Era::Legacy) => Ok(Outcome::Accepted.into()),
            _ => {
                let incoming = legacy::Incoming { parts, headers: admitted.headers, principal };
                Ok(legacy::post(&self.legacy, &self.server, state, incoming, body).await)
            }
        }
    }

    async fn get_or_delete(&self, parts: Box<Parts>, admitted: Admitted) -> Result<Reply, Rejection> {
        edge::check_session_method(&admitted.headers, &self.hall.versions)?;
        let principal = self.hall.settings.sessions.principal_of(&parts);
        let incoming = legacy::Incoming { parts, headers: admitted.headers, principal };
        match admitted.method {
            Method::Get => legacy::get(&self.legacy, incoming).await,
            Method::Post | Method::Delete => legacy::delete(&self.legacy, &incoming).await,
        }
    }

    fn rejected(&self, rejection: &Rejection) {
        tracing::debug!(kind = rejection.kind(), "a request was refused");
        self.hall.counters.rejected(rejection);
        if let Some(hook) = &self.on_rejection {
            hook(rejection);
        }
    }
}

/// Whether a request that was routed here by a prefix is for the endpoint itself and not for
/// something below it. A route has a matched path, which what is below a nested service has not.
fn is_endpoint(request: &Request) -> bool {
    let extensions = request.extensions();
    extensions.get::<NestedPath>().is_none()
        || extensions.get::<MatchedPath>().is_some()
        || matches!(request.uri().path(), "" | "/")
}
