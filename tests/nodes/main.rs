//! Nodes that share a Redis server: what clients receive when a process is killed, frozen, cut off
//! or emptied. Messages must arrive without a gap, each once, and the answer last.
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

/// The number of clients that call at the same time.
const CLIENTS: usize = 12;

/// How long a node may be silent before it counts as dead, in tests that wait for that or show that
/// it does not happen. A busy machine is silent for a while.
const LEASE: Duration = Duration::from_secs(6);

/// A bound for operations that are normally much faster.
const LONG: Duration = Duration::from_secs(60);

fn switches(redis: &RedisServer, lease: Duration) -> [String; 4] {
    ["--store".to_owned(), redis.url(), "--lease".to_owned(), lease.as_secs().to_string()]
}

/// Starts a node that counts as dead soon after its end.
fn mortal(redis: &RedisServer) -> Server {
    Server::start(&switches(redis, LEASE).each_ref().map(String::as_str))
}

/// Starts a node for a test in which no node has to be found dead.
fn node(redis: &RedisServer) -> Server {
    Server::start(&switches(redis, LONG).each_ref().map(String::as_str))
}

/// Starts a node like [`mortal`] at the address of an earlier one.
fn mortal_at(address: &str, redis: &RedisServer) -> Server {
    Server::start_at(address, &switches(redis, LEASE).each_ref().map(String::as_str))
}

fn addresses<const N: usize>(nodes: [&Server; N]) -> Vec<String> {
    nodes.into_iter().map(|node| node.address.clone()).collect()
}

/// Returns the head of a POST in a session.
fn head(session: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\n{ACCEPT}\r\nMcp-Session-Id: {session}")
}

/// Returns the text of a tool's answer.
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

/// Waits until the condition holds.
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

/// Asks a node to end. Without running handlers it ends at once.
#[track_caller]
fn ends_at_once(node: Server) {
    let start = Instant::now();
    signal(node.process_id(), "-TERM");
    assert!(node.wait(), "it did not end well");
    // For a running handler it would wait eleven seconds.
    assert!(start.elapsed() < Duration::from_secs(9), "it waited for {:?}", start.elapsed());
}
