//! Streamed results: each reaches its client on every engine, whatever its size and whatever its
//! session retains beside it. If one cannot, the client receives the reason.

use std::time::Duration;

use axum::http::StatusCode;
use mcp_http::store::MemoryEngine;
use mcp_http::store::engine::SessionEngine;
use mcp_http::{Args, Context, Limits, McpServer, McpServiceBuilder, ResponseMode, Streams};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, Client, Reply, modern_call};

const LARGE: usize = 5_000_000;

#[derive(Deserialize, JsonSchema)]
#[serde(default)]
struct Fill {
    /// Bytes of the answer.
    bytes: usize,
    /// Progress notifications of about a kilobyte each, before anything else.
    notes: u32,
    /// Milliseconds before the answer.
    wait_ms: u64,
}

impl Default for Fill {
    fn default() -> Self {
        Self { bytes: LARGE, notes: 0, wait_ms: 0 }
    }
}

async fn fill(cx: Context, Args(fill): Args<Fill>) -> String {
    for step in 1..=fill.notes {
        cx.progress_message(step, None, Some("n".repeat(1_000))).await;
    }
    if fill.wait_ms > 0 {
        sleep(Duration::from_millis(fill.wait_ms)).await;
    }
    "B".repeat(fill.bytes)
}

pub(crate) fn app(configure: impl FnOnce(McpServiceBuilder) -> McpServiceBuilder) -> App {
    App::serving(|server: McpServer| server.tool("fill", "Fills its answer.", fill), configure)
}

fn app_on(engine: impl SessionEngine, mode: ResponseMode) -> App {
    app(|service| service.engine(engine).streams(Streams::new().response_mode(mode)))
}

/// Returns the size of the result of a call, or the text of its error.
async fn outcome(reply: Reply) -> Result<usize, String> {
    let text = reply.text().await;
    let last = text.lines().rev().find_map(|line| match line.strip_prefix("data: ") {
        Some(data) if !data.is_empty() => Some(data.to_owned()),
        _ => line.starts_with('{').then(|| line.to_owned()),
    });
    read(&last.unwrap_or_else(|| panic!("no message in {text:?}")))
}

fn read(message: &str) -> Result<usize, String> {
    let message: Value = serde_json::from_str(message).unwrap();
    match message["result"]["content"][0]["text"].as_str() {
        Some(text) => Ok(text.len()),
        None => Err(message["error"]["message"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned()),
    }
}

async fn chatty(client: &Client, calls: usize) {
    for id in 0..calls {
        let call = client.call(format!("chatty-{id}"), "fill", json!({"bytes": 10, "notes": 1_100})).await;
        assert_eq!(outcome(call).await, Ok(10));
    }
}

/// Goes through every way in which a result was once lost before its reader attached or resumed.
async fn nothing_is_lost<E: SessionEngine>(engine: impl AsyncFn() -> E) {
    for (mode, arguments) in [
        (ResponseMode::Auto, json!({"notes": 1})),
        (ResponseMode::Auto, json!({"notes": 1, "wait_ms": 1})),
        (ResponseMode::Auto, json!({"wait_ms": 500})),
        (ResponseMode::Auto, json!({"wait_ms": 700})),
        (ResponseMode::Auto, json!({"notes": 2_000, "bytes": 12_000_000})),
        (ResponseMode::Auto, json!({})),
        (ResponseMode::Sse, json!({})),
        (ResponseMode::Sse, json!({"bytes": 4_200_000})),
        (ResponseMode::Json, json!({"notes": 3})),
    ] {
        let client = app_on(engine().await, mode).open().await;
        let bytes = arguments["bytes"].as_u64().unwrap_or(LARGE as u64);
        for id in 0..3 {
            let reply = client.call(id, "fill", arguments.clone()).await;
            assert_eq!(outcome(reply).await, Ok(bytes as usize), "{mode:?}, {arguments}, call {id}");
        }
    }
    for (mode, before, tool) in [
        (ResponseMode::Auto, 6, json!({"notes": 3, "bytes": 1_000})),
        (ResponseMode::Sse, 5, json!({"bytes": 2})),
        (ResponseMode::Sse, 6, json!({"notes": 1_500, "bytes": 2})),
    ] {
        let client = app_on(engine().await, mode).open().await;
        chatty(&client, before).await;
        let bytes = tool["bytes"].as_u64().unwrap();
        for id in 0..3 {
            let reply = client.call(id, "fill", tool.clone()).await;
            assert_eq!(outcome(reply).await, Ok(bytes as usize), "{mode:?} after {before} chatty calls, call {id}");
        }
    }
    for (chats, bytes) in [(0, LARGE), (5, LARGE), (5, 1_000)] {
        let client = app_on(engine().await, ResponseMode::Auto).open().await;
        let arguments = json!({"notes": 1, "wait_ms": 20, "bytes": bytes});
        let mut stream = client.call("left", "fill", arguments).await.sse();
        let id = stream.next().await.unwrap().id().to_owned();
        drop(stream);
        chatty(&client, chats).await;
        sleep(Duration::from_millis(200)).await;
        let back = client.resume(&id).await;
        assert_eq!(back.status, StatusCode::OK, "after {chats} chatty calls");
        assert_eq!(outcome(back).await, Ok(bytes), "after {chats} chatty calls");
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_lost_in_memory() {
    nothing_is_lost(async || MemoryEngine::new()).await;
}

#[cfg(feature = "file")]
#[tokio::test]
async fn no_answer_is_lost_in_files() {
    use mcp_http::store::{Durability, FileEngine};
    let folder = tempfile::TempDir::new().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    nothing_is_lost(async || {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let place = folder.path().join(number.to_string());
        std::fs::create_dir(&place).unwrap();
        FileEngine::open(place, Durability::ProcessCrash).unwrap()
    })
    .await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn no_answer_is_lost_in_redis() {
    use mcp_http::store::{RedisEngine, RedisOptions};
    let server = crate::redis_server::RedisServer::start();
    let options = RedisOptions::new().lease(Duration::from_secs(30)).timeout(Duration::from_secs(10));
    nothing_is_lost(async || RedisEngine::connect_with(server.url(), options.clone()).await.unwrap()).await;
}

fn limited(mode: ResponseMode) -> App {
    app(|service| {
        let limits = Limits::new().max_response_bytes(1_000);
        service.limits(limits).streams(Streams::new().response_mode(mode))
    })
}

const TOO_LARGE: &str = "Answer too large: the limit is 1000 bytes, the server's setting `Limits::max_response_bytes`";

#[tokio::test(start_paused = true)]
async fn large_answers_become_errors_in_sessions() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let client = limited(mode).open().await;
        for notes in [0, 1] {
            let reply = client.call(1, "fill", json!({"notes": notes, "bytes": 1_000})).await;
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{mode:?}, {notes} notes");
            assert_eq!(reply.rejection.as_ref().map(mcp_http::error::Rejection::kind), Some("answer_too_large"));
            let error = reply.json().await;
            assert_eq!((&error["id"], &error["error"]["code"]), (&json!(1), &json!(-32603)));
            assert_eq!(error["error"]["message"], TOO_LARGE);
        }
        assert_eq!(outcome(client.call(2, "fill", json!({"bytes": 900})).await).await, Ok(900));
        // Outside of JSON mode, the stream of this call begins before its result turns out too
        // large.
        let reply = client.call(3, "fill", json!({"notes": 1, "bytes": 1_000, "wait_ms": 600})).await;
        if mode == ResponseMode::Json {
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
        } else {
            assert!(reply.is_sse(), "{mode:?}");
        }
        assert_eq!(outcome(reply).await, Err(TOO_LARGE.to_owned()));
        let statistics = client.app.handle.statistics().await;
        assert_eq!((statistics.answers_refused, statistics.answers_lost), (3, 0));
        assert_eq!(client.app.handle.sessions().await.unwrap()[0].calls, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn large_answers_become_errors_in_2026_07_28() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let app = limited(mode);
        for (notes, wait) in [(0, 0), (1, 0), (0, 600), (1, 600)] {
            let call = modern_call("fill", json!({"notes": notes, "bytes": 1_000, "wait_ms": wait}));
            let reply = app.send(call).await;
            let began = wait > 0 && mode != ResponseMode::Json;
            let status = if began { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            assert_eq!(reply.status, status, "{mode:?}, {notes} notes, {wait} ms");
            assert_eq!(outcome(reply).await, Err(TOO_LARGE.to_owned()));
            let call = modern_call("fill", json!({"notes": notes, "bytes": 900, "wait_ms": wait}));
            assert_eq!(outcome(app.send(call).await).await, Ok(900));
        }
        assert_eq!(app.handle.statistics().await.answers_refused, 4);
    }
    // With the default limits, every result that the session revisions serve is served here too.
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let app = app_on(MemoryEngine::new(), mode);
        for wait in [0, 600] {
            let call = modern_call("fill", json!({"notes": 1, "wait_ms": wait}));
            assert_eq!(outcome(app.send(call).await).await, Ok(LARGE), "{mode:?}, {wait} ms");
        }
    }
}

/// A result above the capacity of all streams becomes an error that names the setting. Results that
/// await their reader are not discarded for it.
#[tokio::test(start_paused = true)]
async fn answers_above_all_capacity_become_errors() {
    const NO_ROOM: &str = "The answer cannot be kept: all streams together hold what the server's setting `Streams::max_replay_bytes` allows";
    let streams = Streams::new().response_mode(ResponseMode::Sse).max_replay_bytes(20_000);
    let (held, client) = {
        let app = app(|service| service.streams(streams));
        (app.open().await, app.open().await)
    };
    // Its client has yet to read it, so it is retained.
    let waits = held.call(1, "fill", json!({"bytes": 15_000})).await;
    let reply = client.call(2, "fill", json!({"bytes": 10_000})).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(reply.rejection.as_ref().map(mcp_http::error::Rejection::kind), Some("answer_not_kept"));
    assert_eq!(outcome(reply).await, Err(NO_ROOM.to_owned()));
    let reply = client.call(3, "fill", json!({"bytes": 10_000, "notes": 1, "wait_ms": 10})).await;
    assert!(reply.is_sse(), "what was sent before it");
    assert_eq!(outcome(reply).await, Err(NO_ROOM.to_owned()));
    assert_eq!(outcome(client.call(4, "fill", json!({"bytes": 800})).await).await, Ok(800));
    let statistics = client.app.handle.statistics().await;
    assert_eq!((statistics.answers_refused, statistics.answers_lost), (2, 0));

    assert_eq!(outcome(waits).await, Ok(15_000));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(outcome(client.call(5, "fill", json!({"bytes": 10_000})).await).await, Ok(10_000));
    assert_eq!(client.app.handle.statistics().await.answers_refused, 2);
}

/// The largest abandoned result, here of another session, is discarded for a new one. Its client
/// receives an error when it resumes.
#[tokio::test(start_paused = true)]
async fn the_largest_abandoned_answer_is_evicted_and_counted() {
    let streams = Streams::new().response_mode(ResponseMode::Sse).max_replay_bytes(20_000);
    let app = app(|service| service.streams(streams));
    let (left, client) = (app.open().await, app.open().await);
    let mut stream = left.call(1, "fill", json!({"bytes": 15_000, "wait_ms": 10})).await.sse();
    let first = stream.next().await.unwrap().id().to_owned();
    drop(stream);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(outcome(client.call(2, "fill", json!({"bytes": 10_000})).await).await, Ok(10_000));
    let back = left.resume(&first).await;
    assert_eq!(back.rejection.map(|why| why.kind()), Some("events_expired"));
    assert_eq!(app.handle.statistics().await.answers_lost, 1);
}

/// The stream of a call that is cancelled, or whose session ends, still contains bytes. A stream
/// without any byte would look like a lost connection.
#[tokio::test(start_paused = true)]
async fn streams_without_an_answer_are_not_empty() {
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        for mode in [ResponseMode::Auto, ResponseMode::Sse] {
            for deleted in [false, true] {
                let client = app_on(MemoryEngine::new(), mode).open_version(version).await;
                let reply = tokio::spawn({
                    let client = client.clone();
                    async move { client.call(1, "hold", json!({"label": "a"})).await }
                });
                sleep(Duration::from_millis(if mode == ResponseMode::Auto { 100 } else { 0 })).await;
                tokio::task::yield_now().await;
                let status = if deleted { client.delete().await.status } else { client.cancel(1).await.status };
                assert!(status.is_success());
                let reply = reply.await.unwrap();
                let (sse, status) = (reply.is_sse(), reply.status);
                let text = reply.text().await;
                assert!(!text.is_empty(), "{version}, {mode:?}, deleted: {deleted}, {status}");
                assert!(sse || text.contains("The session ended before the request was answered"), "{text}");
            }
        }
    }
}
