//! Authorization: a resource server at the wire, with its metadata, its challenges and its verifiers.

#[cfg(feature = "auth-http")]
mod authorization_server;
mod challenges;
mod expiry;
#[cfg(feature = "auth-http")]
mod introspection;
#[cfg(feature = "auth-http")]
mod jwt;
mod metadata;
mod mounting;
mod principals;
#[cfg(feature = "auth-http")]
mod rsa_key;
mod scopes;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use mcp_http::auth::{FixedTokens, ResourceServer, ResourceServerBuilder, TokenVerifier};
use mcp_http::{AccessToken, McpServiceBuilder};

use crate::support::{App, RequestExt};

pub(crate) const RESOURCE: &str = "https://mcp.example.com/mcp";
pub(crate) const METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";

/// A resource server with settings of the test's own.
pub(crate) fn resource_server(
    verifier: impl TokenVerifier,
    change: impl FnOnce(ResourceServerBuilder) -> ResourceServerBuilder,
) -> ResourceServer {
    let builder = ResourceServer::builder(RESOURCE).authorization_server("https://login.example.com");
    change(builder.verifier(verifier)).build().unwrap()
}

/// Tokens of three people: alice may read and write, bob may read, eve may nothing.
pub(crate) fn people() -> FixedTokens {
    let of = |name: &str| AccessToken::new("https://login.example.com", name).with_client_id("cli");
    FixedTokens::new()
        .token("alice", of("alice").with_scopes(["files:read", "files:write"]))
        .token("alice-too", of("alice").with_scopes(["files:read"]))
        .token("bob", of("bob").with_scopes(["files:read"]))
        .token("eve", of("eve"))
}

/// The test server behind a resource server.
pub(crate) fn protected(auth: &ResourceServer, configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
    App::with(configure).layered(|router: Router| router.layer(auth.layer()).merge(auth.metadata_router()))
}

/// Adds a bearer token to a request.
pub(crate) fn bearer(request: Request<Body>, token: &str) -> Request<Body> {
    request.header("authorization", &format!("Bearer {token}"))
}
