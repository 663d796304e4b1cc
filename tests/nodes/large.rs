//! Answers of several megabytes, and sessions that send more than is kept, while nodes are killed
//! (`kill -9`).

use std::io::Read;
use std::thread;
use std::time::Duration;

use crate::client::{Arrived, Call, follow_all};
use crate::redis_server::RedisServer;
use crate::{addresses, mortal, mortal_at, node};

/// More than the system buffers for a connection, so that a node cannot send all of it before it is
/// killed.
const LARGE: usize = 8_000_000;

const STEPS: usize = 20;

/// Reads all steps of a call and the beginning of its answer. Returns the connection.
fn begun(call: &mut Call, arrived: &Arrived) -> impl Read + use<> {
    loop {
        let mut connection = call.send().expect("the node is there");
        // The first event carries no message.
        call.read(&mut connection, if call.hops > 0 { 2 } else { STEPS - call.seen.len() }, arrived);
        if call.hops == 0 && call.seen.len() == STEPS {
            let mut beginning = vec![0; 100_000];
            connection.read_exact(&mut beginning).expect("the answer begins");
            assert!(String::from_utf8(beginning).unwrap().contains("0000100 0000101 "));
            return connection;
        }
        call.hops = call.hops.saturating_sub(1);
        call.turn += 1;
    }
}

#[test]
fn large_answers_survive_a_killed_node() {
    let redis = RedisServer::start();
    let (doomed, other) = (mortal(&redis), mortal(&redis));
    let nodes = addresses([&doomed, &other]);
    // Half of the calls run at the node that is killed. The other half are only read there.
    let calls: Vec<Call> = (0..6)
        .map(|at| {
            let (turn, session) = if at % 2 == 0 { (0, doomed.open()) } else { (1, other.open()) };
            let call = Call::sized(session, STEPS, 30, &nodes, (0, LARGE));
            Call { turn, hops: turn, is_narrow: true, ..call }
        })
        .collect();
    let arrived = Arrived::default();
    let begun: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = calls
            .into_iter()
            .map(|mut call| {
                let arrived = &arrived;
                scope.spawn(move || (begun(&mut call, arrived), call))
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    doomed.kill();
    for (mut connection, call) in begun {
        let mut rest = Vec::new();
        let _ = connection.read_to_end(&mut rest);
        assert!(rest.len() < LARGE - 200_000, "all of the answer was sent before");
        let call = Call { turn: 1, is_narrow: false, ..call }.faithful().follow(&arrived);
        call.is_done(STEPS);
        assert!(call.resumed > 0);
    }
}

#[test]
fn full_buffers_and_killed_holders_lose_no_answer() {
    /// Six such calls exceed the replay buffers of a session, and each one exceeds that of a
    /// stream.
    const CHATTY: (usize, usize) = (8 << 10, 150);
    let redis = RedisServer::start();
    let (runs, holds) = (node(&redis), mortal(&redis));
    let nodes = addresses([&runs, &holds]);
    let sessions: Vec<String> = (0..6).map(|_| runs.open()).collect();
    let mut holds = Some(holds);
    for _ in 0..6 {
        let calls = sessions.iter().map(|id| Call::sized(id.clone(), CHATTY.1, 10, &nodes, (CHATTY.0, 2_000)));
        let calls = follow_all(calls.collect(), sessions.len() * 30, || {
            holds.take().unwrap().kill();
            thread::sleep(Duration::from_millis(200));
            holds = Some(mortal_at(&nodes[1], &redis));
        });
        calls.iter().for_each(|call| call.is_done(CHATTY.1));
    }
    for _ in 0..5 {
        let calls = sessions.iter().map(|id| Call::sized(id.clone(), 3, 0, &nodes, (0, 1_000)).faithful());
        follow_all(calls.collect(), 1, || {}).iter().for_each(|call| call.is_done(3));
    }
}
