//! Ten thousand sessions that are opened and ended leave no memory behind. Runs in a separate
//! process, so that only sessions are measured.
#![cfg(target_os = "linux")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use mcp_http::{McpHandle, McpServer, McpService, Sessions};
use tower::ServiceExt;

const SESSIONS: usize = 10_000;

fn request(method: Method, session: Option<&str>, body: &'static str) -> Request<Body> {
    let accept = if method == Method::GET { "text/event-stream" } else { "application/json, text/event-stream" };
    let mut request =
        Request::builder().method(method).uri("/mcp").header("host", "localhost").header("accept", accept);
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    request.header("content-type", "application/json").body(body.into()).unwrap()
}

/// Opens a session, makes a call in it, and opens a GET stream without reading it.
async fn open(app: &Router) -> (String, Body) {
    let opening = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    let reply = app.clone().oneshot(request(Method::POST, None, opening)).await.unwrap();
    let session = reply.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let reply = app.clone().oneshot(request(Method::POST, Some(&session), ping)).await.unwrap();
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let listening = app.clone().oneshot(request(Method::GET, Some(&session), "")).await.unwrap();
    (session, listening.into_body())
}

/// Opens ten thousand sessions at once. Half of them are deleted, the other half are abandoned.
async fn cycle(app: &Router, handle: &McpHandle) {
    let mut streams = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        streams.push(open(app).await);
    }
    handle.tools_changed();
    assert_eq!(handle.statistics().await.sessions, Some(SESSIONS));
    for (n, (session, stream)) in streams.into_iter().enumerate() {
        if n % 2 == 0 {
            let reply = app.clone().oneshot(request(Method::DELETE, Some(&session), "")).await.unwrap();
            assert_eq!(reply.status(), StatusCode::OK);
        }
        drop(stream);
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(handle.statistics().await.sessions, Some(0));
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Acceptance 157, 171.
#[tokio::test(start_paused = true)]
async fn ended_sessions_leave_no_memory_behind() {
    let sessions = Sessions::new().idle_timeout(Duration::from_secs(10)).max_sessions(2 * SESSIONS);
    let service = McpService::builder(McpServer::new("memory", "1")).sessions(sessions).build().unwrap();
    let handle = service.handle();
    let app = Router::new().nest("/mcp", service.into_router());
    // The first cycles let the allocator and the maps grow to their size.
    for _ in 0..2 {
        cycle(&app, &handle).await;
    }
    let before = resident_kib();
    for _ in 0..3 {
        cycle(&app, &handle).await;
    }
    let after = resident_kib();
    assert!(after <= before + before / 10, "{before} KiB before, {after} KiB after");
}
