//! A Redis server that is killed, cut off, slow, still loading or emptied.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Call, follow_all};
use crate::everything::{Server, read_until, signal};
use crate::redis_server::RedisServer;
use crate::{CLIENTS, LEASE, addresses, echo, ends_at_once, head, mortal, node, text_of, until};

#[test]
fn repeated_server_kills_lose_no_message() {
    let mut redis = RedisServer::start();
    let (a, b) = (node(&redis), node(&redis));
    let nodes = addresses([&a, &b]);
    let calls = (0..CLIENTS).map(|_| Call::progress(a.open(), 600, 5, &nodes)).collect();
    let calls = follow_all(calls, CLIENTS * 30, || {
        for pause in [10, 700, 300] {
            redis.kill();
            thread::sleep(Duration::from_millis(pause));
            redis.start_again();
            thread::sleep(Duration::from_millis(400));
        }
    });
    calls.iter().for_each(|call| call.is_done(600));
}

#[test]
fn frequent_connection_cuts_lose_no_message() {
    let redis = RedisServer::start();
    let (a, b) = (node(&redis), node(&redis));
    let nodes = addresses([&a, &b]);
    let opened = |at: usize| if at.is_multiple_of(2) { a.open() } else { b.open() };
    let calls = (0..CLIENTS).map(|at| Call { turn: at, ..Call::progress(opened(at), 500, 10, &nodes) }).collect();
    let calls = follow_all(calls, CLIENTS, || {
        let (mut cut, mut times) = (0, 0);
        while times < 16 || cut < 32 {
            times += 1;
            assert!(times < 160, "{cut} connections were cut");
            for kind in ["normal", "pubsub"] {
                let killed = redis.command(&["client", "kill", "type", kind, "skipme", "yes"]);
                cut += killed.trim().parse::<usize>().unwrap_or_else(|_| panic!("{killed}"));
            }
            thread::sleep(Duration::from_millis(250));
        }
    });
    calls.iter().for_each(|call| call.is_done(500));
}

const PING: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;

/// Pings a session at each node, again and again. Returns how often a node answered 503 with
/// `Retry-After`.
fn count_rejections(nodes: &[&Server], session: &str, during: impl FnOnce()) -> usize {
    let over = AtomicUsize::new(0);
    let rejected = AtomicUsize::new(0);
    thread::scope(|scope| {
        for node in nodes {
            scope.spawn(|| {
                while over.load(Ordering::Relaxed) == 0 {
                    let start = Instant::now();
                    let mut response = String::new();
                    std::io::Read::read_to_string(&mut node.send(&head(session), PING), &mut response).unwrap();
                    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
                    match &response[9..12] {
                        "200" => {}
                        "503" => {
                            assert!(response.contains("\r\nretry-after: "), "{response}");
                            rejected.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => panic!("{response}"),
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        // The threads would not end if the test failed.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
        over.store(1, Ordering::Relaxed);
        done.unwrap_or_else(|why| std::panic::resume_unwind(why));
    });
    rejected.into_inner()
}

/// Checks that running calls lose nothing while `cruelty` is done to a server, and that new
/// requests are answered with `Retry-After`.
fn waited_for(redis: &mut RedisServer, cruelty: impl FnOnce(&mut RedisServer)) {
    let (a, b) = (mortal(redis), mortal(redis));
    let nodes = addresses([&a, &b]);
    let session = a.open();
    let calls = (0..CLIENTS).map(|_| Call::progress(a.open(), 400, 20, &nodes).faithful()).collect();
    let mut rejected = 0;
    let calls = follow_all(calls, CLIENTS * 10, || rejected = count_rejections(&[&a, &b], &session, || cruelty(redis)));
    assert!(rejected > 0, "no request was rejected");
    for call in calls {
        call.is_done(400);
        assert_eq!(call.resumed, 0, "its stream was closed");
    }
    echo(&a, &session);
    echo(&b, &session);
}

#[test]
fn nodes_wait_for_a_paused_server() {
    waited_for(&mut RedisServer::start(), |redis| {
        let pause = LEASE + Duration::from_secs(2);
        redis.command(&["client", "pause", &pause.as_millis().to_string(), "all"]);
        thread::sleep(pause + Duration::from_secs(1));
    });
}

#[test]
fn nodes_wait_for_a_frozen_server() {
    waited_for(&mut RedisServer::start(), |redis| {
        signal(redis.process_id(), "-STOP");
        thread::sleep(LEASE + Duration::from_secs(2));
        signal(redis.process_id(), "-CONT");
        thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn nodes_wait_for_a_loading_server() {
    waited_for(&mut RedisServer::start(), |redis| {
        // The server reports that it is loading while it reads an image, but rarely while it reads
        // commands. So the test writes an image.
        redis.command(&["client", "pause", "60000", "write"]);
        redis.command(&["bgrewriteaof"]);
        until("there is an image", || redis.command(&["info", "persistence"]).contains("aof_rewrite_in_progress:0"));
        let keys: u32 = redis.command(&["dbsize"]).trim().parse().unwrap();
        redis.kill();
        let delay = (3_000_000 / keys).to_string();
        redis.start_again_with(&["--key-load-delay", &delay, "--loading-process-events-interval-bytes", "1024"]);
        let mut loading = 0;
        until("it has loaded", || {
            let said = redis.command(&["ping"]);
            loading += usize::from(said.starts_with("LOADING"));
            said.starts_with("PONG")
        });
        assert!(loading > 0, "it was never loading");
    });
}

#[test]
fn clients_of_an_emptied_server_reopen() {
    let redis = RedisServer::start();
    // Nodes notice this at their next heartbeat. They send three of them in a lease.
    let (a, b) = (mortal(&redis), mortal(&redis));
    let nodes = addresses([&a, &b]);
    let mut get =
        a.send(&format!("GET /mcp HTTP/1.1\r\nAccept: text/event-stream\r\nMcp-Session-Id: {}", a.open()), "");
    let calls: Vec<_> = (0..CLIENTS).map(|_| Call::progress(a.open(), 100_000, 5, &nodes)).collect();
    let faithful = calls.into_iter().enumerate().map(|(at, call)| if at % 2 == 0 { call.faithful() } else { call });
    let mut emptied = Instant::now();
    let mut late = None;
    let calls = follow_all(faithful.collect(), CLIENTS * 10, || {
        redis.command(&["flushall"]);
        emptied = Instant::now();
        // A node that is used at once must not conclude that the server kept its data.
        [&a, &b].iter().for_each(|node| echo(node, &node.open()));
        late = Some(mortal(&redis));
    });
    assert!(emptied.elapsed() < LEASE * 5, "it took them {:?}", emptied.elapsed());
    for call in calls {
        // With its stream open, a client receives the end of its session as the end of its call.
        let ended = call.answer.as_ref().is_some_and(|answer| answer.contains("The session ended before"));
        assert!(call.is_gone || ended, "{:?}", call.answer);
        call.is_in_order();
    }
    std::io::Read::read_to_string(&mut get, &mut String::new()).expect("the standalone stream ends");

    // Soon new sessions are shared by all nodes, including one that joined later.
    let late = late.unwrap();
    let nodes = [&a, &b, &late];
    until("the nodes share what they keep", || {
        nodes.iter().all(|opens| {
            let session = opens.open();
            nodes.iter().all(|node| node.all(&head(&session), PING).0 == 200)
        })
    });
    ends_at_once(a);
}

#[test]
fn clients_restart_after_a_server_lost_messages() {
    let mut redis = RedisServer::start();
    let (a, b) = (node(&redis), node(&redis));
    let nodes = addresses([&a, &b]);
    let listener = a.open();
    let listen = format!("GET /mcp HTTP/1.1\r\nAccept: text/event-stream\r\nMcp-Session-Id: {listener}");
    let mut get = a.send(&listen, "");
    let mut announce = |count: usize| {
        for _ in 0..count {
            text_of(&b, &listener, "test_trigger_tool_change", "{}");
            read_until(&mut get, "tools/list_changed");
        }
    };
    announce(1);
    let calls: Vec<_> = (0..CLIENTS).map(|_| Call::progress(a.open(), 100_000, 5, &nodes)).collect();
    let calls = calls.into_iter().enumerate().map(|(at, call)| if at % 2 == 0 { call.faithful() } else { call });
    let mut back = Instant::now();
    let calls = follow_all(calls.collect(), CLIENTS * 30, || {
        let copy = redis.copy();
        announce(3);
        thread::sleep(Duration::from_millis(500));
        redis.kill();
        redis.start_again_from(&copy);
        back = Instant::now();
    });
    assert!(back.elapsed() < LEASE * 5, "it took them {:?}", back.elapsed());
    for call in &calls {
        assert!(call.is_expired, "{:?}", call.answer);
        call.is_in_order();
    }
    // The sessions still exist, and the standalone streams end so that their clients check again.
    std::io::Read::read_to_string(&mut get, &mut String::new()).expect("the standalone stream ends");
    let calls = calls.into_iter().map(|call| Call::progress(call.session, 50, 2, &nodes)).collect();
    follow_all(calls, 1, || {}).iter().for_each(|call| call.is_done(50));
    ends_at_once(a);
}
