//! Slow clients on real sockets: they do not read, or they read or send one byte at a time.

use std::time::{Duration, Instant};

use mcp_http::{Context, Limits, McpServer, McpService, Streams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Served, initialize};

/// The time after which any operation here counts as hung.
const PATIENCE: Duration = Duration::from_secs(180);

const LINE: usize = 8 * 1024;

/// Returns a server whose tool `flood` logs 24 MiB. That is more than the buffers of a system hold,
/// and little enough for a busy machine to produce in time.
async fn flooding(streams: Streams, write_timeout: Duration) -> Served {
    async fn flood(cx: Context) -> &'static str {
        let line = "x".repeat(LINE);
        for _ in 0..(24 << 20) / LINE {
            cx.log(mcp_http::server::LogLevel::Error, &line).await;
        }
        "flooded"
    }
    let server = McpServer::new("flood", "1.0.0").tool("flood", "Floods.", flood);
    let service = McpService::builder(server).streams(streams);
    Served::of(service, |listener| listener.write_timeout(Some(write_timeout))).await
}

/// Opens a connection with a small window, so that the system's buffers hold little.
async fn narrow(addr: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.connect(addr).await.unwrap()
}

const FLOOD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"flood","arguments":{}}}"#;

/// Waits until the condition holds. The operating system's side of a socket does not follow paused
/// time.
async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The session keeps at most 2 MiB for the client, and other clients are served.
///
/// Acceptance 163, 170.
#[tokio::test]
async fn clients_that_never_read_are_cut() {
    let patience = Duration::from_millis(400);
    let streams = Streams::new().slow_reader_timeout(patience);
    let served = flooding(streams, patience * 3).await;
    let session = served.open().await;
    let mut deaf = narrow(served.addr).await;
    deaf.write_all(served.post(Some(&session), FLOOD).as_bytes()).await.unwrap();
    let (mut most, mut begun) = (0, false);
    let start = Instant::now();
    loop {
        let sessions = served.handle.sessions().await.unwrap();
        most = most.max(sessions[0].bytes);
        let statistics = served.handle.statistics().await;
        begun |= sessions[0].calls > 0 || statistics.slow_readers > 0;
        if begun && sessions[0].calls == 0 && sessions[0].readers == 0 && start.elapsed() > patience {
            assert_eq!(statistics.slow_readers, 1, "{statistics:?}");
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{sessions:?} {statistics:?}");
        // Another client of the same session is served in the meantime.
        let mut other = served.connect().await;
        let ping = served.post(Some(&session), r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#);
        other.write_all(ping.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        tokio::time::timeout(PATIENCE, other.read_exact(&mut first)).await.unwrap().unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
    }
    assert!(most <= 2 << 20, "{most} bytes were kept");
    // The connection ends: the client reads what was in its buffers, and then the end.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, deaf.read_to_end(&mut rest)).await.expect("still open");
    assert!(rest.len() < 16 << 20, "{ended:?}: {} bytes were buffered", rest.len());
    assert!(!String::from_utf8_lossy(&rest).contains("flooded"), "cut before its answer");
}

/// The call finishes, although its client is much slower than the call.
///
/// Acceptance 170.
#[tokio::test]
async fn slow_readers_do_not_delay_their_call() {
    let patience = Duration::from_millis(300);
    let streams = Streams::new().slow_reader_timeout(patience);
    let served = flooding(streams, Duration::from_secs(30)).await;
    let session = served.open().await;
    let mut slow = narrow(served.addr).await;
    slow.write_all(served.post(Some(&session), FLOOD).as_bytes()).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut read = 0_usize;
        while slow.read_u8().await.is_ok() {
            read += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        read
    });
    eventually("the call is still running", || async {
        let sessions = served.handle.sessions().await.unwrap();
        assert!(sessions[0].bytes <= 2 << 20, "{sessions:?}");
        served.handle.statistics().await.slow_readers > 0 && sessions[0].calls == 0
    })
    .await;
    assert!(!reading.is_finished() || reading.await.unwrap() > 0);
}

/// The client gets status 408, however regularly its bytes arrive.
///
/// Acceptance 170.
#[tokio::test]
async fn trickling_bodies_are_cut_by_the_timeout() {
    let limits = Limits::new().body_timeout(Duration::from_millis(300));
    let served = Served::with(|service| service.limits(limits)).await;
    let mut stream = served.connect().await;
    // At this speed the whole body would take ten minutes.
    let padding = json!({"experimental": {"padding": {"text": "x".repeat(3_000)}}});
    let body = initialize("2025-11-25", padding).to_string();
    let request = served.post(None, &body);
    let (head, body) = request.split_at(request.len() - body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let start = Instant::now();
    let (mut reading, mut writing) = stream.into_split();
    let trickle = tokio::spawn({
        let body = body.to_owned();
        async move {
            for byte in body.bytes() {
                if writing.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
    let mut answer = vec![0; 12];
    tokio::time::timeout(PATIENCE, reading.read_exact(&mut answer)).await.expect("no answer").unwrap();
    assert!(start.elapsed() < Duration::from_secs(300), "{:?}", start.elapsed());
    trickle.abort();
    let ended = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut answer)).await.expect("still open");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{ended:?} {answer}");
    assert!(answer.contains("The body did not arrive in time"), "{answer}");
    let statistics = served.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.rejected["body_timeout"]), (Some(0), 1));
}
