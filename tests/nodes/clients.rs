//! Clients that do not read, or come back all at once.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::thread;

use crate::client::{Call, follow_all};
use crate::everything::Server;
use crate::redis_server::RedisServer;
use crate::{CLIENTS, LEASE, addresses, node, switches, until};

/// What a process holds in memory, in bytes.
fn resident(process: u32) -> usize {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// What the server holds for data, in bytes.
fn used(redis: &RedisServer) -> usize {
    let facts = redis.ask(&["info", "memory"]);
    let used = facts.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"));
    used.unwrap_or_else(|| panic!("{facts}")).trim().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn clients_that_stop_reading_cost_little_and_are_told_what_they_missed() {
    const STEPS: usize = 30_000;
    let redis = RedisServer::start();
    let mut switches: Vec<String> = switches(&redis).into();
    switches.extend(["--slow-reader", "0.5"].map(str::to_owned));
    let switches: Vec<&str> = switches.iter().map(String::as_str).collect();
    let (a, b) = (Server::start(&switches), Server::start(&switches));
    let nodes = addresses([&a, &b]);
    let count = AtomicUsize::new(0);
    let (before, used_before) = (resident(a.process_id()), used(&redis));
    let mut deaf: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let call = Call::progress(a.open(), STEPS, 0, &nodes).faithful();
            let mut call = Call { is_narrow: true, ..call };
            let mut connection = call.send().unwrap();
            call.read(&mut connection, 2, &count);
            (call, connection)
        })
        .collect();
    // Others are served meanwhile, in the same sessions, too.
    let others = deaf.iter().map(|(call, _)| Call::progress(call.session.clone(), 200, 5, &nodes)).collect();
    let mut most = (0, 0);
    for call in follow_all(others, 1, || {}) {
        call.is_done(200);
        most = (most.0.max(resident(a.process_id())), most.1.max(used(&redis)));
    }
    until("the calls are over", LEASE * 15, || {
        most = (most.0.max(resident(a.process_id())), most.1.max(used(&redis)));
        redis.ask(&["--scan", "--pattern", "mcp:{0}:c:*"]).trim().is_empty()
    });
    // One reads on and comes to an end, the others find their connections too far behind.
    let (call, connection) = &mut deaf[0];
    call.read(connection, usize::MAX, &count);
    assert!(call.answer.is_none(), "it was not cut off");
    for (call, connection) in deaf {
        drop(connection);
        let call = Call { is_narrow: false, ..call }.follow(&count);
        assert!(call.seen.is_sorted_by(|a, b| a < b), "{:?}", call.seen);
        assert!(call.named_lost > STEPS / 4, "{}", call.named_lost);
        assert_eq!(call.seen.len() + call.named_lost, STEPS);
        assert!(call.answer.as_deref().unwrap().contains("30000 steps done"));
    }
    let (node, kept) = (most.0.saturating_sub(before) / CLIENTS, most.1.saturating_sub(used_before) / CLIENTS);
    assert!(node < 1 << 20, "{node} bytes of a node for each");
    // Two hundred bytes a step: without bounds it would be six megabytes.
    assert!(kept < 2 << 20, "{kept} bytes of the server for each");
}

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
