//! Decides how the process ends: calls finish, streams go on elsewhere where they can, and nobody is turned
//! away who could have gone to another node.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use mcp_http::{McpHandle, McpListener};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long connections may take to end after the drain.
const LAST_CONNECTIONS: Duration = Duration::from_secs(5);

/// What serves until the process is to end.
pub(crate) struct Service {
    pub(crate) app: Router,
    pub(crate) listener: McpListener,
    pub(crate) handle: McpHandle,
    /// How long connections have for a last request, where other nodes take the next one.
    pub(crate) leave: Option<Duration>,
    /// How long calls may take to finish.
    pub(crate) drain: Duration,
}

impl Service {
    /// Serves until a signal comes, and what began before it ended, within bounds.
    pub(crate) async fn serve(self) -> io::Result<()> {
        let Self { app, listener, handle, leave, drain } = self;
        let listener = if leave.is_some() { listener.until(handle.leaving()) } else { listener };
        let (closing, drained) = (CancellationToken::new(), CancellationToken::new());
        let end = async {
            stop_signal().await;
            if let Some(leave) = leave {
                handle.leave(leave).await;
                closing.cancel();
            }
            let report = handle.drain(drain).await;
            tracing::info!(?report, "drained");
            closing.cancel();
            drained.cancel();
        };
        // axum alone waits for each request that has begun, even for one that is never sent to its end.
        let too_late = async {
            drained.cancelled().await;
            sleep(LAST_CONNECTIONS).await;
        };
        // A client's address: proxies are recognised by it, and shares of clients without a principal go by it.
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let serve = axum::serve(listener.tap_io(|_| ()), app);
        let serve = serve.with_graceful_shutdown(closing.clone().cancelled_owned());
        tokio::select! {
            (served, ()) = async { tokio::join!(serve.into_future(), end) } => served,
            () = too_late => {
                tracing::warn!("connections were cut off");
                Ok(())
            }
        }
    }
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
