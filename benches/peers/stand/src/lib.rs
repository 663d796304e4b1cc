//! The common part of all Rust servers of the comparison: one worker thread, a listener without
//! Nagle's algorithm, the line that names the address, and counted allocations.

#[cfg(feature = "counted")]
mod counted;

use std::future::Future;
use std::io;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use tokio::net::{TcpListener, TcpSocket};

/// As many connections as a storm of clients opens at once.
pub const BACKLOG: u32 = 4_096;

/// Returns the argument that names the variant of a server.
pub fn variant() -> String {
    std::env::args().nth(1).unwrap_or_default()
}

/// Runs a server to its end on one worker thread. The main thread only waits.
pub fn run<F>(server: F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    #[cfg(feature = "counted")]
    counted::answer_on_stdin();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    if let Err(error) = runtime.block_on(async { tokio::spawn(server).await.expect("no panic") }) {
        eprintln!("the server ended: {error}");
        std::process::exit(1);
    }
}

/// Serves a router that answers at `/mcp`.
///
/// # Errors
///
/// If there is no port to listen on.
pub async fn serve(router: Router) -> io::Result<()> {
    let listener = listener()?.tap_io(|tcp| drop(tcp.set_nodelay(true)));
    serve_on(listener, router).await
}

/// Like [`serve`], on the server's own listener.
///
/// # Errors
///
/// If the address of the listener is unknown.
pub async fn serve_on<L>(listener: L, router: Router) -> io::Result<()>
where
    L: Listener<Addr = std::net::SocketAddr>,
{
    announce(listener.local_addr()?);
    axum::serve(listener, router).await
}

/// Returns a listener on a free port.
///
/// # Errors
///
/// If there is no free port.
pub fn listener() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(BACKLOG)
}

/// Prints the address on which the server listens, for the harness.
pub fn announce(address: std::net::SocketAddr) {
    println!("listening on http://{address}/mcp");
}
