//! Nodes that are killed (`kill -9`).

use std::io::BufReader;
use std::net::TcpStream;
use std::thread;

use crate::client::{Call, follow_all, line};
use crate::everything::{Server, read_until};
use crate::redis_server::RedisServer;
use crate::{CLIENTS, addresses, echo, head, mortal, mortal_at, node, until};

#[test]
fn calls_of_a_killed_node_fail_elsewhere() {
    let redis = RedisServer::start();
    let (doomed, other) = (mortal(&redis), mortal(&redis));
    let nodes = addresses([&doomed, &other]);
    let calls = (0..CLIENTS).map(|_| Call::progress(doomed.open(), 100_000, 5, &nodes)).collect();
    for call in follow_all(calls, CLIENTS * 30, || doomed.kill()) {
        call.is_lost();
    }
}

#[test]
fn a_killed_holder_loses_nothing_of_remote_calls() {
    let redis = RedisServer::start();
    let (runs, holds) = (node(&redis), node(&redis));
    let nodes = addresses([&runs, &holds]);
    let calls = (0..CLIENTS).map(|_| Call::progress(runs.open(), 300, 5, &nodes)).collect();
    for call in follow_all(calls, CLIENTS * 30, || holds.kill()) {
        call.is_done(300);
    }
}

/// An open request to the client, and the response that continues after it.
struct Asked {
    session: String,
    request: String,
    response: BufReader<TcpStream>,
}

const ASK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"test_elicitation","arguments":{"message":"Who?"}}}"#;

fn ask(node: &Server) -> Asked {
    let session = node.open_as(r#"{"elicitation":{}}"#);
    let mut response = node.send(&head(&session), ASK);
    let (_, request) = read_until(&mut response, "elicitation/create").pop().unwrap();
    let (_, id) = request.split_once(r#""id":""#).unwrap();
    Asked { session, request: id.split_once('"').unwrap().0.to_owned(), response }
}

impl Asked {
    /// Posts the client's answer to a node. Returns `true` if the node accepted it.
    fn answer(&self, address: &str, name: &str) -> bool {
        let id = &self.request;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"{id}","result":{{"action":"accept","content":{{"username":"{name}","email":"e"}}}}}}"#
        );
        let Ok(mut stream) = TcpStream::connect(address) else { return false };
        let request = format!(
            "{}\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            head(&self.session),
            body.len()
        );
        if std::io::Write::write_all(&mut stream, request.as_bytes()).is_err() {
            return false;
        }
        let status = line(&mut BufReader::new(stream));
        assert!(status.as_ref().is_none_or(|status| status.contains("202")), "{status:?}");
        status.is_some()
    }

    /// Returns the result of the call.
    fn result(mut self) -> String {
        let mut events = read_until(&mut self.response, r#""id":1,"#);
        let (_, result) = events.pop().unwrap();
        assert!(events.iter().all(|(_, data)| data.is_empty()), "{events:?}");
        result
    }
}

#[test]
fn accepted_answers_survive_a_killed_node() {
    let redis = RedisServer::start();
    let (asks, takes) = (node(&redis), node(&redis));
    let asked: Vec<_> = (0..CLIENTS).map(|_| ask(&asks)).collect();
    let there = takes.address.clone();
    let taken: Vec<bool> = thread::scope(|scope| {
        let answers: Vec<_> = asked.iter().map(|asked| scope.spawn(|| asked.answer(&there, "first"))).collect();
        // Kills the node as soon as it has accepted one answer.
        until("an answer is taken", || answers.iter().any(thread::ScopedJoinHandle::is_finished));
        takes.kill();
        answers.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    assert!(taken.contains(&true));
    for (asked, taken) in asked.into_iter().zip(taken) {
        // A client that got no response sends its answer again, to the other node. A client that
        // got one may do so, too.
        assert!(asked.answer(&asks.address, "second"));
        let (session, result) = (asked.session.clone(), asked.result());
        assert!(result.contains("action=accept"), "{result}");
        assert!(!taken || result.contains("first"), "what was taken does not count: {result}");
        echo(&asks, &session);
    }
}

#[test]
fn sessions_survive_the_death_of_all_nodes() {
    for with_the_server in [false, true] {
        let mut redis = RedisServer::start();
        let (a, b) = (mortal(&redis), mortal(&redis));
        let nodes = addresses([&a, &b]);
        let calls = (0..CLIENTS).map(|_| Call::progress(a.open(), 100_000, 5, &nodes)).collect();
        let mut again = None;
        let calls = follow_all(calls, CLIENTS * 30, || {
            a.kill();
            b.kill();
            if with_the_server {
                redis.kill();
                redis.start_again();
            }
            again = Some((mortal_at(&nodes[0], &redis), mortal_at(&nodes[1], &redis)));
        });
        let sessions: Vec<String> = calls.iter().map(|call| call.session.clone()).collect();
        calls.iter().for_each(Call::is_lost);
        let calls = sessions.into_iter().map(|session| Call::progress(session, 50, 2, &nodes)).collect();
        for call in follow_all(calls, 1, || {}) {
            call.is_done(50);
        }
    }
}
