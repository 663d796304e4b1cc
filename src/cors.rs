//! The CORS layer that browsers need of an MCP endpoint.

use std::time::Duration;

use tower_http::cors::CorsLayer;

use crate::header;

/// How long a browser may remember what it may send: an hour, so that calls do not cost a preflight each, and a
/// change of the origins is known soon.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// tower-http's CORS layer with what MCP needs: the methods [`header::METHODS`], the request headers
/// [`header::ALLOWED`], the response headers [`header::EXPOSED`], and an hour for browsers to remember it.
///
/// It allows no origin: say which with [`CorsLayer::allow_origin`], and list the same sites in
/// [`Security::allowed_origins`](crate::Security::allowed_origins). Put it outside of authentication, because a
/// preflight has no token. Where a tool's schema has `x-mcp-header`, browsers send `Mcp-Param-..` headers, too: list
/// them with [`header::ALLOWED`] in [`CorsLayer::allow_headers`].
///
/// ```
/// use axum::{Router, http::HeaderValue};
/// use mcp_http::{McpServer, McpService, Security, cors_layer};
///
/// let site = "https://app.example";
/// let security = Security::new().allowed_origins([site]);
/// let mcp = McpService::builder(McpServer::new("members", "1.0.0")).security(security).build()?;
/// let cors = cors_layer().allow_origin(HeaderValue::from_static(site));
/// let app: Router = Router::new().nest("/mcp", mcp.into_router()).layer(cors);
/// # let _ = app;
/// # Ok::<_, mcp_http::error::ConfigError>(())
/// ```
pub fn cors_layer() -> CorsLayer {
    CorsLayer::new()
        .allow_methods(header::METHODS)
        .allow_headers(header::ALLOWED)
        .expose_headers(header::EXPOSED)
        .max_age(REMEMBERED)
}
