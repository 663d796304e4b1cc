//! Ownership of sessions: principals, their limits, and what an application can list and end.

use axum::http::Method;
use mcp_http::{Limits, Principal, SessionId, Sessions};
use serde_json::json;

use crate::support::{App, Client, RequestExt, initialize, ping, request};

/// Returns status and body of the rejection of each kind of request.
async fn rejections(client: &Client) -> Vec<(u16, String)> {
    let mut rejections = Vec::new();
    for request in [
        client.request(Method::POST).message(ping(1)),
        client.request(Method::POST).message(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})),
        client.request(Method::POST).message(json!({"jsonrpc": "2.0", "id": "s1-0", "result": {}})),
        client.request(Method::POST).message(initialize("2025-11-25", json!({}))),
        client.request(Method::GET),
        client.request(Method::GET).header("last-event-id", "0-1"),
        client.request(Method::DELETE),
    ] {
        let reply = client.app.send(request).await;
        rejections.push((reply.status.as_u16(), reply.text().await));
    }
    rejections
}

/// Other principals get exactly the responses for an unknown session, so they cannot find out that
/// it exists.
///
/// Acceptance 56, 57, 58, 59.
#[tokio::test(start_paused = true)]
async fn sessions_exist_only_for_their_principal() {
    let app = App::new();
    let bob = Principal::issued("https://a", "cli", "bob");
    let owners = [Some(bob.clone()), None];
    for owner in owners {
        let client = app.open_as("2025-11-25", json!({}), owner.clone()).await;
        let unknown = Client { session: SessionId::random().to_string(), ..client.clone() };
        let expected = rejections(&unknown).await;
        assert!(expected.iter().all(|(status, body)| *status == 404 && body.contains("-32001")), "{expected:?}");
        for other in [
            Some(Principal::issued("https://a", "web", "bob")),
            Some(Principal::issued("https://a", "cli", "eve")),
            Some(Principal::issued("https://b", "cli", "bob")),
            None,
            Some(bob.clone()),
        ] {
            if other != owner {
                let intruder = Client { principal: other, ..client.clone() };
                assert_eq!(rejections(&intruder).await, expected, "an oracle");
            }
        }
        assert_eq!(client.post(ping(1)).await.status, 200, "the session is alive");
        assert_eq!(client.delete().await.status, 200);
    }
}

/// Headers that a client sends do not change the principal that an authentication layer has set.
///
/// Acceptance 60.
#[tokio::test(start_paused = true)]
async fn the_principal_never_comes_from_a_header() {
    let app = App::new();
    let client = app.open_principal("alice").await;
    assert_eq!(client.text_of("whoami", json!({})).await, "alice test 2025-11-25");
    let forged =
        client.request(Method::POST).header("authorization", "Bearer mallory").header("x-principal", "mallory");
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}});
    let answer = app.send(forged.message(message)).await.json().await;
    assert_eq!(answer["result"]["content"][0]["text"], "alice test 2025-11-25");
    let nobody = app.open().await;
    assert_eq!(nobody.text_of("whoami", json!({})).await, "nobody test 2025-11-25");
}

/// With `Sessions::principal`, only the application's function counts, and not the request's
/// extension.
///
/// Acceptance 60.
#[tokio::test(start_paused = true)]
async fn an_application_may_read_the_principal_itself() {
    let sessions = Sessions::new()
        .principal(|parts| parts.headers.get("x-verified").map(|user| Principal::new(user.to_str().unwrap())));
    let app = App::with(|service| service.sessions(sessions));
    let opening = request(Method::POST).message(initialize("2025-11-25", json!({}))).header("x-verified", "ann");
    let session = app.send(opening).await.header("mcp-session-id").unwrap().to_owned();
    let status = async |user: &str, extension: &str| {
        let request = request(Method::POST).message(ping(1)).header("mcp-session-id", &session);
        app.send(request.header("x-verified", user).principal(extension)).await.status.as_u16()
    };
    assert_eq!(status("ann", "somebody").await, 200, "the function alone decides");
    assert_eq!(status("bob", "ann").await, 404);
}

/// At the limit an opening gets status 503, and its message names the limit. Idle sessions without
/// streams are evicted.
///
/// Acceptance 48, 176.
#[tokio::test(start_paused = true)]
async fn sessions_of_a_principal_are_limited() {
    let app = App::with(|service| service.sessions(Sessions::new().max_sessions_per_principal(2)));
    let clients = [app.open_principal("ann").await, app.open_principal("ann").await];
    let streams = [clients[0].listen().await, clients[1].listen().await];
    let opening = || request(Method::POST).message(initialize("2025-11-25", json!({}))).principal("ann");
    let reply = app.send(opening()).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("2")));
    let message = reply.json().await["error"]["message"].clone();
    assert_eq!(
        message,
        "Too many sessions of this principal: the limit is 2 (setting `Sessions::max_sessions_per_principal`)"
    );
    // Neither another principal nor a client without one is locked out.
    let others = [app.open_principal("bob").await, app.open().await];
    drop(streams);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(clients[0].post(ping(1)).await.status, 200);
    assert_eq!(app.send(opening()).await.status, 200);
    assert_eq!(clients[1].post(ping(1)).await.status, 404, "it had rested longest");
    for client in [&clients[0], &others[0], &others[1]] {
        assert_eq!(client.post(ping(1)).await.status, 200);
    }
}

/// At a limit a call gets status 429 with a `Retry-After`, and its message names the limit.
///
/// Acceptance 176.
#[tokio::test(start_paused = true)]
async fn calls_are_limited_per_session_and_principal() {
    let limits = Limits::new().max_calls_per_session(2).max_calls_per_principal(3);
    let app = App::with(|service| service.limits(limits));
    let (one, two, other) =
        (app.open_principal("ann").await, app.open_principal("ann").await, app.open_principal("bob").await);
    let mut held = Vec::new();
    for (client, id) in [(&one, 1), (&one, 2), (&two, 3)] {
        held.push(client.call(id, "note_and_hold", json!({"label": id.to_string()})).await);
    }
    for (client, message) in [
        (&one, "Too many calls in flight in this session: the limit is 2 (setting `Limits::max_calls_per_session`)"),
        (
            &two,
            "Too many calls in flight of this principal: the limit is 3 (setting `Limits::max_calls_per_principal`)",
        ),
    ] {
        let reply = client.post(ping(1)).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("2")));
        let expected = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": message}});
        assert_eq!(reply.json().await, expected);
    }
    assert_eq!(other.post(ping(1)).await.status, 200);
    // A call releases its permit by its answer, by its cancellation and by the end of its session.
    app.probe.release("1");
    assert_eq!(held.remove(0).message().await["id"], 1);
    assert_eq!(one.post(ping(1)).await.status, 200);
    assert_eq!(one.cancel(2).await.status, 202);
    assert_eq!(two.delete().await.status, 200);
    for id in 4..6 {
        held.push(one.call(id, "note_and_hold", json!({"label": id.to_string()})).await);
    }
    let three = app.open_principal("ann").await;
    assert_eq!(three.post(ping(1)).await.status, 200, "two of three are in flight");
}

/// At the limit a stream gets status 429, and a call that needs one is cancelled.
///
/// Acceptance 176.
#[tokio::test(start_paused = true)]
async fn open_streams_are_bounded_in_a_session() {
    let app = App::with(|service| service.limits(Limits::new().max_streams_per_session(1)));
    let client = app.open().await;
    let stream = client.call(5, "note_and_hold", json!({"label": "a"})).await;
    let reply = app.send(client.request(Method::GET)).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("2")));
    assert_eq!(
        reply.json().await["error"]["message"],
        "Too many open streams in this session: the limit is 1 (setting `Limits::max_streams_per_session`)"
    );
    drop(stream);
    let get = client.listen().await;
    // A call that needs a stream gets the same rejection, under its id. One that needs no stream is
    // served.
    assert_eq!(client.text_of("echo", json!({"message": "hi"})).await, "hi");
    let reply = client.call(6, "note_and_hold", json!({"label": "b"})).await;
    assert_eq!(reply.status, 429, "{:?}", reply.rejection);
    let body = reply.json().await;
    assert_eq!((&body["id"], &body["error"]["code"]), (&json!(6), &json!(-32603)));
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(app.probe.state("b"), Some("cancelled"), "it continues although it was rejected");
    drop(get);
    let again = client.call(6, "progress", json!({"steps": 1})).await;
    assert_eq!(again.message().await["result"]["content"][0]["text"], "done");
}

/// The handle lists sessions with their calls, readers and bytes, reads their state, and ends them
/// by id or by principal.
///
/// Acceptance 177.
#[tokio::test(start_paused = true)]
async fn an_application_lists_inspects_and_ends_sessions() {
    let app = App::new();
    let ann = [app.open_principal("ann").await, app.open_principal("ann").await];
    let (bob, nobody) = (app.open_principal("bob").await, app.open().await);
    let id = SessionId::parse(&ann[0].session).unwrap();
    let get = ann[0].listen().await;
    let call = ann[0].call(1, "note_and_hold", json!({"label": "a"})).await;
    let list = app.handle.sessions().await.unwrap();
    assert_eq!(list.len(), 4);
    let summary = list.iter().find(|summary| summary.info.id == id).unwrap();
    assert_eq!((summary.calls, summary.readers), (1, 2));
    assert!(summary.bytes > 0, "one progress is kept");
    assert_eq!((summary.info.principal.as_ref().unwrap().as_str(), &*summary.info.client.name), ("ann", "test"));
    let session = app.handle.session(id).await.unwrap().unwrap();
    assert_eq!(session.get::<u32>("count").await.unwrap(), None);
    assert_eq!(ann[0].text_of("count", json!({})).await, "1");
    assert_eq!(session.get::<u32>("count").await.unwrap(), Some(1));
    assert!(app.handle.session(SessionId::random()).await.unwrap().is_none());
    assert!(!app.handle.end_session(SessionId::random()).await.unwrap());

    assert_eq!(app.handle.end_sessions_of(&Principal::new("ann")).await.unwrap(), 2);
    assert_eq!(app.handle.end_sessions_of(&Principal::new("ann")).await.unwrap(), 0);
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(app.probe.state("a"), Some("cancelled"));
    for client in &ann {
        assert_eq!(client.post(ping(1)).await.status, 404);
    }
    assert!(app.handle.end_session(SessionId::parse(&bob.session).unwrap()).await.unwrap());
    assert_eq!(bob.post(ping(1)).await.status, 404);
    assert_eq!(nobody.post(ping(1)).await.status, 200);
    assert!(app.handle.session(id).await.unwrap().is_none());
    drop((get, call));
}
