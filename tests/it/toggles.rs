//! Toggles in long lists of subscriptions: a change costs a small part of the list on every node,
//! and no change is lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use mcp_http::SessionId;
use mcp_http::message::RawJson;
use mcp_http::store::engine::{SessionStore, StateValue};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{App, Client, FarEngine, Pace, Sse};

/// The highest number of subscriptions in a session.
const FULL: usize = 1_000;

const SOON: Duration = Duration::from_secs(2);

/// The time after which a message counts as lost.
const LONG: Duration = Duration::from_secs(60);

fn at(engine: &FarEngine) -> App {
    App::with(|service| service.engine(engine.clone()))
}

/// Returns one of the URIs that together have nearly as many bytes as a session may subscribe to.
fn uri(number: usize) -> String {
    format!("test://item/{number:0>228}")
}

async fn wish(client: &Client, method: &str, uri: &str) -> Value {
    let wish = json!({"jsonrpc": "2.0", "id": uri, "method": method, "params": {"uri": uri}});
    client.post(wish).await.message().await
}

pub(crate) async fn subscribe(client: &Client, uri: &str) {
    assert_eq!(wish(client, "resources/subscribe", uri).await["result"], json!({}), "{uri}");
}

pub(crate) async fn unsubscribe(client: &Client, uri: &str) {
    assert_eq!(wish(client, "resources/unsubscribe", uri).await["result"], json!({}), "{uri}");
}

async fn subscribe_to(client: &Client, uris: impl Iterator<Item = usize>) {
    for number in uris {
        subscribe(client, &uri(number)).await;
    }
}

/// Announces a change of each resource, and returns those that the stream reports: as many as are
/// expected, and what else comes soon afterwards.
pub(crate) async fn updated(
    app: &App,
    stream: &mut Sse,
    uris: impl Iterator<Item = String>,
    expected: usize,
) -> Vec<String> {
    let mut updated = Vec::new();
    for uri in uris {
        app.handle.resource_updated(&uri);
    }
    loop {
        let limit = if updated.len() < expected { LONG } else { SOON };
        let Ok(message) = timeout(limit, stream.message()).await else { break };
        updated.push(message.unwrap().json()["params"]["uri"].as_str().unwrap().to_owned());
    }
    updated.sort_unstable();
    updated
}

fn id_of(client: &Client) -> SessionId {
    serde_json::from_value(json!(client.session)).unwrap()
}

async fn stored(engine: &FarEngine, session: SessionId) -> Vec<StateValue> {
    engine.load_states(session, "mcp.", &[]).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn toggles_of_a_full_list_write_little() {
    let engine = FarEngine::new(|_, _| Pace::YIELD);
    let (a, b) = (at(&engine), at(&engine));
    let here = a.open().await;
    subscribe_to(&here, 0..FULL).await;
    let whole: usize = stored(&engine, id_of(&here)).await.iter().map(|value| value.value.as_str().len()).sum();
    assert!(whole > 240_000, "{whole}");
    let there = here.at(&b);
    let most = 16 << 10;
    engine.written();
    for number in (0..FULL).step_by(37) {
        unsubscribe(&here, &uri(number)).await;
        let off = engine.written();
        subscribe(&there, &uri(number)).await;
        let on = engine.written();
        assert!(off > 0 && off < most && on > 0 && on < most, "{number}: {off} and {on} of {whole} bytes");
    }
    let rejected = wish(&there, "resources/subscribe", &uri(FULL)).await;
    assert_eq!(rejected["error"]["code"], -32602, "{rejected}");
    assert_eq!(engine.written(), 0, "a rejection writes nothing");
}

/// Other nodes read only the part of the list that changed.
#[tokio::test(start_paused = true)]
async fn toggles_reach_the_node_of_the_reader() {
    let engine = FarEngine::new(|_, _| Pace::YIELD);
    let (a, b) = (at(&engine), at(&engine));
    let here = a.open().await;
    let mut get = here.at(&b).listen_primed().await;
    for number in 0..40 {
        subscribe(&here, &uri(number)).await;
        assert_eq!(updated(&b, &mut get, [uri(number), uri(number + 1)].into_iter(), 1).await, [uri(number)]);
    }
    for number in (0..40).step_by(3) {
        unsubscribe(&here, &uri(number)).await;
    }
    let expected: Vec<String> = (0..40).filter(|number| number % 3 > 0).map(uri).collect();
    assert_eq!(updated(&a, &mut get, (0..40).map(uri), expected.len()).await, expected);
}

/// Most clients have few subscriptions. These must not pay for what long lists need.
#[tokio::test(start_paused = true)]
async fn toggles_of_short_lists_read_and_write_once() {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&steps);
    let engine = FarEngine::new(move |step, _| {
        taken.lock().unwrap().push(step.to_owned());
        Pace::YIELD
    });
    let app = at(&engine);
    let client = app.open().await;
    let changes = |steps: &Mutex<Vec<String>>| {
        let steps = std::mem::take(&mut *steps.lock().unwrap());
        steps.into_iter().filter(|step| step.contains("state") || step == "broadcast").collect::<Vec<_>>()
    };
    changes(&steps);
    for number in 0..16 {
        subscribe(&client, &uri(number)).await;
        assert_eq!(changes(&steps), ["load_state", "store_state", "broadcast"], "{number}");
    }
    unsubscribe(&client, &uri(3)).await;
    assert_eq!(changes(&steps), ["load_state", "store_state", "broadcast"]);
    let session = id_of(&client);
    assert_eq!(stored(&engine, session).await.len(), 1);
    subscribe_to(&client, 20..23).await;
    changes(&steps);
    for number in 100..110 {
        subscribe(&client, &uri(number)).await;
        unsubscribe(&client, &uri(number)).await;
        assert_eq!(changes(&steps), ["load_state", "store_state", "broadcast"].repeat(2), "a long list, {number}");
    }
}

/// Lists in the layout without parts, with and without numbers, remain usable.
#[tokio::test(start_paused = true)]
async fn lists_of_the_old_layout_still_work() {
    for (length, numbered) in [(3, true), (3, false), (100, true), (100, false)] {
        let engine = FarEngine::new(|_, _| Pace::YIELD);
        let (a, b) = (at(&engine), at(&engine));
        let here = a.open().await;
        let list = match numbered {
            true => json!((0..length).map(|number| (uri(number), json!(0))).collect::<serde_json::Map<_, _>>()),
            false => json!((0..length).map(uri).collect::<Vec<_>>()),
        };
        let list = RawJson::from_value(&list).unwrap();
        assert!(engine.store_state(id_of(&here), "mcp.subscriptions", list, 0).await.unwrap());
        let there = here.at(&b);
        let mut get = there.listen_primed().await;
        unsubscribe(&there, &uri(1)).await;
        subscribe(&here, &uri(500)).await;
        unsubscribe(&here, &uri(2)).await;
        subscribe(&there, &uri(1)).await;
        let mut expected: Vec<String> = (0..length).filter(|number| *number != 2).chain([500]).map(uri).collect();
        expected.sort_unstable();
        assert_eq!(
            updated(&a, &mut get, (0..length).chain([500]).map(uri), expected.len()).await,
            expected,
            "{length} {numbered}"
        );
        if length == 100 {
            engine.written();
            for _ in 0..3 {
                unsubscribe(&here, &uri(1)).await;
                subscribe(&there, &uri(1)).await;
                assert!(engine.written() < 4 << 10, "what was changed once is in a part of its own");
            }
        }
    }
}

/// Two nodes change one list at once, at several lengths, and neither takes back a change of the
/// other.
pub(crate) async fn both_nodes_change_one_list_at_once(a: &App, b: &App) {
    let here = a.open().await;
    let there = here.at(b);
    let mut get = there.listen_primed().await;
    for round in 0..4 {
        let numbers = move |half: usize| (0..12).map(move |number| uri(round * 100 + half * 20 + number));
        let at_once = numbers(0).map(|uri| (&here, uri)).chain(numbers(1).map(|uri| (&there, uri)));
        join_all(at_once.map(async |(client, uri)| subscribe(client, &uri).await)).await;
        // The other node repeats these subscriptions, and this one takes half of all of them back.
        join_all(numbers(0).map(async |uri| subscribe(&there, &uri).await)).await;
        join_all(numbers(1).map(async |uri| unsubscribe(&here, &uri).await)).await;
    }
    let all = (0..4).flat_map(|round| (0..2).flat_map(move |half| (0..12).map(move |n| round * 100 + half * 20 + n)));
    let mut expected: Vec<String> = all.clone().filter(|number| number % 100 < 20).map(uri).collect();
    expected.sort_unstable();
    assert_eq!(updated(a, &mut get, all.map(uri), expected.len()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn concurrent_changes_by_both_nodes_persist() {
    let engine = FarEngine::new(|_, _| Pace { there: Duration::from_millis(2), back: Duration::from_millis(3) });
    both_nodes_change_one_list_at_once(&at(&engine), &at(&engine)).await;
}
