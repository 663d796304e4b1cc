//! Resumption: each event arrives once and in order, the answer last, wherever the connection
//! broke.

use std::time::Duration;

use axum::http::Method;
use mcp_http::ResponseMode;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, Client, Event, Reply, RequestExt, Sse, steps};

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| u64::from_str_radix(event.id().split('.').nth(1).unwrap(), 36).unwrap()).collect()
}

#[track_caller]
fn whole(events: &[Event], count: u64) {
    crate::support::whole(events, count);
    assert_eq!(seqs(events), (1..=count + 1).collect::<Vec<_>>());
}

async fn rejected(reply: Reply) -> String {
    assert_eq!(reply.status, 400);
    let body = reply.json().await;
    assert_eq!(body["error"]["code"], -32600);
    assert_eq!(body.get("id"), None);
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// The connection breaks after each event, during the call and after its end.
///
/// Acceptance 110, 111, 115, 161.
#[tokio::test(start_paused = true)]
async fn broken_streams_resume_without_gaps() {
    const STEPS: u64 = 6;
    for delay in [0, 10] {
        for pause in [0, 5, 25, 2_000] {
            for cut in 0..=STEPS + 1 {
                let client = App::new().open().await;
                let mut stream = client.call(1, "progress", json!({"steps": STEPS, "delay_ms": delay})).await.sse();
                let prime = stream.next().await.unwrap();
                assert!(prime.primes());
                let (mut seen, mut last) = (Vec::new(), prime.id().to_owned());
                for _ in 0..cut {
                    let event = stream.message().await.unwrap();
                    last = event.id().to_owned();
                    seen.push(event);
                }
                drop(stream);
                sleep(Duration::from_millis(pause)).await;
                let mut rest = client.resume(&last).await.sse();
                let again = rest.next().await.unwrap();
                assert_eq!((again.primes(), again.id()), (true, &*last));
                seen.extend(rest.rest().await);
                whole(&seen, STEPS);
            }
        }
    }
}

/// The connection breaks after each event, repeatedly, during one call.
///
/// Acceptance 111, 115.
#[tokio::test(start_paused = true)]
async fn breaks_after_each_event_lose_nothing() {
    let client = App::new().open().await;
    let mut stream = client.call(1, "progress", json!({"steps": 20, "delay_ms": 10})).await.sse();
    let mut seen: Vec<Event> = Vec::new();
    while let Some(event) = stream.message().await {
        stream = client.resume(event.id()).await.sse();
        seen.push(event);
    }
    whole(&seen, 20);
}

/// A newer reader takes over at each event of the live stream.
///
/// Acceptance 118, 153.
#[tokio::test(start_paused = true)]
async fn live_streams_are_taken_over_at_any_moment() {
    for at in 0..5 {
        let client = App::new().open().await;
        let mut old = client.call(1, "progress", json!({"steps": 5, "delay_ms": 10})).await.sse();
        let mut last = old.next().await.unwrap().id().to_owned();
        let mut seen = Vec::new();
        for _ in 0..at {
            let event = old.message().await.unwrap();
            last = event.id().to_owned();
            seen.push(event);
        }
        let mut new = client.resume(&last).await.sse();
        // Events that were already sent may still be read from the old connection.
        let mut left = Vec::new();
        while let Some(event) = old.next().await {
            left.push(event);
        }
        let farewell = left.pop().unwrap();
        assert_eq!((farewell.retry, farewell.data.as_deref()), (Some(5_000), None), "at {at}");
        assert!(left.len() <= 1);
        seen.extend(new.rest().await);
        whole(&seen, 5);
    }
}

/// The client can resume after any event, any number of times.
///
/// Acceptance 114.
#[tokio::test(start_paused = true)]
async fn finished_calls_can_be_replayed_repeatedly() {
    let client = App::new().open().await;
    let mut stream = client.call(1, "progress", json!({"steps": 3})).await.sse();
    let prime = stream.next().await.unwrap();
    let all = stream.rest().await;
    for _ in 0..3 {
        assert_eq!(client.resume(prime.id()).await.sse().rest().await, all);
        assert_eq!(client.resume(all[1].id()).await.sse().rest().await, all[2..]);
        assert_eq!(client.resume(all[3].id()).await.sse().rest().await, []);
    }
}

/// Ids of other sessions, of later events or of another form are rejected, with the reason.
///
/// Acceptance 112, 116, 117, 29.
#[tokio::test(start_paused = true)]
async fn unknown_event_ids_get_400() {
    let app = App::new();
    let (client, other) = (app.open().await, app.open().await);
    let events = client.call(1, "progress", json!({"steps": 2})).await.sse().rest().await;
    let foreign = other.call(1, "progress", json!({"steps": 2})).await.sse().rest().await;
    let epoch = events[0].id().rsplit('.').next().unwrap();
    let beyond = format!("1.4.{epoch}");
    for id in [
        foreign[0].id(),
        &beyond,
        "1.1.0",
        "garbage",
        "1",
        "1.1",
        "..",
        "1.1.1.1",
        "-1.1.1",
        "1.1.zzzzzzzzzzzzzzzzzzzzzzzz",
    ] {
        let why = rejected(client.resume(id).await).await;
        assert_eq!(why, "Bad request: Last-Event-ID names no event of this session", "{id:?}");
    }
    for (id, why) in [(format!("9.1.{epoch}"), "available"), (format!("9.0.{epoch}"), "available")] {
        let told = rejected(client.resume(&id).await).await;
        assert!(told.contains(why), "{told}");
    }
    assert_eq!(client.resume(events[2].id()).await.status, 200);
    assert_eq!(other.delete().await.status, 200);
    assert_eq!(other.resume(foreign[0].id()).await.status, 404);
}

/// A client may send an empty `Last-Event-ID` where it has none.
///
/// Acceptance 116.
#[tokio::test(start_paused = true)]
async fn an_empty_event_id_is_a_fresh_get() {
    let client = App::new().open().await;
    let mut get = client.resume("").await.sse();
    assert!(get.next_any().await.unwrap().primes());
    client.app.handle.tools_changed();
    assert_eq!(get.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
}

/// The time is the one of `Streams::keep_finished`. Afterwards the session holds no bytes.
///
/// Acceptance 122.
#[tokio::test(start_paused = true)]
async fn finished_streams_expire_and_get_400() {
    let client = App::streaming(|streams| streams.keep_finished(8, Duration::from_secs(60))).open().await;
    let events = client.call(1, "progress", json!({"steps": 1})).await.sse().rest().await;
    sleep(Duration::from_secs(58)).await;
    assert_eq!(client.resume(events[0].id()).await.sse().rest().await.len(), 1);
    sleep(Duration::from_secs(5)).await;
    let why = rejected(client.resume(events[0].id()).await).await;
    assert!(why.contains("available"), "{why}");
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].bytes, 0);
}

/// The limit is a number of streams. The oldest streams are removed first.
///
/// Acceptance 122.
#[tokio::test(start_paused = true)]
async fn the_newest_finished_streams_are_retained() {
    let client = App::streaming(|streams| streams.keep_finished(3, Duration::from_secs(60))).open().await;
    let mut last = Vec::new();
    for id in 1..=5 {
        let events = client.call(id, "progress", json!({"steps": 1})).await.sse().rest().await;
        last.push(events[0].id().to_owned());
    }
    let mut kept = Vec::new();
    for id in &last {
        kept.push(client.resume(id).await.status.as_u16());
    }
    assert_eq!(kept, [400, 400, 200, 200, 200]);
}

/// With `Streams::resumable(false)`, a `Last-Event-ID` is rejected, and a fresh GET is served.
///
/// Acceptance 117.
#[tokio::test(start_paused = true)]
async fn without_resumption_rejections_give_the_reason() {
    let client = App::streaming(|streams| streams.resumable(false)).open().await;
    let why = rejected(client.resume("1.0.a").await).await;
    assert!(why.to_lowercase().contains("resum"), "{why}");
    assert_eq!(client.app.send(client.request(Method::GET)).await.status, 200);
}

/// Resumption is older than the event that primes a stream: clients of older revisions can resume.
///
/// Acceptance 108.
#[tokio::test(start_paused = true)]
async fn older_revisions_resume_without_a_priming_event() {
    for version in ["2025-03-26", "2025-06-18"] {
        let client = App::new().open_version(version).await;
        let mut stream = client.call(1, "progress", json!({"steps": 3, "delay_ms": 5})).await.sse();
        let first = stream.next_any().await.unwrap();
        assert!(!first.primes() && first.retry.is_none());
        drop(stream);
        let mut rest = client.resume(first.id()).await.sse();
        let mut seen = vec![first];
        while let Some(event) = rest.next_any().await {
            assert!(!event.primes() && event.retry.is_none());
            if !event.comment {
                seen.push(event);
            }
        }
        whole(&seen, 3);
    }
}

/// The session's revision counts, not the header of a single request.
///
/// Acceptance 108.
#[tokio::test(start_paused = true)]
async fn priming_follows_the_revision_of_the_session() {
    let client = App::new().open().await;
    let call = crate::support::call(1, "progress", json!({"steps": 1}));
    let request = client.request(Method::POST).message(call).header("mcp-protocol-version", "2025-03-26");
    assert!(client.app.send(request).await.sse().next_any().await.unwrap().primes());
}

/// Returns the events that a client gets when it resumes thirty seconds after the first one, and
/// the first event's id.
async fn absent(client: &Client, steps: u32) -> (Vec<Event>, String) {
    let mut stream = client.call(1, "progress", json!({"steps": steps, "delay_ms": 10})).await.sse();
    let first = stream.message().await.unwrap();
    drop(stream);
    sleep(Duration::from_secs(30)).await;
    let events = client.resume(first.id()).await.sse().rest().await;
    (events, first.id().to_owned())
}

/// When the replay buffer overflows, the client gets the number of lost events, the last events and
/// the answer.
///
/// Acceptance 122, 175.
#[tokio::test(start_paused = true)]
async fn gaps_are_reported_and_the_answer_survives() {
    let app = App::streaming(|streams| streams.replay_buffer(10, 1 << 20).keep_finished(8, Duration::from_secs(7200)));
    let client = app.open().await;
    let (events, first) = absent(&client, 100).await;
    let hole = events[0].json();
    assert_eq!(hole["method"], "notifications/message");
    assert_eq!(
        hole["params"],
        json!({"level": "warning", "logger": "mcp-http", "data": {"reason": "events_lost", "lost": 89}})
    );
    assert_eq!(steps(&events[1..11]), (91..=100).map(Value::from).collect::<Vec<_>>());
    assert_eq!(events.len(), 12);
    assert_eq!(events[11].json()["result"]["content"][0]["text"], "done");
    assert_eq!(app.handle.statistics().await.dropped, 89);

    let after = client.resume(events[0].id()).await.sse().rest().await;
    assert_eq!(after, events[1..], "a gap is reported once");
    assert_eq!(client.resume(&first).await.sse().rest().await, events);
}

/// The limit is a number of bytes.
///
/// Acceptance 122.
#[tokio::test(start_paused = true)]
async fn retained_bytes_of_a_stream_are_bounded() {
    let app = App::streaming(|streams| streams.replay_buffer(1_000, 1_000).keep_finished(8, Duration::from_secs(7200)));
    let client = app.open().await;
    let (events, _) = absent(&client, 100).await;
    let kept: usize = events[1..events.len() - 1].iter().map(|event| event.data.as_ref().unwrap().len()).sum();
    assert!((800..=1_000).contains(&kept), "{kept}");
    let lost = events[0].json()["params"]["data"]["lost"].as_u64().unwrap();
    assert_eq!(usize::try_from(lost).unwrap() + events.len() - 2, 99);
}

/// A deleted session holds no bytes, its events cannot be replayed, and its streams end.
///
/// Acceptance 122.
#[tokio::test(start_paused = true)]
async fn a_deleted_session_retains_no_bytes() {
    let app = App::new();
    let client = app.open().await;
    let (_, first) = absent(&client, 5).await;
    let stream = client.call(2, "note_and_hold", json!({"label": "a"})).await;
    assert!(app.handle.sessions().await.unwrap()[0].bytes > 0);
    assert_eq!(client.delete().await.status, 200);
    assert!(app.handle.sessions().await.unwrap().is_empty());
    assert_eq!(client.resume(&first).await.status, 404);
    let rest = stream.sse().rest().await;
    assert!(rest.len() == 1 && rest[0].json()["error"]["code"] == -32603, "{rest:?}");
}

/// JSON answers are not kept, because their clients have no event id to resume from.
///
/// Acceptance 114, 161.
#[tokio::test(start_paused = true)]
async fn json_answers_are_not_retained() {
    let app = App::streaming(|streams| streams.response_mode(ResponseMode::Json));
    let client = app.open().await;
    assert_eq!(client.text_of("progress", json!({"steps": 5})).await, "done");
    let mut get: Sse = client.listen().await;
    let epoch = get.next().await.unwrap().id().rsplit('.').next().unwrap().to_owned();
    rejected(client.resume(&format!("1.0.{epoch}")).await).await;
    assert_eq!(app.handle.sessions().await.unwrap()[0].bytes, 0);
}

/// All 128 finished streams are kept until their clients have resumed them.
///
/// Acceptance 161.
#[tokio::test(start_paused = true)]
async fn every_call_in_flight_retains_its_answer() {
    let at_once = mcp_http::Streams::new().response_mode(ResponseMode::Sse);
    let client = App::with(|service| service.streams(at_once)).open().await;
    let mut ids = Vec::new();
    for call in 1..=128 {
        let mut stream =
            client.call(call, "slow", serde_json::json!({"ms": 5_000, "label": call.to_string()})).await.sse();
        ids.push(stream.next().await.unwrap().id().to_owned());
    }
    sleep(Duration::from_secs(20)).await;
    for id in ids {
        assert_eq!(client.resume(&id).await.message().await["result"]["content"][0]["text"], "slept", "{id}");
    }
}
