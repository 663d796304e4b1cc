//! The Redis engine: nodes on many machines share sessions and tasks in one Redis server. Each
//! operation is one script, which the server runs alone. The same script signals the nodes
//! concerned.
//!
//! ```text
//!  operation -> link -> script (decides, stores, signals) -> reply, with the signals for this process
//!                         |
//!                         +-> PUBLISH -> subscriber -> signals -> the node that waits
//! ```
//!
//! Invariants:
//!
//! 1. A script decides everything on which two nodes could disagree, by the server's clock. A node
//!    keeps no state of its own but its signal handler.
//! 2. A script may arrive twice. The repetition gives the same answer as the first run.
//! 3. After any moment in which a signal may have been lost, every node re-checks its state.
//! 4. The data in Redis reveals no id, no principal and no facts about a client. What clients and
//!    handlers send each other is stored in the clear unless
//!    [`seal_messages`](RedisOptions::seal_messages) is set.
//! 5. All keys of a namespace have the same hash tag, so they share one slot. This makes every
//!    limit exact, and it limits an engine to one core of one server.
//! 6. A process releases what it acquired for as long as it lives. If a release overtakes the
//!    acquisition, the acquisition has no effect when it arrives.

mod agreement;
mod announcements;
mod client;
mod connection;
mod encryption;
mod heartbeat;
mod open;
mod options;
mod pseudonyms;
mod reply;
mod scripts;
mod server;
mod sessions;
mod signals;
mod streams;
mod subscriber;
mod tasks;
#[cfg(test)]
mod tests;
#[cfg(feature = "redis-tls")]
mod tls;
mod undo;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::DropGuard;

pub use self::options::{ConnectError, RedisOptions};

use self::client::{Call, Client};
use self::heartbeat::Departures;
use self::reply::Reply;
use self::undo::{Undo, UndoQueue};
use super::engine::{CallStore, Membership, SessionStore, StreamStore, TaskStore};
use super::{
    Announced, Append, Appended, Attach, Attached, Begin, Begun, Create, CreateTask, Deliver, Delivered, EndReason,
    Ended, EngineFuture, Event, Loaded, LoadedTask, NodeId, Page, Policy, SessionSummary, SessionUpdate, SignalHandler,
    StateValue, StoreTask, StreamNo,
};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId, SessionInfo, TaskId};
use crate::message::{RawJson, RequestId};

type Result<T> = std::result::Result<T, StoreError>;
type Outcome = std::result::Result<RawJson, RawJson>;

/// Sessions and tasks in a Redis server (7.0 or later) or Valkey: any node serves any request.
///
/// A session opened on one node can be used on every other. A client that resumes with
/// `Last-Event-ID` is served by any node. An answer to a client request reaches the handler that
/// sent the request.
///
/// A node that dies is noticed after its [lease](RedisOptions::lease). Its calls then end with an
/// error after what they had streamed, and its tasks fail.
///
/// While the server is unreachable, requests in sessions are answered with 503 and `Retry-After`.
/// Messages of running calls wait, and requests of 2026-07-28 continue.
///
/// Clones share one engine.
///
/// ```no_run
/// use mcp_http::store::RedisEngine;
/// use mcp_http::{McpServer, McpService};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = RedisEngine::connect("redis://127.0.0.1/").await?;
/// let service: McpService = McpService::builder(McpServer::new("everywhere", "1.0.0")).engine(engine).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisEngine {
    inner: Arc<Inner>,
}

struct Inner {
    client: Arc<Client>,
    leaving: Arc<Departures>,
    undo_queue: UndoQueue,
    policy: OnceLock<Policy>,
    default_policy: Policy,
    runtime: Handle,
    /// Stops the engine's background tasks when it is dropped.
    _stop: DropGuard,
}

impl Inner {
    fn policy(&self) -> &Policy {
        self.policy.get().unwrap_or(&self.default_policy)
    }

    /// Runs an operation that acquires something. `back` releases it later if the outcome is
    /// unknown, or if the caller drops the result before it settles the [`Undo`].
    async fn take_or(&self, call: &Call, back: Call) -> Result<(Reply, Undo)> {
        let owed = Undo::new(&self.undo_queue, back);
        match self.client.try_to_take(call).await {
            Ok(reply) => Ok((reply, owed)),
            Err(failed) => {
                if !failed.unknown {
                    owed.settle();
                }
                Err(failed.error)
            }
        }
    }

    /// Releases something, now or later. An unreachable server is not a failure of this operation.
    async fn undo(&self, call: Call) -> Result<()> {
        Undo::new(&self.undo_queue, call).run(&self.client).await
    }

    /// Runs an operation to completion even if the caller drops its future. Otherwise the signals
    /// in its reply would be lost.
    async fn to_the_end<T: Send + 'static>(&self, step: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let done = self.runtime.spawn(step).await;
        done.unwrap_or_else(|error| Err(StoreError::because(StoreErrorKind::Unavailable, error)))
    }
}

impl RedisEngine {
    /// Builds an operation that first waits until the nodes that are leaving have left.
    fn step<T: Send + 'static, F>(&self, step: impl FnOnce(Arc<Inner>) -> F) -> EngineFuture<Result<T>>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let taken = step(Arc::clone(&inner));
        EngineFuture::later(async move {
            inner.leaving.done().await;
            taken.await
        })
    }
}

impl fmt::Debug for RedisEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisEngine").field("link", &self.inner.client).finish_non_exhaustive()
    }
}

impl Membership for RedisEngine {
    fn durable(&self) -> bool {
        true
    }

    fn join(&self, handler: Arc<dyn SignalHandler>, policy: Policy) -> NodeId {
        if *self.inner.policy.get_or_init(|| policy.clone()) != policy {
            tracing::warn!("services that share a session engine have different limits; the first one's count");
        }
        self.inner.client.signals.join(handler)
    }

    fn leave(&self, node: NodeId) {
        let Inner { client, leaving, runtime, .. } = &*self.inner;
        client.signals.leave(node);
        leaving.leave(client, runtime, node);
    }

    fn announce(&self, topic: &str, id: u64) -> EngineFuture<Result<u64>> {
        let topic = topic.to_owned();
        self.step(move |inner| async move { inner.announce(&topic, id).await })
    }

    fn announced(&self, after: u64, among: &[&str]) -> EngineFuture<Result<Announced>> {
        let among: Vec<String> = among.iter().map(|topic| (*topic).to_owned()).collect();
        self.step(move |inner| async move { inner.announced(after, &among).await })
    }

    fn broadcast(&self, session: SessionId, node: NodeId, update: SessionUpdate) -> EngineFuture<Result<()>> {
        self.step(move |inner| async move { inner.broadcast(session, node, update).await })
    }
}

impl SessionStore for RedisEngine {
    fn create(&self, create: Create) -> EngineFuture<Result<Vec<Ended>>> {
        self.step(|inner| async move { inner.create(&create).await })
    }

    fn load(&self, session: SessionId, principal: Option<&Principal>) -> EngineFuture<Result<Loaded>> {
        let principal = self.inner.client.names().principal(principal);
        self.step(|inner| async move { inner.load(session, principal).await })
    }

    fn load_state(&self, session: SessionId, key: &str) -> EngineFuture<Result<(Option<RawJson>, u64)>> {
        let key = key.to_owned();
        self.step(move |inner| async move { inner.load_state(session, &key).await })
    }

    fn load_states(
        &self,
        session: SessionId,
        prefix: &str,
        known: &[(&str, u64)],
    ) -> EngineFuture<Result<Vec<StateValue>>> {
        let known: Vec<(String, u64)> = known.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect();
        let prefix = prefix.to_owned();
        self.step(move |inner| async move { inner.load_states(session, &prefix, &known).await })
    }

    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> EngineFuture<Result<bool>> {
        let key = key.to_owned();
        self.step(move |inner| async move { inner.store_state(session, &key, &value, version).await })
    }

    fn end_session(&self, session: SessionId, reason: EndReason) -> EngineFuture<Result<Ended>> {
        self.step(move |inner| async move { inner.end(session, reason).await })
    }

    fn discard_session(&self, session: SessionId) -> EngineFuture<Result<()>> {
        self.step(move |inner| async move { inner.discard(session).await })
    }

    fn expire(&self, _node: NodeId) -> EngineFuture<Result<Vec<Ended>>> {
        self.step(|inner| async move { inner.expire().await })
    }

    fn list(&self) -> EngineFuture<Result<Vec<SessionSummary>>> {
        self.step(|inner| async move { inner.list().await })
    }

    fn peek(&self, session: SessionId) -> EngineFuture<Result<Arc<SessionInfo>>> {
        self.step(move |inner| async move { inner.find(session).await })
    }

    fn sessions_of(&self, principal: &Principal) -> EngineFuture<Result<Vec<SessionId>>> {
        let principal = self.inner.client.names().principal(Some(principal));
        self.step(|inner| async move { inner.sessions_of(principal).await })
    }

    fn count(&self) -> EngineFuture<Result<usize>> {
        self.step(|inner| async move { inner.count().await })
    }
}

impl CallStore for RedisEngine {
    fn begin(&self, begin: Begin<'_>) -> EngineFuture<Result<Begun>> {
        let (call, back) = self.inner.begin(&begin);
        self.step(|inner| async move {
            let (mut reply, owed) = inner.take_or(&call, back).await?;
            owed.settle();
            Ok(Begun { stream: reply.number()?, revision: reply.number()? })
        })
    }

    fn finish(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<()>> {
        self.step(|inner| async move { inner.finish(session, stream).await })
    }

    fn cancel(&self, session: SessionId, id: &RequestId) -> EngineFuture<Result<bool>> {
        let id = id.canonical().into_owned();
        self.step(move |inner| async move { inner.cancel(session, &id).await })
    }

    fn cancelled_calls(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<Vec<RequestId>>> {
        self.step(move |inner| async move { inner.cancelled(session, stream).await })
    }

    fn answer_request(&self, session: SessionId, request: &str, outcome: Outcome) -> EngineFuture<Result<bool>> {
        let request = request.to_owned();
        self.step(move |inner| async move { inner.answer(session, &request, &outcome).await })
    }

    fn take_answer(&self, session: SessionId, request: &str) -> EngineFuture<Result<Option<Outcome>>> {
        let request = request.to_owned();
        self.step(move |inner| async move { inner.take(session, &request).await })
    }

    fn withdraw_request(&self, session: SessionId, request: &str) -> EngineFuture<Result<()>> {
        let request = request.to_owned();
        self.step(move |inner| async move { inner.withdraw(session, &request).await })
    }
}

impl StreamStore for RedisEngine {
    fn append(&self, append: Append) -> EngineFuture<Result<Appended>> {
        self.step(|inner| async move { inner.append(&append).await })
    }

    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> EngineFuture<Result<Appended>> {
        self.step(move |inner| async move { inner.publish(session, node, &event).await })
    }

    fn deliver(&self, deliver: Deliver) -> EngineFuture<Result<Delivered>> {
        self.step(move |inner| async move { inner.deliver(&deliver).await })
    }

    fn attach(&self, attach: Attach<'_>) -> EngineFuture<Result<Attached>> {
        let (call, back) = self.inner.attach(&attach);
        self.step(|inner| async move {
            let taking = Arc::clone(&inner);
            let (mut reply, owed) = inner.to_the_end(async move { taking.take_or(&call, back).await }).await?;
            owed.settle();
            let (generation, after, delivered) = (reply.number()?, reply.number()?, reply.number()?);
            Ok(Attached { generation, after, delivered, newest: reply.number()?, revision: reply.number()? })
        })
    }

    fn read_after(
        &self,
        session: SessionId,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max_bytes: usize,
    ) -> EngineFuture<Result<Page>> {
        self.step(move |inner| async move { inner.read(session, stream, generation, after, max_bytes).await })
    }

    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> EngineFuture<Result<()>> {
        self.step(move |inner| async move { inner.detach(session, stream, generation).await })
    }

    fn request_detach(
        &self,
        session: SessionId,
        stream: StreamNo,
        retry: Option<Duration>,
    ) -> EngineFuture<Result<()>> {
        self.step(move |inner| async move { inner.request_detach(session, stream, retry).await })
    }
}

impl TaskStore for RedisEngine {
    fn create_task(&self, create: CreateTask) -> EngineFuture<Result<()>> {
        self.step(|inner| async move { inner.create_task(&create).await })
    }

    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> EngineFuture<Result<LoadedTask>> {
        let principal = self.inner.client.names().principal(principal);
        self.step(move |inner| async move { inner.load_task(task, principal).await })
    }

    fn store_task(&self, store: StoreTask) -> EngineFuture<Result<bool>> {
        self.step(|inner| async move { inner.store_task(&store).await })
    }
}
