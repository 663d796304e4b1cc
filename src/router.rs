//! Decides how a service becomes an axum router: at one path, with and without a slash at its
//! end, for every method (the service refuses those it does not serve), with the state of the
//! router around it.

use std::future::Future;
use std::pin::Pin;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::service::{McpService, Mounted};

/// A router that serves an MCP server, to be nested at any path.
///
/// Takes an [`McpServer`](crate::McpServer), served with the default settings, or an
/// [`McpService`] with its own. Handlers see the state of the router it is nested in.
///
/// It has a fallback of its own, so that the path is served with a slash at its end too; to
/// [merge](Router::merge) instead of nesting, use [`McpService::into_router_at`].
///
/// ```
/// use axum::{Router, extract::State};
/// use mcp_http::{McpServer, mcp_router};
///
/// #[derive(Clone)]
/// struct App { greeting: &'static str }
///
/// async fn greet(State(app): State<App>) -> &'static str {
///     app.greeting
/// }
///
/// let server = McpServer::new("greeter", "1.0.0").tool("greet", "Says hello.", greet);
/// let app: Router = Router::new()
///     .nest("/mcp", mcp_router(server))
///     .with_state(App { greeting: "hello" });
/// # let _ = app;
/// ```
pub fn mcp_router<S: Clone + Send + Sync + 'static>(service: impl Into<McpService<S>>) -> Router<S> {
    service.into().into_router()
}

/// The endpoint as the root of a router that will be nested.
pub(crate) fn nested<S: Clone + Send + Sync + 'static>(mounted: Mounted<S>) -> Router<S> {
    let endpoint = Endpoint { mounted, root_only: false };
    // A nested router sees `/mcp/` and `/mcp/x` in its fallback only.
    let fallback = Endpoint { root_only: true, ..endpoint.clone() };
    Router::new().route("/", any(endpoint)).fallback(fallback)
}

/// The endpoint at a path of its own.
pub(crate) fn at<S: Clone + Send + Sync + 'static>(path: &str, mounted: Mounted<S>) -> Router<S> {
    let endpoint = Endpoint { mounted, root_only: false };
    let path = path.trim_end_matches('/');
    let router = Router::new().route(&format!("{path}/"), any(endpoint.clone()));
    if path.is_empty() { router } else { router.route(path, any(endpoint)) }
}

/// The service as an axum handler, because only a handler is given the router's state.
struct Endpoint<S> {
    mounted: Mounted<S>,
    /// Serves the root, and nothing below it.
    root_only: bool,
}

impl<S> Clone for Endpoint<S> {
    fn clone(&self) -> Self {
        Self { mounted: self.mounted.clone(), root_only: self.root_only }
    }
}

impl<S: Clone + Send + Sync + 'static> Handler<(), S> for Endpoint<S> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            if self.root_only && !matches!(request.uri().path(), "" | "/") {
                return StatusCode::NOT_FOUND.into_response();
            }
            self.mounted.serve(request, state).await
        })
    }
}
