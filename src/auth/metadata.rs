//! The metadata document of the protected resource (RFC 9728), and the router that serves it.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    CACHE_CONTROL, CONTENT_TYPE, HeaderName,
};
use serde::Serialize;

use super::resource::Resource;
use crate::identity::Scopes;

/// The document as JSON. It has only what the operator stated, and nothing of a request.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    pub(super) resource: &'a str,
    pub(super) authorization_servers: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) scopes_supported: Vec<&'a str>,
    pub(super) bearer_methods_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_documentation: Option<&'a str>,
}

/// The only way in which this crate reads tokens.
pub(super) const METHODS: [&str; 1] = ["header"];

/// A scope of the client, not of the resource (2026-07-28, Refresh Tokens).
const OFFLINE_ACCESS: &str = "offline_access";

/// Returns the scopes without those that a resource must not ask for.
pub(super) fn of_resource(scopes: &Scopes) -> Scopes {
    Scopes::new(scopes.iter().filter(|scope| *scope != OFFLINE_ACCESS))
}

/// An hour: the document changes with a deployment only, and a client should notice that soon.
const CACHED: &str = "public, max-age=3600";

/// The document is public, so the pages of every site may read it. They send
/// `MCP-Protocol-Version`, which needs a preflight.
const CORS: [(HeaderName, &str); 4] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (ACCESS_CONTROL_ALLOW_METHODS, "GET"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
    (ACCESS_CONTROL_MAX_AGE, "3600"),
];

/// Returns a router that serves the document at its own path, and at the root if `at_root`.
pub(super) fn router<S: Clone + Send + Sync + 'static>(
    resource: &Resource,
    document: &Bytes,
    at_root: bool,
) -> Router<S> {
    let path = resource.metadata_path();
    let body = document.clone();
    let read = move || {
        let body = body.clone();
        async move {
            let headers =
                [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, CACHED), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
            (headers, body).into_response()
        }
    };
    let route = get(read).options(|| async { (StatusCode::NO_CONTENT, CORS) });
    let root = Resource::root_path();
    let mut router = Router::new().route(&path, route.clone());
    if at_root && path != root {
        router = router.route(root, route);
    }
    router
}
