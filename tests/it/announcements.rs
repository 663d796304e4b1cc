//! Announcements: notifications that a server sends without a request, and the subscriptions to
//! them.

use std::sync::OnceLock;

use mcp_http::server::{Catalog, Tool};
use mcp_http::{McpServer, McpService};
use serde_json::{Value, json};

use crate::support::{App, Client};

fn app() -> (App, Catalog) {
    let server: McpServer =
        McpServer::new("changing", "1").resource("test://a", "a", async || "a").resource("test://b", "b", async || "b");
    let catalog = server.catalog();
    (App::of(McpService::builder(server)), catalog)
}

async fn names(client: &Client) -> Value {
    let list = client.post(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await.json().await;
    list["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect()
}

async fn subscribe(client: &Client, uri: &str, wanted: bool) {
    let method = if wanted { "resources/subscribe" } else { "resources/unsubscribe" };
    let reply = client.post(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": uri}})).await;
    assert_eq!(reply.json().await, json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
}

/// Acceptance 173.
#[tokio::test(start_paused = true)]
async fn catalog_changes_are_announced_on_open_streams() {
    let (app, catalog) = app();
    let (one, two) = (app.open().await, app.open_version("2025-03-26").await);
    let mut streams = [one.listen().await, two.listen().await];
    assert_eq!(names(&one).await, json!([]));
    catalog.insert_tool(Tool::new("hello", "Says hello.", async || "hello")).unwrap();
    assert_eq!(names(&one).await, json!(["hello"]));
    for stream in &mut streams {
        let expected = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}});
        assert_eq!(stream.message().await.unwrap().json(), expected);
        assert!(stream.is_silent().await);
    }
    assert!(catalog.remove_tool("hello") && !catalog.remove_tool("hello"));
    for stream in &mut streams {
        assert_eq!(stream.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
        assert!(stream.is_silent().await, "nothing changed the second time");
    }
}

/// Announcements are not queued for clients that open a stream later, and do not fail without
/// readers.
///
/// Acceptance 97, 173.
#[tokio::test(start_paused = true)]
async fn each_change_kind_has_its_own_notification() {
    let (app, _) = app();
    let (client, deaf) = (app.open().await, app.open().await);
    let mut stream = client.listen().await;
    app.handle.tools_changed();
    app.handle.prompts_changed();
    app.handle.resources_changed();
    for kind in ["tools", "prompts", "resources"] {
        let method = format!("notifications/{kind}/list_changed");
        assert_eq!(stream.message().await.unwrap().json()["method"], method);
    }
    assert_eq!(names(&deaf).await, json!([]), "unmoved");
    let mut late = deaf.listen().await;
    assert!(late.next().await.unwrap().primes());
    assert!(late.is_silent().await, "what was said before it listened is not kept for it");
}

/// Acceptance 173.
#[tokio::test(start_paused = true)]
async fn resource_updates_reach_only_subscribers() {
    let (app, _) = app();
    let (a, b, none) = (app.open().await, app.open().await, app.open().await);
    let mut streams = [a.listen().await, b.listen().await, none.listen().await];
    for stream in &mut streams {
        assert!(stream.next().await.unwrap().primes());
    }
    subscribe(&a, "test://a", true).await;
    subscribe(&a, "test://b", true).await;
    subscribe(&a, "test://b", false).await;
    subscribe(&b, "test://b", true).await;
    subscribe(&b, "test://b", true).await;
    app.handle.resource_updated("test://a");
    app.handle.resource_updated("test://b");
    app.handle.resource_updated("test://unheard-of");
    let updated =
        |uri: &str| json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}});
    assert_eq!(streams[0].message().await.unwrap().json(), updated("test://a"));
    assert_eq!(streams[1].message().await.unwrap().json(), updated("test://b"));
    for stream in &mut streams {
        assert!(stream.is_silent().await);
    }
}

/// A subscription to an unknown URI fails with an error.
///
/// Acceptance 137, 173.
#[tokio::test(start_paused = true)]
async fn only_existing_resources_can_be_subscribed() {
    let client = app().0.open().await;
    let wish = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "test://none"}});
    let reply = client.post(wish).await;
    assert_eq!(reply.status, 200);
    assert!([-32602, -32002].contains(&reply.error().await.0));
}

/// A handler can add a tool to its own catalog. The client receives a notification and can call the
/// new tool.
///
/// Acceptance 173.
#[tokio::test(start_paused = true)]
async fn a_tool_can_change_its_own_catalog() {
    let own: std::sync::Arc<OnceLock<Catalog>> = std::sync::Arc::default();
    let inside = std::sync::Arc::clone(&own);
    let server: McpServer = McpServer::new("growing", "1").tool("grow", "Grows.", move || {
        let grown = Tool::new("grown", "New.", async || "new");
        inside.get().unwrap().insert_tool(grown).unwrap();
        std::future::ready("grown")
    });
    own.set(server.catalog()).unwrap();
    let app = App::of(McpService::builder(server));
    let client = app.open().await;
    let mut stream = client.listen().await;
    assert_eq!(client.text_of("grow", json!({})).await, "grown");
    assert_eq!(stream.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
    assert_eq!(client.text_of("grown", json!({})).await, "new");
}

/// The URIs and their total size are bounded, because a template accepts URIs that clients invent,
/// of any length.
///
/// Acceptance 46.
#[tokio::test(start_paused = true)]
async fn subscriptions_of_a_session_are_bounded() {
    let app = App::new();
    let client = app.open().await;
    let wish = async |uri: String, method: &str| {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": uri}});
        client.post(message).await.json().await["error"].clone()
    };
    let uri = |number: usize, length: usize| format!("test://item/{number:0>width$}", width = length - 12);
    let too_long =
        json!({"code": -32602, "message": "The URI is too long to subscribe to: it has more than 8,000 bytes"});
    assert_eq!(wish(uri(0, 8_001), "resources/subscribe").await, too_long);
    assert_eq!(wish(uri(0, 8_001), "resources/unsubscribe").await, Value::Null);
    // 32 such URIs, each with its quotes and a comma, have 256,097 bytes; 256 KiB are 262,144.
    for number in 0..32 {
        assert_eq!(wish(uri(number, 8_000), "resources/subscribe").await, Value::Null, "{number}");
    }
    let message = "Too many subscriptions: a session has at most 1,000, whose URIs have 256 KiB together";
    let too_many = json!({"code": -32602, "message": message});
    assert_eq!(wish(uri(32, 8_000), "resources/subscribe").await, too_many);
    assert_eq!(wish(uri(32, 6_000), "resources/subscribe").await, Value::Null);
    assert_eq!(wish(uri(0, 8_000), "resources/subscribe").await, Value::Null, "it has it already");
    assert_eq!(wish(uri(0, 8_000), "resources/unsubscribe").await, Value::Null);
    assert_eq!(wish(uri(33, 8_000), "resources/subscribe").await, Value::Null, "capacity is available again");
    let small = app.open().await;
    for number in 0..1_001 {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe",
            "params": {"uri": format!("test://item/{number}")}});
        let error = small.post(message).await.json().await["error"].clone();
        assert_eq!(error, if number < 1_000 { Value::Null } else { too_many.clone() });
    }
}
