//! Mounting: turns a server, a builder or a service into a router.

use axum::Router;

use crate::server::Server;
use crate::service::{McpService, McpServiceBuilder};

/// Returns a router that serves an MCP server, to be nested at any path.
///
/// Takes any [`Server`], which it serves with the default settings: an
/// [`McpServer`](crate::McpServer), one written against rmcp (feature `rmcp`), or one of your own.
/// It also takes an [`McpService`], or its builder. Handlers see the state of the router in which it
/// is nested.
///
/// To [merge](Router::merge) instead of nesting, use [`McpService::into_router_at`], which also
/// serves the path with a trailing slash. With nesting at `/mcp`, axum sends `/mcp/` to the
/// fallback of the outer router: nest a clone of the router at `/mcp/` as well.
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
///
/// # Panics
///
/// If a setting of a builder has no meaning. [`build`](crate::McpServiceBuilder::build) reports the
/// same as an error.
#[track_caller]
pub fn mcp_router<S: Clone + Send + Sync + 'static, M>(service: impl IntoMcpService<S, M>) -> Router<S> {
    service.into_service(Sealed).into_router()
}

/// What [`mcp_router`] and [`McpLayer`](crate::McpLayer) serve: a [`Server`],
/// such as an [`McpServer`](crate::McpServer), with the default settings; an [`McpServiceBuilder`];
/// or an [`McpService`] that is already running.
///
/// The trait is sealed: implement [`Server`] instead. `M` separates the three kinds and is always
/// inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be served to an axum router with state `{S}`",
    label = "neither a server nor a service",
    note = "take an `McpServer`, another `mcp_http::server::Server`, an `McpService`, or its builder",
    note = "an `McpServer` whose handlers take `State<T>` fits a `Router<T>`, or any router after `.with_state(..)`"
)]
pub trait IntoMcpService<S, M> {
    /// Starts the service, if it is not running.
    #[doc(hidden)]
    #[track_caller]
    fn into_service(self, _: Sealed) -> McpService<S>;
}

/// A type without a public name, so that no other crate can implement the trait.
#[derive(Debug)]
pub struct Sealed;

/// Markers for the kinds at the type level.
mod via {
    #[derive(Debug)]
    pub enum Server {}
    #[derive(Debug)]
    pub enum Builder {}
    #[derive(Debug)]
    pub enum Service {}
}

impl<S: Clone + Send + Sync + 'static, V: Server<S>> IntoMcpService<S, via::Server> for V {
    fn into_service(self, _: Sealed) -> McpService<S> {
        McpService::new(self)
    }
}

impl<S: Clone + Send + Sync + 'static> IntoMcpService<S, via::Builder> for McpServiceBuilder<S> {
    fn into_service(self, _: Sealed) -> McpService<S> {
        match self.build() {
            Ok(service) => service,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<S> IntoMcpService<S, via::Service> for McpService<S> {
    fn into_service(self, _: Sealed) -> Self {
        self
    }
}
