//! A server on a real socket, and clients that write and read bytes.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use mcp_http::{McpHandle, McpListener, McpServiceBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::app::{initialize, service};
use super::modern::mirrored;
use super::tools::Probe;

/// The time after which any operation on a socket counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a port of its own. It ends when this value is dropped.
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: McpHandle,
    pub(crate) probe: Probe,
    _task: Task,
}

struct Task(JoinHandle<()>);

impl Served {
    pub(crate) async fn new() -> Self {
        Self::with(|service| service).await
    }

    pub(crate) async fn with(configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> Self {
        let (service, probe) = service();
        Self { probe, ..Self::of(configure(service), |listener| listener).await }
    }

    /// Uses a service and a listener of the test's own.
    pub(crate) async fn of(service: McpServiceBuilder, configure: impl FnOnce(McpListener) -> McpListener) -> Self {
        let service = service.build().expect("good settings");
        let handle = service.handle();
        let app = Router::new().nest("/mcp", service.into_router());
        let listener = configure(McpListener::bind("127.0.0.1:0").await.unwrap());
        let addr = listener.local_addr().unwrap();
        let task = Task(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
        Self { addr, handle, probe: Probe::default(), _task: task }
    }

    /// Opens a new connection.
    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Opens a session on a new connection. Returns its id.
    pub(crate) async fn open(&self) -> String {
        let opening = self.post(None, &initialize("2025-11-25", json!({})).to_string());
        let answer = exchange(&mut self.connect().await, opening.as_bytes(), Duration::from_millis(300)).await;
        let id = answer.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        id.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Returns the text of a POST with a message, as a client sends it.
    pub(crate) fn post(&self, session: Option<&str>, body: &str) -> String {
        let session = session.map(|session| format!("Mcp-Session-Id: {session}\r\n")).unwrap_or_default();
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nAccept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\n{session}Content-Length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        )
    }

    /// Returns the text of a POST of 2026-07-28.
    pub(crate) fn modern_post(&self, message: &Value) -> String {
        let request = mirrored(message.clone());
        let headers = request.headers().iter().filter(|(name, _)| *name != "host");
        let headers: String = headers.map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
        let body = message.to_string();
        format!("POST /mcp HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n{body}", self.addr, body.len())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends bytes and reads the answer. Waits for a whole answer, and then reads until the connection
/// ends or is quiet for the given time.
pub(crate) async fn exchange(stream: &mut TcpStream, bytes: &[u8], quiet: Duration) -> String {
    exchange_all(stream, bytes, 1, quiet).await
}

/// Sends several requests in a row, and waits for this number of answers.
pub(crate) async fn exchange_all(stream: &mut TcpStream, bytes: &[u8], answers: usize, quiet: Duration) -> String {
    stream.write_all(bytes).await.unwrap();
    let has_body = !bytes.starts_with(b"HEAD ");
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        // A busy machine may pause in the middle of an answer for longer than `quiet`.
        let patience = if whole(&answer, has_body).is_some_and(|whole| whole >= answers) { quiet } else { PATIENCE };
        match tokio::time::timeout(patience, stream.read(&mut chunk)).await {
            Ok(Ok(read @ 1..)) => answer.extend_from_slice(&chunk[..read]),
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}

/// Returns the number of whole answers, or `None` in the middle of one. An event stream counts from
/// its first event on. Bytes that do not begin an answer belong to an earlier one.
fn whole(mut bytes: &[u8], has_body: bool) -> Option<usize> {
    let mut answers = 0;
    while !bytes.is_empty() {
        if !bytes.starts_with(b"HTTP/") {
            return Some(answers + 1);
        }
        let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
        let (head, body) = bytes.split_at(end);
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        answers += 1;
        bytes = if !has_body {
            body
        } else if header("content-type:") == Some("text/event-stream") {
            memchr::memmem::find(body, b"\n\n")?;
            return Some(answers);
        } else if header("transfer-encoding:") == Some("chunked") {
            &body[memchr::memmem::find(body, b"0\r\n\r\n")? + 5..]
        } else {
            let length = header("content-length:").map_or(0, |length| length.parse().unwrap());
            body.get(length..)?
        };
    }
    (answers > 0).then_some(answers)
}
