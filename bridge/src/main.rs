//! The bridge: serves an MCP server that speaks over stdin and stdout through Streamable HTTP. Each
//! session has a process of its own, which starts and ends with the session.
//!
//! ```text
//! mcp-http-bridge --listen 127.0.0.1:8000 -- npx -y @modelcontextprotocol/server-everything
//! ```
//!
//! ```text
//!  client -> McpService -> bridge -> session -> connection: writes lines -> process
//!                             |         |           |  calls: our number <-> the waiting caller
//!                             |         |           +- reader: lines <--------+
//!                             |         +- pool: permits, settings, delay after a failed start
//!                             |         +- eviction: which session ends when no permit is free
//!                             +- shared: one session for all clients of 2026-07-28
//! ```
//!
//! 1. Ownership goes one way: an HTTP session owns its [`session::StdioSession`], that owns a
//!    [`connection::Connection`], and that owns a process. Whatever ends the session (DELETE,
//!    expiry, shutdown) therefore ends the process.
//! 2. Ids, parameters, results and errors pass unchanged, byte for byte. Only request ids and
//!    progress tokens are replaced, because those of several clients may be equal.
//! 3. Everything is bounded: processes, calls, lines, queued bytes, logged stderr, client requests
//!    and every wait. A process that does not read delays only its own callers. One that never
//!    answers keeps a call for at most `--call-timeout`, and its permit only while its client is
//!    connected. A client that does not read delays its process for one second per call, and then
//!    misses notifications.
//! 4. A process ends together with its process group: stdin is closed, then SIGTERM, then SIGKILL.
//!    The bridge cannot reach processes that leave the group. If the bridge itself is killed, its
//!    processes only see the end of their stdin. As the first process of a container, the bridge
//!    needs an init that reaps orphans.
//! 5. The bridge does not authenticate. A proxy in front of it must.

mod backoff;
mod bridge;
mod calls;
mod cli;
mod connection;
mod eviction;
mod group;
mod lines;
mod message;
mod notifications;
mod owner;
mod pool;
mod process;
mod queue;
mod reader;
mod session;
mod shared;
mod stderr;

use std::error::Error;
use std::future::IntoFuture;
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Parser;
use mcp_http::{McpListener, McpService};
use tokio::sync::oneshot;

use crate::bridge::Bridge;
use crate::cli::{Cli, Stateless};
use crate::pool::Pool;
use crate::shared::SharedSession;

/// How long connections may take to close after the drain.
const CONNECTION_GRACE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mcp-http-bridge: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_max_level(cli.log).with_writer(std::io::stderr).init();

    let pool = Pool::new(&cli);
    let shared = Arc::new(OnceLock::new());
    let mcp = McpService::builder(Bridge::new(&pool, &shared))
        .versions(cli.versions())
        .sessions(cli.sessions())
        .limits(cli.limits())
        .security(cli.security())
        .build()
        .map_err(|error| cli::with_option_names(&error))?;
    let handle = mcp.handle();
    pool.tasks.spawn(eviction::expire_abandoned(Arc::clone(&pool), handle.clone()));
    let app = mcp.into_router_at("/mcp");
    if cli.stateless == Stateless::Shared {
        let opened = SharedSession::open(&pool, handle.clone()).await;
        let opened = opened.map_err(|error| {
            format!("cannot start the process for --stateless shared: {error}; the log above says why")
        })?;
        // `set` fails only if the value is already set, and this is the only call.
        let _ = shared.set(opened);
    }

    let listener = McpListener::bind(cli.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}; choose another address with --listen", cli.listen))?;
    // Programs that start the bridge wait for this line.
    writeln!(std::io::stdout().lock(), "listening on http://{}/mcp", listener.local_addr()?)?;
    let drain_timeout = cli.drain;
    let (drained, after_drain) = oneshot::channel::<()>();
    let shutdown = async move {
        stop_signal().await;
        let report = handle.drain(drain_timeout).await;
        tracing::info!(?report, "drained");
        let _ = drained.send(());
    };
    let connection_timeout = async {
        let _ = after_drain.await;
        tokio::time::sleep(CONNECTION_GRACE).await;
    };
    // axum waits without limit for every request that has begun, even if its body never arrives.
    let served = tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(shutdown).into_future() => served,
        () = connection_timeout => {
            tracing::warn!("closed connections that were still open after the drain");
            Ok(())
        }
    };
    pool.close().await;
    Ok(served?)
}

/// Completes on Ctrl-C, or on SIGTERM, which process managers send.
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
