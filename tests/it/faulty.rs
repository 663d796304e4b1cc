//! A faulty engine: a memory engine that can be made to fail, and that counts the operations of
//! requests.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_http::error::{StoreError, StoreErrorKind};
use mcp_http::message::{RawJson, RequestId};
use mcp_http::store::{
    Announced, Append, Appended, Attach, Attached, Begin, Begun, Create, CreateTask, Deliver, Delivered, EndReason,
    Ended, EngineFuture, Event, Loaded, LoadedTask, MemoryEngine, NodeId, Page, Policy, SessionEngine, SessionSummary,
    SessionUpdate, SignalHandler, StateValue, StoreTask, StreamNo,
};
use mcp_http::{Principal, SessionId, TaskId};

type Done<T> = EngineFuture<Result<T, StoreError>>;

/// A memory engine behind a switch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faulty {
    inner: Arc<MemoryEngine>,
    broken: Arc<Mutex<Option<StoreErrorKind>>>,
    operations: Arc<AtomicUsize>,
    full: Arc<AtomicBool>,
}

impl Faulty {
    /// Makes every operation of a request fail from now on; the source of the error must not reach
    /// clients.
    pub(crate) fn break_down(&self, kind: StoreErrorKind) {
        *self.broken.lock().unwrap() = Some(kind);
    }

    /// Makes every append fail from now on because the streams are full.
    pub(crate) fn fill_up(&self) {
        self.full.store(true, Ordering::Relaxed);
    }

    pub(crate) fn repair(&self) {
        *self.broken.lock().unwrap() = None;
    }

    /// Returns the number of operations that requests used so far.
    pub(crate) fn operations(&self) -> usize {
        self.operations.load(Ordering::Relaxed)
    }

    fn step<T>(&self, step: impl FnOnce() -> Done<T>) -> Done<T> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        self.unless_broken(step)
    }

    /// For operations that no request uses.
    fn unless_broken<T>(&self, step: impl FnOnce() -> Done<T>) -> Done<T> {
        let broken = *self.broken.lock().unwrap();
        match broken {
            Some(kind) => EngineFuture::ready(Err(StoreError::because(kind, "secret: disk 7 of host db-3"))),
            None => step(),
        }
    }
}

impl SessionEngine for Faulty {
    fn join(&self, handler: Arc<dyn SignalHandler>, policy: Policy) -> NodeId {
        self.inner.join(handler, policy)
    }

    fn leave(&self, node: NodeId) {
        self.inner.leave(node);
    }

    fn create(&self, create: Create) -> Done<Vec<Ended>> {
        self.step(|| self.inner.create(create))
    }

    fn load(&self, session: SessionId, principal: Option<&Principal>) -> Done<Loaded> {
        self.step(|| self.inner.load(session, principal))
    }

    fn begin(&self, begin: Begin<'_>) -> Done<Begun> {
        self.step(|| self.inner.begin(begin))
    }

    fn finish(&self, session: SessionId, stream: StreamNo) -> Done<()> {
        self.step(|| self.inner.finish(session, stream))
    }

    fn append(&self, append: Append) -> Done<Appended> {
        if self.full.load(Ordering::Relaxed) {
            return EngineFuture::ready(Err(StoreError::new(StoreErrorKind::Full)));
        }
        self.step(|| self.inner.append(append))
    }

    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> Done<Appended> {
        self.step(|| self.inner.publish(session, node, event))
    }

    fn deliver(&self, deliver: Deliver) -> Done<Delivered> {
        self.step(|| self.inner.deliver(deliver))
    }

    fn attach(&self, attach: Attach<'_>) -> Done<Attached> {
        self.step(|| self.inner.attach(attach))
    }

    fn read_after(&self, session: SessionId, stream: StreamNo, reader: u32, after: u64, bytes: usize) -> Done<Page> {
        self.step(|| self.inner.read_after(session, stream, reader, after, bytes))
    }

    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> Done<()> {
        self.step(|| self.inner.detach(session, stream, generation))
    }

    fn request_detach(&self, session: SessionId, stream: StreamNo, retry: Option<Duration>) -> Done<()> {
        self.step(|| self.inner.request_detach(session, stream, retry))
    }

    fn answer_request(&self, session: SessionId, request: &str, outcome: Result<RawJson, RawJson>) -> Done<bool> {
        self.step(|| self.inner.answer_request(session, request, outcome))
    }

    fn take_answer(&self, session: SessionId, request: &str) -> Done<Option<Result<RawJson, RawJson>>> {
        self.step(|| self.inner.take_answer(session, request))
    }

    fn withdraw_request(&self, session: SessionId, request: &str) -> Done<()> {
        self.step(|| self.inner.withdraw_request(session, request))
    }

    fn cancel(&self, session: SessionId, id: &RequestId) -> Done<bool> {
        self.step(|| self.inner.cancel(session, id))
    }

    fn cancelled_calls(&self, session: SessionId, stream: StreamNo) -> Done<Vec<RequestId>> {
        self.step(|| self.inner.cancelled_calls(session, stream))
    }

    fn load_state(&self, session: SessionId, key: &str) -> Done<(Option<RawJson>, u64)> {
        self.step(|| self.inner.load_state(session, key))
    }

    fn load_states(&self, session: SessionId, prefix: &str, known: &[(&str, u64)]) -> Done<Vec<StateValue>> {
        self.step(|| self.inner.load_states(session, prefix, known))
    }

    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> Done<bool> {
        self.step(|| self.inner.store_state(session, key, value, version))
    }

    fn create_task(&self, create: CreateTask) -> Done<()> {
        self.step(|| self.inner.create_task(create))
    }

    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> Done<LoadedTask> {
        self.step(|| self.inner.load_task(task, principal))
    }

    fn store_task(&self, store: StoreTask) -> Done<bool> {
        self.step(|| self.inner.store_task(store))
    }

    fn end_session(&self, session: SessionId, reason: EndReason) -> Done<Ended> {
        self.step(|| self.inner.end_session(session, reason))
    }

    fn expire(&self, node: NodeId) -> Done<Vec<Ended>> {
        self.unless_broken(|| self.inner.expire(node))
    }

    fn announce(&self, topic: &str, id: u64) -> Done<u64> {
        self.step(|| self.inner.announce(topic, id))
    }

    fn announced(&self, after: u64, among: &[&str]) -> Done<Announced> {
        self.inner.announced(after, among)
    }

    fn broadcast(&self, session: SessionId, node: NodeId, update: SessionUpdate) -> Done<()> {
        self.inner.broadcast(session, node, update)
    }

    fn list(&self) -> Done<Vec<SessionSummary>> {
        self.unless_broken(|| self.inner.list())
    }

    fn count(&self) -> Done<usize> {
        self.unless_broken(|| self.inner.count())
    }
}
