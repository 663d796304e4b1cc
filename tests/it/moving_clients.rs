//! Two nodes of one engine: test bodies for a client that moves between them, shared by the tests
//! of every engine.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, eventually, steps};

pub(crate) const TOOLS: &str = "notifications/tools/list_changed";

pub(crate) async fn running_calls_resume_at_the_other_node(a: &App, b: &App) {
    for cut in 0..=5 {
        let here = a.open().await;
        let arguments = json!({"steps": 5, "delay_ms": 20});
        let seen = here.call_cut_after(cut, arguments, &here.at(b), Duration::ZERO).await;
        assert_eq!(steps(&seen), [json!(1), json!(2), json!(3), json!(4), json!(5), Value::Null]);
    }
}

pub(crate) async fn live_streams_move_between_nodes(a: &App, b: &App) {
    let here = a.open().await;
    let there = here.at(b);
    // The call ends only after all other messages were read, so that each replaced reader has
    // something to resume for.
    let call = json!({"label": "taken over", "steps": 12, "delay_ms": 30});
    let mut stream = here.call(1, "note_and_hold", call).await.sse();
    let (mut seen, mut turn) = (Vec::new(), 0);
    while let Some(event) = stream.message().await {
        turn += 1;
        let next = if turn % 2 == 0 { &here } else { &there };
        let old = std::mem::replace(&mut stream, next.resume(event.id()).await.sse());
        seen.push(event);
        let mut old = old;
        sleep(Duration::from_millis(12)).await;
        let mut retry = None;
        while let Some(event) = old.next().await {
            retry = event.retry.or(retry);
        }
        if turn <= 12 {
            assert_eq!(retry, Some(5_000), "the replaced reader at turn {turn}");
        }
        if turn == 12 {
            a.probe.release("taken over");
        }
    }
    let mut expected: Vec<Value> = (1..=12).map(Value::from).collect();
    expected.push(Value::Null);
    assert_eq!(steps(&seen), expected);
}

/// The response to a request of one node arrives at the other. Only the first response counts.
pub(crate) async fn client_requests_are_answered_at_either_node(a: &App, b: &App) {
    let here = a.open().await;
    let there = here.at(b);
    let mut stream = here.call(1, "ask", json!({})).await.sse();
    let id = stream.message().await.unwrap().json()["id"].clone();
    let answer =
        |name: &str| json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"name": name}}});
    assert_eq!(there.post(answer("Ann")).await.status, 202);
    assert_eq!(here.post(answer("Bob")).await.status, 202);
    let rest = stream.rest().await;
    assert_eq!(rest[0].json()["result"]["content"][0]["text"], "accept Ann");
}

pub(crate) async fn calls_are_cancelled_at_either_node(a: &App, b: &App) {
    let here = a.open().await;
    let mut stream = here.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    assert!(stream.message().await.is_some());
    assert_eq!(here.at(b).cancel(1).await.status, 202);
    assert_eq!(stream.next().await, None);
    assert_eq!(a.probe.state("a"), Some("cancelled"));
    assert_eq!(b.handle.sessions().await.unwrap()[0].calls, 0);
}

pub(crate) async fn sessions_end_at_both_nodes(a: &App, b: &App) {
    let here = a.open().await;
    let there = here.at(b);
    let mut call = here.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    assert!(call.message().await.is_some());
    let mut get = here.listen_primed().await;
    assert_eq!(there.delete().await.status, 200);
    let rest = call.rest().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0].json()["error"]["code"], -32603);
    assert_eq!(rest[0].json()["id"], 1);
    assert_eq!(get.rest().await, []);
    eventually("the handler is stopped", async || a.probe.state("a") == Some("cancelled")).await;
    for client in [&here, &there] {
        assert_eq!(client.call(2, "echo", json!({"message": "x"})).await.status, 404);
        assert_eq!(client.delete().await.status, 404);
    }
}

/// The client receives each announcement once, whichever node announces it.
pub(crate) async fn announcements_reach_the_other_node_once(a: &App, b: &App) {
    let here = a.open().await;
    let mut get = here.at(b).listen_primed().await;
    a.handle.tools_changed();
    assert_eq!(get.message().await.unwrap().json()["method"], TOOLS);
    assert!(get.is_silent().await);
    b.handle.prompts_changed();
    assert!(get.message().await.is_some());
    assert!(get.is_silent().await);
}

/// The client receives one notification, not one from each node that it used.
pub(crate) async fn moved_clients_get_each_announcement_once(a: &App, b: &App) {
    let here = a.open().await;
    let there = here.at(b);
    for client in [&here, &there, &here, &there] {
        let mut get = client.listen_primed().await;
        a.handle.tools_changed();
        assert_eq!(get.message().await.unwrap().json()["method"], TOOLS);
        assert!(get.is_silent().await, "told twice");
    }
}

/// A subscription belongs to the session, so it also counts for a stream at another node.
pub(crate) async fn subscriptions_count_at_both_nodes(a: &App, b: &App) {
    let here = a.open().await;
    let mut get = here.at(b).listen_primed().await;
    let subscribe =
        json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "test://fixed"}});
    assert_eq!(here.post(subscribe).await.message().await["result"], json!({}));
    a.handle.resource_updated("test://fixed");
    let told = tokio::time::timeout(Duration::from_secs(60), get.message()).await;
    assert_eq!(told.unwrap().unwrap().json()["method"], "notifications/resources/updated");
    assert!(get.is_silent().await);
}

/// A change is announced at either node immediately after the subscription, and the client receives
/// it.
pub(crate) async fn changes_right_after_a_remote_subscription_arrive(a: &App, b: &App) {
    let here = a.open().await;
    let mut get = here.at(b).listen_primed().await;
    for round in 0..30 {
        let uri = format!("test://item/{round}");
        let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": uri}});
        assert_eq!(here.post(subscribe).await.message().await["result"], json!({}));
        let announcer = if round % 2 == 0 { a } else { b };
        announcer.handle.resource_updated(&uri);
        let told = tokio::time::timeout(Duration::from_secs(60), get.message()).await;
        let told = told.unwrap_or_else(|_| panic!("{uri} was not told")).unwrap().json();
        assert_eq!(told["params"]["uri"], json!(uri));
    }
    assert!(get.is_silent().await, "told twice");
}

/// The log level belongs to the session, so it also counts for calls at another node.
pub(crate) async fn log_levels_count_at_both_nodes(a: &App, b: &App) {
    let here = a.open().await;
    let there = here.at(b);
    assert_eq!(there.text_of("echo", json!({"message": "x"})).await, "x");
    for round in 0..20 {
        let (level, messages) = if round % 2 == 0 { ("error", 2) } else { ("warning", 3) };
        let set = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": level}});
        assert_eq!(here.post(set).await.message().await["result"], json!({}));
        let said = there.call(2, "log", json!({})).await.sse().rest().await.len();
        assert_eq!(said, messages, "{level} in round {round}");
    }
}

pub(crate) async fn session_state_is_shared_by_both_nodes(a: &App, b: &App) {
    let here = a.open().await;
    let there = here.at(b);
    let calls = (1..=10).map(|id| {
        let client = if id % 2 == 0 { here.clone() } else { there.clone() };
        tokio::spawn(async move { client.call(id, "count", json!({})).await.message().await })
    });
    let mut counts = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        counts.push(answer["result"]["content"][0]["text"].as_str().unwrap().parse::<u32>().unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=10).collect::<Vec<_>>());
}

/// The change happens while the client has no stream, at the node it comes from or the node it
/// moves to.
pub(crate) async fn changes_between_two_streams_are_delivered_once(a: &App, b: &App) {
    let here = a.open().await;
    let there = here.at(b);
    for (from, to) in [(&here, &there), (&there, &here), (&here, &here), (&there, &there)] {
        for announcer in [a, b] {
            drop(from.listen_primed().await);
            announcer.handle.tools_changed();
            let mut get = to.listen_primed().await;
            let told = tokio::time::timeout(Duration::from_secs(60), get.message()).await;
            assert_eq!(told.expect("the change is delivered").unwrap().json()["method"], TOOLS);
            assert!(get.is_silent().await, "told twice");
        }
    }
}
