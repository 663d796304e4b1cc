//! Disconnects and cancellations: a client that disconnects does not cancel its call.

use std::time::Duration;

use mcp_http::{ResponseMode, Streams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, Client, Sse};

async fn calls_in_flight(app: &App) -> usize {
    app.handle.sessions().await.unwrap().iter().map(|session| session.calls).sum()
}

async fn noted(client: &Client, id: u32, label: &str) -> (Sse, String) {
    let mut stream = client.call(id, "note_and_hold", json!({"label": label})).await.sse();
    let first = stream.message().await.unwrap();
    (stream, first.id().to_owned())
}

/// Acceptance 103, 104, 113.
#[tokio::test(start_paused = true)]
async fn leaving_a_stream_does_not_cancel_the_call() {
    let client = App::new().open().await;
    let (stream, last) = noted(&client, 1, "a").await;
    drop(stream);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.app.probe.state("a"), Some("running"));
    client.app.probe.release("a");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(client.app.probe.state("a"), Some("finished"));
    assert_eq!(calls_in_flight(&client.app).await, 0);
    let rest = client.resume(&last).await.sse().rest().await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].json()["result"]["content"][0]["text"], "released");
    assert_eq!(client.text_of("echo", json!({"message": "alive"})).await, "alive");
}

/// The client disconnects before the response begins, in each response mode, and the call still
/// finishes.
///
/// Acceptance 103, 104.
#[tokio::test(start_paused = true)]
async fn leaving_before_the_response_does_not_cancel() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let client = App::in_mode(mode).open().await;
        let call = client.call(1, "hold", json!({"label": "a"}));
        let gone = tokio::time::timeout(Duration::from_millis(100), call).await;
        drop(gone);
        assert_eq!(client.app.probe.state("a"), Some("running"), "{mode:?}");
        client.app.probe.release("a");
        sleep(Duration::from_millis(1)).await;
        assert_eq!(client.app.probe.state("a"), Some("finished"), "{mode:?}");
        assert_eq!(calls_in_flight(&client.app).await, 0, "{mode:?}");
        assert_eq!(client.delete().await.status, 200);
    }
}

/// Acceptance 105, 164.
#[tokio::test(start_paused = true)]
async fn cancelled_streams_end_without_an_answer() {
    let client = App::new().open().await;
    let (mut stream, last) = noted(&client, 1, "a").await;
    let reply = client.cancel(1).await;
    assert_eq!((reply.status.as_u16(), reply.text().await.as_str()), (202, ""));
    assert_eq!(stream.next().await, None);
    assert_eq!(client.app.probe.state("a"), Some("cancelled"));
    assert_eq!(calls_in_flight(&client.app).await, 0);
    assert_eq!(client.resume(&last).await.status, 400, "there is nothing to come back for");
}

/// A cancelled call has no result, so its response is a stream without messages.
///
/// Acceptance 105, 164.
#[tokio::test(start_paused = true)]
async fn calls_cancelled_early_are_empty_streams() {
    for (mode, within) in [(ResponseMode::Auto, 100), (ResponseMode::Auto, 1_000), (ResponseMode::Sse, 100)] {
        let client = App::in_mode(mode).open().await;
        let asked = tokio::spawn({
            let client = client.clone();
            async move { client.call("x", "hold", json!({"label": "a"})).await.sse().rest().await }
        });
        sleep(Duration::from_millis(within)).await;
        assert_eq!(client.app.probe.state("a"), Some("running"));
        assert_eq!(client.cancel("x").await.status, 202);
        assert_eq!(asked.await.unwrap(), []);
        assert_eq!(client.app.probe.state("a"), Some("cancelled"));
        assert_eq!(calls_in_flight(&client.app).await, 0);
    }
}

/// The same rules apply without resumption, where streams retain nothing.
///
/// Acceptance 104, 105, 158.
#[tokio::test(start_paused = true)]
async fn disconnect_and_cancel_work_without_resumption() {
    let app = App::with(|service| service.streams(Streams::new().resumable(false)));
    let client = app.open().await;
    for (id, label) in [(1, "left"), (2, "cancelled")] {
        let mut stream = client.call(id, "note_and_hold", json!({"label": label})).await.sse();
        assert_eq!(stream.message().await.unwrap().id, None);
        if label == "left" {
            drop(stream);
            sleep(Duration::from_secs(1)).await;
            assert_eq!(app.probe.state(label), Some("running"));
            app.probe.release(label);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(app.probe.state(label), Some("finished"));
        } else {
            assert_eq!(client.cancel(id).await.status, 202);
            assert_eq!(stream.next().await, None);
            assert_eq!(app.probe.state(label), Some("cancelled"));
        }
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(app.handle.sessions().await.unwrap()[0].bytes, 0);
}

/// Acceptance 105, 164.
#[tokio::test(start_paused = true)]
async fn calls_cancelled_in_json_mode_get_202() {
    let client = App::in_mode(ResponseMode::Json).open().await;
    let call = async {
        let reply = client.call(1, "hold", json!({"label": "a"})).await;
        (reply.status.as_u16(), reply.text().await)
    };
    let cancel = async {
        sleep(Duration::from_millis(100)).await;
        client.cancel(1).await.status.as_u16()
    };
    assert_eq!(tokio::join!(call, cancel), ((202, String::new()), 202));
    assert_eq!(client.app.probe.state("a"), Some("cancelled"));
    assert_eq!(calls_in_flight(&client.app).await, 0);
}

/// Unknown, malformed and late cancellations are accepted with 202 and have no effect.
///
/// Acceptance 105.
#[tokio::test(start_paused = true)]
async fn unknown_cancellations_are_ignored() {
    let client = App::new().open().await;
    let (mut stream, _) = noted(&client, 1, "a").await;
    for unknown in [json!(2), json!("1"), json!("unknown"), Value::Null, json!({}), json!(1.5)] {
        assert_eq!(client.cancel(unknown).await.status, 202);
    }
    let without = json!({"jsonrpc": "2.0", "method": "notifications/cancelled"});
    assert_eq!(client.post(without).await.status, 202);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.app.probe.state("a"), Some("running"));
    client.app.probe.release("a");
    assert_eq!(stream.rest().await.len(), 1);
    assert_eq!(client.cancel(1).await.status, 202, "it is over already");
}

/// Ids are compared by type: the string `"1"` does not cancel the call with the number 1.
///
/// Acceptance 105.
#[tokio::test(start_paused = true)]
async fn only_the_call_that_is_named_is_cancelled() {
    let client = App::new().open().await;
    let (mut one, _) = noted(&client, 1, "one").await;
    let mut text = client.call("1", "note_and_hold", json!({"label": "text"})).await.sse();
    assert!(text.message().await.is_some());
    assert_eq!(client.cancel("1").await.status, 202);
    assert_eq!(text.next().await, None);
    assert_eq!(client.app.probe.state("text"), Some("cancelled"));
    assert_eq!(client.app.probe.state("one"), Some("running"));
    client.app.probe.release("one");
    assert_eq!(one.rest().await.len(), 1);
}

/// A cancellation only reaches calls of its own session, even if the ids are equal.
///
/// Acceptance 105.
#[tokio::test(start_paused = true)]
async fn a_cancellation_from_another_session_cancels_nothing() {
    let app = App::new();
    let (client, other) = (app.open().await, app.open().await);
    let (mut stream, _) = noted(&client, 1, "a").await;
    assert_eq!(other.cancel(1).await.status, 202);
    assert!(stream.is_silent().await);
    assert_eq!(app.probe.state("a"), Some("running"));
}

/// Acceptance 84, 162.
#[tokio::test(start_paused = true)]
async fn calls_with_equal_ids_are_both_answered() {
    let client = App::new().open().await;
    let (mut one, _) = noted(&client, 7, "one").await;
    let (mut two, _) = noted(&client, 7, "two").await;
    client.app.probe.release("two");
    assert_eq!(two.rest().await.len(), 1);
    assert!(one.is_silent().await);
    client.app.probe.release("one");
    let last = one.rest().await;
    assert_eq!((last.len(), &last[0].json()["id"]), (1, &json!(7)));

    let (mut one, _) = noted(&client, 7, "three").await;
    let (mut two, _) = noted(&client, 7, "four").await;
    assert_eq!(client.cancel(7).await.status, 202);
    assert!(one.is_silent().await && two.is_silent().await, "which of them was meant cannot be known");
}

/// Acceptance 84.
#[tokio::test(start_paused = true)]
async fn strict_services_reject_duplicate_ids() {
    let app = App::with(|service| service.streams(Streams::new().reject_duplicate_ids(true)));
    let client = app.open().await;
    let (mut stream, _) = noted(&client, 7, "a").await;
    let reply = client.call(7, "echo", json!({"message": "x"})).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.error().await, (-32600, Some(json!(7))));
    app.probe.release("a");
    assert_eq!(stream.rest().await.len(), 1);
    assert_eq!(client.call(7, "echo", json!({"message": "x"})).await.status, 200);
}

/// Its calls are cancelled and end with an error, while other sessions are not affected.
///
/// Acceptance 33, 165.
#[tokio::test(start_paused = true)]
async fn ended_sessions_end_their_calls_and_streams() {
    let app = App::new();
    let (client, other) = (app.open().await, app.open().await);
    let (mut call, _) = noted(&client, 1, "a").await;
    let mut get = client.listen().await;
    assert!(get.next().await.unwrap().primes());
    let (mut others, _) = noted(&other, 1, "b").await;
    assert_eq!(client.delete().await.status, 200);
    let rest = call.rest().await;
    assert!(rest.len() == 1 && rest[0].json()["error"]["code"] == -32603, "{rest:?}");
    assert!(get.rest().await.is_empty());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(app.probe.state("a"), Some("cancelled"));
    assert!(others.is_silent().await);
    app.probe.release("b");
    assert_eq!(others.rest().await.len(), 1);
}

/// The call is cancelled, and its client receives an error instead of waiting.
///
/// Acceptance 34, 165.
#[tokio::test(start_paused = true)]
async fn json_calls_fail_when_their_session_ends() {
    let client = App::in_mode(ResponseMode::Json).open().await;
    let end = async {
        sleep(Duration::from_millis(100)).await;
        client.delete().await.status
    };
    let (reply, status) = tokio::join!(client.call(1, "hold", json!({"label": "a"})), end);
    assert_eq!((reply.status.as_u16(), status.as_u16()), (500, 200));
    assert_eq!(reply.error().await, (-32603, Some(json!(1))));
    assert_eq!(client.app.probe.state("a"), Some("cancelled"));
}

/// A call sends log messages from the level that the client set, and only on the stream of the
/// call.
///
/// Acceptance 93.
#[tokio::test(start_paused = true)]
async fn log_messages_below_the_level_are_dropped() {
    let client = App::new().open().await;
    let mut get = client.listen().await;
    assert!(get.next().await.unwrap().primes());
    for (level, heard) in [
        (None, &["debug", "info", "warning", "error"][..]),
        (Some("warning"), &["warning", "error"]),
        (Some("emergency"), &[]),
        (Some("debug"), &["debug", "info", "warning", "error"]),
    ] {
        if let Some(level) = level {
            let set = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": level}});
            assert_eq!(client.post(set).await.message().await["result"], json!({}));
        }
        let reply = client.call(2, "log", json!({})).await;
        assert_eq!(reply.is_sse(), !heard.is_empty());
        if heard.is_empty() {
            continue;
        }
        let mut events = reply.sse().rest().await;
        assert_eq!(events.pop().unwrap().json()["result"]["content"][0]["text"], "logged");
        let levels: Vec<_> = events.iter().map(|event| event.json()["params"]["level"].clone()).collect();
        assert_eq!(levels, heard);
        assert_eq!(events[0].json()["params"]["logger"], "tools");
    }
    assert!(get.is_silent().await, "a call's log messages travel on its own stream");
}
