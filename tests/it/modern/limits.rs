//! Limits: what one client can use up, and that rejected requests leave nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use futures_util::stream;
use mcp_http::error::Rejection;
use mcp_http::message::RawJson;
use mcp_http::{Context, Limits, McpServer, McpService, McpServiceBuilder, ResponseMode, Streams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    App, CAPABILITIES_KEY, MODERN, RequestExt, Served, envelope, modern, modern_call, opening, request, text_of,
};
use crate::table::{seen, sent};

const MODES: [ResponseMode; 3] = [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json];

/// Returns requests that are rejected, each for a different reason.
fn rejected() -> Vec<(Request<Body>, u16)> {
    let list = || modern("tools/list", json!({}));
    let post = |message: Value| request(Method::POST).header("mcp-protocol-version", MODERN).message(message);
    let mut get = list();
    *get.method_mut() = Method::GET;
    vec![
        (list().header("host", "evil.example"), 403),
        (list().header("accept", "text/html"), 406),
        (list().header("content-type", "text/plain"), 415),
        (list().and_header("mcp-method", "tools/list"), 400),
        (list().raw(" ".repeat(1_001)), 413),
        (list().raw("{"), 400),
        (list().raw("7"), 400),
        (list().without("mcp-protocol-version"), 400),
        (list().without("mcp-method"), 400),
        (list().header("mcp-protocol-version", "v9"), 400),
        (modern("tools/list", json!({"_meta": {CAPABILITIES_KEY: 7}})), 400),
        (modern_call("echo", json!({})).header("mcp-name", "other"), 400),
        (modern("no/such", json!({})), 404),
        (modern("initialize", json!({})), 404),
        (modern("tools/call", json!({"name": "hold", "arguments": {"label": "x"}})).principal("ann"), 429),
        (post(json!([])), 400),
        (post(json!([envelope("tools/list", json!({}))])), 400),
        (post(json!({"jsonrpc": "2.0", "id": 1, "result": {}})), 400),
        (get, 405),
    ]
}

/// Ten thousand rejected requests leave no state in the service.
///
/// Acceptance 81, 157, 176.
#[tokio::test(start_paused = true)]
async fn rejected_requests_leave_no_state() {
    let told = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&told);
    let app = App::with(|service| {
        let limits = Limits::new().max_body_bytes(1_000).max_calls_per_principal(1);
        let service = service.limits(limits);
        let count = move |_: &Rejection| {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        service.on_rejection(count)
    });
    let held = app.send(modern_call("hold", json!({"label": "held"})).principal("ann")).await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut count = 0_u64;
    while count < 10_000 {
        for (request, status) in rejected() {
            let shown = format!("{request:?}");
            let reply = app.send(request).await;
            assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (status, None), "{shown}");
            let text = reply.text().await;
            assert!(text.contains(r#""error":{"#), "{shown}: {text}");
            count += 1;
        }
    }
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.opened), (Some(0), 0));
    assert_eq!(statistics.rejected.values().sum::<u64>(), count);
    assert_eq!(told.load(Ordering::Relaxed), count);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), before);
    assert_eq!(app.probe.state("x"), None);
    // Ann's quota is unchanged.
    drop(held);
    sleep(Duration::from_millis(1)).await;
    let echo = modern_call("echo", json!({"message": "x"})).principal("ann");
    assert_eq!(text_of(app.send(echo).await).await, "x");
    assert_eq!(app.handle.drain(Duration::ZERO).await.calls, 0);
}

/// A principal can make as many calls as the limit allows, and each ended call releases its place.
///
/// Acceptance 176.
#[tokio::test(start_paused = true)]
async fn calls_of_a_principal_are_limited() {
    for mode in MODES {
        let app = App::with(|service| {
            let limits = Limits::new().max_calls_per_principal(2);
            service.limits(limits).streams(Streams::new().response_mode(mode))
        });
        let call = |tool: &str, arguments: Value, who: &str| modern_call(tool, arguments).principal(who);
        let echo = |who: &str| call("echo", json!({"message": "x"}), who);
        let mut held = Vec::new();
        for label in ["a", "b"] {
            let app = app.clone();
            let request = call("note_and_hold", json!({"label": label}), "ann");
            held.push(tokio::spawn(async move { app.send(request).await.text().await }));
        }
        sleep(Duration::from_secs(1)).await;
        let reply = app.send(echo("ann")).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("2")), "{mode:?}");
        assert_eq!(
            reply.text().await,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Too many calls in flight of this principal: the limit is 2 (setting `Limits::max_calls_per_principal`)"}}"#
        );
        assert_eq!(app.send(modern("server/discover", json!({})).principal("ann")).await.status, 429, "{mode:?}");
        // Other principals, and requests without a principal, are not affected.
        for other in [echo("bob"), modern_call("echo", json!({"message": "x"}))] {
            assert_eq!(app.send(other).await.status, 200, "{mode:?}");
        }
        // Each kind of end releases the place: an answer, a disconnect, a panic and a rejection by
        // status.
        app.probe.release("a");
        sleep(Duration::from_millis(1)).await;
        for _ in 0..5 {
            assert_eq!(app.send(echo("ann")).await.status, 200, "{mode:?}");
            assert_eq!(app.send(call("boom", json!({}), "ann")).await.status, 200, "{mode:?}");
            assert_eq!(app.send(modern("tools/none", json!({})).principal("ann")).await.status, 404, "{mode:?}");
            let left = async { app.send(call("hold", json!({"label": "c"}), "ann")).await.text().await };
            assert!(timeout(Duration::from_secs(5), left).await.is_err());
            sleep(Duration::from_millis(1)).await;
        }
        held[1].abort();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(app.probe.state("b"), Some("cancelled"), "{mode:?}");
        let both = [
            call("slow", json!({"ms": 1_000, "label": "d"}), "ann"),
            call("slow", json!({"ms": 1_000, "label": "e"}), "ann"),
        ];
        for reply in futures_util::future::join_all(both.map(|request| app.send(request))).await {
            assert_eq!(text_of(reply).await, "slept", "{mode:?}");
        }
    }
}

/// Calls in a session count against the session, but an `initialize` counts until its session
/// exists.
///
/// Acceptance 176.
#[tokio::test(start_paused = true)]
async fn stateless_calls_share_one_limit() {
    let app = App::with(|service| service.limits(Limits::new().max_calls_without_session(2)));
    let client = app.open().await;
    let echo = || modern_call("echo", json!({"message": "x"}));
    let hold = |label: &str| modern_call("note_and_hold", json!({"label": label}));
    let first = app.send(hold("a")).await;
    let _second = app.send(hold("b").principal("ann")).await;
    for request in [echo(), echo().principal("ann"), echo().principal("bob"), modern("server/discover", json!({}))] {
        let reply = app.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("2")));
        assert_eq!(
            reply.text().await,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Too many calls in flight without a session: the limit is 2 (setting `Limits::max_calls_without_session`)"}}"#
        );
    }
    assert_eq!(sent(&app, opening()).await, seen(503, -32603, Some("0")));
    assert_eq!(app.handle.statistics().await.sessions, Some(1));
    assert_eq!(client.text_of("echo", json!({"message": "in a session"})).await, "in a session");
    let listen = modern("subscriptions/listen", json!({"notifications": {}}));
    assert_eq!(app.send(listen).await.status, 200, "nor is a subscription stream a call");

    drop(first);
    sleep(Duration::from_millis(1)).await;
    for _ in 0..3 {
        assert_eq!(text_of(app.send(echo()).await).await, "x");
        app.open().await;
    }
    let rejected =
        McpService::<()>::builder(McpServer::new("a", "1")).limits(Limits::new().max_calls_without_session(0));
    assert_eq!(
        rejected.build().unwrap_err().to_string(),
        "setting `Limits::max_calls_without_session`: must be at least 1"
    );
}

/// The size of a body and the time it takes are bounded.
///
/// Acceptance 38, 170.
#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_in_bytes_and_time() {
    let limits = Limits::new().max_body_bytes(1_000).body_timeout(Duration::from_secs(5));
    let app = App::with(|service| service.limits(limits));
    let list = || modern("tools/list", json!({}));
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 100])));
    assert_eq!(sent(&app, list().raw(Body::from_stream(endless))).await, seen(413, -32600, None));
    assert_eq!(sent(&app, list().raw(" ".repeat(1_001))).await, seen(413, -32600, None));
    let declared = list().raw(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()));
    assert_eq!(sent(&app, declared.header("content-length", "1001")).await, seen(413, -32600, None));
    let start = Instant::now();
    let trickle = stream::unfold((), |()| async {
        sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    assert_eq!(sent(&app, list().raw(Body::from_stream(trickle))).await, seen(408, -32600, None));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

/// Counts what the tool `flood` sent, and records its cancellation.
#[derive(Debug, Default)]
struct Flood {
    sent: AtomicUsize,
    cancelled: AtomicBool,
}

impl Flood {
    /// Returns the number of bytes sent.
    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed) * LINE
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

const LINE: usize = 8 * 1024;
const FLOOD: usize = 64 << 20;

/// Returns a service whose tool `flood` sends 64 MiB, 8 KiB at a time.
fn flooding(streams: Streams) -> (McpServiceBuilder, Arc<Flood>) {
    struct Guard(Arc<Flood>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.cancelled.store(self.0.sent() < FLOOD, Ordering::Relaxed);
        }
    }
    let flood = Arc::new(Flood::default());
    let shared = Arc::clone(&flood);
    let server = McpServer::new("flood", "1.0.0").tool("flood", "Floods.", move |cx: Context| {
        let flood = Arc::clone(&shared);
        async move {
            let _guard = Guard(Arc::clone(&flood));
            let line = RawJson::from_value(&json!({"line": "x".repeat(LINE)})).unwrap();
            for _ in 0..FLOOD / LINE {
                cx.notify("notifications/line", &line).await;
                flood.sent.fetch_add(1, Ordering::Relaxed);
            }
            "flooded"
        }
    });
    (McpService::builder(server).streams(streams), flood)
}

/// The call of a client that does not read is cancelled after the slow-reader timeout.
///
/// Acceptance 170.
#[tokio::test(start_paused = true)]
async fn stalled_readers_lose_their_call_after_the_timeout() {
    let (service, flood) = flooding(Streams::new().slow_reader_timeout(Duration::from_secs(7)));
    let app = App::of(service);
    let reply = app.call_tool("flood", json!({})).await;
    assert!(reply.is_sse());
    sleep(Duration::from_millis(6_990)).await;
    assert!(!flood.is_cancelled());
    assert!(flood.sent() <= 512 << 10, "{} bytes wait for the reader", flood.sent());
    sleep(Duration::from_millis(20)).await;
    assert!(flood.is_cancelled());
    assert_eq!(app.handle.statistics().await.slow_readers, 1);
    // The stream ends here: its messages are dropped, and there is no answer, only the comment that
    // began the stream.
    assert_eq!(timeout(Duration::from_secs(1), reply.text()).await.unwrap(), ":\n\n");
    assert_eq!(app.handle.drain(Duration::ZERO).await.calls, 0);
}

/// A client that reads slowly but steadily receives everything.
///
/// Acceptance 170.
#[tokio::test(start_paused = true)]
async fn slow_and_steady_readers_get_everything() {
    let (service, flood) = flooding(Streams::new().slow_reader_timeout(Duration::from_secs(7)));
    let app = App::of(service);
    let mut stream = app.call_tool("flood", json!({})).await.sse();
    let mut lines = 0;
    while let Some(event) = stream.message().await {
        lines += usize::from(event.json()["method"] == "notifications/line");
        if lines % 500 == 0 {
            sleep(Duration::from_secs(5)).await;
            stream.chunks.clear();
        }
    }
    assert_eq!((lines, flood.is_cancelled()), (FLOOD / LINE, false));
    assert_eq!(app.handle.statistics().await.slow_readers, 0);
}

/// Opens a connection with a small window, so that the system's buffers hold little.
async fn narrow(addr: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.connect(addr).await.unwrap()
}

/// How long an operation on a socket may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// The call of a client that never reads its socket, or hardly ever, is cancelled and its response
/// is cut off.
///
/// Acceptance 163, 170.
#[tokio::test]
async fn clients_that_hardly_read_are_cut() {
    for reads in [false, true] {
        let patience = Duration::from_millis(400);
        let (service, flood) = flooding(Streams::new().slow_reader_timeout(patience));
        let served = Served::of(service, |listener| listener.write_timeout(Some(patience * 3))).await;
        let mut deaf = narrow(served.addr).await;
        deaf.write_all(served.modern_post(&envelope("tools/call", json!({"name": "flood"}))).as_bytes()).await.unwrap();
        let start = std::time::Instant::now();
        while !flood.is_cancelled() {
            assert!(start.elapsed() < PATIENCE, "{reads}: {flood:?}");
            if reads {
                let _ = timeout(Duration::from_millis(20), deaf.read_u8()).await;
            }
            sleep(Duration::from_millis(20)).await;
        }
        assert!(flood.sent() < 16 << 20, "{} bytes went into buffers", flood.sent());
        assert_eq!(served.handle.statistics().await.slow_readers, 1);
        if !reads {
            sleep(patience * 4).await;
        }
        // Reads the rest of the buffers up to the end of the connection, or of the response if the
        // client reads now and then. There is no answer.
        let (mut rest, mut chunk) = (Vec::new(), [0; 4096]);
        while !rest.ends_with(b"0\r\n\r\n") {
            match timeout(PATIENCE, deaf.read(&mut chunk)).await.expect("still open") {
                Ok(read @ 1..) => rest.extend_from_slice(&chunk[..read]),
                Ok(0) | Err(_) => break,
            }
        }
        assert!(!String::from_utf8_lossy(&rest).contains("flooded"));
    }
}

/// A drain lets running calls finish and accepts no new ones.
///
/// Acceptance 150, 174.
#[tokio::test(start_paused = true)]
async fn drains_finish_running_calls_only() {
    for mode in MODES {
        let app = App::in_mode(mode);
        let held = tokio::spawn({
            let app = app.clone();
            async move { text_of(app.call_tool("note_and_hold", json!({"label": "a"})).await).await }
        });
        sleep(Duration::from_secs(1)).await;
        let handle = app.handle.clone();
        let drain = tokio::spawn(async move { handle.drain(Duration::from_secs(60)).await });
        sleep(Duration::from_secs(1)).await;
        for (method, params) in [
            ("tools/call", json!({"name": "echo", "arguments": {"message": "x"}})),
            ("server/discover", json!({})),
            ("tools/list", json!({})),
        ] {
            let reply = app.request(method, params).await;
            assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("2")), "{mode:?} {method}");
            assert_eq!(reply.error().await, (-32603, Some(json!(1))), "{mode:?} {method}");
        }
        // Invalid requests still get their own errors.
        assert_eq!(app.request("no/such", json!({})).await.status, 404);
        app.probe.release("a");
        assert_eq!(held.await.unwrap(), "released", "{mode:?}");
        let report = drain.await.unwrap();
        assert_eq!((report.calls, report.cut_calls), (1, 0), "{mode:?}");
    }
}

/// At the deadline of a drain, running calls are cancelled and answered.
///
/// Acceptance 174.
#[tokio::test(start_paused = true)]
async fn the_drain_deadline_cancels_and_answers_calls() {
    for mode in MODES {
        for tool in ["hold", "note_and_hold"] {
            for wait in [100, 5_000] {
                let app = App::in_mode(mode);
                let held = tokio::spawn({
                    let app = app.clone();
                    async move {
                        let reply = app.call_tool(tool, json!({"label": "a"})).await;
                        (reply.status.as_u16(), reply.message().await)
                    }
                });
                sleep(Duration::from_millis(wait)).await;
                let report = app.handle.drain(Duration::from_secs(2)).await;
                assert_eq!((report.calls, report.cut_calls), (1, 1), "{mode:?} {tool} {wait}");
                let (status, answer) = held.await.unwrap();
                let error = json!({"code": -32603, "message": "The server is shutting down"});
                assert_eq!((status, &answer["error"]), (200, &error), "{mode:?} {tool} {wait}");
                assert_eq!(app.probe.state("a"), Some("cancelled"), "{mode:?} {tool} {wait}");
            }
        }
    }
}
