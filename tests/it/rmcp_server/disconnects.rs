//! Clients that leave at any point: each request is polled a number of times and then dropped, as
//! by a connection that breaks. Nothing may remain of it, and later requests must still work.

use std::collections::BTreeSet;
use std::future::Future;
use std::task::Poll;

use super::*;

/// More polls than any request below needs.
const MOST: usize = 40;

/// Polls a future the given number of times, lets other tasks run in between, and drops it.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    for _ in 0..times {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn disconnects_during_initialize_leave_no_handler() {
    let shared = Shared::default();
    let app = app(&shared);
    let mut ends = 0;
    for times in 0..MOST {
        let opened = polled(times, app.post(initialize("2025-11-25", json!({})))).await;
        ends += usize::from(opened.is_some());
    }
    assert!((1..MOST).contains(&ends), "{ends} openings came to their end");
    sleep(Duration::from_secs(10)).await;
    let sessions = app.handle.sessions().await.unwrap();
    assert_eq!(shared.handlers() as usize, sessions.len());
    for session in sessions {
        assert!(app.handle.end_session(session.info.id).await.unwrap());
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!(shared.handlers(), 0);
}

#[tokio::test(start_paused = true)]
async fn sessionless_disconnects_leave_nothing() {
    for listens in [false, true] {
        let shared = Shared { listens, ..Shared::default() };
        let app = app(&shared);
        app.call_tool("count", json!({})).await;
        for times in 0..MOST {
            polled(times, app.call_tool("wait", json!({}))).await;
            polled(times, app.call_tool("count", json!({}))).await;
            polled(times, async { app.send(listen()).await.sse().message().await }).await;
            polled(times, app.send(modern("server/discover", json!({})))).await;
        }
        sleep(Duration::from_secs(10)).await;
        assert_eq!(shared.handlers(), 1, "only the one that is asked of itself is left");
        assert_eq!(app.handle.statistics().await.listens, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_survive_disconnects_during_a_move() {
    let mut counts = BTreeSet::new();
    for times in 0..MOST {
        let engine = MemoryEngine::new();
        let (here, there) = (Shared::default(), Shared::default());
        let node = |shared: &Shared| with(shared, |service| service.engine(engine.clone()));
        let (a, b) = (node(&here), node(&there));
        let client = a.open().await;
        let moved = client.at(&b);
        polled(times, moved.call(1, "count", json!({}))).await;
        sleep(Duration::from_secs(1)).await;
        let count = text(moved.call(2, "count", json!({})).await).await;
        counts.insert(count.to_string());
        assert_eq!(there.handlers(), 1, "after {times} polls");
        assert_eq!(there.seen(), ["initialize by test at /", "initialized"], "after {times} polls");
        assert_eq!(client.delete().await.status, 200);
        sleep(Duration::from_secs(10)).await;
        assert_eq!((here.handlers(), there.handlers()), (0, 0), "after {times} polls");
    }
    assert_eq!(counts, BTreeSet::from([json!("1").to_string(), json!("2").to_string()]), "it left before and after");
}

/// The client's `initialized` arrived at another node, so each call here may be the first to pass
/// it on.
#[tokio::test(start_paused = true)]
async fn cancelled_calls_initialize_handlers_once() {
    for times in 0..MOST {
        let shared = Shared::default();
        let app = app(&shared);
        let session = app.post(initialize("2025-11-25", json!({}))).await.headers["mcp-session-id"].clone();
        let session = session.to_str().unwrap().to_owned();
        let client = Client { app, session, version: "2025-11-25".into(), principal: None };
        let mut call = Box::pin(client.call(1, "count", json!({})));
        let answered = polled(times, &mut call).await;
        client.cancel(1).await;
        if answered.is_none() {
            call.await;
        }
        client.call(2, "count", json!({})).await.message().await;
        let ready = shared.seen().iter().filter(|seen| *seen == "initialized").count();
        assert_eq!(ready, 1, "after {times} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_end_with_their_session_during_calls() {
    let shared = Shared::default();
    let app = app(&shared);
    for times in 0..MOST {
        let client = app.open().await;
        for (id, tool) in [(1, "ask"), (2, "wait"), (3, "ask_aside"), (4, "say")] {
            polled(times, client.call(id, tool, json!({}))).await;
        }
        assert_eq!(client.delete().await.status, 200);
        assert_eq!(client.call(5, "count", json!({})).await.status, 404);
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!((shared.handlers(), app.handle.sessions().await.unwrap().len()), (0, 0));
}
