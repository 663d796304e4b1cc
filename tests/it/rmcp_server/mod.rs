//! Handlers written against rmcp and served by this crate: what they receive, what they send, and
//! how long they live. The tests compare exact bytes.
#![allow(deprecated, reason = "logging is, for clients of 2026-07-28")]

mod client_requests;
mod contexts;
mod disconnects;
mod handler;
mod held_messages;
mod owners;
mod revisions;
mod subscriptions;

use std::time::Duration;

use mcp_http::store::MemoryEngine;
use mcp_http::{McpService, McpServiceBuilder, ResponseMode, RmcpServer, SessionId, Sessions, Streams};
use rmcp::service::ServiceError;
use serde_json::{Value, json};
use tokio::time::sleep;

use self::handler::{Handler, Shared};
use crate::support::{App, Client, Reply, RequestExt, Sse, call, initialize, modern, modern_call, ping};

/// Returns a service of rmcp's with the default settings, for tests that apply to every server.
pub(crate) fn plain() -> App {
    app(&Shared::default())
}

fn app(shared: &Shared) -> App {
    with(shared, |service| service)
}

fn with(shared: &Shared, configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
    let shared = shared.clone();
    App::of(configure(
        McpService::builder(RmcpServer::new(move || Handler::new(&shared))).streams(crate::support::streams()),
    ))
}

fn stateless(shared: &Shared) -> App {
    with(shared, |service| service.sessions(Sessions::new().stateless(true)))
}

fn in_mode(mode: ResponseMode) -> impl FnOnce(McpServiceBuilder) -> McpServiceBuilder {
    move |service| service.streams(Streams::new().response_mode(mode))
}

async fn text(reply: Reply) -> Value {
    reply.message().await["result"]["content"][0]["text"].clone()
}

/// Returns the messages of an answer, as they were written.
async fn messages(reply: Reply) -> Vec<String> {
    if !reply.is_sse() {
        return vec![reply.text().await];
    }
    reply.sse().rest().await.into_iter().map(|event| event.data.unwrap()).collect()
}

async fn client_request(stream: &mut Sse) -> Value {
    let request = stream.message().await.unwrap().json();
    assert_eq!(request["method"], "roots/list", "{request}");
    request["id"].clone()
}

fn listen() -> http::Request<axum::body::Body> {
    modern(
        "subscriptions/listen",
        json!({"notifications": {"toolsListChanged": true, "resourceSubscriptions": ["a:b"]}}),
    )
}

async fn answer(client: &Client, request: &Value, count: usize) {
    let roots: Vec<Value> = (0..count).map(|n| json!({"uri": format!("file:///{n}")})).collect();
    let reply = client.post(json!({"jsonrpc": "2.0", "id": request, "result": {"roots": roots}})).await;
    assert_eq!(reply.status, 202);
}

// Answers.

#[tokio::test(start_paused = true)]
async fn sessions_open_with_the_handlers_info() {
    let shared = Shared::default();
    let app = app(&shared);
    let reply = app.post(initialize("2025-06-18", json!({}))).await;
    assert!(reply.header("mcp-session-id").is_some());
    assert_eq!(
        reply.text().await,
        r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"logging":{},"resources":{"subscribe":true},"tools":{"listChanged":true}},"serverInfo":{"name":"handler","version":"1.0.0"},"instructions":"Be kind."}}"#
    );
    assert_eq!(shared.seen(), ["initialize by test at /"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_reject_a_session() {
    let shared = Shared::default();
    let app = app(&shared);
    let mut opening = initialize("2025-11-25", json!({}));
    opening["params"]["clientInfo"]["name"] = json!("stranger");
    let reply = app.post(opening).await;
    assert_eq!(reply.header("mcp-session-id"), None);
    assert_eq!(reply.text().await, r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32600,"message":"not you"}}"#);
    sleep(Duration::from_secs(10)).await;
    assert_eq!((app.handle.sessions().await.unwrap().len(), shared.handlers()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn each_session_has_its_own_handler() {
    let shared = Shared::default();
    let app = app(&shared);
    let ada = app.open().await;
    sleep(Duration::from_millis(1)).await;
    let bob = app.open().await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(shared.seen(), ["initialize by test at /", "initialized", "initialize by test at /", "initialized"]);
    assert_eq!(shared.handlers(), 2);
    for (client, count) in [(&ada, "1"), (&ada, "2"), (&bob, "1"), (&ada, "3")] {
        assert_eq!(text(client.call(1, "count", json!({})).await).await, count);
    }
    for _ in 0..2 {
        assert_eq!(text(app.call_tool("count", json!({})).await).await, "1");
    }
    let stateless = stateless(&shared);
    for _ in 0..2 {
        assert_eq!(text(stateless.post(call(1, "count", json!({}))).await).await, "1");
    }
    assert_eq!(stateless.post(initialize("2025-11-25", json!({}))).await.json().await["id"], 0);
}

#[tokio::test(start_paused = true)]
async fn handlers_see_the_http_request_and_principal() {
    let shared = Shared::default();
    let app = app(&shared);
    let client = app.open_principal("ada").await;
    let request = client.raw(call(7, "who", json!({})).to_string()).header("x-who", "me");
    assert_eq!(text(app.send(request).await).await, r#"Some("me") Some("ada") 2025-11-25 test 7"#);
    let request = modern_call("who", json!({})).header("x-who", "me").principal("ada");
    assert_eq!(text(app.send(request).await).await, r#"Some("me") Some("ada") 2026-07-28 test 1"#);
}

#[tokio::test(start_paused = true)]
async fn handlers_answer_errors_panics_and_custom_methods() {
    let shared = Shared::default();
    let app = app(&shared);
    let client = app.open().await;
    for (message, expected) in [
        (call(1, "fail", json!({})), r#""error":{"code":-32602,"message":"not like this","data":{"why":7}}"#),
        (call(1, "panic", json!({})), r#""error":{"code":-32603,"message":"Internal error"}"#),
        (call(1, "none", json!({})), r#""error":{"code":-32602,"message":"tool not found"}"#),
        (
            call(1, "echo", json!({"text": "é\n"})),
            r#""result":{"content":[{"type":"text","text":"é\n"}],"isError":false}"#,
        ),
        (
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7}}),
            r#""error":{"code":-32602,"message":"Invalid params of tools/call: invalid type: integer `7`, expected a string"}"#,
        ),
        (ping(1), r#""result":{}"#),
        (
            json!({"jsonrpc": "2.0", "id": 1, "method": "a/b", "params": {"c": [1]}}),
            r#""result":{"method":"a/b","params":{"c":[1]}}"#,
        ),
    ] {
        let reply = client.post(message.clone()).await;
        assert_eq!(reply.text().await, format!(r#"{{"jsonrpc":"2.0","id":1,{expected}}}"#), "{message}");
    }
    client.post(json!({"jsonrpc": "2.0", "method": "notifications/panic"})).await;
    client.post(json!({"jsonrpc": "2.0", "method": "notifications/a"})).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shared.seen().pop().unwrap(), "notifications/a");
}

#[tokio::test(start_paused = true)]
async fn discovery_returns_the_handlers_info() {
    let shared = Shared::default();
    let app = app(&shared);
    let reply = app.request("server/discover", json!({})).await;
    assert_eq!(
        reply.text().await,
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"handler","version":"1.0.0"}},"ttlMs":0,"cacheScope":"private","supportedVersions":["2025-03-26","2025-06-18","2025-11-25","2026-07-28"],"capabilities":{"logging":{},"resources":{"subscribe":true},"tools":{"listChanged":true}},"instructions":"Be kind."}}"#
    );
    for (method, status) in [("prompts/get", 200), ("ping", 404), ("resources/subscribe", 404)] {
        let mut request = modern(method, json!({"name": "x", "uri": "a:b"}));
        if method == "prompts/get" {
            request = request.header("mcp-name", "x");
        }
        assert_eq!(app.send(request).await.status, status, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_can_drive_their_own_rounds() {
    let shared = Shared::default();
    let app = app(&shared);
    let ask = |extra: Value| {
        let mut params = json!({"name": "rounds", "arguments": {}});
        params.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        modern("tools/call", params)
    };
    let asked = app.send(ask(json!({}))).await.json().await["result"].clone();
    assert_eq!(asked["inputRequests"], json!({"r": {"method": "roots/list"}}));
    assert_eq!((&asked["resultType"], &asked["requestState"]), (&json!("input_required"), &json!("mine")));
    let again = ask(json!({"requestState": "mine", "inputResponses": {"r": {"roots": []}}}));
    assert_eq!(text(app.send(again).await).await, r#"mine {"r":{"roots":[]}}"#);
    // A client of a session does not get such a request.
    let client = app.open().await;
    let rejected = client.call(1, "rounds", json!({})).await.json().await;
    assert_eq!(rejected["error"]["code"], -32600);
}

// Messages to the client.

#[tokio::test(start_paused = true)]
async fn progress_uses_the_stream_of_its_call() {
    let shared = Shared::default();
    let app = app(&shared);
    let expected = |id: u32, version: &str| {
        let mut lines: Vec<String> = (1..=3)
            .map(|step| {
                format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"t","progress":{step}.0,"total":3.0}}}}"#
                )
            })
            .collect();
        let (head, tail) = match version {
            "2026-07-28" => (
                r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"handler","version":"1.0.0"}},"resultType":"complete","#,
                "",
            ),
            _ => ("", ""),
        };
        lines.push(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{{head}"content":[{{"type":"text","text":"walked"}}],"isError":false{tail}}}}}"#
        ));
        lines
    };
    let client = app.open().await;
    assert_eq!(messages(client.call(5, "steps", json!({})).await).await, expected(5, "2025-11-25"));
    assert_eq!(messages(app.call_tool("steps", json!({})).await).await, expected(1, "2026-07-28"));
    let stateless = stateless(&shared);
    assert_eq!(messages(stateless.post(call(5, "steps", json!({}))).await).await, expected(5, "2025-03-26"));
    let quiet = with(&shared, in_mode(ResponseMode::Json));
    assert_eq!(messages(quiet.open().await.call(5, "steps", json!({})).await).await, expected(5, "2025-11-25")[3..]);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_resumed_like_any_other() {
    let shared = Shared::default();
    let app = with(&shared, in_mode(ResponseMode::Sse));
    let client = app.open().await;
    let mut stream = client.call(1, "steps", json!({})).await.sse();
    let first = stream.message().await.unwrap();
    assert_eq!(first.json()["params"]["progress"], 1.0);
    drop(stream);
    let rest = client.resume(first.id()).await.sse().rest().await;
    let steps: Vec<Value> = rest.iter().map(|event| event.json()["params"]["progress"].clone()).collect();
    assert_eq!(steps, [json!(2.0), json!(3.0), Value::Null]);
}

#[tokio::test(start_paused = true)]
async fn log_messages_follow_the_level_and_call() {
    let shared = Shared::default();
    let app = app(&shared);
    let client = app.open().await;
    let message = |level: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":"so it is"}}}}"#
        )
    };
    let said = messages(client.call(1, "say", json!({})).await).await;
    assert_eq!(said[..2], [message("debug"), message("warning")]);
    let level = json!({"jsonrpc": "2.0", "id": 2, "method": "logging/setLevel", "params": {"level": "info"}});
    assert_eq!(client.post(level).await.text().await, r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    let said = messages(client.call(1, "say", json!({})).await).await;
    assert_eq!((said.len(), &said[0]), (2, &message("warning")));
    // While another call runs, a log message cannot be assigned to a call.
    let mut listening = client.listen_primed().await;
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.call(9, "wait", json!({})).await })
    };
    sleep(Duration::from_secs(1)).await;
    assert_eq!(messages(client.call(1, "say", json!({})).await).await.len(), 1);
    assert_eq!(listening.message().await.unwrap().data.unwrap(), message("warning"));
    assert!(listening.is_silent().await);
    waiting.abort();
    // A client of 2026-07-28 chooses the log level in each request.
    assert_eq!(messages(app.call_tool("say", json!({})).await).await.len(), 1);
    let wants = json!({"name": "say", "arguments": {}, "_meta": {"io.modelcontextprotocol/logLevel": "warning"}});
    assert_eq!(messages(app.request("tools/call", wants).await).await[0], message("warning"));
}

// Lifetimes.

#[tokio::test(start_paused = true)]
async fn cancelled_calls_can_clean_up() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    sleep(Duration::from_millis(1)).await;
    shared.seen();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.call(9, "wait", json!({})).await })
    };
    sleep(Duration::from_millis(1)).await;
    assert_eq!(client.cancel(9).await.status, 202);
    drop(waiting.await.unwrap());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(shared.seen(), ["waits", "cancelled 9", "cleaned up"]);
}

#[tokio::test(start_paused = true)]
async fn cancelled_ids_can_be_used_again() {
    let shared = Shared::default();
    let client = app(&shared).open().await;
    sleep(Duration::from_millis(1)).await;
    shared.seen();
    let wait = || {
        let client = client.clone();
        tokio::spawn(async move { client.call(9, "wait", json!({})).await })
    };
    let first = wait();
    sleep(Duration::from_millis(1)).await;
    client.cancel(9).await;
    drop(first.await.unwrap());
    // The first handler is still cleaning up.
    assert!(text(client.call(9, "who", json!({})).await).await.as_str().unwrap().ends_with(" 9#1"));
    let second = wait();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(shared.seen(), ["waits", "cancelled 9", "waits", "cleaned up"]);
    client.cancel(9).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(shared.seen(), ["cancelled 9#2", "cleaned up"]);
    assert!(second.await.unwrap().sse().rest().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn modern_disconnects_cancel_the_call() {
    let shared = Shared::default();
    let app = app(&shared);
    let waiting = {
        let app = app.clone();
        tokio::spawn(async move { app.call_tool("wait", json!({})).await })
    };
    sleep(Duration::from_millis(1)).await;
    waiting.abort();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(shared.seen(), ["waits", "cleaned up"]);
    assert_eq!(shared.handlers(), 1, "only the one that is asked of itself is left");
}

#[tokio::test(start_paused = true)]
async fn peers_work_until_their_session_ends() {
    let shared = Shared::default();
    let app = app(&shared);
    let client = app.open().await;
    client.call(1, "keep", json!({})).await;
    let peer = shared.kept();
    let mut listening = client.listen_primed().await;
    peer.notify_tool_list_changed().await.unwrap();
    assert_eq!(
        listening.message().await.unwrap().data.unwrap(),
        r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}"#
    );
    let asking = {
        let peer = peer.clone();
        tokio::spawn(async move { peer.list_roots().await })
    };
    let asked = client_request(&mut listening).await;
    answer(&client, &asked, 1).await;
    assert_eq!(asking.await.unwrap().unwrap().roots.len(), 1);
    let asking = {
        let peer = peer.clone();
        tokio::spawn(async move { peer.list_roots().await })
    };
    client_request(&mut listening).await;
    assert_eq!(client.delete().await.status, 200);
    assert!(asking.await.unwrap().is_err());
    sleep(Duration::from_secs(10)).await;
    assert!(matches!(peer.notify_tool_list_changed().await, Err(ServiceError::TransportClosed)));
    assert_eq!(shared.handlers(), 0, "the handler has ended with its session");
    // The peer of a request works only during the request.
    app.call_tool("keep", json!({})).await;
    sleep(Duration::from_secs(10)).await;
    assert!(matches!(shared.kept().notify_tool_list_changed().await, Err(ServiceError::TransportClosed)));
}

#[tokio::test(start_paused = true)]
async fn handlers_end_with_their_session() {
    let shared = Shared::default();
    let app = with(&shared, |service| service.sessions(Sessions::new().idle_timeout(Duration::from_secs(60))));
    let (expires, ended) = (app.open().await, app.open().await);
    expires.call(1, "keep", json!({})).await;
    assert_eq!(shared.handlers(), 2);
    let id = SessionId::parse(&ended.session).unwrap();
    assert!(app.handle.end_session(id).await.unwrap());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(shared.handlers(), 1);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(shared.handlers(), 0);
    assert_eq!(expires.call(1, "count", json!({})).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn moved_sessions_get_a_new_handler() {
    let engine = MemoryEngine::new();
    let (here, there) = (Shared::default(), Shared::default());
    let node = |shared: &Shared| with(shared, |service| service.engine(engine.clone()));
    let (a, b) = (node(&here), node(&there));
    let client = a.open().await;
    assert_eq!(text(client.call(1, "count", json!({})).await).await, "1");
    let moved = client.at(&b);
    let both = tokio::join!(moved.call(1, "count", json!({})), moved.call(2, "count", json!({})));
    let counts = [text(both.0).await, text(both.1).await];
    assert!(counts == ["1", "2"] || counts == ["2", "1"], "{counts:?}");
    assert_eq!(there.seen(), ["initialize by test at /", "initialized"]);
    // The client answers at one node the request of a call at the other.
    let mut stream = moved.call(1, "ask", json!({})).await.sse();
    let asked = client_request(&mut stream).await;
    answer(&client, &asked, 5).await;
    assert_eq!(stream.message().await.unwrap().json()["result"]["content"][0]["text"], "5 roots");
    assert_eq!(client.delete().await.status, 200);
    sleep(Duration::from_secs(10)).await;
    assert_eq!((here.handlers(), there.handlers()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn subscriptions_move_with_their_session() {
    let engine = MemoryEngine::new();
    let (here, there) = (Shared::default(), Shared::default());
    let node = |shared: &Shared| with(shared, |service| service.engine(engine.clone()));
    let (a, b) = (node(&here), node(&there));
    let client = a.open().await;
    for (method, uri) in [("subscribe", "a:b"), ("subscribe", "c:d"), ("subscribe", "not:this"), ("unsubscribe", "a:b")]
    {
        let message =
            json!({"jsonrpc": "2.0", "id": 0, "method": format!("resources/{method}"), "params": {"uri": uri}});
        assert_eq!(client.post(message).await.json().await["error"].is_null(), uri != "not:this");
    }
    // The client's own id may be equal to that of the request which moves the session there.
    assert_eq!(text(client.at(&b).call(0, "count", json!({})).await).await, "1");
    assert_eq!(there.seen(), ["initialize by test at /", "initialized", "subscribes to c:d"]);
}

/// Runs on several threads, where rmcp's tasks overtake each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn new_handlers_are_initialized_first() {
    for _ in 0..200 {
        let engine = MemoryEngine::new();
        let (here, there) = (Shared::default(), Shared::default());
        let node = |shared: &Shared| with(shared, |service| service.engine(engine.clone()));
        let (a, b) = (node(&here), node(&there));
        let client = a.open().await;
        let subscribe = json!({"jsonrpc": "2.0", "id": 0, "method": "resources/subscribe", "params": {"uri": "a:b"}});
        client.post(subscribe).await.message().await;
        client.at(&b).call(1, "count", json!({})).await.message().await;
        assert_eq!(there.seen(), ["initialize by test at /", "initialized", "subscribes to a:b"]);
    }
}

// Subscriptions.
