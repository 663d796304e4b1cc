//! Puts any MCP server that speaks over stdin and stdout behind Streamable HTTP: one process for each
//! session, started with it and ended with it.
//!
//! `cargo run -p mcp-http-bridge -- --listen 127.0.0.1:8000 -- npx -y @modelcontextprotocol/server-everything`
//!
//! ```text
//!  client -> McpService -> bridge -> conversation -> peer: writes lines -> process
//!                             |           |           |  calls: our number <-> who waits for the answer
//!                             |           |           +- reading: lines <-------------------+
//!                             |           +- pool: places, settings, time after a failed start
//!                             |           +- rest: which session goes when there is no place
//!                             +- shared: one conversation for clients without a session
//! ```
//!
//! 1. A session owns its conversation, a conversation its peer, a peer its process: whatever ends the session
//!    (DELETE, expiry, shutdown) ends the process. Nothing holds on in the other direction.
//! 2. Ids, parameters, results and errors pass as the text they are. Only what would collide is another value
//!    on the other side: ids of requests and progress tokens.
//! 3. Everything is bounded: processes, calls, lines, what waits to be written, what is logged of stderr,
//!    questions, each wait. A process that does not read holds up its own callers; one that never answers keeps
//!    a call no longer than --call-within, and its place no longer than its client is there. A client that
//!    does not read holds its process up for a second, once in a call, and then misses what it is told beside
//!    the answer.
//! 4. A process ends with all of its group: stdin is closed, then SIGTERM, then SIGKILL. What leaves the group
//!    by itself is out of reach, and so is everything when the bridge itself is killed, but for the end of
//!    stdin. As the first process of a container, run it under an init that reaps orphans.
//! 5. Who a client is, is for whoever stands in front to say.

mod backoff;
mod bridge;
mod calls;
mod cli;
mod conversation;
mod eviction;
mod group;
mod lines;
mod message;
mod notifications;
mod owner;
mod peer;
mod pool;
mod process;
mod queue;
mod reader;
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
use crate::shared::Shared;

/// How long connections may take to end after the drain.
const CONNECTION_GRACE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bridge: {error}");
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
        .build()?;
    let handle = mcp.handle();
    pool.tasks.spawn(eviction::watch(Arc::clone(&pool), handle.clone()));
    let app = mcp.into_router_at("/mcp");
    if cli.stateless == Stateless::Shared {
        // Only the first to open it could set it.
        let _ = shared.set(Shared::open(&pool, handle.clone()).await?);
    }

    let listener = McpListener::bind(cli.listen).await?;
    // Whoever starts this server waits for the line.
    writeln!(std::io::stdout().lock(), "listening on http://{}/mcp", listener.local_addr()?)?;
    let drain_within = cli.drain;
    let (drained, after_drain) = oneshot::channel::<()>();
    let stop = async move {
        stop_signal().await;
        let report = handle.drain(drain_within).await;
        tracing::info!(?report, "drained");
        let _ = drained.send(());
    };
    let too_late = async {
        let _ = after_drain.await;
        tokio::time::sleep(CONNECTION_GRACE).await;
    };
    // axum alone waits for each request that has begun, even for one that is never sent to its end.
    let served = tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop).into_future() => served,
        () = too_late => {
            tracing::warn!("connections were cut off");
            Ok(())
        }
    };
    pool.close().await;
    Ok(served?)
}

/// Ctrl-C, or what a process manager sends.
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
