//! Decides how sessions and tasks outlive the process: the engine in memory works, and a journal in
//! a folder hears of each change before anybody else does.
//!
//! ```text
//!  step -> memory (under its lock: change, and a place in the queue) -> waits for its place -> answer
//!                                      |
//!                                      v
//!                     writer thread: all that waits -> segment -> (disk) -> tells who waits
//! ```
//!
//! Invariants:
//!
//! 1. Nobody learns of a change before it is as durable as the engine was asked to make it: each
//!    step, also one that only reads or is refused, waits for the newest change of what it looked
//!    at. But for what a sweep ended: after a crash that ends once more.
//! 2. The order of the journal is the order of the steps, because a step takes its place under the
//!    lock it changes things under.
//! 3. A call that never streams writes nothing, but for a note of each 64th: there is nothing of it
//!    to come back for.
//! 4. No step touches a file; the writer does, and it holds no lock of the engine meanwhile.
//!
//! While nothing can be written, what would begin something is refused; calls that run wait with
//! what they say, and readers with what they were to be given.
//!
//! Journal and running state are apart, and the files are only ever read when they are opened: that
//! is why this is an append-only journal and no database. `benches/durable` has the figures: it opens
//! ten times as fast as the database that writes as fast, in a fifth of its room, which it gives back.
//! That one is ahead where a single producer waits for the disk each time.

pub(in crate::store) mod frame;
pub(in crate::store) mod image;
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
use super::journal::Journal;
use super::memory::restore::GONE;
use super::memory::{Marked, Shared};
use super::{
    Announced, Append, Appended, Attach, Attached, Begin, Begun, Create, CreateTask, Deliver, Doorbell, EndReason,
    Ended, Event, Loaded, LoadedTask, News, NodeId, Page, Policy, SessionEngine, SessionSummary, StateValue, Step,
    StoreTask, StreamNo,
};
use crate::clock::{Clock, Tick};
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId, TaskId};
use crate::message::{RawJson, RequestId};

type Result<T> = std::result::Result<T, StoreError>;
type Outcome = std::result::Result<RawJson, RawJson>;

/// What an acknowledged step survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, however it ends: the operating system has it. The default, because
    /// processes end every day and machines do not, and because the other one costs a disk's
    /// answer for each step.
    #[default]
    ProcessCrash,
    /// The end of the machine, too: the disk has it, as far as it tells the truth.
    PowerLoss,
}

/// Sessions and tasks in a folder: they outlive the process.
///
/// What is in the folder is brought back when it is opened: sessions with what their streams keep
/// and the application's state, and tasks. Calls that were in flight end with an error, as the
/// last event of their stream, for the client that comes back for them; tasks that ran are
/// orphans, which the service fails. Everything is in memory as well, within the same limits as
/// with [`MemoryEngine`](super::MemoryEngine).
///
/// One process at a time can open a folder. A clone is the same engine. The last one to go waits
/// until everything is written.
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
    /// Opens a folder, which is made if it is not there, and reads what it holds; this takes as
    /// long as that takes, a few milliseconds for each megabyte, and blocks.
    ///
    /// Files that are damaged or cut short do not keep it from opening: they count as far as they
    /// are whole, and what is missing is logged, and reported by [`recovery`](Self::recovery). Nor does
    /// a disk that is full: nothing is written before the first step. With [`Durability::PowerLoss`] what
    /// was written before, by whichever process, has reached the disk when this returns, as
    /// far as the disk takes it.
    ///
    /// # Errors
    ///
    /// When the folder is in use, was written by another version, cannot be made, or its files cannot be
    /// opened.
    pub fn open(folder: impl AsRef<Path>, durability: Durability) -> std::result::Result<Self, OpenError> {
        Self::start(open::open(folder.as_ref())?, durability).map_err(|error| OpenError::io(folder.as_ref(), error))
    }

    fn start(opened: Opened, durability: Durability) -> io::Result<Self> {
        let (engine, writer) = Self::assemble(opened, durability);
        let thread = std::thread::Builder::new().name("mcp-journal".into()).spawn(|| writer.run())?;
        *engine.inner.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(engine)
    }

    /// An engine, and what is to run beside it.
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
            looked: (opened.segments.number(), Tick::default()),
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

    /// What was found when the folder was opened.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.inner.recovery
    }

    /// Answers once what the step looked at, or changed, is written, also when it is refused: that
    /// something is gone is news, too.
    fn once_written<T: Send + 'static>(&self, (taken, mark): Marked<T, Arc<Queue>>) -> Step<Result<T>> {
        if self.inner.queue.has_written(mark) {
            return Step::ready(taken);
        }
        let queue = Arc::clone(&self.inner.queue);
        Step::later(async move {
            queue.written(mark).await?;
            taken
        })
    }

    /// The same, however long nothing can be written.
    fn once_written_at_last<T: Send + 'static>(&self, (taken, mark): Marked<T, Arc<Queue>>) -> Step<Result<T>> {
        if self.inner.queue.has_written(mark) {
            return Step::ready(taken);
        }
        let queue = Arc::clone(&self.inner.queue);
        Step::later(async move {
            queue.written_at_last(mark).await?;
            taken
        })
    }

    /// The same for what gives something back: it has happened, and is written when that is possible.
    fn once_written_or_later<T: Send + 'static>(&self, (taken, mark): Marked<T, Arc<Queue>>) -> Step<Result<T>> {
        if self.inner.queue.has_written(mark) {
            return Step::ready(taken);
        }
        let queue = Arc::clone(&self.inner.queue);
        Step::later(async move {
            let _ = queue.written(mark).await;
            taken
        })
    }

    /// The same for what must not have happened unless the caller learns of it: otherwise, also when
    /// nobody waits any more, it is taken back.
    fn once_written_or<T: Send + 'static>(
        &self,
        (taken, mark): Marked<T, Arc<Queue>>,
        back: impl FnOnce(&Shared<Arc<Queue>>, T) + Send + 'static,
    ) -> Step<Result<T>> {
        if self.inner.queue.has_written(mark) {
            return Step::ready(taken);
        }
        let (queue, shared) = (Arc::clone(&self.inner.queue), Arc::clone(&self.inner.shared));
        let mut untold = Untold { shared, taken: Some((taken, back)) };
        Step::later(async move {
            queue.written(mark).await?;
            let told = untold.taken.take().map(|(taken, _)| taken);
            told.unwrap_or_else(|| Err(StoreError::new(StoreErrorKind::NotFound)))
        })
    }

    /// Refused while nothing can be written.
    fn refused<T>(&self) -> Option<Step<Result<T>>> {
        self.inner.queue.is_failing().then(|| Step::ready(Err(StoreError::new(StoreErrorKind::Unavailable))))
    }

    /// Takes a step that brings something to keep: not while nothing can be written, and not before
    /// there is room in the queue.
    fn bring<T: Unpin + Send + 'static>(
        &self,
        step: impl FnOnce(&Shared<Arc<Queue>>) -> Marked<T, Arc<Queue>> + Send + 'static,
    ) -> Step<Result<T>> {
        if let Some(refused) = self.refused() {
            return refused;
        }
        if !self.inner.queue.is_full() {
            return self.once_written(step(&self.inner.shared));
        }
        let engine = self.clone();
        Step::later(async move {
            let inner = &engine.inner;
            inner.queue.written(Journal::newest(&inner.queue)).await?;
            engine.once_written(step(&inner.shared)).await
        })
    }

    /// The same for what a call says, which is not said again: it waits until it is written.
    fn bring_at_last<T: Unpin + Send + 'static>(
        &self,
        step: impl FnOnce(&Shared<Arc<Queue>>) -> Marked<T, Arc<Queue>> + Send + 'static,
    ) -> Step<Result<T>> {
        if !self.inner.queue.is_failing() && !self.inner.queue.is_full() {
            return self.once_written_at_last(step(&self.inner.shared));
        }
        let engine = self.clone();
        Step::later(async move {
            let inner = &engine.inner;
            inner.queue.works().await?;
            inner.queue.written_at_last(Journal::newest(&inner.queue)).await?;
            engine.once_written_at_last(step(&inner.shared)).await
        })
    }

    /// Takes a step that leaves a trace, but brings nothing: only when far too much waits it is refused.
    /// What is not answered is taken back.
    fn trace<T: Unpin + Send + 'static>(
        &self,
        step: impl FnOnce(&Shared<Arc<Queue>>) -> Marked<T, Arc<Queue>>,
        back: impl FnOnce(&Shared<Arc<Queue>>, T) + Send + 'static,
    ) -> Step<Result<T>> {
        if self.inner.queue.is_stuck() {
            return Step::ready(Err(StoreError::new(StoreErrorKind::Unavailable)));
        }
        self.once_written_or(step(&self.inner.shared), back)
    }
}

/// What a step came to while nobody was told, and how it is taken back.
struct Untold<T, F: FnOnce(&Shared<Arc<Queue>>, T)> {
    shared: Arc<Shared<Arc<Queue>>>,
    taken: Option<(Result<T>, F)>,
}

impl<T, F: FnOnce(&Shared<Arc<Queue>>, T)> Drop for Untold<T, F> {
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

impl SessionEngine for FileEngine {
    fn durable(&self) -> bool {
        true
    }

    fn join(&self, bell: Arc<dyn Doorbell>, policy: Policy) -> NodeId {
        let node = self.inner.shared.join(bell, &policy);
        self.inner.taken_over.call_once(|| self.inner.shared.leave(GONE));
        node
    }

    fn leave(&self, node: NodeId) {
        self.inner.shared.leave(node);
    }

    fn create(&self, create: Create) -> Step<Result<Vec<Ended>>> {
        if let Some(refused) = self.refused() {
            return refused;
        }
        // Who made room has ended all the same, and the next sweep tells of them.
        self.once_written_or(self.inner.shared.create(create), |shared, ended| shared.tell_later(ended))
    }

    fn load(&self, session: SessionId, principal: Option<&Principal>) -> Step<Result<Loaded>> {
        self.once_written(self.inner.shared.load(session, principal))
    }

    fn begin(&self, begin: Begin<'_>) -> Step<Result<Begun>> {
        // Nobody would answer it.
        let session = begin.session;
        self.trace(
            |shared| shared.begin(&begin),
            move |shared, Begun { stream, .. }| drop(shared.finish(session, stream)),
        )
    }

    fn finish(&self, session: SessionId, stream: StreamNo) -> Step<Result<()>> {
        self.once_written_or_later(self.inner.shared.finish(session, stream))
    }

    fn append(&self, append: Append) -> Step<Result<Appended>> {
        self.bring_at_last(|shared| shared.append(append))
    }

    fn publish(&self, session: SessionId, node: NodeId, event: Event) -> Step<Result<Appended>> {
        self.bring(move |shared| shared.publish(session, node, event))
    }

    fn deliver(&self, deliver: Deliver) -> Step<Result<u64>> {
        self.bring(move |shared| shared.deliver(deliver))
    }

    fn attach(&self, attach: Attach<'_>) -> Step<Result<Attached>> {
        // Nobody would let go of it.
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
    ) -> Step<Result<Page>> {
        // A page that is not handed out would be missing: it counts as delivered.
        self.once_written_at_last(self.inner.shared.read_after(session, stream, generation, after, max_bytes))
    }

    fn detach(&self, session: SessionId, stream: StreamNo, generation: u32) -> Step<Result<()>> {
        self.once_written_or_later(self.inner.shared.detach(session, stream, generation))
    }

    fn hang_up(&self, session: SessionId, stream: StreamNo, retry: Option<Duration>) -> Step<Result<()>> {
        self.once_written(self.inner.shared.hang_up(session, stream, retry))
    }

    fn answer(&self, session: SessionId, question: &str, outcome: Outcome) -> Step<Result<bool>> {
        self.once_written(self.inner.shared.answer(session, question, outcome))
    }

    fn take(&self, session: SessionId, question: &str) -> Step<Result<Option<Outcome>>> {
        self.once_written(self.inner.shared.take(session, question))
    }

    fn withdraw(&self, session: SessionId, question: &str) -> Step<Result<()>> {
        self.once_written_or_later(self.inner.shared.withdraw(session, question))
    }

    fn cancel(&self, session: SessionId, id: &RequestId) -> Step<Result<bool>> {
        self.once_written(self.inner.shared.cancel(session, id))
    }

    fn cancelled(&self, session: SessionId, stream: StreamNo) -> Step<Result<Vec<RequestId>>> {
        self.once_written(self.inner.shared.cancelled(session, stream))
    }

    fn load_state(&self, session: SessionId, key: &str) -> Step<Result<(Option<RawJson>, u64)>> {
        self.once_written(self.inner.shared.load_state(session, key))
    }

    fn load_states(&self, session: SessionId, prefix: &str, known: &[(&str, u64)]) -> Step<Result<Vec<StateValue>>> {
        self.once_written(self.inner.shared.load_states(session, prefix, known))
    }

    fn store_state(&self, session: SessionId, key: &str, value: RawJson, version: u64) -> Step<Result<bool>> {
        let key: Box<str> = key.into();
        self.bring(move |shared| shared.store_state(session, &key, &value, version))
    }

    fn create_task(&self, create: CreateTask) -> Step<Result<()>> {
        self.bring(|shared| shared.create_task(create))
    }

    fn load_task(&self, task: TaskId, principal: Option<&Principal>) -> Step<Result<LoadedTask>> {
        self.once_written(self.inner.shared.load_task(task, principal))
    }

    fn store_task(&self, store: StoreTask) -> Step<Result<bool>> {
        self.bring(|shared| shared.store_task(store))
    }

    fn end(&self, session: SessionId, reason: EndReason) -> Step<Result<Ended>> {
        // It has ended all the same.
        self.once_written_or(self.inner.shared.end(session, reason), |shared, ended| shared.tell_later(vec![ended]))
    }

    fn sweep(&self, _node: NodeId) -> Step<Result<Vec<Ended>>> {
        // Not waited for: ended a second time after a crash, a session is told of a second time.
        Step::ready(self.inner.shared.sweep().0)
    }

    fn announce(&self, topic: &str, id: u64) -> Step<Result<u64>> {
        let topic: Box<str> = topic.into();
        self.bring(move |shared| shared.announce(&topic, id))
    }

    fn announced(&self, after: u64, among: &[&str]) -> Step<Result<Announced>> {
        Step::ready(Ok(self.inner.shared.announced(after, among)))
    }

    fn tell(&self, session: SessionId, node: NodeId, news: News) -> Step<Result<()>> {
        self.inner.shared.tell(session, node, news);
        Step::ready(Ok(()))
    }

    fn list(&self) -> Step<Result<Vec<SessionSummary>>> {
        Step::ready(Ok(self.inner.shared.list()))
    }

    fn count(&self) -> Step<Result<usize>> {
        Step::ready(Ok(self.inner.shared.count()))
    }
}
