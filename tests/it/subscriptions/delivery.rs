//! Delivery of changes to subscriptions: which ones are notified, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mcp_http::message::ProtocolVersion;
use mcp_http::store::MemoryEngine;
use mcp_http::store::engine::Membership;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{ALL, acknowledged, listen, listening, listens, method, opened};
use crate::support::{App, FarEngine, Pace, modern_call};
use crate::table::{seen, sent};

/// Each subscription gets exactly the changes in its filter, and URIs must be equal.
///
/// Acceptance 142.
#[tokio::test(start_paused = true)]
async fn only_subscribed_changes_are_delivered() {
    let app = App::new();
    let filters = [
        (r#"{"toolsListChanged":true}"#, vec!["tools"]),
        (r#"{"promptsListChanged":true,"toolsListChanged":false}"#, vec!["prompts"]),
        (r#"{"resourcesListChanged":true,"somethingElse":{"x":[]}}"#, vec!["resources"]),
        (
            r#"{"resourceSubscriptions":["test://b","test://b","test:\/\/\"c"]}"#,
            vec!["resources/updated test://b", "resources/updated test://\"c"],
        ),
        ("{}", vec![]),
    ];
    let mut streams = Vec::new();
    for (filter, _) in &filters {
        streams.push(acknowledged(&app, filter).await);
    }
    app.handle.tools_changed();
    app.handle.prompts_changed();
    app.handle.resources_changed();
    for uri in ["test://a", "test://b", "test://\"c", "test://b/below", "TEST://B", ""] {
        app.handle.resource_updated(uri);
    }
    for (stream, (filter, expected)) in streams.iter_mut().zip(filters) {
        for expected in expected {
            assert_eq!(method(stream).await, expected, "{filter}");
        }
        assert!(stream.is_silent().await, "{filter}");
    }
}

/// Repeated changes are coalesced until the client reads them. Other streams and calls continue.
///
/// Acceptance 144, 163, 170.
#[tokio::test(start_paused = true)]
async fn changes_are_coalesced_for_unread_streams() {
    let app = App::new();
    let mut deaf = listen(&app, ALL).await;
    let mut stalled = acknowledged(&app, ALL).await;
    let mut reader = acknowledged(&app, r#"{"toolsListChanged":true}"#).await;
    app.handle.resource_updated("test://b");
    for n in 0..10_000 {
        match n % 5 {
            0 => app.handle.tools_changed(),
            1 => app.handle.prompts_changed(),
            2 => app.handle.resources_changed(),
            3 => app.handle.resource_updated("test://a"),
            _ => app.handle.resource_updated("test://b"),
        }
        if n % 1_000 == 0 {
            assert_eq!(method(&mut reader).await, "tools");
            let echo = app.send(modern_call("echo", json!({"message": "hi"}))).await.message().await;
            assert_eq!(echo["result"]["content"][0]["text"], "hi");
        }
    }
    let first_heard = ["resources/updated test://b", "tools", "prompts", "resources", "resources/updated test://a"];
    assert_eq!(method(&mut deaf).await, "acknowledged");
    for stream in [&mut deaf, &mut stalled] {
        for expected in first_heard {
            assert_eq!(method(stream).await, expected);
        }
        assert!(stream.is_silent().await);
    }
    app.handle.tools_changed();
    for stream in [&mut deaf, &mut stalled] {
        assert_eq!(method(stream).await, "tools", "told again of what changed again");
    }
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.dropped, statistics.slow_readers), (0, 0));
}

/// At most 64 notifications are written at once.
///
/// Acceptance 163, 170.
#[tokio::test(start_paused = true)]
async fn pending_changes_are_written_in_chunks() {
    let app = App::new();
    let uris: Vec<String> = (0..1_000).map(|n| format!("test://item/{n}")).collect();
    let mut stream = acknowledged(&app, &json!({"resourceSubscriptions": uris}).to_string()).await;
    for uri in uris.iter().rev().chain(&uris) {
        app.handle.resource_updated(uri);
    }
    for uri in uris.iter().rev() {
        assert_eq!(method(&mut stream).await, format!("resources/updated {uri}"));
    }
    assert!(stream.is_silent().await);
    let most = stream.chunks.iter().skip(1).map(|chunk| chunk.matches("data: ").count()).max();
    assert_eq!(most, Some(64));
}

/// Each stream gets the change once, with its own subscription id.
///
/// Acceptance 46, 144, 163.
#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_a_thousand_subscriptions() {
    let app = App::new();
    let mut streams = Vec::new();
    for n in 0..1_000 {
        let mut stream = opened(app.send(listening(&n.to_string(), ALL)).await);
        assert_eq!(method(&mut stream).await, "acknowledged");
        streams.push(stream);
    }
    assert_eq!(listens(&app).await, 1_000);
    app.handle.tools_changed();
    for (n, stream) in streams.iter_mut().enumerate() {
        let expected = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed",
            "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": n}}});
        assert_eq!(stream.next().await.unwrap().json(), expected);
    }
    for stream in &mut streams {
        assert!(stream.is_silent().await);
    }
    drop(streams);
    assert_eq!(listens(&app).await, 0);
}

/// Different clients may use the same request id.
///
/// Acceptance 142.
#[tokio::test(start_paused = true)]
async fn subscriptions_with_equal_ids_are_separate() {
    let app = App::new();
    let mut tools = acknowledged(&app, r#"{"toolsListChanged":true}"#).await;
    let mut prompts = acknowledged(&app, r#"{"promptsListChanged":true}"#).await;
    app.handle.tools_changed();
    app.handle.prompts_changed();
    assert_eq!((method(&mut tools).await, method(&mut prompts).await), ("tools".to_owned(), "prompts".to_owned()));
    drop(tools);
    app.handle.prompts_changed();
    assert_eq!(method(&mut prompts).await, "prompts");
}

/// Sessions and subscriptions at both nodes get each change once.
///
/// Acceptance 173.
#[tokio::test(start_paused = true)]
async fn announcements_reach_both_eras_at_every_node() {
    let near = MemoryEngine::new();
    let far = FarEngine::new(|_, _| Pace::YIELD);
    let pairs = [
        [(); 2].map(|()| App::with(|service| service.engine(near.clone()))),
        [(); 2].map(|()| App::with(|service| service.engine(far.clone()))),
    ];
    for [here, there] in pairs {
        let client = here.open().await;
        let wish =
            json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "test://fixed"}});
        assert_eq!(client.post(wish).await.status, 200);
        let mut legacy = [client.listen_primed().await, there.open().await.listen_primed().await];
        let filter = r#"{"toolsListChanged":true,"resourceSubscriptions":["test://fixed"]}"#;
        let mut modern = [acknowledged(&here, filter).await, acknowledged(&there, filter).await];
        for app in [&here, &there] {
            app.handle.tools_changed();
            for stream in legacy.iter_mut().chain(&mut modern) {
                assert_eq!(method(stream).await, "tools");
            }
        }
        there.handle.resource_updated("test://fixed");
        for stream in modern.iter_mut().chain(&mut legacy[..1]) {
            assert_eq!(method(stream).await, "resources/updated test://fixed");
        }
        for stream in legacy.iter_mut().chain(&mut modern) {
            assert!(stream.is_silent().await, "told once");
        }
    }
}

/// Other signals between nodes, and topics that this release does not know, are not sent to
/// clients.
///
/// Acceptance 142, 173.
#[tokio::test(start_paused = true)]
async fn other_signals_are_not_sent_to_clients() {
    let engine = MemoryEngine::new();
    let [here, there] = [(); 2].map(|()| App::with(|service| service.engine(engine.clone())));
    let mut stream = acknowledged(&there, ALL).await;
    let client = here.open().await;
    let set = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "error"}});
    assert_eq!(client.post(set).await.status, 200);
    let _get = client.listen_primed().await;
    assert_eq!(client.delete().await.status, 200);
    for topic in ["", "{", "null", "tools", "\"tools\"", r#"{"Resource":7}"#, r#"{"Nothing":"known"}"#, "\"Later\""] {
        engine.announce(topic, 1).await.unwrap();
    }
    assert!(stream.is_silent().await);
}

/// Each era can be served alone. Its streams still get changes.
///
/// Acceptance 23, 173.
#[tokio::test(start_paused = true)]
async fn either_era_alone_gets_its_changes() {
    let app = App::with(|service| service.versions(ProtocolVersion::SESSION_ERA));
    let mut get = app.open().await.listen_primed().await;
    assert_eq!(sent(&app, listening("1", ALL)).await, seen(400, -32000, Some("1")));
    app.handle.tools_changed();
    assert_eq!(method(&mut get).await, "tools");
    let modern_only = App::with(|service| service.versions([ProtocolVersion::V2026_07_28]));
    let mut stream = acknowledged(&modern_only, ALL).await;
    modern_only.handle.tools_changed();
    assert_eq!(method(&mut stream).await, "tools");
}

/// Four tasks announce changes while subscriptions are opened and closed, on real threads.
///
/// Acceptance 144, 163.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_change_is_never_missed() {
    const ANNOUNCERS: u64 = 4;
    const EACH: u64 = 500;
    let app = App::new();
    let (changes, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let readers: Vec<_> = (0..40)
        .map(|_| {
            let (app, changes) = (app.clone(), Arc::clone(&changes));
            tokio::spawn(async move {
                let mut stream = acknowledged(&app, r#"{"resourceSubscriptions":["test://a"]}"#).await;
                // The last change is announced after it was counted.
                while changes.load(Ordering::SeqCst) < ANNOUNCERS * EACH {
                    assert_eq!(method(&mut stream).await, "resources/updated test://a");
                }
            })
        })
        .collect();
    while listens(&app).await < 40 {
        tokio::task::yield_now().await;
    }
    let restless = tokio::spawn({
        let (app, stop) = (app.clone(), Arc::clone(&stop));
        async move {
            let coming_and_going = async {
                loop {
                    drop(acknowledged(&app, ALL).await);
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! { () = coming_and_going => {}, () = stop.notified() => {} }
        }
    });
    let announcers = (0..ANNOUNCERS).map(|_| {
        let (app, changes) = (app.clone(), Arc::clone(&changes));
        tokio::spawn(async move {
            for _ in 0..EACH {
                changes.fetch_add(1, Ordering::SeqCst);
                app.handle.resource_updated("test://a");
                tokio::task::yield_now().await;
            }
        })
    });
    futures_util::future::join_all(announcers).await.into_iter().for_each(Result::unwrap);
    let heard = timeout(Duration::from_secs(60), futures_util::future::join_all(readers)).await;
    heard.expect("a reader waits for a change that was announced").into_iter().for_each(Result::unwrap);
    stop.notify_one();
    restless.await.unwrap();
    assert_eq!(listens(&app).await, 0);
}
