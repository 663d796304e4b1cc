//! All rejections, produced over the wire: status, code and public text of each. Each is counted
//! and reported once.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use futures_util::{StreamExt, stream};
use mcp_http::error::StoreErrorKind;
use mcp_http::message::ErrorObject;
use mcp_http::server::Tool;
use mcp_http::{Limits, McpServiceBuilder, ResponseMode, Sessions, Streams};
use serde_json::{Value, json};

use crate::faulty::Faulty;
use crate::support::{App, CAPABILITIES_KEY, Reply, RequestExt, call, initialize, modern, modern_call, request};

/// The rejections that were produced so far.
#[derive(Clone, Default)]
struct Sheet {
    reported: Arc<Mutex<Vec<&'static str>>>,
    produced: Arc<Mutex<BTreeSet<&'static str>>>,
}

/// A kind, its status, its code and its text.
type Row = (&'static str, u16, i64, &'static str);

impl Sheet {
    fn app(&self, configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
        App::with(|service| self.watched(configure(service)))
    }

    fn watched(&self, service: McpServiceBuilder) -> McpServiceBuilder {
        let reported = Arc::clone(&self.reported);
        service.on_rejection(move |rejected| reported.lock().unwrap().push(rejected.kind()))
    }

    async fn expect(&self, app: &App, request: Request<Body>, id: Option<i64>, row: Row) {
        self.reported.lock().unwrap().clear();
        let before = app.handle.statistics().await.rejected.get(row.0).copied().unwrap_or_default();
        let reply = app.send(request).await;
        self.check(app, reply, id, row, before).await;
    }

    async fn check(&self, app: &App, reply: Reply, id: Option<i64>, row: Row, before: u64) {
        let (kind, status, code, text) = row;
        let rejected = reply.rejection.clone().unwrap_or_else(|| panic!("{kind}: served with {}", reply.status));
        assert_eq!((rejected.kind(), reply.status.as_u16()), (kind, status));
        assert_eq!(reply.header("retry-after"), matches!(status, 429 | 503).then_some("2"), "{kind}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{kind}");
        assert_eq!(reply.header("accept-encoding"), (kind == "encoded_body").then_some("identity"), "{kind}");
        // Only the answer to an accepted call names its session, although that session has ended.
        assert_eq!(
            reply.header("mcp-session-id").is_some(),
            matches!(kind, "session_ended" | "answer_not_kept"),
            "{kind}"
        );
        let body = reply.json().await;
        let mut expected = json!({"jsonrpc": "2.0", "error": {"code": code, "message": text}});
        if let Some(id) = id {
            expected["id"] = id.into();
        }
        if kind == "unsupported_version" {
            expected["error"]["data"] = json!({"requested": "1999-01-01", "supported": ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]});
        }
        if kind == "insufficient_scope" {
            expected["error"]["data"] = json!({"requiredScopes": ["a", "b"]});
        }
        if kind == "missing_capability" {
            expected["error"]["data"] = json!({"requiredCapabilities": {"roots": {}}});
        }
        assert_eq!(body, expected, "{kind}");
        assert_eq!(*self.reported.lock().unwrap(), [kind], "the hook is called for {kind} once");
        assert_eq!(app.handle.statistics().await.rejected[kind], before + 1, "{kind} is counted once");
        let described = format!("\n| `{kind}` | {status} | {code} | ");
        assert!(include_str!("../../src/guide/refusals.md").contains(&described), "the guide lists {described:?}");
        self.produced.lock().unwrap().insert(kind);
    }
}

fn opening() -> Value {
    initialize("2025-11-25", json!({}))
}

fn post(message: Value) -> Request<Body> {
    request(Method::POST).message(message)
}

/// Returns all kinds, as the crate itself names them.
fn all_kinds() -> BTreeSet<&'static str> {
    let source = include_str!("../../src/error.rs");
    let table = source.split("pub fn kind(").nth(1).and_then(|rest| rest.split("pub fn").next()).unwrap();
    let named = table.lines().filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\","));
    let limits = include_str!("../../src/error/limit.rs");
    let of_limits = limits.lines().filter_map(|line| Some(line.split_once("=> row(\"")?.1.split_once('"')?.0));
    named.chain(of_limits).collect()
}

/// The test produces each kind that the crate lists, and no other.
///
/// Acceptance 81, 197.
#[tokio::test(start_paused = true)]
async fn every_rejection_has_its_status_code_and_text() {
    let sheet = Sheet::default();
    heads(&sheet).await;
    bodies(&sheet).await;
    sessions(&sheet).await;
    limits(&sheet).await;
    calls_without_session(&sheet).await;
    streams(&sheet).await;
    the_server_itself(&sheet).await;
    the_stateless_revision(&sheet).await;
    listens(&sheet).await;
    assert_eq!(*sheet.produced.lock().unwrap(), all_kinds());
}

async fn heads(sheet: &Sheet) {
    let app = sheet.app(|service| service);
    let rows: [(Request<Body>, Row); 8] = [
        (
            post(opening()).header("host", "evil.example"),
            (
                "host_not_allowed",
                403,
                -32600,
                "Host not allowed; the server's setting `allowed_hosts` lists the names it answers to",
            ),
        ),
        (
            post(opening()).header("origin", "https://evil.example"),
            (
                "origin_not_allowed",
                403,
                -32600,
                "Origin not allowed; the server's setting `allowed_origins` lists the sites it serves",
            ),
        ),
        (request(Method::PUT), ("method_not_allowed", 405, -32600, "Method not allowed")),
        (
            post(opening()).header("accept", "application/json"),
            (
                "not_acceptable",
                406,
                -32600,
                "Not acceptable: the client must accept both application/json and text/event-stream",
            ),
        ),
        (
            post(opening()).header("content-type", "text/plain"),
            ("unsupported_media_type", 415, -32600, "Unsupported media type: Content-Type must be application/json"),
        ),
        (
            post(opening()).header("content-encoding", "gzip"),
            (
                "encoded_body",
                415,
                -32600,
                "Unsupported content encoding: the body must be sent without Content-Encoding",
            ),
        ),
        (
            post(opening()).header("mcp-session-id", "a").and_header("mcp-session-id", "a"),
            ("duplicate_header", 400, -32600, "Bad request: more than one Mcp-Session-Id header"),
        ),
        (
            post(opening()).header("mcp-session-id", "a b"),
            ("invalid_header", 400, -32600, "Bad request: invalid Mcp-Session-Id header"),
        ),
    ];
    for (request, row) in rows {
        let id = (row.0 == "invalid_header").then_some(0);
        sheet.expect(&app, request, id, row).await;
    }
}

async fn bodies(sheet: &Sheet) {
    let app = sheet.app(|service| service.limits(Limits::new().max_body_bytes(400)));
    let raw = |body: Body| request(Method::POST).header("content-type", "application/json").raw(body);
    let never = Body::from_stream(stream::pending::<io::Result<Bytes>>());
    let broken = Body::from_stream(stream::iter([Ok(Bytes::from("{")), Err(io::Error::other("secret"))]));
    let rows: [(Body, Option<i64>, Row); 6] = [
        (" ".repeat(401).into(), None, ("body_too_large", 413, -32600, "Body too large: the limit is 400 bytes")),
        (never, None, ("body_timeout", 408, -32600, "The body did not arrive in time")),
        (broken, None, ("body_incomplete", 400, -32600, "Bad request: the body is incomplete")),
        ("{".into(), None, ("not_json", 400, -32700, "Parse error: the body is not valid JSON, or nested too deep")),
        (
            r#"{"id":3,"method":"ping"}"#.into(),
            Some(3),
            ("not_a_message", 400, -32600, "Invalid request: `jsonrpc` is not \"2.0\""),
        ),
        (
            json!([opening()]).to_string().into(),
            None,
            ("initialize_in_batch", 400, -32600, "Invalid request: initialize must not be part of a batch"),
        ),
    ];
    for (body, id, row) in rows {
        sheet.expect(&app, raw(body), id, row).await;
    }
    let wide = sheet.app(|service| service);
    let text = "Body too complex: its values take more than 67108864 bytes (`Limits::VALUES`)";
    for values in ["{},", "[],", "[[1]],"] {
        let wide_list = values.repeat(400_000);
        let body = raw(format!(r#"{{"jsonrpc":"2.0","id":4,"method":"ping","params":{{"a":[{wide_list}1]}}}}"#).into());
        sheet.expect(&wide, body, Some(4), ("body_too_complex", 413, -32600, text)).await;
    }
    let narrow = sheet.app(|service| service.limits(Limits::new().max_body_bytes(40_000).max_total_body_bytes(40_000)));
    let half =
        Body::from_stream(stream::iter([Ok::<_, io::Error>(Bytes::from(" ".repeat(30_000)))]).chain(stream::pending()));
    let waiting = tokio::spawn({
        let narrow = narrow.clone();
        async move { narrow.send(request(Method::POST).header("content-type", "application/json").raw(half)).await }
    });
    tokio::task::yield_now().await;
    let row = ("too_many_bodies", 503, -32603, "Too many bytes of request bodies in flight: the limit is 40000");
    sheet.expect(&narrow, raw(" ".repeat(30_000).into()), None, row).await;
    waiting.abort();
    let client = app.open().await;
    let batch = client.request(Method::POST).message(json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"}]));
    let row = ("batch_not_served", 400, -32600, "Invalid request: batches exist in protocol version 2025-03-26 only");
    sheet.expect(&app, batch, None, row).await;
}

async fn sessions(sheet: &Sheet) {
    let app = sheet.app(|service| service);
    let client = app.open().await;
    let ping = json!({"jsonrpc": "2.0", "id": 5, "method": "ping"});
    let rows: [(Request<Body>, Option<i64>, Row); 4] = [
        (
            post(ping.clone()).header("mcp-protocol-version", "1999-01-01"),
            Some(5),
            ("unsupported_version", 400, -32022, "Unsupported protocol version; `data.supported` lists those served"),
        ),
        (
            post(ping.clone()),
            Some(5),
            ("session_required", 400, -32600, "Bad request: the Mcp-Session-Id header is required"),
        ),
        (post(ping).header("mcp-session-id", "none"), Some(5), ("session_not_found", 404, -32001, "Session not found")),
        (
            client.request(Method::POST).message(opening()),
            Some(0),
            ("already_initialized", 400, -32600, "Invalid request: the session is already initialized"),
        ),
    ];
    for (request, id, row) in rows {
        sheet.expect(&app, request, id, row).await;
    }
}

async fn limits(sheet: &Sheet) {
    let app = sheet.app(|service| service.sessions(Sessions::new().max_sessions(1)));
    let _held = app.open().await.call(1, "hold", json!({"label": "a"})).await;
    let row =
        ("too_many_sessions", 503, -32603, "Too many sessions: the limit is 1 (setting `Sessions::max_sessions`)");
    sheet.expect(&app, post(opening()), Some(0), row).await;

    let app = sheet.app(|service| service.sessions(Sessions::new().max_sessions_per_principal(1)));
    let _held = app.open_principal("ann").await.call(1, "hold", json!({"label": "a"})).await;
    let row = (
        "too_many_sessions_of_principal",
        503,
        -32603,
        "Too many sessions of this principal: the limit is 1 (setting `Sessions::max_sessions_per_principal`)",
    );
    sheet.expect(&app, post(opening()).principal("ann"), Some(0), row).await;

    let app = sheet.app(|service| service.sessions(Sessions::new().max_sessions_per_peer(1)));
    let opened = app.send(near(post(opening()))).await;
    let session = opened.header("mcp-session-id").unwrap().to_owned();
    let held = post(call(1, "hold", json!({"label": "a"}))).header("mcp-session-id", &session);
    let _held = app.send(held.header("mcp-protocol-version", "2025-11-25")).await;
    let text = "Too many sessions from this address: the limit is 1 (setting `Sessions::max_sessions_per_peer`)";
    sheet.expect(&app, near(post(opening())), Some(0), ("too_many_sessions_of_peer", 503, -32603, text)).await;

    let app = sheet.app(|service| service.limits(Limits::new().max_calls_per_session(1).max_streams_per_session(1)));
    let client = app.open().await;
    let _held = client.call(1, "hold", json!({"label": "a"})).await;
    let second = client.request(Method::POST).message(call(2, "echo", json!({"message": "x"})));
    let row = (
        "too_many_calls",
        429,
        -32603,
        "Too many calls in flight in this session: the limit is 1 (setting `Limits::max_calls_per_session`)",
    );
    sheet.expect(&app, second, Some(2), row).await;
    let row = (
        "too_many_streams",
        429,
        -32603,
        "Too many open streams in this session: the limit is 1 (setting `Limits::max_streams_per_session`)",
    );
    sheet.expect(&app, client.request(Method::GET), None, row).await;

    let app = sheet.app(|service| service.limits(Limits::new().max_calls_per_principal(1)));
    let _held = app.open_principal("ann").await.call(1, "hold", json!({"label": "a"})).await;
    let other = app.open_principal("ann").await;
    let second = other.request(Method::POST).message(call(2, "echo", json!({"message": "x"})));
    let row = (
        "too_many_calls_of_principal",
        429,
        -32603,
        "Too many calls in flight of this principal: the limit is 1 (setting `Limits::max_calls_per_principal`)",
    );
    sheet.expect(&app, second, Some(2), row).await;
}

async fn calls_without_session(sheet: &Sheet) {
    let app = sheet.app(|service| service.limits(Limits::new().max_calls_without_session(1)));
    let _held = app.send(modern_call("note_and_hold", json!({"label": "a"}))).await;
    let row = (
        "too_many_calls_without_session",
        503,
        -32603,
        "Too many calls in flight without a session: the limit is 1 (setting `Limits::max_calls_without_session`)",
    );
    sheet.expect(&app, modern_call("echo", json!({"message": "x"})), Some(1), row).await;

    let app = sheet.app(|service| service.limits(Limits::new().max_calls_per_peer(1).max_listen_streams_per_peer(1)));
    let _held = app.send(near(modern_call("note_and_hold", json!({"label": "a"})))).await;
    let text = "Too many calls in flight from this address: the limit is 1 (setting `Limits::max_calls_per_peer`)";
    let row = ("too_many_calls_of_peer", 429, -32603, text);
    sheet.expect(&app, near(modern_call("echo", json!({"message": "x"}))), Some(1), row).await;
    let listen = || near(modern("subscriptions/listen", json!({"notifications": {}})));
    let _held = app.send(listen()).await;
    let text = "Too many subscription streams from this address: the limit is 1 (setting `Limits::max_listen_streams_per_peer`)";
    sheet.expect(&app, listen(), Some(1), ("too_many_listens_of_peer", 429, -32603, text)).await;
}

/// Adds the address of a client, as a listener does.
fn near(mut request: Request<Body>) -> Request<Body> {
    let address: std::net::SocketAddr = ([192, 0, 2, 7], 4711).into();
    request.extensions_mut().insert(axum::extract::ConnectInfo(address));
    request
}

async fn streams(sheet: &Sheet) {
    let app =
        sheet.app(|service| service.streams(Streams::new().reject_second_stream(true).reject_duplicate_ids(true)));
    let client = app.open().await;
    let _held = client.call(1, "hold", json!({"label": "a"})).await;
    let again = client.request(Method::POST).message(call(1, "echo", json!({"message": "x"})));
    let row = ("duplicate_id", 400, -32600, "Invalid request: a request with the same id is in flight");
    sheet.expect(&app, again, Some(1), row).await;
    let _open = client.listen().await;
    let row = ("stream_taken", 409, -32600, "Conflict: the session's stream is already open");
    sheet.expect(&app, client.request(Method::GET), None, row).await;

    let resume = |id: &str| client.request(Method::GET).header("last-event-id", id);
    let row = ("unknown_event", 400, -32600, "Bad request: Last-Event-ID names no event of this session");
    sheet.expect(&app, resume("1.2"), None, row).await;
    let mut stream = client.call(2, "progress", json!({"steps": 1})).await.sse();
    let last = stream.rest().await.pop().unwrap();
    tokio::time::sleep(Streams::DEFAULT_KEEP_FINISHED.1 + Duration::from_secs(2)).await;
    let row = ("events_expired", 400, -32600, "Bad request: the stream of Last-Event-ID is no longer available");
    sheet.expect(&app, resume(last.id()), None, row).await;

    let app = sheet.app(|service| service.streams(Streams::new().resumable(false)));
    let client = app.open().await;
    let row =
        ("not_resumable", 400, -32600, "Bad request: Last-Event-ID is not supported, streams cannot be resumed here");
    sheet.expect(&app, client.request(Method::GET).header("last-event-id", last.id()), None, row).await;
}

async fn the_server_itself(sheet: &Sheet) {
    let app = sheet.app(|service| service.streams(Streams::new().response_mode(ResponseMode::Json)));
    let client = app.open().await;
    sheet.reported.lock().unwrap().clear();
    let held = tokio::spawn({
        let client = client.clone();
        async move { client.call(7, "hold", json!({"label": "a"})).await }
    });
    while app.probe.state("a").is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.delete().await.status, 200);
    let row = ("session_ended", 500, -32603, "The session ended before the request was answered");
    sheet.check(&app, held.await.unwrap(), Some(7), row, 0).await;

    let engine = Faulty::default();
    let app = sheet.app(|service| service.engine(engine.clone()));
    let client = app.open().await;
    let ping = || client.request(Method::POST).message(json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}));
    engine.break_down(StoreErrorKind::Unavailable);
    let row = ("engine_unavailable", 503, -32603, "The session engine cannot be reached; try again later");
    sheet.expect(&app, ping(), Some(9), row).await;
    engine.break_down(StoreErrorKind::Corrupt);
    sheet.expect(&app, ping(), Some(9), ("internal", 500, -32603, "Internal error")).await;
    engine.repair();

    let full = Faulty::default();
    let sse = Streams::new().response_mode(ResponseMode::Sse);
    let here = sheet.app(|service| service.engine(full.clone()).streams(sse));
    let there = here.open().await;
    full.fill_up();
    let call = there.request(Method::POST).message(call(9, "echo", json!({"message": "x"})));
    let text = "The answer cannot be kept: all streams together hold what the server's setting `Streams::max_replay_bytes` allows";
    sheet.expect(&here, call, Some(9), ("answer_not_kept", 500, -32603, text)).await;
    let small = sheet.app(|service| service.limits(Limits::new().max_response_bytes(9)));
    let text = "Answer too large: the limit is 9 bytes, the server's setting `Limits::max_response_bytes`";
    let row = ("answer_too_large", 500, -32603, text);
    sheet.expect(&small, modern_call("echo", json!({"message": "x"})), Some(1), row).await;

    let narrow =
        sheet.app(|service| service.limits(Limits::new().max_response_bytes(40_000).max_unread_response_bytes(40_000)));
    let call = || modern_call("echo", json!({"message": "x".repeat(30_000)}));
    let unread = narrow.send(call()).await;
    let text = "Too much is unread: the server's setting `Limits::max_unread_response_bytes` is 40000 bytes";
    sheet.expect(&narrow, call(), Some(1), ("too_many_answers_unread", 500, -32603, text)).await;
    drop(unread);

    app.handle.drain(Duration::ZERO).await;
    let row = ("draining", 503, -32603, "The server is shutting down");
    sheet.expect(&app, post(opening()), Some(0), row).await;
}

async fn the_stateless_revision(sheet: &Sheet) {
    async fn needs() -> Result<&'static str, ErrorObject> {
        Err(ErrorObject::missing_capability(&json!({"roots": {}})))
    }
    let scoped = || Tool::new("scoped", "Needs scopes.", async || "done").scopes(["a", "b"]);
    let app = App::serving(
        |server| server.tool("needs", "Needs roots.", needs).with_tool(scoped()),
        |service| sheet.watched(service),
    );
    let list = || modern("tools/list", json!({}));
    let rows: [(Request<Body>, Row); 6] = [
        (list().without("mcp-method"), ("header_mismatch", 400, -32020, "Header mismatch: Mcp-Method is required")),
        (
            modern("tools/list", json!({"_meta": {CAPABILITIES_KEY: null}})),
            (
                "invalid_meta",
                400,
                -32602,
                "Invalid params: `_meta` must have `io.modelcontextprotocol/clientCapabilities`, an object",
            ),
        ),
        (modern("no/such", json!({})), ("method_not_found", 404, -32601, "Method not found: no/such")),
        (
            modern("subscriptions/listen", json!({})),
            ("invalid_params", 400, -32602, "Invalid params: `notifications` is required, and is an object"),
        ),
        (
            modern("tools/call", json!({"name": "needs"})),
            ("missing_capability", 400, -32021, "Missing required client capability"),
        ),
        (
            modern("tools/call", json!({"name": "scoped"})),
            ("insufficient_scope", 403, -32007, "Forbidden: the operation needs the scopes `a b`"),
        ),
    ];
    for (request, row) in rows {
        sheet.expect(&app, request, Some(1), row).await;
    }
}

async fn listens(sheet: &Sheet) {
    let app =
        sheet.app(|service| service.limits(Limits::new().max_listen_streams(1).max_listen_streams_per_principal(1)));
    let listen = || modern("subscriptions/listen", json!({"notifications": {}}));
    let _open = app.send(listen().principal("ann")).await;
    let full = (
        "too_many_listens",
        429,
        -32603,
        "Too many subscription streams: the limit is 1 (setting `Limits::max_listen_streams`)",
    );
    sheet.expect(&app, listen(), Some(1), full).await;
    let of_principal = (
        "too_many_listens_of_principal",
        429,
        -32603,
        "Too many subscription streams of this principal: the limit is 1 (setting `Limits::max_listen_streams_per_principal`)",
    );
    sheet.expect(&app, listen().principal("ann"), Some(1), of_principal).await;
}
