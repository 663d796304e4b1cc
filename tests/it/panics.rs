//! Handlers that panic or fail: only their call ends, and the text of the failure is not sent.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use mcp_http::message::{ErrorObject, RawJson};
use mcp_http::server::{Call, Initialize, Notification, Server, Session};
use mcp_http::{Context, Limits, McpServer, McpService, ResponseMode, Sessions, Streams};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::faulty::Faulty;
use crate::support::{App, Client, RequestExt, call, modern_call};

async fn answer(client: &Client, message: Value) -> (String, Value) {
    let reply = client.post(message).await;
    assert_eq!(reply.status, 200);
    let sse = reply.is_sse();
    let text = reply.text().await;
    let json = if sse { text.rsplit("data: ").next().unwrap() } else { &text };
    (text.clone(), serde_json::from_str(json).unwrap())
}

/// The call gets an internal error without the text of the panic. The session and its streams
/// continue.
///
/// Acceptance 83, 169.
#[tokio::test(start_paused = true)]
async fn handler_panics_fail_only_their_call() {
    for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
        let app = App::with(|service| service.streams(Streams::new().response_mode(mode)));
        let client = app.open().await;
        let mut listening = client.listen().await;
        assert!(listening.next().await.unwrap().primes());
        for round in 0..3 {
            let (text, got) = answer(&client, call(round, "boom", json!({}))).await;
            assert_eq!(
                got,
                json!({"jsonrpc": "2.0", "id": round, "error": {"code": -32603, "message": "Internal error"}})
            );
            assert!(!text.contains("secret"), "{mode:?} {text}");
        }
        let (_, got) = answer(&client, call(9, "echo", json!({"message": "alive"}))).await;
        assert_eq!(got["result"]["content"][0]["text"], "alive", "{mode:?}");
        app.handle.tools_changed();
        assert_eq!(listening.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
        assert_eq!(app.handle.sessions().await.unwrap()[0].calls, 0, "{mode:?}");
    }
}

/// The text of an internal error is not sent to the client, in any response mode.
///
/// Acceptance 83.
#[tokio::test(start_paused = true)]
async fn internal_errors_hide_their_text() {
    for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
        let client = App::with(|service| service.streams(Streams::new().response_mode(mode))).open().await;
        let (text, got) = answer(&client, call(1, "leak", json!({}))).await;
        assert!(!text.contains("secret"), "{mode:?} {text}");
        assert!(got["result"]["isError"] == true || got["error"]["code"] == -32603, "{got}");
    }
}

/// The client gets an error status, and no text of the engine's error.
///
/// Acceptance 83.
#[tokio::test(start_paused = true)]
async fn engine_errors_hide_their_text() {
    use mcp_http::error::StoreErrorKind as Kind;
    for kind in [Kind::Unavailable, Kind::Corrupt, Kind::Fenced, Kind::BeyondEnd, Kind::NotFound, Kind::Conflict] {
        let engine = Faulty::default();
        let app = App::with(|service| service.engine(engine.clone()));
        let client = app.open().await;
        engine.break_down(kind);
        let mut replies = vec![
            client.call(1, "echo", json!({"message": "x"})).await,
            client.cancel(1).await,
            client.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await,
            client.post(json!({"jsonrpc": "2.0", "id": "s1-1", "result": {}})).await,
            client.resume("1.0.0").await,
            client.delete().await,
        ];
        replies.push(app.post(crate::support::initialize("2025-11-25", json!({}))).await);
        for reply in replies {
            assert!(reply.status.is_client_error() || reply.status.is_server_error(), "{kind:?} {}", reply.status);
            let text = reply.text().await;
            assert!(!text.contains("secret") && !text.contains("db-3"), "{kind:?} {text}");
        }
    }
}

/// A raw server, below the typed one, that fails in every method where it can.
#[derive(Debug)]
struct Rude;

impl<S: Send + Sync> Server<S> for Rude {
    fn initialize(&self, request: Initialize, _: &S) -> impl Future<Output = Result<RawJson, ErrorObject>> + Send {
        assert_ne!(request.params.client_info.name, "rude", "secret");
        let version = request.context.protocol_version();
        let result =
            json!({"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "a", "version": "1"}});
        std::future::ready(RawJson::from_value(&result).map_err(|_| ErrorObject::internal()))
    }

    fn call(&self, call: Call, _: &S) -> impl Future<Output = Result<RawJson, ErrorObject>> + Send {
        assert_ne!(call.method, "panic", "secret");
        let data = RawJson::parse("{\n\"a\":\r\n1}").unwrap();
        let mut error = ErrorObject::new(-32000, "many\nlines");
        error.data = Some(data);
        std::future::ready(Err(error))
    }

    fn notification(&self, notice: Notification, _: &S) -> impl Future<Output = ()> + Send {
        assert_ne!(notice.method, "panic", "secret");
        std::future::ready(())
    }
}

fn rude(mode: ResponseMode) -> App {
    App::with(|_| McpService::builder(Rude).streams(Streams::new().response_mode(mode)))
}

/// The server panics in the method itself, not in the future that it returns.
///
/// Acceptance 83, 169.
#[tokio::test(start_paused = true)]
async fn panics_before_the_future_are_contained() {
    for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
        let app = rude(mode);
        let client = app.open().await;
        let (text, got) = answer(&client, json!({"jsonrpc": "2.0", "id": 1, "method": "panic"})).await;
        assert_eq!(got["error"]["code"], -32603, "{mode:?}");
        assert!(!text.contains("secret"), "{text}");
        let reply = client.post(json!({"jsonrpc": "2.0", "method": "panic"})).await;
        assert_eq!(reply.status, 202, "{mode:?}");
        let mut opening = crate::support::initialize("2025-11-25", json!({}));
        opening["params"]["clientInfo"]["name"] = "rude".into();
        let reply = app.post(opening).await;
        assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (200, None), "{mode:?}");
        let text = reply.text().await;
        assert!(text.contains("-32603") && !text.contains("secret"), "{text}");
        let sessions = app.handle.sessions().await.unwrap();
        assert_eq!((sessions.len(), sessions[0].calls), (1, 0), "{mode:?}");
    }
}

/// Line breaks in an error message do not break the event that carries it.
///
/// Acceptance 91, 109.
#[tokio::test(start_paused = true)]
async fn errors_with_line_breaks_stay_one_line() {
    let client = rude(ResponseMode::Sse).open().await;
    let mut stream = client.post(json!({"jsonrpc": "2.0", "id": 1, "method": "any"})).await.sse();
    let got = stream.rest().await;
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(
        got[0].json(),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "many\nlines", "data": {"a": 1}}})
    );
}

/// Panics when it is dropped, unless it was disarmed.
struct Trap(bool);

impl Drop for Trap {
    fn drop(&mut self) {
        assert!(!self.0, "secret");
    }
}

/// Returns a server with tools whose destructors panic.
fn trapped(mode: ResponseMode) -> App {
    let tools = |server: McpServer| {
        server
            .tool("trap", "Never ends.", |cx: Context| async move {
                let _trap = Trap(true);
                cx.progress(1, 2).await;
                std::future::pending::<&str>().await
            })
            .tool("silent_trap", "Never ends.", || async {
                let _trap = Trap(true);
                std::future::pending::<&str>().await
            })
            .tool("keep", "Keeps a value.", |session: Session| async move {
                let _ = session.extensions().insert(Trap(true));
                "kept"
            })
    };
    App::serving(tools, |service| {
        let limits = Limits::new().max_calls_per_session(2).max_calls_without_session(2);
        service.streams(Streams::new().response_mode(mode)).limits(limits)
    })
}

/// The call no longer counts as in flight, whether its client cancels it or leaves.
///
/// Acceptance 169.
#[tokio::test(start_paused = true)]
async fn panicking_destructors_end_their_cancelled_call() {
    for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
        let app = trapped(mode);
        let client = app.open().await;
        for (id, tool) in ["trap", "silent_trap", "trap", "silent_trap", "trap"].into_iter().enumerate() {
            let calling = tokio::spawn({
                let client = client.clone();
                async move { client.call(id, tool, json!({})).await.text().await }
            });
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(app.handle.sessions().await.unwrap()[0].calls, 1, "{mode:?} {tool}");
            assert_eq!(client.cancel(id).await.status, 202);
            let text = calling.await.unwrap();
            assert!(!text.contains("secret"), "{mode:?} {tool} {text}");
            assert_eq!(app.handle.sessions().await.unwrap()[0].calls, 0, "{mode:?} {tool}");
        }
        // Without a session, a client cancels by disconnecting.
        for tool in ["trap", "silent_trap", "trap", "silent_trap", "trap"] {
            let left = tokio::time::timeout(Duration::from_secs(2), async {
                let reply = app.call_tool(tool, json!({})).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
                drop(reply);
            });
            assert!(left.await.is_err());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let report = app.handle.drain(Duration::ZERO).await;
        assert_eq!((report.calls, report.cut_calls), (0, 0), "{mode:?}");
    }
}

/// Later sessions still expire and can still be deleted.
///
/// Acceptance 49, 83.
#[tokio::test(start_paused = true)]
async fn panicking_session_values_do_not_stop_expiry() {
    let app = trapped(ResponseMode::Auto);
    for round in 0..3 {
        for _ in 0..2 {
            assert_eq!(app.open().await.text_of("keep", json!({})).await, "kept");
        }
        assert_eq!(app.handle.statistics().await.sessions, Some(2), "{round}");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(app.handle.statistics().await.sessions, Some(0), "{round}");
        let client = app.open().await;
        assert_eq!(client.text_of("keep", json!({})).await, "kept");
        assert_eq!(client.delete().await.status, 200);
    }
}

/// The closing hook and the rejection hook panic. Sessions still end and expire.
///
/// Acceptance 43, 83.
#[tokio::test(start_paused = true)]
async fn hooks_that_panic_stop_nothing() {
    let app = App::with(|service| {
        let sessions = Sessions::new().on_close(|_| async {
            let _trap = Trap(true);
        });
        service.sessions(sessions).on_rejection(|_| panic!("secret"))
    });
    for _ in 0..2 {
        let client = app.open().await;
        assert_eq!(client.delete().await.status, 200);
        assert_eq!(client.delete().await.status, 404);
        app.open().await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(app.handle.statistics().await.sessions, Some(0));
    }
}

/// The application's function for the principal panics. Each such request gets status 500, and the
/// session continues.
///
/// Acceptance 83.
#[tokio::test(start_paused = true)]
async fn panicking_principal_functions_fail_one_request() {
    let app = App::with(|service| {
        service.sessions(Sessions::new().principal(|parts| {
            assert!(!parts.headers.contains_key("x-panic"), "secret");
            None
        }))
    });
    let client = app.open().await;
    let mut listening = client.listen_primed().await;
    let echo = || call(1, "echo", json!({"message": "alive"}));
    let requests = || {
        [
            client.request(Method::POST).message(echo()),
            client.request(Method::GET),
            client.request(Method::DELETE),
            crate::support::opening(),
            modern_call("echo", json!({"message": "alive"})),
        ]
    };
    for request in requests() {
        let reply = app.send(request.header("x-panic", "1")).await;
        assert_eq!((reply.status, reply.header("mcp-session-id")), (StatusCode::INTERNAL_SERVER_ERROR, None));
        let got: Value = serde_json::from_str(&reply.text().await).unwrap();
        assert_eq!(got, json!({"jsonrpc": "2.0", "error": {"code": -32603, "message": "Internal error"}}));
    }
    assert_eq!(app.handle.statistics().await.sessions, Some(1));
    app.handle.tools_changed();
    assert_eq!(listening.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
    for request in requests() {
        assert_eq!(app.send(request).await.status, 200);
    }
}

/// The application's function for the principal panics on a route of its own. Only that request
/// gets status 500.
///
/// Acceptance 83.
#[tokio::test(start_paused = true)]
async fn panicking_principals_fail_only_their_route() {
    let sessions = Sessions::new().principal(|parts| {
        assert!(!parts.headers.contains_key("x-panic"), "secret");
        None
    });
    let server: McpServer = McpServer::new("a", "1");
    let service = McpService::builder(server).sessions(sessions).build().unwrap();
    let route = axum::routing::get(async |session: Session| session.info().id.to_string());
    let router = axum::Router::new().route("/mine", route).layer(mcp_http::McpLayer::new(service));
    let opened = router.clone().oneshot(crate::support::opening()).await.unwrap();
    let id = opened.headers()["mcp-session-id"].clone();
    let head = |panics: bool| {
        let request = http::Request::get("/mine").header("mcp-session-id", id.clone());
        let request = if panics { request.header("x-panic", "1") } else { request };
        request.body(axum::body::Body::empty()).unwrap()
    };
    for (panics, status) in [(true, 500), (false, 200)] {
        assert_eq!(router.clone().oneshot(head(panics)).await.unwrap().status(), status);
    }
}
