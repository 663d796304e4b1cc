//! The service: passes each request through the edge to its era, and encodes the response.

mod builder;
mod control;
mod expiry;
mod scopes;
mod unread;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{MatchedPath, NestedPath, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, StatusCode, Version};
use tower_service::Service;

use crate::clock::WallClock;
use crate::core::{Core, LogLine};
use crate::edge::{self, Admitted, Bounds, Gate, McpHeaders, Method, ReadBody, Route, SessionMethod};
use crate::encode::{BodyHead, Drains, Watch, respond, take_along};
use crate::error::Rejection;
use crate::handle::McpHandle;
use crate::identity::Account;
use crate::legacy;
use crate::message::RequestId;
use crate::modern;
use crate::outcome::{Outcome, Reply};
use crate::panics::{Panicked, call_quietly, caught};
use crate::server::server_trait::ErasedServer;

pub use self::builder::McpServiceBuilder;

type RejectionHook = Arc<dyn Fn(&Rejection) + Send + Sync>;

/// A running service. Mount it as a [`Router`](McpService::into_router), as a
/// [layer](crate::McpLayer), or as a tower [`Service`]. It is cheap to clone; all clones are the
/// same service and share its sessions.
///
/// ```
/// use mcp_http::{McpServer, McpService, ResponseMode, Streams};
///
/// let mcp = McpService::builder(McpServer::new("weather", "1.0.0"))
///     .streams(Streams::new().response_mode(ResponseMode::Sse))
///     .build()?;
/// let handle = mcp.handle();
/// let app: axum::Router = axum::Router::new().nest("/mcp", mcp.into_router());
/// # let _ = (handle, app);
/// # Ok::<(), mcp_http::error::ConfigError>(())
/// ```
pub struct McpService<S = ()>(Arc<Shared<S>>);

struct Shared<S> {
    server: Arc<dyn ErasedServer<S>>,
    core: Arc<Core>,
    legacy: Arc<legacy::Node>,
    modern: Arc<modern::Node>,
    gate: Gate,
    clock: WallClock,
    watch: Arc<Watch>,
    /// The unread rests of request bodies, which are read behind rejections.
    drains: Arc<Drains>,
    on_rejection: Option<RejectionHook>,
}

impl<S: Clone + Send + Sync + 'static> McpService<S> {
    /// Returns the handle by which an application announces changes, lists sessions and drains the
    /// service.
    #[must_use]
    pub fn handle(&self) -> McpHandle {
        self.0.core.handle.clone()
    }

    /// Serves one request: admits it, hands it to its era, encodes the outcome.
    pub(crate) async fn serve(&self, request: Request, state: S) -> Response {
        let shared = &*self.0;
        shared.core.ensure_reaper(shared.legacy.id);
        let (parts, body) = request.into_parts();
        let (version, mut head) = (parts.version, BodyHead::of(&parts));
        let mut rest = RequestBody { body: Some(body), is_known: false };
        let reply = caught(shared.answer(Box::new(parts), &mut rest, state))
            .await
            .unwrap_or_else(|Panicked| Err(shared.panicked()))
            .unwrap_or_else(|(rejection, id)| Outcome::Rejected(rejection, id).into());
        if let Outcome::Rejected(rejection, _) = &reply.outcome {
            shared.rejected(rejection);
            head.rejected(rejection);
        } else {
            rest.is_known = true;
        }
        if rest.is_known {
            head.set_known();
        }
        let mut response = respond(reply, shared.core.settings.streams.keep_alive, &shared.watch);
        if let Some(body) = rest.body {
            response = take_along(response, body, head, &shared.drains).await;
        }
        if shared.core.lifecycle.is_shutting_down() && version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl<S> Clone for McpService<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for McpService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpService").field("server", &self.0.server).field("core", &self.0.core).finish_non_exhaustive()
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
        let service = self.clone();
        let request = request.map(Body::new);
        Box::pin(async move {
            if !is_endpoint(&request) {
                return Ok(StatusCode::NOT_FOUND.into_response());
            }
            Ok(service.serve(request, ()).await)
        })
    }
}

type Rejected = (Rejection, Option<RequestId>);

/// The part of a request's body that has not been read.
struct RequestBody {
    body: Option<Body>,
    /// The request has a principal, or names a session that belongs to it.
    is_known: bool,
}

impl<S: Clone + Send + Sync + 'static> Shared<S> {
    /// Answers a request. The unread part of its body stays in `rest`.
    async fn answer(&self, parts: Box<Parts>, rest: &mut RequestBody, state: S) -> Result<Reply, Rejected> {
        let unknown = |rejection| (rejection, None);
        let admitted = edge::admit(&parts, &self.gate).map_err(unknown)?;
        match admitted.method {
            Method::Post => self.post(parts, admitted, rest, state).await,
            Method::Session(method) => self.get_or_delete(method, parts, admitted.headers, rest).await.map_err(unknown),
        }
    }

    async fn post(
        &self,
        mut parts: Box<Parts>,
        admitted: Admitted,
        rest: &mut RequestBody,
        state: S,
    ) -> Result<Reply, Rejected> {
        let principal = self.core.settings.sessions.principal_of(&parts);
        rest.is_known = principal.is_some();
        let peer = match principal {
            Some(_) => None,
            None => self.gate.security.peer(&parts).map_err(|rejection| (rejection, None))?,
        };
        let asking = Account::of(principal.as_ref(), peer);
        let budget = &self.gate.bodies;
        let session = match legacy::named_session(&self.legacy, &admitted.headers, principal.as_ref()).await {
            Ok(session) => session,
            Err(rejection) => {
                return Err((rejection, edge::id_at_hand(&mut rest.body, admitted.length, budget).await));
            }
        };
        rest.is_known |= session.is_some();
        let is_named = session.is_some();
        let limits = &self.core.settings.limits;
        let bounds =
            Bounds { limit: limits.max_body_bytes, within: limits.body_timeout, budget, account: asking.as_ref() };
        let ReadBody { mut body, share } = edge::read_json(&mut rest.body, admitted.length, bounds).await?;
        let route = edge::route(&admitted.headers, &body, &self.core.versions)
            .map_err(|rejection| (rejection, body.request_id().cloned()))?;
        scopes::check(&*self.server, &mut parts.extensions, &mut body)
            .map_err(|rejection| (rejection, body.request_id().cloned()))?;
        let expires_at = expiry::of(&parts.extensions);
        let reply = match route {
            Route::Modern(meta) => {
                let incoming = modern::Incoming {
                    parts,
                    headers: &admitted.headers,
                    principal,
                    peer,
                    meta,
                    takes_streams: admitted.takes_streams,
                    share,
                };
                modern::post(&self.modern, &self.server, state, incoming, body).await
            }
            Route::Ignored => Outcome::Accepted.into(),
            Route::Legacy => {
                let incoming = legacy::Incoming { parts, headers: &admitted.headers, principal, peer, session, share };
                legacy::post(&self.legacy, &self.server, state, incoming, body).await
            }
        };
        let mut reply = self.until(expires_at, reply);
        let opens = !is_named && reply.session.is_some();
        self.bound_unread(&mut reply, asking, opens);
        Ok(reply)
    }

    async fn get_or_delete(
        &self,
        method: SessionMethod,
        mut parts: Box<Parts>,
        headers: McpHeaders,
        rest: &mut RequestBody,
    ) -> Result<Reply, Rejection> {
        edge::check_session_method(&headers, &self.core.versions)?;
        scopes::check_operation(&mut parts.extensions, Vec::new())?;
        let principal = self.core.settings.sessions.principal_of(&parts);
        rest.is_known = principal.is_some();
        let peer = || self.gate.security.peer(&parts).ok().flatten();
        let account = Account::of(principal.as_ref(), if principal.is_none() { peer() } else { None });
        let expires_at = expiry::of(&parts.extensions);
        let incoming = legacy::Incoming { parts, headers: &headers, principal, peer: None, session: None, share: None };
        let mut reply = match method {
            SessionMethod::Get => legacy::get(&self.legacy, incoming).await?,
            SessionMethod::Delete => legacy::delete(&self.legacy, &incoming).await?,
        };
        reply.account = account;
        Ok(self.until(expires_at, reply))
    }

    /// Makes a stream end when the access token of its request expires.
    fn until(&self, expires_at: Option<SystemTime>, reply: Reply) -> Reply {
        expiry::apply(reply, expires_at, || self.clock.now(), self.core.settings.streams.expired_token_grace)
    }

    /// Logs a panic of the application outside its handlers: in the function that reads principals,
    /// in the server, or in the engine.
    fn panicked(&self) -> Rejected {
        if let Some(left_out) = self.core.log_line(LogLine::Panicked) {
            tracing::error!(left_out, "a request panicked");
        }
        (Rejection::Internal, None)
    }

    fn rejected(&self, rejection: &Rejection) {
        tracing::debug!(kind = rejection.kind(), "a request was rejected");
        self.core.counters.rejected(rejection);
        if let Some(hook) = &self.on_rejection {
            call_quietly("the rejection hook", || hook(rejection));
        }
    }
}

/// Returns `true` if a request that was routed by a prefix is for the endpoint itself, not for a
/// path below it. A route has a matched path; a path below a nested service has none.
fn is_endpoint(request: &Request) -> bool {
    let extensions = request.extensions();
    extensions.get::<NestedPath>().is_none()
        || extensions.get::<MatchedPath>().is_some()
        || matches!(request.uri().path(), "" | "/")
}
