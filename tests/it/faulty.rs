//! A faulty engine: a memory engine that can be made to fail, and that counts the operations of
//! requests.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mcp_http::error::{StoreError, StoreErrorKind};
use mcp_http::store::MemoryEngine;
use mcp_http::store::engine::{EngineFuture, EngineWrapper, Operation};

/// A memory engine behind a switch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faulty {
    inner: MemoryEngine,
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
}

impl EngineWrapper for Faulty {
    type Inner = MemoryEngine;

    fn inner(&self) -> &MemoryEngine {
        &self.inner
    }

    fn run<T, F>(&self, operation: Operation, call: F) -> EngineFuture<Result<T, StoreError>>
    where
        T: Unpin + Send + 'static,
        F: FnOnce(&MemoryEngine) -> EngineFuture<Result<T, StoreError>> + Send + 'static,
    {
        // Requests use all operations but these, and no test breaks the first two.
        match operation.name {
            "announced" | "broadcast" => return call(&self.inner),
            "expire" | "list" | "peek" | "sessions_of" | "count" => {}
            "append" if self.full.load(Ordering::Relaxed) => {
                return EngineFuture::ready(Err(StoreError::new(StoreErrorKind::Full)));
            }
            _ => drop(self.operations.fetch_add(1, Ordering::Relaxed)),
        }
        let broken = *self.broken.lock().unwrap();
        match broken {
            Some(kind) => EngineFuture::ready(Err(StoreError::because(kind, "secret: disk 7 of host db-3"))),
            None => call(&self.inner),
        }
    }
}
