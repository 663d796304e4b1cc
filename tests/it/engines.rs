//! Remote engines: every operation takes time, and the behaviour must not depend on its speed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use mcp_http::error::StoreErrorKind;
use mcp_http::{ResponseMode, Sessions, Streams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::{App, Client, FarEngine, Fault, Pace, RequestExt, request, whole};

const fn pace(there: u64, back: u64) -> Pace {
    Pace { there: Duration::from_millis(there), back: Duration::from_millis(back) }
}

const PACES: [Pace; 4] = [Pace::YIELD, pace(5, 0), pace(0, 5), pace(3, 40)];

/// Waits until no call runs and no reader is attached, which takes time with a remote engine.
async fn at_rest(client: &Client) {
    for _ in 0..200 {
        let sessions = client.app.handle.sessions().await.unwrap();
        if sessions.iter().all(|session| session.calls == 0 && session.readers == 0) {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("something is left: {:?}", client.app.handle.sessions().await.unwrap());
}

/// Acceptance 26, 27, 30, 91, 106, 111, 114.
#[tokio::test(start_paused = true)]
async fn slow_engines_serve_a_whole_conversation() {
    for pace in PACES {
        let client = App::far(pace).open().await;
        assert_eq!(client.text_of("echo", json!({"message": "hi"})).await, "hi");
        for count in 1..4 {
            assert_eq!(client.text_of("count", json!({})).await, count.to_string());
        }
        let mut stream = client.call(2, "progress", json!({"steps": 5, "delay_ms": 10})).await.sse();
        assert!(stream.next().await.unwrap().primes());
        whole(&stream.rest().await, 5);

        let mut get = client.listen().await;
        assert!(get.next().await.unwrap().primes());
        client.app.handle.tools_changed();
        assert_eq!(get.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
        assert!(get.is_silent().await);
        drop(get);

        assert_eq!(client.text_of("slow", json!({"ms": 700, "label": "s"})).await, "slept");
        at_rest(&client).await;
        assert_eq!(client.delete().await.status, 200);
        assert_eq!(client.call(3, "echo", json!({"message": "hi"})).await.status, 404);
        assert!(client.app.handle.sessions().await.unwrap().is_empty());
    }
}

/// Acceptance 111, 113, 115, 161.
#[tokio::test(start_paused = true)]
async fn slow_engines_resume_without_gaps() {
    for pace in PACES {
        for cut in 0..=5 {
            for away in [0, 4, 30, 3_000] {
                let client = App::far(pace).open().await;
                let arguments = json!({"steps": 5, "delay_ms": 10});
                let seen = client.call_cut_after(cut, arguments, &client, Duration::from_millis(away)).await;
                whole(&seen, 5);
                at_rest(&client).await;
            }
        }
    }
}

/// Acceptance 118.
#[tokio::test(start_paused = true)]
async fn slow_engines_serve_a_takeover() {
    for pace in PACES {
        for at in 1..60 {
            let client = App::far(pace).open().await;
            let mut old = client.call(1, "progress", json!({"steps": 5, "delay_ms": 10})).await.sse();
            let prime = old.next().await.unwrap();
            sleep(Duration::from_millis(at)).await;
            let mut new = client.resume(prime.id()).await.sse();
            let (before, after) = tokio::join!(old.rest(), new.rest());
            whole(&after, 5);
            assert_eq!(before, after[..before.len()]);
            at_rest(&client).await;
        }
    }
}

/// Acceptance 94, 105, 164.
#[tokio::test(start_paused = true)]
async fn slow_engines_serve_client_requests_and_cancellations() {
    for pace in PACES {
        let client = App::far(pace).open().await;
        let mut stream = client.call(1, "ask", json!({})).await.sse();
        let id = stream.message().await.unwrap().json()["id"].clone();
        let answer =
            |name: &str| json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"name": name}}});
        assert_eq!(client.post(answer("Ann")).await.status, 202);
        assert_eq!(client.post(answer("Bob")).await.status, 202);
        let rest = stream.rest().await;
        assert_eq!(rest[0].json()["result"]["content"][0]["text"], "accept Ann");

        let mut stream = client.call(2, "note_and_hold", json!({"label": "a"})).await.sse();
        assert!(stream.message().await.is_some());
        assert_eq!(client.cancel(2).await.status, 202);
        assert_eq!(stream.next().await, None);
        assert_eq!(client.app.probe.state("a"), Some("cancelled"));
        at_rest(&client).await;
    }
}

/// Acceptance 119, 120.
#[tokio::test(start_paused = true)]
async fn slow_engines_close_streams() {
    for pace in PACES {
        for before in [0, 2, 10, 100] {
            let client = App::far(pace).open().await;
            let close = json!({"before_ms": before, "after_ms": 300, "retry_ms": 20});
            let mut stream = client.call(1, "close", close).await.sse();
            let (mut last, mut retry) = (String::new(), None);
            while let Some(event) = stream.next().await {
                last = event.id.unwrap_or(last);
                retry = event.retry.or(retry);
            }
            assert_eq!(retry, Some(20));
            let rest = client.resume(&last).await.sse().rest().await;
            assert_eq!(rest[0].json()["result"]["content"][0]["text"], "closed true");
            at_rest(&client).await;
        }
    }
}

/// A client that reads must never count as a slow reader.
///
/// Acceptance 102, 163.
#[tokio::test(start_paused = true)]
async fn slow_engines_lose_nothing_of_a_burst() {
    for pace in PACES {
        for mode in [ResponseMode::Auto, ResponseMode::Sse] {
            let app = App::with(|service| {
                let service = service.streams(Streams::new().response_mode(mode));
                service.engine(FarEngine::new(move |_, _| pace))
            });
            let client = app.open().await;
            let mut stream = client.call(1, "progress", json!({"steps": 5_000})).await.sse();
            let events = stream.rest().await;
            whole(&events, 5_000);
            let statistics = app.handle.statistics().await;
            assert_eq!((statistics.dropped, statistics.slow_readers), (0, 0), "{pace:?}");
        }
    }
}

/// Acceptance 155.
#[tokio::test(start_paused = true)]
async fn a_slow_session_delays_no_other() {
    let slow = Arc::new(Mutex::new(None));
    let named = Arc::clone(&slow);
    let engine = FarEngine::new(move |step, session| {
        let slow = session.is_some() && session == *named.lock().unwrap() && step == "append";
        if slow { pace(5_000, 0) } else { Pace::YIELD }
    });
    let app = App::with(|service| service.engine(engine));
    let (victim, other) = (app.open().await, app.open().await);
    let sessions = app.handle.sessions().await.unwrap();
    let id = sessions.iter().map(|session| session.info.id).find(|id| id.to_string() == victim.session);
    *slow.lock().unwrap() = Some(id.unwrap());

    let start = Instant::now();
    let delayed = tokio::spawn(async move {
        let reply = victim.call(1, "progress", json!({"steps": 2})).await;
        (reply.sse().rest().await, start.elapsed().as_secs())
    });
    sleep(Duration::from_millis(1)).await;
    for id in 0..50 {
        assert_eq!(other.text_of("echo", json!({"message": "quick"})).await, "quick");
        whole(&other.call(id, "progress", json!({"steps": 3})).await.sse().rest().await, 3);
    }
    let mut get = other.listen().await;
    assert!(get.next().await.unwrap().primes());
    app.handle.tools_changed();
    assert!(get.message().await.is_some());
    drop(get);
    assert_eq!(other.delete().await.status, 200);
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    let (events, took) = delayed.await.unwrap();
    whole(&events, 2);
    assert!((5..=10).contains(&took), "{took}");
}

/// The session ends at any moment of a call, and the call always gets a response.
///
/// Acceptance 33, 165.
#[tokio::test(start_paused = true)]
async fn a_session_can_end_during_any_call() {
    for pace in PACES {
        for at in 0..80 {
            let client = App::far(pace).open().await;
            let call = tokio::spawn({
                let client = client.clone();
                async move {
                    let reply = client.call(1, "progress", json!({"steps": 3, "delay_ms": 10})).await;
                    (reply.status.as_u16(), reply.text().await)
                }
            });
            sleep(Duration::from_millis(at)).await;
            assert_eq!(client.delete().await.status, 200);
            let (status, text) = call.await.unwrap();
            assert!([200, 404, 500].contains(&status), "{pace:?} {at}: {status} {text}");
            assert!(client.app.handle.sessions().await.unwrap().is_empty());
            assert_eq!(client.app.handle.drain(Duration::from_secs(60)).await.cut_calls, 0);
        }
    }
}

/// Acceptance 105, 107, 123, 164.
#[tokio::test(start_paused = true)]
async fn calls_cancelled_during_a_write_leave_nothing() {
    let app = App::with(|service| {
        let slow = |step: &str, _| if step == "append" { pace(5_000, 0) } else { Pace::YIELD };
        service.engine(FarEngine::new(slow))
    });
    let client = app.open().await;
    let start = Instant::now();
    let mut stream = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    assert!(stream.next().await.unwrap().primes(), "before anything is stored");
    assert!(start.elapsed() < Duration::from_secs(6));
    assert_eq!(client.cancel(1).await.status, 202);
    let events = stream.rest().await;
    assert!(events.iter().all(|event| event.json()["method"] == "notifications/progress"));
    assert_eq!(app.probe.state("a"), Some("cancelled"));
    at_rest(&client).await;
    assert_eq!(app.handle.sessions().await.unwrap()[0].bytes, 0);
}

/// If the client of a DELETE disconnects, the session still ends and `on_close` is called once.
///
/// Acceptance 43, 155.
#[tokio::test(start_paused = true)]
async fn a_delete_finishes_after_its_client_disconnects() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&closed);
    let sessions = Sessions::new().on_close(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {}
    });
    let slow = |name: &str, _: Option<mcp_http::SessionId>| {
        let back = if name == "end_session" { Duration::from_secs(5) } else { Duration::ZERO };
        Pace { back, ..Pace::YIELD }
    };
    let app = App::with(|service| service.sessions(sessions).engine(FarEngine::new(slow)));
    let client = app.open().await;
    assert!(tokio::time::timeout(Duration::from_secs(1), client.delete()).await.is_err(), "it takes five");
    sleep(Duration::from_secs(10)).await;
    let statistics = app.handle.statistics().await;
    assert_eq!((closed.load(Ordering::Relaxed), statistics.ended.values().sum::<u64>()), (1, 1));
}

/// If the session ends during a resumption, the client gets 404 for the session and not an error
/// about the stream.
#[tokio::test(start_paused = true)]
async fn a_session_ending_during_resumption_is_404() {
    let slow = |name: &str, _: Option<mcp_http::SessionId>| match name {
        "attach" => pace(1_000, 0),
        _ => Pace::YIELD,
    };
    let app = App::with(|service| service.engine(FarEngine::new(slow)));
    let client = app.open().await;
    let mut stream = client.call(1, "progress", json!({"steps": 5, "delay_ms": 10})).await.sse();
    let id = stream.next().await.unwrap().id().to_owned();
    let deleted = async {
        sleep(Duration::from_millis(500)).await;
        client.delete().await.status
    };
    let (reply, deleted) = tokio::join!(client.resume(&id), deleted);
    assert_eq!((deleted.as_u16(), reply.status.as_u16()), (200, 404), "{:?}", reply.rejection);
}

/// A conflict while appending shows that the engine lost the stream, so the handler is stopped.
#[tokio::test(start_paused = true)]
async fn calls_with_a_lost_stream_are_stopped() {
    let appends = AtomicUsize::new(0);
    let engine = FarEngine::new(|_, _| Pace::YIELD).failing(move |name| {
        let forgets = name == "append" && appends.fetch_add(1, Ordering::Relaxed) == 3;
        forgets.then_some(Fault::Before(StoreErrorKind::Conflict))
    });
    let app = App::with(|service| service.engine(engine));
    let client = app.open().await;
    let start = Instant::now();
    let mut stream = client.call(1, "progress", json!({"steps": 1_000, "delay_ms": 100})).await.sse();
    let events = stream.rest().await;
    let steps: Vec<_> =
        events.iter().filter(|event| !event.primes()).map(|event| event.json()["params"]["progress"].clone()).collect();
    assert_eq!(steps, [1, 2, 3]);
    assert!(start.elapsed() < Duration::from_secs(5), "its handler went on");
    at_rest(&client).await;
}

/// Sessions that an earlier service left in the engine expire too.
#[tokio::test(start_paused = true)]
async fn sessions_of_an_earlier_service_expire() {
    let engine = FarEngine::new(|_, _| Pace::YIELD);
    let app = || {
        let sessions = Sessions::new().idle_timeout(Duration::from_secs(60));
        App::with(|service| service.sessions(sessions).engine(engine.clone()))
    };
    let before = app();
    before.open().await;
    drop(before);
    let after = app();
    assert_eq!(after.handle.statistics().await.sessions, Some(1));
    assert_eq!(after.send(request(Method::POST).message(json!({}))).await.status, 400);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(after.handle.statistics().await.sessions, Some(0));
}
