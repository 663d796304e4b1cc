//! Unread answers: the ceiling for the bytes that all of them hold, and which of them are cut to
//! stay below it.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use mcp_http::{Context, Limits, McpServer, McpService, ResponseMode, Sessions, Streams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, Reply, RequestExt, call, modern_call, request};

const MIB: usize = 1 << 20;

/// Returns an application with capacity for four answers of a MiB.
fn app(mode: ResponseMode, stateless: bool) -> App {
    let big = |server: McpServer| {
        let later = |cx: Context| async move {
            cx.progress(1, 2).await;
            sleep(Duration::from_millis(600)).await;
            "B".repeat(MIB)
        };
        server.tool("big", "Answers at length.", || async { "B".repeat(MIB) }).tool("later", "The same, later.", later)
    };
    App::serving(big, |service| {
        let limits = Limits::new().max_response_bytes(2 * MIB).max_unread_response_bytes(4 * MIB + MIB / 2);
        let streams = Streams::new().response_mode(mode);
        service.limits(limits).streams(streams).sessions(Sessions::new().stateless(stateless))
    })
}

/// Returns a call without a session, of either era.
fn call_of(stateless: bool, tool: &str, principal: &str) -> Request<Body> {
    let call =
        if stateless { request(Method::POST).message(call(7, tool, json!({}))) } else { modern_call(tool, json!({})) };
    call.principal(principal)
}

async fn cut(app: &App) -> u64 {
    sleep(Duration::from_millis(1)).await;
    app.handle.statistics().await.slow_readers
}

async fn length(reply: Reply) -> usize {
    let answer: Value = reply.message().await;
    answer["result"]["content"][0]["text"].as_str().unwrap().len()
}

fn rejected(reply: &Reply) -> bool {
    let kind = reply.rejection.as_ref().map(mcp_http::error::Rejection::kind);
    kind == Some("too_many_answers_unread") && reply.status == StatusCode::INTERNAL_SERVER_ERROR
}

#[tokio::test(start_paused = true)]
async fn the_largest_account_is_cut() {
    for (stateless, mode) in
        [(false, ResponseMode::Auto), (false, ResponseMode::Sse), (true, ResponseMode::Json), (true, ResponseMode::Sse)]
    {
        let app = app(mode, stateless);
        let mut anns = Vec::new();
        for _ in 0..4 {
            anns.push(app.send(call_of(stateless, "big", "ann")).await);
            sleep(Duration::from_millis(1)).await;
        }
        let says = format!("{mode:?}, stateless: {stateless}");
        // Her own answers are not cut for a new one, unless one of them has stalled.
        let reply = app.send(call_of(stateless, "big", "ann")).await;
        if mode == ResponseMode::Sse && stateless {
            assert_eq!((reply.status.as_u16(), cut(&app).await), (200, 1), "a stream gives way to a stream: {says}");
            assert_eq!(anns.remove(0).piece().await, None, "{says}");
            anns.push(reply);
        } else {
            assert!(rejected(&reply), "{says}: {:?}", reply.rejection);
            assert_eq!((cut(&app).await, app.handle.statistics().await.answers_refused), (0, 1), "{says}");
        }
        let before = cut(&app).await;
        let bobs = app.send(call_of(stateless, "big", "bob")).await;
        assert_eq!((bobs.status.as_u16(), cut(&app).await), (200, before + 1), "{says}");
        assert_eq!(anns.remove(0).piece().await, None, "the longest unread is cut: {says}");
        assert_eq!(length(bobs).await, MIB, "{says}");
        for ann in anns {
            assert_eq!(length(ann).await, MIB, "{says}");
        }
        assert_eq!(length(app.send(call_of(stateless, "big", "ann")).await).await, MIB, "{says}");
    }
}

#[tokio::test(start_paused = true)]
async fn stalled_answers_are_cut_for_their_account() {
    let app = app(ResponseMode::Auto, false);
    let mut first = app.send(call_of(false, "big", "ann")).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(app.send(call_of(false, "big", "ann")).await);
    }
    assert!(rejected(&app.send(call_of(false, "big", "ann")).await));
    sleep(Duration::from_secs(5)).await;
    for other in &mut others {
        assert!(other.piece().await.is_some());
    }
    others.push(app.send(call_of(false, "big", "ann")).await);
    assert_eq!((first.piece().await, cut(&app).await), (None, 1));
    assert!(rejected(&app.send(call_of(false, "big", "ann")).await), "the others are read");
    for other in others {
        assert_eq!(other.status, StatusCode::OK);
    }
}

/// The bytes in a queue count as unread, even before the client has begun to read its response.
#[tokio::test(start_paused = true)]
async fn unread_streams_count_their_queued_bytes() {
    for (stateless, begun) in [(false, false), (false, true), (true, false), (true, true)] {
        let app = app(ResponseMode::Auto, stateless);
        let mut anns = Vec::new();
        for _ in 0..5 {
            anns.push(app.send(call_of(stateless, "later", "ann")).await);
        }
        assert!(anns.iter().all(Reply::is_sse));
        if begun {
            for ann in &mut anns {
                assert!(ann.piece().await.is_some());
            }
        }
        // A transport that has not polled its body yet is only noticed at the next re-check.
        sleep(Duration::from_secs(if begun { 1 } else { 6 })).await;
        let says = format!("stateless: {stateless}, begun: {begun}");
        assert_eq!(cut(&app).await, 1, "{says}");
        let bobs = app.send(call_of(stateless, "big", "bob")).await;
        assert_eq!((bobs.status.as_u16(), cut(&app).await), (200, 2), "{says}");
        let mut whole = 0;
        for mut ann in anns {
            if ann.piece().await.is_some() {
                whole += 1;
            }
        }
        assert_eq!((whole, length(bobs).await), (3, MIB), "{says}");
    }
}

/// The response of a session's call is cut, and its messages are kept. The client resumes and gets
/// the rest.
#[tokio::test(start_paused = true)]
async fn cut_session_streams_can_be_resumed() {
    let app = app(ResponseMode::Auto, false);
    let ann = app.open_principal("ann").await;
    let mut streams = Vec::new();
    for id in 0..4 {
        let mut stream = ann.call(id, "later", json!({})).await.sse();
        let first = stream.next().await.unwrap().id().to_owned();
        streams.push((stream, first));
    }
    sleep(Duration::from_secs(1)).await;
    let mut begun = Vec::new();
    for (mut stream, first) in streams {
        assert!(stream.next_piece().await.is_some());
        sleep(Duration::from_millis(1)).await;
        begun.push((stream, first));
    }
    let bobs = app.send(call_of(false, "big", "bob")).await;
    assert_eq!((length(bobs).await, cut(&app).await), (MIB, 1));
    let (mut stream, first) = begun.remove(0);
    assert!(stream.next_piece().await.is_none(), "it is cut");
    drop((stream, begun));
    let back = ann.resume(&first).await;
    assert_eq!((back.status, length(back).await), (StatusCode::OK, MIB));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_too_slowly_is_cut() {
    for (stateless, tool) in [(false, "big"), (false, "later"), (true, "big"), (true, "later")] {
        for (pause, pieces) in [(29, 2..=4), (10, 32..=34)] {
            let app = app(ResponseMode::Auto, stateless);
            let mut reply = app.send(call_of(stateless, tool, "ann")).await;
            sleep(Duration::from_secs(1)).await;
            let (mut read, mut got) = (0, 0);
            while let Some(size) = reply.piece().await {
                read += usize::from(size > 1_000);
                got += size;
                if got > MIB {
                    break;
                }
                sleep(Duration::from_secs(pause)).await;
            }
            assert!(pieces.contains(&read), "{tool}, stateless: {stateless}, {pause} s: {read} pieces");
            assert_eq!((got > MIB, cut(&app).await), (pause == 10, u64::from(pause == 29)), "{tool} {pause}");
        }
    }
}

#[test]
fn the_total_limit_covers_one_response() {
    let build = |limits: Limits| McpService::<()>::builder(McpServer::new("a", "1")).limits(limits).build();
    let error = build(Limits::new().max_response_bytes(100).max_unread_response_bytes(99)).unwrap_err();
    assert_eq!(error.setting(), "Limits::max_unread_response_bytes");
    build(Limits::new().max_response_bytes(100).max_unread_response_bytes(100)).unwrap();
}
