//! Losses between a node and its engine: lost results, signals, requests to the client, and outages
//! of the engine. None of them may leave a client or a handler waiting indefinitely.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use mcp_http::McpServer;
use mcp_http::error::StoreErrorKind;
use mcp_http::message::RawJson;
use mcp_http::server::Session;
use mcp_http::store::engine::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::moving_clients::TOOLS;
use crate::support::{App, Client, FarEngine, Fault, Pace, steps, whole};

const SOON: Duration = Duration::from_secs(1);

fn node(engine: &FarEngine) -> App {
    App::with(|service| service.engine(engine.clone()))
}

/// Returns an engine in which these operations fail while the switch is on.
fn failing(fault: Fault, steps: &'static [&'static str]) -> (FarEngine, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&switch);
    let engine = FarEngine::new(|_, _| Pace::YIELD);
    (engine.failing(move |step| (is_on.load(Ordering::Relaxed) && steps.contains(&step)).then_some(fault)), switch)
}

async fn in_flight(app: &App) -> (usize, usize) {
    let sessions = app.handle.sessions().await.unwrap();
    (sessions.iter().map(|session| session.calls).sum(), sessions.iter().map(|session| session.readers).sum())
}

async fn subscribe(client: &Client, uri: &str) {
    let wish = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": uri}});
    assert_eq!(client.post(wish).await.message().await["result"], json!({}));
}

async fn set_level(client: &Client, level: &str) {
    let wish = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": level}});
    assert_eq!(client.post(wish).await.message().await["result"], json!({}));
}

/// The engine has begun the call, but its response has not reached the node yet. The client
/// disconnects at this moment, and the call is given up.
#[tokio::test(start_paused = true)]
async fn disconnects_during_the_begin_leave_no_call() {
    let pace = Pace { there: Duration::from_millis(10), back: Duration::ZERO };
    let app = App::with(|service| service.engine(FarEngine::new(move |_, _| pace)));
    let client = app.open().await;
    let mut call = Box::pin(client.call(1, "hold", json!({"label": "a"})));
    assert!(timeout(Duration::from_millis(5), &mut call).await.is_err());
    sleep(SOON).await;
    assert_eq!(in_flight(&app).await, (1, 0));
    drop(call);
    sleep(SOON).await;
    assert_eq!(in_flight(&app).await, (0, 0));
    assert_eq!(app.probe.state("a"), None);
}

/// The stream is closed with a `retry` hint. The client resumes until it has received the result.
#[tokio::test(start_paused = true)]
async fn unwritten_answers_are_written_after_the_outage() {
    let (engine, away) = failing(Fault::Before(StoreErrorKind::Unavailable), &["append", "finish", "detach"]);
    let app = node(&engine);
    let client = app.open().await;
    let mut stream = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    let first = stream.message().await.unwrap();
    away.store(true, Ordering::Relaxed);
    app.probe.release("a");
    let end = timeout(SOON * 10, stream.next()).await.expect("it ends").expect("it gets a retry hint");
    assert_eq!((end.retry, stream.next().await), (Some(1_000), None));
    sleep(Duration::from_secs(300)).await;
    let mut waiting = client.resume(first.id()).await.sse();
    away.store(false, Ordering::Relaxed);
    let rest = timeout(SOON * 10, waiting.rest()).await.unwrap();
    let mut rest = if rest.is_empty() { client.resume(first.id()).await.sse().rest().await } else { rest };
    assert_eq!(rest.pop().unwrap().json()["result"]["content"][0]["text"], "released");
    sleep(SOON).await;
    assert_eq!(in_flight(&app).await, (0, 0));
}

/// Once the client has cancelled the call, no result is left to write.
#[tokio::test(start_paused = true)]
async fn cancelled_calls_drop_their_unwritten_answer() {
    let (engine, away) = failing(Fault::Before(StoreErrorKind::Unavailable), &["append"]);
    let app = node(&engine);
    let client = app.open().await;
    let mut stream = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    assert!(stream.message().await.is_some());
    away.store(true, Ordering::Relaxed);
    app.probe.release("a");
    assert_eq!(timeout(SOON * 10, stream.rest()).await.unwrap(), []);
    assert_eq!(client.cancel(1).await.status, 202);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(in_flight(&app).await, (0, 0));
}

/// Calls and readers that end during an outage are released when the engine can be reached again.
#[tokio::test(start_paused = true)]
async fn releases_are_repeated_after_an_outage() {
    let (engine, away) = failing(Fault::Before(StoreErrorKind::Unavailable), &["finish", "detach"]);
    let app = node(&engine);
    let client = app.open().await;
    let get = client.listen_primed().await;
    away.store(true, Ordering::Relaxed);
    assert_eq!(client.text_of("echo", json!({"message": "x"})).await, "x");
    drop(get);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(in_flight(&app).await, (1, 1));
    away.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(in_flight(&app).await, (0, 0));
}

/// The engine keeps an operation that must be repeated after the outage. The node therefore
/// requests it once, since each further request would wait in the engine as well.
#[tokio::test(start_paused = true)]
async fn retried_operations_are_requested_once() {
    let asked = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let (count, away) = (Arc::clone(&asked), Arc::new(AtomicBool::new(false)));
    let is_away = Arc::clone(&away);
    let engine = FarEngine::new(move |step, _| {
        *count.lock().unwrap().entry(step.to_owned()).or_default() += 1;
        Pace::YIELD
    });
    let engine = engine.failing(move |step| {
        let fails = is_away.load(Ordering::Relaxed) && ["finish", "detach", "withdraw_request"].contains(&step);
        fails.then_some(Fault::Before(StoreErrorKind::Unavailable))
    });
    let app = App::serving(asking(), |service| service.engine(engine.clone()));
    let client = app.open().await;
    let mut get = client.listen_primed().await;
    let call = client.call(1, "ask_aside", json!({})).await.sse();
    assert_eq!(get.message().await.unwrap().json()["method"], "roots/list");
    asked.lock().unwrap().clear();
    away.store(true, Ordering::Relaxed);
    assert_eq!(client.cancel(1).await.status, 202);
    assert_eq!(client.text_of("echo", json!({"message": "x"})).await, "x");
    drop((call, get));
    sleep(Duration::from_secs(300)).await;
    let asked = asked.lock().unwrap().clone();
    // One call was cancelled, and another one answered.
    for (step, times) in [("finish", 2), ("withdraw_request", 1)] {
        assert_eq!(asked.get(step), Some(&times), "{step}: {asked:?}");
    }
    assert!(asked["detach"] <= 2, "{asked:?}");
    away.store(false, Ordering::Relaxed);
    sleep(SOON * 5).await;
    assert_eq!(in_flight(&app).await, (0, 0));
}

fn asking() -> impl FnOnce(McpServer) -> McpServer {
    |server| {
        server.tool("ask_aside", "Asks on the standalone stream.", async |session: Session| {
            let params = RawJson::from_value(&json!({})).unwrap();
            let answer = session.request("roots/list", params, Duration::from_secs(3_600)).await;
            answer.map_or_else(|error| format!("error: {error}"), |roots| roots.as_str().to_owned())
        })
    }
}

/// If the engine has lost a request to the client, the handler receives an error and the call
/// continues.
#[tokio::test(start_paused = true)]
async fn lost_client_requests_fail() {
    let (engine, forgot) = failing(Fault::Before(StoreErrorKind::NotFound), &["take_answer"]);
    let app = App::serving(asking(), |service| service.engine(engine.clone()));
    let client = app.open().await;
    let mut get = client.listen_primed().await;
    for tool in ["ask", "ask_aside"] {
        let mut stream = client.call(tool, tool, json!({})).await.sse();
        let asked = if tool == "ask" { &mut stream } else { &mut get };
        assert!(asked.message().await.unwrap().json()["method"].is_string());
        engine.signal(&Signal::Resync);
        sleep(SOON).await;
        assert_eq!(in_flight(&app).await.0, 1, "it is still there");
        forgot.store(true, Ordering::Relaxed);
        engine.signal(&Signal::Resync);
        let told = timeout(SOON, stream.rest()).await.expect("the call goes on").pop().unwrap().json();
        assert_eq!(
            told["result"]["content"][0]["text"],
            "error: the call or the session ended before the client answered"
        );
        forgot.store(false, Ordering::Relaxed);
    }
}

/// The call may not send anything for a long time, so a lost signal must not leave it running until
/// then.
#[tokio::test(start_paused = true)]
async fn resync_stops_calls_with_a_lost_stream() {
    let (engine, forgot) = failing(Fault::Before(StoreErrorKind::Conflict), &["append"]);
    let app = node(&engine);
    let client = app.open().await;
    let mut streams = Vec::new();
    for label in ["a", "b"] {
        let mut stream = client.call(label, "note_and_hold", json!({"label": label})).await.sse();
        assert!(stream.message().await.is_some());
        streams.push(stream);
    }
    engine.signal(&Signal::Resync);
    sleep(SOON).await;
    app.probe.release("a");
    assert_eq!(streams[0].rest().await.len(), 1, "nothing was forgotten");
    forgot.store(true, Ordering::Relaxed);
    engine.signal(&Signal::Resync);
    assert_eq!(timeout(SOON, streams[1].rest()).await.expect("it ends"), []);
    assert_eq!(app.probe.state("b"), Some("cancelled"));
}

/// The request could not be stored. It is stored after the outage, cancelled at once, and the
/// handler receives an error.
#[tokio::test(start_paused = true)]
async fn unwritten_client_requests_fail() {
    let (engine, away) = failing(Fault::Before(StoreErrorKind::Unavailable), &["append"]);
    let app = node(&engine);
    let client = app.open().await;
    away.store(true, Ordering::Relaxed);
    let mut stream = client.call(1, "ask", json!({})).await.sse();
    let first = stream.next().await.unwrap();
    assert_eq!(timeout(SOON * 10, stream.rest()).await.expect("it ends"), []);
    away.store(false, Ordering::Relaxed);
    sleep(SOON * 5).await;
    let rest = timeout(SOON * 10, client.resume(first.id()).await.sse().rest()).await.unwrap();
    let [asked, taken_back, answered] = &rest[..] else { panic!("{rest:?}") };
    let asked = asked.json();
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(taken_back.json()["params"]["requestId"], asked["id"]);
    let text = &answered.json()["result"]["content"][0]["text"];
    assert_eq!(text, "error: the call or the session ended before the client answered");
}

/// An append may take effect although its response is lost. The node must neither repeat this
/// message nor take the next one for it.
#[tokio::test(start_paused = true)]
async fn unconfirmed_appends_are_stored_once() {
    for (lost, times) in [(1, 1), (3, 1), (3, 2), (6, 1), (6, 4)] {
        let appends = AtomicU64::new(0);
        let engine = FarEngine::new(|_, _| Pace::YIELD).failing(move |step| {
            let turn = appends.fetch_add(u64::from(step == "append"), Ordering::Relaxed) + 1;
            let fails = step == "append" && (lost..lost + times).contains(&turn);
            fails.then_some(Fault::After(StoreErrorKind::Unavailable))
        });
        let app = node(&engine);
        let client = app.open().await;
        let mut stream = client.call(1, "progress", json!({"steps": 5, "delay_ms": 10})).await.sse();
        let first = stream.next().await.unwrap();
        drop(stream);
        sleep(SOON * 10).await;
        let seen = timeout(SOON * 10, client.resume(first.id()).await.sse().rest()).await.unwrap();
        if times == 1 || lost == 6 {
            whole(&seen, 5);
        } else {
            // The fourth message was sent while the node did not know whether the third was stored.
            assert_eq!(steps(&seen), [json!(1), json!(2), json!(3), json!(5), json!(null)]);
        }
        sleep(SOON).await;
        assert_eq!(in_flight(&app).await, (0, 0), "{lost} {times}");
    }
}

/// After lost signals, a node re-checks at most 50 sessions at a time, and only those that are in
/// use at this node.
#[tokio::test(start_paused = true)]
async fn resync_rechecks_few_sessions_at_a_time() {
    let asked = Arc::new(Mutex::new(BTreeMap::<Instant, usize>::new()));
    let looks = Arc::clone(&asked);
    let engine = FarEngine::new(move |step, _| {
        if step.starts_with("load_state") {
            *looks.lock().unwrap().entry(Instant::now()).or_default() += 1;
        }
        Pace { there: Duration::from_millis(1), back: Duration::ZERO }
    });
    let app = node(&engine);
    let mut streams = Vec::new();
    for n in 0..400 {
        let client = app.open().await;
        if n % 2 == 0 {
            streams.push(client.listen_primed().await);
        }
    }
    asked.lock().unwrap().clear();
    for _ in 0..10 {
        engine.signal(&Signal::Resync);
    }
    sleep(Duration::from_secs(10)).await;
    let asked = asked.lock().unwrap().clone();
    assert!(asked.values().all(|at_once| *at_once <= 50), "{asked:?}");
    let each = asked.values().sum::<usize>() as f64 / 200.0;
    assert!((1.0..=2.0).contains(&each), "each of 200 sessions was looked at {each} times");
}

/// Other sessions are re-checked at their next use.
#[tokio::test(start_paused = true)]
async fn idle_sessions_are_rechecked_at_their_next_use() {
    let engine = FarEngine::new(|_, _| Pace::YIELD);
    let (a, b) = (node(&engine), node(&engine));
    let (here, ends) = (a.open().await, a.open().await);
    let there = here.at(&b);
    for client in [&there, &ends.at(&b)] {
        assert_eq!(client.text_of("echo", json!({"message": "x"})).await, "x");
    }
    engine.lose_signals(true);
    set_level(&here, "error").await;
    assert_eq!(ends.delete().await.status, 200);
    sleep(SOON).await;
    engine.lose_signals(false);
    engine.signal(&Signal::Resync);
    sleep(SOON).await;
    assert_eq!(there.call(2, "log", json!({})).await.sse().rest().await.len(), 2, "one error, one answer");
    assert_eq!(ends.at(&b).call(2, "log", json!({})).await.status, 404);
}

/// A re-check after lost signals preserves the session's local extensions.
#[tokio::test(start_paused = true)]
async fn resync_preserves_session_extensions() {
    #[derive(Debug)]
    struct Kept;
    let keeping = |server: McpServer| {
        server.tool("keep", "Says whether it was kept.", async |session: Session| {
            session.extensions().insert(Kept).is_some().to_string()
        })
    };
    let engine = FarEngine::new(|_, _| Pace::YIELD);
    let app = App::serving(keeping, |service| service.engine(engine.clone()));
    let client = app.open().await;
    assert_eq!(client.text_of("keep", json!({})).await, "false");
    engine.signal(&Signal::Resync);
    sleep(SOON).await;
    assert_eq!(client.text_of("keep", json!({})).await, "true");
}

/// A change of the list reaches the client once, from the node that holds its stream.
#[tokio::test(start_paused = true)]
async fn moved_clients_get_an_announcement_once() {
    let publishes = AtomicU64::new(0);
    let engine = FarEngine::new(move |step, _| {
        // Every second publication is delayed, so that a duplicate would not be coalesced with an
        // event that is still unread.
        let turn = publishes.fetch_add(u64::from(step == "publish"), Ordering::Relaxed);
        let there = if step == "publish" { 50 * (turn % 2) } else { 1 };
        Pace { there: Duration::from_millis(there), back: Duration::ZERO }
    });
    let (a, b) = (node(&engine), node(&engine));
    let here = a.open().await;
    let there = here.at(&b);
    for [from, to] in [[&here, &there], [&there, &here]] {
        drop(from.listen_primed().await);
        engine.lose_signals(true);
        let mut get = to.listen_primed().await;
        engine.lose_signals(false);
        engine.signal(&Signal::Resync);
        sleep(SOON).await;
        a.handle.tools_changed();
        assert_eq!(get.message().await.unwrap().json()["method"], TOOLS);
        assert!(get.is_silent().await, "told twice");
    }
}

/// Signals arrive later than the client moves, so a node may believe that it listens elsewhere. The
/// client must receive the announcement anyway.
#[tokio::test(start_paused = true)]
async fn late_signals_do_not_lose_announcements() {
    let engine = FarEngine::new(|_, _| Pace::YIELD).late_signals(Duration::from_millis(300));
    let (a, b) = (node(&engine), node(&engine));
    let here = a.open().await;
    let there = here.at(&b);
    for client in [&here, &there, &here, &there, &there, &here] {
        let mut get = client.listen_primed().await;
        sleep(Duration::from_millis(100)).await;
        a.handle.tools_changed();
        assert_eq!(
            timeout(SOON, get.message()).await.expect("it gets the announcement").unwrap().json()["method"],
            TOOLS
        );
    }
    sleep(SOON).await;
    let mut get = there.listen_primed().await;
    sleep(SOON).await;
    b.handle.tools_changed();
    assert_eq!(timeout(SOON, get.message()).await.expect("it gets the announcement").unwrap().json()["method"], TOOLS);
    assert!(get.is_silent().await);
}

/// The level that was set last applies, even if an older one is read from the engine meanwhile.
#[tokio::test(start_paused = true)]
async fn the_latest_log_level_applies() {
    let reads = Arc::new(AtomicBool::new(false));
    let slow = Arc::clone(&reads);
    let engine = FarEngine::new(move |step, _| {
        let back = if step.starts_with("load_state") && slow.swap(false, Ordering::Relaxed) { 1_000 } else { 0 };
        Pace { there: Duration::ZERO, back: Duration::from_millis(back) }
    });
    let app = node(&engine);
    let client = app.open().await;
    let get = client.listen_primed().await;
    set_level(&client, "debug").await;
    sleep(SOON).await;
    reads.store(true, Ordering::Relaxed);
    engine.signal(&Signal::Resync);
    sleep(Duration::from_millis(100)).await;
    set_level(&client, "error").await;
    sleep(SOON * 5).await;
    assert_eq!(client.call(2, "log", json!({})).await.sse().rest().await.len(), 2, "one error, one answer");
    drop(get);
}

/// The re-check after lost signals reads the new subscriptions.
#[tokio::test(start_paused = true)]
async fn resync_reads_new_subscriptions() {
    let engine = FarEngine::new(|_, _| Pace::YIELD);
    let (a, b) = (node(&engine), node(&engine));
    let here = a.open().await;
    let mut get = here.at(&b).listen_primed().await;
    engine.lose_signals(true);
    subscribe(&here, "test://fixed").await;
    engine.lose_signals(false);
    engine.signal(&Signal::Resync);
    sleep(SOON).await;
    a.handle.resource_updated("test://fixed");
    assert_eq!(get.message().await.unwrap().json()["method"], "notifications/resources/updated");
    assert!(get.is_silent().await);
}

/// A node that re-checks a session still serves requests for it.
#[tokio::test(start_paused = true)]
async fn a_get_during_a_resync_is_served() {
    let engine = FarEngine::new(|_, _| Pace { there: Duration::from_millis(1), back: Duration::from_millis(1) });
    let app = node(&engine);
    let client = app.open().await;
    for _ in 0..20 {
        engine.signal(&Signal::Resync);
        assert_eq!(app.send(client.request(Method::GET)).await.status, 200);
        sleep(Duration::from_micros(700)).await;
    }
}
