//! The standalone stream: which client receives the messages that belong to no call.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use mcp_http::message::RawJson;
use mcp_http::{Context, McpServiceBuilder, Sessions, Streams};
use serde_json::json;
use tokio::time::sleep;

use crate::support::{App, RequestExt, Sse};

const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";

async fn method(stream: &mut Sse) -> String {
    stream.message().await.unwrap().json()["method"].as_str().unwrap().to_owned()
}

/// A message of a call is sent on the stream of the call, and all others on the standalone stream.
///
/// Acceptance 46, 93.
#[tokio::test(start_paused = true)]
async fn each_message_is_sent_on_one_stream() {
    let app = App::new();
    let (client, other, deaf) = (app.open().await, app.open().await, app.open().await);
    let (mut get, mut others) = (client.listen_primed().await, other.listen_primed().await);
    let mut call = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    let mut second = client.call(2, "note_and_hold", json!({"label": "b"})).await.sse();
    for stream in [&mut call, &mut second] {
        assert_eq!(method(stream).await, "notifications/progress");
    }
    app.handle.tools_changed();
    for stream in [&mut get, &mut others] {
        assert_eq!(method(stream).await, TOOLS);
        assert!(stream.is_silent().await);
    }
    assert!(call.is_silent().await && second.is_silent().await);
    app.probe.release("b");
    assert_eq!(second.rest().await[0].json()["id"], 2);
    assert!(call.is_silent().await && get.is_silent().await && others.is_silent().await);
    app.probe.release("a");
    assert_eq!(call.rest().await[0].json()["id"], 1);
    assert_eq!(deaf.delete().await.status, 200);
}

/// Only subscribers receive the update, and only until they unsubscribe.
///
/// Acceptance 46.
#[tokio::test(start_paused = true)]
async fn resource_updates_reach_only_subscribers() {
    let app = App::new();
    let (client, other) = (app.open().await, app.open().await);
    let (mut get, mut others) = (client.listen_primed().await, other.listen_primed().await);
    let ask = |method: &str| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": "test://fixed"}});
    assert_eq!(client.post(ask("resources/subscribe")).await.message().await["result"], json!({}));
    app.handle.resource_updated("test://fixed");
    app.handle.resource_updated("test://item/1");
    let told = get.message().await.unwrap().json();
    assert_eq!(told["method"], "notifications/resources/updated");
    assert_eq!(told["params"], json!({"uri": "test://fixed"}));
    assert_eq!(client.post(ask("resources/unsubscribe")).await.message().await["result"], json!({}));
    app.handle.resource_updated("test://fixed");
    assert!(get.is_silent().await && others.is_silent().await);
}

/// Events are dropped until the standalone stream has had a reader.
///
/// Acceptance 97.
#[tokio::test(start_paused = true)]
async fn events_before_the_first_reader_are_dropped() {
    let app = App::serving(
        |server| {
            server.tool("aside", "Notifies the session.", async |cx: Context| {
                cx.session().unwrap().notify("notifications/custom", &RawJson::empty_object());
                "told"
            })
        },
        |service| service,
    );
    let client = app.open().await;
    app.handle.tools_changed();
    assert_eq!(client.text_of("aside", json!({})).await, "told");
    let mut get = client.listen_primed().await;
    assert!(get.is_silent().await, "who never listened has missed nothing");
    assert_eq!(client.text_of("aside", json!({})).await, "told");
    assert_eq!(method(&mut get).await, "notifications/custom");
}

/// An application can greet each session when its client first opens the standalone stream.
#[tokio::test(start_paused = true)]
async fn applications_can_wait_for_the_first_reader() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let app = App::with(|service| {
        let told = Arc::clone(&told);
        let sessions = Sessions::new().on_open(move |session| {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let greeting = RawJson::empty_object();
                for _ in 0..3 {
                    let opens = session.stream_opened();
                    let heard = session.try_notify("notifications/greeting", &greeting).await;
                    told.lock().unwrap().push(heard.unwrap());
                    opens.await;
                }
            });
            async { Ok(()) }
        });
        service.sessions(sessions)
    });
    let client = app.open().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(*told.lock().unwrap(), [false]);
    let mut get = client.listen_primed().await;
    assert_eq!(method(&mut get).await, "notifications/greeting");
    assert!(get.is_silent().await);
    assert_eq!(*told.lock().unwrap(), [false, true]);
    // The end of the session also ends the wait.
    assert_eq!(client.delete().await.status, 200);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(*told.lock().unwrap(), [false, true, false]);
}

/// A second GET replaces the first, which is closed with a `retry` hint of 5 seconds.
///
/// Acceptance 101, 118.
#[tokio::test(start_paused = true)]
async fn the_newest_get_replaces_the_older() {
    for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
        let client = App::new().open_version(version).await;
        let mut old = client.listen().await;
        assert!(old.next_any().await.is_some());
        let mut new = client.listen().await;
        assert!(new.next_any().await.is_some());
        let farewell = old.next().await;
        assert_eq!(farewell.and_then(|event| event.retry), Some(5_000), "{version}");
        assert_eq!(old.next().await, None);
        client.app.handle.tools_changed();
        assert_eq!(method(&mut new).await, TOOLS);
    }
}

/// The end of a replaced GET does not detach its successor.
///
/// Acceptance 154.
#[tokio::test(start_paused = true)]
async fn an_ended_get_detaches_only_itself() {
    let client = App::new().open().await;
    let old = client.listen_primed().await;
    let mut new = client.listen_primed().await;
    drop(old);
    client.app.handle.tools_changed();
    assert_eq!(method(&mut new).await, TOOLS);
    let readers = client.app.handle.sessions().await.unwrap()[0].readers;
    assert_eq!(readers, 1);
    drop(new);
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].readers, 0);
}

/// Acceptance 101.
#[tokio::test(start_paused = true)]
async fn strict_services_reject_a_second_get() {
    let app = App::with(|service: McpServiceBuilder| service.streams(Streams::new().reject_second_stream(true)));
    let client = app.open().await;
    let mut first = client.listen_primed().await;
    let rejected = app.send(client.request(Method::GET)).await;
    assert_eq!(rejected.status, 409);
    assert_eq!(rejected.error().await.0, -32600);
    app.handle.tools_changed();
    assert_eq!(method(&mut first).await, TOOLS);
    drop(first);
    client.listen_primed().await;
}

/// Events without a reader are delivered by the next GET, with or without `Last-Event-ID`.
///
/// Acceptance 111, 113, 121.
#[tokio::test(start_paused = true)]
async fn reopened_standalone_streams_continue() {
    let client = App::new().open().await;
    let mut get = client.listen_primed().await;
    client.app.handle.tools_changed();
    let seen = get.message().await.unwrap().id().to_owned();
    drop(get);
    client.app.handle.prompts_changed();
    client.app.handle.tools_changed();
    let mut get = client.resume(&seen).await.sse();
    assert_eq!((method(&mut get).await, method(&mut get).await), (PROMPTS.to_owned(), TOOLS.to_owned()));
    assert!(get.is_silent().await);
    drop(get);
    client.app.handle.prompts_changed();
    let mut plain = client.listen_primed().await;
    assert_eq!(method(&mut plain).await, PROMPTS, "a GET without an id gets undelivered events");
    assert!(plain.is_silent().await);
}

/// The writer assigns the id of an event, so all readers see the same id.
///
/// Acceptance 153.
#[tokio::test(start_paused = true)]
async fn two_readers_see_one_event_under_one_id() {
    let client = App::new().open().await;
    let mut first = client.listen_primed().await;
    client.app.handle.tools_changed();
    let one = first.message().await.unwrap();
    let start = one.id().replacen(".1.", ".0.", 1);
    let mut second = client.resume(&start).await.sse();
    assert_eq!(second.message().await.unwrap(), one);
    assert_eq!(second.chunks.concat().matches(one.id()).count(), 1);
}

/// Acceptance 102, 163.
#[tokio::test(start_paused = true)]
async fn an_unread_stream_delays_nothing_else() {
    let app = App::new();
    let (client, other) = (app.open().await, app.open().await);
    let unread = client.listen().await;
    let stalled = client.call(1, "progress", json!({"steps": 5_000})).await;
    let mut others = other.listen_primed().await;
    let start = tokio::time::Instant::now();
    app.handle.tools_changed();
    assert_eq!(method(&mut others).await, TOOLS);
    assert_eq!(client.text_of("echo", json!({"message": "quick"})).await, "quick");
    let events = client.call(2, "progress", json!({"steps": 10})).await.sse().rest().await;
    assert_eq!(events.len(), 11);
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop((unread, stalled));
}

/// An id of another stream resumes that stream, regardless of which other streams are open.
///
/// Acceptance 112.
#[tokio::test(start_paused = true)]
async fn calls_resume_beside_a_standalone_stream() {
    let client = App::new().open().await;
    let mut get = client.listen_primed().await;
    let mut call = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    let seen = call.message().await.unwrap().id().to_owned();
    drop(call);
    let mut call = client.resume(&seen).await.sse();
    assert!(call.next_any().await.unwrap().primes());
    client.app.handle.tools_changed();
    assert_eq!(method(&mut get).await, TOOLS);
    assert!(call.is_silent().await);
    client.app.probe.release("a");
    assert_eq!(call.rest().await.len(), 1);
    assert!(get.is_silent().await);
}

/// Acceptance 65.
#[tokio::test(start_paused = true)]
async fn a_get_must_accept_event_streams() {
    let client = App::new().open().await;
    let reply = client.app.send(client.request(Method::GET).header("accept", "application/json")).await;
    assert_eq!(reply.status, 406);
    assert_eq!(client.app.handle.sessions().await.unwrap()[0].readers, 0);
}
