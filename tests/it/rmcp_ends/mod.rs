//! rmcp at both ends, with this crate between them: an independent client in whole conversations
//! with independent handlers, over sockets.
#![allow(deprecated, reason = "sampling, roots and logging are, for clients of 2026-07-28")]

mod client;
mod relay;
mod server;

use std::sync::Arc;
use std::time::Duration;

use mcp_http::{McpService, ResponseMode, RmcpServer, Streams};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, GetTaskParams, LoggingLevel, ProtocolVersion, ServerNotification,
    ServerResult, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, TaskPayload,
    UnsubscribeRequestParams,
};
use rmcp::service::{ClientLifecycleMode, ServiceError};
use serde_json::json;
use tokio::time::{sleep, timeout};

use self::client::{Client, ended};
use self::relay::Relay;
use self::server::{Handler, Shared};
use crate::support::Served;

async fn serve(mode: ResponseMode) -> (Served, Relay, Arc<Shared>) {
    let shared = Arc::new(Shared::default());
    let server = RmcpServer::new({
        let shared = Arc::clone(&shared);
        move || Handler::new(&shared)
    });
    let streams = Streams::new().response_mode(mode).retry_interval(Some(Duration::from_millis(20)));
    let service = McpService::builder(server).streams(streams);
    let served = Served::of(service, |listener| listener).await;
    let relay = Relay::to(served.addr).await;
    (served, relay, shared)
}

async fn soon(what: impl AsyncFn() -> bool) {
    let waiting = timeout(Duration::from_secs(20), async {
        while !what().await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waiting.await.unwrap();
}

/// Progress, client requests, log messages, changes and cancellation all work between the two.
///
/// Acceptance 3, 27, 30, 94.
#[tokio::test]
async fn both_rmcp_ends_work_in_a_session() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse] {
        let (served, relay, shared) = serve(mode).await;
        let client = Client::connect(relay.url(), ClientLifecycleMode::Initialize).await;
        assert_eq!(client.service.peer_info().unwrap().protocol_version, ProtocolVersion::V_2025_11_25);
        let tools = client.service.list_all_tools().await.unwrap();
        let tools: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(tools, ["ask", "cut", "greet", "later", "say", "touch", "wait", "walk"]);

        assert_eq!(client.call("walk", json!({"steps": 20, "ms": 0})).await, "20 steps");
        // rmcp handles notifications and the answer concurrently.
        client.until(|seen| seen.progress.len() == 20).await;
        assert_eq!(client.seen().progress, (1..=20).map(f64::from).collect::<Vec<_>>());
        assert_eq!(client.call("ask", json!({})).await, "Ada, forty-two, file:///home/ada");
        assert_eq!(client.seen().asked, ["user", "model", "roots"]);

        client.service.set_level(SetLevelRequestParams::new(LoggingLevel::Info)).await.unwrap();
        assert_eq!(client.call("say", json!({})).await, "said");
        client.until(|seen| !seen.logged.is_empty()).await;
        assert_eq!(client.seen().logged, [r#"Warning: "so it is""#]);

        changes(&client).await;

        let call = client.begin("wait").await;
        soon(async || shared.waited() == ["waits"]).await;
        call.cancel(Some("enough".into())).await.unwrap();
        soon(async || shared.waited() == ["waits", "cancelled"]).await;

        assert_eq!((served.handle.sessions().await.unwrap().len(), shared.alive()), (1, 1));
        client.service.cancel().await.unwrap();
        assert!(relay.sent().contains("DELETE /mcp"), "{}", relay.sent());
        assert_eq!(served.handle.sessions().await.unwrap().len(), 0);
        soon(async || shared.alive() == 0).await;
    }
}

/// Checks the notifications that a session gets on its own stream.
async fn changes(client: &Client) {
    client.service.subscribe(SubscribeRequestParams::new("a:b")).await.unwrap();
    client.call("touch", json!({})).await;
    client.until(|seen| seen.lists_changed == 1).await;
    assert_eq!(client.seen().updated, ["a:b"]);
    client.service.unsubscribe(UnsubscribeRequestParams::new("a:b")).await.unwrap();
    client.call("touch", json!({})).await;
    client.until(|seen| seen.lists_changed == 1).await;
    // rmcp's handler sends the update anyway: a handler must keep account of the subscriptions
    // itself.
    assert_eq!(client.seen().updated, ["a:b"]);
}

/// The handler closes its stream, and the relay cuts connections. The client resumes and gets
/// everything.
///
/// Acceptance 94.
#[tokio::test]
async fn cut_streams_lose_nothing_between_rmcp_ends() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse] {
        let (_served, relay, _) = serve(mode).await;
        let client = Client::connect(relay.url(), ClientLifecycleMode::Initialize).await;
        assert!(!relay.sent().contains("last-event-id"));
        assert_eq!(client.call("cut", json!({})).await, "resumed");
        assert_eq!(relay.sent().matches("last-event-id").count(), 1, "{}", relay.sent());

        let (walked, ()) = tokio::join!(client.call("walk", json!({"steps": 10, "ms": 30})), async {
            for steps in [2, 5] {
                client.until(|seen| seen.progress.len() >= steps).await;
                relay.cut();
            }
        });
        assert_eq!(walked, "10 steps");
        client.until(|seen| seen.progress.len() >= 10).await;
        assert_eq!(client.seen().progress, (1..=10).map(f64::from).collect::<Vec<_>>());
        assert!(relay.sent().matches("last-event-id").count() >= 3, "{}", relay.sent());
        client.service.cancel().await.unwrap();
    }
}

/// Calls, input requests, subscriptions and tasks of 2026-07-28 work between the two.
///
/// Acceptance 1, 2.
#[tokio::test]
async fn both_rmcp_ends_work_without_a_session() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let (served, relay, shared) = serve(mode).await;
        let lifecycle = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
        let client = Client::connect(relay.url(), lifecycle).await;
        assert_eq!(client.service.list_all_tools().await.unwrap().len(), 8);
        assert_eq!(client.call("walk", json!({"steps": 20, "ms": 0})).await, "20 steps");
        let all = if mode == ResponseMode::Json { 0 } else { 20 };
        client.until(|seen| seen.progress.len() == all).await;
        assert_eq!(client.call("greet", json!({})).await, "Hello, Ada!");
        assert_eq!(client.seen().asked, ["user"]);

        let wanted = SubscriptionFilter::builder().tools_list_changed().resource_subscription("a:b").build();
        let mut listening = client.service.listen(wanted.clone()).await.unwrap();
        assert_eq!(listening.acknowledged(), &wanted);
        client.call("touch", json!({})).await;
        let told = [listening.next().await.unwrap().unwrap(), listening.next().await.unwrap().unwrap()];
        assert!(
            matches!(&told[0], ServerNotification::ResourceUpdatedNotification(updated) if updated.params.uri == "a:b"),
            "{told:?}"
        );
        assert!(matches!(told[1], ServerNotification::ToolListChangedNotification(_)), "{told:?}");
        assert_eq!(served.handle.statistics().await.listens, 1);
        listening.cancel().await.unwrap();
        soon(async || served.handle.statistics().await.listens == 0).await;

        later(&client).await;

        let call = client.begin("wait").await;
        soon(async || shared.waited() == ["waits"]).await;
        call.cancel(None).await.unwrap();
        soon(async || shared.waited() == ["waits", "cancelled"]).await;

        client.service.cancel().await.unwrap();
        let sent = relay.sent();
        assert!(!sent.contains("mcp-session-id") && !sent.contains("GET /mcp"), "{sent}");
        soon(async || shared.alive() == 1).await;
    }
}

/// Makes a call that is answered by a task.
async fn later(client: &Client) {
    let CallToolResponse::Task(created) =
        client.service.call_tool_once(CallToolRequestParams::new("later")).await.unwrap()
    else {
        panic!("no task");
    };
    soon(async || {
        let task = client.service.get_task(GetTaskParams::new(&*created.task.task_id)).await.unwrap();
        match task.task.payload {
            TaskPayload::Completed { result } => result["content"][0]["text"] == "at last",
            _ => false,
        }
    })
    .await;
}

/// The client gets an error for its call, and the handler is cancelled.
///
/// Acceptance 30.
#[tokio::test]
async fn a_drain_cancels_rmcp_handlers() {
    let (served, relay, shared) = serve(ResponseMode::Auto).await;
    let client = Client::connect(relay.url(), ClientLifecycleMode::Initialize).await;
    let call = client.begin("wait").await;
    soon(async || shared.waited() == ["waits"]).await;
    let report = served.handle.drain(Duration::from_millis(50)).await;
    assert_eq!(report.cut_calls, 1, "{report:?}");
    let told: Result<ServerResult, ServiceError> = ended(call).await;
    assert!(told.is_err(), "{told:?}");
    soon(async || shared.alive() == 0 && shared.waited() == ["waits", "cancelled"]).await;
}
