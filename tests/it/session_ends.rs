//! Sessions that end while calls are in flight. In every form of response, each call gets either
//! its answer or an error that says that its session ended.

use std::time::Duration;

use axum::http::Method;
use mcp_http::store::EndReason;
use mcp_http::{Limits, McpServer, ResponseMode, Sessions, Streams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, Client, FarEngine, Pace, Reply, RequestExt, call};

const MODES: [ResponseMode; 3] = [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse];

/// The ways in which a session ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Deleted,
    Lifetime,
    Closed,
}

fn app(mode: ResponseMode, engine: FarEngine) -> App {
    App::with(|service| {
        let sessions = Sessions::new().lifetime(Duration::from_secs(100)).idle_timeout(Duration::from_secs(50));
        service.sessions(sessions).streams(Streams::new().response_mode(mode)).engine(engine)
    })
}

async fn end(app: &App, client: &Client, end: End) {
    match end {
        End::Deleted => assert_eq!(client.delete().await.status, 200),
        End::Lifetime => sleep(Duration::from_secs(102)).await,
        End::Closed => {
            let sessions = app.handle.sessions().await.unwrap();
            assert!(app.handle.end_session(sessions[0].info.id).await.unwrap());
        }
    }
}

/// Returns the answers in a response.
async fn answers(reply: Reply) -> Vec<Value> {
    if !reply.is_sse() {
        return match reply.json().await {
            Value::Array(answers) => answers,
            one => vec![one],
        };
    }
    let rest = reply.sse().rest().await;
    rest.iter().map(crate::support::Event::json).filter(|message| message.get("method").is_none()).collect()
}

fn ended(answer: &Value) -> bool {
    answer["error"] == json!({"code": -32603, "message": "The session ended before the request was answered"})
}

/// The session is deleted, reaches its lifetime or is closed, in each response mode.
///
/// Acceptance 33, 165.
#[tokio::test(start_paused = true)]
async fn calls_end_once_with_their_session() {
    for mode in MODES {
        for reason in [End::Deleted, End::Lifetime, End::Closed] {
            for tool in ["note_and_hold", "hold"] {
                let app = app(mode, FarEngine::new(|_, _| Pace::YIELD));
                let client = app.open().await;
                let calling = tokio::spawn({
                    let client = client.clone();
                    async move { answers(client.call(7, tool, json!({"label": "a"})).await).await }
                });
                sleep(Duration::from_secs(2)).await;
                end(&app, &client, reason).await;
                let got = calling.await.unwrap();
                assert!(got.len() == 1 && got[0]["id"] == 7 && ended(&got[0]), "{mode:?} {reason:?} {tool} {got:?}");
            }
        }
    }
}

/// Calls of a batch that were answered keep their result. The others get the error.
///
/// Acceptance 33, 72.
#[tokio::test(start_paused = true)]
async fn each_call_of_a_batch_has_one_end() {
    for mode in MODES {
        let app = app(mode, FarEngine::new(|_, _| Pace::YIELD));
        let client = app.open_version("2025-03-26").await;
        let batch = json!([
            call(1, "echo", json!({"message": "x"})),
            call(2, "hold", json!({"label": "a"})),
            call(3, "note_and_hold", json!({"label": "b"})),
        ]);
        let calling = tokio::spawn({
            let client = client.clone();
            async move { answers(client.app.send(client.request(Method::POST).message(batch)).await).await }
        });
        sleep(Duration::from_secs(2)).await;
        end(&app, &client, End::Deleted).await;
        let mut got = calling.await.unwrap();
        got.sort_by_key(|answer| answer["id"].as_u64());
        assert_eq!(got.len(), 3, "{mode:?} {got:?}");
        assert_eq!(got[0]["result"]["content"][0]["text"], "x", "{mode:?}");
        assert!(ended(&got[1]) && ended(&got[2]), "{mode:?} {got:?}");
    }
}

/// The error arrives on the stream that resumes the call.
///
/// Acceptance 33.
#[tokio::test(start_paused = true)]
async fn a_call_that_was_resumed_has_one_end() {
    let app = App::new();
    let client = app.open().await;
    let mut stream = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    let last = stream.message().await.unwrap().id().to_owned();
    drop(stream);
    let mut stream = client.resume(&last).await.sse();
    assert_eq!(client.delete().await.status, 200);
    let rest = stream.rest().await;
    assert!(rest.len() == 1 && ended(&rest[0].json()), "{rest:?}");
}

/// The client no longer expects an answer, so it gets none.
///
/// Acceptance 33.
#[tokio::test(start_paused = true)]
async fn cancelled_calls_get_no_session_error() {
    let app = App::new();
    let client = app.open().await;
    let mut stream = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    assert!(stream.message().await.is_some());
    assert_eq!(client.cancel(1).await.status, 202);
    assert_eq!(client.delete().await.status, 200);
    assert_eq!(stream.rest().await, []);
}

/// The signal of the end is lost. The node detects the end when it re-checks its sessions.
///
/// Acceptance 33.
#[tokio::test(start_paused = true)]
async fn ends_without_a_signal_are_detected() {
    let engine = FarEngine::new(|_, _| Pace::YIELD);
    let (here, there) = (app(ResponseMode::Auto, engine.clone()), app(ResponseMode::Auto, engine.clone()));
    let client = here.open().await;
    let mut stream = client.call(1, "progress", json!({"steps": 3, "delay_ms": 10_000})).await.sse();
    assert!(stream.message().await.is_some());
    engine.lose_signals(true);
    assert_eq!(client.at(&there).delete().await.status, 200);
    engine.lose_signals(false);
    engine.signal(&mcp_http::store::engine::Signal::Resync);
    let rest = stream.rest().await;
    assert!(rest.len() == 1 && ended(&rest[0].json()), "{rest:?}");
    let ended = there.handle.statistics().await.ended;
    assert_eq!(ended.get(&EndReason::Deleted), Some(&1));
}

/// The call gets one answer in each response mode, although its own session ends.
///
/// Acceptance 33.
#[tokio::test(start_paused = true)]
async fn tools_can_end_their_own_session() {
    let tools = |server: McpServer| {
        server.tool("quit", "Ends the session.", async |cx: mcp_http::Context| {
            cx.progress(1, 2).await;
            sleep(Duration::from_millis(10)).await;
            cx.session().unwrap().end().await.unwrap();
            "bye"
        })
    };
    for mode in MODES {
        let app =
            App::serving(tools, |service| service.streams(Streams::new().response_mode(mode)).limits(Limits::new()));
        let got = answers(app.open().await.call(1, "quit", json!({})).await).await;
        assert_eq!(got.len(), 1, "{mode:?} {got:?}");
    }
}
