//! One client that opens without end, and what is left for the others.

use std::time::Duration;

use mcp_http::store::EndReason;
use tokio::time::sleep;

use crate::support::{App, opening, ping};

/// More than fit: the exact flood by which one connection once ended every idle session.
const FLOOD: usize = 10_100;

#[tokio::test(start_paused = true)]
async fn a_flood_of_openings_leaves_sessions_in_use() {
    let app = App::new();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(app.open().await);
    }
    sleep(Duration::from_secs(600)).await;
    for number in 0..FLOOD {
        assert_eq!(app.send(opening()).await.status, 200, "opening {number}");
    }
    for client in &clients {
        assert_eq!(client.post(ping(1)).await.status, 200);
    }
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.ended[&EndReason::Evicted]), (10_000, 120));
}

#[tokio::test(start_paused = true)]
async fn of_unused_sessions_the_oldest_makes_room() {
    let app = App::with(|service| service.sessions(mcp_http::Sessions::new().max(3)));
    let used = app.open().await;
    let mut unused = Vec::new();
    for _ in 0..2 {
        sleep(Duration::from_secs(1)).await;
        let reply = app.send(opening()).await;
        unused.push(reply.header("mcp-session-id").unwrap().to_owned());
    }
    app.send(opening()).await;
    let client = |session: &String| crate::support::Client { session: session.clone(), ..used.clone() };
    assert_eq!(client(&unused[0]).post(ping(1)).await.status, 404, "it was the oldest");
    assert_eq!(client(&unused[1]).post(ping(1)).await.status, 200);
    assert_eq!(used.post(ping(1)).await.status, 200);
}
