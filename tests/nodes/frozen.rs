//! Nodes that stop for a while, or live at another hour.

use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Call, follow_all};
use crate::everything::{Server, signal};
use crate::redis_server::RedisServer;
use crate::{CLIENTS, LEASE, addresses, echo, ends_at_once, head, node, switches, text_of, until};

/// A call at a node that says nothing until it ends, and notes how.
fn hold(node: &Server, session: &str) -> std::io::BufReader<std::net::TcpStream> {
    let call = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"test_slow","arguments":{"ms":600000,"label":"held"}}}"#;
    let response = node.send(&head(session), call);
    until("the call runs", LEASE, || report(node, session) == "running");
    response
}

fn report(node: &Server, session: &str) -> String {
    text_of(node, session, "test_slow_report", r#"{"label":"held"}"#)
}

#[test]
fn a_node_that_was_frozen_past_its_lease_adds_nothing_and_stops_what_was_given_up() {
    let redis = RedisServer::start();
    let (frozen, other) = (node(&redis), node(&redis));
    let nodes = addresses([&frozen, &other]);
    let session = frozen.open();
    let _held = hold(&frozen, &session);
    // One stays at the node that freezes, and has its connection when that wakes.
    let mut stays = Call::progress(frozen.open(), 100_000, 20, &nodes).faithful();
    let mut connection = stays.send().unwrap();
    let count = AtomicUsize::new(0);
    stays.read(&mut connection, 5, &count);

    let impatient = |call: Call| Call { silence: Duration::from_millis(500), ..call };
    let calls = (0..CLIENTS).map(|_| impatient(Call::progress(frozen.open(), 100_000, 20, &nodes))).collect();
    let calls = follow_all(calls, CLIENTS * 10, || signal(frozen.process_id(), "-STOP"));
    calls.iter().for_each(Call::is_lost);

    signal(frozen.process_id(), "-CONT");
    until("the handler is cancelled", LEASE * 2, || report(&frozen, &session) == "cancelled");
    // The connection that lasted is closed, and what came over it is no more than what was said.
    let start = Instant::now();
    stays.read(&mut connection, usize::MAX, &count);
    assert!(start.elapsed() < stays.silence / 2, "it stays open, and is silent");
    assert_eq!(stays.answer, None);
    stays.is_whole();
    stays.follow(&count).is_lost();

    // Whatever it tried to add since, what was given up is as it was, from the first event on.
    for call in calls {
        for turn in 0..nodes.len() {
            let again = Call::progress(call.session.clone(), 0, 0, &nodes).faithful();
            let again = Call { last_id: call.first_id.clone(), turn, ..again }.follow(&count);
            again.is_lost();
            assert_eq!(again.seen, call.seen);
        }
        echo(&frozen, &call.session);
    }
    // Nothing runs there any more that it would have to wait for.
    ends_at_once(frozen);
}

/// A node whose clock is off.
fn node_off_by(offset: &str, redis: &RedisServer) -> Server {
    let switches = switches(redis);
    let mut command = Server::command(&switches.each_ref().map(String::as_str));
    // The loader knows where libraries are; without this one it would go on with the right time.
    command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1").env("FAKETIME", offset);
    Server::spawn(command)
}

/// The hour of the day by a node's clock.
fn hour(node: &Server) -> u32 {
    let mut response = String::new();
    std::io::Read::read_to_string(&mut node.send("GET /nothing HTTP/1.1", ""), &mut response).unwrap();
    let date = response.lines().find_map(|line| line.strip_prefix("date: ")).unwrap();
    date.split(' ').nth(4).unwrap()[..2].parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn nodes_whose_clocks_are_hours_apart_serve_the_same_sessions() {
    let redis = RedisServer::start();
    let (early, late) = (node_off_by("-2h", &redis), node_off_by("+2h", &redis));
    let apart = (hour(&late) + 24 - hour(&early)) % 24;
    assert!((3..=5).contains(&apart), "libfaketime is missing (tests/install faketime)");
    let nodes = addresses([&early, &late]);
    let opened = |at: usize| if at.is_multiple_of(2) { early.open() } else { late.open() };
    // Long enough for each to have looked for what has expired, and for who is dead.
    let steps = usize::try_from(LEASE.as_millis()).unwrap() * 2 / 10;
    let calls: Vec<_> =
        (0..CLIENTS).map(|at| Call { turn: at, ..Call::progress(opened(at), steps, 10, &nodes) }).collect();
    let calls = follow_all(calls, CLIENTS, || thread::sleep(Duration::from_millis(10)));
    for call in calls {
        call.is_done(steps);
        echo(&early, &call.session);
        echo(&late, &call.session);
    }
}
