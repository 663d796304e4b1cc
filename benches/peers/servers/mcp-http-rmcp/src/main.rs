//! Benchmark server: the unchanged tools of the official SDK, served by this crate. `auto` uses the
//! defaults, `sse` answers each request with a resumable stream, `macros` defines the tools as the
//! SDK's documentation does.

#[path = "../../rmcp/src/macros.rs"]
mod macros;
#[path = "../../rmcp/src/tools.rs"]
mod tools;

use axum::Router;
use mcp_http::{McpListener, McpService, ResponseMode, RmcpServer, Sessions, Streams, mcp_router};
use rmcp::ServerHandler;

fn main() {
    stand::run(async {
        let app = match &*stand::variant() {
            "auto" => mount(|| tools::Tools, ResponseMode::Auto),
            "sse" => mount(|| tools::Tools, ResponseMode::Sse),
            "macros" => mount(macros::Tools::new, ResponseMode::Auto),
            other => panic!("no such variant: {other:?}"),
        };
        stand::serve_on(McpListener::new(stand::listener()?), app).await
    });
}

fn mount<H: ServerHandler>(make: fn() -> H, mode: ResponseMode) -> Router {
    // The benchmark opens more sessions than the default allows.
    let sessions = Sessions::new().max_sessions(1_000_000).max_sessions_per_principal(1_000_000);
    let service = McpService::builder(RmcpServer::new(make))
        .streams(Streams::new().response_mode(mode))
        .sessions(sessions)
        .build()
        .expect("good settings");
    Router::new().nest("/mcp", mcp_router(service))
}
