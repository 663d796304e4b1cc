//! Layer: serves MCP at one path over an existing router; all other requests pass through.

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
use crate::mount::{IntoMcpService, Sealed};
use crate::service::McpService;

/// A tower layer that serves an MCP endpoint over an existing router or service. It answers
/// requests at its path (default `/mcp`, with and without a trailing slash); all others pass
/// through.
///
/// Requests that pass through carry the service's [`McpHandle`] in their extensions, so that
/// [`Session`](crate::server::Session) works as an extractor on the inner routes.
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
#[doc(alias = "middleware")]
#[derive(Clone)]
pub struct McpLayer {
    path: Arc<str>,
    service: McpService,
}

impl McpLayer {
    /// Returns a layer that serves `/mcp`. It takes what [`mcp_router`](crate::mcp_router) takes.
    ///
    /// # Panics
    ///
    /// If a setting of a builder has no meaning.
    #[track_caller]
    pub fn new<M>(service: impl IntoMcpService<(), M>) -> Self {
        Self { path: "/mcp".into(), service: service.into_service(Sealed) }
    }

    /// Sets the path to serve instead of `/mcp`, with and without a trailing slash. It is taken
    /// literally and has no parameters.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.path = match path.trim_matches('/') {
            "" => "".into(),
            path => format!("/{path}").into(),
        };
        self
    }

    /// Returns the application's handle to the service: announce changes, inspect sessions, drain.
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

/// The service that [`McpLayer`] produces.
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
