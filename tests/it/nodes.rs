//! Two nodes: two services on one engine, of which each serves every request.

use std::time::Duration;

use axum::http::Method;
use mcp_http::store::MemoryEngine;
use mcp_http::{Limits, Principal, Sessions};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, Client};

fn node(engine: &MemoryEngine) -> App {
    let sessions = Sessions::new().idle_timeout(Duration::from_secs(60));
    App::with(|service| service.engine(engine.clone()).sessions(sessions))
}

fn two() -> (App, App) {
    let engine = MemoryEngine::new();
    (node(&engine), node(&engine))
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// Acceptance 151, 159.
#[tokio::test(start_paused = true)]
async fn any_first_message_loads_the_session() {
    for n in 0..6 {
        let (a, b) = two();
        let client = a.open().await.at(&b);
        let reply = match n {
            0 => client.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await,
            1 => client.post(json!({"jsonrpc": "2.0", "id": "s9-9", "result": {}})).await,
            2 => client.cancel(99).await,
            3 => client.call(1, "count", json!({})).await,
            4 => b.send(client.request(Method::GET)).await,
            _ => client.delete().await,
        };
        assert!(reply.status.is_success(), "{n}: {:?}", reply.rejection);
        assert_eq!(b.handle.statistics().await.sessions, Some(usize::from(n < 5)));
    }
}

/// Acceptance 56, 159.
#[tokio::test(start_paused = true)]
async fn other_nodes_know_the_owner() {
    let (a, b) = two();
    let client = a.open_principal("ann").await.at(&b);
    for principal in [None, Some(Principal::new("bob"))] {
        let other = Client { principal, ..client.clone() };
        assert_eq!(other.call(1, "count", json!({})).await.status, 404);
        assert_eq!(b.send(other.request(Method::GET)).await.status, 404);
        assert_eq!(other.delete().await.status, 404);
    }
    assert_eq!(client.text_of("count", json!({})).await, "1");
}

/// A response posted to one node reaches the waiting handler at the other.
///
/// Acceptance 94, 159.
#[tokio::test(start_paused = true)]
async fn answers_at_another_node_reach_the_handler() {
    let (a, b) = two();
    let client = a.open().await;
    let mut stream = client.call(1, "ask", json!({})).await.sse();
    let request = stream.message().await.unwrap().json();
    assert_eq!(request["method"], "elicitation/create");
    let answer =
        json!({"jsonrpc": "2.0", "id": request["id"], "result": {"action": "accept", "content": {"name": "Bo"}}});
    assert_eq!(client.at(&b).post(answer).await.status, 202);
    assert_eq!(text(&stream.message().await.unwrap().json()), "accept Bo");
}

/// Acceptance 33, 105, 159, 164.
#[tokio::test(start_paused = true)]
async fn other_nodes_can_cancel_and_delete() {
    let (a, b) = two();
    let client = a.open().await;
    let mut get = client.listen().await;
    let mut first = client.call(1, "note_and_hold", json!({"label": "1"})).await.sse();
    let mut second = client.call(2, "note_and_hold", json!({"label": "2"})).await.sse();
    for stream in [&mut first, &mut second] {
        assert_eq!(stream.message().await.unwrap().json()["params"]["progress"], 1);
    }
    assert_eq!(client.at(&b).cancel(1).await.status, 202);
    assert_eq!(first.rest().await.len(), 0, "an answer");
    assert_eq!((a.probe.state("1"), a.probe.state("2")), (Some("cancelled"), Some("running")));
    assert_eq!(client.at(&b).delete().await.status, 200);
    let rest = second.rest().await;
    assert!(rest.len() == 1 && rest[0].json()["error"]["code"] == -32603, "{rest:?}");
    assert_eq!(get.rest().await.len(), 0);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(a.probe.state("2"), Some("cancelled"));
    assert_eq!(client.call(3, "count", json!({})).await.status, 404);
}

/// Acceptance 27, 159.
#[tokio::test(start_paused = true)]
async fn session_data_moves_between_nodes() {
    let (a, b) = two();
    let client = a.open().await;
    assert_eq!(client.text_of("count", json!({})).await, "1");
    let set = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "error"}});
    assert_eq!(client.post(set).await.status, 200);
    let wish = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "test://fixed"}});
    assert_eq!(client.post(wish).await.status, 200);
    drop(a);
    let client = client.at(&b);
    assert_eq!(client.text_of("count", json!({})).await, "2");
    assert_eq!(client.call(1, "log", json!({})).await.sse().rest().await.len(), 2, "the error and the answer");
    let mut get = client.listen().await;
    b.handle.resource_updated("test://other");
    b.handle.resource_updated("test://fixed");
    assert_eq!(get.message().await.unwrap().json()["params"]["uri"], "test://fixed");
    assert!(get.is_silent().await);
}

/// Acceptance 111, 113, 159.
#[tokio::test(start_paused = true)]
async fn a_stream_is_resumed_at_another_node() {
    let (a, b) = two();
    let client = a.open().await;
    let mut stream = client.call(1, "progress", json!({"steps": 4, "delay_ms": 100})).await.sse();
    let first = stream.message().await.unwrap();
    drop(stream);
    let mut rest = client.at(&b).resume(first.id()).await.sse();
    let seen: Vec<_> = rest.rest().await.iter().map(|event| event.json()["params"]["progress"].clone()).collect();
    assert_eq!(seen, [json!(2), json!(3), json!(4), json!(null)]);
}

/// The end of a replaced stream does not detach its successor, at the same node or at the other.
///
/// Acceptance 101, 154, 159.
#[tokio::test(start_paused = true)]
async fn replaced_streams_do_not_detach_their_successor() {
    let (a, b) = two();
    for successor in [&a, &b] {
        let client = a.open().await;
        let mut old = client.listen().await;
        assert!(old.next().await.unwrap().primes());
        let mut new = client.at(successor).listen().await;
        assert!(new.next().await.unwrap().primes());
        let farewell = old.next().await.unwrap();
        assert!(farewell.retry.is_some() && farewell.data.is_none(), "{farewell:?}");
        assert!(old.next().await.is_none());
        drop(old);
        sleep(Duration::from_secs(120)).await;
        a.handle.tools_changed();
        assert_eq!(new.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
        assert!(new.is_silent().await, "told once");
    }
}

/// Idle sessions expire even if the node that opened them is gone.
///
/// Acceptance 49, 159.
#[tokio::test(start_paused = true)]
async fn sessions_of_departed_nodes_expire() {
    let (a, b) = two();
    let client = a.open().await.at(&b);
    drop(a);
    assert_eq!(client.text_of("count", json!({})).await, "1");
    sleep(Duration::from_secs(65)).await;
    assert_eq!(b.handle.statistics().await.sessions, Some(0));
    assert_eq!(client.call(1, "count", json!({})).await.status, 404);
}

/// Open standalone streams do not count towards the limits of concurrent calls.
///
/// Acceptance 160.
#[tokio::test(start_paused = true)]
async fn open_streams_take_no_permit_from_calls() {
    let app = App::with(|service| service.limits(Limits::new().max_calls_per_session(1).max_calls_per_principal(1)));
    let mut streams = Vec::new();
    for _ in 0..300 {
        let client = app.open_principal("ann").await;
        streams.push(client.listen().await);
        assert_eq!(client.text_of("echo", json!({"message": "hi"})).await, "hi");
    }
    assert_eq!(app.handle.statistics().await.sessions, Some(300));
}
