//! Direct use of the engine, without a service and its connections, for measurements that would
//! need too many of those.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use bytes::Bytes;
use mcp_http::message::{Implementation, ProtocolVersion, RequestId};
use mcp_http::store::engine::{
    Append, Attach, Begin, CallStore as _, Create, Event, EventKind, Membership as _, NodeId, SessionStore as _,
    Signal, SignalHandler, StreamNo, StreamStore as _,
};
use mcp_http::store::{Policy, RedisEngine, RedisOptions};
use mcp_http::{SessionId, SessionInfo};

use crate::node::EVENT;

/// An engine that one node has joined.
pub(crate) struct Direct {
    pub(crate) engine: RedisEngine,
    pub(crate) node: NodeId,
}

#[derive(Debug)]
struct Silent;

impl SignalHandler for Silent {
    fn signal(&self, _: Signal) {}
}

/// A stream that is being written.
pub(crate) struct Lane {
    pub(crate) session: SessionId,
    pub(crate) stream: StreamNo,
    next: u64,
}

impl Direct {
    pub(crate) async fn connect(url: &str, namespace: &str) -> Result<Self> {
        Self::with_lease(url, namespace, RedisOptions::DEFAULT_LEASE).await
    }

    pub(crate) async fn with_lease(url: &str, namespace: &str, lease: Duration) -> Result<Self> {
        // A long timeout, because the benchmark loads the server fully.
        let options = RedisOptions::new().namespace(namespace).lease(lease).timeout(Duration::from_secs(20));
        let engine = RedisEngine::connect_with(url, options).await?;
        let mut policy = Policy::default();
        policy.max_sessions = 2_000_000;
        let node = engine.join(Arc::new(Silent), policy);
        Ok(Self { engine, node })
    }

    pub(crate) async fn session(&self) -> Result<SessionId> {
        let id = SessionId::random();
        let client = Implementation::new("a client of usual size", "1.0.0");
        let info = SessionInfo::new(id, ProtocolVersion::V2025_11_25, client, SystemTime::now());
        self.engine.create(Create::new(Arc::new(info), 1)).await?;
        Ok(id)
    }

    /// Begins a call in a session.
    pub(crate) async fn call(&self, session: SessionId) -> Result<Lane> {
        let ids = [RequestId::from(1)];
        let begin = Begin::new(session, None, self.node, &ids);
        Ok(Lane { session, stream: self.engine.begin(begin).await?.stream, next: 1 })
    }

    pub(crate) async fn lane(&self) -> Result<Lane> {
        self.call(self.session().await?).await
    }

    /// Appends `count` events in one operation. With `close`, the last one ends the stream.
    pub(crate) async fn append(&self, lane: &mut Lane, count: usize, close: bool) -> Result<()> {
        let mut events = vec![Event::new(EventKind::Notification, event()); count];
        if close && let Some(last) = events.last_mut() {
            last.kind = EventKind::Response;
        }
        let (session, stream, first) = (lane.session, lane.stream, lane.next);
        lane.next += count as u64;
        let mut append = Append::new(session, stream, self.node, first, events);
        append.close = close;
        self.engine.append(append).await?;
        Ok(())
    }

    /// Attaches as the reader of a stream.
    pub(crate) async fn attach(&self, session: SessionId, stream: StreamNo) -> Result<u32> {
        let mut attach = Attach::new(session, None, stream, self.node);
        attach.takeover = true;
        Ok(self.engine.attach(attach).await?.generation)
    }

    /// Reads the events after one event. There must be at least one.
    pub(crate) async fn read_after(&self, session: SessionId, stream: StreamNo, reader: u32, event: u64) -> Result<()> {
        let page = self.engine.read_after(session, stream, reader, event, usize::MAX).await?;
        ensure!(!page.events.is_empty(), "nothing to read");
        Ok(())
    }
}

/// Returns an event that Redis cannot compress.
fn event() -> Bytes {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new();
    let words = (0..EVENT / 16).map(|word| format!("{:016x}", random.hash_one(word)));
    Bytes::from(format!("\"{}\"", &words.collect::<String>()[..EVENT - 2]))
}
