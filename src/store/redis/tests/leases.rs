//! Tests of leases: when a process counts as dead, and what happens to what it held.

use super::*;

const LEASE: Duration = Duration::from_millis(300);

/// Sends heartbeats of one process until another counts as dead and everything of it is cleaned up.
async fn bury(server: &RedisServer, living: &Process, knows: &str) {
    eventually("it is given up", async || {
        living.beat(knows).await;
        ask(server, "zcard", "leases", &[]) == "1" && ask(server, "scard", "dying", &[]) == "0"
    })
    .await;
}

#[tokio::test]
async fn lost_processes_learn_of_it_until_acknowledged() {
    let server = RedisServer::start();
    let (a, b) = (Process::new(&server, LEASE), Process::new(&server, LEASE));
    let (new, other) = (a.beat("").await, b.beat("").await);
    assert!(!new.is_empty(), "a new process is told that it was not known");
    assert_eq!(a.beat(&new).await, "");
    a.create("s").await;
    a.take(a.attach("s", "r")).await;
    bury(&server, &b, &other).await;
    assert_eq!(ask(&server, "hget", "s:s", &["readers"]), "0");
    // The process begins a call before its next heartbeat.
    a.take(a.begin("s", "t")).await;
    let back = a.beat(&new).await;
    assert!(!back.is_empty() && back != new);
    assert_eq!(a.beat(&new).await, back, "it did not hear so");
    assert_eq!(a.beat(&back).await, "");
    assert_eq!(a.beat(&back).await, "", "it did not hear that");
}

#[tokio::test]
async fn standalone_requests_end_with_their_node() {
    let server = RedisServer::start();
    let (a, b) = (Process::new(&server, LEASE), Process::new(&server, LEASE));
    let (_, other) = (a.beat("").await, b.beat("").await);
    b.create("s").await;
    b.take(b.attach("s", "r")).await;
    // Only a settled client request may be dropped, so the space that is freed shows whether it was
    // settled.
    a.take(a.publish("s", "qs0-1", &"x".repeat(9_000))).await;
    bury(&server, &b, &other).await;
    assert_eq!(ask(&server, "hlen", "q:s", &[]), "0");
    assert_eq!(ask(&server, "hexists", "s:s", &[&format!("n{}", a.node)]), "0");
    b.take(b.publish("s", "n", &"y".repeat(9_000))).await;
    assert_eq!(ask(&server, "xlen", "e:s:0", &[]), "1", "the question still takes room");
}

#[tokio::test]
async fn outages_do_not_count_as_idle_time() {
    let server = RedisServer::start();
    let a = Process::new(&server, LEASE);
    let (idle, kept) = (Duration::from_secs(20), Duration::from_secs(10));
    let sweep = async || {
        let mut swept = a.take(a.expire(idle, kept)).await;
        (swept.flag().unwrap(), swept.list().unwrap().count())
    };
    for session in ["s", "old"] {
        a.create(session).await;
    }
    let stream = a.take(a.begin("s", "t")).await.number::<u32>().unwrap();
    let append = a.client.call(&scripts::APPEND).arg("s").arg(stream).arg(&a.node).arg(1).arg(1);
    a.take(bounded(append, 10_000, 100).arg("r").arg("{}")).await;
    a.beat("").await;
    // Moves everything back by an hour. One session had also been idle for longer before.
    let micros = |name: &str, at: &str| ask(&server, "zscore", name, &[at]).parse::<f64>().unwrap();
    let hour = 3_600_000_000.0;
    let beat = ask(&server, "get", "beat", &[]).parse::<f64>().unwrap() - hour;
    ask(&server, "set", "beat", &[&beat.to_string()]);
    let rest = micros("rest", "s") - hour;
    ask(&server, "zadd", "rest", &[&rest.to_string(), "s"]);
    ask(&server, "zadd", "rest", &[&(rest - 30_000_000.0).to_string(), "old"]);
    let log = "local k, by = KEYS[1], ARGV[1] for s, l in pairs({[ARGV[2]] = 1}) do local row = \
               cmsgpack.unpack(redis.call('HGET', k, s)) row[10] = row[10] - by redis.call('HSET', k, s, \
               cmsgpack.pack(row)) end";
    server.command(&["eval", log, "1", &key("m:s"), "3600000000", &stream.to_string()]);
    ask(&server, "zadd", "kept", &[&rest.to_string(), "s"]);
    assert_eq!(sweep().await, (false, 1), "only what was idle before the outage");
    a.beat("").await;
    assert_eq!(sweep().await, (false, 0));
    // A second outage does not hide the first one.
    ask(&server, "set", "beat", &[&(ask(&server, "get", "beat", &[]).parse::<f64>().unwrap() - 1e6).to_string()]);
    a.beat("").await;
    assert_eq!(sweep().await, (false, 0));
    assert_eq!(ask(&server, "hlen", "m:s", &[]), "1", "a finished stream nobody could come back for");
}

#[tokio::test]
async fn undone_operations_have_no_effect() {
    let server = RedisServer::start();
    let (a, b) = (Process::new(&server, LONG), Process::new(&server, LONG));
    a.create("s").await;
    let mut reader = b.take(b.attach("s", "r")).await;
    let generation = reader.number::<u32>().unwrap();
    a.take(a.client.call(&scripts::FINISH).arg("s").arg("").arg(&a.node).arg("t")).await;
    a.take(a.client.call(&scripts::DETACH).arg("s").arg(0).arg("").arg(&a.node).arg("u")).await;
    assert_eq!(a.client.take(a.begin("s", "t")).await.unwrap_err().kind(), StoreErrorKind::Fenced);
    assert_eq!(a.client.take(a.attach("s", "u")).await.unwrap_err().kind(), StoreErrorKind::Fenced);
    assert_eq!(ask(&server, "hget", "s:s", &["calls"]), "0");
    b.take(b.client.call(&scripts::READ).arg("s").arg(0).arg(generation).arg(0).arg(100)).await;
}

#[tokio::test]
async fn late_departures_are_forgotten() {
    let server = RedisServer::start();
    let (a, b) = (Process::new(&server, LONG), Process::new(&server, LONG));
    let left = async |process: &Process| {
        let call = process.client.call(&scripts::LEFT).arg(&process.node).arg("").arg("").arg(64);
        assert!(process.take(call).await.flag().unwrap());
        ask(&server, "ttl", &format!("left:{}", process.client.signals.process()), &[]).parse::<i64>().unwrap()
    };
    assert!(left(&a).await > 0, "nobody knows the process");
    b.beat("").await;
    assert_eq!(left(&b).await, -1, "the process lives, and its tasks are orphans as long as it does");
    a.beat("").await;
    assert_eq!(left(&a).await, -1);
}
