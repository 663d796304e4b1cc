//! Shutdown and drain: how a service ends its calls, streams and sessions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{Method, Version};
use futures_util::poll;
use mcp_http::message::{ErrorObject, RawJson};
use mcp_http::server::{Call, Initialize, Server};
use mcp_http::store::EndReason;
use mcp_http::{Context, Limits, McpListener, McpService, ResponseMode, Sessions, Streams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::support::{App, Pace, RequestExt, call, initialize, modern_call, opening, service};

const LONG: Duration = Duration::from_secs(60);

/// New openings and calls get status 503 with a `Retry-After`, and the service is not ready.
///
/// Acceptance 174.
#[tokio::test(start_paused = true)]
async fn a_drain_rejects_new_work() {
    let app = App::new();
    let client = app.open().await;
    let held = client.call(1, "note_and_hold", json!({"label": "a"})).await;
    assert!(app.handle.is_ready());
    let handle = app.handle.clone();
    let drain = tokio::spawn(async move { handle.drain(LONG).await });
    sleep(Duration::from_secs(1)).await;
    assert!(!app.handle.is_ready());
    for message in [initialize("2025-11-25", json!({})), json!({"jsonrpc": "2.0", "id": 0, "method": "ping"})] {
        let reply = if message["method"] == "ping" { client.post(message).await } else { app.post(message).await };
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("2")));
        assert_eq!(reply.error().await, (-32603, Some(json!(0))));
    }
    // A call that still runs may be cancelled and answered.
    assert_eq!(client.cancel(1).await.status, 202);
    let report = drain.await.unwrap();
    assert_eq!((report.calls, report.cut_calls, report.ended_sessions), (1, 0, 1));
    drop(held);
}

/// Streams that are already open cannot ask their connection to close. Their clients resume them on
/// a connection that does.
///
/// Acceptance 174.
#[tokio::test(start_paused = true)]
async fn open_streams_are_closed_and_resumed() {
    let app = App::far(Pace::YIELD);
    let (new, old) = (app.open().await, app.open_version("2025-06-18").await);
    let mut get = new.listen_primed().await;
    let mut call = new.call(1, "note_and_hold", json!({"label": "new"})).await.sse();
    let mut held = old.call(2, "note_and_hold", json!({"label": "old"})).await.sse();
    let last = call.message().await.unwrap().id().to_owned();
    assert!(held.message().await.is_some());
    app.handle.begin_shutdown(Duration::from_secs(1)).await;
    for stream in [&mut get, &mut call] {
        assert_eq!(stream.next().await.unwrap().retry, Some(1_000));
        assert!(stream.next().await.is_none());
    }
    let again = new.resume(&last).await;
    assert_eq!(again.header("connection"), Some("close"));
    app.probe.release("new");
    app.probe.release("old");
    for mut rest in [again.sse(), held] {
        let answer = rest.message().await.unwrap().json();
        assert_eq!(answer["result"]["content"][0]["text"], "released", "streams that cannot resume stay open");
    }
}

/// HTTP/2 has no `Connection: close`. There, hyper asks the client to close the connection.
///
/// Acceptance 174.
#[tokio::test(start_paused = true)]
async fn shutdown_serves_and_closes_connections() {
    let app = App::new();
    let client = app.open().await;
    let echo = || client.request(Method::POST).message(call(1, "echo", json!({"message": "x"})));
    let requests = || [echo(), opening(), modern_call("echo", json!({"message": "x"})), client.request(Method::GET)];
    for request in requests() {
        let reply = app.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, None));
    }
    let mut leaving = std::pin::pin!(app.handle.shutdown_started());
    assert!(poll!(&mut leaving).is_pending() && app.handle.is_ready());
    let start = Instant::now();
    app.handle.begin_shutdown(LONG).await;
    assert_eq!(start.elapsed(), LONG);
    assert!(poll!(&mut leaving).is_ready() && !app.handle.is_ready());
    for request in requests() {
        let reply = app.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, Some("close")));
    }
    let mut second = echo();
    *second.version_mut() = Version::HTTP_2;
    assert_eq!(app.send(second).await.header("connection"), None);

    app.handle.drain(Duration::ZERO).await;
    let reply = app.send(opening()).await;
    assert_eq!((reply.status.as_u16(), reply.header("connection")), (503, Some("close")));
}

/// Only the standalone stream is closed. The call gets its answer, and then the session ends.
///
/// Acceptance 174.
#[tokio::test(start_paused = true)]
async fn without_durability_calls_finish_in_a_drain() {
    let app = App::new();
    let client = app.open().await;
    let mut get = client.listen().await;
    let mut call = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    let handle = app.handle.clone();
    let drain = tokio::spawn(async move { handle.drain(LONG).await });
    sleep(Duration::from_secs(1)).await;
    assert!(get.next().await.unwrap().primes());
    assert_eq!(get.next().await.unwrap().retry, Some(1000));
    app.probe.release("a");
    let texts: Vec<_> =
        call.rest().await.iter().map(|event| event.json()["result"]["content"][0]["text"].clone()).collect();
    assert_eq!(texts, [json!(null), json!("released")]);
    let report = drain.await.unwrap();
    assert_eq!((report.closed_streams, report.calls, report.cut_calls, report.ended_sessions), (1, 1, 0, 1));
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.ended.get(&EndReason::Shutdown)), (Some(0), Some(&1)));
}

/// Sessions on a durable engine outlive the service, so clients resume their streams at another
/// node.
///
/// Acceptance 174.
#[tokio::test(start_paused = true)]
async fn durable_streams_are_closed_with_a_retry() {
    let app = App::far(Pace::YIELD);
    let (new, old) = (app.open().await, app.open_version("2025-06-18").await);
    let (mut new_get, mut old_get) = (new.listen().await, old.listen().await);
    let mut new_call = new.call(1, "note_and_hold", json!({"label": "new"})).await.sse();
    let mut old_call = old.call(2, "note_and_hold", json!({"label": "old"})).await.sse();
    let handle = app.handle.clone();
    let drain = tokio::spawn(async move { handle.drain(LONG).await });
    sleep(Duration::from_secs(1)).await;
    for stream in [&mut new_get, &mut new_call] {
        assert!(stream.next().await.unwrap().primes());
    }
    assert_eq!(new_call.message().await.map(|event| event.data.is_some()), None, "closed before what was unread");
    assert_eq!(old_get.next().await.unwrap().retry, Some(1000), "any client knows `retry`");
    assert!(old_get.next().await.is_none());
    assert_eq!(old_call.message().await.unwrap().json()["params"]["progress"], 1);
    assert!(old_call.is_silent().await, "an older client waits for its answer");
    let report = drain.await.unwrap();
    assert_eq!((report.closed_streams, report.calls, report.cut_calls, report.ended_sessions), (3, 2, 2, 0));
    for label in ["new", "old"] {
        assert_eq!(app.probe.state(label), Some("cancelled"));
    }
    let statistics = app.handle.statistics().await;
    assert_eq!(
        (statistics.sessions, statistics.ended.get(&EndReason::Shutdown)),
        (Some(2), None),
        "they live on elsewhere"
    );
    assert_eq!(app.handle.drain(LONG).await.calls, 0, "once more, nothing is there");
}

/// The client has an event id, so it can resume the call.
///
/// Acceptance 174.
#[tokio::test(start_paused = true)]
async fn closed_call_streams_carry_id_and_retry() {
    let app = App::far(Pace::YIELD);
    let client = app.open().await;
    let (mut get, mut call) =
        (client.listen().await, client.call(1, "note_and_hold", json!({"label": "a"})).await.sse());
    assert_eq!(call.message().await.unwrap().json()["params"]["progress"], 1);
    assert!(get.next().await.unwrap().primes());
    let handle = app.handle.clone();
    let drain = tokio::spawn(async move { handle.drain(LONG).await });
    for stream in [&mut get, &mut call] {
        let farewell = stream.next().await.unwrap();
        assert_eq!((farewell.retry, farewell.data.is_none()), (Some(1000), true));
        assert!(stream.next().await.is_none());
    }
    app.probe.release("a");
    assert_eq!(drain.await.unwrap().cut_calls, 0);
}

/// The drain waits until the answer is read from the connection.
///
/// Acceptance 174.
#[tokio::test(start_paused = true)]
async fn answers_within_the_deadline_are_delivered() {
    let app = App::new();
    let client = app.open_version("2025-06-18").await;
    let mut call = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    assert_eq!(call.message().await.unwrap().json()["params"]["progress"], 1);
    let handle = app.handle.clone();
    let drain = tokio::spawn(async move { handle.drain(LONG).await });
    sleep(Duration::from_secs(1)).await;
    app.probe.release("a");
    // A connection that is slower than the drain.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(call.message().await.expect("the answer").json()["result"]["content"][0]["text"], "released");
    drop(call);
    assert_eq!(drain.await.unwrap().cut_calls, 0);
}

/// A call that still runs at the deadline gets an error with its id, as JSON or on its stream.
///
/// Acceptance 34, 174.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_cut_off_is_answered() {
    let json_only = Streams::new().response_mode(ResponseMode::Json);
    let app = App::with(|service| service.streams(json_only));
    let client = app.open().await;
    let post = {
        let client = client.clone();
        tokio::spawn(async move { client.call(1, "hold", json!({"label": "a"})).await })
    };
    let streaming = App::new();
    let older = streaming.open_version("2025-06-18").await;
    let mut stream = older.call(2, "note_and_hold", json!({"label": "b"})).await.sse();
    assert_eq!(stream.message().await.unwrap().json()["params"]["progress"], 1);
    let rest = tokio::spawn(async move { stream.rest().await });
    sleep(Duration::from_millis(100)).await;
    for app in [&app, &streaming] {
        let report = app.handle.drain(Duration::from_secs(5)).await;
        assert_eq!((report.calls, report.cut_calls), (1, 1));
    }
    let answer = post.await.unwrap().json().await;
    assert_eq!(answer["error"], json!({"code": -32603, "message": "The server is shutting down"}));
    let rest = rest.await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!((&rest[0].json()["id"], &rest[0].json()["error"]["code"]), (&json!(2), &json!(-32603)));
}

#[derive(Debug)]
struct SlowToOpen;

impl<S: Send + Sync> Server<S> for SlowToOpen {
    async fn initialize(&self, _: Initialize, _: &S) -> Result<RawJson, ErrorObject> {
        sleep(Duration::from_secs(10)).await;
        Ok(RawJson::empty_object())
    }

    async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
        Err(ErrorObject::method_not_found(&call.method))
    }
}

/// The opening gets status 503, and no session remains.
///
/// Acceptance 40, 157, 174.
#[tokio::test(start_paused = true)]
async fn sessions_opening_in_a_drain_are_rejected() {
    let app = App::of(McpService::builder(SlowToOpen));
    let opening = {
        let app = app.clone();
        tokio::spawn(async move { app.post(initialize("2025-11-25", json!({}))).await })
    };
    sleep(Duration::from_secs(1)).await;
    app.handle.drain(Duration::from_secs(1)).await;
    let reply = opening.await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (503, None));
    assert_eq!(app.handle.statistics().await.sessions, Some(0));
}

/// After the service is dropped, the handle returns no sessions, and a session's state cannot be
/// read.
///
/// Acceptance 40.
#[tokio::test(start_paused = true)]
async fn handles_outlive_their_service() {
    let app = App::with(|service| service.sessions(Sessions::new().idle_timeout(None)));
    let client = app.open().await;
    let id = mcp_http::SessionId::parse(&client.session).unwrap();
    let mut get = client.listen().await;
    let session = app.handle.session(id).await.unwrap().unwrap();
    let handle = app.handle.clone();
    assert!(get.next().await.unwrap().primes());
    drop((get, client, app));
    assert!(
        !handle.is_ready() && handle.session(id).await.unwrap().is_none() && !handle.end_session(id).await.unwrap()
    );
    assert_eq!(handle.sessions().await.unwrap().len(), 0);
    assert_eq!(handle.drain(LONG).await, mcp_http::DrainReport::default());
    assert!(session.get::<u32>("count").await.is_err());
    assert!(!session.end().await.unwrap());
}

/// axum's graceful shutdown does not wait for an open stream, because the drain closes it.
///
/// Acceptance 40, 150.
#[tokio::test]
async fn axum_shuts_down_promptly_with_open_streams() {
    let mcp = service().0.build().unwrap();
    let handle = mcp.handle();
    let router = Router::new().nest("/mcp", mcp.into_router());
    let app = App::new().layered(|_| router.clone());
    let client = app.open().await;
    let listener = McpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let shutdown = async move {
            stopped.await.unwrap();
            handle.drain(Duration::from_millis(300)).await;
        };
        axum::serve(listener, router).with_graceful_shutdown(shutdown).await.unwrap();
    });
    let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
    let get = format!(
        "GET /mcp HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\nMcp-Session-Id: {}\r\n\r\n",
        client.session
    );
    socket.write_all(get.as_bytes()).await.unwrap();
    let mut start = [0; 512];
    assert!(socket.read(&mut start).await.unwrap() > 0);
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(30), server).await.expect("the host hangs").unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("retry: 1000\n\n"), "{rest}");
    let again = app.send(client.request(Method::POST).message(json!({"jsonrpc": "2.0", "method": "n"}))).await;
    assert_eq!(again.status, 404);
}

/// A context is cheap to keep, so applications keep it, for example in a background task or in a
/// table.
#[tokio::test(start_paused = true)]
async fn retained_contexts_do_not_delay_a_drain() {
    for stateless in [false, true] {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let app = App::serving(
            |server| {
                let kept = Arc::clone(&kept);
                server.tool("keep", "Keeps its context.", move |cx: Context| {
                    let kept = Arc::clone(&kept);
                    async move {
                        kept.lock().unwrap().push(cx);
                        "kept"
                    }
                })
            },
            |service| {
                let service = service.limits(Limits::new().max_calls_without_session(1));
                service.sessions(Sessions::new().stateless(stateless))
            },
        );
        let client = if stateless { None } else { Some(app.open().await) };
        for id in 1..=3 {
            let reply = match &client {
                Some(client) => client.call(id, "keep", json!({})).await,
                None => app.post(call(id, "keep", json!({}))).await,
            };
            assert_eq!(reply.message().await["result"]["content"][0]["text"], "kept");
            assert_eq!(app.call_tool("keep", json!({})).await.message().await["result"]["content"][0]["text"], "kept");
        }
        assert_eq!(kept.lock().unwrap().len(), 6);
        let begun = Instant::now();
        let report = app.handle.drain(Duration::from_secs(60)).await;
        assert_eq!((report.cut_calls, begun.elapsed()), (0, Duration::ZERO), "stateless: {stateless}");
    }
}
