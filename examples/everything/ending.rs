//! Decides how the process ends: calls finish, streams go on elsewhere where they can, and nobody is turned
//! away who could have gone to another node.
//!
//! Where other nodes have the same sessions, whatever stands before them finds this door closed at once and
//! goes to the next. Connections that are there already are asked to close with their next answer: closed
//! by this side while they idle, they could carry a request at that very moment, which would be lost.

use std::future::{IntoFuture, pending};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::map_response_with_state;
use axum::response::Response;
use axum::serve::Listener;
use mcp_http::{McpHandle, McpListener};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A line in which nobody has come for so long is empty.
const EMPTY_LINE: Duration = Duration::from_millis(5);

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
        let (leaving, closing, drained) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let end = async {
            stop_signal().await;
            if let Some(leave) = leave {
                leaving.cancel();
                sleep(leave).await;
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
        let door = Door { address: listener.local_addr()?, listener: Some(listener), leaving: leaving.clone() };
        let app = app.layer(map_response_with_state(leaving.clone(), last_answer));
        let serve = axum::serve(door, app).with_graceful_shutdown(closing.clone().cancelled_owned());
        tokio::select! {
            (served, ()) = async { tokio::join!(serve.into_future(), end) } => served,
            () = too_late => {
                tracing::warn!("connections were cut off");
                Ok(())
            }
        }
    }
}

async fn last_answer(State(leaving): State<CancellationToken>, mut response: Response) -> Response {
    if leaving.is_cancelled() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A listener that can be closed before its connections are.
struct Door {
    listener: Option<McpListener>,
    address: SocketAddr,
    leaving: CancellationToken,
}

impl Listener for Door {
    type Io = <McpListener as Listener>::Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        if let Some(listener) = &mut self.listener {
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => Some(accepted),
                // The system has let people in whom nobody here has seen yet.
                () = self.leaving.cancelled() => timeout(EMPTY_LINE, listener.accept()).await.ok(),
            };
            if let Some(accepted) = accepted {
                return accepted;
            }
        }
        self.listener = None;
        pending().await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
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
