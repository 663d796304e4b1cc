//! The bytes of responses: their form, events, chunks and comments.

use std::time::Duration;

use axum::http::Method;
use mcp_http::ResponseMode;
use serde_json::json;

use crate::support::{App, Client, Reply};

const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

/// Returns a body in which `E` replaces the random part of the event ids, which belongs to the
/// session.
async fn body(reply: Reply) -> String {
    let text = reply.text().await;
    let epoch = text.lines().find_map(|line| line.strip_prefix("id: ")?.split('.').nth(2));
    match epoch.map(str::to_owned) {
        Some(epoch) => text.replace(&format!(".{epoch}\n"), ".E\n"),
        None => text,
    }
}

fn progress(step: u32, of: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"t","progress":{step},"total":{of}}}}}"#
    )
}

fn result(id: u32, text: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#)
}

/// Returns the messages as the events of stream `s`, numbered from 1.
fn events(s: u32, messages: &[String]) -> String {
    let event = |(n, message): (usize, &String)| format!("event: message\nid: {s}.{}.E\ndata: {message}\n\n", n + 1);
    messages.iter().enumerate().map(event).collect()
}

/// Acceptance 91, 92, 95, 106, 108, 109, 110.
#[tokio::test(start_paused = true)]
async fn each_mode_and_revision_has_its_exact_bodies() {
    let streamed = [progress(1, 2), progress(2, 2), result(2, "done")];
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        for version in VERSIONS {
            let client = App::in_mode(mode).open_version(version).await;
            let prime = |s: u32| {
                if version == "2025-11-25" { format!("id: {s}.0.E\ndata: \n\n") } else { String::new() }
            };

            let reply = client.call(1, "echo", json!({"message": "hi"})).await;
            let expected = match mode {
                ResponseMode::Sse => prime(1) + &events(1, &[result(1, "hi")]),
                _ => result(1, "hi"),
            };
            assert_eq!(reply.is_sse(), mode == ResponseMode::Sse);
            assert_eq!(body(reply).await, expected, "{mode:?} {version}: a call that only answers");

            let reply = client.call(2, "progress", json!({"steps": 2})).await;
            let expected = match mode {
                ResponseMode::Json => result(2, "done"),
                _ => prime(2) + &events(2, &streamed),
            };
            assert_eq!(reply.is_sse(), mode != ResponseMode::Json);
            assert_eq!(body(reply).await, expected, "{mode:?} {version}: a call that streams");
        }
    }
}

/// A call without messages becomes a stream after the stream-after delay, except in JSON mode or
/// with a longer delay.
///
/// Acceptance 92, 135.
#[tokio::test(start_paused = true)]
async fn silent_calls_stream_only_in_auto_mode() {
    let slow = json!({"ms": 2000, "label": "a"});
    let reply = App::in_mode(ResponseMode::Auto).open().await.call(1, "slow", slow.clone()).await;
    assert_eq!(body(reply).await, format!("id: 1.0.E\ndata: \n\n{}", events(1, &[result(1, "slept")])));
    let reply = App::in_mode(ResponseMode::Auto).open_version("2025-06-18").await.call(1, "slow", slow.clone()).await;
    assert_eq!(body(reply).await, format!(":\n\n{}", events(1, &[result(1, "slept")])));
    let reply = App::in_mode(ResponseMode::Json).open().await.call(1, "slow", slow.clone()).await;
    assert_eq!(body(reply).await, result(1, "slept"));
    let patient = App::streaming(|streams| streams.stream_after(Duration::from_secs(5)));
    assert_eq!(body(patient.open().await.call(1, "slow", slow).await).await, result(1, "slept"));
}

/// The `retry` hint is sent where the server closes a stream, and not in the priming event.
///
/// Acceptance 106, 180.
#[tokio::test(start_paused = true)]
async fn the_priming_event_has_an_id_only() {
    for (retry, line) in [(Some(Duration::from_millis(2500)), "retry: 2500\n\n"), (None, "")] {
        let app = App::streaming(|streams| streams.retry_interval(retry));
        let reply = app.open().await.call(1, "progress", json!({"steps": 0, "delay_ms": 0})).await;
        assert_eq!(body(reply).await, result(1, "done"));
        let app = App::streaming(|streams| streams.retry_interval(retry).response_mode(ResponseMode::Sse));
        let reply = app.open().await.call(1, "echo", json!({"message": "x"})).await;
        assert_eq!(body(reply).await, format!("id: 1.0.E\ndata: \n\n{}", events(1, &[result(1, "x")])));
        let reply = app.open().await.call(2, "close", json!({"after_ms": 10})).await;
        assert_eq!(body(reply).await, format!("id: 1.0.E\ndata: \n\n{line}"));
    }
}

/// Acceptance 108, 109, 119.
#[tokio::test(start_paused = true)]
async fn without_resumption_events_have_no_ids() {
    let app = App::streaming(|streams| streams.resumable(false));
    for version in VERSIONS {
        let client = app.open_version(version).await;
        let reply = client.call(1, "progress", json!({"steps": 1})).await;
        assert_eq!(
            reply.text().await,
            format!("event: message\ndata: {}\n\nevent: message\ndata: {}\n\n", progress(1, 1), result(1, "done")),
            "{version}"
        );
        let reply = client.call(2, "close", json!({"after_ms": 10})).await;
        assert_eq!(reply.text().await, result(2, "closed false"));
    }
}

/// Acceptance 98.
#[tokio::test(start_paused = true)]
async fn streams_carry_headers_against_proxy_buffering() {
    let client = App::new().open().await;
    let post = client.call(1, "progress", json!({"steps": 1})).await;
    let get = client.app.send(client.request(Method::GET)).await;
    for reply in [&post, &get] {
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        assert_eq!(reply.header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(reply.header("x-accel-buffering"), Some("no"));
        assert_eq!(reply.header("mcp-session-id"), Some(&*client.session));
        assert_eq!(reply.header("content-length"), None);
    }
}

/// Acceptance 98, 106.
#[tokio::test(start_paused = true)]
async fn a_get_stream_begins_at_once() {
    for (version, first) in [("2025-11-25", "\ndata: \n\n"), ("2025-06-18", ":\n\n")] {
        let client = App::new().open_version(version).await;
        let mut stream = client.listen().await;
        let event = stream.next_any().await.unwrap();
        assert_eq!(event.comment, version == "2025-06-18");
        assert_eq!(stream.chunks.len(), 1);
        assert!(stream.chunks[0].ends_with(first), "{:?}", stream.chunks);
    }
}

/// The events of a burst are written as one chunk, instead of one chunk each.
///
/// Acceptance 91.
#[tokio::test(start_paused = true)]
async fn a_burst_is_one_chunk() {
    let client = App::new().open().await;
    let mut stream = client.call(1, "progress", json!({"steps": 50})).await.sse();
    assert_eq!(stream.rest().await.len(), 51);
    assert_eq!(stream.chunks.len(), 1, "{:?}", stream.chunks);
}

async fn pending(client: &Client) -> crate::support::Sse {
    client.call(1, "slow", json!({"ms": 600_000, "label": "a"})).await.sse()
}

/// Returns the milliseconds until the next comment of the stream.
async fn comment(stream: &mut crate::support::Sse) -> u128 {
    let start = tokio::time::Instant::now();
    let event = stream.next_any().await.unwrap();
    assert!(event.comment, "{event:?}");
    start.elapsed().as_millis()
}

/// Acceptance 99, 100.
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_sends_a_comment_each_interval() {
    let client = App::streaming(|streams| streams.keep_alive(Duration::from_secs(10))).open().await;
    for mut stream in [client.listen().await, pending(&client).await] {
        assert!(stream.next_any().await.unwrap().primes());
        for _ in 0..4 {
            let after = comment(&mut stream).await;
            assert!((10_000..10_010).contains(&after), "{after} ms");
        }
        assert_eq!(stream.chunks[1..], [":\n\n", ":\n\n", ":\n\n", ":\n\n"]);
    }
}

/// The keep-alive interval counts from the last event that was sent.
///
/// Acceptance 99.
#[tokio::test(start_paused = true)]
async fn keep_alive_counts_from_the_last_event() {
    let client = App::streaming(|streams| streams.keep_alive(Duration::from_secs(10))).open().await;
    let mut stream = client.call(1, "progress", json!({"steps": 3, "delay_ms": 7_000})).await.sse();
    assert!(stream.next_any().await.unwrap().primes());
    for _ in 0..3 {
        let event = stream.next_any().await.unwrap();
        assert!(!event.comment, "a stream that is not quiet needs no comment");
    }
    let mut stream = client.listen().await;
    assert!(stream.next_any().await.unwrap().primes());
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.app.handle.tools_changed();
    assert!(!stream.next_any().await.unwrap().comment);
    let after = comment(&mut stream).await;
    assert!((10_000..10_010).contains(&after), "{after} ms");
}

/// Acceptance 99.
#[tokio::test(start_paused = true)]
async fn keep_alive_can_be_off_or_huge() {
    for never in [Duration::ZERO, Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        let client = App::streaming(|streams| streams.keep_alive(never)).open().await;
        let mut stream = client.listen().await;
        assert!(stream.next_any().await.unwrap().primes());
        assert!(stream.is_silent().await);
        tokio::time::sleep(Duration::from_secs(10_000)).await;
        assert!(stream.is_silent().await, "{never:?}");
        client.app.handle.tools_changed();
        assert_eq!(stream.next_any().await.unwrap().json()["method"], "notifications/tools/list_changed");
    }
}

/// Acceptance 99.
#[tokio::test(start_paused = true)]
async fn huge_settings_of_time_do_not_overflow() {
    let app = App::streaming(|streams| {
        streams.stream_after(Duration::MAX).slow_reader_timeout(Duration::MAX).keep_finished(4, Duration::MAX)
    });
    let client = app.open().await;
    let slow = client.call(1, "slow", json!({"ms": 20_000_000, "label": "a"}));
    let answer = tokio::time::timeout(Duration::from_secs(20_001), slow).await.unwrap();
    assert_eq!(answer.text().await, result(1, "slept"));
    let events = client.call(2, "progress", json!({"steps": 2000})).await.sse().rest().await;
    assert_eq!(events.len(), 2001);
}
