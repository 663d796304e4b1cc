//! Clients that come back at once, two to one stream or all to one node.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::thread;

use crate::client::{Call, follow_all};
use crate::redis_server::RedisServer;
use crate::{addresses, node};

#[test]
fn of_two_clients_that_resume_a_stream_at_once_one_stays_and_misses_nothing() {
    let redis = RedisServer::start();
    let (a, b) = (node(&redis), node(&redis));
    let nodes = addresses([&a, &b]);
    for round in 0..10 {
        let count = AtomicUsize::new(0);
        let mut first = Call::progress(a.open(), 100, 10, &nodes).faithful();
        let mut connection = first.send().unwrap();
        first.read(&mut connection, 3 + round, &count);
        let start = Barrier::new(2);
        let stayed: Vec<Call> = thread::scope(|scope| {
            let twins = [0, 1].map(|turn| {
                let mut twin = Call { turn, ..first.clone() };
                let (start, count) = (&start, &count);
                scope.spawn(move || {
                    start.wait();
                    twin.listen(usize::MAX, count);
                    twin
                })
            });
            twins.into_iter().map(|twin| twin.join().unwrap()).collect()
        });
        stayed.iter().for_each(Call::is_whole);
        let done: Vec<_> = stayed.iter().filter(|call| call.answer.is_some()).collect();
        assert_eq!(done.len(), 1, "{:?}", stayed.iter().map(|call| call.seen.len()).collect::<Vec<_>>());
        done[0].is_done(100);
    }
}

/// So many clients whose streams one node holds come back when it is killed: those whose calls ran there are
/// told so, the others get the rest.
fn storm(clients: usize) {
    const STEPS: usize = 40;
    let redis = RedisServer::start();
    let (doomed, other) = (node(&redis), node(&redis));
    let nodes = addresses([&doomed, &other]);
    let calls: Vec<Call> = (0..clients)
        .map(|at| {
            // Where it runs; from the other one its client comes to the doomed one after a few messages.
            let turn = at % 2;
            let session = if turn == 0 { doomed.open() } else { other.open() };
            Call { turn, hops: turn, ..Call::progress(session, STEPS, clients.div_ceil(2), &nodes) }
        })
        .collect();
    let calls = follow_all(calls, clients * 8, || doomed.kill());
    for (at, call) in calls.iter().enumerate() {
        if at % 2 == 0 { call.is_lost() } else { call.is_done(STEPS) }
    }
    let moved = calls.iter().filter(|call| call.resumed > call.hops).count();
    assert_eq!(moved, clients);
}

#[test]
fn clients_that_come_back_all_at_once_when_their_node_died_are_all_served() {
    storm(200);
}

#[test]
#[ignore = "it takes a minute: tests/run nightly"]
fn two_thousand_clients_that_come_back_all_at_once_are_all_served() {
    storm(2_000);
}
