//! Graceful shutdown: a readiness route for the load balancer and, on Ctrl-C or SIGTERM, a drain
//! that rejects new calls, lets running ones finish, and reports those that it cut off.

use std::future::IntoFuture;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use mcp_http::{Args, Context, McpHandle, McpListener, McpServer, McpService, Sessions, Streams};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::oneshot;

#[derive(Deserialize, JsonSchema)]
struct Job {
    /// How long it takes.
    seconds: u32,
}

async fn job(cx: Context, Args(job): Args<Job>) -> &'static str {
    for second in 1..=job.seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cx.progress(second, f64::from(job.seconds)).await;
    }
    "done"
}

async fn ready(State(mcp): State<McpHandle>) -> StatusCode {
    if mcp.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("graceful: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let closed = |ended: mcp_http::store::Ended| async move { tracing::info!(reason = %ended.reason, "session ended") };
    let mcp = McpService::builder(McpServer::new("jobs", "1.0.0").tool("job", "Works for a while.", job))
        .sessions(Sessions::new().idle_timeout(Duration::from_secs(600)).on_close(closed))
        .streams(Streams::new().retry_interval(Duration::from_secs(2)))
        .build()?;
    let handle = mcp.handle();

    let app = Router::new().route("/ready", get(ready)).with_state(handle.clone()).merge(mcp.into_router_at("/mcp"));
    let listener = McpListener::bind(address()).await?;
    println!("listening on http://{}/mcp", listener.local_addr()?);
    let (drained, after_drain) = oneshot::channel::<()>();
    let shutdown = async move {
        stop_signal().await;
        // Open streams do not end by themselves. Without the drain, `axum::serve` would not return.
        let report = handle.drain(Duration::from_secs(10)).await;
        tracing::info!(?report, "drained");
        let _ = drained.send(());
    };
    // axum waits without limit for every request that has begun, even if its body never arrives.
    let connection_timeout = async {
        let _ = after_drain.await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    };
    let second_signal = async {
        stop_signal().await;
        stop_signal().await;
    };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(shutdown).into_future() => served?,
        () = connection_timeout => tracing::warn!("closed connections that were still open after the drain"),
        () = second_signal => tracing::warn!("stopped at once by a second signal"),
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

/// Returns the address to listen on: the first argument, or the default.
fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned())
}
