//! Changes that are announced while the node that holds a client's stream is gone: killed, asked to
//! end, or paused for longer than its lease. Each change arrives once, on the stream the client
//! opens next.

use std::io::BufReader;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::client::line;
use crate::everything::{Server, read_until, signal};
use crate::redis_server::RedisServer;
use crate::{CLIENTS, LEASE, head, mortal, text_of};

/// How the node that holds the stream goes away.
#[derive(Debug, Clone, Copy)]
enum Goes {
    Killed,
    AskedToEnd,
    Paused,
}

const SUBSCRIBE: &str =
    r#"{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"test://watched-resource"}}"#;

fn get(node: &Server, session: &str, last: Option<&str>) -> BufReader<TcpStream> {
    let last = last.map(|id| format!("\r\nLast-Event-ID: {id}")).unwrap_or_default();
    node.send(&format!("GET /mcp HTTP/1.1\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}{last}"), "")
}

/// Returns the id of the stream's first event.
fn primed(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let line = line(stream).expect("the stream begins with an id");
        if let Some(id) = line.strip_prefix("id: ") {
            return id.to_owned();
        }
    }
}

/// Counts how often each change arrived before the marker, which was announced last.
fn changes(stream: &mut BufReader<TcpStream>) -> (usize, usize) {
    let events = read_until(stream, "prompts/list_changed");
    let count = |what: &str| events.iter().filter(|(_, data)| data.contains(what)).count();
    (count("tools/list_changed"), count("resources/updated"))
}

#[test]
fn changes_without_a_holder_arrive_once() {
    let redis = RedisServer::start();
    let (announces, next) = (mortal(&redis), mortal(&redis));
    let mut told = Vec::new();
    for (round, how) in [Goes::Killed, Goes::AskedToEnd, Goes::Killed, Goes::Paused].into_iter().enumerate() {
        let holder = mortal(&redis);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let session = announces.open();
                assert_eq!(announces.all(&head(&session), SUBSCRIBE).0, 200);
                let mut stream = get(&holder, &session, None);
                let prime = primed(&mut stream);
                (session, prime, stream)
            })
            .collect();
        let mut paused = None;
        match how {
            Goes::Killed => holder.kill(),
            Goes::AskedToEnd => {
                signal(holder.process_id(), "-TERM");
                assert!(holder.wait(), "it did not end well");
            }
            Goes::Paused => {
                signal(holder.process_id(), "-STOP");
                thread::sleep(LEASE + Duration::from_secs(1));
                paused = Some(holder);
            }
        }
        for tool in ["test_trigger_tool_change", "test_trigger_resource_update", "test_trigger_tool_change"] {
            text_of(&announces, &clients[0].0, tool, "{}");
        }
        let mut streams: Vec<_> = clients
            .iter()
            .enumerate()
            .map(|(at, (session, prime, _))| {
                let node = if at % 2 == 0 { &next } else { &announces };
                get(node, session, Some(prime.as_str()).filter(|_| (at + round) % 3 > 0))
            })
            .collect();
        if let Some(holder) = &paused {
            signal(holder.process_id(), "-CONT");
            thread::sleep(Duration::from_secs(2));
        }
        text_of(&announces, &clients[0].0, "test_trigger_prompt_change", "{}");
        told.extend(streams.iter_mut().map(|stream| (how, changes(stream))));
    }
    let lost: Vec<_> = told.iter().filter(|(_, (tools, updated))| *tools < 1 || *updated < 1).collect();
    let doubled: Vec<_> = told.iter().filter(|(_, (tools, updated))| *tools > 1 || *updated > 1).collect();
    println!("{} clients got the change; lost {}, doubled {}", told.len(), lost.len(), doubled.len());
    assert!(lost.is_empty() && doubled.is_empty(), "lost: {lost:?}, doubled: {doubled:?}");
}
