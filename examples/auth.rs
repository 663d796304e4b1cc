//! Authentication: a layer inserts the principal of each request. A session of one principal does
//! not exist for another. CORS lets the pages of one site use the server.
//!
//! Run it with `cargo run --features cors --example auth`, and try it with `-H "Authorization:
//! Bearer alices-secret"`.

use std::process::ExitCode;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use mcp_http::{Context, McpListener, McpServer, McpService, Principal, Security, cors_layer};

/// Checks the bearer token. A real application verifies it, reads issuer, client and subject from
/// it, and names its authorization server in the 401 (`resource_metadata` in `WWW-Authenticate`,
/// RFC 9728).
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

    // CORS is outermost, because the preflight request of a browser has no token.
    let app = Router::new().nest("/mcp", mcp.into_router()).layer(from_fn(authenticate)).layer(cors);
    let listener = McpListener::bind(address()).await?;
    println!("listening on http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Returns the address to listen on: the first argument, or the default.
fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned())
}
