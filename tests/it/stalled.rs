//! Stalled clients, over any listener: a response is ready and they do not read it.

use std::time::Duration;

use axum::http::Method;
use http::Request;
use mcp_http::{Context, Limits, McpServer, McpService, Principal, ResponseMode, Sessions, Streams};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::support::{App, RequestExt, call, eventually, modern_call, request};

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

fn big(server: McpServer) -> McpServer {
    server.tool("big", "Answers at length.", || async { "B".repeat(MIB) }).tool(
        "big_later",
        "Streams, and answers at length.",
        |cx: Context| async move {
            cx.progress(1, 2).await;
            "B".repeat(MIB)
        },
    )
}

/// Four answers wait for a window that the client keeps at zero. They are cut, and their streams
/// are reset.
///
/// Acceptance 170.
#[tokio::test]
async fn a_closed_http2_window_holds_no_answer() {
    let server = big(McpServer::new("big", "1.0.0"));
    let limits = Limits::new().max_calls_per_principal(4);
    let streams = Streams::new().write_timeout(Duration::from_millis(300));
    let sessions = Sessions::new().principal(|_| Some(Principal::new("ann")));
    let service = McpService::builder(server).limits(limits).streams(streams).sessions(sessions);
    let service = service.build().unwrap();
    let handle = service.handle();
    // A plain listener, not the one of this crate.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = axum::Router::new().nest("/mcp", service.into_router());
    let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut client, mut connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let (open, opened) = oneshot::channel::<()>();
    let driving = tokio::spawn(async move {
        tokio::select! {
            _ = &mut connection => return,
            _ = opened => connection.set_initial_window_size(65_535).unwrap(),
        }
        let _ = connection.await;
    });
    let mut answers = Vec::new();
    for tool in ["big", "big_later", "big", "big_later"] {
        let (parts, body) = modern_call(tool, json!({})).into_parts();
        let mut head = Request::post(format!("http://{addr}/mcp"));
        for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "host") {
            head = head.header(name, value);
        }
        client = client.ready().await.unwrap();
        let (answer, mut sending) = client.send_request(head.body(()).unwrap(), false).unwrap();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        sending.send_data(body, true).unwrap();
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        answers.push(answer.into_body());
    }
    // All answers are cut, and no longer count as calls in flight.
    eventually("all are cut", async || handle.statistics().await.slow_readers == 4).await;
    open.send(()).unwrap();
    for mut answer in answers {
        let ended = async {
            while let Some(data) = answer.data().await {
                data?;
            }
            Ok::<_, h2::Error>(())
        };
        let error = timeout(PATIENCE, ended).await.expect("the stream is reset").unwrap_err();
        assert!(error.is_reset(), "{error}");
    }
    driving.abort();
    serving.abort();
}

/// In each era and each form, an answer that the client does not read counts as a call in flight.
///
/// Acceptance 176.
#[tokio::test(start_paused = true)]
async fn unread_answers_count_as_calls() {
    for tool in ["big", "big_later"] {
        for stateless in [false, true] {
            let app = App::serving(big, |service| {
                let sessions = Sessions::new().stateless(stateless);
                service.sessions(sessions).limits(Limits::new().max_calls_per_principal(1)).streams(Streams::new())
            });
            let send = async |tool: &str, id: u32| {
                let call = if stateless {
                    request(Method::POST).message(call(id, tool, json!({})))
                } else {
                    modern_call(tool, json!({}))
                };
                app.send(call.principal("ann")).await
            };
            let unread = send(tool, 1).await;
            assert_eq!(unread.status, 200);
            sleep(Duration::from_secs(1)).await;
            assert_eq!(send("big", 2).await.status, 429, "{tool} {stateless}");
            let text: Value = unread.message().await;
            assert_eq!(text["result"]["content"][0]["text"].as_str().unwrap().len(), MIB);
            let left = send(tool, 3).await;
            assert_eq!(left.status, 200, "{tool} {stateless}");
            drop(left);
            sleep(Duration::from_millis(1)).await;
            let late = send(tool, 4).await;
            sleep(Duration::from_secs(60)).await;
            assert_eq!(app.handle.statistics().await.slow_readers, 1, "{tool} {stateless}");
            assert_eq!(send("big", 5).await.status, 200, "it was cut: {tool} {stateless}");
            drop(late);
        }
    }
    let app =
        App::serving(big, |service| service.limits(Limits::new().max_calls_per_principal(1)).streams(Streams::new()));
    let client = app.open_principal("ann").await;
    let unread = client.call(1, "big", json!({})).await;
    assert_eq!(client.call(2, "big", json!({})).await.status, 429);
    drop(unread);
    assert_eq!(client.call(3, "big", json!({})).await.status, 200);
}

/// After the cut, the client's next GET is accepted.
///
/// Acceptance 170.
#[tokio::test(start_paused = true)]
async fn unread_streams_are_cut_and_resumable() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse] {
        let app = App::serving(big, |service| service.streams(Streams::new().response_mode(mode)));
        let client = app.open().await;
        let mut listening = client.listen_primed().await;
        // A quiet stream stays open while its client reads. One whose client does not read is cut
        // with its first comment.
        assert!(listening.is_silent().await, "{mode:?}");
        sleep(Duration::from_secs(120)).await;
        assert_eq!(app.handle.sessions().await.unwrap()[0].readers, 0, "{mode:?}");
        assert_eq!(app.handle.statistics().await.slow_readers, 1, "{mode:?}");
        let _again = client.listen_primed().await;
        assert_eq!(app.handle.sessions().await.unwrap()[0].readers, 1, "{mode:?}");
    }
}
