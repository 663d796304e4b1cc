//! Decides which requests of an existing router are MCP: those at one path; the rest passes on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tower_layer::Layer;
use tower_service::Service;

use crate::handle::McpHandle;
use crate::service::McpService;

/// Puts an MCP endpoint over an existing router or service: requests at its path (default
/// `/mcp`, with and without a slash at the end) are answered, all others pass through.
///
/// Requests that pass carry the service's [`McpHandle`] in their extensions, so that
/// [`Session`](crate::server::Session) works as an extractor on the routes below.
///
/// ```
/// use axum::{Router, routing::get};
/// use mcp_http::{McpLayer, McpServer};
///
/// let app: Router = Router::new()
///     .route("/", get(|| async { "home" }))
///     .layer(McpLayer::new(McpServer::new("calculator", "1.0.0")));
/// # let _ = app;
/// ```
#[derive(Clone)]
pub struct McpLayer {
    path: Arc<str>,
    service: McpService,
}

impl McpLayer {
    /// A layer that serves `/mcp`.
    pub fn new(service: impl Into<McpService<()>>) -> Self {
        Self { path: "/mcp".into(), service: service.into() }
    }

    /// The path to serve instead of `/mcp`, with and without a slash at its end. It is taken
    /// literally: it has no parameters.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.path = match path.trim_matches('/') {
            "" => "".into(),
            path => format!("/{path}").into(),
        };
        self
    }

    /// The application's hand on the service: announce changes, look at sessions, drain.
    #[must_use]
    pub fn handle(&self) -> McpHandle {
        self.service.handle()
    }
}

impl fmt::Debug for McpLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpLayer").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<I> Layer<I> for McpLayer {
    type Service = Mcp<I>;

    fn layer(&self, inner: I) -> Mcp<I> {
        Mcp { inner, layer: self.clone() }
    }
}

/// The service that [`McpLayer`] makes.
#[derive(Debug, Clone)]
pub struct Mcp<I> {
    inner: I,
    layer: McpLayer,
}

impl<I, B> Service<http::Request<B>> for Mcp<I>
where
    I: Service<http::Request<B>>,
    I::Response: IntoResponse,
    I::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = I::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, I::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let path = request.uri().path();
        if path.strip_suffix('/').unwrap_or(path) == &*self.layer.path {
            let service = self.layer.service.clone();
            return Box::pin(async move { Ok(service.serve(request.map(Body::new), ()).await) });
        }
        request.extensions_mut().insert(self.layer.handle());
        let inner = self.inner.call(request);
        Box::pin(async move { inner.await.map(IntoResponse::into_response) })
    }
}
