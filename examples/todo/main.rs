//! A todo service: a REST API and an MCP server over the same state, for the same users. Read on in
//! `app.rs`.
//!
//! ```text
//! cargo run --features cors --example todo
//! curl http://127.0.0.1:3000/todos -H 'Authorization: Bearer alices-secret'
//! ```
//!
//! MCP clients connect to `http://127.0.0.1:3000/mcp` with the same header.

mod app;
mod auth;
mod error;
mod mcp;
mod rest;

use std::future::IntoFuture;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::middleware::from_fn;
use mcp_http::{McpListener, McpService, Security, cors_layer};
use tokio::sync::oneshot;

use crate::app::App;

/// The site whose pages may use the service from a browser.
const SITE: &str = "https://todo.example";

/// How long calls may take to finish after a stop signal, and then connections to close.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("todo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let security = Security::new().allowed_origins([SITE]);
    let service: McpService<App> = McpService::builder(mcp::server()).security(security).build()?;
    let handle = service.handle();

    let app = Router::new()
        .merge(rest::router())
        .merge(service.into_router_at("/mcp"))
        .with_state(App::new(handle.clone()))
        .layer(from_fn(auth::authenticate))
        // CORS is outermost, because the preflight request of a browser has no token.
        .layer(cors_layer().allow_origin(HeaderValue::from_static(SITE)));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = McpListener::bind(&address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on http://{}/mcp", listener.local_addr()?);

    let (drained, after_drain) = oneshot::channel::<()>();
    let shutdown = async move {
        stop_signal().await;
        // Open streams do not end by themselves. Without the drain, `axum::serve` would not return.
        let report = handle.drain(DRAIN_TIMEOUT).await;
        tracing::info!(?report, "drained");
        let _ = drained.send(());
    };
    let close_timeout = async {
        let _ = after_drain.await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(shutdown).into_future() => served?,
        () = close_timeout => tracing::warn!("closed connections that were still open after the drain"),
    }
    Ok(())
}

/// Completes on Ctrl-C, or on SIGTERM, which systemd and Kubernetes send.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
