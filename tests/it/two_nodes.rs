//! Two services on one engine: calls, streams, sessions and changes of one continue at the other.

use std::time::Duration;

use mcp_http::store::MemoryEngine;
use serde_json::json;
use tokio::time::sleep;

use crate::moving_clients::{self, TOOLS};
use crate::support::{App, FarEngine, Pace};

fn nodes() -> (App, App) {
    let engine = MemoryEngine::new();
    let node = || App::with(|service| service.engine(engine.clone()));
    (node(), node())
}

fn far_nodes() -> (App, App) {
    let engine = FarEngine::new(|_, _| Pace { there: Duration::from_millis(2), back: Duration::from_millis(3) });
    let node = || App::with(|service| service.engine(engine.clone()));
    (node(), node())
}

/// Runs on a near engine and on one behind a slow network, as do most tests of this file.
///
/// Acceptance 27, 111, 113, 124.
#[tokio::test(start_paused = true)]
async fn running_calls_resume_at_the_other_node() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::running_calls_resume_at_the_other_node(&a, &b).await;
    }
}

/// The replaced reader gets a `retry`, and no event is lost or repeated.
///
/// Acceptance 118, 124.
#[tokio::test(start_paused = true)]
async fn live_streams_move_between_nodes() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::live_streams_move_between_nodes(&a, &b).await;
    }
}

/// A replaced reader learns it from a rejected write before the signal arrives, or, if the signal
/// is lost, without it. Its stream then ends with a `retry`.
///
/// Acceptance 101, 118.
#[tokio::test(start_paused = true)]
async fn replaced_readers_get_a_retry_without_signals() {
    for (late, told) in [(0, 5_000), (300, 5_000), (1_500, 5_000), (60_000, 1_000)] {
        let pace = |_: &str, _| Pace::YIELD;
        let engine = FarEngine::new(pace).late_signals(Duration::from_millis(late));
        let node = || App::with(|service| service.engine(engine.clone()));
        let (a, b) = (node(), node());
        let here = a.open().await;
        let mut old = here.call(1, "progress", json!({"steps": 40, "delay_ms": 20})).await.sse();
        let prime = old.next().await.unwrap();
        sleep(Duration::from_millis(200)).await;
        let new = here.at(&b).resume(prime.id()).await.sse();
        let mut retry = None;
        while let Some(event) = old.next().await {
            retry = event.retry.or(retry);
        }
        assert_eq!(retry, Some(told), "with signals late by {late} ms");
        drop(new);
    }
}

/// The first answer counts, whichever node receives it.
///
/// Acceptance 94, 124.
#[tokio::test(start_paused = true)]
async fn client_requests_are_answered_at_either_node() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::client_requests_are_answered_at_either_node(&a, &b).await;
    }
}

/// The node that runs the call receives the cancellation.
///
/// Acceptance 105, 164, 159.
#[tokio::test(start_paused = true)]
async fn calls_are_cancelled_at_either_node() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::calls_are_cancelled_at_either_node(&a, &b).await;
    }
}

/// The calls and streams of the session end at both nodes.
///
/// Acceptance 30, 33, 165, 159.
#[tokio::test(start_paused = true)]
async fn sessions_end_at_both_nodes() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::sessions_end_at_both_nodes(&a, &b).await;
    }
}

/// The other node's streams get each change exactly once.
///
/// Acceptance 124, 159, 173.
#[tokio::test(start_paused = true)]
async fn announcements_reach_the_other_node_once() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::announcements_reach_the_other_node_once(&a, &b).await;
    }
}

/// The client gets the announcement once, although it was connected to several nodes.
///
/// Acceptance 93, 124.
#[tokio::test(start_paused = true)]
async fn moved_clients_get_each_announcement_once() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::moved_clients_get_each_announcement_once(&a, &b).await;
    }
}

/// One of the nodes is slower than the other, and the client still gets the announcement only once.
///
/// Acceptance 93, 124.
#[tokio::test(start_paused = true)]
async fn moved_clients_get_announcements_once_at_any_speed() {
    let publishes = std::sync::atomic::AtomicU64::new(0);
    let engine = FarEngine::new(move |step, _| {
        let turn = publishes.fetch_add(u64::from(step == "publish"), std::sync::atomic::Ordering::Relaxed);
        let there = if step == "publish" { 50 * (turn % 2) } else { 1 };
        Pace { there: Duration::from_millis(there), back: Duration::ZERO }
    });
    let node = || App::with(|service| service.engine(engine.clone()));
    let (a, b) = (node(), node());
    let here = a.open().await;
    let there = here.at(&b);
    for client in [&here, &there, &here, &there, &there] {
        let mut get = client.listen_primed().await;
        a.handle.tools_changed();
        assert_eq!(get.message().await.unwrap().json()["method"], TOOLS);
        assert!(get.is_silent().await, "told twice");
    }
}

/// A client may subscribe at one node and have its stream at another.
///
/// Acceptance 46, 124.
#[tokio::test(start_paused = true)]
async fn subscriptions_count_at_both_nodes() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::subscriptions_count_at_both_nodes(&a, &b).await;
    }
}

/// A client may set its log level at one node and have its stream at another.
///
/// Acceptance 93, 124.
#[tokio::test(start_paused = true)]
async fn log_levels_count_at_both_nodes() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::log_levels_count_at_both_nodes(&a, &b).await;
    }
}

/// Both nodes read and update the same state.
///
/// Acceptance 27, 124.
#[tokio::test(start_paused = true)]
async fn session_state_is_shared_by_both_nodes() {
    for (a, b) in [nodes(), far_nodes()] {
        moving_clients::session_state_is_shared_by_both_nodes(&a, &b).await;
    }
}
