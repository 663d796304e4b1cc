//! Decides how a server of everything comes up, and how it stops: the one written against this crate, and the
//! one written against rmcp.

use std::error::Error;
use std::future::IntoFuture;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use mcp_http::{McpListener, McpService};
use tokio::sync::oneshot;

use crate::auth;
use crate::cli::Cli;

/// How long connections may take to end after the drain.
const LAST_CONNECTIONS: Duration = Duration::from_secs(5);

/// Serves what a command line says, until the process is told to stop.
pub(crate) async fn serve(cli: &Cli, mcp: McpService) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_max_level(cli.log).with_writer(std::io::stderr).init();

    let mcp = mcp
        .versions(cli.versions())?
        .sessions(cli.sessions())?
        .streams(cli.streams())?
        .limits(cli.limits())?
        .inputs(cli.inputs())?
        .tasks(cli.tasks())?
        .security(cli.security()?)?;
    let mcp = cli.open_store(mcp).await?;
    let handle = mcp.handle();
    let mut app = Router::new().merge(mcp.into_router_at("/mcp"));
    if !cli.token.is_empty() {
        app = app.layer(from_fn_with_state(Arc::from(cli.token.clone()), auth::check));
    }

    let listener = McpListener::bind((cli.bind, cli.port)).await?;
    // Whoever starts this server waits for the line.
    writeln!(std::io::stdout().lock(), "listening on http://{}/mcp", listener.local_addr()?)?;
    let drain_within = cli.drain();
    let (drained, after_drain) = oneshot::channel::<()>();
    let stop = async move {
        stop_signal().await;
        let report = handle.drain(drain_within).await;
        tracing::info!(?report, "drained");
        let _ = drained.send(());
    };
    let too_late = async {
        let _ = after_drain.await;
        tokio::time::sleep(LAST_CONNECTIONS).await;
    };
    // axum alone waits for each request that has begun, even for one that is never sent to its end.
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop).into_future() => served?,
        () = too_late => tracing::warn!("connections were cut off"),
    }
    Ok(())
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
