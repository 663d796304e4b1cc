//! Outages of a real Redis server, or of the connection to it: what two services lose, and what their
//! clients receive afterwards.

use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::redis::{LEASE, LONG, engine, hasty, node, nodes, options};
use crate::redis_server::{RedisServer, Wire};
use crate::subscriptions::{acknowledged, method};
use crate::support::{App, Client, Event, Sse, eventually, modern_call, text_of, whole};
use crate::{moving_clients, toggles};

/// Sends a signal to the server's process, which stops or continues it.
fn signal(server: &RedisServer, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &server.process_id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// A client that resumes at the next node until it has its answer.
struct Persistent<'a> {
    at: Vec<Client>,
    nodes: std::iter::Cycle<std::vec::IntoIter<usize>>,
    server: &'a mut RedisServer,
}

impl Persistent<'_> {
    /// Reads all messages of a call, whatever happens to its streams. Runs `meanwhile` once, after
    /// the first few messages.
    async fn follow(&mut self, mut stream: Sse, meanwhile: impl FnOnce(&mut RedisServer)) -> Vec<Event> {
        let (mut seen, mut last, mut meanwhile) = (Vec::new(), String::new(), Some(meanwhile));
        let start = Instant::now();
        loop {
            while let Some(event) = stream.next().await {
                if let Some(id) = &event.id {
                    id.clone_into(&mut last);
                }
                if event.data.as_deref().is_some_and(|data| !data.is_empty()) {
                    seen.push(event);
                }
                if let Some(meanwhile) = meanwhile.take_if(|_| seen.len() == 5) {
                    meanwhile(self.server);
                }
            }
            if seen.last().is_some_and(|event| event.json().get("id").is_some()) {
                return seen;
            }
            stream = loop {
                assert!(start.elapsed() < LONG, "no answer, after {} messages", seen.len());
                let client = &self.at[self.nodes.next().unwrap()];
                let reply = client.resume(&last).await;
                if reply.status == 200 {
                    break reply.sse();
                }
                assert_eq!(reply.status, 503, "{:?}", reply.rejection);
                assert!(reply.headers.contains_key("retry-after"));
                sleep(Duration::from_millis(50)).await;
            };
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_loses_no_message() {
    let (mut server, a, b) = nodes(hasty()).await;
    let here = a.open().await;
    let at = vec![here.clone(), here.at(&b)];
    let stream = here.call(1, "progress", json!({"steps": 60, "delay_ms": 20})).await.sse();
    let mut client = Persistent { at, nodes: vec![1, 0].into_iter().cycle(), server: &mut server };
    let seen = client
        .follow(stream, |server| {
            server.kill();
            std::thread::sleep(Duration::from_millis(1_500));
            server.start_again();
        })
        .await;
    whole(&seen, 60);
}

/// A full server accepts the writes that free memory, at any node.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_accepts_cancellations_and_deletes() {
    let (server, a, b) = nodes(options()).await;
    let here = a.open_principal("ann").await;
    let calls = [1, 2].map(|id| here.call(id, "note_and_hold", json!({"label": id.to_string()})));
    let mut streams = Vec::new();
    for call in calls {
        let mut stream = call.await.sse();
        assert!(stream.message().await.is_some());
        streams.push(stream);
    }
    let idle = a.open_principal("ann").await;
    server.command(&["config", "set", "maxmemory", "1"]);
    let there = here.at(&b);
    assert_eq!(there.cancel(1).await.status, 202);
    eventually("the handler is stopped", async || a.probe.state("1") == Some("cancelled")).await;
    for client in [there, idle.at(&b)] {
        assert_eq!(client.delete().await.status, 200);
        assert_eq!(client.delete().await.status, 404);
    }
    eventually("the other handler is stopped", async || a.probe.state("2") == Some("cancelled")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_only_modern_calls_continue() {
    let (mut server, a, b) = nodes(hasty()).await;
    let here = a.open().await;
    let mut listening = acknowledged(&b, r#"{"toolsListChanged":true}"#).await;
    // The node knows the engine's numbers from now on. Before, an outage means that anything may have changed.
    a.handle.tools_changed();
    assert_eq!(timeout(LONG, method(&mut listening)).await.unwrap(), "tools");
    server.kill();
    for client in [here.clone(), here.at(&b)] {
        let start = Instant::now();
        let reply = client.call(1, "echo", json!({"message": "x"})).await;
        assert_eq!(reply.status, 503);
        assert!(reply.headers.contains_key("retry-after"));
        // Long before the node would give up a message.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        assert_eq!(client.delete().await.status, 503);
        assert_eq!(client.app.send(client.request(Method::GET)).await.status, 503);
    }
    assert_eq!(text_of(b.send(modern_call("echo", json!({"message": "still here"}))).await).await, "still here");
    server.start_again();
    for client in [here.clone(), here.at(&b)] {
        eventually("the session is there again", async || {
            client.call(2, "echo", json!({"message": "x"})).await.status == 200
        })
        .await;
        assert_eq!(client.text_of("echo", json!({"message": "y"})).await, "y");
    }
    // Nothing was announced in the meantime, so streams get only the new changes.
    for _ in 0..2 {
        a.handle.tools_changed();
        assert_eq!(timeout(LONG, method(&mut listening)).await.unwrap(), "tools");
        assert!(listening.is_silent().await, "told twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_missed_by_a_node_arrive_later() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    let (a, b) = (node(server.url(), hasty()).await, node(wire.url(), hasty()).await);
    let client = a.open().await.at(&b);
    let mut get = client.listen_primed().await;
    sleep(LEASE / 2).await;
    wire.cut();
    wire.block(true);
    a.handle.tools_changed();
    sleep(Duration::from_millis(300)).await;
    wire.block(false);
    let told = timeout(LONG, get.message()).await.expect("the change is delivered");
    assert_eq!(told.unwrap().json()["method"], moving_clients::TOOLS);
}

/// The announcing node's command waits in the server's queue in the meantime, and times out.
#[tokio::test(flavor = "multi_thread")]
async fn announcements_during_a_pause_are_delivered_once() {
    let (server, a, b) = nodes(hasty()).await;
    let (mut here, mut there) = (a.open().await.listen_primed().await, b.open().await.listen_primed().await);
    let mut listens = [
        acknowledged(&a, r#"{"toolsListChanged":true}"#).await,
        acknowledged(&b, r#"{"toolsListChanged":true}"#).await,
    ];
    signal(&server, "-STOP");
    a.handle.tools_changed();
    // Longer than the timeout of a command.
    sleep(Duration::from_millis(2_500)).await;
    signal(&server, "-CONT");
    for get in [&mut here, &mut there] {
        let told = timeout(LONG, get.message()).await.expect("the change is delivered").unwrap();
        assert_eq!(told.json()["method"], moving_clients::TOOLS);
    }
    for listen in &mut listens {
        assert_eq!(timeout(LONG, method(listen)).await.unwrap(), "tools");
    }
    // As long as any command is retried.
    sleep(LEASE).await;
    for stream in [&mut here, &mut there].into_iter().chain(&mut listens) {
        assert!(stream.is_silent().await, "told twice");
    }
}

/// The client's stream gets each announcement once, whichever node makes it.
#[tokio::test(flavor = "multi_thread")]
async fn moved_clients_get_changes_after_reconnection() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    let (b, engine) = (node(server.url(), options()).await, engine(wire.url()).await);
    let a = App::with(|service| service.engine(engine));
    let here = a.open().await;
    drop(here.at(&b).listen_primed().await);
    let mut get = here.listen_primed().await;
    wire.cut();
    sleep(LEASE).await;
    for node in [&a, &b] {
        node.handle.tools_changed();
        let told = timeout(LONG, get.message()).await.expect("the change is delivered");
        assert_eq!(told.unwrap().json()["method"], moving_clients::TOOLS);
        assert!(get.is_silent().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_dead_node_fail_elsewhere() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    let (a, b) = (node(server.url(), hasty()).await, node(wire.url(), hasty()).await);
    let there = b.open().await;
    let here = there.at(&a);
    let mut stream = there.call(1, "note_and_hold", json!({"label": "x"})).await.sse();
    let id = stream.message().await.unwrap().id().to_owned();
    drop(stream);
    wire.block(true);
    let events = timeout(LONG, async { here.resume(&id).await.sse().rest().await }).await.expect("it ends");
    assert_eq!(events.len(), 1);
    let error = &events[0].json()["error"];
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32603), &json!("node_lost")));
    assert_eq!(here.text_of("echo", json!({"message": "the session lives"})).await, "the session lives");
    assert_eq!(b.probe.state("x"), Some("running"));
    // When the node is connected again, it re-checks its calls and stops those that have no reader
    // left.
    wire.block(false);
    eventually("the handler is stopped", async || b.probe.state("x") == Some("cancelled")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_cancellations_still_end_the_call() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    // With this lease, the node would notice its missing signals only after half an hour.
    let lease = Duration::from_secs(1_800);
    let (a, b) = (node(wire.url(), hasty().lease(lease)).await, node(server.url(), options().lease(lease)).await);
    let here = a.open().await;
    let mut stream = here.call(1, "progress", json!({"steps": 20_000, "delay_ms": 10})).await.sse();
    assert!(stream.message().await.is_some());
    wire.freeze();
    assert_eq!(here.at(&b).cancel(1).await.status, 202);
    let rest = timeout(LONG, stream.rest()).await.expect("the call ends");
    assert!(rest.iter().all(|event| event.json().get("result").is_none()), "it was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_connections_are_replaced() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    let app = node(wire.url(), hasty()).await;
    let client = app.open().await;
    let mut get = client.listen_primed().await;
    sleep(LEASE / 2).await;
    wire.freeze();
    eventually("it is served again", async || client.call(1, "echo", json!({"message": "x"})).await.status == 200)
        .await;
    // Signals come over another connection. The node detects its failure one lease later.
    app.handle.tools_changed();
    let told = timeout(LONG, get.message()).await.expect("signals arrive again");
    assert_eq!(told.unwrap().json()["method"], moving_clients::TOOLS);
}

/// The server fails over to a copy that lacks the last writes. What a node knew from these writes
/// does not count at either node. The next subscription does.
#[tokio::test]
async fn subscriptions_after_a_failover_count() {
    let uris = |numbers: std::ops::Range<u32>| numbers.map(|number| format!("test://item/{number}"));
    let (mut server, a, b) = nodes(hasty()).await;
    let here = a.open().await;
    for uri in uris(0..20) {
        toggles::subscribe(&here, &uri).await;
    }
    let copy = server.copy();
    for uri in uris(20..23) {
        toggles::subscribe(&here, &uri).await;
    }
    server.kill();
    server.start_again_from(&copy);
    eventually("the nodes are back", async || {
        let served =
            |client: Client| async move { client.call(7, "echo", json!({"message": "x"})).await.status == 200 };
        served(here.clone()).await && served(here.at(&b)).await
    })
    .await;
    let mut get = here.at(&b).listen_primed().await;
    toggles::subscribe(&here, "test://item/900").await;
    let mut expected: Vec<String> = uris(0..20).chain(uris(900..901)).collect();
    expected.sort_unstable();
    for app in [&a, &b] {
        let updated = toggles::updated(app, &mut get, uris(0..23).chain(uris(900..901)), expected.len()).await;
        assert_eq!(updated, expected);
    }
}
