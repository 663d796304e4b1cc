//! Cancellation: a client that disconnects cancels its call, in every mode and at every moment.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use mcp_http::error::StoreErrorKind;
use mcp_http::{Context, McpServer, ResponseMode, Streams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tower_http::timeout::TimeoutLayer;

use crate::faulty::Faulty;
use crate::support::{App, RequestExt, Served, envelope, modern, modern_call, text_of};

const MODES: [ResponseMode; 3] = [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json];

/// Checks that no call is in flight any more.
async fn nothing_runs(app: &App) {
    sleep(Duration::from_millis(1)).await;
    assert_eq!(app.handle.drain(Duration::ZERO).await.calls, 0);
}

/// Disconnecting before the response begins cancels the call.
///
/// Acceptance 139.
#[tokio::test(start_paused = true)]
async fn a_disconnect_before_the_response_cancels() {
    for mode in MODES {
        let app = App::in_mode(mode);
        let call = app.call_tool("hold", json!({"label": "a"}));
        assert!(timeout(Duration::from_millis(100), call).await.is_err(), "{mode:?}");
        assert_eq!(app.probe.state("a"), Some("cancelled"), "{mode:?}");
        nothing_runs(&app).await;
    }
}

/// Disconnecting from a stream cancels the call, both before and after the first event.
///
/// Acceptance 139.
#[tokio::test(start_paused = true)]
async fn a_disconnect_from_a_stream_cancels() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse] {
        for tool in ["hold", "note_and_hold"] {
            for reads in [false, true] {
                let app = App::in_mode(mode);
                let reply = app.call_tool(tool, json!({"label": "a"})).await;
                let mut stream = reply.sse();
                if reads {
                    let first = stream.next_any().await.unwrap();
                    assert_eq!(first.comment, tool == "hold");
                }
                sleep(Duration::from_secs(60)).await;
                assert_eq!(app.probe.state("a"), Some("running"), "{mode:?} {tool}");
                drop(stream);
                sleep(Duration::from_millis(1)).await;
                assert_eq!(app.probe.state("a"), Some("cancelled"), "{mode:?} {tool} {reads}");
                nothing_runs(&app).await;
            }
        }
    }
    // In JSON mode the client sees no first event: the message was dropped.
    let app = App::in_mode(ResponseMode::Json);
    let call = app.call_tool("note_and_hold", json!({"label": "a"}));
    assert!(timeout(Duration::from_secs(60), call).await.is_err());
    assert_eq!(app.probe.state("a"), Some("cancelled"));
    nothing_runs(&app).await;
}

/// Disconnecting after the answer cancels nothing.
///
/// Acceptance 139.
#[tokio::test(start_paused = true)]
async fn a_disconnect_after_the_answer_cancels_nothing() {
    for mode in MODES {
        let app = App::in_mode(mode);
        drop(app.call_tool("slow", json!({"ms": 10, "label": "a"})).await);
        assert_eq!(app.probe.state("a"), Some("finished"), "{mode:?}");
    }
    let app = App::new();
    let stream = app.call_tool("note_and_hold", json!({"label": "a"})).await;
    app.probe.release("a");
    sleep(Duration::from_millis(1)).await;
    drop(stream);
    assert_eq!(app.probe.state("a"), Some("finished"));
}

/// A request of 2026-07-28 causes no operation of the engine.
///
/// Acceptance 139, 158.
#[tokio::test(start_paused = true)]
async fn requests_need_no_engine_operation() {
    for mode in MODES {
        for resumable in [true, false] {
            let engine = Faulty::default();
            let app = App::with(|service| {
                let streams = Streams::new().response_mode(mode).resumable(resumable);
                service.engine(engine.clone()).streams(streams)
            });
            engine.break_down(StoreErrorKind::Unavailable);
            let asked = engine.operations();
            assert_eq!(text_of(app.call_tool("progress", json!({"steps": 3})).await).await, "done");
            assert_eq!(app.request("server/discover", json!({})).await.status, 200);
            assert_eq!(app.request("resources/read", json!({"uri": "test://item/7"})).await.status, 200);
            let call = async {
                let reply = app.call_tool("note_and_hold", json!({"label": "a"})).await;
                reply.text().await
            };
            assert!(timeout(Duration::from_secs(60), call).await.is_err());
            sleep(Duration::from_millis(1)).await;
            assert_eq!(app.probe.state("a"), Some("cancelled"), "{mode:?} {resumable}");
            assert_eq!(engine.operations(), asked, "{mode:?} {resumable}");
        }
    }
}

/// A timeout layer that drops the request cancels the call.
///
/// Acceptance 139.
#[tokio::test(start_paused = true)]
async fn a_timeout_layer_cancels_the_call() {
    let layer = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(2));
    let app = App::in_mode(ResponseMode::Json);
    let app = app.layered(|router| router.layer(layer));
    let reply = app.call_tool("slow", json!({"ms": 60_000, "label": "a"})).await;
    assert_eq!((reply.status, app.probe.state("a")), (StatusCode::GATEWAY_TIMEOUT, Some("cancelled")));
}

/// Records of the tools below.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Vec<&'static str>>>);

impl Notes {
    fn add(&self, note: &'static str) {
        self.0.lock().unwrap().push(note);
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Runs a clean-up when it is dropped.
struct Cleanup<F: FnMut()>(F);

impl<F: FnMut()> Drop for Cleanup<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Returns a server with tools whose clean-up panics, or starts work that never ends. Each tool
/// answers at once if its argument `ends` is true.
fn careless(notes: &Notes, server: McpServer) -> McpServer {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct How {
        notes: bool,
        ends: bool,
    }
    let (panics, hangs) = (notes.clone(), notes.clone());
    server
        .tool("panics", "Cleans up with a panic.", move |cx: Context, mcp_http::Args(how): mcp_http::Args<How>| {
            let notes = panics.clone();
            async move {
                let _cleanup = Cleanup(|| {
                    notes.add("cleaned");
                    panic!("secret");
                });
                if how.notes {
                    cx.progress(1, None).await;
                }
                if !how.ends {
                    std::future::pending::<()>().await;
                }
                "done"
            }
        })
        .tool("hangs", "Cleans up without end.", move |cx: Context, mcp_http::Args(how): mcp_http::Args<How>| {
            let (notes, context) = (hangs.clone(), cx.clone());
            async move {
                let _cleanup = Cleanup(|| {
                    let (notes, context) = (notes.clone(), context.clone());
                    tokio::spawn(async move {
                        context.cancelled().await;
                        notes.add(if context.is_cancelled() { "left" } else { "answered" });
                        std::future::pending::<()>().await;
                        drop(context);
                    });
                });
                if how.notes {
                    cx.progress(1, None).await;
                }
                if !how.ends {
                    std::future::pending::<()>().await;
                }
                "done"
            }
        })
}

/// A panic in a clean-up affects nothing else.
///
/// Acceptance 139, 141, 169.
#[tokio::test(start_paused = true)]
async fn panics_in_a_clean_up_are_contained() {
    for mode in MODES {
        for notes_first in [false, true] {
            let notes = Notes::default();
            let app = App::serving(
                |server| careless(&notes, server),
                |service| service.streams(Streams::new().response_mode(mode)),
            );
            let left =
                async { app.call_tool("panics", json!({"notes": notes_first, "ends": false})).await.text().await };
            assert!(timeout(Duration::from_secs(5), left).await.is_err());
            sleep(Duration::from_millis(1)).await;
            assert_eq!(notes.take(), ["cleaned"], "{mode:?} {notes_first}");
            // In a handler that returns, it is a panic of the handler and is answered as one.
            let reply = app.call_tool("panics", json!({"notes": notes_first, "ends": true})).await;
            assert_eq!(reply.status, 200);
            let answer = reply.message().await;
            let internal = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "Internal error"}});
            assert_eq!((answer, notes.take()), (internal, vec!["cleaned"]), "{mode:?} {notes_first}");
            assert_eq!(text_of(app.call_tool("echo", json!({"message": "alive"})).await).await, "alive");
            nothing_runs(&app).await;
        }
    }
}

/// A clean-up that hangs delays neither the answer nor the next call.
///
/// Acceptance 141, 176.
#[tokio::test(start_paused = true)]
async fn hanging_clean_ups_delay_nothing() {
    for mode in MODES {
        for notes_first in [false, true] {
            let notes = Notes::default();
            let app = App::serving(
                |server| careless(&notes, server),
                |service| {
                    let limits = mcp_http::Limits::new().max_calls_per_principal(1);
                    service.streams(Streams::new().response_mode(mode)).limits(limits)
                },
            );
            let call = |ends: bool| modern_call("hangs", json!({"notes": notes_first, "ends": ends})).principal("ann");
            for round in 0..3 {
                let reply = app.send(call(true)).await;
                assert_eq!(reply.status, 200, "{mode:?} {notes_first} {round}");
                assert_eq!(text_of(reply).await, "done", "{mode:?} {notes_first} {round}");
                sleep(Duration::from_millis(1)).await;
                assert_eq!(notes.take(), ["answered"], "{mode:?} {notes_first}");
                let left = async { app.send(call(false)).await.text().await };
                assert!(timeout(Duration::from_secs(5), left).await.is_err());
                sleep(Duration::from_millis(1)).await;
                assert_eq!(notes.take(), ["left"], "{mode:?} {notes_first}");
            }
        }
    }
}

/// A task that holds the context of a call learns that the client has disconnected.
///
/// Acceptance 139.
#[tokio::test(start_paused = true)]
async fn spawned_contexts_are_cancelled_on_disconnect() {
    let notes = Notes::default();
    let moved = notes.clone();
    let app = App::serving(
        |server| {
            server.tool("moves", "Works elsewhere.", move |cx: Context| {
                let notes = moved.clone();
                async move {
                    let context = cx.clone();
                    let work = tokio::spawn(async move {
                        assert!(!context.is_cancelled());
                        tokio::join!(context.cancelled(), context.cancelled());
                        assert!(context.is_cancelled());
                        context.progress(1, None).await;
                        notes.add("cancelled");
                    });
                    work.await.unwrap();
                    "done"
                }
            })
        },
        |service| service,
    );
    let reply = app.send(modern_call("moves", json!({}))).await;
    sleep(Duration::from_secs(60)).await;
    assert!(notes.take().is_empty());
    drop(reply);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(notes.take(), ["cancelled"]);
    assert_eq!(app.handle.statistics().await.dropped, 1, "what it says then goes nowhere");
}

/// Closing a connection cancels the calls made on it.
///
/// Acceptance 139.
#[tokio::test]
async fn closing_a_connection_cancels_its_calls() {
    for mode in MODES {
        for (tool, silence) in [("hold", 20), ("hold", 60_000), ("note_and_hold", 60_000)] {
            let streams = Streams::new().response_mode(mode).stream_after(Duration::from_millis(silence));
            let served = Served::with(|service| service.streams(streams)).await;
            let mut stream = served.connect().await;
            let message = envelope(
                "tools/call",
                json!({"name": tool, "arguments": {"label": "a"}, "_meta": {"progressToken": 1}}),
            );
            stream.write_all(served.modern_post(&message).as_bytes()).await.unwrap();
            if mode != ResponseMode::Json && (silence == 20 || tool == "note_and_hold") {
                let mut head = [0; 12];
                stream.read_exact(&mut head).await.unwrap();
                assert_eq!(&head, b"HTTP/1.1 200");
            }
            eventually("the call did not begin", || served.probe.state("a") == Some("running")).await;
            drop(stream);
            let what = format!("{mode:?} {tool} {silence}");
            eventually(&what, || served.probe.state("a") == Some("cancelled")).await;
        }
    }
}

/// Waits until the condition holds; sockets cannot be used with paused time.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Disconnecting cancels a call of 2026-07-28, but not a call in a session.
///
/// Acceptance 104, 139.
#[tokio::test(start_paused = true)]
async fn disconnects_differ_by_era() {
    let app = App::new();
    let client = app.open().await;
    let old = client.call(1, "note_and_hold", json!({"label": "old"})).await;
    let new = app.call_tool("note_and_hold", json!({"label": "new"})).await;
    drop((old, new));
    sleep(Duration::from_secs(1)).await;
    assert_eq!((app.probe.state("old"), app.probe.state("new")), (Some("running"), Some("cancelled")));
    // The end of a session does not affect a call outside it.
    let mut other = app
        .send(
            modern("tools/call", json!({"name": "hold", "arguments": {"label": "other"}}))
                .header("mcp-session-id", &client.session),
        )
        .await
        .sse();
    assert_eq!(client.delete().await.status, 200);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((app.probe.state("old"), app.probe.state("other")), (Some("cancelled"), Some("running")));
    app.probe.release("other");
    assert_eq!(other.rest().await.len(), 1);
}

/// An HTTP/1.1 client may send its next request before the answer. The server then reads the end of
/// the connection only behind those bytes, and notices it when it writes the next comment.
///
/// Acceptance 99, 139.
#[tokio::test]
async fn pipelined_disconnects_cancel_at_the_next_comment() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse] {
        let streams = Streams::new().response_mode(mode).keep_alive(Duration::from_millis(50));
        let served = Served::with(|service| service.streams(streams)).await;
        let mut stream = served.connect().await;
        let post = |tool: &str| {
            served.modern_post(&envelope("tools/call", json!({"name": tool, "arguments": {"label": "a"}})))
        };
        stream.write_all((post("hold") + &post("echo")).as_bytes()).await.unwrap();
        eventually("the call did not begin", || served.probe.state("a") == Some("running")).await;
        drop(stream);
        eventually("it goes on", || served.probe.state("a") == Some("cancelled")).await;
    }
}
