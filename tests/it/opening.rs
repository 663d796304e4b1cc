//! Opening sessions: the answer to `initialize`, and openings that fail and leave nothing behind.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use mcp_http::error::StoreErrorKind;
use mcp_http::message::{ErrorObject, ProtocolVersion, RawJson};
use mcp_http::server::{Call, Initialize, Server};
use mcp_http::{Limits, McpHandle, McpService, SessionId, Sessions};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::support::{App, FarEngine, Fault, Pace, RequestExt, initialize, request};

/// A raw server that opens as the client's name says, and counts how often it was mounted.
#[derive(Debug, Default)]
struct Raw {
    mounts: Arc<AtomicUsize>,
}

impl<S: Send + Sync> Server<S> for Raw {
    async fn initialize(&self, request: Initialize, _: &S) -> Result<RawJson, ErrorObject> {
        let mut version = request.context.protocol_version().as_str();
        match &*request.params.client_info.name {
            "fails" => return Err(ErrorObject::new(-32000, "not today")),
            "panics" => panic!("secret"),
            "slow" => sleep(Duration::from_secs(10)).await,
            "old" => version = "2025-03-26",
            "ancient" => version = "2024-11-05",
            _ => {}
        }
        RawJson::from_value(&json!({"protocolVersion": version, "capabilities": {}, "serverInfo": {}}))
            .map_err(|_| ErrorObject::internal())
    }

    async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
        Ok(call.params.unwrap_or_else(RawJson::empty_object))
    }

    fn on_mount(&self, _: &McpHandle) {
        self.mounts.fetch_add(1, Ordering::Relaxed);
    }
}

fn raw() -> App {
    App::of(McpService::builder(Raw::default()))
}

fn opening_by(name: &str) -> Request<Body> {
    let mut message = initialize("2025-11-25", json!({}));
    message["params"]["clientInfo"]["name"] = name.into();
    request(Method::POST).message(message)
}

async fn nothing_is_left(app: &App) {
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.opened), (Some(0), 0), "{statistics:?}");
    assert_eq!(app.handle.sessions().await.unwrap().len(), 0);
}

/// The session speaks the revision in the server's answer, not the one in the client's request.
///
/// Acceptance 3.
#[tokio::test(start_paused = true)]
async fn a_server_may_choose_an_older_revision() {
    let app = raw();
    let reply = app.send(opening_by("old")).await;
    let id = SessionId::parse(reply.header("mcp-session-id").unwrap()).unwrap();
    assert_eq!(reply.json().await["result"]["protocolVersion"], "2025-03-26");
    assert_eq!(app.handle.session(id).await.unwrap().unwrap().info().version, ProtocolVersion::V2025_03_26);
}

#[tokio::test(start_paused = true)]
async fn unserved_revisions_are_never_agreed() {
    for (name, version) in [("ancient", "2024-11-05"), ("old", "2025-03-26")] {
        for stateless in [false, true] {
            let service = McpService::builder(Raw::default()).versions([ProtocolVersion::V2025_11_25]);
            let app = App::of(service.sessions(Sessions::new().stateless(stateless)));
            let reply = app.send(opening_by(name)).await;
            assert_eq!(reply.header("mcp-session-id"), None);
            assert_eq!(
                reply.text().await,
                format!(
                    r#"{{"jsonrpc":"2.0","id":0,"error":{{"code":-32603,"message":"The server speaks a protocol revision that is not served here","data":{{"version":"{version}"}}}}}}"#
                )
            );
            nothing_is_left(&app).await;
        }
    }
}

/// A hundred sessions have different ids, each of at least 32 visible ASCII characters.
///
/// Acceptance 26.
#[tokio::test(start_paused = true)]
async fn session_ids_are_unique_and_visible() {
    let app = App::new();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let reply = app.post(initialize("2025-11-25", json!({}))).await;
        let id = reply.header("mcp-session-id").unwrap().to_owned();
        assert!(id.len() >= 32 && id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{id}");
        ids.insert(id);
    }
    assert_eq!(ids.len(), 100);
}

/// `initialize` must not be part of a batch, with or without a session.
///
/// Acceptance 36.
#[tokio::test(start_paused = true)]
async fn initialize_in_a_batch_is_rejected() {
    let app = App::new();
    let batch = json!([initialize("2025-03-26", json!({})), {"jsonrpc": "2.0", "id": 1, "method": "ping"}]);
    let reply = app.post(batch.clone()).await;
    assert_eq!((reply.status.as_u16(), reply.error().await.0), (400, -32600));
    nothing_is_left(&app).await;
    let client = app.open_version("2025-03-26").await;
    let reply = client.post(batch).await;
    assert_eq!((reply.status.as_u16(), reply.error().await.0), (400, -32600));
    assert_eq!(app.handle.statistics().await.sessions, Some(1));
}

/// Each rejection before the server is called returns its status and code, and no session id.
///
/// Acceptance 35, 37, 38, 79.
#[tokio::test(start_paused = true)]
async fn early_rejections_leave_no_session() {
    let app = App::with(|service| service.limits(Limits::new().max_body_bytes(1_000)));
    let good = || request(Method::POST).message(initialize("2025-11-25", json!({})));
    let chunks = || {
        let chunks = (0..11).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100]));
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    let rows: Vec<(Request<Body>, u16, i64)> = vec![
        (good().raw(r#"{"jsonrpc":"2.0","id":0,"method":"initialize""#), 400, -32700),
        (good().raw(""), 400, -32700),
        (good().message(json!({"id": 0, "method": "initialize"})), 400, -32600),
        (good().message(json!({"jsonrpc": "2.0", "method": "initialize"})), 400, -32600),
        (good().header("accept", "application/json"), 406, -32600),
        (good().header("content-type", "text/plain"), 415, -32600),
        (good().header("content-length", "1001"), 413, -32600),
        (good().raw(chunks()), 413, -32600),
        (good().header("host", "evil.example"), 403, -32600),
        (good().header("origin", "http://evil.example"), 403, -32600),
        (good().header("mcp-session-id", "0123"), 404, -32001),
        (good().header("mcp-session-id", "a").and_header("mcp-session-id", "a"), 400, -32600),
    ];
    let rejected = rows.len() as u64;
    for (n, (request, status, code)) in rows.into_iter().enumerate() {
        let reply = app.send(request).await;
        assert_eq!(reply.header("mcp-session-id"), None, "{n}");
        assert_eq!((reply.status.as_u16(), reply.error().await.0), (status, code), "{n}");
    }
    // The request is accepted, but its parameters cannot be read.
    for params in
        [json!({}), json!({"protocolVersion": 7}), json!([]), json!({"protocolVersion": "x", "capabilities": 1})]
    {
        let reply = app.post(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await;
        assert_eq!(reply.header("mcp-session-id"), None);
        assert_eq!((reply.status.as_u16(), reply.error().await), (200, (-32602, Some(json!(0)))));
    }
    nothing_is_left(&app).await;
    assert_eq!(app.handle.statistics().await.rejected.values().sum::<u64>(), rejected);
}

/// Checks the default of `Limits::max_body_bytes`, and that zero is an invalid setting.
///
/// Acceptance 38.
#[test]
fn the_body_limit_is_four_mebibytes() {
    assert_eq!(Limits::DEFAULT_MAX_BODY_BYTES, 4 << 20);
    let error = McpService::<()>::builder(Raw::default()).limits(Limits::new().max_body_bytes(0)).build().unwrap_err();
    assert_eq!(error.setting(), "Limits::max_body_bytes");
}

/// The server fails or panics in `initialize`. The client gets an error and no session id.
///
/// Acceptance 37, 39, 83.
#[tokio::test(start_paused = true)]
async fn failed_initialize_leaves_no_session() {
    let app = raw();
    for (name, code, message) in [("fails", -32000, "not today"), ("panics", -32603, "Internal error")] {
        let reply = app.send(opening_by(name)).await;
        assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (200, None));
        assert_eq!(reply.json().await, json!({"jsonrpc": "2.0", "id": 0, "error": {"code": code, "message": message}}));
        nothing_is_left(&app).await;
    }
    assert_eq!(app.send(opening_by("good")).await.status, 200);
}

type Hook = fn(mcp_http::server::Session) -> futures_util::future::BoxFuture<'static, Result<(), ErrorObject>>;

/// Returns an application with an opening hook, and the number of calls of its closing hook.
fn welcomed(hook: Hook) -> (App, Arc<AtomicUsize>) {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let sessions = Sessions::new().on_open(hook).on_close(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async {}
    });
    (App::with(|service| service.sessions(sessions)), closed)
}

/// The opening hook fails or panics. The session does not count as opened, and the closing hook is
/// not called.
///
/// Acceptance 37, 43, 83.
#[tokio::test(start_paused = true)]
async fn failed_opening_hooks_leave_no_session() {
    let rows: [(Hook, i64, &str); 3] = [
        (|_| Box::pin(async { Err(ErrorObject::new(-32042, "full moon")) }), -32042, "full moon"),
        (|_| Box::pin(async { panic!("secret") }), -32603, "Internal error"),
        (|_| panic!("secret"), -32603, "Internal error"),
    ];
    for (hook, code, message) in rows {
        let (app, closed) = welcomed(hook);
        let reply = app.post(initialize("2025-11-25", json!({}))).await;
        assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (200, None));
        assert_eq!(reply.json().await["error"], json!({"code": code, "message": message}));
        nothing_is_left(&app).await;
        assert_eq!(closed.load(Ordering::Relaxed), 0, "it was never opened");
    }
}

/// The client disconnects while the server or the opening hook still runs.
///
/// Acceptance 37, 45.
#[tokio::test(start_paused = true)]
async fn disconnects_during_initialize_leave_no_session() {
    let app = raw();
    assert!(timeout(Duration::from_secs(1), app.send(opening_by("slow"))).await.is_err());
    nothing_is_left(&app).await;
    let (app, closed) = welcomed(|_| {
        Box::pin(async {
            sleep(Duration::from_secs(10)).await;
            Ok(())
        })
    });
    assert!(timeout(Duration::from_secs(1), app.post(initialize("2025-11-25", json!({})))).await.is_err());
    nothing_is_left(&app).await;
    assert_eq!(closed.load(Ordering::Relaxed), 0);
}

/// The engine creates the session, but its answer is lost: the client never learns the id, and the
/// session is removed again.
#[tokio::test(start_paused = true)]
async fn unconfirmed_creation_leaves_no_session() {
    let engine = FarEngine::new(|_, _| Pace::YIELD)
        .failing(|step| (step == "create").then_some(Fault::After(StoreErrorKind::Unavailable)));
    let app = App::with(|service| service.engine(engine));
    assert_eq!(app.post(initialize("2025-11-25", json!({}))).await.status, 503);
    sleep(Duration::from_secs(1)).await;
    nothing_is_left(&app).await;
}

/// The engine is away when such a session should be removed. It does so later.
#[tokio::test(start_paused = true)]
async fn unconfirmed_sessions_are_discarded_after_outages() {
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let engine = FarEngine::new(|_, _| Pace::YIELD).failing(move |step| match step {
        "create" => Some(Fault::After(StoreErrorKind::Unavailable)),
        "discard_session" if is_away.load(Ordering::Relaxed) => Some(Fault::Before(StoreErrorKind::Unavailable)),
        _ => None,
    });
    let app = App::with(|service| service.engine(engine));
    assert_eq!(app.post(initialize("2025-11-25", json!({}))).await.status, 503);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(app.handle.sessions().await.unwrap().len(), 1);
    away.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(2)).await;
    nothing_is_left(&app).await;
}

/// The client gets an error instead of the id of a session that has ended already.
///
/// Acceptance 45.
#[tokio::test(start_paused = true)]
async fn sessions_that_end_while_opening_are_withheld() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (ids, first) = (Arc::clone(&seen), AtomicUsize::new(0));
    // The hook accepts the first session at once. The second ends itself, and the third takes
    // longer than its idle timeout.
    let sessions = Sessions::new().idle_timeout(Duration::from_secs(5)).on_open(move |session| {
        ids.lock().unwrap().push(session.info().id);
        let n = first.fetch_add(1, Ordering::Relaxed);
        async move {
            match n {
                0 => {}
                1 => drop(session.end().await.unwrap()),
                _ => sleep(Duration::from_secs(20)).await,
            }
            Ok(())
        }
    });
    let app = App::with(|service| service.sessions(sessions));
    assert_eq!(app.post(initialize("2025-11-25", json!({}))).await.status, 200);
    for n in 1..3 {
        let reply = app.post(initialize("2025-11-25", json!({}))).await;
        assert_eq!(reply.header("mcp-session-id"), None, "{n}");
        assert_eq!((reply.status.as_u16(), reply.error().await), (500, (-32603, Some(json!(0)))));
        let id = seen.lock().unwrap()[n];
        assert!(app.handle.session(id).await.unwrap().is_none(), "a ghost of {n} is left");
    }
}

/// Clones of a service share its server and its sessions.
///
/// Acceptance 41, 42.
#[tokio::test(start_paused = true)]
async fn services_are_mounted_once_when_built() {
    let raw = Raw::default();
    let mounts = Arc::clone(&raw.mounts);
    let service = McpService::<()>::builder(raw);
    assert_eq!(mounts.load(Ordering::Relaxed), 0);
    let service = service.build().unwrap();
    let app = App::serve(service.clone());
    for _ in 0..3 {
        assert_eq!(app.send(opening_by("good")).await.status, 200);
    }
    assert_eq!(mounts.load(Ordering::Relaxed), 1);
    assert_eq!(service.handle().statistics().await.opened, 3, "clones share sessions");
}

/// Rejected openings are counted by kind, and nothing else remains of them.
///
/// Acceptance 37, 157.
#[tokio::test(start_paused = true)]
async fn rejected_openings_are_counted_and_forgotten() {
    let app = App::new();
    for n in 0..10_000 {
        let good = || request(Method::POST).message(initialize("2025-11-25", json!({})));
        let request = match n % 4 {
            0 => good().raw("{"),
            1 => good().header("mcp-protocol-version", "1999-01-01"),
            2 => good().header("accept", "text/html"),
            _ => good().header("mcp-session-id", &SessionId::random().to_string()),
        };
        assert!(app.send(request).await.status.is_client_error());
    }
    nothing_is_left(&app).await;
    let rejected = app.handle.statistics().await.rejected;
    for kind in ["not_json", "unsupported_version", "not_acceptable", "session_not_found"] {
        assert_eq!(rejected.get(kind), Some(&2_500), "{kind}");
    }
}
