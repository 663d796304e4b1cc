//! An engine behind a slow network: each operation takes time, and may fail before it is done or
//! after.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_http::error::{StoreError, StoreErrorKind};
use mcp_http::message::{RawJson, RequestId};
use mcp_http::store::{
    Announced, Append, Appended, Attach, Attached, Begin, Begun, Create, CreateTask, Deliver, Delivered, EndReason,
    Ended, EngineFuture, Event, Loaded, LoadedTask, MemoryEngine, NodeId, Page, Policy, SessionEngine, SessionSummary,
    SessionUpdate, Signal, SignalHandler, StateValue, StoreTask, StreamNo,
};
use mcp_http::{Principal, SessionId, TaskId};

type Result<T> = std::result::Result<T, StoreError>;
type Outcome = std::result::Result<RawJson, RawJson>;

/// Returns the duration of an operation, by its name and session.
pub(crate) type Delay = dyn Fn(&str, Option<SessionId>) -> Pace + Send + Sync;

/// How long an operation takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The time before the operation is done.
    pub(crate) there: Duration,
    /// The time after the operation is done.
    pub(crate) back: Duration,
}

impl Pace {
    /// No delay, but the operation yields to the scheduler.
    pub(crate) const YIELD: Self = Self { there: Duration::ZERO, back: Duration::ZERO };
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The operation fails on its way to the engine, and is not done.
    Before(StoreErrorKind),
    /// The operation is done, but its result is lost on the way back.
    After(StoreErrorKind),
}

/// Returns the failure of an operation, by its name.
type Faults = dyn Fn(&str) -> Option<Fault> + Send + Sync;

/// A memory engine whose operations take time.
#[derive(Clone)]
pub(crate) struct FarEngine {
    inner: MemoryEngine,
    delay: Arc<Delay>,
    faults: Arc<Faults>,
    late: Duration,
    joined: Arc<AtomicUsize>,
    /// The signal handlers themselves, without the delays and the losses.
    handlers: Arc<Mutex<Vec<Arc<dyn SignalHandler>>>>,
    loses_signals: Arc<AtomicBool>,
    /// The bytes of state that were written.
    written: Arc<AtomicUsize>,
}

/// A signal handler whose signals may be lost.
#[derive(Debug)]
struct LossyHandler(Arc<dyn SignalHandler>, Arc<AtomicBool>);

impl SignalHandler for LossyHandler {
    fn signal(&self, signal: Signal) {
        if !self.1.load(Ordering::Relaxed) {
            self.0.signal(signal);
        }
    }
}

/// A signal handler whose signals arrive late.
#[derive(Debug)]
struct LateHandler(Arc<dyn SignalHandler>, Duration);

impl SignalHandler for LateHandler {
    fn signal(&self, signal: Signal) {
        let (handler, late) = (Arc::clone(&self.0), self.1);
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            handler.signal(signal);
        });
    }
}

impl FarEngine {
    pub(crate) fn new(delay: impl Fn(&str, Option<SessionId>) -> Pace + Send + Sync + 'static) -> Self {
        Self {
            inner: MemoryEngine::new(),
            delay: Arc::new(delay),
            faults: Arc::new(|_| None),
            late: Duration::ZERO,
            joined: Arc::default(),
            handlers: Arc::default(),
            loses_signals: Arc::default(),
            written: Arc::default(),
        }
    }

    /// Makes operations fail.
    pub(crate) fn failing(self, faults: impl Fn(&str) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self { faults: Arc::new(faults), ..self }
    }

    /// Delays the signals, so that they arrive later than the answers.
    pub(crate) fn late_signals(self, late: Duration) -> Self {
        Self { late, ..self }
    }

    /// Loses all signals from now on, or delivers them again.
    pub(crate) fn lose_signals(&self, lost: bool) {
        self.loses_signals.store(lost, Ordering::Relaxed);
    }

    /// Signals every node, even while other signals are lost.
    pub(crate) fn signal(&self, signal: &Signal) {
        let handlers = self.handlers.lock().unwrap().clone();
        handlers.iter().for_each(|handler| handler.signal(signal.clone()));
    }

    /// Returns the bytes of state that were written since the last call of this method.
    pub(crate) fn written(&self) -> usize {
        self.written.swap(0, Ordering::Relaxed)
    }

    /// Returns how many nodes have joined and not left.
    pub(crate) fn joined(&self) -> usize {
        self.joined.load(Ordering::Relaxed)
    }

    fn later<T: Unpin + Send + 'static>(
        &self,
        name: &str,
        session: impl Into<Option<SessionId>>,
        step: impl FnOnce(&MemoryEngine) -> EngineFuture<Result<T>> + Send + 'static,
    ) -> EngineFuture<Result<T>> {
        let (inner, pace, fault) = (self.inner.clone(), (self.delay)(name, session.into()), (self.faults)(name));
        EngineFuture::later(async move {
            pause(pace.there).await;
            let value = match fault {
                Some(Fault::Before(kind)) => Err(StoreError::new(kind)),
                Some(Fault::After(kind)) => step(&inner).await.and(Err(StoreError::new(kind))),
                None => step(&inner).await,
            };
            pause(pace.back).await;
            value
        })
    }
}

impl FarEngine {
    /// Returns an operation that the engine guarantees: if it fails before it is done, it is done
    /// later.
    fn sooner_or_later<T: Unpin + Send + Default + 'static>(
        &self,
        name: &'static str,
        session: SessionId,
        step: impl Fn(&MemoryEngine) -> EngineFuture<Result<T>> + Send + 'static,
    ) -> EngineFuture<Result<T>> {
        let (inner, faults, pace) = (self.inner.clone(), Arc::clone(&self.faults), (self.delay)(name, Some(session)));
        let away = move || matches!(faults(name), Some(Fault::Before(StoreErrorKind::Unavailable)));
        if !away() {
            return self.later(name, session, move |engine| step(engine));
        }
        tokio::spawn(async move {
            while away() {
                pause(Duration::from_secs(1)).await;
            }
            let _ = step(&inner).await;
        });
        EngineFuture::later(async move {
            pause(pace.there + pace.back).await;
            Ok(T::default())
        })
    }
}

async fn pause(delay: Duration) {
    tokio::task::yield_now().await;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

impl std::fmt::Debug for FarEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FarEngine")
    }
}

impl SessionEngine for FarEngine {
    /// Sessions do not end with a service.
    fn durable(&self) -> bool {
        true
    }

    fn join(&self, handler: Arc<dyn SignalHandler>, policy: Policy) -> NodeId {
        self.joined.fetch_add(1, Ordering::Relaxed);
        self.handlers.lock().unwrap().push(Arc::clone(&handler));
        let handler = if self.late.is_zero() { handler } else { Arc::new(LateHandler(handler, self.late)) };
        self.inner.join(Arc::new(LossyHandler(handler, Arc::clone(&self.loses_signals))), policy)
    }

    fn leave(&self, node: NodeId) {
        self.joined.fetch_sub(1, Ordering::Relaxed);
        self.inner.leave(node);
    }

    fn create(&self, create: Create) -> EngineFuture<Result<Vec<Ended>>> {
        self.later("create", create.info.id, move |engine| engine.create(create))
    }

    fn load(&self, session: SessionId, principal: Option<&Principal>) -> EngineFuture<Result<Loaded>> {
        let principal = principal.cloned();
        self.later("load", session, move |engine| engine.load(session, principal.as_ref()))
    }

    fn begin(&self, begin: Begin<'_>) -> EngineFuture<Result<Begun>> {
        let Begin { session, principal, node, ids, unique, .. } = begin;
        let (principal, ids) = (principal.cloned(), ids.to_vec());
        self.later("begin", session, move |engine| {
            let mut begin = Begin::new(session, principal.as_ref(), node, &ids);
            begin.unique = unique;
            engine.begin(begin)
        })
    }

    fn finish(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<()>> {
        self.sooner_or_later("finish", session, move |engine| engine.finish(session, stream))
    }

    fn append(&self, append: Append) -> EngineFuture<Result<Appended>> {
        self.later("append", append.session, move |engine| engine.append(append))
    }

    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> EngineFuture<Result<Appended>> {
        self.later("publish", session, move |engine| engine.publish(session, node, event))
    }

    fn deliver(&self, deliver: Deliver) -> EngineFuture<Result<Delivered>> {
        self.later("deliver", deliver.session, move |engine| engine.deliver(deliver))
    }

    fn attach(&self, attach: Attach<'_>) -> EngineFuture<Result<Attached>> {
        let Attach { session, principal, stream, node, after, takeover, .. } = attach;
        let principal = principal.cloned();
        self.later("attach", session, move |engine| {
            let mut attach = Attach::new(session, principal.as_ref(), stream, node);
            (attach.after, attach.takeover) = (after, takeover);
            engine.attach(attach)
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
        self.later("read_after", session, move |engine| {
            engine.read_after(session, stream, generation, after, max_bytes)
        })
    }

    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> EngineFuture<Result<()>> {
        self.sooner_or_later("detach", session, move |engine| engine.detach(session, stream, generation))
    }

    fn request_detach(
        &self,
        session: SessionId,
        stream: StreamNo,
        retry: Option<Duration>,
    ) -> EngineFuture<Result<()>> {
        self.later("request_detach", session, move |engine| engine.request_detach(session, stream, retry))
    }

    fn answer_request(&self, session: SessionId, request: &str, outcome: Outcome) -> EngineFuture<Result<bool>> {
        let request = request.to_owned();
        self.later("answer_request", session, move |engine| engine.answer_request(session, &request, outcome))
    }

    fn take_answer(&self, session: SessionId, request: &str) -> EngineFuture<Result<Option<Outcome>>> {
        let request = request.to_owned();
        self.later("take_answer", session, move |engine| engine.take_answer(session, &request))
    }

    fn withdraw_request(&self, session: SessionId, request: &str) -> EngineFuture<Result<()>> {
        let request = request.to_owned();
        self.sooner_or_later("withdraw_request", session, move |engine| engine.withdraw_request(session, &request))
    }

    fn cancel(&self, session: SessionId, id: &RequestId) -> EngineFuture<Result<bool>> {
        let id = id.clone();
        self.later("cancel", session, move |engine| engine.cancel(session, &id))
    }

    fn cancelled_calls(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<Vec<RequestId>>> {
        self.later("cancelled_calls", session, move |engine| engine.cancelled_calls(session, stream))
    }

    fn load_state(&self, session: SessionId, key: &str) -> EngineFuture<Result<(Option<RawJson>, u64)>> {
        let key = key.to_owned();
        self.later("load_state", session, move |engine| engine.load_state(session, &key))
    }

    fn load_states(
        &self,
        session: SessionId,
        prefix: &str,
        known: &[(&str, u64)],
    ) -> EngineFuture<Result<Vec<StateValue>>> {
        let known: Vec<(String, u64)> = known.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect();
        let prefix = prefix.to_owned();
        self.later("load_states", session, move |engine| {
            let known: Vec<(&str, u64)> = known.iter().map(|(key, version)| (&**key, *version)).collect();
            engine.load_states(session, &prefix, &known)
        })
    }

    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> EngineFuture<Result<bool>> {
        let key = key.to_owned();
        self.written.fetch_add(key.len() + value.as_str().len(), Ordering::Relaxed);
        self.later("store_state", session, move |engine| engine.store_state(session, &key, value, version))
    }

    fn create_task(&self, create: CreateTask) -> EngineFuture<Result<()>> {
        self.later("create_task", None, move |engine| engine.create_task(create))
    }

    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> EngineFuture<Result<LoadedTask>> {
        let principal = principal.cloned();
        self.later("load_task", None, move |engine| engine.load_task(task, principal.as_ref()))
    }

    fn store_task(&self, store: StoreTask) -> EngineFuture<Result<bool>> {
        self.later("store_task", None, move |engine| engine.store_task(store))
    }

    fn end_session(&self, session: SessionId, reason: EndReason) -> EngineFuture<Result<Ended>> {
        self.later("end_session", session, move |engine| engine.end_session(session, reason))
    }

    fn expire(&self, node: NodeId) -> EngineFuture<Result<Vec<Ended>>> {
        self.later("expire", None, move |engine| engine.expire(node))
    }

    fn announce(&self, topic: &str, id: u64) -> EngineFuture<Result<u64>> {
        let topic = topic.to_owned();
        self.later("announce", None, move |engine| engine.announce(&topic, id))
    }

    fn announced(&self, after: u64, among: &[&str]) -> EngineFuture<Result<Announced>> {
        let among: Vec<String> = among.iter().map(|topic| (*topic).to_owned()).collect();
        self.later("announced", None, move |engine| {
            let among: Vec<&str> = among.iter().map(String::as_str).collect();
            engine.announced(after, &among)
        })
    }

    fn broadcast(&self, session: SessionId, node: NodeId, update: SessionUpdate) -> EngineFuture<Result<()>> {
        self.later("broadcast", session, move |engine| engine.broadcast(session, node, update))
    }

    fn list(&self) -> EngineFuture<Result<Vec<SessionSummary>>> {
        self.later("list", None, MemoryEngine::list)
    }

    fn count(&self) -> EngineFuture<Result<usize>> {
        self.later("count", None, MemoryEngine::count)
    }
}
