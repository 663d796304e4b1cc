//! Authentication: a layer that checks the bearer token and inserts the `Principal` of the user.
//! MCP sessions, limits and todos belong to it.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mcp_http::Principal;

/// Rejects requests without a known token. A real application verifies the token and names its
/// authorization server in the 401 (`resource_metadata` in `WWW-Authenticate`, RFC 9728).
pub(crate) async fn authenticate(mut request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let user = match header.and_then(|value| value.strip_prefix("Bearer ")) {
        Some("alices-secret") => "alice",
        Some("bobs-secret") => "bob",
        _ => return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response(),
    };
    request.extensions_mut().insert(Principal::new(user));
    next.run(request).await
}
