//! Router: serves a service as an axum router at one path, for every method, with the state of
//! the surrounding router. The service itself rejects methods that it does not serve.
//!
//! | mounted by | serves |
//! |---|---|
//! | `nest("/mcp", mcp_router(server))` | `/mcp` |
//! | `nest("/mcp", router.clone()).nest("/mcp/", router)` | `/mcp` and `/mcp/` |
//! | `merge(service.into_router_at("/mcp"))` | `/mcp` and `/mcp/` |
//! | `nest_service("/mcp", service)` | `/mcp` and `/mcp/` |
//! | `route_service("/mcp", service)` | `/mcp` |
//! | `layer(McpLayer::new(server))` | `/mcp` and `/mcp/` |
//!
//! None of them serves anything below the path. `nest("/mcp", ..)` cannot match a trailing slash:
//! axum joins the prefix and the inner `/` to `/mcp`. It sends `/mcp/` to the fallback of the outer
//! router, never to a fallback of the nested router.

use std::future::Future;
use std::pin::Pin;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::any;

use crate::service::McpService;

impl<S: Clone + Send + Sync + 'static> McpService<S> {
    /// Returns a router to nest at any path: `Router::new().nest("/mcp", service.into_router())`
    /// serves `/mcp`.
    pub fn into_router(self) -> Router<S> {
        Router::new().route("/", any(Endpoint { service: self }))
    }

    /// Returns a router to merge. It serves the given path with and without a trailing slash. The
    /// path may be written with or without its leading slash, and follows axum's syntax: `{name}`
    /// is a parameter.
    pub fn into_router_at(self, path: &str) -> Router<S> {
        let endpoint = Endpoint { service: self };
        match path.trim_matches('/') {
            "" => Router::new().route("/", any(endpoint)),
            path => Router::new()
                .route(&format!("/{path}"), any(endpoint.clone()))
                .route(&format!("/{path}/"), any(endpoint)),
        }
    }
}

/// The service as an axum handler, because only handlers receive the router's state.
struct Endpoint<S> {
    service: McpService<S>,
}

impl<S> Clone for Endpoint<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone() }
    }
}

impl<S: Clone + Send + Sync + 'static> Handler<(), S> for Endpoint<S> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move { self.service.serve(request, state).await })
    }
}
