//! Counts that do not depend on the machine: allocations, bytes and instructions. See
//! `../README.md`.
//!
//! ```text
//! counts                      prints allocations and bytes of each operation, and of an idle session
//! counts --callgrind OP N     runs one operation N times, for callgrind
//! counts --serve WHAT         serves on a port of its own, which it prints, until `GET /quit`
//! counts --drive ADDR OP N    runs an operation N times against such a server, on one connection
//! ```

#[path = "../../support/mod.rs"]
mod support;

use std::alloc::System;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use mcp_http::{McpListener, ResponseMode};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::sync::Notify;

use support::{Client, echo_call, floor, modern_echo, modern_progress, progress_call, service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A session id in the form this crate generates.
const KNOWN: &str = "6f1c2f54-9d7b-4c39-8a7e-0d6b1f1f2a3b";

const OPERATIONS: [(&str, &str); 14] = [
    ("floor", "bare axum route: echo, JSON"),
    ("floor-session", "the same, and a look at a DashMap of sessions"),
    ("floor-sse", "bare axum route: echo, axum's `Sse`"),
    ("floor-burst", "bare axum route: 51 recorded events, axum's `Sse`"),
    ("echo", "echo in a session, JSON"),
    ("echo-merged", "the same, by a service that is merged and not nested"),
    ("echo-sse", "echo in a session, SSE"),
    ("echo-16k", "echo of 16 KiB in a session, JSON"),
    ("floor-16k", "bare axum route: echo of 16 KiB, JSON"),
    ("burst", "50 progress and a result in a session, SSE"),
    ("floor-modern", "bare axum route: echo of a 2026-07-28 request, JSON"),
    ("modern", "echo, 2026-07-28, JSON"),
    ("modern-burst", "50 progress and a result, 2026-07-28, SSE"),
    ("cycle", "initialize, initialized, DELETE"),
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => print_counts().await,
        ["--callgrind", name, times] => {
            let mut operation = Operation::new(name).await;
            for _ in 0..times.parse().expect("a number") {
                operation.run().await;
            }
        }
        ["--serve", name] => serve(router(name)).await,
        ["--drive", address, name, times] => {
            drive(address.parse().expect("an address"), name, times.parse().expect("a number"));
        }
        _ => panic!("see benches/README.md"),
    }
}

/// Returns the router that an operation runs against.
fn router(name: &str) -> Router {
    match name {
        "floor" | "floor-16k" | "floor-modern" => floor::json(),
        "floor-session" => floor::session(KNOWN),
        "floor-sse" => floor::sse(),
        "echo-sse" | "burst" => service(ResponseMode::Sse),
        "echo-merged" => support::mcp(ResponseMode::Auto).into_router_at("/mcp"),
        "echo" | "echo-16k" | "cycle" | "modern" | "modern-burst" => service(ResponseMode::Auto),
        _ => panic!("no such operation: {name}"),
    }
}

fn message(name: &str) -> Bytes {
    match name {
        "burst" | "floor-burst" => progress_call(50),
        "modern" | "floor-modern" => modern_echo("hello"),
        "modern-burst" => modern_progress(50),
        "echo-16k" | "floor-16k" => echo_call(&"x".repeat(16 << 10)),
        _ => echo_call("hello"),
    }
}

/// Returns the tool that an operation of 2026-07-28 calls, or `None` for other operations.
fn modern_tool(name: &str) -> Option<&'static str> {
    match name {
        "modern" | "floor-modern" => Some("echo"),
        "modern-burst" => Some("progress"),
        _ => None,
    }
}

/// An operation that is run repeatedly.
struct Operation {
    client: Client,
    /// The message to post. `None` opens and ends sessions instead.
    call: Option<Bytes>,
}

impl Operation {
    async fn new(name: &str) -> Self {
        let call = message(name);
        let mut client = match name {
            "floor-burst" => {
                let mut recorder = Client::new(router("burst"));
                recorder.open().await;
                Client::new(floor::replay(&recorder.text(&call).await))
            }
            _ => Client::new(router(name)),
        };
        if let Some(tool) = modern_tool(name) {
            client.speak_modern(tool);
        } else if name.starts_with("floor") {
            client.pretend(KNOWN);
        } else if name != "cycle" {
            client.open().await;
        }
        Self { client, call: (name != "cycle").then_some(call) }
    }

    async fn run(&mut self) {
        match &self.call {
            Some(call) => drop(self.client.call(call).await),
            None => {
                self.client.open().await;
                self.client.delete().await;
            }
        }
    }
}

async fn print_counts() {
    println!("| operation | allocations | bytes |\n|---|---:|---:|");
    for (name, what) in OPERATIONS {
        const TIMES: usize = 1_000;
        let mut operation = Operation::new(name).await;
        // Let maps and buffers grow to their size first.
        for _ in 0..TIMES {
            operation.run().await;
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..TIMES {
            operation.run().await;
        }
        let change = region.change();
        let allocations = (change.allocations + change.reallocations) as f64 / TIMES as f64;
        println!("| `{name}`: {what} | {allocations:.1} | {} |", change.bytes_allocated / TIMES);
    }
    println!("\nbytes of an idle session: {}", idle_session(false).await);
    println!("bytes of an idle session that made a call: {}", idle_session(true).await);
}

async fn idle_session(calls: bool) -> usize {
    const SESSIONS: usize = 10_000;
    let mut client = Client::new(router("echo"));
    client.open().await;
    client.delete().await;
    let call = message("echo");
    let region = Region::new(ALLOCATOR);
    for _ in 0..SESSIONS {
        client.open().await;
        if calls {
            client.call(&call).await;
        }
    }
    let change = region.change();
    (change.bytes_allocated - change.bytes_deallocated) / SESSIONS
}

async fn serve(router: Router) {
    let listener = McpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let quit = Arc::new(Notify::new());
    let quitting = Arc::clone(&quit);
    let router = router.route("/quit", get(async move || quitting.notify_one()));
    axum::serve(listener, router).with_graceful_shutdown(async move { quit.notified().await }).await.expect("an end");
}

/// Runs an operation as a client of one connection, which implements only the HTTP it needs.
fn drive(address: SocketAddr, name: &str, times: usize) {
    let stream = TcpStream::connect(address).expect("a server");
    stream.set_nodelay(true).expect("a socket");
    let headers = match modern_tool(name) {
        None => format!("MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: {KNOWN}\r\n"),
        Some(tool) => format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"),
    };
    let mut connection = Connection { address, reader: BufReader::new(stream), headers };
    if !name.starts_with("floor") && modern_tool(name).is_none() {
        connection.open();
    }
    let body = message(name);
    for _ in 0..times {
        match name {
            "cycle" => {
                connection.open();
                connection.request("DELETE", b"");
            }
            _ => drop(connection.request("POST", &body)),
        }
    }
    let quit = format!("GET /quit HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.reader.get_mut().write_all(quit.as_bytes()).expect("a server");
    connection.answer();
}

struct Connection {
    address: SocketAddr,
    reader: BufReader<TcpStream>,
    /// The header lines for session and revision.
    headers: String,
}

impl Connection {
    fn open(&mut self) {
        const VERSION: &str = "MCP-Protocol-Version: 2025-11-25\r\n";
        VERSION.clone_into(&mut self.headers);
        let session = self.request("POST", support::INITIALIZE.as_bytes()).expect("a session");
        self.headers = format!("{VERSION}Mcp-Session-Id: {session}\r\n");
        self.request("POST", support::INITIALIZED.as_bytes());
    }

    fn request(&mut self, method: &str, body: &[u8]) -> Option<String> {
        let head = format!(
            "{method} /mcp HTTP/1.1\r\nHost: {}\r\nAccept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\n{}\
             Content-Length: {}\r\n\r\n",
            self.address,
            self.headers,
            body.len()
        );
        self.reader.get_mut().write_all(&[head.as_bytes(), body].concat()).expect("a server");
        self.answer()
    }

    /// Reads one response. Returns the session id in its headers.
    fn answer(&mut self) -> Option<String> {
        let status = self.line();
        assert!(status.starts_with("HTTP/1.1 20"), "{status}");
        let (mut length, mut chunked, mut session) = (0, false, None);
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            match name {
                "content-length" => length = value.parse().expect("a length"),
                "transfer-encoding" => chunked = true,
                "mcp-session-id" => session = Some(value.to_owned()),
                _ => {}
            }
        }
        if !chunked {
            self.skip(length);
            return session;
        }
        loop {
            let length = usize::from_str_radix(&self.line(), 16).expect("a length");
            self.skip(length + 2);
            if length == 0 {
                return session;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    fn skip(&mut self, length: usize) {
        let mut rest = (&mut self.reader).take(length as u64);
        std::io::copy(&mut rest, &mut std::io::sink()).expect("an answer");
    }
}
