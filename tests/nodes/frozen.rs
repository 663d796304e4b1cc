//! Nodes that stop for a while.

use std::time::{Duration, Instant};

use crate::client::{Arrived, Call, follow_all};
use crate::everything::{Server, signal};
use crate::redis_server::RedisServer;
use crate::{CLIENTS, LONG, addresses, echo, ends_at_once, head, mortal, text_of, until};

/// A call at a node that says nothing until it ends, and notes how.
fn hold(node: &Server, session: &str) -> std::io::BufReader<std::net::TcpStream> {
    let call = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"test_slow","arguments":{"ms":600000,"label":"held"}}}"#;
    let response = node.send(&head(session), call);
    until("the call runs", || report(node, session) == "running");
    response
}

fn report(node: &Server, session: &str) -> String {
    text_of(node, session, "test_slow_report", r#"{"label":"held"}"#)
}

#[test]
fn a_node_that_was_frozen_past_its_lease_adds_nothing_and_stops_what_was_given_up() {
    let redis = RedisServer::start();
    let (frozen, other) = (mortal(&redis), mortal(&redis));
    let nodes = addresses([&frozen, &other]);
    let session = frozen.open();
    let _held = hold(&frozen, &session);
    // One stays at the node that freezes, and has its connection when that wakes.
    let stays = Call::progress(frozen.open(), 100_000, 20, &nodes).faithful();
    let mut stays = Call { silence: LONG * 2, ..stays };
    let mut connection = stays.send().unwrap();
    let arrived = Arrived::default();
    stays.read(&mut connection, 5, &arrived);

    let impatient = |call: Call| Call { silence: Duration::from_millis(500), ..call };
    let calls = (0..CLIENTS).map(|_| impatient(Call::progress(frozen.open(), 100_000, 20, &nodes))).collect();
    let calls = follow_all(calls, CLIENTS * 10, || signal(frozen.process_id(), "-STOP"));
    calls.iter().for_each(Call::is_lost);

    signal(frozen.process_id(), "-CONT");
    until("the handler is cancelled", || report(&frozen, &session) == "cancelled");
    // The connection that lasted is closed, and what came over it is no more than what was said.
    let start = Instant::now();
    stays.read(&mut connection, usize::MAX, &arrived);
    assert!(start.elapsed() < stays.silence / 2, "it stays open, and is silent");
    assert_eq!(stays.answer, None);
    stays.is_whole();
    stays.follow(&arrived).is_lost();

    // Whatever it tried to add since, what was given up is as it was, from the first event on.
    for call in calls {
        for turn in 0..nodes.len() {
            let again = Call::progress(call.session.clone(), 0, 0, &nodes).faithful();
            let again = Call { last_id: call.first_id.clone(), turn, ..again }.follow(&arrived);
            again.is_lost();
            assert_eq!(again.seen, call.seen);
        }
        echo(&frozen, &call.session);
    }
    // Nothing runs there any more that it would have to wait for.
    ends_at_once(frozen);
}
