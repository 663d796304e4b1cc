//! The end of subscriptions when their service ends.

use std::sync::Arc;
use std::time::Duration;

use mcp_http::McpListener;
use mcp_http::store::MemoryEngine;
use mcp_http::store::engine::Membership;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{ALL, EVERYTHING, Foreign, acknowledged, bytes, listening, listens, method, on_the_wire, opened};
use crate::support::{App, Served, Sse, exchange, modern_call, service};
use crate::table::{seen, sent};

/// Returns the methods that the client receives until the stream ends with a result.
async fn to_the_end(stream: &mut Sse) -> Vec<String> {
    let mut told = Vec::new();
    for event in stream.rest().await {
        let event = event.json();
        match event["method"].as_str() {
            Some(method) => told.push(method.to_owned()),
            None => {
                assert_eq!(event["result"]["resultType"], "complete", "{event}");
                told.push("result".to_owned());
            }
        }
    }
    told
}

/// A drain ends each subscription with its pending changes and a result, and rejects new ones.
///
/// Acceptance 146, 150, 174.
#[tokio::test(start_paused = true)]
async fn a_drain_ends_subscriptions_with_a_result() {
    let app = App::new();
    let mut first = opened(app.send(listening(r#""a""#, ALL)).await);
    let mut second = opened(app.send(listening("12345678901234567890123", "{}")).await);
    let mut get = app.open().await.listen_primed().await;
    let held = tokio::spawn({
        let app = app.clone();
        async move { app.send(modern_call("hold", json!({"label": "x"}))).await.message().await }
    });
    assert_eq!(method(&mut first).await, "acknowledged");
    app.handle.tools_changed();
    assert_eq!(method(&mut get).await, "tools");
    let drain = tokio::spawn({
        let handle = app.handle.clone();
        async move { handle.drain(Duration::from_secs(60)).await }
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(listens(&app).await, 0);
    assert_eq!(sent(&app, listening("9", ALL)).await, seen(503, -32603, Some("9")), "nothing new");
    app.handle.prompts_changed();
    assert_eq!(method(&mut first).await, "tools");
    let server = r#""io.modelcontextprotocol/serverInfo":{"name":"test-server","version":"1.0.0"}"#;
    assert_eq!(
        bytes(&mut first).await,
        format!(
            r#"{{"jsonrpc":"2.0","id":"a","result":{{"resultType":"complete","_meta":{{"io.modelcontextprotocol/subscriptionId":"a",{server}}}}}}}"#
        )
    );
    assert!(first.next_any().await.is_none(), "and the stream ends");
    assert_eq!(method(&mut second).await, "acknowledged");
    assert_eq!(
        bytes(&mut second).await,
        format!(
            r#"{{"jsonrpc":"2.0","id":12345678901234567890123,"result":{{"resultType":"complete","_meta":{{"io.modelcontextprotocol/subscriptionId":12345678901234567890123,{server}}}}}}}"#
        )
    );
    assert!(second.next_any().await.is_none());
    assert!(get.message().await.is_none());
    assert!(!drain.is_finished(), "a call is still running");
    app.probe.release("x");
    assert_eq!(held.await.unwrap()["result"]["content"][0]["text"], "released");
    let report = drain.await.unwrap();
    assert_eq!((report.closed_streams, report.calls, report.cut_calls), (3, 1, 0));
    assert_eq!(app.handle.drain(Duration::ZERO).await.closed_streams, 0, "once more, nothing is there");
}

/// The result has no `serverInfo` if the server does not state one.
///
/// Acceptance 146.
#[tokio::test(start_paused = true)]
async fn results_omit_unknown_server_info() {
    let app = Foreign::new(EVERYTHING).app(|service| service);
    let mut stream = acknowledged(&app, ALL).await;
    app.handle.drain(Duration::ZERO).await;
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":1}}}"#;
    assert_eq!(bytes(&mut stream).await, result);
    assert!(stream.next_any().await.is_none());
}

/// The drain begins before the acknowledgement, so the request gets status 503.
///
/// Acceptance 146, 174.
#[tokio::test(start_paused = true)]
async fn subscriptions_overtaken_by_a_drain_are_rejected() {
    let gate = Arc::new(Notify::new());
    let server = Foreign::new(EVERYTHING).behind(&gate);
    let app = server.app(|service| service);
    let request = tokio::spawn({
        let app = app.clone();
        async move { sent(&app, listening("1", ALL)).await }
    });
    server.asked.notified().await;
    let drain = tokio::spawn({
        let handle = app.handle.clone();
        async move { handle.drain(Duration::from_secs(60)).await }
    });
    sleep(Duration::from_secs(1)).await;
    gate.notify_one();
    assert_eq!(request.await.unwrap(), seen(503, -32603, Some("1")));
    assert_eq!(drain.await.unwrap().closed_streams, 0);
}

/// The service is dropped. Pending changes and the result are still sent.
///
/// Acceptance 146.
#[tokio::test(start_paused = true)]
async fn subscriptions_end_with_their_service() {
    let engine = MemoryEngine::new();
    let app = App::with(|service| service.engine(engine.clone()));
    let mut stream = acknowledged(&app, ALL).await;
    app.handle.tools_changed();
    let handle = app.handle.clone();
    drop(app);
    assert_eq!(to_the_end(&mut stream).await, ["notifications/tools/list_changed", "result"]);
    handle.tools_changed();
    engine.announce("\"Tools\"", 1).await.unwrap();
    assert_eq!(handle.statistics().await.listens, 0);
}

/// Subscriptions at the other node of the engine continue.
///
/// Acceptance 173.
#[tokio::test(start_paused = true)]
async fn ending_a_node_ends_only_its_subscriptions() {
    let engine = MemoryEngine::new();
    let [here, there] = [(); 2].map(|()| App::with(|service| service.engine(engine.clone())));
    let (mut ours, mut theirs) = (acknowledged(&here, ALL).await, acknowledged(&there, ALL).await);
    here.handle.drain(Duration::ZERO).await;
    assert_eq!(to_the_end(&mut ours).await, ["result"]);
    drop(here);
    there.handle.tools_changed();
    assert_eq!(method(&mut theirs).await, "tools");
    assert_eq!(listens(&there).await, 1);
}

/// axum's graceful shutdown does not wait for a subscription, because the drain ends it with a
/// result.
///
/// Acceptance 40, 146, 150.
#[tokio::test]
async fn axum_shuts_down_promptly_with_subscriptions() {
    let service = service().0.build().unwrap();
    let handle = service.handle();
    let router = axum::Router::new().nest("/mcp", service.into_router());
    let listener = McpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let host = tokio::spawn(async move {
        let shutdown = async move {
            stopped.await.unwrap();
            handle.drain(Duration::from_secs(10)).await;
        };
        axum::serve(listener, router).with_graceful_shutdown(shutdown).await.unwrap();
    });
    let helper = Served::new().await;
    let listen = on_the_wire(&helper).replace(&helper.addr.to_string(), &address.to_string());
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let answer = exchange(&mut connection, listen.as_bytes(), Duration::from_millis(300)).await;
    assert!(answer.contains("notifications/subscriptions/acknowledged"), "{answer}");
    stop.send(()).unwrap();
    timeout(Duration::from_secs(9), host).await.expect("the host hangs").unwrap();
    let rest = exchange(&mut connection, b"", Duration::from_millis(300)).await;
    assert!(rest.contains(r#""id":1,"result":{"resultType":"complete""#), "{rest}");
}
