//! Processes on one Redis server, and what their clients see when any of them is killed, frozen, cut
//! off or emptied: messages without a gap, each once, and the answer last.
#![cfg(unix)]

mod changes;
mod client;
mod clients;
#[path = "../support/everything.rs"]
mod everything;
mod frozen;
mod killed;
mod large;
#[cfg(target_os = "linux")]
mod linux;
mod long;
#[path = "../support/redis.rs"]
mod redis_server;
mod response;
mod server;

use std::thread;
use std::time::{Duration, Instant};

use everything::{ACCEPT, Server, signal};
use redis_server::RedisServer;

/// Clients that call at once.
const CLIENTS: usize = 12;

/// How long a node may be silent before it counts as dead, where a test waits for that or shows that it does not
/// happen. A busy machine is silent for a while.
const LEASE: Duration = Duration::from_secs(6);

/// How long it may take what comes in its time: much longer than it does.
const LONG: Duration = Duration::from_secs(60);

fn switches(redis: &RedisServer, lease: Duration) -> [String; 4] {
    ["--store".to_owned(), redis.url(), "--lease".to_owned(), lease.as_secs().to_string()]
}

/// A node that soon counts as dead.
fn mortal(redis: &RedisServer) -> Server {
    Server::start(&switches(redis, LEASE).each_ref().map(String::as_str))
}

/// A node for a test that waits for nobody's death.
fn node(redis: &RedisServer) -> Server {
    Server::start(&switches(redis, LONG).each_ref().map(String::as_str))
}

/// A node that soon counts as dead, where another was.
fn mortal_at(address: &str, redis: &RedisServer) -> Server {
    Server::start_at(address, &switches(redis, LEASE).each_ref().map(String::as_str))
}

fn addresses<const N: usize>(nodes: [&Server; N]) -> Vec<String> {
    nodes.into_iter().map(|node| node.address.clone()).collect()
}

/// The head of a POST in a session.
fn head(session: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\n{ACCEPT}\r\nMcp-Session-Id: {session}")
}

/// The text a tool answers with.
#[track_caller]
fn text_of(node: &Server, session: &str, tool: &str, arguments: &str) -> String {
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    );
    let (status, body) = node.all(&head(session), &call);
    assert_eq!(status, 200, "{body}");
    let (_, text) = body.split_once(r#""text":""#).unwrap_or_else(|| panic!("{body}"));
    text.split_once('"').unwrap().0.to_owned()
}

#[track_caller]
fn echo(node: &Server, session: &str) {
    assert_eq!(text_of(node, session, "echo", r#"{"message":"here"}"#), "here");
}

/// Waits until something holds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_within(LONG, what, &mut holds);
}

#[track_caller]
fn until_within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Asks a node to end, which it does at once where no handler runs that it would have to wait for.
#[track_caller]
fn ends_at_once(node: Server) {
    let start = Instant::now();
    signal(node.process_id(), "-TERM");
    assert!(node.wait(), "it did not end well");
    // It would wait for a handler for eleven.
    assert!(start.elapsed() < Duration::from_secs(9), "it waited for {:?}", start.elapsed());
}
