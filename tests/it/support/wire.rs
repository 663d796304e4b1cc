//! A real socket: bytes in, bytes out.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use mcp_http::{McpHandle, McpListener, McpService};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::app::service;
use super::tools::Probe;

/// A server on a port of its own; it ends with this value.
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: McpHandle,
    pub(crate) probe: Probe,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new() -> Self {
        Self::with(|service| service).await
    }

    pub(crate) async fn with(configure: impl FnOnce(McpService) -> McpService) -> Self {
        let (service, probe) = service();
        let service = configure(service);
        let handle = service.handle();
        let app = Router::new().nest("/mcp", service.into_router());
        let listener = McpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { addr, handle, probe, task }
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The text of a POST with a message, as a client sends it.
    pub(crate) fn post(&self, session: Option<&str>, body: &str) -> String {
        let session = session.map(|session| format!("Mcp-Session-Id: {session}\r\n")).unwrap_or_default();
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nAccept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\n{session}Content-Length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        )
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends bytes and reads what comes until the connection ends or stays quiet for a while.
pub(crate) async fn exchange(stream: &mut TcpStream, bytes: &[u8], quiet: Duration) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(Ok(read)) = tokio::time::timeout(quiet, stream.read(&mut chunk)).await {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
