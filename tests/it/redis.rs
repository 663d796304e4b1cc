//! Two services on two connections to a real Redis server, on the clock of the machine.

use std::time::Duration;

use axum::Router;
use axum::http::Method;
use mcp_http::store::{RedisEngine, RedisOptions};
use mcp_http::{McpServer, McpService};
use serde_json::json;
use tokio::time::timeout;

use crate::moving_clients;
use crate::redis_server::RedisServer;
use crate::subscriptions::{acknowledged, method};
use crate::support::{App, RequestExt, eventually, initialize, request, whole};
use crate::{tasks, toggles};

/// The lease in tests that wait until one has passed.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// The time limit of a test: much longer than the test takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Options for tests in which neither the server nor the connection fails: no node counts as lost,
/// however busy the machine is.
pub(crate) fn options() -> RedisOptions {
    RedisOptions::new().lease(Duration::from_secs(30)).timeout(Duration::from_secs(10))
}

/// Options for tests in which the server or the connection is gone for a while and a node detects
/// it.
pub(crate) fn hasty() -> RedisOptions {
    RedisOptions::new().lease(LEASE).timeout(Duration::from_secs(1))
}

pub(crate) async fn engine(url: String) -> RedisEngine {
    RedisEngine::connect_with(url, options()).await.unwrap()
}

pub(crate) async fn node(url: String, options: RedisOptions) -> App {
    let engine = RedisEngine::connect_with(url, options).await.unwrap();
    App::with(|service| service.engine(engine))
}

pub(crate) async fn nodes(options: RedisOptions) -> (RedisServer, App, App) {
    let server = RedisServer::start();
    let (a, b) = (node(server.url(), options.clone()).await, node(server.url(), options).await);
    (server, a, b)
}

/// Runs tests of `between`, which also run on an engine in memory, on two services and a Redis
/// server.
macro_rules! between_nodes {
    ($($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                let (_server, a, b) = nodes(options()).await;
                timeout(LONG * 2, moving_clients::$name(&a, &b)).await.unwrap();
            }
        )+
    };
}

between_nodes!(
    running_calls_resume_at_the_other_node,
    live_streams_move_between_nodes,
    client_requests_are_answered_at_either_node,
    calls_are_cancelled_at_either_node,
    sessions_end_at_both_nodes,
    announcements_reach_the_other_node_once,
    moved_clients_get_each_announcement_once,
    changes_between_two_streams_are_delivered_once,
    changes_right_after_a_remote_subscription_arrive,
    subscriptions_count_at_both_nodes,
    log_levels_count_at_both_nodes,
    session_state_is_shared_by_both_nodes,
);

#[tokio::test]
async fn concurrent_list_changes_by_both_nodes_persist() {
    let (_server, a, b) = nodes(options()).await;
    timeout(LONG * 2, toggles::both_nodes_change_one_list_at_once(&a, &b)).await.unwrap();
}

#[tokio::test]
async fn tasks_are_served_by_either_node() {
    let server = RedisServer::start();
    tasks::tasks_are_served_by_either_node(engine(server.url()).await, engine(server.url()).await).await;
}

#[tokio::test]
async fn announcements_reach_subscriptions_at_both_nodes() {
    let (_server, a, b) = nodes(options()).await;
    let all = r#"{"toolsListChanged":true,"resourceSubscriptions":["test://b"]}"#;
    let (mut here, mut there) = (acknowledged(&a, all).await, acknowledged(&b, all).await);
    for from in [&a, &b] {
        from.handle.tools_changed();
        for stream in [&mut here, &mut there] {
            assert_eq!(method(stream).await, "tools");
        }
        from.handle.resource_updated("test://b");
        for stream in [&mut here, &mut there] {
            assert_eq!(method(stream).await, "resources/updated test://b");
        }
    }
}

#[tokio::test]
async fn redis_holds_no_plain_names_or_messages() {
    let server = RedisServer::start();
    let options = || options().secret("a secret of at least thirty-two bytes").seal_messages(true);
    let app = node(server.url(), options()).await;
    let client = app.open_principal("alice@example.com").await;
    assert_eq!(client.text_of("count", json!({})).await, "1");
    let said = client.call(2, "progress", json!({"steps": 3, "delay_ms": 1})).await.sse().rest().await;
    whole(&said, 3);
    let published = server.everything_published();
    let get = client.listen_primed().await;
    for (id, method, params) in
        [(3, "resources/subscribe", json!({"uri": "test://fixed"})), (4, "logging/setLevel", json!({"level": "error"}))]
    {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        assert_eq!(client.post(message).await.message().await["result"], json!({}));
    }
    app.handle.tools_changed();
    let names = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|window| window == word);
    eventually("everything is published", async || {
        let heard = published.so_far();
        [&b"listens 1"[..], b"state", b"Tools"].into_iter().all(|word| names(&heard, word))
    })
    .await;
    drop(get);
    let (kept, heard) = (server.everything_on_disk(), published.so_far());
    let own = [client.session.as_bytes(), &hex(&client.session), b"alice", b"test://fixed"];
    for word in own.into_iter().chain([&b"notifications/progress"[..], b"jsonrpc"]) {
        assert!(!names(&kept, word), "{word:?} is on the disk");
        assert!(!names(&heard, word), "{word:?} is published");
    }

    let other =
        RedisEngine::connect_with(server.url(), options().secret("another secret, as long as it must be")).await;
    assert!(other.is_err_and(|error| error.is_other_secret()));
    let none = RedisEngine::connect(server.url()).await;
    assert!(none.is_err_and(|error| error.is_other_secret()));
    RedisEngine::connect_with(
        server.url(),
        options().namespace("elsewhere").secret("another secret, as long as it must be"),
    )
    .await
    .unwrap();
    RedisEngine::connect_with(server.url(), options()).await.unwrap();
}

#[tokio::test]
async fn namespaces_in_one_router_are_separate() {
    let server = RedisServer::start();
    let mut router = Router::new();
    for cell in ["0", "1"] {
        let engine = RedisEngine::connect_with(server.url(), options().namespace(format!("cell{cell}"))).await.unwrap();
        let service = McpService::builder(McpServer::new("cells", "1")).engine(engine).build().unwrap();
        router = router.nest(&format!("/{cell}/mcp"), service.into_router());
    }
    let app = App::new().layered(|_| router);
    let to = |cell: &str, session: Option<&str>, message| {
        let mut request = request(Method::POST).message(message);
        *request.uri_mut() = format!("/{cell}/mcp").parse().unwrap();
        session.into_iter().fold(request, |request, session| request.header("mcp-session-id", session))
    };
    for (own, other) in [("0", "1"), ("1", "0")] {
        let reply = app.send(to(own, None, initialize("2025-11-25", json!({})))).await;
        let session = reply.header("mcp-session-id").unwrap().to_owned();
        for (cell, status) in [(own, 200), (other, 404)] {
            let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
            assert_eq!(app.send(to(cell, Some(&session), ping)).await.status, status, "{own} at {cell}");
        }
    }
}

#[tokio::test]
async fn the_secret_check_returns_after_flushall() {
    let server = RedisServer::start();
    // The node detects it with a heartbeat, of which it sends three in a lease.
    let options = || options().secret("a secret of at least thirty-two bytes").lease(LEASE);
    let app = node(server.url(), options()).await;
    let client = app.open().await;
    server.command(&["flushall"]);
    eventually("the check is stored again", async || {
        server.command(&["hexists", "mcp:{0}:about", "check"]).trim() == "1"
    })
    .await;
    let other =
        RedisEngine::connect_with(server.url(), options().secret("another secret, as long as it must be")).await;
    assert!(other.is_err_and(|error| error.is_other_secret()));
    assert_eq!(client.call(1, "echo", json!({"message": "x"})).await.status, 404);
    assert_eq!(app.open().await.text_of("echo", json!({"message": "x"})).await, "x");
}

/// Returns the sixteen bytes of an id.
fn hex(session: &str) -> Vec<u8> {
    let digits: String = session.chars().filter(|digit| *digit != '-').collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn documented_acl_rights_suffice() {
    let server = RedisServer::start();
    let guide = include_str!("../../src/guide/nodes.md");
    let rights = guide.split_once("| an ACL | `").unwrap().1.split_once('`').unwrap().0;
    let mut user: Vec<&str> = vec!["acl", "setuser", "mcp", "on", ">secret"];
    user.extend(rights.split(' '));
    server.command(&user);
    let url = server.url().replace("redis://", "redis://mcp:secret@");
    let (a, b) = (node(url.clone(), options()).await, node(url.clone(), options()).await);
    let talk = async {
        moving_clients::client_requests_are_answered_at_either_node(&a, &b).await;
        moving_clients::moved_clients_get_each_announcement_once(&a, &b).await;
        moving_clients::sessions_end_at_both_nodes(&a, &b).await;
        tasks::tasks_are_served_by_either_node(engine(url.clone()).await, engine(url.clone()).await).await;
    };
    timeout(LONG * 2, talk).await.unwrap();
}

#[tokio::test]
async fn invalid_servers_are_rejected_with_a_reason() {
    let rejected =
        async |url: &str| match RedisEngine::connect_with(url, options().timeout(Duration::from_secs(5))).await {
            Ok(_) => panic!("{url} is a server"),
            Err(error) => error,
        };
    for url in ["", "http://localhost/", "redis://127.0.0.1:1/"] {
        let error = rejected(url).await;
        assert_eq!(error.to_string(), "the Redis server cannot be used", "{url}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[cfg(not(feature = "redis-tls"))]
#[tokio::test]
async fn without_the_feature_tls_urls_are_rejected() {
    let error = RedisEngine::connect("rediss://127.0.0.1:1/").await.unwrap_err();
    assert_eq!(error.to_string(), "a URL that begins with rediss:// needs the feature redis-tls");
}
