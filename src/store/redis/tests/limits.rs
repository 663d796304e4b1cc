//! Tests of limits: how much is stored, how much one script does, and how missing keys are handled.

use super::*;
use crate::store::announcements::{TOPIC_BYTES, TOPICS};

#[tokio::test]
async fn names_of_missing_tasks_are_removed() {
    let server = RedisServer::start();
    let mut a = Process::new(&server, LONG);
    "alice".clone_into(&mut a.principal);
    for task in ["one", "two"] {
        a.take(a.create_task(task, Duration::from_millis(1), 2, "{}")).await;
        ask(&server, "del", &format!("t:{task}"), &[]);
        // Mark the task as done.
        ask(&server, "zadd", "task:of:alice", &["1", task]);
    }
    a.take(a.create_task("three", LONG, 2, "{}")).await;
    assert_eq!(ask(&server, "zrange", "task:ends", &["0", "-1"]), "three");
    assert_eq!(ask(&server, "zrange", "task:of:alice", &["0", "-1"]), "two\nthree", "one made room");
    assert_eq!(ask(&server, "hget", "task:sums", &["all"]), "1");
}

#[tokio::test]
async fn names_of_missing_sessions_are_removed() {
    let server = RedisServer::start();
    let mut a = Process::new(&server, LONG);
    "alice".clone_into(&mut a.principal);
    for session in ["gone", "there"] {
        a.create(session).await;
    }
    ask(&server, "del", "s:gone", &[]);
    let mut swept = a.take(a.expire(Duration::ZERO, LONG)).await;
    assert!(!swept.flag().unwrap());
    assert_eq!(swept.list().unwrap().count(), 1);
    for name in ["rest", "age"] {
        assert_eq!(ask(&server, "zcard", name, &[]), "0", "{name}");
    }
    a.create("gone").await;
    ask(&server, "del", "s:gone", &[]);
    let create = a.call(&scripts::CREATE).arg("new").arg("info").arg("alice").arg(1).arg(100).arg(1).arg("alice");
    assert_eq!(a.take(create).await.list().unwrap().count(), 0);
    assert_eq!(ask(&server, "smembers", "of:alice", &[]), "new");
}

#[tokio::test]
async fn mass_expiry_runs_in_pieces() {
    let server = RedisServer::start();
    let a = Process::new(&server, LONG);
    for task in 0..300 {
        a.take(a.create_task(&task.to_string(), Duration::from_millis(1), 1_000, "{}")).await;
    }
    // Some expired when later tasks were created.
    let late = (0..300).map(|task| task.to_string());
    let late: Vec<String> = late.filter(|task| ask(&server, "exists", &format!("t:{task}"), &[]) == "1").collect();
    for task in &late {
        ask(&server, "zadd", "task:ends", &["1", task]);
    }
    for task in 300..500 {
        a.take(a.create_task(&task.to_string(), LONG, 1_000, "{}")).await;
    }
    assert_eq!(ask(&server, "zcard", "task:ends", &[]), "200");
    for task in 300..500 {
        ask(&server, "zadd", "task:ends", &["1", &task.to_string()]);
    }
    let load = a.client.call(&scripts::LOAD_TASK).arg("499").arg("");
    assert_eq!(a.client.take(load).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert_eq!(ask(&server, "zcard", "task:ends", &[]), "136", "not all of them in one step");
    let mut steps = 1;
    while a.take(a.expire(LONG, LONG)).await.flag().unwrap() {
        steps += 1;
    }
    assert_eq!((steps, ask(&server, "zcard", "task:ends", &[])), (3, "0".to_owned()));
    assert_eq!(ask(&server, "hlen", "task:sums", &[]), "0");
}

#[tokio::test]
async fn finished_streams_are_forgotten_in_pieces() {
    let server = RedisServer::start();
    let a = Process::new(&server, LONG);
    for session in 0..6 {
        let session = session.to_string();
        a.create(&session).await;
        for call in 0..100 {
            let stream = a.take(a.begin(&session, &format!("{session}.{call}"))).await.number::<u32>().unwrap();
            let append = a.client.call(&scripts::APPEND).arg(&session).arg(stream).arg(&a.node).arg(1).arg(1);
            a.take(bounded(append, 1_000_000, 1_000).arg("r").arg("{}")).await;
        }
    }
    let streams =
        || (0..6).map(|at| ask(&server, "hlen", &format!("m:{at}"), &[]).parse::<u32>().unwrap()).sum::<u32>();
    assert_eq!(streams(), 600);
    assert!(a.take(a.expire(LONG, Duration::ZERO)).await.flag().unwrap(), "there are more");
    assert_eq!(streams(), 600 - 512);
    assert!(!a.take(a.expire(LONG, Duration::ZERO)).await.flag().unwrap());
    assert_eq!((streams(), ask(&server, "zcard", "kept", &[])), (0, "0".to_owned()));
}

#[tokio::test]
async fn topics_are_kept_as_far_as_they_fit() {
    let server = RedisServer::start();
    let a = Process::new(&server, LONG);
    let announce = |topic: String| a.client.call(&scripts::ANNOUNCE).arg(topic).arg(TOPICS).arg(TOPIC_BYTES);
    let topic = |text: &str, length: usize| announce(text.repeat(length));
    a.take(topic("a", 1 << 19)).await;
    a.take(topic("b", 1 << 19)).await;
    assert_eq!(ask(&server, "zcard", "topics", &[]), "2");
    a.take(topic("a", 1 << 19)).await;
    a.take(topic("c", 1)).await;
    assert_eq!(
        ask(&server, "zrange", "topics", &["0", "-1"]).lines().map(|topic| &topic[..1]).collect::<String>(),
        "ac"
    );
    a.take(topic("d", 2 << 20)).await;
    assert_eq!(
        (ask(&server, "zcard", "topics", &[]), ask(&server, "get", "topic:bytes", &[])),
        ("0".into(), String::new())
    );
    for topic in 0..1_100 {
        a.take(announce(topic.to_string())).await;
    }
    assert_eq!(ask(&server, "zcard", "topics", &[]), "1024");
}

/// Begins a call that sends requests to the client and never ends.
async fn asked(a: &Process, session: &str, requests: &[&str]) {
    a.create(session).await;
    let stream = a.take(a.begin(session, session)).await.number::<u32>().unwrap();
    let append = a.client.call(&scripts::APPEND).arg(session).arg(stream).arg(&a.node).arg(1).arg(0);
    let mut append = bounded(append, 10_000, 100);
    for request in requests {
        append = append.arg(format!("q{request}")).arg("{}");
    }
    a.take(append).await;
}

fn give(a: &Process, request: &str, length: usize) -> Call {
    a.call(&scripts::ANSWER_REQUEST).arg("s").arg(request).arg("given").arg("x".repeat(length)).arg(1_000)
}

#[tokio::test]
async fn waiting_answers_are_bounded_and_one_fits() {
    let server = RedisServer::start();
    let a = Process::new(&server, LONG);
    asked(&a, "s", &["1", "2", "3"]).await;
    assert!(a.take(give(&a, "1", 600)).await.flag().unwrap());
    assert_eq!(a.client.take(give(&a, "2", 600)).await.unwrap_err().kind(), StoreErrorKind::Full);
    let take = |request: &str| a.call(&scripts::TAKE_ANSWER).arg("s").arg(request).arg("take");
    assert_eq!(a.take(take("2")).await.maybe_bytes().unwrap(), None, "it still waits");
    assert_eq!(a.take(take("1")).await.text().unwrap(), "given");
    assert!(a.take(give(&a, "2", 5_000)).await.flag().unwrap(), "one that is larger than all of them may be");
    a.take(a.client.call(&scripts::TAKE_ANSWER).arg("s").arg("2").arg("withdraw")).await;
    assert!(a.take(give(&a, "3", 1_000)).await.flag().unwrap());
    a.take(a.client.call(&scripts::FINISH).arg("s").arg(1)).await;
    assert_eq!(ask(&server, "hget", "s:s", &["answers"]), "0");
}

#[tokio::test]
async fn taken_answers_can_be_taken_again_for_a_minute() {
    let server = RedisServer::start();
    let a = Process::new(&server, LONG);
    asked(&a, "s", &["1", "2", "3"]).await;
    let take =
        |request: &str, token: &str| a.client.call_with(&scripts::TAKE_ANSWER, token).arg("s").arg(request).arg("take");
    for (request, length) in [("1", 10), ("2", 10), ("3", 70_000)] {
        a.take(give(&a, request, length)).await;
        for _ in 0..2 {
            let mut taken = a.take(take(request, request)).await;
            assert_eq!((taken.text().unwrap(), taken.bytes().unwrap().len()), ("given".to_owned(), length));
        }
        assert_eq!(a.client.take(take(request, "other")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    }
    assert_eq!(a.client.take(take("1", "1")).await.unwrap_err().kind(), StoreErrorKind::NotFound, "there was no room");
    let ttl: i64 = ask(&server, "ttl", "k:s", &[]).parse().unwrap();
    assert!((1..=60).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn lists_are_complete_while_sessions_end() {
    let server = RedisServer::start();
    let node = Node::join(server.url(), options()).await;
    let alice = Principal::new("alice");
    let mut sessions = Vec::new();
    for _ in 0..400 {
        let create = opening(Some(&alice));
        sessions.push(create.info.id);
        node.engine.create(create).await.unwrap();
    }
    // Returns the number of rows of a page, and the cursor of the next one.
    let client = &node.engine.inner.client;
    let page = async |name: &str, age: &str| {
        let mut reply = client.take(client.call(&scripts::LIST).arg(name).arg(age)).await.unwrap();
        let rows = reply.list().unwrap().count();
        (rows, reply.text().unwrap_or_default(), reply.text().unwrap_or_default())
    };
    let (rows, name, age) = page("", "-inf").await;
    assert_eq!(rows, 256);
    for session in [0, 100, 255] {
        node.engine.end_session(sessions[session], EndReason::Closed).await.unwrap();
        assert_eq!(page(&name, &age).await.0, 400 - 256, "with {session} gone");
    }
    assert_eq!(page(&client.names().session(sessions[399]), "0").await, (0, String::new(), String::new()));
    ask(&server, "hset", &format!("s:{}", client.names().session(sessions[7])), &["info", "unreadable"]);
    assert_eq!(node.engine.list().await.unwrap().len(), 396);
    let own = node.engine.sessions_of(&alice).await.unwrap();
    assert_eq!(own.len(), 397, "also those that cannot be read");
    assert!(own.contains(&sessions[7]) && !own.contains(&sessions[100]));
    assert!(node.engine.sessions_of(&Principal::new("bob")).await.unwrap().is_empty());
    assert_eq!(node.engine.peek(sessions[1]).await.unwrap().principal, Some(alice));
    assert_eq!(node.engine.peek(SessionId::random()).await.unwrap_err().kind(), StoreErrorKind::NotFound);
}

/// Begins a call in a new session and appends events, given by kind and length, to its stream. `kept`: how many bytes
/// all sessions may keep.
async fn written(a: &Process, session: &str, kept: usize, events: &[(&str, usize)]) -> Result<()> {
    a.create_of_many(session).await;
    let stream = a.take(a.begin(session, session)).await.number::<u32>().unwrap();
    let append = a.client.call(&scripts::APPEND).arg(session).arg(stream).arg(&a.node).arg(1).arg(0);
    let append = append.arg(1_000).arg(1_000_000).arg(1_000_000).arg(1_000_000).arg(100).arg(kept);
    let append = events.iter().fold(append, |append, (kind, length)| append.arg(kind).arg("x".repeat(*length)));
    a.client.take(append).await.map(drop)
}

#[tokio::test]
async fn capacity_is_found_beyond_the_largest_sessions() {
    let server = RedisServer::start();
    for principal in ["", "alice"] {
        let mut a = Process::new(&server, LONG);
        server.command(&["flushall"]);
        principal.clone_into(&mut a.principal);
        // The largest sessions have only open requests to the client. A small one has a notification to drop.
        for session in 0..70 {
            written(&a, &session.to_string(), 1_000_000, &[(&format!("q{session}"), 200)]).await.unwrap();
        }
        written(&a, "small", 1_000_000, &[("n", 100), ("n", 10)]).await.unwrap();
        // A random choice is examined, which holds the small session nearly always.
        let mut tries = 0;
        while written(&a, &format!("new{tries}"), 70 * 200 + 150, &[("n", 50)]).await.is_err() {
            tries += 1;
            assert!(tries < 50, "{principal:?}");
        }
        assert_eq!(ask(&server, "get", "sum", &[]), (70 * 200 + 10 + 50).to_string(), "{principal:?}");
    }
}

/// Returns how often the server ran a command.
fn calls_of(server: &RedisServer, command: &str) -> usize {
    let stats = server.command(&["info", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls="))).unwrap_or("0,");
    line.split_once(',').unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn creates_compare_few_sessions_of_large_accounts() {
    let server = RedisServer::start();
    let mut a = Process::new(&server, LONG);
    "alice".clone_into(&mut a.principal);
    for session in 0..600 {
        a.create_of_many(&session.to_string()).await;
    }
    let create = |session: &str, limit: usize| {
        let create = a.call(&scripts::CREATE).arg(session).arg("info").arg(&a.principal).arg(1);
        create.arg(10_000).arg(limit).arg(&a.principal)
    };
    let listed = calls_of(&server, "smembers");
    assert_eq!(a.take(create("a", 600)).await.list().unwrap().count(), 1);
    assert_eq!(calls_of(&server, "smembers"), listed, "the whole account was read");

    // After the limit was lowered, one pass finds all that leave. The newest stay.
    let compared = calls_of(&server, "zmscore");
    assert_eq!(a.take(create("b", 10)).await.list().unwrap().count(), 591);
    assert!(calls_of(&server, "zmscore") - compared <= 2, "{compared}");
    let left = ask(&server, "smembers", "of:alice", &[]);
    let mut left: Vec<&str> = left.lines().collect();
    left.sort_unstable();
    assert_eq!(left, ["592", "593", "594", "595", "596", "597", "598", "599", "a", "b"]);
}

#[tokio::test]
async fn the_sum_of_bytes_survives_keys_that_vanish() {
    let server = RedisServer::start();
    let mut a = Process::new(&server, LONG);
    written(&a, "one", 1_000_000, &[("n", 100)]).await.unwrap();
    "alice".clone_into(&mut a.principal);
    for session in ["two", "three"] {
        written(&a, session, 1_000_000, &[("n", 500), ("n", 500)]).await.unwrap();
    }
    let sum = || ask(&server, "get", "sum", &[]);
    assert_eq!(sum(), "2100");
    let check = async || {
        ask(&server, "del", "counted", &[]);
        a.take(a.expire(LONG, LONG)).await;
    };
    ask(&server, "del", "sum", &[]);
    written(&a, "four", 2_200, &[("r", 1_100)]).await.unwrap();
    assert_eq!(sum(), "2200", "it was not counted again before the append");
    ask(&server, "set", "sum", &["7"]);
    check().await;
    assert_eq!(sum(), "2200");
    for session in ["one", "two", "three", "four"] {
        ask(&server, "del", &format!("s:{session}"), &[]);
    }
    check().await;
    assert_eq!((sum(), ask(&server, "zcard", "large", &[])), (String::new(), "0".to_owned()));
    assert_eq!(ask(&server, "scard", "of:alice", &[]), "0");
}

#[tokio::test]
async fn a_repeated_append_reports_the_same_losses() {
    let server = RedisServer::start();
    let a = Process::new(&server, LONG);
    a.create("s").await;
    let append = async |stream: u32, close: u8, events: &[(&str, usize)]| {
        let append = a.client.call(&scripts::APPEND).arg("s").arg(stream).arg(&a.node).arg(1).arg(close);
        let append = append.arg(1).arg(10_000).arg(1_000).arg(0).arg(100).arg(1_000_000);
        let append = events.iter().fold(append, |append, (kind, length)| append.arg(kind).arg("x".repeat(*length)));
        let mut reply = a.take(append).await;
        let _ = (reply.flag().unwrap(), reply.number::<usize>().unwrap());
        (reply.number::<usize>().unwrap(), reply.number::<usize>().unwrap())
    };
    let begin = async |token: &str| a.take(a.begin("s", token)).await.number::<u32>().unwrap();
    let (first, second, third) = (begin("1").await, begin("2").await, begin("3").await);
    assert_eq!(append(first, 1, &[("r", 600)]).await, (0, 0));
    for (stream, close, events, expected) in
        [(second, 0, &[("n", 10), ("n", 10), ("r", 700)][..], (2, 1)), (third, 1, &[("r", 800)], (0, 0))]
    {
        let reported = append(stream, close, events).await;
        assert_eq!(reported, expected, "stream {stream}");
        assert_eq!(append(stream, close, events).await, reported, "a repetition");
    }
}
