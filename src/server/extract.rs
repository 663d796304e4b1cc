//! Extractors: a [`Session`] and an [`McpHandle`] as arguments of handlers and of axum routes.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::{Context, Session};
use crate::error::Rejection;
use crate::handle::McpHandle;
use crate::identity::SessionId;
use crate::panics::call;

/// The handle of the service that serves the request. It is an extractor for the handlers of tools,
/// resources and prompts, and for axum routes below an [`McpLayer`](crate::McpLayer) or with the
/// handle as an [`Extension`](axum::Extension).
impl<S: Sync> FromRequestParts<S> for McpHandle {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, StatusCode> {
        let context = parts.extensions.get::<Context>().map(Context::handle);
        context.or_else(|| parts.extensions.get().cloned()).ok_or_else(|| {
            tracing::error!("a route takes an McpHandle but has no service: add McpLayer or Extension(handle) to it");
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

/// The session of a request, as an argument of a tool's handler or of your own route.
///
/// A handler with this argument serves clients of the session revisions only. Calls of 2026-07-28
/// and of stateless mode have no session and fail with an internal error (-32603; the log has the
/// reason). A handler that works without a session takes the [`Context`] and calls
/// [`Context::session`].
///
/// On your own route it is the session that the `Mcp-Session-Id` header names, if it belongs to the
/// principal of the request. The route needs the service: place it below an
/// [`McpLayer`](crate::McpLayer), or add the [`McpHandle`] as an [`Extension`](axum::Extension).
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use mcp_http::server::Session;
/// use mcp_http::{McpServer, McpService};
///
/// async fn whoami(session: Session) -> String {
///     session.info().client.name.clone()
/// }
///
/// let mcp = McpService::new(McpServer::new("doc", "1"));
/// let app: Router = Router::new()
///     .route("/whoami", get(whoami).layer(Extension(mcp.handle())))
///     .nest("/mcp", mcp.into_router());
/// # let _ = app;
/// ```
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, SessionRejection> {
        if let Some(context) = parts.extensions.get::<Context>() {
            return context.session().ok_or_else(|| {
                tracing::error!("a handler takes a Session, but its call has none: the client uses 2026-07-28, or the service is stateless");
                SessionRejection(Rejection::Internal)
            });
        }
        let Some(handle) = parts.extensions.get::<McpHandle>().cloned() else {
            tracing::error!("a route takes a Session but has no service: add McpLayer or Extension(handle) to it");
            return Err(SessionRejection(Rejection::Internal));
        };
        let header = parts.headers.get("mcp-session-id").ok_or(SessionRejection(Rejection::SessionRequired))?;
        let id = header.to_str().ok().and_then(SessionId::parse).ok_or(SessionRejection(Rejection::SessionNotFound))?;
        let Ok(principal) = call(|| handle.principal_of(parts)) else {
            return Err(SessionRejection(Rejection::Internal));
        };
        handle.session_of(id, principal.as_ref()).await.map_err(SessionRejection)
    }
}

/// The rejection of a request without a [`Session`]. The request names no session (400), or none of
/// its principal (404), or the session engine cannot be reached (503). With status 500 the route
/// has no service or the revision has no sessions; the log has the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRejection(Rejection);

impl SessionRejection {
    /// Returns the rejection.
    #[must_use]
    pub fn rejection(&self) -> &Rejection {
        &self.0
    }
}

impl fmt::Display for SessionRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SessionRejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        (self.0.status(), self.0.to_string()).into_response()
    }
}
