//! What steps must do when the server, or the way to it, does what it should not.

mod outages;
#[path = "../../../../tests/support/redis.rs"]
mod redis_server;

use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

use redis_server::RedisServer;
use tokio::sync::Notify;

use super::line::Line;
use super::names::Names;
use super::server::Server;
use super::*;
use crate::identity::SessionInfo;
use crate::message::{Implementation, ProtocolVersion};
use crate::store::{EventKind, Ring, STANDALONE};

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Nobody counts as away, however busy the machine is.
fn options() -> RedisOptions {
    RedisOptions::new().lease(LONG * 10).timeout(LONG)
}

/// A bell that remembers.
#[derive(Debug, Default)]
struct Ear {
    heard: Mutex<Vec<Ring>>,
    news: Notify,
}

impl Doorbell for Ear {
    fn ring(&self, ring: Ring) {
        self.heard.lock().unwrap().push(ring);
        self.news.notify_one();
    }
}

impl Ear {
    fn clear(&self) {
        self.heard.lock().unwrap().clear();
    }

    async fn hears(&self, wanted: &Ring) {
        let heard = async {
            while !self.heard.lock().unwrap().contains(wanted) {
                self.news.notified().await;
            }
        };
        tokio::time::timeout(LONG, heard).await.unwrap_or_else(|_| panic!("{wanted:?} was not rung"));
    }
}

/// A node on an engine of its own.
struct Node {
    engine: RedisEngine,
    ear: Arc<Ear>,
    id: NodeId,
}

impl Node {
    async fn join(url: String, options: RedisOptions) -> Self {
        Self::on(RedisEngine::connect_with(url, options).await.unwrap())
    }

    fn on(engine: RedisEngine) -> Self {
        let ear = Arc::new(Ear::default());
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
        self.engine.begin(Begin { session, principal: None, node: self.id, ids: &[id.into()], unique: false }).await
    }

    async fn append(&self, session: SessionId, stream: StreamNo, first: u64, event: Event) -> Result<Appended> {
        self.engine.append(Append { session, stream, node: self.id, first, events: vec![event], close: false }).await
    }

    async fn attach(&self, session: SessionId, stream: StreamNo) -> Result<Attached> {
        let attach = Attach { session, principal: None, stream, node: self.id, after: Some(0), takeover: true };
        self.engine.attach(attach).await
    }

    /// Calls in flight and readers, of all sessions.
    async fn in_use(&self) -> (usize, usize) {
        let list = self.engine.list().await.unwrap();
        (list.iter().map(|session| session.calls).sum(), list.iter().map(|session| session.readers).sum())
    }
}

fn opening(principal: Option<&Principal>) -> Create {
    let info = SessionInfo {
        id: SessionId::random(),
        principal: principal.cloned(),
        version: ProtocolVersion::V2025_11_25,
        client: Arc::new(Implementation { name: "client".into(), version: "1".into(), title: None }),
        capabilities: Arc::default(),
        opened_at: SystemTime::UNIX_EPOCH,
    };
    Create { info: Arc::new(info), epoch: 7 }
}

fn note(text: &'static str) -> Event {
    Event { kind: EventKind::Notification, payload: text.into() }
}

fn question(id: &'static str) -> Event {
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

/// Has the server stand still, or go on.
fn signal(server: &RedisServer, signal: &str) {
    let sent = Command::new("kill").args([signal, &server.process_id().to_string()]).status().unwrap();
    assert!(sent.success());
}
