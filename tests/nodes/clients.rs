//! Clients that come back at the same time: two to one stream, or all of them to one node.

use std::sync::Barrier;
use std::thread;

use crate::client::{Arrived, Call, follow_all};
use crate::redis_server::RedisServer;
use crate::{addresses, mortal, node};

#[test]
fn one_of_two_resuming_clients_gets_everything() {
    let redis = RedisServer::start();
    let (a, b) = (node(&redis), node(&redis));
    let nodes = addresses([&a, &b]);
    let (mut round, mut late) = (0, 0);
    while round < 10 {
        let arrived = Arrived::default();
        let mut first = Call::progress(a.open(), 100, 10, &nodes).faithful();
        let mut connection = first.send().unwrap();
        first.read(&mut connection, 3 + round, &arrived);
        let start = Barrier::new(2);
        let stayed: Vec<Call> = thread::scope(|scope| {
            let twins = [0, 1].map(|turn| {
                let mut twin = Call { turn, ..first.clone() };
                let (start, arrived) = (&start, &arrived);
                scope.spawn(move || {
                    start.wait();
                    twin.listen(usize::MAX, arrived);
                    twin
                })
            });
            twins.into_iter().map(|twin| twin.join().unwrap()).collect()
        });
        stayed.iter().for_each(Call::is_whole);
        let done: Vec<_> = stayed.iter().filter(|call| call.answer.is_some()).collect();
        // If one came when the call was nearly over, the two did not come at the same time.
        if done.len() == 2 && stayed.iter().any(|call| call.response_begun >= call.newest_sent) {
            late += 1;
            assert!(late < 50, "they never come at once");
            continue;
        }
        assert_eq!(done.len(), 1, "{:?}", stayed.iter().map(|call| call.seen.len()).collect::<Vec<_>>());
        done[0].is_done(100);
        round += 1;
    }
}

/// Kills a node that holds the streams of `clients` clients. Clients whose calls ran there receive
/// an error, and the others receive the rest of their streams.
fn storm(clients: usize) {
    const STEPS: usize = 40;
    let redis = RedisServer::start();
    let (doomed, other) = (mortal(&redis), mortal(&redis));
    let nodes = addresses([&doomed, &other]);
    let calls: Vec<Call> = (0..clients)
        .map(|at| {
            // Half of the calls run at the other node, and their clients move to the doomed node
            // after a few messages.
            let turn = at % 2;
            let session = if turn == 0 { doomed.open() } else { other.open() };
            // The calls at the doomed node last until it is killed.
            let steps = if turn == 0 { 100_000 } else { STEPS };
            Call { turn, hops: turn, ..Call::progress(session, steps, clients.div_ceil(2), &nodes) }
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
fn clients_of_a_dead_node_are_served() {
    storm(200);
}

#[test]
#[ignore = "it takes a minute: tests/run nightly"]
fn two_thousand_simultaneous_reconnects_are_served() {
    storm(2_000);
}
