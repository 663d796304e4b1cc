//! Authorization: an OAuth 2.1 resource server with scopes on tools. A browser's pages of one site may
//! use it.
//!
//! Run it with `cargo run --features auth,cors --example auth`, and try it with `-H "Authorization:
//! Bearer alices-secret"`. In production replace the fixed tokens by a `JwtVerifier` (feature
//! `auth-http`), and the addresses by public ones.

use std::process::ExitCode;

use axum::Router;
use axum::http::HeaderValue;
use mcp_http::auth::{FixedTokens, ResourceServer};
use mcp_http::server::Tool;
use mcp_http::{AccessToken, McpListener, McpServer, McpService, Security, cors_layer};

async fn whoami(token: AccessToken) -> String {
    token.subject().to_owned()
}

async fn write() -> &'static str {
    "written"
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auth: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let listener = McpListener::bind(address()).await?;
    let (resource, site) = (format!("http://{}/mcp", listener.local_addr()?), "https://app.example");
    let of = |name: &str| AccessToken::new("https://login.example.com", name).with_client_id("cli");
    let tokens = FixedTokens::new()
        .token("alices-secret", of("alice").with_scopes(["files:write"]))
        .token("bobs-secret", of("bob"));

    let auth = ResourceServer::builder(&resource)
        .authorization_server("https://login.example.com")
        .verifier(tokens)
        .build()?;
    let server = McpServer::new("members", "1.0.0")
        .tool("whoami", "Says who asks.", whoami)
        .with_tool(Tool::new("write", "Writes a file.", write).scopes(["files:write"]));
    let mcp = McpService::builder(server).security(Security::new().allowed_origins([site])).build()?;

    // CORS is outermost, because the preflight request of a browser has no token.
    let cors = cors_layer().allow_origin(HeaderValue::from_static(site));
    let app =
        Router::new().nest("/mcp", mcp.into_router().layer(auth.layer())).merge(auth.metadata_router()).layer(cors);
    println!("listening on {resource}");
    axum::serve(listener, app).await?;
    Ok(())
}

/// Returns the address to listen on: the first argument, or the default.
fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned())
}
