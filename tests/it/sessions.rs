//! Sessions: their ids, their state, their hooks and their end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, Request};
use mcp_http::store::EndReason;
use mcp_http::{Context, McpServer, McpService, ResponseMode, SessionId, Sessions, Streams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::{App, Client, Reply, RequestExt, call, initialize, ping, request};

/// Begins a call that runs while the test continues. Returns once the call has arrived.
async fn started(client: &Client, id: u32, tool: &'static str, label: &str) -> JoinHandle<Reply> {
    let (caller, arguments) = (client.clone(), json!({"label": label}));
    let task = tokio::spawn(async move { caller.call(id, tool, arguments).await });
    while client.app.probe.state(label).is_none() {
        tokio::task::yield_now().await;
    }
    task
}

/// Concurrent updates of a session's state are all kept, and other sessions do not see them.
///
/// Acceptance 27, 46.
#[tokio::test(start_paused = true)]
async fn each_session_has_a_state_of_its_own() {
    let app = App::new();
    let (one, other) = (app.open().await, app.open().await);
    for n in ["1", "2", "3"] {
        assert_eq!(one.text_of("count", json!({})).await, n);
    }
    assert_eq!(other.text_of("count", json!({})).await, "1");
    let calls = (0..20).map(|_| one.text_of("count", json!({})));
    let mut counts: Vec<u32> =
        futures_util::future::join_all(calls).await.iter().map(|count| count.parse().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (4..24).collect::<Vec<_>>(), "no update is lost");
}

/// Every HTTP method gets status 400 if its session id is missing.
///
/// Acceptance 28, 32, 80.
#[tokio::test(start_paused = true)]
async fn requests_without_a_session_id_are_rejected() {
    let app = App::new();
    let rows: [(Request<_>, Option<Value>); 4] = [
        (request(Method::POST).message(ping(5)), Some(json!(5))),
        (request(Method::POST).message(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})), None),
        (request(Method::GET), None),
        (request(Method::DELETE), None),
    ];
    for (request, id) in rows {
        let reply = app.send(request).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.error().await, (-32600, id));
    }
}

/// Every HTTP method gets status 404, also for ids that no server could have issued.
///
/// Acceptance 29, 35, 80.
#[tokio::test(start_paused = true)]
async fn unknown_sessions_get_404_for_any_method() {
    let app = App::new();
    let client = app.open().await;
    let upper = client.session.to_uppercase();
    for session in [&*SessionId::random().to_string(), "abc", &upper, &"x".repeat(4000)] {
        let stranger = Client { session: session.to_owned(), ..client.clone() };
        let opening = initialize("2025-11-25", json!({}));
        let rows: [(Request<_>, Option<Value>); 5] = [
            (stranger.request(Method::POST).message(ping(5)), Some(json!(5))),
            (stranger.request(Method::POST).message(opening), Some(json!(0))),
            (stranger.request(Method::POST).message(json!({"jsonrpc": "2.0", "method": "n"})), None),
            (stranger.request(Method::GET), None),
            (stranger.request(Method::DELETE), None),
        ];
        for (request, id) in rows {
            let reply = app.send(request).await;
            assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (404, None));
            assert_eq!(reply.error().await, (-32001, id));
        }
    }
    let reply = app.send(client.request(Method::POST).header("mcp-session-id", "a b").message(ping(5))).await;
    assert_eq!((reply.status.as_u16(), reply.error().await.0), (400, -32600), "no id at all");
}

/// Requests after a DELETE get status 404.
///
/// Acceptance 30, 31.
#[tokio::test(start_paused = true)]
async fn deleted_sessions_are_unknown() {
    let app = App::new();
    let (client, other) = (app.open().await, app.open().await);
    let reply = client.delete().await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text().await, "");
    for request in [
        client.request(Method::POST).message(ping(1)),
        client.request(Method::GET),
        client.request(Method::GET).header("last-event-id", "0-1"),
        client.request(Method::DELETE),
    ] {
        assert_eq!(app.send(request).await.status, 404);
    }
    assert_eq!(other.post(ping(1)).await.status, 200);
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.ended.get(&EndReason::Deleted)), (Some(1), Some(&1)));
}

/// Handlers are cancelled, even those whose client has left. Open calls get an error.
///
/// Acceptance 33, 165.
#[tokio::test(start_paused = true)]
async fn a_delete_cancels_calls_and_ends_streams() {
    let app = App::new();
    let client = app.open().await;
    let mut get = client.listen().await;
    assert!(get.next().await.unwrap().primes());
    let mut streams = Vec::new();
    for (id, label) in [(1, "a"), (2, "b")] {
        let mut stream = client.call(id, "note_and_hold", json!({"label": label})).await.sse();
        assert_eq!(stream.message().await.unwrap().json()["params"]["progress"], 1);
        streams.push(stream);
    }
    // The client of this call has left.
    drop(client.call(3, "note_and_hold", json!({"label": "c"})).await);
    assert_eq!(client.delete().await.status, 200);
    for (at, stream) in streams.iter_mut().enumerate() {
        let rest = stream.rest().await;
        assert_eq!(rest.len(), 1, "{rest:?}");
        let error = json!({"code": -32603, "message": "The session ended before the request was answered"});
        assert_eq!(rest[0].json(), json!({"jsonrpc": "2.0", "id": at + 1, "error": error}));
    }
    assert_eq!(get.rest().await.len(), 0, "a message after the end");
    sleep(Duration::from_millis(1)).await;
    for label in ["a", "b", "c"] {
        assert_eq!(app.probe.state(label), Some("cancelled"), "{label}");
    }
    assert_eq!(app.handle.statistics().await.sessions, Some(0));
}

/// The call gets status 500 and an error with its id.
///
/// Acceptance 34, 165.
#[tokio::test(start_paused = true)]
async fn json_calls_fail_with_their_session() {
    let json_only = Streams::new().response_mode(ResponseMode::Json);
    for app in [App::with(|service| service.streams(json_only)), App::new()] {
        let client = app.open().await;
        let post = started(&client, 7, "hold", "held").await;
        assert_eq!(client.delete().await.status, 200);
        let reply = post.await.unwrap();
        assert_eq!(reply.status, 500);
        assert_eq!(reply.error().await, (-32603, Some(json!(7))));
        assert_eq!(app.probe.state("held"), Some("cancelled"));
    }
}

/// The opening gets status 400, and the session continues.
///
/// Acceptance 35.
#[tokio::test(start_paused = true)]
async fn a_second_initialize_is_rejected() {
    let client = App::new().open().await;
    let reply = client.post(initialize("2025-11-25", json!({}))).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.error().await, (-32600, Some(json!(0))));
    assert_eq!(client.post(ping(1)).await.status, 200);
    assert_eq!(client.app.handle.statistics().await.opened, 1);
}

/// The tool's answer is still sent, and the session is unknown afterwards.
///
/// Acceptance 39.
#[tokio::test(start_paused = true)]
async fn a_tool_can_end_its_own_session() {
    let server = McpServer::new("quitter", "1").tool("quit", "Ends the session.", async |cx: Context| {
        cx.session().unwrap().end().await.unwrap();
        "bye"
    });
    let app = App::of(McpService::builder(server));
    let client = app.open().await;
    assert_eq!(client.text_of("quit", json!({})).await, "bye");
    assert_eq!(client.post(ping(1)).await.status, 404);
    assert_eq!(app.handle.statistics().await.ended.get(&EndReason::Closed), Some(&1));
}

type Log = Arc<Mutex<Vec<(String, SessionId)>>>;

fn logged(log: &Log) -> Sessions {
    let (opened, closed) = (Arc::clone(log), Arc::clone(log));
    Sessions::new()
        .idle_timeout(Duration::from_secs(60))
        .on_open(move |session| {
            let log = Arc::clone(&opened);
            async move {
                sleep(Duration::from_millis(5)).await;
                log.lock().unwrap().push(("open".to_owned(), session.info().id));
                Ok(())
            }
        })
        .on_close(move |ended| {
            let log = Arc::clone(&closed);
            async move {
                sleep(Duration::from_millis(5)).await;
                log.lock().unwrap().push((format!("{:?}", ended.reason), ended.info.id));
            }
        })
}

/// The closing hook gets the reason: deleted, closed or idle.
///
/// Acceptance 43, 152.
#[tokio::test(start_paused = true)]
async fn hooks_run_once_for_each_session() {
    let log = Log::default();
    let app = App::with(|service| service.sessions(logged(&log)));
    let clients = [app.open().await, app.open().await, app.open().await];
    let ids = clients.clone().map(|client| SessionId::parse(&client.session).unwrap());
    let stranger = Client { session: SessionId::random().to_string(), ..clients[0].clone() };
    assert_eq!(stranger.delete().await.status, 404);
    assert_eq!(clients[1].delete().await.status, 200);
    assert_eq!(clients[1].delete().await.status, 404);
    assert!(app.handle.end_session(ids[0]).await.unwrap() && !app.handle.end_session(ids[0]).await.unwrap());
    sleep(Duration::from_secs(120)).await;
    let expected = [("open", 0), ("open", 1), ("open", 2), ("Deleted", 1), ("Closed", 0), ("Idle", 2)];
    assert_eq!(*log.lock().unwrap(), expected.map(|(what, n)| (what.to_owned(), ids[n])));
}

/// Sessions still expire and can still be deleted.
///
/// Acceptance 43, 83.
#[tokio::test(start_paused = true)]
async fn panicking_closing_hooks_stop_nothing() {
    let sessions = Sessions::new().idle_timeout(Duration::from_secs(60)).on_close(|ended| {
        assert!(ended.reason == EndReason::Evicted, "secret");
        async {}
    });
    let app = App::with(|service| service.sessions(sessions));
    for _ in 0..2 {
        let client = app.open().await;
        sleep(Duration::from_secs(120)).await;
        assert_eq!(app.handle.statistics().await.sessions, Some(0), "it was not reaped");
        assert_eq!(client.delete().await.status, 404);
    }
    assert_eq!(app.open().await.delete().await.status, 200);
}

/// Twenty requests end one session at once. One DELETE succeeds, and the closing hook runs once.
///
/// Acceptance 44.
#[tokio::test(start_paused = true)]
async fn concurrent_ends_end_a_session_once() {
    let log = Log::default();
    let app = App::with(|service| service.sessions(logged(&log)));
    let client = app.open().await;
    let mut get = client.listen().await;
    let session = app.handle.session(SessionId::parse(&client.session).unwrap()).await.unwrap().unwrap();
    let mut call = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    assert_eq!(call.message().await.unwrap().json()["params"]["progress"], 1);
    assert!(get.next().await.unwrap().primes());
    let deletes = futures_util::future::join_all((0..10).map(|_| client.delete()));
    let ends = futures_util::future::join_all((0..10).map(|_| session.end()));
    let (deletes, ends) = tokio::join!(deletes, ends);
    assert!(!ends.into_iter().any(|end| end.unwrap()), "a DELETE came first");
    assert_eq!(deletes.iter().filter(|reply| reply.status == 200).count(), 1);
    assert_eq!(deletes.iter().filter(|reply| reply.status == 404).count(), 9);
    assert!(!session.end().await.unwrap());
    assert_eq!(get.next().await.map(|event| event.data), None);
    assert_eq!(call.next().await.unwrap().json()["error"]["code"], -32603);
    assert_eq!(call.next().await, None);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(log.lock().unwrap().len(), 2, "opened once, ended once");
    assert_eq!(app.handle.statistics().await.ended.values().sum::<u64>(), 1);
}

/// Progress, answers and notifications do not reach other sessions.
///
/// Acceptance 46, 93.
#[tokio::test(start_paused = true)]
async fn a_hundred_clients_get_only_their_messages() {
    let app = App::new();
    let each = (0..100).map(|n| {
        let app = app.clone();
        async move {
            let client = app.open().await;
            let mut get = client.listen().await;
            let session = app.handle.session(SessionId::parse(&client.session).unwrap()).await.unwrap().unwrap();
            let mut message = call(n, "progress", json!({"steps": 2, "delay_ms": 10}));
            message["params"]["_meta"]["progressToken"] = json!(format!("token {n}"));
            let stream = client.post(message).await.sse().rest().await;
            assert_eq!(stream.len(), 3);
            assert!(stream[..2].iter().all(|event| event.json()["params"]["progressToken"] == format!("token {n}")));
            assert_eq!(stream[2].json()["id"], n);
            session.notify("notifications/mine", &mcp_http::message::RawJson::from_value(&json!({"n": n})).unwrap());
            assert_eq!(get.message().await.unwrap().json()["params"]["n"], n);
            (get, session)
        }
    });
    for (mut get, _) in futures_util::future::join_all(each).await {
        assert!(get.is_silent().await);
    }
}
