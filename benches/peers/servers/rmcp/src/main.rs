//! Benchmark server: the official SDK. `default` uses the defaults, `json` has no sessions and JSON
//! answers, `macros` defines the tools as the SDK's documentation does. The tools of the first two
//! are written by hand, which is no slower.

mod macros;
mod tools;

use std::sync::Arc;

use axum::Router;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

fn main() {
    stand::run(async {
        let config = StreamableHttpServerConfig::default();
        let app = match &*stand::variant() {
            "default" => mount(|| tools::Tools, config),
            "json" => mount(|| tools::Tools, config.with_legacy_session_mode(false).with_json_response(true)),
            "macros" => mount(macros::Tools::new, config),
            other => panic!("no such variant: {other:?}"),
        };
        stand::serve(app).await
    });
}

fn mount<H: ServerHandler>(make: fn() -> H, config: StreamableHttpServerConfig) -> Router {
    let service = StreamableHttpService::new(move || Ok(make()), Arc::new(LocalSessionManager::default()), config);
    Router::new().nest_service("/mcp", service)
}
