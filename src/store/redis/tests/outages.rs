//! Tests of outages: what is lost and what is kept when an operation is sent and its reply does not
//! arrive.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn hasty() -> RedisOptions {
    options().timeout(Duration::from_millis(500)).retry_timeout(Duration::from_millis(500))
}

#[tokio::test]
async fn repeated_answers_signal_again() {
    let server = RedisServer::start();
    let node = Node::join(server.url(), hasty()).await;
    let session = node.session().await;
    let stream = node.begin(session, 1).await.unwrap();
    node.append(session, stream, 1, request_event("q")).await.unwrap();
    // Loads the script into the server. It is sent in full once, and by its hash afterwards.
    node.engine.answer_request(session, "another", answer()).await.unwrap_err();
    node.ear.clear();
    signal(&server, "-STOP");
    let given = node.engine.answer_request(session, "q", answer()).await;
    assert_eq!(given.unwrap_err().kind(), StoreErrorKind::Unavailable);
    signal(&server, "-CONT");
    eventually("the server answers", async || node.engine.count().await.is_ok()).await;
    node.ear.receives(&Signal::Resync).await;
    // The answer was stored although its reply was lost. If the client repeats it, the signal is
    // sent again.
    node.ear.clear();
    assert!(!node.engine.answer_request(session, "q", answer()).await.unwrap());
    node.ear.receives(&Signal::Answer { session, request: "q".into() }).await;
    assert_eq!(node.engine.take_answer(session, "q").await.unwrap(), Some(answer()));
}

#[tokio::test]
async fn dropped_operations_still_signal() {
    let server = RedisServer::start();
    let node = Node::join(server.url(), options()).await;
    let session = node.session().await;
    let stream = node.begin(session, 1).await.unwrap();
    node.append(session, stream, 1, request_event("q")).await.unwrap();
    let reader = node.attach(session, STANDALONE).await.unwrap();
    signal(&server, "-STOP");
    for mut step in [
        node.engine.answer_request(session, "q", answer()).now().unwrap_err(),
        node.engine.cancel(session, &1.into()).now().unwrap_err(),
    ] {
        assert!(futures_util::poll!(&mut step).is_pending());
    }
    let attach = Attach { session, principal: None, stream: STANDALONE, node: node.id, after: None, takeover: true };
    assert!(futures_util::poll!(&mut node.engine.attach(attach)).is_pending());
    signal(&server, "-CONT");
    let replaced = Signal::Detach {
        session,
        stream: STANDALONE,
        generation: reader.generation,
        retry: Some(crate::store::log::TAKEN_OVER_RETRY),
    };
    for signal in
        [Signal::Answer { session, request: "q".into() }, Signal::Cancel { session, stream, id: 1.into() }, replaced]
    {
        node.ear.receives(&signal).await;
    }
    eventually("the reader nobody waited for is gone", async || node.in_use().await == (1, 0)).await;
}

#[tokio::test]
async fn releases_wait_for_the_server() {
    let mut server = RedisServer::start();
    let node = Node::join(server.url(), hasty()).await;
    let session = node.session().await;
    let other = node.session().await;
    let stream = node.begin(session, 1).await.unwrap();
    node.append(session, stream, 1, request_event("q")).await.unwrap();
    let reader = node.attach(session, STANDALONE).await.unwrap();
    server.kill();
    // The engine is responsible for these operations: the caller does not repeat them.
    node.engine.finish(session, stream).await.unwrap();
    node.engine.detach(session, STANDALONE, reader.generation).await.unwrap();
    node.engine.withdraw_request(session, "q").await.unwrap();
    node.engine.discard_session(other).await.unwrap();
    let undo_queue = &node.engine.inner.undo_queue;
    assert_eq!(undo_queue.max_capacity() - undo_queue.capacity(), 3, "beside the one that is being tried");
    // Longer than an operation is retried for a waiting caller.
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.start_again();
    eventually("it is given back", async || node.engine.list().await.is_ok() && node.in_use().await == (0, 0)).await;
    eventually("the other session is gone", async || node.engine.count().await.is_ok_and(|count| count == 1)).await;
}

#[tokio::test]
async fn unsent_operations_are_not_undone() {
    let mut server = RedisServer::start();
    let node = Node::join(server.url(), hasty()).await;
    let session = node.session().await;
    server.kill();
    eventually("the connection is known to be broken", async || node.begin(session, 1).await.is_err()).await;
    for id in 0..3 {
        node.begin(session, id).await.unwrap_err();
    }
    // A release that is being run has left the queue, and would not be counted.
    let undo_queue = &node.engine.inner.undo_queue;
    assert_eq!(undo_queue.capacity(), undo_queue.max_capacity());
}

/// The connection leads nowhere, and each of its own timeouts would take a minute.
#[tokio::test]
async fn operations_end_at_their_timeout() {
    let server = RedisServer::start();
    let nowhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let silent = format!("redis://{}/", nowhere.local_addr().unwrap());
    for (url, unknown) in [(silent, false), (server.url(), true)] {
        let line = SharedConnection::new(Server::one(&url, &options()).unwrap());
        let sent =
            line.send(Duration::from_secs(2), async |_| std::future::pending::<std::result::Result<(), _>>().await);
        let failure = tokio::time::timeout(LONG / 2, sent).await.expect("it waits on").unwrap_err();
        assert_eq!(failure.unknown, unknown, "{url}: {failure:?}");
    }
}

#[tokio::test]
async fn full_servers_accept_releases_and_heartbeats() {
    let server = RedisServer::start();
    let node = Node::join(server.url(), options()).await;
    let session = node.session().await;
    let stream = node.begin(session, 1).await.unwrap();
    let reader = node.attach(session, STANDALONE).await.unwrap();
    server.command(&["config", "set", "maxmemory", "1"]);
    let rejected =
        node.engine.inner.client.take(node.engine.inner.client.call(&scripts::ANNOUNCE).arg("x").arg(9).arg(99));
    assert!(tokio::time::timeout(Duration::from_millis(300), rejected).await.is_err(), "it is not full");
    node.engine.detach(session, STANDALONE, reader.generation).await.unwrap();
    node.engine.finish(session, stream).await.unwrap();
    node.engine.expire(node.id).await.unwrap();
    heartbeat::begin(&node.engine.inner.client).await;
    assert_eq!(node.in_use().await, (0, 0));
}

/// Opens an address that forwards new connections to a server that the test can exchange.
async fn address(server: &RedisServer) -> (String, Arc<AtomicU16>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let behind = Arc::new(AtomicU16::new(server.port()));
    let port = Arc::clone(&behind);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, port.load(Ordering::Relaxed))).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    (url, behind)
}

#[tokio::test]
async fn demoted_masters_are_left() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    new.command(&["replicaof", "127.0.0.1", &old.port().to_string()]);
    let (url, behind) = address(&old).await;
    let node = Node::join(url, options()).await;
    let session = node.session().await;
    old.command(&["wait", "1", "60000"]);
    new.command(&["replicaof", "no", "one"]);
    behind.store(new.port(), Ordering::Relaxed);
    // The old server stays up, with its connections.
    old.command(&["replicaof", "127.0.0.1", &new.port().to_string()]);
    node.begin(session, 1).await.unwrap();
    assert_eq!(
        new.command(&["hlen", &key(&format!("c:{}", node.engine.inner.client.names().session(session)))]).trim(),
        "1"
    );
}
