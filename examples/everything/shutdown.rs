//! Graceful shutdown: hands clients to other nodes where there are any, lets calls finish, and
//! bounds the time connections may take to close.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use mcp_http::{McpHandle, McpListener};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long connections may take to close after the drain.
const CONNECTION_GRACE: Duration = Duration::from_secs(5);

/// A running server, until a stop signal arrives.
pub(crate) struct Service {
    pub(crate) app: Router,
    pub(crate) listener: McpListener,
    pub(crate) handle: McpHandle,
    /// How long open connections may send further requests before the drain, if other nodes take
    /// new connections.
    pub(crate) linger: Option<Duration>,
    /// How long calls may take to finish.
    pub(crate) drain: Duration,
}

impl Service {
    /// Serves until a stop signal arrives and the calls of that time have finished, within bounds.
    pub(crate) async fn serve(self) -> io::Result<()> {
        let Self { app, listener, handle, linger, drain } = self;
        let listener = if linger.is_some() { listener.until(handle.shutdown_started()) } else { listener };
        let (closing, drained) = (CancellationToken::new(), CancellationToken::new());
        let shutdown = async {
            stop_signal().await;
            if let Some(linger) = linger {
                handle.begin_shutdown(linger).await;
                closing.cancel();
            }
            let report = handle.drain(drain).await;
            tracing::info!(?report, "drained");
            closing.cancel();
            drained.cancel();
        };
        // axum waits without limit for every request that has begun, even if its body never
        // arrives.
        let connection_timeout = async {
            drained.cancelled().await;
            sleep(CONNECTION_GRACE).await;
        };
        // The client address identifies trusted proxies, and clients without a principal for their
        // share of limits.
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let serve = axum::serve(listener.tap_io(|_| ()), app);
        let serve = serve.with_graceful_shutdown(closing.clone().cancelled_owned());
        tokio::select! {
            (served, ()) = async { tokio::join!(serve.into_future(), shutdown) } => served,
            () = connection_timeout => {
                tracing::warn!("closed connections that were still open after the drain");
                Ok(())
            }
        }
    }
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
