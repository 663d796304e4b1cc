//! A wrapper of an engine: passes every operation to another engine, through one method.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::future::Result;
use super::{
    Announced, Append, Appended, Attach, Attached, Begin, Begun, CallStore, Create, CreateTask, Deliver, Delivered,
    EngineFuture, Event, Loaded, LoadedTask, Membership, NodeId, Page, SessionEngine, SessionStore, SessionUpdate,
    SignalHandler, StateValue, StoreTask, StreamNo, StreamStore, TaskStore,
};
use crate::identity::{Principal, SessionId, SessionInfo, TaskId};
use crate::message::{RawJson, RequestId};
use crate::store::{EndReason, Ended, Policy, SessionSummary};

/// An engine that wraps another one. It is a [`SessionEngine`] whose operations all pass through
/// [`run`](Self::run), which by default calls the wrapped engine.
///
/// It serves to measure an engine, to delay it, to let it fail in tests, or to choose between
/// several.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use mcp_http::error::StoreError;
/// use mcp_http::store::MemoryEngine;
/// use mcp_http::store::engine::{EngineFuture, EngineWrapper, Operation, SessionStore};
///
/// /// Counts the operations of an engine.
/// #[derive(Debug, Default)]
/// struct Counted {
///     inner: MemoryEngine,
///     operations: AtomicUsize,
/// }
///
/// impl EngineWrapper for Counted {
///     type Inner = MemoryEngine;
///
///     fn inner(&self) -> &MemoryEngine {
///         &self.inner
///     }
///
///     fn run<T, F>(&self, operation: Operation, call: F) -> EngineFuture<Result<T, StoreError>>
///     where
///         T: Unpin + Send + 'static,
///         F: FnOnce(&MemoryEngine) -> EngineFuture<Result<T, StoreError>> + Send + 'static,
///     {
///         self.operations.fetch_add(1, Ordering::Relaxed);
///         call(&self.inner)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let engine = Counted::default();
/// assert_eq!(engine.count().await.unwrap(), 0);
/// assert_eq!(engine.operations.load(Ordering::Relaxed), 1);
/// # });
/// ```
pub trait EngineWrapper: fmt::Debug + Send + Sync + 'static {
    /// The wrapped engine.
    type Inner: SessionEngine;

    /// Returns the wrapped engine.
    fn inner(&self) -> &Self::Inner;

    /// Runs an operation. `call` starts it at the engine that it is given; it may be called later,
    /// or never. The parameters of the operation are cloned for that.
    fn run<T, F>(&self, operation: Operation, call: F) -> EngineFuture<Result<T>>
    where
        T: Unpin + Send + 'static,
        F: FnOnce(&Self::Inner) -> EngineFuture<Result<T>> + Send + 'static,
    {
        let _ = operation;
        call(self.inner())
    }

    /// Runs an operation that releases something: [`finish`](CallStore::finish),
    /// [`detach`](StreamStore::detach), [`withdraw_request`](CallStore::withdraw_request) or
    /// [`discard_session`](SessionStore::discard_session). It must happen, now or later, and must
    /// not fail with `Unavailable`. The default is [`run`](Self::run).
    fn release<F>(&self, operation: Operation, call: F) -> EngineFuture<Result<()>>
    where
        F: FnOnce(&Self::Inner) -> EngineFuture<Result<()>> + Send + 'static,
    {
        self.run(operation, call)
    }

    /// Registers a node; see [`Membership::join`].
    fn add_node(&self, handler: Arc<dyn SignalHandler>, policy: Policy) -> NodeId {
        self.inner().join(handler, policy)
    }

    /// Removes a node; see [`Membership::leave`].
    fn remove_node(&self, node: NodeId) {
        self.inner().leave(node);
    }

    /// Returns `true` if sessions and tasks outlive this process; see [`Membership::durable`].
    fn is_durable(&self) -> bool {
        self.inner().durable()
    }
}

/// An operation that passes through an [`EngineWrapper`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Operation {
    /// The name of the method, such as `append`.
    pub name: &'static str,
    /// The session, if the operation concerns one.
    pub session: Option<SessionId>,
    /// The bytes that the operation brings to be kept: events, answers, values and documents.
    pub bytes: usize,
}

impl Operation {
    const fn new(name: &'static str) -> Self {
        Self { name, session: None, bytes: 0 }
    }

    const fn on(name: &'static str, session: SessionId) -> Self {
        Self { name, session: Some(session), bytes: 0 }
    }

    const fn bringing(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }
}

fn length(events: &[Event]) -> usize {
    events.iter().map(|event| event.payload.len()).sum()
}

impl<W: EngineWrapper> Membership for W {
    fn durable(&self) -> bool {
        self.is_durable()
    }

    fn join(&self, handler: Arc<dyn SignalHandler>, policy: Policy) -> NodeId {
        self.add_node(handler, policy)
    }

    fn leave(&self, node: NodeId) {
        self.remove_node(node);
    }

    fn announce(&self, topic: &str, id: u64) -> EngineFuture<Result<u64>> {
        let topic = topic.to_owned();
        self.run(Operation::new("announce").bringing(topic.len()), move |engine| engine.announce(&topic, id))
    }

    fn announced(&self, after: u64, among: &[&str]) -> EngineFuture<Result<Announced>> {
        let among: Vec<String> = among.iter().map(|topic| (*topic).to_owned()).collect();
        self.run(Operation::new("announced"), move |engine| {
            let among: Vec<&str> = among.iter().map(String::as_str).collect();
            engine.announced(after, &among)
        })
    }

    fn broadcast(&self, session: SessionId, node: NodeId, update: SessionUpdate) -> EngineFuture<Result<()>> {
        self.run(Operation::on("broadcast", session), move |engine| engine.broadcast(session, node, update))
    }
}

impl<W: EngineWrapper> SessionStore for W {
    fn create(&self, create: Create) -> EngineFuture<Result<Vec<Ended>>> {
        self.run(Operation::on("create", create.info.id), move |engine| engine.create(create))
    }

    fn load(&self, session: SessionId, principal: Option<&Principal>) -> EngineFuture<Result<Loaded>> {
        let principal = principal.cloned();
        self.run(Operation::on("load", session), move |engine| engine.load(session, principal.as_ref()))
    }

    fn load_state(&self, session: SessionId, key: &str) -> EngineFuture<Result<(Option<RawJson>, u64)>> {
        let key = key.to_owned();
        self.run(Operation::on("load_state", session), move |engine| engine.load_state(session, &key))
    }

    fn load_states(
        &self,
        session: SessionId,
        prefix: &str,
        known: &[(&str, u64)],
    ) -> EngineFuture<Result<Vec<StateValue>>> {
        let known: Vec<(String, u64)> = known.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect();
        let prefix = prefix.to_owned();
        self.run(Operation::on("load_states", session), move |engine| {
            let known: Vec<(&str, u64)> = known.iter().map(|(key, version)| (&**key, *version)).collect();
            engine.load_states(session, &prefix, &known)
        })
    }

    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> EngineFuture<Result<bool>> {
        let key = key.to_owned();
        let operation = Operation::on("store_state", session).bringing(key.len() + value.as_str().len());
        self.run(operation, move |engine| engine.store_state(session, &key, value, version))
    }

    fn end_session(&self, session: SessionId, reason: EndReason) -> EngineFuture<Result<Ended>> {
        self.run(Operation::on("end_session", session), move |engine| engine.end_session(session, reason))
    }

    fn discard_session(&self, session: SessionId) -> EngineFuture<Result<()>> {
        self.release(Operation::on("discard_session", session), move |engine| engine.discard_session(session))
    }

    fn expire(&self, node: NodeId) -> EngineFuture<Result<Vec<Ended>>> {
        self.run(Operation::new("expire"), move |engine| engine.expire(node))
    }

    fn list(&self) -> EngineFuture<Result<Vec<SessionSummary>>> {
        self.run(Operation::new("list"), W::Inner::list)
    }

    fn peek(&self, session: SessionId) -> EngineFuture<Result<Arc<SessionInfo>>> {
        self.run(Operation::on("peek", session), move |engine| engine.peek(session))
    }

    fn sessions_of(&self, principal: &Principal) -> EngineFuture<Result<Vec<SessionId>>> {
        let principal = principal.clone();
        self.run(Operation::new("sessions_of"), move |engine| engine.sessions_of(&principal))
    }

    fn count(&self) -> EngineFuture<Result<usize>> {
        self.run(Operation::new("count"), W::Inner::count)
    }
}

impl<W: EngineWrapper> CallStore for W {
    fn begin(&self, begin: Begin<'_>) -> EngineFuture<Result<Begun>> {
        let Begin { session, principal, node, ids, unique } = begin;
        let (principal, ids) = (principal.cloned(), ids.to_vec());
        self.run(Operation::on("begin", session), move |engine| {
            engine.begin(Begin { session, principal: principal.as_ref(), node, ids: &ids, unique })
        })
    }

    fn finish(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<()>> {
        self.release(Operation::on("finish", session), move |engine| engine.finish(session, stream))
    }

    fn cancel(&self, session: SessionId, id: &RequestId) -> EngineFuture<Result<bool>> {
        let id = id.clone();
        self.run(Operation::on("cancel", session), move |engine| engine.cancel(session, &id))
    }

    fn cancelled_calls(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<Vec<RequestId>>> {
        self.run(Operation::on("cancelled_calls", session), move |engine| engine.cancelled_calls(session, stream))
    }

    fn answer_request(
        &self,
        session: SessionId,
        request: &str,
        outcome: std::result::Result<RawJson, RawJson>,
    ) -> EngineFuture<Result<bool>> {
        let request = request.to_owned();
        let (Ok(answer) | Err(answer)) = &outcome;
        let operation = Operation::on("answer_request", session).bringing(answer.as_str().len());
        self.run(operation, move |engine| engine.answer_request(session, &request, outcome))
    }

    fn take_answer(
        &self,
        session: SessionId,
        request: &str,
    ) -> EngineFuture<Result<Option<std::result::Result<RawJson, RawJson>>>> {
        let request = request.to_owned();
        self.run(Operation::on("take_answer", session), move |engine| engine.take_answer(session, &request))
    }

    fn withdraw_request(&self, session: SessionId, request: &str) -> EngineFuture<Result<()>> {
        let request = request.to_owned();
        self.release(Operation::on("withdraw_request", session), move |engine| {
            engine.withdraw_request(session, &request)
        })
    }
}

impl<W: EngineWrapper> StreamStore for W {
    fn append(&self, append: Append) -> EngineFuture<Result<Appended>> {
        let operation = Operation::on("append", append.session).bringing(length(&append.events));
        self.run(operation, move |engine| engine.append(append))
    }

    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> EngineFuture<Result<Appended>> {
        let operation = Operation::on("publish", session).bringing(event.payload.len());
        self.run(operation, move |engine| engine.publish(session, node, event))
    }

    fn deliver(&self, deliver: Deliver) -> EngineFuture<Result<Delivered>> {
        let operation = Operation::on("deliver", deliver.session).bringing(length(&deliver.events));
        self.run(operation, move |engine| engine.deliver(deliver))
    }

    fn attach(&self, attach: Attach<'_>) -> EngineFuture<Result<Attached>> {
        let Attach { session, principal, stream, node, after, takeover } = attach;
        let principal = principal.cloned();
        self.run(Operation::on("attach", session), move |engine| {
            engine.attach(Attach { session, principal: principal.as_ref(), stream, node, after, takeover })
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
        self.run(Operation::on("read_after", session), move |engine| {
            engine.read_after(session, stream, generation, after, max_bytes)
        })
    }

    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> EngineFuture<Result<()>> {
        self.release(Operation::on("detach", session), move |engine| engine.detach(session, stream, generation))
    }

    fn request_detach(
        &self,
        session: SessionId,
        stream: StreamNo,
        retry: Option<Duration>,
    ) -> EngineFuture<Result<()>> {
        self.run(Operation::on("request_detach", session), move |engine| engine.request_detach(session, stream, retry))
    }
}

impl<W: EngineWrapper> TaskStore for W {
    fn create_task(&self, create: CreateTask) -> EngineFuture<Result<()>> {
        let operation = Operation::new("create_task").bringing(create.document.len());
        self.run(operation, move |engine| engine.create_task(create))
    }

    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> EngineFuture<Result<LoadedTask>> {
        let principal = principal.cloned();
        self.run(Operation::new("load_task"), move |engine| engine.load_task(task, principal.as_ref()))
    }

    fn store_task(&self, store: StoreTask) -> EngineFuture<Result<bool>> {
        let operation = Operation::new("store_task").bringing(store.document.len());
        self.run(operation, move |engine| engine.store_task(store))
    }
}
