//! The file engine: the memory engine plus a journal in a folder, so that sessions and tasks
//! outlive the process.
//!
//! ```text
//!  operation -> memory (changes, and queues, under one lock) -> waits until written -> answer
//!                          |                                          ^
//!                          v                                          |
//!               queue -> writer thread -> segment -> (disk) ----------+
//! ```
//!
//! Invariants:
//!
//! 1. A caller learns of a change only once it is as durable as configured. Each operation waits
//!    for the newest change of what it read, even an operation that only reads or is rejected. The
//!    exception is what a sweep ended: after a crash it ends once more.
//! 2. The order of the journal is the order of the operations, because an operation is queued under
//!    the same lock under which it changes things.
//! 3. A call that never streams writes nothing, except for a note once in 64 calls: a client cannot
//!    resume it.
//! 4. No operation touches a file. Only the writer does, and it holds no lock of the engine
//!    meanwhile.
//!
//! While the journal cannot be written, operations that begin something are rejected. Calls that
//! run wait with their messages, and readers wait with the pages they were about to receive.
//!
//! The journal and the running state are separate, and files are only read when they are opened.
//! That is why this is an append-only journal and not a database. `benches/durable` has the
//! figures. This engine opens ten times as fast as the database that writes as fast. It needs a
//! fifth of the space, and reclaims it. That database is ahead where a single producer waits for
//! the disk each time.

mod frame;
mod open;
mod queue;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::open::{OpenError, Recovery};

use self::open::Opened;
use self::queue::Queue;
use self::writer::Writer;
use super::engine::sessions::discarded;
use super::engine::{CallStore, Membership, SessionStore, StreamStore, TaskStore};
use super::journal::Journal;
use super::memory::restore::GONE;
use super::memory::{Marked, Shared};
use super::{
    Announced, Append, Appended, Attach, Attached, Begin, Begun, Create, CreateTask, Deliver, Delivered, EndReason,
    Ended, EngineFuture, Event, Loaded, LoadedTask, NodeId, Page, Policy, SessionSummary, SessionUpdate, SignalHandler,
    StateValue, StoreTask, StreamNo,
};
use crate::clock::{Clock, Tick};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId, TaskId};
use crate::message::{RawJson, RequestId};

type Result<T> = std::result::Result<T, StoreError>;
type Outcome = std::result::Result<RawJson, RawJson>;

/// What an acknowledged operation survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, however it ends: the operating system has the data.
    ///
    /// This is the default, because processes end every day and machines do not. The other choice
    /// costs a disk's response time for each operation.
    #[default]
    ProcessCrash,
    /// The end of the machine, too: the disk has the data, provided that it reports its writes
    /// truthfully.
    PowerLoss,
}

/// An engine that keeps sessions and tasks in a folder, so that they outlive the process.
///
/// Opening the folder restores its contents: sessions with what their streams keep and the
/// application's state, and tasks. A call that was in flight ends with an error, which is the last
/// event of its stream when the client resumes it. Tasks that ran are orphaned, and the service
/// fails them. Everything is in memory as well, within the same limits as with
/// [`MemoryEngine`](super::MemoryEngine).
///
/// Only one process at a time can open a folder. Clones share the same engine. Dropping the last
/// one waits until everything is written.
///
/// ```
/// use mcp_http::store::{Durability, FileEngine};
/// use mcp_http::{McpServer, McpService};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().join("sessions");
/// let engine = FileEngine::open(&folder, Durability::ProcessCrash)?;
/// let service: McpService = McpService::builder(McpServer::new("durable", "1.0.0")).engine(engine).build()?;
/// assert!(FileEngine::open(&folder, Durability::ProcessCrash).is_err_and(|error| error.is_in_use()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FileEngine {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared<Arc<Queue>>>,
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// What earlier processes left in flight is given up once the limits are known.
    taken_over: Once,
    recovery: Recovery,
    _lock: File,
}

impl FileEngine {
    /// Opens a folder, creates it if it does not exist, and reads its contents.
    ///
    /// This blocks while the files are read, which takes a few milliseconds for each megabyte.
    ///
    /// Damaged or truncated files do not prevent opening. They are read as far as they are intact.
    /// What is missing is logged and reported by [`recovery`](Self::recovery). A full disk does not
    /// prevent opening either: nothing is written before the first operation. With
    /// [`Durability::PowerLoss`], everything that earlier processes wrote has reached the disk when
    /// this returns, as far as the disk accepts it.
    ///
    /// # Errors
    ///
    /// If the folder is in use, was written in another format, or cannot be created, or if its
    /// files cannot be opened.
    pub fn open(folder: impl AsRef<Path>, durability: Durability) -> std::result::Result<Self, OpenError> {
        Self::start(open::open(folder.as_ref())?, durability).map_err(|error| OpenError::io(folder.as_ref(), error))
    }

    fn start(opened: Opened, durability: Durability) -> io::Result<Self> {
        let (engine, writer) = Self::assemble(opened, durability);
        let thread = std::thread::Builder::new().name("mcp-journal".into()).spawn(|| writer.run())?;
        *engine.inner.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(engine)
    }

    /// Creates an engine, and the writer that is to run beside it.
    fn assemble(mut opened: Opened, durability: Durability) -> (Self, Writer) {
        let sync = durability == Durability::PowerLoss;
        if sync {
            opened.segments.sync_old();
        }
        let queue = Arc::new(Queue::new(opened.newest));
        let shared = Arc::new(Shared::restored(Arc::clone(&queue), opened.image));
        let writer = Writer {
            queue: Arc::clone(&queue),
            shared: Arc::downgrade(&shared),
            clock: Clock::new(),
            checked: (opened.segments.number(), Tick::default()),
            segments: opened.segments,
            sync,
            first: opened.first,
            renew: opened.renew,
            renewal: None,
            short: 0,
            buffer: Vec::new(),
        };
        let inner = Inner {
            shared,
            queue,
            writer: Mutex::new(None),
            taken_over: Once::new(),
            recovery: opened.recovery,
            _lock: opened.lock,
        };
        (Self { inner: Arc::new(inner) }, writer)
    }

    /// Returns what was found when the folder was opened.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.inner.recovery
    }

    /// Returns the result once everything that the operation read or changed is written. This
    /// includes rejections, because "not found" reveals a change, too.
    fn once_written<T: Send + 'static>(&self, (taken, mark): Marked<T, Arc<Queue>>) -> EngineFuture<Result<T>> {
        if self.inner.queue.has_written(mark) {
            return EngineFuture::ready(taken);
        }
        let queue = Arc::clone(&self.inner.queue);
        EngineFuture::later(async move {
            queue.written(mark).await?;
            taken
        })
    }

    /// Like `once_written`, but waits however long nothing can be written.
    fn once_written_at_last<T: Send + 'static>(&self, (taken, mark): Marked<T, Arc<Queue>>) -> EngineFuture<Result<T>> {
        if self.inner.queue.has_written(mark) {
            return EngineFuture::ready(taken);
        }
        let queue = Arc::clone(&self.inner.queue);
        EngineFuture::later(async move {
            queue.written_at_last(mark).await?;
            taken
        })
    }

    /// Like `once_written`, for operations that release something: they have happened, and are
    /// written when that is possible.
    fn once_written_or_later<T: Send + 'static>(
        &self,
        (taken, mark): Marked<T, Arc<Queue>>,
    ) -> EngineFuture<Result<T>> {
        if self.inner.queue.has_written(mark) {
            return EngineFuture::ready(taken);
        }
        let queue = Arc::clone(&self.inner.queue);
        EngineFuture::later(async move {
            let _ = queue.written(mark).await;
            taken
        })
    }

    /// Like `once_written`, for operations that must not take effect unless the caller learns of
    /// them. If writing fails, or the future is dropped, `back` undoes the operation.
    fn once_written_or<T: Send + 'static>(
        &self,
        (taken, mark): Marked<T, Arc<Queue>>,
        back: impl FnOnce(&Shared<Arc<Queue>>, T) + Send + 'static,
    ) -> EngineFuture<Result<T>> {
        if self.inner.queue.has_written(mark) {
            return EngineFuture::ready(taken);
        }
        let (queue, shared) = (Arc::clone(&self.inner.queue), Arc::clone(&self.inner.shared));
        let mut unreported = Unpublished { shared, taken: Some((taken, back)) };
        EngineFuture::later(async move {
            queue.written(mark).await?;
            let told = unreported.taken.take().map(|(taken, _)| taken);
            told.unwrap_or_else(|| Err(StoreError::new(StoreErrorKind::NotFound)))
        })
    }

    /// Returns a rejection while nothing can be written.
    fn rejection<T>(&self) -> Option<EngineFuture<Result<T>>> {
        self.inner.queue.is_failing().then(|| EngineFuture::ready(Err(StoreError::new(StoreErrorKind::Unavailable))))
    }

    /// Runs an operation that adds data. Rejects it while nothing can be written, and delays it
    /// until the queue has capacity.
    fn bring<T: Unpin + Send + 'static>(
        &self,
        step: impl FnOnce(&Shared<Arc<Queue>>) -> Marked<T, Arc<Queue>> + Send + 'static,
    ) -> EngineFuture<Result<T>> {
        if let Some(rejected) = self.rejection() {
            return rejected;
        }
        if !self.inner.queue.is_full() {
            return self.once_written(step(&self.inner.shared));
        }
        let engine = self.clone();
        EngineFuture::later(async move {
            let inner = &engine.inner;
            inner.queue.written(Journal::newest(&inner.queue)).await?;
            engine.once_written(step(&inner.shared)).await
        })
    }

    /// Like `bring`, for the messages of a call, which the call does not repeat: it waits until
    /// they are written.
    fn bring_at_last<T: Unpin + Send + 'static>(
        &self,
        step: impl FnOnce(&Shared<Arc<Queue>>) -> Marked<T, Arc<Queue>> + Send + 'static,
    ) -> EngineFuture<Result<T>> {
        if !self.inner.queue.is_failing() && !self.inner.queue.is_full() {
            return self.once_written_at_last(step(&self.inner.shared));
        }
        let engine = self.clone();
        EngineFuture::later(async move {
            let inner = &engine.inner;
            inner.queue.works().await?;
            inner.queue.written_at_last(Journal::newest(&inner.queue)).await?;
            engine.once_written_at_last(step(&inner.shared)).await
        })
    }

    /// Runs an operation that is recorded but adds no data. Rejects it only if the queue is full
    /// and cannot be written. If its result is not delivered, `back` undoes it.
    fn trace<T: Unpin + Send + 'static>(
        &self,
        step: impl FnOnce(&Shared<Arc<Queue>>) -> Marked<T, Arc<Queue>>,
        back: impl FnOnce(&Shared<Arc<Queue>>, T) + Send + 'static,
    ) -> EngineFuture<Result<T>> {
        if self.inner.queue.is_stuck() {
            return EngineFuture::ready(Err(StoreError::new(StoreErrorKind::Unavailable)));
        }
        self.once_written_or(step(&self.inner.shared), back)
    }
}

/// The result of an operation whose caller does not know it yet, and how to undo it.
struct Unpublished<T, F: FnOnce(&Shared<Arc<Queue>>, T)> {
    shared: Arc<Shared<Arc<Queue>>>,
    taken: Option<(Result<T>, F)>,
}

impl<T, F: FnOnce(&Shared<Arc<Queue>>, T)> Drop for Unpublished<T, F> {
    fn drop(&mut self) {
        if let Some((Ok(taken), back)) = self.taken.take() {
            back(&self.shared, taken);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for FileEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.inner.shared.count();
        f.debug_struct("FileEngine").field("sessions", &sessions).finish_non_exhaustive()
    }
}

impl Membership for FileEngine {
    fn durable(&self) -> bool {
        true
    }

    fn join(&self, handler: Arc<dyn SignalHandler>, policy: Policy) -> NodeId {
        let node = self.inner.shared.join(handler, &policy);
        self.inner.taken_over.call_once(|| self.inner.shared.leave(GONE));
        node
    }

    fn leave(&self, node: NodeId) {
        self.inner.shared.leave(node);
    }

    fn announce(&self, topic: &str, id: u64) -> EngineFuture<Result<u64>> {
        let topic: Box<str> = topic.into();
        self.bring(move |shared| shared.announce(&topic, id))
    }

    fn announced(&self, after: u64, among: &[&str]) -> EngineFuture<Result<Announced>> {
        EngineFuture::ready(Ok(self.inner.shared.announced(after, among)))
    }

    fn broadcast(&self, session: SessionId, node: NodeId, update: SessionUpdate) -> EngineFuture<Result<()>> {
        self.inner.shared.broadcast(session, node, update);
        EngineFuture::ready(Ok(()))
    }
}

impl SessionStore for FileEngine {
    fn create(&self, create: Create) -> EngineFuture<Result<Vec<Ended>>> {
        if let Some(rejected) = self.rejection() {
            return rejected;
        }
        // The evicted sessions have ended anyway, and the next sweep reports them.
        self.once_written_or(self.inner.shared.create(create), |shared, ended| shared.report_later(ended))
    }

    fn load(&self, session: SessionId, principal: Option<&Principal>) -> EngineFuture<Result<Loaded>> {
        self.once_written(self.inner.shared.load(session, principal))
    }

    fn load_state(&self, session: SessionId, key: &str) -> EngineFuture<Result<(Option<RawJson>, u64)>> {
        self.once_written(self.inner.shared.load_state(session, key))
    }

    fn load_states(
        &self,
        session: SessionId,
        prefix: &str,
        known: &[(&str, u64)],
    ) -> EngineFuture<Result<Vec<StateValue>>> {
        self.once_written(self.inner.shared.load_states(session, prefix, known))
    }

    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> EngineFuture<Result<bool>> {
        let key: Box<str> = key.into();
        self.bring(move |shared| shared.store_state(session, &key, &value, version))
    }

    fn end_session(&self, session: SessionId, reason: EndReason) -> EngineFuture<Result<Ended>> {
        // The session has ended anyway.
        self.once_written_or(self.inner.shared.end(session, reason), |shared, ended| shared.report_later(vec![ended]))
    }

    fn discard_session(&self, session: SessionId) -> EngineFuture<Result<()>> {
        let (ended, mark) = self.inner.shared.end(session, EndReason::Closed);
        self.once_written_or_later((discarded(ended), mark))
    }

    fn expire(&self, _node: NodeId) -> EngineFuture<Result<Vec<Ended>>> {
        // Not awaited: a session that ends a second time after a crash is reported a second time.
        EngineFuture::ready(self.inner.shared.expire().0)
    }

    fn list(&self) -> EngineFuture<Result<Vec<SessionSummary>>> {
        EngineFuture::ready(Ok(self.inner.shared.list()))
    }

    fn count(&self) -> EngineFuture<Result<usize>> {
        EngineFuture::ready(Ok(self.inner.shared.count()))
    }
}

impl CallStore for FileEngine {
    fn begin(&self, begin: Begin<'_>) -> EngineFuture<Result<Begun>> {
        // No handler would answer this call.
        let session = begin.session;
        self.trace(
            |shared| shared.begin(&begin),
            move |shared, Begun { stream, .. }| drop(shared.finish(session, stream)),
        )
    }

    fn finish(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<()>> {
        self.once_written_or_later(self.inner.shared.finish(session, stream))
    }

    fn cancel(&self, session: SessionId, id: &RequestId) -> EngineFuture<Result<bool>> {
        self.once_written(self.inner.shared.cancel(session, id))
    }

    fn cancelled_calls(&self, session: SessionId, stream: StreamNo) -> EngineFuture<Result<Vec<RequestId>>> {
        self.once_written(self.inner.shared.cancelled(session, stream))
    }

    fn answer_request(&self, session: SessionId, request: &str, outcome: Outcome) -> EngineFuture<Result<bool>> {
        self.once_written(self.inner.shared.answer(session, request, outcome))
    }

    fn take_answer(&self, session: SessionId, request: &str) -> EngineFuture<Result<Option<Outcome>>> {
        self.once_written(self.inner.shared.take(session, request))
    }

    fn withdraw_request(&self, session: SessionId, request: &str) -> EngineFuture<Result<()>> {
        self.once_written_or_later(self.inner.shared.withdraw(session, request))
    }
}

impl StreamStore for FileEngine {
    fn append(&self, append: Append) -> EngineFuture<Result<Appended>> {
        self.bring_at_last(|shared| shared.append(append))
    }

    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> EngineFuture<Result<Appended>> {
        self.bring(move |shared| shared.publish(session, node, event))
    }

    fn deliver(&self, deliver: Deliver) -> EngineFuture<Result<Delivered>> {
        self.bring(move |shared| shared.deliver(deliver))
    }

    fn attach(&self, attach: Attach<'_>) -> EngineFuture<Result<Attached>> {
        // No reader would detach from this stream.
        let (session, stream) = (attach.session, attach.stream);
        let back =
            move |shared: &Shared<_>, Attached { generation, .. }| drop(shared.detach(session, stream, generation));
        self.trace(|shared| shared.attach(&attach), back)
    }

    fn read_after(
        &self,
        session: SessionId,
        stream: StreamNo,
        generation: u32,
        after: u64,
        max_bytes: usize,
    ) -> EngineFuture<Result<Page>> {
        // A page counts as delivered. If it were not returned, the reader would miss it.
        self.once_written_at_last(self.inner.shared.read_after(session, stream, generation, after, max_bytes))
    }

    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> EngineFuture<Result<()>> {
        self.once_written_or_later(self.inner.shared.detach(session, stream, generation))
    }

    fn request_detach(
        &self,
        session: SessionId,
        stream: StreamNo,
        retry: Option<Duration>,
    ) -> EngineFuture<Result<()>> {
        self.once_written(self.inner.shared.request_detach(session, stream, retry))
    }
}

impl TaskStore for FileEngine {
    fn create_task(&self, create: CreateTask) -> EngineFuture<Result<()>> {
        self.bring(|shared| shared.create_task(create))
    }

    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> EngineFuture<Result<LoadedTask>> {
        self.once_written(self.inner.shared.load_task(task, principal))
    }

    fn store_task(&self, store: StoreTask) -> EngineFuture<Result<bool>> {
        self.bring(|shared| shared.store_task(store))
    }
}
