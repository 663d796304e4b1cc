//! Two services on two connections to a real Redis server, on the clock of the machine.

use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Method;
use mcp_http::store::{RedisEngine, RedisOptions};
use mcp_http::{McpServer, McpService};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::between;
use crate::redis_server::{RedisServer, Wire};
use crate::subscriptions::{acknowledged, method};
use crate::support::{
    App, Client, Event, RequestExt, Sse, eventually, initialize, modern_call, request, text_of, whole,
};
use crate::{tasks, toggles};

/// The lease in tests that wait until one has passed.
const LEASE: Duration = Duration::from_secs(2);

/// The time limit of a test: much longer than the test takes.
const LONG: Duration = Duration::from_secs(60);

/// Options for tests in which neither the server nor the connection fails: no node counts as lost,
/// however busy the machine is.
fn options() -> RedisOptions {
    RedisOptions::new().lease(Duration::from_secs(30)).timeout(Duration::from_secs(10))
}

/// Options for tests in which the server or the connection is gone for a while and a node detects
/// it.
fn hasty() -> RedisOptions {
    RedisOptions::new().lease(LEASE).timeout(Duration::from_secs(1))
}

async fn engine(url: String) -> RedisEngine {
    RedisEngine::connect_with(url, options()).await.unwrap()
}

async fn node(url: String, options: RedisOptions) -> App {
    let engine = RedisEngine::connect_with(url, options).await.unwrap();
    App::with(|service| service.engine(engine))
}

async fn nodes(options: RedisOptions) -> (RedisServer, App, App) {
    let server = RedisServer::start();
    let (a, b) = (node(server.url(), options.clone()).await, node(server.url(), options).await);
    (server, a, b)
}

/// Sends a signal to the server's process, which stops or continues it.
fn signal(server: &RedisServer, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &server.process_id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Runs tests of `between`, which also run on an engine in memory, on two services and a Redis
/// server.
macro_rules! said_between {
    ($($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                let (_server, a, b) = nodes(options()).await;
                timeout(LONG * 2, between::$name(&a, &b)).await.unwrap();
            }
        )+
    };
}

said_between!(
    a_call_of_one_node_is_resumed_at_the_other_while_it_runs,
    a_live_stream_is_taken_over_by_the_other_node_and_back,
    a_question_of_one_node_is_answered_at_the_other,
    a_call_of_one_node_is_cancelled_at_the_other,
    a_session_that_ends_at_one_node_ends_everywhere,
    what_one_node_announces_is_heard_once_by_who_listens_at_the_other,
    a_client_that_moved_between_nodes_hears_an_announcement_once,
    a_change_between_two_streams_of_a_client_is_told_once,
    a_change_right_after_a_subscription_elsewhere_is_told,
    a_subscription_made_at_one_node_counts_at_the_other,
    a_log_level_set_at_one_node_counts_at_the_other,
    the_state_of_a_session_is_one_at_both_nodes,
);

#[tokio::test]
async fn changes_of_one_list_by_both_nodes_at_once_are_kept() {
    let (_server, a, b) = nodes(options()).await;
    timeout(LONG * 2, toggles::both_nodes_change_one_list_at_once(&a, &b)).await.unwrap();
}

/// The server fails over to a copy that lacks the last writes. What a node knew from these writes
/// does not count at either node. The next subscription does.
#[tokio::test]
async fn a_subscription_after_the_server_lost_the_last_ones_counts() {
    let uris = |numbers: std::ops::Range<u32>| numbers.map(|number| format!("test://item/{number}"));
    let (mut server, a, b) = nodes(hasty()).await;
    let here = a.open().await;
    for uri in uris(0..20) {
        toggles::subscribe(&here, &uri).await;
    }
    let copy = server.copy();
    for uri in uris(20..23) {
        toggles::subscribe(&here, &uri).await;
    }
    server.kill();
    server.start_again_from(&copy);
    eventually("the nodes are back", async || {
        let served =
            |client: Client| async move { client.call(7, "echo", json!({"message": "x"})).await.status == 200 };
        served(here.clone()).await && served(here.at(&b)).await
    })
    .await;
    let mut get = here.at(&b).listen_primed().await;
    toggles::subscribe(&here, "test://item/900").await;
    let mut expected: Vec<String> = uris(0..20).chain(uris(900..901)).collect();
    expected.sort_unstable();
    for app in [&a, &b] {
        let heard = toggles::heard(app, &mut get, uris(0..23).chain(uris(900..901)), expected.len()).await;
        assert_eq!(heard, expected);
    }
}

#[tokio::test]
async fn a_task_of_one_node_is_served_by_the_other() {
    let server = RedisServer::start();
    tasks::a_task_of_one_node_is_served_by_the_other(engine(server.url()).await, engine(server.url()).await).await;
}

#[tokio::test]
async fn a_subscription_stream_at_each_node_hears_what_either_announces() {
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

/// A client that resumes at the next node until it has its answer.
struct Persistent<'a> {
    at: Vec<Client>,
    nodes: std::iter::Cycle<std::vec::IntoIter<usize>>,
    server: &'a mut RedisServer,
}

impl Persistent<'_> {
    /// Reads all messages of a call, whatever happens to its streams. Runs `meanwhile` once, after
    /// the first few messages.
    async fn follow(&mut self, mut stream: Sse, meanwhile: impl FnOnce(&mut RedisServer)) -> Vec<Event> {
        let (mut seen, mut last, mut meanwhile) = (Vec::new(), String::new(), Some(meanwhile));
        let start = Instant::now();
        loop {
            while let Some(event) = stream.next().await {
                if let Some(id) = &event.id {
                    id.clone_into(&mut last);
                }
                if event.data.as_deref().is_some_and(|data| !data.is_empty()) {
                    seen.push(event);
                }
                if let Some(meanwhile) = meanwhile.take_if(|_| seen.len() == 5) {
                    meanwhile(self.server);
                }
            }
            if seen.last().is_some_and(|event| event.json().get("id").is_some()) {
                return seen;
            }
            stream = loop {
                assert!(start.elapsed() < LONG, "no answer, after {} messages", seen.len());
                let client = &self.at[self.nodes.next().unwrap()];
                let reply = client.resume(&last).await;
                if reply.status == 200 {
                    break reply.sse();
                }
                assert_eq!(reply.status, 503, "{:?}", reply.rejection);
                assert!(reply.headers.contains_key("retry-after"));
                sleep(Duration::from_millis(50)).await;
            };
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_costs_no_client_a_message() {
    let (mut server, a, b) = nodes(hasty()).await;
    let here = a.open().await;
    let at = vec![here.clone(), here.at(&b)];
    let stream = here.call(1, "progress", json!({"steps": 60, "delay_ms": 20})).await.sse();
    let mut client = Persistent { at, nodes: vec![1, 0].into_iter().cycle(), server: &mut server };
    let seen = client
        .follow(stream, |server| {
            server.kill();
            std::thread::sleep(Duration::from_millis(1_500));
            server.start_again();
        })
        .await;
    whole(&seen, 60);
}

/// A full server accepts the writes that free memory, at any node.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_takes_a_cancellation_and_a_delete_at_any_node() {
    let (server, a, b) = nodes(options()).await;
    let here = a.open_principal("ann").await;
    let calls = [1, 2].map(|id| here.call(id, "note_and_hold", json!({"label": id.to_string()})));
    let mut streams = Vec::new();
    for call in calls {
        let mut stream = call.await.sse();
        assert!(stream.message().await.is_some());
        streams.push(stream);
    }
    let idle = a.open_principal("ann").await;
    server.ask(&["config", "set", "maxmemory", "1"]);
    let there = here.at(&b);
    assert_eq!(there.cancel(1).await.status, 202);
    eventually("the handler is stopped", async || a.probe.state("1") == Some("cancelled")).await;
    for client in [there, idle.at(&b)] {
        assert_eq!(client.delete().await.status, 200);
        assert_eq!(client.delete().await.status, 404);
    }
    eventually("the other handler is stopped", async || a.probe.state("2") == Some("cancelled")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_sessions_wait_and_the_stateless_revision_goes_on() {
    let (mut server, a, b) = nodes(hasty()).await;
    let here = a.open().await;
    let mut listening = acknowledged(&b, r#"{"toolsListChanged":true}"#).await;
    // The node knows the engine's numbers from now on. Before, an outage means that anything may have changed.
    a.handle.tools_changed();
    assert_eq!(timeout(LONG, method(&mut listening)).await.unwrap(), "tools");
    server.kill();
    for client in [here.clone(), here.at(&b)] {
        let start = Instant::now();
        let reply = client.call(1, "echo", json!({"message": "x"})).await;
        assert_eq!(reply.status, 503);
        assert!(reply.headers.contains_key("retry-after"));
        // Long before the node would give up a message.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        assert_eq!(client.delete().await.status, 503);
        assert_eq!(client.app.send(client.request(Method::GET)).await.status, 503);
    }
    assert_eq!(text_of(b.send(modern_call("echo", json!({"message": "still here"}))).await).await, "still here");
    server.start_again();
    for client in [here.clone(), here.at(&b)] {
        eventually("the session is there again", async || {
            client.call(2, "echo", json!({"message": "x"})).await.status == 200
        })
        .await;
        assert_eq!(client.text_of("echo", json!({"message": "y"})).await, "y");
    }
    // Nothing was announced in the meantime, so streams get only the new changes.
    for _ in 0..2 {
        a.handle.tools_changed();
        assert_eq!(timeout(LONG, method(&mut listening)).await.unwrap(), "tools");
        assert!(listening.is_silent().await, "told twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_while_a_node_hears_nothing_is_told_when_it_hears_again() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    let (a, b) = (node(server.url(), hasty()).await, node(wire.url(), hasty()).await);
    let client = a.open().await.at(&b);
    let mut get = client.listen_primed().await;
    sleep(LEASE / 2).await;
    wire.cut();
    wire.block(true);
    a.handle.tools_changed();
    sleep(Duration::from_millis(300)).await;
    wire.block(false);
    let told = timeout(LONG, get.message()).await.expect("the change is told");
    assert_eq!(told.unwrap().json()["method"], between::TOOLS);
}

/// The announcing node's command waits in the server's queue in the meantime, and times out.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_while_the_server_stands_still_is_told_once() {
    let (server, a, b) = nodes(hasty()).await;
    let (mut here, mut there) = (a.open().await.listen_primed().await, b.open().await.listen_primed().await);
    let mut listens = [
        acknowledged(&a, r#"{"toolsListChanged":true}"#).await,
        acknowledged(&b, r#"{"toolsListChanged":true}"#).await,
    ];
    signal(&server, "-STOP");
    a.handle.tools_changed();
    // Longer than the timeout of a command.
    sleep(Duration::from_millis(2_500)).await;
    signal(&server, "-CONT");
    for get in [&mut here, &mut there] {
        let told = timeout(LONG, get.message()).await.expect("the change is told").unwrap();
        assert_eq!(told.json()["method"], between::TOOLS);
    }
    for listen in &mut listens {
        assert_eq!(timeout(LONG, method(listen)).await.unwrap(), "tools");
    }
    // As long as any command is retried.
    sleep(LEASE).await;
    for stream in [&mut here, &mut there].into_iter().chain(&mut listens) {
        assert!(stream.is_silent().await, "told twice");
    }
}

/// The client's stream gets each announcement once, whichever node makes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_moved_to_a_node_hears_of_changes_when_that_hears_again() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    let (b, engine) = (node(server.url(), options()).await, engine(wire.url()).await);
    let a = App::with(|service| service.engine(engine));
    let here = a.open().await;
    drop(here.at(&b).listen_primed().await);
    let mut get = here.listen_primed().await;
    wire.cut();
    sleep(LEASE).await;
    for node in [&a, &b] {
        node.handle.tools_changed();
        let told = timeout(LONG, get.message()).await.expect("the change is told");
        assert_eq!(told.unwrap().json()["method"], between::TOOLS);
        assert!(get.is_silent().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_node_that_died_ends_with_an_error_at_the_other() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    let (a, b) = (node(server.url(), hasty()).await, node(wire.url(), hasty()).await);
    let there = b.open().await;
    let here = there.at(&a);
    let mut stream = there.call(1, "note_and_hold", json!({"label": "x"})).await.sse();
    let id = stream.message().await.unwrap().id().to_owned();
    drop(stream);
    wire.block(true);
    let events = timeout(LONG, async { here.resume(&id).await.sse().rest().await }).await.expect("it ends");
    assert_eq!(events.len(), 1);
    let error = &events[0].json()["error"];
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-32603), &json!("node_lost")));
    assert_eq!(here.text_of("echo", json!({"message": "the session lives"})).await, "the session lives");
    assert_eq!(b.probe.state("x"), Some("running"));
    // When the node is connected again, it re-checks its calls and stops those that have no reader
    // left.
    wire.block(false);
    eventually("the handler is stopped", async || b.probe.state("x") == Some("cancelled")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_nobody_heard_ends_the_call_all_the_same() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    // With this lease, the node would notice its missing signals only after half an hour.
    let lease = Duration::from_secs(1_800);
    let (a, b) = (node(wire.url(), hasty().lease(lease)).await, node(server.url(), options().lease(lease)).await);
    let here = a.open().await;
    let mut stream = here.call(1, "progress", json!({"steps": 20_000, "delay_ms": 10})).await.sse();
    assert!(stream.message().await.is_some());
    wire.freeze();
    assert_eq!(here.at(&b).cancel(1).await.status, 202);
    let rest = timeout(LONG, stream.rest()).await.expect("the call ends");
    assert!(rest.iter().all(|event| event.json().get("result").is_none()), "it was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_leads_nowhere_is_replaced() {
    let server = RedisServer::start();
    let wire = Wire::to(&server).await;
    let app = node(wire.url(), hasty()).await;
    let client = app.open().await;
    let mut get = client.listen_primed().await;
    sleep(LEASE / 2).await;
    wire.freeze();
    eventually("it is served again", async || client.call(1, "echo", json!({"message": "x"})).await.status == 200)
        .await;
    // Signals come over another connection. The node detects its failure one lease later.
    app.handle.tools_changed();
    let told = timeout(LONG, get.message()).await.expect("the bells are heard again");
    assert_eq!(told.unwrap().json()["method"], between::TOOLS);
}

#[tokio::test]
async fn nothing_in_the_server_names_a_session_or_a_principal_or_repeats_what_was_said() {
    let server = RedisServer::start();
    let options = || options().secret("a secret of at least thirty-two bytes").seal_messages(true);
    let app = node(server.url(), options()).await;
    let client = app.open_principal("alice@example.com").await;
    assert_eq!(client.text_of("count", json!({})).await, "1");
    let said = client.call(2, "progress", json!({"steps": 3, "delay_ms": 1})).await.sse().rest().await;
    whole(&said, 3);
    let heard = server.everything_told();
    let get = client.listen_primed().await;
    for (id, method, params) in
        [(3, "resources/subscribe", json!({"uri": "test://fixed"})), (4, "logging/setLevel", json!({"level": "error"}))]
    {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        assert_eq!(client.post(message).await.message().await["result"], json!({}));
    }
    app.handle.tools_changed();
    let names = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|window| window == word);
    eventually("everything is told", async || {
        let heard = heard.so_far();
        [&b"listens 1"[..], b"state", b"Tools"].into_iter().all(|word| names(&heard, word))
    })
    .await;
    drop(get);
    let (kept, heard) = (server.everything_on_disk(), heard.so_far());
    let own = [client.session.as_bytes(), &hex(&client.session), b"alice", b"test://fixed"];
    for word in own.into_iter().chain([&b"notifications/progress"[..], b"jsonrpc"]) {
        assert!(!names(&kept, word), "{word:?} is on the disk");
        assert!(!names(&heard, word), "{word:?} is told to everybody");
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
async fn namespaces_at_paths_of_one_router_know_nothing_of_each_other() {
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
async fn a_server_that_was_emptied_learns_again_which_secret_counts() {
    let server = RedisServer::start();
    // The node detects it with a heartbeat, of which it sends three in a lease.
    let options = || options().secret("a secret of at least thirty-two bytes").lease(LEASE);
    let app = node(server.url(), options()).await;
    let client = app.open().await;
    server.ask(&["flushall"]);
    eventually("it is said again", async || server.ask(&["hexists", "mcp:{0}:about", "check"]).trim() == "1").await;
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
async fn a_user_with_the_rights_the_guide_asks_for_can_do_everything() {
    let server = RedisServer::start();
    let guide = include_str!("../../src/guide/nodes.md");
    let rights = guide.split_once("| an ACL | `").unwrap().1.split_once('`').unwrap().0;
    let mut user: Vec<&str> = vec!["acl", "setuser", "mcp", "on", ">secret"];
    user.extend(rights.split(' '));
    server.ask(&user);
    let url = server.url().replace("redis://", "redis://mcp:secret@");
    let (a, b) = (node(url.clone(), options()).await, node(url.clone(), options()).await);
    let talk = async {
        between::a_question_of_one_node_is_answered_at_the_other(&a, &b).await;
        between::a_client_that_moved_between_nodes_hears_an_announcement_once(&a, &b).await;
        between::a_session_that_ends_at_one_node_ends_everywhere(&a, &b).await;
        tasks::a_task_of_one_node_is_served_by_the_other(engine(url.clone()).await, engine(url.clone()).await).await;
    };
    timeout(LONG * 2, talk).await.unwrap();
}

#[tokio::test]
async fn what_is_no_server_is_refused_with_a_reason() {
    let refused =
        async |url: &str| match RedisEngine::connect_with(url, options().timeout(Duration::from_secs(5))).await {
            Ok(_) => panic!("{url} is a server"),
            Err(error) => error,
        };
    for url in ["", "http://localhost/", "redis://127.0.0.1:1/"] {
        let error = refused(url).await;
        assert_eq!(error.to_string(), "the Redis server cannot be used", "{url}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[cfg(not(feature = "redis-tls"))]
#[tokio::test]
async fn without_the_feature_a_url_of_tls_is_refused_by_its_name() {
    let error = RedisEngine::connect("rediss://127.0.0.1:1/").await.unwrap_err();
    assert_eq!(error.to_string(), "a URL that begins with rediss:// needs the feature redis-tls");
}
