//! The CORS layer that an MCP endpoint needs for browsers.

use std::time::Duration;

use tower_http::cors::CorsLayer;

use crate::header;

/// How long a browser may cache a preflight response: an hour, so that not every call needs a
/// preflight, and a change of the origins takes effect soon.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Returns tower-http's CORS layer with what MCP needs: the methods [`header::METHODS`], the
/// request headers [`header::ALLOWED`], the response headers [`header::EXPOSED`], and a maximum age
/// of one hour.
///
/// It allows no origin. Add origins with [`CorsLayer::allow_origin`], and list the same sites in
/// [`Security::allowed_origins`](crate::Security::allowed_origins). Place it outside of
/// authentication, because a preflight request has no token. If a tool's schema has `x-mcp-header`,
/// browsers also send `Mcp-Param-..` headers: list them together with [`header::ALLOWED`] in
/// [`CorsLayer::allow_headers`].
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
        .max_age(PREFLIGHT_MAX_AGE)
}
