//! Checks that need Linux: the memory of a process, and nodes with a wrong clock.

use std::thread;
use std::time::Duration;

use crate::client::{Arrived, Call, follow_all};
use crate::everything::Server;
use crate::redis_server::RedisServer;
use crate::{CLIENTS, LEASE, LONG, addresses, echo, switches, until_within};

/// Returns the resident memory of a process, in bytes.
fn resident(process: u32) -> usize {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Returns the memory that the server uses for data, in bytes.
fn used(redis: &RedisServer) -> usize {
    let facts = redis.command(&["info", "memory"]);
    let used = facts.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"));
    used.unwrap_or_else(|| panic!("{facts}")).trim().parse().unwrap()
}

#[test]
fn stopped_clients_cost_little_and_see_gaps() {
    const STEPS: usize = 30_000;
    let redis = RedisServer::start();
    let mut switches: Vec<String> = switches(&redis, LONG).into();
    switches.extend(["--slow-reader-timeout", "0.5", "--keep-finished-for", "600"].map(str::to_owned));
    let switches: Vec<&str> = switches.iter().map(String::as_str).collect();
    let (a, b) = (Server::start(&switches), Server::start(&switches));
    let nodes = addresses([&a, &b]);
    let arrived = Arrived::default();
    let (before, used_before) = (resident(a.process_id()), used(&redis));
    let mut deaf: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let call = Call::progress(a.open(), STEPS, 0, &nodes).faithful();
            let mut call = Call { is_narrow: true, ..call };
            let mut connection = call.send().unwrap();
            call.read(&mut connection, 2, &arrived);
            (call, connection)
        })
        .collect();
    // Meanwhile other calls are served, also in the same sessions.
    let others = deaf.iter().map(|(call, _)| Call::progress(call.session.clone(), 200, 5, &nodes)).collect();
    let mut most = (0, 0);
    for call in follow_all(others, 1, || {}) {
        call.is_done(200);
        most = (most.0.max(resident(a.process_id())), most.1.max(used(&redis)));
    }
    until_within(LONG * 3, "the calls are over", || {
        most = (most.0.max(resident(a.process_id())), most.1.max(used(&redis)));
        redis.command(&["--scan", "--pattern", "mcp:{0}:c:*"]).trim().is_empty()
    });
    // One client reads on and its stream ends. The other connections are too far behind and are
    // cut.
    let (call, connection) = &mut deaf[0];
    call.read(connection, usize::MAX, &arrived);
    assert!(call.answer.is_none(), "it was not cut off");
    for (call, connection) in deaf {
        drop(connection);
        let call = Call { is_narrow: false, ..call }.follow(&arrived);
        assert!(call.seen.is_sorted_by(|a, b| a < b), "{:?}", call.seen);
        assert!(call.named_lost > STEPS / 4, "{}", call.named_lost);
        assert_eq!(call.seen.len() + call.named_lost, STEPS);
        assert!(call.answer.as_deref().unwrap().contains("30000 steps done"));
    }
    let (node, kept) = (most.0.saturating_sub(before) / CLIENTS, most.1.saturating_sub(used_before) / CLIENTS);
    // A step takes more than two hundred bytes. Without bounds this would be seven megabytes.
    assert!(node < 2 << 20, "{node} bytes of a node for each");
    assert!(kept < 2 << 20, "{kept} bytes of the server for each");
}

/// Starts a node whose clock is off.
fn node_off_by(offset: &str, redis: &RedisServer) -> Server {
    let switches = switches(redis, LEASE);
    let mut command = Server::command(&switches.each_ref().map(String::as_str));
    // The loader finds the library itself. Without the library, the node would run with the right
    // time.
    command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1").env("FAKETIME", offset);
    Server::spawn(command)
}

/// Returns the hour of the day by a node's clock.
fn hour(node: &Server) -> u32 {
    let mut response = String::new();
    std::io::Read::read_to_string(&mut node.send("GET /nothing HTTP/1.1", ""), &mut response).unwrap();
    let date = response.lines().find_map(|line| line.strip_prefix("date: ")).unwrap();
    date.split(' ').nth(4).unwrap()[..2].parse().unwrap()
}

#[test]
fn nodes_with_distant_clocks_share_sessions() {
    let redis = RedisServer::start();
    let (early, late) = (node_off_by("-2h", &redis), node_off_by("+2h", &redis));
    let apart = (hour(&late) + 24 - hour(&early)) % 24;
    assert!((3..=5).contains(&apart), "libfaketime is missing (tests/install faketime)");
    let nodes = addresses([&early, &late]);
    let opened = |at: usize| if at.is_multiple_of(2) { early.open() } else { late.open() };
    // Long enough for each node to look for expired sessions and for dead nodes.
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
