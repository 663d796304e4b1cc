//! Races between a session's requests and its end, on real threads and in real time. No operation
//! waits for another one.

use std::time::Duration;

use axum::http::Method;
use mcp_http::store::{EndReason, MemoryEngine};
use mcp_http::{SessionId, Sessions};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{App, Client, RequestExt, call, eventually, initialize};

const ROUNDS: usize = 60;

/// Waits for the end of a call whose session ends: an answer, a rejection, or the end of a stream.
async fn settles(client: &Client, id: usize, tool: &str) {
    let reply = client.call(id, tool, json!({"label": format!("{id} {}", client.session)})).await;
    match reply.status.as_u16() {
        200 => drop(timeout(Duration::from_secs(20), reply.sse().rest()).await.expect("the stream hangs")),
        404 => assert_eq!(reply.error().await.0, -32001),
        500 => assert_eq!(reply.error().await, (-32603, Some(json!(id)))),
        other => panic!("{other}"),
    }
}

/// Every call gets an answer, a rejection or the end of its stream, and none stays in flight.
///
/// Acceptance 33, 34, 44, 165.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_settle_when_their_session_ends() {
    let app = App::new();
    for _ in 0..ROUNDS {
        let client = app.open().await;
        let mut tasks = Vec::new();
        for id in 0..6 {
            let client = client.clone();
            let tool = if id % 2 == 0 { "hold" } else { "note_and_hold" };
            tasks.push(tokio::spawn(async move { settles(&client, id, tool).await }));
        }
        let listener = client.clone();
        tasks.push(tokio::spawn(async move {
            let reply = listener.app.send(listener.request(Method::GET)).await;
            if reply.status == 200 {
                timeout(Duration::from_secs(20), reply.sse().rest()).await.expect("the stream hangs");
            }
        }));
        for _ in 0..2 {
            let client = client.clone();
            tasks.push(tokio::spawn(async move { drop(client.delete().await) }));
        }
        for task in tasks {
            timeout(Duration::from_secs(20), task).await.expect("a request hangs").unwrap();
        }
        assert!(app.handle.session(SessionId::parse(&client.session).unwrap()).await.unwrap().is_none());
    }
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.ended.get(&EndReason::Deleted)), (Some(0), Some(&(ROUNDS as u64))));
    // The task of a call may still have its last operations to do when the reply is out.
    assert_eq!(app.handle.drain(Duration::from_secs(5)).await.cut_calls, 0, "a call is left in flight");
}

/// Another node uses the session for the first time while it is deleted. Afterwards it exists at
/// neither node.
///
/// Acceptance 30, 159.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_use_during_a_delete_leaves_nothing() {
    let engine = MemoryEngine::new();
    let [a, b] = [(); 2].map(|()| App::with(|service| service.engine(engine.clone())));
    for _ in 0..ROUNDS {
        let client = a.open().await;
        let there = Client { app: b.clone(), ..client.clone() };
        let tasks = [
            tokio::spawn({
                let there = there.clone();
                async move { drop(there.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await) }
            }),
            tokio::spawn(async move { drop(there.app.send(there.request(Method::GET)).await) }),
            tokio::spawn({
                let client = client.clone();
                async move { assert_eq!(client.delete().await.status, 200) }
            }),
        ];
        for task in tasks {
            task.await.unwrap();
        }
        let id = SessionId::parse(&client.session).unwrap();
        for app in [&a, &b] {
            assert!(app.handle.session(id).await.unwrap().is_none(), "a ghost");
        }
    }
    assert_eq!(a.handle.statistics().await.sessions, Some(0));
}

/// Eight clients open sessions at once, half of them for one principal. Both limits hold.
///
/// Acceptance 48, 176.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_openings_keep_the_session_limits() {
    let sessions = Sessions::new().max_sessions(8).max_sessions_per_principal(4);
    let app = App::with(|service| service.sessions(sessions));
    let openers = (0..8).map(|n| {
        let app = app.clone();
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                let opening = crate::support::request(Method::POST).message(initialize("2025-11-25", json!({})));
                let opening = if n % 2 == 0 { opening.principal("ann") } else { opening };
                // 500: the session was evicted before its id was sent.
                let status = app.send(opening).await.status.as_u16();
                assert!([200, 500, 503].contains(&status), "{status}");
            }
        })
    });
    for opener in openers.collect::<Vec<_>>() {
        opener.await.unwrap();
    }
    let statistics = app.handle.statistics().await;
    let list = app.handle.sessions().await.unwrap();
    let sessions = statistics.sessions.unwrap();
    assert!(sessions <= 8 && list.len() == sessions, "{statistics:?} {}", list.len());
    assert_eq!(statistics.opened, sessions as u64 + statistics.ended.values().sum::<u64>());
    let of_ann = list.iter().filter(|summary| summary.info.principal.is_some()).count();
    assert!(of_ann <= 4, "{of_ann}");
    // A session that was evicted in the race releases its principal's capacity.
    for summary in list {
        assert!(app.handle.end_session(summary.info.id).await.unwrap());
    }
    for _ in 0..4 {
        app.open_principal("ann").await;
    }
    assert_eq!(app.handle.sessions().await.unwrap().len(), 4, "the first were not evicted");
}

/// Each stream ends, with or without an answer.
///
/// Acceptance 105, 164.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancellation_races_leave_nothing_in_flight() {
    let app = App::new();
    let client = app.open().await;
    for id in 0..ROUNDS {
        let (caller, canceller) = (client.clone(), client.clone());
        let call = tokio::spawn(async move {
            let reply = caller.post(call(id, "progress", json!({"steps": 3}))).await;
            assert!(reply.status.is_success());
            let messages = reply.sse().rest().await;
            assert!(messages.len() <= 4);
        });
        assert_eq!(canceller.cancel(id).await.status, 202);
        timeout(Duration::from_secs(20), call).await.expect("the call hangs").unwrap();
    }
    eventually("no call is in flight", async || app.handle.sessions().await.unwrap()[0].calls == 0).await;
    assert_eq!(app.handle.drain(Duration::from_secs(5)).await.cut_calls, 0, "a call is left in flight");
}
