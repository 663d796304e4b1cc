//! Tests of the Redis engine when the server or the connection misbehaves.

#[cfg(feature = "redis-cluster")]
mod cluster;
mod leases;
mod limits;
mod outages;
#[path = "../../../../tests/support/redis.rs"]
mod redis_server;

use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

use redis_server::RedisServer;
use tokio::sync::Notify;

use super::connection::SharedConnection;
use super::pseudonyms::Pseudonyms;
use super::server::Server;
use super::signals::Signals;
use super::*;
use crate::identity::SessionInfo;
use crate::message::{Implementation, ProtocolVersion};
use crate::store::{EventKind, STANDALONE, Signal};

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Options with which no process counts as dead, however busy the machine is.
fn options() -> RedisOptions {
    RedisOptions::new().lease(LONG * 10).timeout(LONG)
}

/// A signal handler that records signals.
#[derive(Debug, Default)]
struct Recorder {
    received: Mutex<Vec<Signal>>,
    changed: Notify,
}

impl SignalHandler for Recorder {
    fn signal(&self, signal: Signal) {
        self.received.lock().unwrap().push(signal);
        self.changed.notify_one();
    }
}

impl Recorder {
    fn clear(&self) {
        self.received.lock().unwrap().clear();
    }

    async fn receives(&self, wanted: &Signal) {
        let heard = async {
            while !self.received.lock().unwrap().contains(wanted) {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(LONG, heard).await.unwrap_or_else(|_| panic!("{wanted:?} was not rung"));
    }
}

/// A node with an engine of its own.
struct Node {
    engine: RedisEngine,
    ear: Arc<Recorder>,
    id: NodeId,
}

impl Node {
    async fn join(url: String, options: RedisOptions) -> Self {
        Self::on(RedisEngine::connect_with(url, options).await.unwrap())
    }

    fn on(engine: RedisEngine) -> Self {
        let ear = Arc::new(Recorder::default());
        let id = engine.join(Arc::clone(&ear) as _, Policy::default());
        Self { engine, ear, id }
    }

    async fn session(&self) -> SessionId {
        let create = opening(None);
        let session = create.info.id;
        self.engine.create(create).await.unwrap();
        session
    }

    async fn begin(&self, session: SessionId, id: i64) -> Result<StreamNo> {
        let begin = Begin { session, principal: None, node: self.id, ids: &[id.into()], unique: false };
        self.engine.begin(begin).await.map(|begun| begun.stream)
    }

    async fn append(&self, session: SessionId, stream: StreamNo, first: u64, event: Event) -> Result<Appended> {
        self.engine.append(Append { session, stream, node: self.id, first, events: vec![event], close: false }).await
    }

    async fn attach(&self, session: SessionId, stream: StreamNo) -> Result<Attached> {
        let attach = Attach { session, principal: None, stream, node: self.id, after: Some(0), takeover: true };
        self.engine.attach(attach).await
    }

    /// Returns the number of calls in flight and of readers, in all sessions.
    async fn in_use(&self) -> (usize, usize) {
        let list = self.engine.list().await.unwrap();
        (list.iter().map(|session| session.calls).sum(), list.iter().map(|session| session.readers).sum())
    }
}

fn opening(principal: Option<&Principal>) -> Create {
    let info = SessionInfo {
        id: SessionId::random(),
        principal: principal.cloned(),
        peer: None,
        version: ProtocolVersion::V2025_11_25,
        client: Arc::new(Implementation { name: "client".into(), version: "1".into(), title: None }),
        capabilities: Arc::default(),
        opened_at: SystemTime::UNIX_EPOCH,
    };
    Create { info: Arc::new(info), epoch: 7 }
}

fn request_event(id: &'static str) -> Event {
    Event { kind: EventKind::Request(id.into()), payload: id.into() }
}

fn answer() -> Outcome {
    Ok(RawJson::empty_object())
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Stops or continues the server process.
fn signal(server: &RedisServer, signal: &str) {
    let sent = Command::new("kill").args([signal, &server.process_id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Adds the bounds of a log, of a session, of its finished streams and of all sessions.
fn bounded(call: Call, session_bytes: usize, finished: usize) -> Call {
    call.arg(100).arg(10_000).arg(session_bytes).arg(1_000_000).arg(finished).arg(100_000_000)
}

/// A process as the server sees it. It sends a heartbeat only when a test calls for one.
struct Process {
    client: Client,
    node: String,
    principal: String,
}

impl Process {
    fn new(server: &RedisServer, lease: Duration) -> Self {
        let options = options().lease(lease);
        let line = SharedConnection::new(Server::one(&server.url(), &options).unwrap());
        let client = Client::new(line, Arc::new(Signals::new()), Pseudonyms::new(b"x", false), &options);
        let node = signals::text(client.signals.join(Arc::new(Recorder::default())));
        Self { client, node, principal: String::new() }
    }

    async fn take(&self, call: Call) -> Reply {
        self.client.take(call).await.unwrap()
    }

    fn call(&self, script: &'static std::sync::LazyLock<redis::Script>) -> Call {
        self.client.call_with(script, &self.client.token())
    }

    async fn create(&self, session: &str) {
        let create = self.call(&scripts::CREATE).arg(session).arg("info").arg(&self.principal).arg(1);
        self.take(create.arg(100).arg(100).arg(&self.principal)).await;
    }

    /// Creates a session, of as many as a test may need.
    async fn create_of_many(&self, session: &str) {
        let create = self.call(&scripts::CREATE).arg(session).arg("info").arg(&self.principal).arg(1);
        self.take(create.arg(10_000).arg(10_000).arg(&self.principal)).await;
    }

    /// Begins a call with a given token.
    fn begin(&self, session: &str, token: &str) -> Call {
        let begin = self.client.call_with(&scripts::BEGIN, token).arg(session).arg(&self.principal).arg(&self.node);
        begin.arg(0).arg(100).arg(100).arg("1").arg("n:1")
    }

    fn attach(&self, session: &str, token: &str) -> Call {
        let attach = self.client.call_with(&scripts::ATTACH, token).arg(session).arg(&self.principal).arg(0);
        attach.arg(&self.node).arg("").arg(1).arg(100).arg(5000)
    }

    fn publish(&self, session: &str, kind: &str, text: &str) -> Call {
        let publish = self.call(&scripts::PUBLISH).arg(session).arg(&self.node).arg(kind).arg(text);
        bounded(publish, 10_000, 100)
    }

    /// Sends a heartbeat that acknowledges the registration `knows`. Returns the registration that
    /// the server still reports.
    async fn beat(&self, knows: &str) -> String {
        let beat = self.client.call(&scripts::BEAT).arg("{\"id\":").arg("}").arg(64).arg(knows);
        self.take(beat).await.text().unwrap()
    }

    fn expire(&self, idle: Duration, kept: Duration) -> Call {
        self.call(&scripts::EXPIRE).arg(client::micros(idle)).arg("").arg(client::micros(kept)).arg(64)
    }

    fn create_task(&self, task: &str, ttl: Duration, limit: usize, document: &str) -> Call {
        let create = self.call(&scripts::CREATE_TASK).arg(task).arg(&self.principal).arg(&self.node);
        create
            .arg(client::micros(ttl))
            .arg(1_000_000)
            .arg(limit)
            .arg(1_000_000)
            .arg(1_000_000)
            .arg(&self.principal)
            .arg(document)
    }
}

/// Returns a key of the namespace.
fn key(name: &str) -> String {
    format!("mcp:{{0}}:{name}")
}

fn ask(server: &RedisServer, command: &str, name: &str, more: &[&str]) -> String {
    let key = key(name);
    server.command(&[&[command, &*key][..], more].concat()).trim().to_owned()
}
