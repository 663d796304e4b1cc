//! HTTP/1.1 as bytes on a socket: pipelining, chunks, lengths, targets and headers.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Served, exchange, exchange_all, initialize};

const QUIET: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn opening() -> String {
    initialize("2025-11-25", json!({})).to_string()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect()
}

/// Reads everything up to the end of the connection.
async fn to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = ended.unwrap_or_else(|_| panic!("still open after {:?}", String::from_utf8_lossy(&answer)));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Twenty requests are sent at once, some of them invalid.
///
/// Acceptance 27, 80.
#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let served = Served::new().await;
    let session = served.open().await;
    let calls: String = (0..20)
        .map(|id| {
            let ping = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            served.post(Some(&session), if id % 5 == 4 { "{" } else { &ping })
        })
        .collect();
    let answer = exchange_all(&mut served.connect().await, calls.as_bytes(), 20, QUIET).await;
    let expected: Vec<_> = (0..20).map(|id| if id % 5 == 4 { "400" } else { "200" }).collect();
    assert_eq!(statuses(&answer), expected, "{answer}");
    let ids: Vec<_> =
        answer.match_indices(r#""id":"#).map(|(at, _)| answer[at + 5..].split(',').next().unwrap()).collect();
    let expected: Vec<_> = (0..20).filter(|id| id % 5 != 4).map(|id| id.to_string()).collect();
    assert_eq!(ids, expected);
}

fn chunked(served: &Served, session: &str, extra: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nMcp-Session-Id: {session}\r\n{extra}\
         Transfer-Encoding: chunked\r\n\r\n{body}",
        served.addr
    )
}

/// Chunk sizes, extensions and trailers do not change the message. Invalid chunks are rejected.
///
/// Acceptance 38.
#[tokio::test]
async fn a_body_in_odd_chunks_is_one_body() {
    let served = Served::new().await;
    let session = served.open().await;
    let bytes: String = PING.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let whole = format!("{:X};name=\"va;lue\"\r\n{PING}\r\n", PING.len());
    let padded = format!("{:016x}\r\n{PING}\r\n", PING.len());
    for (chunks, end) in [(&bytes, "0\r\n\r\n"), (&whole, "0\r\nX-Trailer: 1\r\n\r\n"), (&padded, "000;x\r\n\r\n")] {
        let request = chunked(&served, &session, "", &format!("{chunks}{end}"));
        let answer = exchange(&mut served.connect().await, request.as_bytes(), QUIET).await;
        assert_eq!(statuses(&answer), ["200"], "{request}\n{answer}");
        assert!(answer.ends_with(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), "{answer}");
    }
    for broken in ["zz\r\n", "-1\r\n", "FFFFFFFFFFFFFFFFF\r\n", "5\r\nabcdefgh\r\n"] {
        let request = chunked(&served, &session, "", broken);
        let answer = exchange(&mut served.connect().await, request.as_bytes(), QUIET).await;
        assert!(matches!(statuses(&answer)[..], [] | ["400"]), "{broken:?}: {answer}");
    }
}

/// Requests with contradictory lengths get one response at most, so that a proxy and the server
/// cannot disagree on their end.
///
/// Acceptance 38, 89.
#[tokio::test]
async fn a_length_beside_chunks_smuggles_nothing() {
    let served = Served::new().await;
    let session = served.open().await;
    let smuggled = served.post(Some(&session), r#"{"jsonrpc":"2.0","id":"smuggled","method":"ping"}"#);
    // A parser that believes the length reads the bytes after the last chunk as part of the body. A
    // parser that believes the chunks reads them as a second request.
    for length in [0, 4, PING.len(), 5000] {
        let body = format!("{:x}\r\n{PING}\r\n0\r\n\r\n", PING.len());
        let request = chunked(&served, &session, &format!("Content-Length: {length}\r\n"), &body);
        let answer = exchange(&mut served.connect().await, request.as_bytes(), QUIET).await;
        assert_eq!(statuses(&answer).len(), 1, "{length}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 400"), "{length}: {answer}");
    }
    for head in [
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 5",
        "Content-Length: +4",
        "Content-Length: -1",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, gzip",
        "Content-Length: 99999999999999999999999",
    ] {
        let request = format!("POST /mcp HTTP/1.1\r\nHost: {}\r\n{head}\r\n\r\nabcd{smuggled}", served.addr);
        let answer = exchange(&mut served.connect().await, request.as_bytes(), QUIET).await;
        assert_eq!(statuses(&answer), ["400"], "{head}: {answer}");
        assert!(!answer.contains("smuggled"), "{head}: {answer}");
    }
}

/// Absolute targets, other hosts, other spellings of the path and unknown methods get their
/// statuses.
///
/// Acceptance 78, 85.
#[tokio::test]
async fn targets_and_methods_are_taken_literally() {
    let served = Served::new().await;
    let addr = served.addr;
    let rows = [
        (format!("POST http://{addr}/mcp HTTP/1.1\r\nHost: {addr}"), "415"),
        (format!("POST http://evil.example/mcp HTTP/1.1\r\nHost: {addr}"), "400"),
        (format!("POST http://{addr}/mcp HTTP/1.1\r\nHost: evil.example"), "400"),
        ("POST /mcp HTTP/1.1\r\nHost: evil.example".to_owned(), "403"),
        ("POST /mcp HTTP/1.1".to_owned(), "400"),
        (format!("POST /mcp HTTP/1.1\r\nHost: {addr}\r\nHost: {addr}"), "400"),
        (format!("post /mcp HTTP/1.1\r\nHost: {addr}"), "405"),
        (format!("Get /mcp HTTP/1.1\r\nHost: {addr}"), "405"),
        (format!("BREW /mcp HTTP/1.1\r\nHost: {addr}"), "405"),
        (format!("POST /mcp/ HTTP/1.1\r\nHost: {addr}"), "404"),
        (format!("POST /mcp/x HTTP/1.1\r\nHost: {addr}"), "404"),
        (format!("POST /MCP HTTP/1.1\r\nHost: {addr}"), "404"),
        (format!("POST //mcp HTTP/1.1\r\nHost: {addr}"), "404"),
        (format!("POST /x/../mcp HTTP/1.1\r\nHost: {addr}"), "404"),
        (format!("POST /mcp?a=b HTTP/1.1\r\nHost: {addr}"), "415"),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {addr}"), "404"),
    ];
    for (head, status) in rows {
        let request = format!("{head}\r\nContent-Length: 0\r\n\r\n");
        let answer = exchange(&mut served.connect().await, request.as_bytes(), QUIET).await;
        assert_eq!(statuses(&answer), [status], "{head}: {answer}");
    }
    let old = format!("POST /mcp HTTP/1.0\r\nHost: {addr}\r\nContent-Length: 0\r\n\r\n");
    assert!(exchange(&mut served.connect().await, old.as_bytes(), QUIET).await.starts_with("HTTP/1.0 415"));
}

/// The connection gets status 431 or is reset, and the service counts no rejection.
///
/// Acceptance 168.
#[tokio::test]
async fn excessive_headers_are_rejected_before_the_service() {
    let served = Served::new().await;
    let many: String = (0..200).map(|at| format!("X-{at}: 1\r\n")).collect();
    let same = "Accept: */*\r\n".repeat(5_000);
    let large = format!("X-Large: {}\r\n", "x".repeat(1 << 20));
    for headers in [many, same, large] {
        let request = format!("GET /mcp HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", served.addr);
        let mut stream = served.connect().await;
        // The server may answer and close before it has read the whole request.
        let _ = tokio::time::timeout(PATIENCE, stream.write_all(request.as_bytes())).await.expect("not taken");
        let mut first = [0; 12];
        match tokio::time::timeout(PATIENCE, stream.read_exact(&mut first)).await.expect("no end") {
            Ok(_) => assert_eq!(std::str::from_utf8(&first), Ok("HTTP/1.1 431")),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(served.handle.statistics().await.rejected.len(), 0, "none of them came so far");
}

/// With `Expect: 100-continue`, an invalid request is rejected before its body is sent.
///
/// Acceptance 38, 89.
#[tokio::test]
async fn expect_100_continue_is_answered() {
    let served = Served::new().await;
    let session = served.open().await;
    let request = served.post(Some(&session), PING).replacen("Accept:", "Expect: 100-continue\r\nAccept:", 1);
    let (head, body) = request.split_at(request.len() - PING.len());
    let mut stream = served.connect().await;
    let interim = exchange(&mut stream, head.as_bytes(), QUIET).await;
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    let answer = exchange(&mut stream, body.as_bytes(), QUIET).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    let length = format!("Content-Length: {}", PING.len());
    for (from, to, status) in [
        (length.as_str(), "Content-Length: 5000000", "413"),
        ("application/json\r\n", "text/plain\r\n", "415"),
        ("Host: ", "Host: evil.example, ", "400"),
        ("Host: ", "Origin: null\r\nHost: ", "403"),
    ] {
        let answer = exchange(&mut served.connect().await, head.replace(from, to).as_bytes(), QUIET).await;
        assert_eq!(statuses(&answer), [status], "no body was asked for: {answer}");
    }
}

/// The client closes the connection, or its half of it, in the middle of the body.
///
/// Acceptance 37, 157.
#[tokio::test]
async fn a_body_that_breaks_off_opens_nothing() {
    let served = Served::new().await;
    let request = served.post(None, &opening());
    for half_close in [true, false] {
        let mut stream = served.connect().await;
        stream.write_all(&request.as_bytes()[..request.len() - 10]).await.unwrap();
        if half_close {
            stream.shutdown().await.unwrap();
            let answer = to_end(&mut stream).await;
            assert!(matches!(statuses(&answer)[..], [] | ["400"]), "{answer}");
        }
    }
    // A complete request after them shows that the service still works.
    let session = served.open().await;
    assert_eq!(served.handle.statistics().await.opened, 1);
    assert!(!session.is_empty());
}

/// A response that is ready is sent. A call that still runs loses its connection and continues.
///
/// Acceptance 104.
#[tokio::test]
async fn half_closed_clients_get_ready_responses() {
    let served = Served::new().await;
    let session = served.open().await;
    let mut stream = served.connect().await;
    stream.write_all(served.post(Some(&session), PING).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = to_end(&mut stream).await;
    assert!(answer.ends_with(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), "{answer}");

    // A longer call: the server takes the half-closed connection for a client that left, and the
    // call continues.
    let hold = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": {"name": "hold", "arguments": {"label": "a"}}});
    let mut stream = served.connect().await;
    stream.write_all(served.post(Some(&session), &hold.to_string()).as_bytes()).await.unwrap();
    while served.probe.state("a").is_none() {
        tokio::task::yield_now().await;
    }
    stream.shutdown().await.unwrap();
    assert_eq!(statuses(&to_end(&mut stream).await), Vec::<&str>::new());
    assert_eq!(served.probe.state("a"), Some("running"));
    served.probe.release("a");
    let finished = async {
        while served.probe.state("a") != Some("finished") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, finished).await.expect("the call was lost");
}

/// The backlog holds as many connections as the system allows, so a busy or restarted server
/// rejects none of the clients that reconnect at once.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn simultaneous_reconnects_wait_in_the_backlog() {
    let room: usize = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    let listener = mcp_http::McpListener::bind("localhost:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for at in 0..room.min(500) {
        let connect = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
        waiting.push(connect.unwrap_or_else(|_| panic!("the client after {at} others is not let in")).unwrap());
    }
}
