//! Expiry of sessions: idle timeout, lifetime, and the eviction of one session for another.

use std::time::Duration;

use mcp_http::store::EndReason;
use mcp_http::{McpServer, McpService, SessionId, Sessions};
use serde_json::json;
use tokio::time::sleep;

use crate::support::{App, Client, initialize};

const IDLE: Duration = Duration::from_secs(10);

fn app(configure: impl FnOnce(Sessions) -> Sessions) -> App {
    App::with(|service| service.sessions(configure(Sessions::new().idle_timeout(IDLE))))
}

async fn lives(client: &Client) -> bool {
    // This reads the list of sessions, which does not count as a use of the session.
    let id = SessionId::parse(&client.session).unwrap();
    client.app.handle.sessions().await.unwrap().iter().any(|summary| summary.info.id == id)
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

async fn ping(client: &Client) -> u16 {
    client.post(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.status.as_u16()
}

/// Acceptance 49, 55.
#[tokio::test(start_paused = true)]
async fn idle_sessions_end_after_the_timeout() {
    let app = app(|sessions| sessions);
    let client = app.open().await;
    seconds(9).await;
    assert!(lives(&client).await);
    seconds(3).await;
    assert!(!lives(&client).await);
    assert_eq!(ping(&client).await, 404);
    assert_eq!(client.delete().await.status, 404);
    assert_eq!(app.handle.statistics().await.ended.get(&EndReason::Idle), Some(&1));
    assert_eq!(ping(&app.open().await).await, 200);
}

/// Acceptance 50.
#[tokio::test(start_paused = true)]
async fn any_message_keeps_a_session_alive() {
    let app = app(|sessions| sessions);
    let client = app.open().await;
    let messages = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}),
        json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}),
        json!({"jsonrpc": "2.0", "id": "s1-0", "result": {}}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}}),
    ];
    for message in messages.iter().cycle().take(12) {
        seconds(8).await;
        let status = client.post(message.clone()).await.status;
        assert!(status.is_success(), "{message} {status}");
    }
    seconds(12).await;
    assert!(!lives(&client).await);
}

/// Acceptance 50, 156.
#[tokio::test(start_paused = true)]
async fn long_calls_keep_their_session() {
    let app = app(|sessions| sessions);
    let client = app.open().await;
    let calls = [("a", 30_000), ("b", 60_000)].map(|(label, ms)| {
        let client = client.clone();
        tokio::spawn(async move {
            // The response is read to its end and dropped at once, as a connection does.
            client.call(1, "slow", json!({"label": label, "ms": ms})).await.message().await
        })
    });
    seconds(55).await;
    assert!(lives(&client).await);
    for call in calls {
        assert_eq!(call.await.unwrap()["result"]["content"][0]["text"], "slept");
    }
    // This is second 60: the idle time starts when the last call ends.
    seconds(9).await;
    assert!(lives(&client).await);
    seconds(3).await;
    assert!(!lives(&client).await);
}

/// Acceptance 50, 156, 104.
#[tokio::test(start_paused = true)]
async fn abandoned_calls_keep_their_session_until_they_end() {
    let app = app(|sessions| sessions);
    let client = app.open().await;
    drop(client.call(1, "slow", json!({"label": "a", "ms": 30_000})).await);
    seconds(28).await;
    assert!(lives(&client).await);
    seconds(5).await;
    assert_eq!((app.probe.state("a"), lives(&client).await), (Some("finished"), true));
    seconds(10).await;
    assert!(!lives(&client).await);
}

/// Acceptance 51, 54.
#[tokio::test(start_paused = true)]
async fn open_streams_keep_their_session() {
    let app = app(|sessions| sessions);
    let client = app.open().await;
    let get = client.listen().await;
    seconds(100).await;
    assert!(lives(&client).await);
    drop(get);
    seconds(9).await;
    assert!(lives(&client).await, "the clock starts when the stream ends");
    seconds(3).await;
    assert!(!lives(&client).await);
}

/// `None` switches the timeout off, and values with which no session could be used are rejected at
/// start-up.
///
/// Acceptance 52.
#[tokio::test(start_paused = true)]
async fn the_timeout_can_be_off_but_not_zero() {
    let app = app(|sessions| sessions.idle_timeout(None));
    let client = app.open().await;
    seconds(24 * 3600).await;
    assert_eq!(ping(&client).await, 200);
    let rejected = |sessions| {
        let service = McpService::builder(McpServer::<()>::new("s", "1"));
        service.sessions(sessions).build().unwrap_err().setting()
    };
    assert_eq!(rejected(Sessions::new().idle_timeout(Duration::ZERO)), "Sessions::idle_timeout");
    assert_eq!(rejected(Sessions::new().lifetime(Duration::ZERO)), "Sessions::lifetime");
    assert_eq!(rejected(Sessions::new().max_sessions(0)), "Sessions::max_sessions");
    assert_eq!(rejected(Sessions::new().max_sessions_per_principal(0)), "Sessions::max_sessions_per_principal");
    // The timeout is shorter than the retry interval, so a client that waits to resume would find
    // its session expired.
    assert_eq!(rejected(Sessions::new().idle_timeout(Duration::from_millis(900))), "Sessions::idle_timeout");
}

/// Acceptance 49.
#[tokio::test(start_paused = true)]
async fn sessions_end_at_their_maximum_age() {
    let app = app(|sessions| sessions.lifetime(Duration::from_secs(60)));
    let client = app.open().await;
    let mut get = client.listen().await;
    let mut call = client.call(1, "note_and_hold", json!({"label": "a"})).await.sse();
    assert_eq!(call.message().await.unwrap().json()["params"]["progress"], 1);
    seconds(59).await;
    assert_eq!(ping(&client).await, 200);
    seconds(2).await;
    assert_eq!(ping(&client).await, 404);
    assert_eq!(get.rest().await.len(), 0);
    let rest = call.rest().await;
    assert!(rest.len() == 1 && rest[0].json()["error"]["code"] == -32603, "{rest:?}");
    assert_eq!(app.probe.state("a"), Some("cancelled"));
    assert_eq!(app.handle.statistics().await.ended.get(&EndReason::Lifetime), Some(&1));
}

/// At the limit, the session that has been idle for the longest time is evicted for a new one.
///
/// Acceptance 48, 53.
#[tokio::test(start_paused = true)]
async fn the_longest_idle_session_is_evicted() {
    let app = app(|sessions| sessions.max_sessions(3).idle_timeout(Duration::from_secs(600)));
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(app.open().await);
        seconds(1).await;
    }
    // The first was used since, so the second is now idle for the longest time.
    assert_eq!(ping(&clients[0]).await, 200);
    seconds(1).await;
    let newcomer = app.open().await;
    assert!(!lives(&clients[1]).await);
    for client in [&clients[0], &clients[2], &newcomer] {
        assert!(lives(client).await);
    }
    assert_eq!(app.handle.statistics().await.ended.get(&EndReason::Evicted), Some(&1));
}

/// The eviction order follows the last use, not the age.
///
/// Acceptance 48, 53.
#[tokio::test(start_paused = true)]
async fn eviction_follows_the_last_use() {
    for max in [1, 2, 7] {
        let app = app(|sessions| sessions.max_sessions(max).idle_timeout(Duration::from_secs(600)));
        let mut clients = Vec::new();
        for _ in 0..max {
            clients.push(app.open().await);
            seconds(1).await;
        }
        for client in clients.iter().rev() {
            assert_eq!(ping(client).await, 200);
            seconds(1).await;
        }
        let reply = app.post(initialize("2025-11-25", json!({}))).await;
        assert_eq!(reply.status, 200, "{max}: {:?}", reply.rejection);
        assert!(!lives(clients.last().unwrap()).await, "the last was used first");
    }
}

/// A session with a reader or a call is not evicted. The new client gets 503 with `Retry-After`.
///
/// Acceptance 48.
#[tokio::test(start_paused = true)]
async fn sessions_in_use_are_not_evicted() {
    let app = app(|sessions| sessions.max_sessions(2));
    let (listener, caller) = (app.open().await, app.open().await);
    let get = listener.listen().await;
    let call = caller.call(1, "note_and_hold", json!({"label": "a"})).await;
    seconds(100).await;
    for _ in 0..3 {
        let reply = app.post(initialize("2025-11-25", json!({}))).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("2")));
        assert_eq!(reply.header("mcp-session-id"), None);
        assert_eq!(
            reply.json().await,
            json!({"jsonrpc": "2.0", "id": 0, "error": {
                "code": -32603, "message": "Too many sessions: the limit is 2 (setting `Sessions::max_sessions`)"}})
        );
    }
    app.probe.release("a");
    assert_eq!(call.message().await["result"]["content"][0]["text"], "released");
    let newcomer = app.open().await;
    assert!(lives(&newcomer).await && lives(&listener).await && !lives(&caller).await);
    drop(get);
}
