//! Stores: one interface for the same work on each of them.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use mcp_http::SessionId;
use mcp_http::message::{Implementation, ProtocolVersion, RequestId};
use mcp_http::store::engine::{
    Append, Attach, Begin, CallStore as _, Create, Event, EventKind, Membership as _, NodeId, SessionStore as _,
    Signal, SignalHandler, StreamNo, StreamStore as _,
};
use mcp_http::store::{Durability, EndReason, FileEngine, Policy};

use crate::Error;
use crate::databases::{Bare, Fjall, Redb};
use crate::group::{Group, Op, SessionKey};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Bare,
    File,
    Fjall,
    Redb,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::File, Self::Fjall, Self::Redb];
    /// The stores that can be reopened.
    pub(crate) const ENGINES: [Self; 3] = [Self::File, Self::Fjall, Self::Redb];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare-file",
            Self::File => "FileEngine",
            Self::Fjall => "fjall",
            Self::Redb => "redb",
        }
    }

    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| format!("{name}: no store").into())
    }

    /// Returns `true` if the store can survive the end of the process without a sync.
    pub(crate) fn survives_a_process_without_sync(self) -> bool {
        self != Self::Redb
    }

    pub(crate) fn needs_sync(self) -> bool {
        !self.survives_a_process_without_sync()
    }
}

#[derive(Clone)]
pub(crate) enum Store {
    File(FileEngine, NodeId),
    Database(Arc<Group>, Option<Reading>),
}

#[derive(Clone)]
pub(crate) enum Reading {
    Fjall(Fjall),
    Redb(Redb),
}

#[derive(Debug)]
struct Silent;

impl SignalHandler for Silent {
    fn signal(&self, _: Signal) {}
}

impl Store {
    pub(crate) fn open(kind: Kind, folder: &Path, sync: bool) -> Result<Self, Error> {
        Ok(match kind {
            Kind::Bare => Self::Database(Arc::new(Group::start(Bare::open(folder, sync)?)), None),
            Kind::File => {
                let durability = if sync { Durability::PowerLoss } else { Durability::ProcessCrash };
                let engine = FileEngine::open(folder, durability)?;
                let node = engine.join(Arc::new(Silent), policy());
                Self::File(engine, node)
            }
            Kind::Fjall => {
                let fjall = Fjall::open(folder, sync)?;
                Self::Database(Arc::new(Group::start(fjall.clone())), Some(Reading::Fjall(fjall)))
            }
            Kind::Redb => {
                let redb = Redb::open(folder)?;
                Self::Database(Arc::new(Group::start(redb.clone())), Some(Reading::Redb(redb)))
            }
        })
    }

    /// Opens a session with a streaming call.
    pub(crate) async fn lane(&self) -> Result<Lane, Error> {
        match self {
            Self::File(engine, node) => {
                let (info, session) = info();
                engine.create(Create::new(Arc::new(info), 1)).await?;
                let ids = [RequestId::from(1)];
                let begin = Begin::new(session, None, *node, &ids);
                let stream = engine.begin(begin).await?.stream;
                Ok(Lane::File { engine: engine.clone(), node: *node, session, stream, next: 1 })
            }
            Self::Database(group, _) => {
                let (_, id) = info();
                let mut session = SessionKey::default();
                session.copy_from_slice(&id.to_string().as_bytes()[..16]);
                let info = Bytes::from(vec![b'i'; 300]);
                Group::written(group.give(Op::Open { session, info })).await?;
                Ok(Lane::Database { group: Arc::clone(group), session, next: 1 })
            }
        }
    }

    /// Returns the number of sessions, and the total size of the handlers' events.
    pub(crate) async fn read_all(&self) -> Result<(usize, usize), Error> {
        match self {
            Self::File(engine, node) => {
                let (mut sessions, mut bytes) = (0, 0);
                for summary in engine.list().await? {
                    let (session, stream) = (summary.info.id, 1);
                    let mut attach = Attach::new(session, None, stream, *node);
                    (attach.after, attach.takeover) = (Some(0), true);
                    let reader = engine.attach(attach).await?;
                    let page = engine.read_after(session, stream, reader.generation, 0, usize::MAX).await?;
                    bytes += page
                        .events
                        .iter()
                        .map(|event| event.payload.len())
                        .filter(|size| *size == crate::EVENT)
                        .sum::<usize>();
                    sessions += 1;
                }
                Ok((sessions, bytes))
            }
            Self::Database(_, Some(Reading::Fjall(fjall))) => fjall.read_all(),
            Self::Database(_, Some(Reading::Redb(redb))) => redb.read_all(),
            Self::Database(_, None) => Ok((0, 0)),
        }
    }
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    policy.max_sessions = 100_000;
    policy
}

fn info() -> (mcp_http::SessionInfo, SessionId) {
    let id = SessionId::random();
    let client = Implementation::new("client", "1");
    (mcp_http::SessionInfo::new(id, ProtocolVersion::V2025_11_25, client, SystemTime::now()), id)
}

pub(crate) enum Lane {
    File { engine: FileEngine, node: NodeId, session: SessionId, stream: StreamNo, next: u64 },
    Database { group: Arc<Group>, session: SessionKey, next: u64 },
}

impl Lane {
    /// Appends an event and waits until it is durable.
    pub(crate) async fn append(&mut self, payload: Bytes) -> Result<(), Error> {
        self.give(payload).await
    }

    /// Like [`append`](Self::append), but starts the operation before the future is polled.
    pub(crate) fn give(&mut self, payload: Bytes) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
        match self {
            Self::File { engine, node, session, stream, next } => {
                let events = vec![Event::new(EventKind::Notification, payload)];
                let append = Append::new(*session, *stream, *node, *next, events);
                *next += 1;
                let step = engine.append(append);
                Box::pin(async move { Ok(step.await.map(drop)?) })
            }
            Self::Database { group, session, next } => {
                let written = group.give(Op::Event { session: *session, seq: *next, payload });
                *next += 1;
                Box::pin(Group::written(written))
            }
        }
    }

    pub(crate) async fn end(self) -> Result<(), Error> {
        match self {
            Self::File { engine, session, .. } => drop(engine.end_session(session, EndReason::Deleted).await?),
            Self::Database { group, session, next } => {
                Group::written(group.give(Op::End { session, events: next - 1 })).await?;
            }
        }
        Ok(())
    }
}
