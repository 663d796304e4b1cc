//! Announcements across nodes: an announcement belongs to the session, not to the node that holds
//! its stream. The client receives it once, whichever node held, holds or will hold the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_http::error::StoreErrorKind;
use mcp_http::store::MemoryEngine;
use mcp_http::store::engine::Signal;
use serde_json::json;
use tokio::time::sleep;

use crate::moving_clients;
use crate::subscriptions::{acknowledged, method};
use crate::support::{App, Client, FarEngine, Fault, Pace, Sse};

const SOON: Duration = Duration::from_secs(1);

fn at(engine: &FarEngine) -> App {
    App::with(|service| service.engine(engine.clone()))
}

fn far() -> FarEngine {
    FarEngine::new(|_, _| Pace { there: Duration::from_millis(2), back: Duration::from_millis(3) })
}

/// Returns an engine in which these operations fail while the switch is on.
fn failing(steps: &'static [&'static str], fault: Fault) -> (FarEngine, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&switch);
    let engine = FarEngine::new(|_, _| Pace::YIELD);
    (engine.failing(move |step| (is_on.load(Ordering::Relaxed) && steps.contains(&step)).then_some(fault)), switch)
}

async fn subscribe(client: &Client, uri: &str) {
    let wish = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": uri}});
    assert_eq!(client.post(wish).await.message().await["result"], json!({}));
}

async fn next_change(stream: &mut Sse) -> String {
    let message = stream.message().await.unwrap().json();
    let method = message["method"].as_str().unwrap().trim_start_matches("notifications/").to_owned();
    message["params"]["uri"].as_str().map_or(method.clone(), |uri| format!("{method} {uri}"))
}

/// Asserts that a stream yields these messages in any order, and nothing else.
async fn assert_changes(stream: &mut Sse, expected: &[&str]) {
    let mut said = Vec::new();
    for _ in expected {
        said.push(next_change(stream).await);
    }
    said.sort_unstable();
    assert_eq!(said, expected);
    assert!(stream.is_silent().await, "more was delivered");
}

/// How the node that holds a stream leaves.
#[derive(Debug, Clone, Copy)]
enum Goes {
    Drained,
    Gone,
    LosesSignals,
}

async fn goes(holder: App, how: Goes, engine: &FarEngine) -> Option<App> {
    match how {
        Goes::Drained => {
            holder.handle.drain(Duration::from_secs(1)).await;
        }
        Goes::Gone => {}
        Goes::LosesSignals => {
            engine.lose_signals(true);
            return Some(holder);
        }
    }
    None
}

/// The node with the stream is drained, dropped, or receives no signals. The client receives the
/// changes once at a third node, with or without `Last-Event-ID`.
#[tokio::test(start_paused = true)]
async fn changes_without_a_stream_arrive_at_any_node() {
    for how in [Goes::Drained, Goes::Gone, Goes::LosesSignals] {
        for resumed in [true, false] {
            let engine = far();
            let (a, b, c) = (at(&engine), at(&engine), at(&engine));
            let here = a.open().await;
            subscribe(&here, "test://fixed").await;
            let mut get = here.at(&b).listen().await;
            let prime = get.next().await.unwrap();
            drop(get);
            let deaf = goes(b, how, &engine).await;
            sleep(SOON).await;
            a.handle.tools_changed();
            for uri in ["test://fixed", "test://other", "test://fixed"] {
                a.handle.resource_updated(uri);
            }
            sleep(SOON).await;
            engine.lose_signals(false);
            let there = here.at(&c);
            let mut get = if resumed { there.resume(prime.id()).await.sse() } else { there.listen_primed().await };
            if resumed {
                assert!(get.next().await.unwrap().primes());
            }
            assert_changes(&mut get, &["resources/updated test://fixed", "tools/list_changed"]).await;
            engine.signal(&Signal::Resync);
            sleep(SOON).await;
            assert!(get.is_silent().await, "{how:?} {resumed}: delivered twice");
            a.handle.tools_changed();
            assert_eq!(next_change(&mut get).await, "tools/list_changed", "{how:?} {resumed}: and so on");
            drop(deaf);
        }
    }
}

/// The client has no stream at the moment of the change, and its next stream delivers it.
#[tokio::test(start_paused = true)]
async fn changes_between_two_streams_are_delivered_once() {
    let engine = MemoryEngine::new();
    let node = || App::with(|service| service.engine(engine.clone()));
    moving_clients::changes_between_two_streams_are_delivered_once(&node(), &node()).await;
    let engine = far();
    moving_clients::changes_between_two_streams_are_delivered_once(&at(&engine), &at(&engine)).await;
}

/// The node that holds the stream may receive the signals of the subscription and of the change
/// while it still reads the former.
#[tokio::test(start_paused = true)]
async fn changes_right_after_a_remote_subscription_arrive() {
    for (signals, reads) in [(0, 0), (0, 200), (50, 0), (50, 200)] {
        let pace = move |step: &str, _| {
            let back = if step.starts_with("load_state") { reads } else { 0 };
            Pace { there: Duration::ZERO, back: Duration::from_millis(back) }
        };
        let engine = FarEngine::new(pace).late_signals(Duration::from_millis(signals));
        let (a, b) = (at(&engine), at(&engine));
        let here = a.open().await;
        let mut get = here.at(&b).listen_primed().await;
        for from in [&a, &b] {
            a.handle.resource_updated("test://fixed");
            assert!(get.is_silent().await, "it had not subscribed");
            subscribe(&here, "test://fixed").await;
            from.handle.resource_updated("test://fixed");
            assert_eq!(next_change(&mut get).await, "resources/updated test://fixed");
            assert!(get.is_silent().await, "delivered twice");
            let wish = json!({"jsonrpc": "2.0", "id": 2, "method": "resources/unsubscribe",
                "params": {"uri": "test://fixed"}});
            assert_eq!(here.post(wish).await.message().await["result"], json!({}));
            sleep(SOON).await;
        }
    }
}

/// The level counts even if its signal is late or lost, because the call reads it from the engine.
#[tokio::test(start_paused = true)]
async fn calls_use_a_log_level_set_elsewhere() {
    let engine = far().late_signals(Duration::from_secs(60));
    let (a, b) = (at(&engine), at(&engine));
    let here = a.open().await;
    let there = here.at(&b);
    assert_eq!(there.text_of("echo", json!({"message": "x"})).await, "x");
    for (level, messages) in [("error", 2), ("debug", 5), ("warning", 3)] {
        let set = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": level}});
        assert_eq!(here.post(set).await.message().await["result"], json!({}));
        let said = there.call(2, "log", json!({})).await.sse().rest().await.len();
        assert_eq!(said, messages, "{level}");
    }
}

/// This holds at the node that announces and at the other one, and for subscription streams without
/// a session.
#[tokio::test(start_paused = true)]
async fn announcements_during_an_outage_are_delivered_once() {
    for kind in [Fault::Before(StoreErrorKind::Unavailable), Fault::After(StoreErrorKind::Unavailable)] {
        let (engine, away) = failing(&["announce", "announced", "deliver"], kind);
        let (a, b) = (at(&engine), at(&engine));
        let (mut here, mut there) = (a.open().await.listen_primed().await, b.open().await.listen_primed().await);
        let all = r#"{"toolsListChanged":true,"promptsListChanged":true}"#;
        let mut listens = [acknowledged(&a, all).await, acknowledged(&b, all).await];
        away.store(true, Ordering::Relaxed);
        // An operation that succeeds although its response is lost takes effect each time, so it
        // runs once only.
        let times = if matches!(kind, Fault::Before(_)) { 3 } else { 1 };
        for _ in 0..times {
            a.handle.tools_changed();
            sleep(Duration::from_millis(100)).await;
        }
        a.handle.prompts_changed();
        sleep(Duration::from_secs(120)).await;
        away.store(false, Ordering::Relaxed);
        engine.signal(&Signal::Resync);
        let expected = ["prompts/list_changed", "tools/list_changed"];
        assert_changes(&mut here, &expected).await;
        assert_changes(&mut there, &expected).await;
        for listen in &mut listens {
            let mut said = [method(listen).await, method(listen).await];
            said.sort_unstable();
            assert_eq!(said, ["prompts", "tools"]);
            engine.signal(&Signal::Resync);
            assert!(listen.is_silent().await, "delivered twice");
        }
    }
}

/// The engine answers at once that it cannot be reached, as the engine in files does while its disk
/// is full.
#[tokio::test(start_paused = true)]
async fn rejected_changes_are_announced_later() {
    let engine = crate::faulty::Faulty::default();
    let app = App::with(|service| service.engine(engine.clone()));
    let mut get = app.open().await.listen_primed().await;
    engine.break_down(StoreErrorKind::Unavailable);
    app.handle.tools_changed();
    sleep(SOON * 10).await;
    engine.repair();
    assert_changes(&mut get, &["tools/list_changed"]).await;
}

/// The delivery is repeated when the engine can be reached again.
#[tokio::test(start_paused = true)]
async fn failed_deliveries_are_repeated_later() {
    for kind in [Fault::Before(StoreErrorKind::Unavailable), Fault::After(StoreErrorKind::Unavailable)] {
        let (engine, away) = failing(&["deliver"], kind);
        let (a, b) = (at(&engine), at(&engine));
        let mut get = a.open().await.at(&b).listen_primed().await;
        away.store(true, Ordering::Relaxed);
        a.handle.tools_changed();
        sleep(SOON * 10).await;
        a.handle.prompts_changed();
        sleep(SOON * 10).await;
        away.store(false, Ordering::Relaxed);
        assert_changes(&mut get, &["prompts/list_changed", "tools/list_changed"]).await;
    }
}

/// The changes exceed what is retained for the session, so it receives every kind of change.
#[tokio::test(start_paused = true)]
async fn sessions_that_missed_too_much_get_every_change() {
    let engine = MemoryEngine::new();
    let node = || App::with(|service| service.engine(engine.clone()));
    let (a, b) = (node(), node());
    let here = a.open().await;
    subscribe(&here, "test://fixed").await;
    drop(here.at(&b).listen_primed().await);
    drop(b);
    for number in 0..2_000 {
        a.handle.resource_updated(format!("test://{number}"));
    }
    let mut get = here.at(&node()).listen_primed().await;
    let everything =
        ["prompts/list_changed", "resources/list_changed", "resources/updated test://fixed", "tools/list_changed"];
    assert_changes(&mut get, &everything).await;
}

/// A node remembers a bounded number of changes per session. Beyond that it reads them from the
/// engine.
#[tokio::test(start_paused = true)]
async fn each_of_many_changes_is_delivered_once() {
    let (engine, away) = failing(&["deliver"], Fault::Before(StoreErrorKind::Unavailable));
    let app = at(&engine);
    let client = app.open().await;
    let uris: Vec<String> = (0..200).map(|number| format!("test://item/{number}")).collect();
    for uri in &uris {
        subscribe(&client, uri).await;
    }
    let mut get = client.listen_primed().await;
    away.store(true, Ordering::Relaxed);
    for uri in uris.iter().chain(&uris) {
        app.handle.resource_updated(uri);
    }
    sleep(SOON).await;
    away.store(false, Ordering::Relaxed);
    let mut expected: Vec<String> = uris.iter().map(|uri| format!("resources/updated {uri}")).collect();
    expected.sort_unstable();
    assert_changes(&mut get, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// After lost signals, a node reads from the engine only what its listeners may have missed.
#[tokio::test(start_paused = true)]
async fn listeners_get_changes_after_lost_signals() {
    let engine = far();
    let (a, b) = (at(&engine), at(&engine));
    let mut get = a.open().await.at(&b).listen_primed().await;
    let mut listen = acknowledged(&b, r#"{"toolsListChanged":true,"promptsListChanged":true}"#).await;
    sleep(SOON).await;
    for _ in 0..3 {
        engine.lose_signals(true);
        a.handle.tools_changed();
        sleep(SOON).await;
        engine.lose_signals(false);
        engine.signal(&Signal::Resync);
        engine.signal(&Signal::Resync);
        assert_eq!(
            (next_change(&mut get).await.as_str(), method(&mut listen).await.as_str()),
            ("tools/list_changed", "tools")
        );
        for stream in [&mut get, &mut listen] {
            assert!(stream.is_silent().await, "more was delivered");
        }
        a.handle.prompts_changed();
        assert_eq!(
            (next_change(&mut get).await.as_str(), method(&mut listen).await.as_str()),
            ("prompts/list_changed", "prompts")
        );
    }
}
