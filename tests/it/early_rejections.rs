//! Early rejections: responses sent before the body was read, as seen by clients that send
//! everything before they read.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::Request;
use mcp_http::{Limits, McpListener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::service;

/// The time after which an operation here counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

const MIB: usize = 1 << 20;

/// A server that stops when this value is dropped.
struct Server(SocketAddr, JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.1.abort();
    }
}

fn app(body_timeout: Duration) -> Router {
    let (service, _) = service();
    let limits = Limits::new().body_timeout(body_timeout);
    Router::new().nest("/mcp", service.limits(limits).build().unwrap().into_router())
}

/// Serves behind the listener of this crate, or behind axum's own.
async fn server(guarded: bool) -> Server {
    server_within(guarded, PATIENCE).await
}

async fn server_within(guarded: bool, body_timeout: Duration) -> Server {
    let app = app(body_timeout);
    if guarded {
        let listener = McpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        return Server(addr, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    Server(addr, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

/// Returns the head of a POST, with headers replaced or added.
fn head(addr: SocketAddr, line: &str, changed: &[(&str, &str)]) -> String {
    let addr = addr.to_string();
    let mut headers = vec![
        ("Host", addr.as_str()),
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
    ];
    for (name, value) in changed {
        headers.retain(|(known, _)| known != name);
        headers.push((name, value));
    }
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{line} HTTP/1.1\r\n{headers}\r\n")
}

/// Sends everything before it reads, as several HTTP clients do, and returns the whole response.
async fn sends_all_then_reads(addr: SocketAddr, head: &str, body: &[u8], chunked: bool) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let exchanged = async {
        stream.write_all(head.as_bytes()).await?;
        for piece in body.chunks(64 << 10) {
            if chunked {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            }
            stream.write_all(piece).await?;
            if chunked {
                stream.write_all(b"\r\n").await?;
            }
        }
        if chunked {
            stream.write_all(b"0\r\n\r\n").await?;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(PATIENCE, exchanged).await.expect("still open").unwrap_or_else(|error| panic!("{error}: {head}"))
}

/// A request line, the changed headers, and the status of the response.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

/// Acceptance 184.
#[tokio::test]
async fn an_early_rejection_reaches_a_sending_client() {
    let rows: [Row; 7] = [
        ("POST /mcp", &[("Host", "evil.example")], "403"),
        ("POST /mcp", &[("Origin", "https://evil.example")], "403"),
        ("PUT /mcp", &[], "405"),
        ("POST /mcp", &[("Accept", "text/html")], "406"),
        ("POST /mcp", &[("Content-Type", "text/plain")], "415"),
        ("POST /mcp", &[("Content-Encoding", "gzip")], "415"),
        ("POST /mcp", &[], "413"),
    ];
    let body = vec![b' '; 12 * MIB];
    let length = body.len().to_string();
    for guarded in [true, false] {
        let server = server(guarded).await;
        for (line, changed, expected) in rows {
            for framing in [("Content-Length", length.as_str()), ("Transfer-Encoding", "chunked")] {
                let head = head(server.0, line, &[changed, &[framing]].concat());
                let chunked = framing.1 == "chunked";
                let answer = sends_all_then_reads(server.0, &head, &body, chunked).await;
                assert_eq!(status(&answer), expected, "{head}{answer}");
                assert!(answer.contains("\r\nconnection: close\r\n"), "{head}{answer}");
                assert!(answer.ends_with('}'), "{head}{answer}");
            }
        }
    }
}

/// The connection stays open after an early rejection, so that a slow sender can read the response.
///
/// Acceptance 184.
#[tokio::test]
async fn a_slow_sender_reads_its_rejection() {
    for guarded in [true, false] {
        let server = server_within(guarded, Duration::from_millis(300)).await;
        // The first is rejected by its head, the second because it exceeds the body timeout.
        for (kind, expected) in [("text/plain", "415"), ("application/json", "408")] {
            let head = head(server.0, "POST /mcp", &[("Content-Type", kind), ("Content-Length", "400000")]);
            let mut stream = TcpStream::connect(server.0).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&[b' '; 10_000]).await.unwrap();
            // Twice the body timeout, and far less than the server waits for the rest.
            tokio::time::sleep(Duration::from_millis(600)).await;
            stream.write_all(&[b' '; 390_000]).await.unwrap();
            let mut answer = String::new();
            timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
            assert_eq!(status(&answer), expected, "{guarded} {answer}");
        }
    }
}

/// Sends a request whose body follows its head, and the next request. Returns all answers.
async fn head_then_rest(addr: SocketAddr, first: &str, next: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let (before, after) = first.split_at(first.find("\r\n\r\n").unwrap() + 4);
    stream.write_all(before.as_bytes()).await.unwrap();
    // The server runs on this thread: it reads the head first.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    let mut answers = String::new();
    let exchange = async {
        stream.write_all(format!("{after}{next}").as_bytes()).await?;
        stream.read_to_string(&mut answers).await
    };
    // A server that closes early may reset the connection after its answer.
    let _ = timeout(PATIENCE, exchange).await.expect("the server closes the connection");
    answers
}

/// The rest of a short body is discarded, and the connection serves the next request.
///
/// Acceptance 184.
#[tokio::test]
async fn a_short_body_leaves_the_connection_open() {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let server = server(true).await;
    let plain = ("Content-Type", "text/plain");
    let whole = head(server.0, "POST /mcp", &[plain, ("Content-Length", "40000")]) + &" ".repeat(40_000);
    let chunked = head(server.0, "POST /mcp", &[plain, ("Transfer-Encoding", "chunked")])
        + &format!("5000\r\n{}\r\n0\r\n\r\n", " ".repeat(0x5000));
    let get = head(server.0, "DELETE /mcp", &[("Content-Length", "2")]) + "{}";
    let length = ping.len().to_string();
    let next = head(server.0, "POST /mcp", &[("Content-Length", &length), ("Connection", "close")]) + ping;
    // A chunked body is awaited for 50 ms only: a busy machine may take longer, so it has more tries.
    for (first, expected, tries) in [(whole, "415", 1), (chunked, "415", 50), (get, "400", 1)] {
        let mut answers = String::new();
        for _ in 0..tries {
            answers = head_then_rest(server.0, &first, &next).await;
            if answers.matches("HTTP/1.1 ").count() == 2 {
                break;
            }
        }
        assert_eq!(status(&answers), expected, "{first:.200}{answers}");
        // The second response is that of a ping outside a session.
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{first:.200}{answers}");
        assert_eq!(answers.matches("connection: close").count(), 1, "{first:.200}{answers}");
    }
}

/// A client that sends `Expect: 100-continue` gets the rejection instead of an invitation to send
/// its body.
///
/// Acceptance 184.
#[tokio::test]
async fn rejected_clients_get_no_100_continue() {
    for guarded in [true, false] {
        let server = server(guarded).await;
        let plain = [("Content-Type", "text/plain"), ("Content-Length", "5000000"), ("Expect", "100-continue")];
        let too_large = [("Content-Length", "5000000"), ("Expect", "100-continue")];
        for (changed, expected) in [(&plain[..], "415"), (&too_large[..], "413")] {
            let answer = sends_all_then_reads(server.0, &head(server.0, "POST /mcp", changed), b"", false).await;
            assert_eq!(status(&answer), expected, "{answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        }
    }
}

/// A bounded part of a rejected body is read and discarded before the connection is closed.
///
/// Acceptance 184.
#[tokio::test]
async fn endless_rejected_bodies_are_not_read_indefinitely() {
    let server = server(true).await;
    for framing in [("Content-Length", "1099511627776"), ("Transfer-Encoding", "chunked")] {
        let stream = TcpStream::connect(server.0).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let head = head(server.0, "POST /mcp", &[framing]);
        let chunk = [format!("{MIB:x}\r\n").into_bytes(), vec![b' '; MIB], b"\r\n".to_vec()].concat();
        let sent = tokio::spawn(async move {
            let mut sent = 0;
            writing.write_all(head.as_bytes()).await.unwrap();
            while writing.write_all(&chunk).await.is_ok() {
                sent += 1;
            }
            sent
        });
        let mut answer = [0; 12];
        timeout(PATIENCE, reading.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
        let sent = timeout(PATIENCE, sent).await.expect("it is still read").unwrap();
        assert!((16..=64).contains(&sent), "{sent} MiB were read");
    }
}

/// HTTP/2 has no `Connection: close`, so a rejected body is discarded to its end and the client
/// gets its response.
///
/// Acceptance 184.
#[tokio::test]
async fn http2_discards_the_whole_rejected_body() {
    let server = server(true).await;
    let stream = TcpStream::connect(server.0).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/mcp", server.0);
    for (kind, size, expected) in
        [("text/plain", 8 * MIB, 415), ("application/json", 8 * MIB, 413), ("text/plain", 100, 415)]
    {
        let request = Request::post(&uri).header("content-type", kind);
        let request = request.header("accept", "application/json, text/event-stream").body(()).unwrap();
        client = client.ready().await.unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        let mut left = size;
        let sending = async {
            while left > 0 {
                body.reserve_capacity(left.min(64 << 10));
                let granted = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
                body.send_data(Bytes::from(vec![b' '; granted]), false).unwrap();
                left -= granted;
            }
            body.send_data(Bytes::new(), true).unwrap();
        };
        // As over HTTP/1, the client reads only after it has sent everything.
        timeout(PATIENCE, sending).await.expect("the body is not taken");
        let mut answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), expected);
        assert!(!answer.headers().contains_key("connection"));
        let mut text = Vec::new();
        while let Some(data) = answer.body_mut().data().await {
            text.extend(data.unwrap());
        }
        assert!(text.ends_with(b"}"));
    }
}
