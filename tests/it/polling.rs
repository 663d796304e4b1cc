//! Polling: streams that the server closes during a call, so that no connection is held for it.

use std::time::Duration;

use mcp_http::{Args, Context, McpServer, McpServiceBuilder, ResponseMode, Streams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::{App, Event, Sse};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Cycles {
    cycles: u32,
    retry_ms: u64,
}

/// Adds the tool `cycle`, which closes its stream, works and reports progress, several times.
fn tools(server: McpServer) -> McpServer {
    server.tool("cycle", "Closes its stream again and again.", async |cx: Context, Args(args): Args<Cycles>| {
        let mut closed = 0;
        for cycle in 1..=args.cycles {
            cx.progress(cycle, None).await;
            closed += u32::from(cx.close_sse_stream(Duration::from_millis(args.retry_ms)));
            sleep(Duration::from_millis(args.retry_ms * 3)).await;
        }
        format!("closed {closed}")
    })
}

fn in_mode(mode: ResponseMode) -> App {
    App::serving(tools, |service: McpServiceBuilder| service.streams(Streams::new().response_mode(mode)))
}

/// Reads a connection to its end, and notes the id and the delay for the next one.
async fn connection(mut stream: Sse, last: &mut String, retry: &mut u64) -> Vec<Event> {
    let mut messages = Vec::new();
    while let Some(event) = stream.next().await {
        if let Some(id) = &event.id {
            last.clone_from(id);
        }
        *retry = event.retry.unwrap_or(*retry);
        if event.data.as_deref().is_some_and(|data| !data.is_empty()) {
            messages.push(event);
        }
    }
    messages
}

/// The client resumes after each `retry` delay, several times during one call.
///
/// Acceptance 113, 119, 120.
#[tokio::test(start_paused = true)]
async fn a_polling_client_gets_the_whole_call() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse] {
        let client = in_mode(mode).open().await;
        let (mut last, mut retry) = (String::new(), 0);
        let stream = client.call(1, "cycle", json!({"cycles": 4, "retry_ms": 700})).await.sse();
        let mut messages = connection(stream, &mut last, &mut retry).await;
        let mut connections = 1;
        while messages.last().is_none_or(|event| event.json()["result"].is_null()) {
            assert_eq!(retry, 700);
            sleep(Duration::from_millis(retry)).await;
            let stream = client.resume(&last).await.sse();
            messages.extend(connection(stream, &mut last, &mut retry).await);
            connections += 1;
        }
        let steps: Vec<_> = messages.iter().map(|event| event.json()["params"]["progress"].clone()).collect();
        assert_eq!(steps, [json!(1), json!(2), json!(3), json!(4), json!(null)]);
        assert_eq!(messages[4].json()["result"]["content"][0]["text"], "closed 4");
        assert_eq!(connections, 5);
    }
}

/// Compares the exact bytes of a stream that is closed at once.
///
/// Acceptance 106, 119, 180.
#[tokio::test(start_paused = true)]
async fn streams_closed_at_once_carry_id_and_retry() {
    for (retry, told) in [(json!(50), "50"), (json!(null), "1000")] {
        let client = App::new().open().await;
        let start = Instant::now();
        let reply = client.call(1, "close", json!({"after_ms": 300, "retry_ms": retry})).await;
        let text = reply.text().await;
        let id = text.lines().next().unwrap().strip_prefix("id: ").unwrap().to_owned();
        assert_eq!(text, format!("id: {id}\ndata: \n\nretry: {told}\n\n"));
        assert_eq!(start.elapsed(), Duration::ZERO);
        let rest = client.resume(&id).await.sse().rest().await;
        assert_eq!(rest[0].json()["result"]["content"][0]["text"], "closed true");
        assert_eq!(start.elapsed().as_millis(), 300);
    }
}

/// The answer arrives, whether the client resumes before the call has ended or after it.
///
/// Acceptance 113, 119.
#[tokio::test(start_paused = true)]
async fn answers_wait_for_a_late_client() {
    for away in [0, 100, 300, 5_000] {
        let client = App::new().open().await;
        let mut get = client.listen().await;
        assert!(get.next().await.unwrap().primes());
        let stream = client.call(1, "close", json!({"before_ms": 50, "after_ms": 200, "retry_ms": 10})).await.sse();
        let (mut last, mut retry) = (String::new(), 0);
        assert!(connection(stream, &mut last, &mut retry).await.is_empty());
        assert_eq!(retry, 10);
        sleep(Duration::from_millis(away)).await;
        let rest = client.resume(&last).await.sse().rest().await;
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].json()["result"]["content"][0]["text"], "closed true");
        assert!(get.is_silent().await);
    }
}

/// Clients of older revisions, JSON responses and services without resumption keep their stream.
///
/// Acceptance 108, 119.
#[tokio::test(start_paused = true)]
async fn only_streams_that_can_resume_are_closed() {
    let close = json!({"before_ms": 0, "after_ms": 10});
    for version in ["2025-03-26", "2025-06-18"] {
        let client = App::new().open_version(version).await;
        assert_eq!(client.text_of("close", close.clone()).await, "closed false");
    }
    let json = in_mode(ResponseMode::Json).open().await;
    assert_eq!(json.text_of("close", close.clone()).await, "closed false");
    let app = App::with(|service| service.streams(Streams::new().resumable(false)));
    assert_eq!(app.open().await.text_of("close", close).await, "closed false");
}

/// A task that outlives its call closes nothing, and `close_sse_stream` returns `false`.
///
/// Acceptance 119, 140.
#[tokio::test(start_paused = true)]
async fn ended_calls_have_no_stream_to_close() {
    let app = App::serving(
        |server| {
            server.tool("close_late", "Closes its stream after its answer.", async |cx: Context| {
                tokio::spawn(async move {
                    sleep(Duration::from_secs(1)).await;
                    let closed = cx.close_sse_stream(None);
                    let Some(session) = cx.session() else { return };
                    let _ = session.update("closed", |text: &mut String| *text = closed.to_string()).await;
                });
                "answered"
            })
        },
        |service| service,
    );
    let client = app.open().await;
    assert_eq!(client.text_of("close_late", json!({})).await, "answered");
    sleep(Duration::from_secs(2)).await;
    let id = app.handle.sessions().await.unwrap()[0].info.id;
    let session = app.handle.session(id).await.unwrap().unwrap();
    assert_eq!(session.get::<String>("closed").await.unwrap().as_deref(), Some("false"));
}

/// A newer stream replaces the standalone stream and closes it. The client resumes it, and gets
/// what was announced while it had no stream.
///
/// Acceptance 111, 121.
#[tokio::test(start_paused = true)]
async fn closed_standalone_streams_can_be_reopened() {
    let client = App::new().open().await;
    let mut get = client.listen().await;
    let prime = get.next().await.unwrap();
    let mut newer = client.listen().await;
    assert_eq!(get.next().await.unwrap().retry, Some(5_000));
    assert_eq!(get.next().await, None);
    drop(newer.next().await);
    drop(newer);
    client.app.handle.tools_changed();
    let mut again = client.resume(prime.id()).await.sse();
    assert_eq!(again.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
}
