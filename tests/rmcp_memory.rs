//! The memory of a session whose handler was written against rmcp: that of rmcp's own service, and
//! little more. Runs in a separate process, so that only sessions are measured.

use std::alloc::System;
use std::convert::Infallible;
use std::future::{Future, pending, ready};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use mcp_http::{McpService, RmcpServer, Sessions};
use rmcp::ServerHandler;
use rmcp::model::{ClientJsonRpcMessage, InitializeRequestParams, ServerJsonRpcMessage};
use rmcp::service::{RoleServer, RunningService, serve_directly};
use rmcp::transport::Transport;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::ServiceExt;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SESSIONS: usize = 1_000;

/// The bytes a session may cost beyond an idle service of rmcp. They are the session itself (about
/// 530), the transport between the two, and what rmcp stores of `initialize` and a call: 2,670 when
/// this was last measured, without optimization.
const MORE: usize = 2_816;

struct Quiet;

impl ServerHandler for Quiet {}

/// A transport that never receives a message.
struct Silence;

impl Transport<RoleServer> for Silence {
    type Error = Infallible;

    fn send(&mut self, _: ServerJsonRpcMessage) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        pending().await
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Returns the bytes that each of many equal values takes.
async fn each<T>(make: impl AsyncFn() -> T) -> usize {
    let mut made = Vec::with_capacity(SESSIONS);
    // The first two let shared structures grow to their size.
    let _first = [make().await, make().await];
    settle().await;
    let region = Region::new(ALLOCATOR);
    for _ in 0..SESSIONS {
        made.push(make().await);
    }
    settle().await;
    let change = region.change();
    (change.bytes_allocated - change.bytes_deallocated) / SESSIONS
}

/// Lets spawned tasks run until all of them wait.
async fn settle() {
    for _ in 0..4 * SESSIONS {
        tokio::task::yield_now().await;
    }
}

fn post(session: Option<&str>, body: &'static str) -> Request<Body> {
    let mut request = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    request.header("accept", "application/json, text/event-stream").body(body.into()).unwrap()
}

/// Opens a session and makes a call in it.
async fn open(app: &Router) {
    let opening = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
    let reply = app.clone().oneshot(post(None, opening)).await.unwrap();
    let session = reply.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let told = post(Some(&session), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(app.clone().oneshot(told).await.unwrap().status(), StatusCode::ACCEPTED);
    let ping = post(Some(&session), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let reply = app.clone().oneshot(ping).await.unwrap();
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
}

#[tokio::test]
async fn sessions_add_little_to_rmcps_service() {
    let alone = each(async || -> RunningService<RoleServer, Quiet> {
        serve_directly(Quiet, Silence, Some(InitializeRequestParams::default()))
    })
    .await;
    let sessions = Sessions::new().max_sessions(2 * SESSIONS).max_sessions_per_principal(2 * SESSIONS);
    let service = McpService::builder(RmcpServer::new(|| Quiet)).sessions(sessions).build().unwrap();
    let app: Router = Router::new().nest("/mcp", service.into_router());
    let served = each(async || open(&app).await).await;
    println!("rmcp's service: {alone} bytes; a session served here: {served} bytes");
    assert!(served < alone + MORE, "{served} bytes instead of rmcp's {alone}");
}
