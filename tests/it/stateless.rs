//! The stateless mode: each POST is served on its own, without a session.

use std::time::Duration;

use axum::http::Method;
use mcp_http::{Limits, ResponseMode, Sessions, Streams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, Reply, RequestExt, call, initialize, request};

fn app() -> App {
    App::with(|service| service.sessions(Sessions::new().stateless(true)))
}

async fn text(reply: Reply) -> Value {
    reply.message().await["result"]["content"][0]["text"].clone()
}

/// Requests are served without a session id and with any.
///
/// Acceptance 47, 125.
#[tokio::test(start_paused = true)]
async fn session_ids_are_neither_issued_nor_read() {
    let app = app();
    let reply = app.post(initialize("2025-11-25", json!({}))).await;
    assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (200, None));
    assert_eq!(reply.json().await["result"]["protocolVersion"], "2025-11-25");
    for id in ["", "a b", "abc", "c9d7e2c0-38e2-4f35-9b1e-2bd6e53ad3f4"] {
        let echo = call(1, "echo", json!({"message": "hi"}));
        let reply = app.send(request(Method::POST).header("mcp-session-id", id).message(echo)).await;
        assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (200, None), "{id:?}");
        assert_eq!(text(reply).await, "hi");
    }
    let reply = app.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.text().await, "");
    assert_eq!(app.handle.statistics().await.sessions, Some(0));
}

/// Other methods get status 405, and `Allow` names POST.
///
/// Acceptance 78, 126.
#[tokio::test(start_paused = true)]
async fn only_post_is_allowed() {
    let app = app();
    for method in [Method::GET, Method::DELETE, Method::PUT, Method::HEAD, Method::OPTIONS] {
        let reply = app.send(request(method.clone()).header("accept", "text/event-stream")).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("POST")), "{method}");
    }
}

/// Client requests, session state and subscriptions fail without a session. Progress is streamed,
/// without event ids.
///
/// Acceptance 93, 127.
#[tokio::test(start_paused = true)]
async fn client_requests_fail_and_progress_is_streamed() {
    let app = app();
    for tool in ["ask", "sample", "roots"] {
        let answer = text(app.post(call(1, tool, json!({}))).await).await;
        assert!(answer.as_str().unwrap().ends_with("the client has no open stream"), "{tool}: {answer}");
    }
    assert_eq!(text(app.post(call(1, "count", json!({}))).await).await, "no session");
    let closed = text(app.post(call(1, "close", json!({"after_ms": 5}))).await).await;
    assert_eq!(closed, "closed false");
    let events = app.post(call(1, "progress", json!({"steps": 3}))).await.sse().rest().await;
    let progress: Vec<_> = events.iter().map(|event| event.json()["params"]["progress"].clone()).collect();
    assert_eq!(progress, [json!(1), json!(2), json!(3), json!(null)]);
    assert!(events.iter().all(|event| event.id.is_none()), "the stream cannot be resumed");
    let subscribe =
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "test://fixed"}});
    assert_eq!(app.post(subscribe).await.error().await.0, -32602);
}

/// The capabilities omit `listChanged` and `subscribe`, because there is no stream for their
/// notifications.
///
/// Acceptance 128.
#[tokio::test(start_paused = true)]
async fn undeliverable_capabilities_are_not_advertised() {
    let capabilities = async |app: App| {
        app.post(initialize("2025-11-25", json!({}))).await.json().await["result"]["capabilities"].clone()
    };
    let stateful = capabilities(App::new()).await;
    let stateless = capabilities(app()).await;
    assert_eq!(stateful["tools"]["listChanged"], true);
    assert_eq!(stateful["resources"]["subscribe"], true);
    assert!(stateless["tools"].is_object() && stateless["resources"].is_object());
    let text = stateless.to_string();
    assert!(!text.contains("\"listChanged\":true") && !text.contains("\"subscribe\":true"), "{text}");
}

/// After three hundred failed calls, no call is in flight.
///
/// Acceptance 128, 83.
#[tokio::test(start_paused = true)]
async fn failed_requests_leave_nothing() {
    let app = app();
    for _ in 0..100 {
        assert_eq!(app.post(call(1, "boom", json!({}))).await.error().await, (-32603, Some(json!(1))));
        let leak = app.post(call(1, "leak", json!({}))).await.text().await;
        assert!(!leak.contains("secret"), "{leak}");
        assert_eq!(app.post(call(1, "nobody", json!({}))).await.error().await.0, -32602);
    }
    let report = app.handle.drain(Duration::ZERO).await;
    assert_eq!((report.calls, report.ended_sessions), (0, 0));
}

/// Each of fifty requests has its own principal, revision and progress token.
///
/// Acceptance 129.
#[tokio::test(start_paused = true)]
async fn concurrent_requests_do_not_see_each_other() {
    let app = app();
    let each = (0..50).map(|n| {
        let app = app.clone();
        async move {
            let version = ["2025-03-26", "2025-06-18", "2025-11-25"][n % 3];
            let who = request(Method::POST).principal(&format!("user {n}")).header("mcp-protocol-version", version);
            let mut steps = call(n, "progress", json!({"steps": 3, "delay_ms": 10}));
            steps["params"]["_meta"]["progressToken"] = json!(n);
            let (who, steps) = tokio::join!(app.send(who.message(call(n, "whoami", json!({})))), app.post(steps));
            assert_eq!(text(who).await, format!("user {n} ? {version}"));
            let events = steps.sse().rest().await;
            assert_eq!(events.len(), 4);
            assert!(events[..3].iter().all(|event| event.json()["params"]["progressToken"] == n));
        }
    });
    futures_util::future::join_all(each).await;
    let unstated = text(app.post(call(1, "whoami", json!({}))).await).await;
    assert_eq!(unstated, "nobody ? 2025-03-26", "without a header it is the oldest");
}

/// A header of another revision, and an opening in a batch, are rejected.
///
/// Acceptance 9, 10, 18, 36.
#[tokio::test(start_paused = true)]
async fn session_rules_reject_the_same_requests() {
    let app = app();
    let rejected = request(Method::POST).header("mcp-protocol-version", "2026-07-28");
    let reply = app.send(rejected.message(initialize("2025-11-25", json!({})))).await;
    assert_eq!((reply.status.as_u16(), reply.error().await), (400, (-32020, Some(json!(0)))));
    let reply = app.post(json!([initialize("2025-03-26", json!({}))])).await;
    assert_eq!((reply.status.as_u16(), reply.error().await.0), (400, -32600));
}

/// Each request of a batch counts as a call.
///
/// Acceptance 176.
#[tokio::test(start_paused = true)]
async fn calls_are_limited_in_total_and_per_principal() {
    let limits = Limits::new().max_calls_without_session(4).max_calls_per_principal(2);
    let app = App::with(|service| service.sessions(Sessions::new().stateless(true)).limits(limits));
    let calls = |tool: &str, labels: &[&str]| {
        let one = |(n, label): (usize, &&str)| call(n, tool, json!({"label": label, "message": label}));
        request(Method::POST).message(labels.iter().enumerate().map(one).collect())
    };
    let hers = app.send(calls("note_and_hold", &["a", "b"]).principal("ann")).await;
    let echo = || request(Method::POST).message(call(7, "echo", json!({"message": "x"})));
    let too_many_of_hers =
        "Too many calls in flight of this principal: the limit is 2 (setting `Limits::max_calls_per_principal`)";
    let too_many =
        "Too many calls in flight without a session: the limit is 4 (setting `Limits::max_calls_without_session`)";
    for (request, status, text) in
        [(echo().principal("ann"), 429, too_many_of_hers), (calls("echo", &["x", "y", "z"]), 503, too_many)]
    {
        let reply = app.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (status, Some("2")));
        assert_eq!(reply.json().await["error"]["message"], text);
    }
    let _theirs = app.send(calls("note_and_hold", &["c", "d"])).await;
    for request in [echo(), request(Method::POST).message(initialize("2025-11-25", json!({})))] {
        let reply = app.send(request).await;
        assert_eq!(reply.status, 503);
        assert_eq!(reply.json().await["error"]["message"], too_many);
    }
    drop(hers);
    app.probe.release("a");
    app.probe.release("b");
    sleep(Duration::from_millis(1)).await;
    for _ in 0..3 {
        let both = app.send(calls("echo", &["x", "y"]).principal("ann")).await;
        assert_eq!(both.json().await[1]["result"]["content"][0]["text"], "y");
    }
}

/// The client leaves in each response mode, both before its answer has begun and after.
#[tokio::test(start_paused = true)]
async fn a_disconnect_cancels_the_calls() {
    for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
        let app = App::with(|service| {
            let service = service.sessions(Sessions::new().stateless(true));
            let service = service.limits(Limits::new().max_calls_without_session(2));
            service.streams(Streams::new().response_mode(mode))
        });
        let held = |tool: &str| {
            app.send(
                request(Method::POST)
                    .message(json!([call(1, tool, json!({"label": "a"})), call(2, tool, json!({"label": "b"})),])),
            )
        };
        for (tool, stays) in [("hold", 0), ("hold", 5_000), ("note_and_hold", 5_000)] {
            // The client leaves before there is a response, or while it reads a stream.
            tokio::select! {
                biased;
                reply = held(tool) => {
                    assert_ne!(mode, ResponseMode::Json);
                    drop(reply.sse());
                }
                () = sleep(Duration::from_millis(stays)) => {}
            }
            sleep(Duration::from_millis(1)).await;
            let states = ["a", "b"].map(|label| app.probe.state(label));
            assert_eq!(states, [Some("cancelled"); 2], "{mode:?} {tool} {stays}");
            let reply = app.post(call(3, "echo", json!({"message": "x"}))).await;
            assert_eq!(text(reply).await, "x", "{mode:?} {tool}: capacity is available again");
        }
        let report = app.handle.drain(Duration::ZERO).await;
        assert_eq!((report.calls, report.cut_calls), (0, 0), "{mode:?}");
    }
}
