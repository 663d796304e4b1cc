//! Nodes that are frozen for longer than their lease.

use std::time::{Duration, Instant};

use crate::client::{Arrived, Call, follow_all};
use crate::everything::{Server, signal};
use crate::redis_server::RedisServer;
use crate::{CLIENTS, LONG, addresses, echo, ends_at_once, head, mortal, text_of, until};

/// Starts a call that sends nothing until it ends, and that records how it ended.
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
fn frozen_nodes_stop_their_orphaned_calls() {
    let redis = RedisServer::start();
    let (frozen, other) = (mortal(&redis), mortal(&redis));
    let nodes = addresses([&frozen, &other]);
    let session = frozen.open();
    let _held = hold(&frozen, &session);
    // One client stays at the node that freezes. Its connection is still open when the node
    // continues.
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
    // The surviving connection is closed, and nothing was sent on it after the last message.
    let start = Instant::now();
    stays.read(&mut connection, usize::MAX, &arrived);
    assert!(start.elapsed() < stays.silence / 2, "it stays open, and is silent");
    assert_eq!(stays.answer, None);
    stays.is_whole();
    stays.follow(&arrived).is_lost();

    // Whatever the frozen node tried to add, a stream that was given up is unchanged from its first
    // event on.
    for call in calls {
        for turn in 0..nodes.len() {
            let again = Call::progress(call.session.clone(), 0, 0, &nodes).faithful();
            let again = Call { last_id: call.first_id.clone(), turn, ..again }.follow(&arrived);
            again.is_lost();
            assert_eq!(again.seen, call.seen);
        }
        echo(&frozen, &call.session);
    }
    // No handler runs at this node any more, so it need not wait for one.
    ends_at_once(frozen);
}
