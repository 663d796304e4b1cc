//! Services used from several runtimes in a row, and engines that panic: background tasks start
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_http::error::StoreErrorKind;
use mcp_http::store::engine::Signal;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::support::{App, Client, FarEngine, Fault, Pace, service};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn switch() -> Arc<AtomicBool> {
    Arc::default()
}

/// Returns an engine of which one operation fails, or panics, while a switch is on.
fn engine(step: &'static str, fails: &Arc<AtomicBool>, panics: &Arc<AtomicBool>) -> FarEngine {
    let (fails, panics) = (Arc::clone(fails), Arc::clone(panics));
    let engine = FarEngine::new(move |name, _| {
        assert!(name != step || !panics.load(Ordering::Relaxed), "secret");
        Pace::YIELD
    });
    engine.failing(move |name| {
        (name == step && fails.load(Ordering::Relaxed)).then_some(Fault::Before(StoreErrorKind::Unavailable))
    })
}

fn over(engine: &FarEngine) -> App {
    let (service, _) = service();
    App::serve(service.engine(engine.clone()).build().unwrap())
}

#[test]
fn sessions_expire_after_their_runtime_is_gone() {
    let app = App::new();
    let first = runtime();
    let client = first.block_on(async { app.open().await });
    drop(first);
    runtime().block_on(async {
        assert_eq!(client.text_of("echo", json!({"message": "x"})).await, "x");
        sleep(Duration::from_secs(2_000)).await;
        assert_eq!(app.handle.statistics().await.sessions, Some(0));
    });
}

#[test]
fn a_call_ends_with_its_runtime() {
    let app = App::new();
    let first = runtime();
    let client = first.block_on(async {
        let client = app.open().await;
        let reply = client.call(1, "hold", json!({"label": "a"})).await;
        assert_eq!(app.handle.sessions().await.unwrap()[0].calls, 1);
        drop(reply);
        client
    });
    drop(first);
    runtime().block_on(async {
        assert_eq!(app.handle.sessions().await.unwrap()[0].calls, 0);
        assert_eq!(client.text_of("echo", json!({"message": "x"})).await, "x");
    });
}

/// Opens a session that listens, in a runtime of its own. A tool changes while the engine fails, and
/// the runtime ends some time later.
fn change_before_the_runtime_ends(app: &App, away: &AtomicBool, after: Duration) -> Client {
    runtime().block_on(async {
        let client = app.open().await;
        let mut listening = client.listen().await;
        assert!(listening.next().await.unwrap().primes());
        away.store(true, Ordering::Relaxed);
        app.handle.tools_changed();
        sleep(after).await;
        client
    })
}

/// The first runtime ends while the engine fails. The second one announces the change.
///
/// Acceptance 173.
#[test]
fn changes_are_announced_after_their_runtime_is_gone() {
    let away = switch();
    let engine = engine("announce", &away, &switch());
    let app = over(&engine);
    let client = change_before_the_runtime_ends(&app, &away, Duration::from_secs(5));
    away.store(false, Ordering::Relaxed);
    runtime().block_on(async {
        let mut listening = client.listen().await;
        app.handle.prompts_changed();
        for kind in ["tools", "prompts"] {
            let method = format!("notifications/{kind}/list_changed");
            assert_eq!(listening.message().await.unwrap().json()["method"], method);
        }
    });
}

/// The first runtime ends before the change is delivered. The second one delivers it.
///
/// Acceptance 173.
#[test]
fn changes_are_delivered_after_their_runtime_is_gone() {
    let away = switch();
    let engine = engine("deliver", &away, &switch());
    let app = over(&engine);
    let client = change_before_the_runtime_ends(&app, &away, Duration::from_millis(1_500));
    runtime().block_on(async {
        let mut listening = client.listen().await;
        sleep(Duration::from_secs(5)).await;
        away.store(false, Ordering::Relaxed);
        assert_eq!(listening.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
    });
}

/// The background task of each era continues after a panic of the engine.
///
/// Acceptance 173.
#[tokio::test(start_paused = true)]
async fn a_panicking_engine_is_called_again() {
    let panics = switch();
    let engine = engine("announced", &switch(), &panics);
    let app = over(&engine);
    let client = app.open().await;
    let mut listening = client.listen().await;
    assert!(listening.next().await.unwrap().primes());
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let mut modern = app.send(crate::support::modern("subscriptions/listen", filter)).await.sse();
    assert!(modern.message().await.unwrap().json()["method"].as_str().unwrap().contains("acknowledged"));
    panics.store(true, Ordering::Relaxed);
    engine.signal(&Signal::Resync);
    sleep(Duration::from_secs(1)).await;
    panics.store(false, Ordering::Relaxed);
    engine.lose_signals(true);
    app.handle.tools_changed();
    sleep(Duration::from_secs(1)).await;
    engine.signal(&Signal::Resync);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(modern.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
    engine.lose_signals(false);
    engine.signal(&Signal::Resync);
    assert_eq!(listening.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
}

/// A panic during the delivery to one session affects no session that waits for its turn.
///
/// Acceptance 173.
#[tokio::test(start_paused = true)]
async fn a_panic_in_one_delivery_loses_no_other() {
    let panics = switch();
    let app = over(&engine("deliver", &switch(), &panics));
    let mut listening = Vec::new();
    for _ in 0..40 {
        let mut stream = app.open().await.listen().await;
        assert!(stream.next().await.unwrap().primes());
        listening.push(stream);
    }
    panics.store(true, Ordering::Relaxed);
    app.handle.tools_changed();
    sleep(Duration::from_millis(100)).await;
    panics.store(false, Ordering::Relaxed);
    for stream in &mut listening {
        assert_eq!(stream.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
        assert!(stream.is_silent().await, "delivered twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_expiry_is_repeated() {
    let panics = switch();
    let app = over(&engine("expire", &switch(), &panics));
    app.open().await;
    panics.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(5)).await;
    panics.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(2_000)).await;
    assert_eq!(app.handle.statistics().await.sessions, Some(0));
}

/// After a panic in any of these operations, the next request is served.
///
/// Acceptance 83.
#[tokio::test(start_paused = true)]
async fn an_engine_that_panics_costs_one_request() {
    for step in ["begin", "load", "announced", "append", "attach"] {
        let panics = switch();
        let app = over(&engine(step, &switch(), &panics));
        let client = app.open().await;
        panics.store(true, Ordering::Relaxed);
        for reply in [
            client.call(1, "echo", json!({"message": "x"})).await,
            client.call(2, "progress", json!({"steps": 2})).await,
        ] {
            let text = reply.text().await;
            assert!(!text.contains("secret"), "{step} {text}");
        }
        panics.store(false, Ordering::Relaxed);
        assert_eq!(client.text_of("echo", json!({"message": "x"})).await, "x", "{step}");
    }
}
