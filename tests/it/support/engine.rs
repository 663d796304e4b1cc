//! An engine behind a slow network: each operation takes time, and may fail before it is done or
//! after.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_http::SessionId;
use mcp_http::error::{StoreError, StoreErrorKind};
use mcp_http::store::engine::{EngineFuture, EngineWrapper, Membership, NodeId, Operation, Signal, SignalHandler};
use mcp_http::store::{MemoryEngine, Policy};

type Result<T> = std::result::Result<T, StoreError>;

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

impl EngineWrapper for FarEngine {
    type Inner = MemoryEngine;

    fn inner(&self) -> &MemoryEngine {
        &self.inner
    }

    fn run<T, F>(&self, operation: Operation, call: F) -> EngineFuture<Result<T>>
    where
        T: Unpin + Send + 'static,
        F: FnOnce(&MemoryEngine) -> EngineFuture<Result<T>> + Send + 'static,
    {
        let Operation { name, session, bytes, .. } = operation;
        let (inner, pace, fault) = (self.inner.clone(), (self.delay)(name, session), (self.faults)(name));
        if name == "store_state" {
            self.written.fetch_add(bytes, Ordering::Relaxed);
        }
        EngineFuture::later(async move {
            pause(pace.there).await;
            let value = match fault {
                Some(Fault::Before(kind)) => Err(StoreError::new(kind)),
                Some(Fault::After(kind)) => call(&inner).await.and(Err(StoreError::new(kind))),
                None => call(&inner).await,
            };
            pause(pace.back).await;
            value
        })
    }

    /// If the operation fails before it is done, it is done later.
    fn release<F>(&self, operation: Operation, call: F) -> EngineFuture<Result<()>>
    where
        F: FnOnce(&MemoryEngine) -> EngineFuture<Result<()>> + Send + 'static,
    {
        let (name, faults) = (operation.name, Arc::clone(&self.faults));
        let away = move || matches!(faults(name), Some(Fault::Before(StoreErrorKind::Unavailable)));
        if !away() {
            return self.run(operation, call);
        }
        let (inner, pace) = (self.inner.clone(), (self.delay)(name, operation.session));
        tokio::spawn(async move {
            while away() {
                pause(Duration::from_secs(1)).await;
            }
            let _ = call(&inner).await;
        });
        EngineFuture::later(async move {
            pause(pace.there + pace.back).await;
            Ok(())
        })
    }

    fn add_node(&self, handler: Arc<dyn SignalHandler>, policy: Policy) -> NodeId {
        self.joined.fetch_add(1, Ordering::Relaxed);
        self.handlers.lock().unwrap().push(Arc::clone(&handler));
        let handler = if self.late.is_zero() { handler } else { Arc::new(LateHandler(handler, self.late)) };
        self.inner.join(Arc::new(LossyHandler(handler, Arc::clone(&self.loses_signals))), policy)
    }

    fn remove_node(&self, node: NodeId) {
        self.joined.fetch_sub(1, Ordering::Relaxed);
        self.inner.leave(node);
    }

    /// Sessions do not end with a service.
    fn is_durable(&self) -> bool {
        true
    }
}
