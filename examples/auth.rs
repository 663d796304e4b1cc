//! Sessions that belong to somebody: an authentication layer names the principal, a session opened
//! by one principal does not exist for another, and a browser on one site may use the server.
//!
//! Run it with `cargo run --features cors --example auth`, and try it with
//! `-H "Authorization: Bearer alices-secret"`.

use std::process::ExitCode;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use mcp_http::server::Context;
use mcp_http::{McpListener, McpServer, McpService, Principal, Security, cors_layer};

/// Where a real application verifies a token, points clients to its authorization server
/// (`resource_metadata` in `WWW-Authenticate`, RFC 9728) and reads issuer, client and subject from it.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let principal = match token {
        Some("alices-secret") => Principal::issued("https://issuer.example", "cli", "alice"),
        Some("bobs-secret") => Principal::issued("https://issuer.example", "cli", "bob"),
        _ => return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response(),
    };
    request.extensions_mut().insert(principal);
    next.run(request).await
}

async fn whoami(cx: Context) -> String {
    cx.principal().map_or_else(|| "nobody".to_owned(), ToString::to_string)
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
    let site = "https://app.example";
    let server = McpServer::new("members", "1.0.0").tool("whoami", "Says who asks.", whoami);
    let mcp = McpService::builder(server).security(Security::new().allowed_origins([site])).build()?;

    let cors = cors_layer().allow_origin(HeaderValue::from_static(site));

    // CORS outermost: a browser's preflight has no token.
    let app = Router::new().nest("/mcp", mcp.into_router()).layer(from_fn(authenticate)).layer(cors);
    let listener = McpListener::bind(address()).await?;
    println!("listening on http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Where to listen: the first argument, if there is one.
fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned())
}
