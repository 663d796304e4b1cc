//! Limits on subscriptions, and the release of their capacity.

use std::sync::Arc;
use std::time::Duration;

use mcp_http::{Limits, McpListener, McpServer, McpService};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{ALL, EVERYTHING, Foreign, listen, listening, listens, method, on_the_wire, opened};
use crate::support::{App, RequestExt, Served, exchange, modern_call, service};
use crate::table::{seen, sent};

fn limited(limits: Limits) -> App {
    App::with(|service| service.limits(limits))
}

/// The request gets status 429, and its message names the limit of the principal or of all.
///
/// Acceptance 144, 176.
#[tokio::test(start_paused = true)]
async fn subscriptions_beyond_a_limit_get_429() {
    let app = limited(Limits::new().max_listen_streams(3).max_listen_streams_per_principal(2));
    let of = |principal: &str| listening("4", ALL).principal(principal);
    let held = [opened(app.send(of("ann")).await), opened(app.send(of("ann")).await)];
    let reply = app.send(of("ann")).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("2")));
    let rejected = json!({"jsonrpc": "2.0", "id": 4, "error": {"code": -32603,
        "message": "Too many subscription streams of this principal: the limit is 2 (setting `Limits::max_listen_streams_per_principal`)"}});
    assert_eq!(reply.json().await, rejected);
    let bob = opened(app.send(of("bob")).await);
    for request in [of("bob"), listening("4", ALL)] {
        let reply = app.send(request).await;
        assert_eq!(reply.status, 429);
        let rejected = json!({"jsonrpc": "2.0", "id": 4, "error": {"code": -32603,
            "message": "Too many subscription streams: the limit is 3 (setting `Limits::max_listen_streams`)"}});
        assert_eq!(reply.json().await, rejected);
    }
    assert_eq!(listens(&app).await, 3);
    drop(held);
    assert_eq!(listens(&app).await, 1);
    let mut again = [opened(app.send(of("ann")).await), opened(app.send(of("ann")).await)];
    drop(bob);
    let nobody = opened(app.send(listening("4", ALL)).await);
    assert_eq!(listens(&app).await, 3);
    app.handle.tools_changed();
    for stream in &mut again {
        assert_eq!((method(stream).await, method(stream).await), ("acknowledged".to_owned(), "tools".to_owned()));
    }
    drop((again, nobody));
    let statistics = app.handle.statistics().await;
    assert_eq!(statistics.listens, 0);
    assert_eq!(statistics.rejected["too_many_listens"], 2);
    assert_eq!(statistics.rejected["too_many_listens_of_principal"], 1);
}

/// The limit for each principal does not apply to clients without one. Limits of zero are invalid.
///
/// Acceptance 144, 176.
#[tokio::test(start_paused = true)]
async fn without_a_principal_the_total_limit_applies() {
    let app = limited(Limits::new().max_listen_streams(5).max_listen_streams_per_principal(1));
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(listen(&app, "{}").await);
    }
    assert_eq!(sent(&app, listening("1", "{}")).await, seen(429, -32603, Some("1")));
    let limits = [Limits::new().max_listen_streams(0), Limits::new().max_listen_streams_per_principal(0)];
    for (limits, setting) in
        limits.into_iter().zip(["Limits::max_listen_streams", "Limits::max_listen_streams_per_principal"])
    {
        let rejected = McpService::<()>::builder(McpServer::new("a", "1")).limits(limits).build().unwrap_err();
        assert_eq!(rejected.setting(), setting);
    }
}

/// A principal with a hundred subscriptions can still make its one call, and the reverse.
///
/// Acceptance 160.
#[tokio::test(start_paused = true)]
async fn subscriptions_and_calls_have_separate_permits() {
    let limits =
        Limits::new().max_calls_per_session(1).max_calls_per_principal(1).max_listen_streams_per_principal(100);
    let app = limited(limits);
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(opened(app.send(listening("1", ALL).principal("ann")).await));
        let echo = app.send(modern_call("echo", json!({"message": "hi"})).principal("ann")).await;
        assert_eq!(echo.message().await["result"]["content"][0]["text"], "hi");
    }
    let _held = app.send(modern_call("note_and_hold", json!({"label": "a"})).principal("ann")).await;
    assert_eq!(app.send(modern_call("echo", json!({"message": "hi"})).principal("ann")).await.status, 429);
    streams.pop();
    let mut another = opened(app.send(listening("1", ALL).principal("ann")).await);
    assert_eq!(method(&mut another).await, "acknowledged");
    let report = app.handle.drain(Duration::ZERO).await;
    assert_eq!((report.calls, report.closed_streams), (1, 100), "a listen is no call in flight");
}

/// The client leaves before the acknowledgement, before it has read it, or after it.
///
/// Acceptance 139, 144.
#[tokio::test(start_paused = true)]
async fn disconnects_free_the_subscription_at_any_moment() {
    let gate = Arc::new(Notify::new());
    let server = Foreign::new(EVERYTHING).behind(&gate);
    let app =
        server.app(|service| service.limits(Limits::new().max_listen_streams(1).max_listen_streams_per_principal(1)));
    let request = || listening("1", ALL).principal("ann");
    for _ in 0..3 {
        let asking = tokio::spawn({
            let app = app.clone();
            async move { app.send(request()).await }
        });
        server.asked.notified().await;
        assert_eq!(sent(&app, request()).await, seen(429, -32603, Some("1")), "one place, and it is taken");
        asking.abort();
        assert!(asking.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(listens(&app).await, 0, "it left before it was acknowledged");
    }
    gate.notify_one();
    let unread = app.send(request()).await;
    assert_eq!((unread.status.as_u16(), listens(&app).await), (200, 1));
    drop(unread);
    gate.notify_one();
    let mut read = opened(app.send(request()).await);
    assert_eq!(method(&mut read).await, "acknowledged");
    drop(read);
    assert_eq!(listens(&app).await, 0);
}

/// The client closes its socket, and its subscription no longer counts.
///
/// Acceptance 54, 139, 144.
#[tokio::test]
async fn closed_connections_free_their_subscription() {
    let served = Served::new().await;
    let mut connection = served.connect().await;
    let answer = exchange(&mut connection, on_the_wire(&served).as_bytes(), Duration::from_millis(300)).await;
    assert!(answer.contains("notifications/subscriptions/acknowledged"), "{answer}");
    assert_eq!(served.handle.statistics().await.listens, 1);
    drop(connection);
    let gone = async {
        while served.handle.statistics().await.listens > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("the place stays taken");
}

/// The write timeout of the listener closes the connection of a client that does not read.
///
/// Acceptance 144, 170.
#[tokio::test]
async fn unread_subscriptions_lose_their_connection() {
    let (service, _) = service();
    let short = |listener: McpListener| listener.write_timeout(Some(Duration::from_millis(200)));
    let served = Served::of(service, short).await;
    let mut connection = served.connect().await;
    connection.write_all(on_the_wire(&served).as_bytes()).await.unwrap();
    let cut = async {
        while served.handle.statistics().await.listens == 0 {
            tokio::task::yield_now().await;
        }
        while served.handle.statistics().await.listens > 0 {
            for _ in 0..1_000 {
                served.handle.tools_changed();
                tokio::task::yield_now().await;
            }
        }
    };
    timeout(Duration::from_secs(60), cut).await.expect("it is never cut");
    drop(connection);
}
