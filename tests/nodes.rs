//! Two processes on one Redis server, and what their clients see when one of the three is killed:
//! messages without a gap, each once, and the answer last.
#![cfg(unix)]

#[path = "support/everything.rs"]
mod everything;
#[path = "support/redis.rs"]
mod redis_server;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use everything::{ACCEPT, Server};
use redis_server::RedisServer;

/// Clients that call at once.
const CLIENTS: usize = 12;

fn node(redis: &RedisServer) -> Server {
    Server::start(&["--store", &redis.url(), "--lease", "4"])
}

/// A client with a session, and a call in it that takes so many steps.
struct Call {
    session: String,
    steps: usize,
    /// The nodes it goes to, in turn.
    nodes: Vec<String>,
    turn: usize,
    last_id: String,
    /// How far the call has come, message by message.
    seen: Vec<usize>,
    answer: Option<String>,
}

impl Call {
    fn new(session: String, steps: usize, nodes: Vec<String>) -> Self {
        Self { session, steps, nodes, turn: 0, last_id: String::new(), seen: Vec::new(), answer: None }
    }

    /// Calls, and comes back until there is an answer. The connection is given up after every few
    /// messages, too. `count` counts what arrived.
    fn follow(mut self, count: &AtomicUsize) -> Self {
        let start = Instant::now();
        let mut patience = 3;
        while self.answer.is_none() {
            assert!(start.elapsed() < Duration::from_secs(90), "no answer after {:?}", self.seen.last());
            let node = self.nodes[self.turn % self.nodes.len()].clone();
            if !self.listen(&node, patience, count) {
                thread::sleep(Duration::from_millis(50));
            }
            // Only where it was called may it have to wait for a first id.
            self.turn += usize::from(!self.last_id.is_empty());
            patience = patience % 40 + 7;
        }
        self
    }

    /// One response; whether there was one.
    fn listen(&mut self, node: &str, patience: usize, count: &AtomicUsize) -> bool {
        let Ok(mut stream) = TcpStream::connect(node) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        if stream.write_all(self.request(node).as_bytes()).is_err() {
            return false;
        }
        let mut lines = BufReader::new(stream);
        let Some(head) = line(&mut lines) else { return false };
        if !head.contains("200 OK") {
            assert!(head.contains("503"), "{head} at {:?}", self.seen.last());
            return false;
        }
        let (mut id, mut data, mut taken) = (None, None, 0);
        while let Some(line) = line(&mut lines) {
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(text.to_owned());
            } else if line.is_empty() {
                // The end of an event: before it, nothing of it counts.
                self.last_id = id.take().unwrap_or_else(|| std::mem::take(&mut self.last_id));
                if let Some(data) = data.take() {
                    self.take(&data);
                    count.fetch_add(1, Ordering::Relaxed);
                    taken += 1;
                }
            }
            if self.answer.is_some() || taken > patience {
                break;
            }
        }
        true
    }

    fn request(&self, node: &str) -> String {
        let session = &self.session;
        if !self.last_id.is_empty() {
            let id = &self.last_id;
            return format!(
                "GET /mcp HTTP/1.1\r\nHost: {node}\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}\r\n\
                 Last-Event-ID: {id}\r\nConnection: close\r\n\r\n"
            );
        }
        let steps = self.steps;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"progress","arguments":{{"steps":{steps},"delay_ms":5}},"_meta":{{"progressToken":"p"}}}}}}"#
        );
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {node}\r\n{ACCEPT}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Mcp-Session-Id: {session}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn take(&mut self, data: &str) {
        if data.contains(r#""id":1,"#) {
            self.answer = Some(data.to_owned());
        } else if let Some((_, rest)) = data.split_once(r#""progress":"#) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            self.seen.push(digits.parse().unwrap());
        } else {
            assert!(data.is_empty(), "{data}");
        }
    }

    /// What was seen has no gap and nothing twice.
    fn is_whole(&self) {
        assert!(self.seen.iter().copied().eq(1..=self.seen.len()), "{:?}", self.seen);
    }
}

/// A whole line without its end; what is cut off is no line.
fn line(lines: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    lines.read_line(&mut line).ok().filter(|length| *length > 0)?;
    line.strip_suffix('\n').map(|line| line.trim_end_matches('\r').to_owned())
}

/// Follows calls of many clients, and does something when some of their messages have arrived.
fn follow_all(calls: Vec<Call>, after: usize, cruelty: impl FnOnce()) -> Vec<Call> {
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> = calls.into_iter().map(|call| scope.spawn(|| call.follow(&count))).collect();
        while count.load(Ordering::Relaxed) < after {
            assert!(clients.iter().any(|client| !client.is_finished()), "over before anything happened");
            thread::sleep(Duration::from_millis(1));
        }
        cruelty();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

#[test]
fn the_calls_of_a_killed_node_end_with_an_error_at_another_after_what_they_had_said() {
    let redis = RedisServer::start();
    let (doomed, other) = (node(&redis), node(&redis));
    let nodes = vec![doomed.address.clone(), other.address.clone()];
    let calls = (0..CLIENTS).map(|_| Call::new(doomed.open(), 100_000, nodes.clone())).collect();
    for call in follow_all(calls, CLIENTS * 30, || doomed.kill()) {
        call.is_whole();
        assert!(!call.seen.is_empty());
        assert_eq!(
            call.answer.as_deref().unwrap(),
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The server that ran this call is gone","data":{"reason":"node_lost"}}}"#
        );
    }
}

#[test]
fn a_killed_holder_costs_nothing_of_a_call_that_runs_elsewhere() {
    let redis = RedisServer::start();
    let (runs, holds) = (node(&redis), node(&redis));
    let nodes = vec![runs.address.clone(), holds.address.clone()];
    let calls = (0..CLIENTS).map(|_| Call::new(runs.open(), 300, nodes.clone())).collect();
    for call in follow_all(calls, CLIENTS * 30, || holds.kill()) {
        call.is_whole();
        assert_eq!(call.seen.len(), 300);
        assert!(call.answer.as_deref().unwrap().contains(r#""result""#));
    }
}

#[test]
fn a_redis_server_that_is_killed_again_and_again_costs_no_message() {
    let mut redis = RedisServer::start();
    let (a, b) = (node(&redis), node(&redis));
    let nodes = vec![a.address.clone(), b.address.clone()];
    let calls = (0..CLIENTS).map(|_| Call::new(a.open(), 600, nodes.clone())).collect();
    let calls = follow_all(calls, CLIENTS * 30, || {
        for pause in [10, 700, 300] {
            redis.kill();
            thread::sleep(Duration::from_millis(pause));
            redis.start_again();
            thread::sleep(Duration::from_millis(400));
        }
    });
    for call in calls {
        call.is_whole();
        assert_eq!(call.seen.len(), 600);
        assert!(call.answer.as_deref().unwrap().contains(r#""result""#));
    }
}
