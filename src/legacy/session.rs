//! A session as this node uses it: its calls, its readers and its requests to the client. The
//! engine stores what must survive or be agreed between nodes.

mod access;
mod pending;
mod preferences;
mod requests;
mod subscriptions;
mod versions;

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

pub(super) use self::pending::Answer;
use self::pending::PendingRequests;
use self::subscriptions::Subscriptions;
use self::versions::Versions;

use super::cells::{Cause, ReaderCell, RunningCall};
use super::member::Member;
use crate::core::Core;
use crate::error::StoreErrorKind;
use crate::identity::{SessionId, SessionInfo};
use crate::message::{ProtocolVersion, RequestId};
use crate::server::{Cancellation, Extensions};
use crate::store::{EngineFuture, Event, EventKind, StreamNo};

/// A session in use on this node.
#[derive(Debug)]
pub(crate) struct LiveSession {
    pub(crate) info: Arc<SessionInfo>,
    /// Part of each event id.
    pub(super) epoch: u32,
    pub(super) log_level: AtomicU8,
    /// The revision as of which its log level and subscriptions are known here.
    revision: AtomicU64,
    /// How often they changed at other nodes since they were last read here.
    stale: AtomicU32,
    requests_opened: AtomicU32,
    extensions: Extensions,
    member: Weak<Member>,
    /// Never held across an await, and never while an engine or another session is called.
    live: Mutex<Live>,
}

/// The mutable state of a session. Each list is short: calls in flight, open streams.
#[derive(Debug, Default)]
struct Live {
    /// Weak, because a call knows its session.
    calls: Vec<Registered>,
    readers: Vec<Arc<ReaderCell>>,
    pending: PendingRequests,
    /// Boxed, because most sessions have none.
    subscriptions: Option<Box<Subscriptions>>,
    /// Wakes the tasks that wait for the standalone stream to be opened. `None` if no task waits.
    opening: Option<Arc<Notify>>,
    versions: Versions,
    ended: bool,
}

/// A call that runs on this node.
#[derive(Debug)]
struct Registered {
    stream: StreamNo,
    id: RequestId,
    call: Weak<dyn RunningCall>,
}

impl LiveSession {
    pub(super) fn new(info: Arc<SessionInfo>, epoch: u32, member: Weak<Member>) -> Self {
        Self {
            info,
            epoch,
            log_level: AtomicU8::new(0),
            revision: AtomicU64::new(0),
            stale: AtomicU32::new(0),
            requests_opened: AtomicU32::new(0),
            extensions: Extensions::default(),
            member,
            live: Mutex::default(),
        }
    }

    /// Creates a session that is being opened. Its epoch is as random as its id.
    pub(super) fn draft(info: SessionInfo, member: &Arc<Member>) -> Self {
        let [.., a, b, c, d] = *SessionId::random().as_bytes();
        Self::new(Arc::new(info), u32::from_be_bytes([a, b, c, d]), Arc::downgrade(member))
    }

    /// Returns the same draft with another revision.
    pub(super) fn with_version(self: &Arc<Self>, version: ProtocolVersion) -> Arc<Self> {
        let info = SessionInfo { version, ..(*self.info).clone() };
        let extensions = self.extensions.take();
        Arc::new(Self { extensions, ..Self::new(Arc::new(info), self.epoch, Weak::clone(&self.member)) })
    }

    /// Returns `true` if only the node's map refers to the session, and nothing is lost if it is
    /// loaded again at its next use. The caller holds the lock of the map, so that no new reference
    /// appears meanwhile.
    pub(super) fn is_at_rest(session: &Arc<Self>) -> bool {
        let unknown = Arc::strong_count(session) == 1 && Arc::weak_count(session) == 0;
        // Requests on the standalone stream are counted here, and each needs a unique id.
        let blank = session.extensions.is_empty() && session.requests_opened.load(Ordering::Relaxed) == 0;
        let live = session.live();
        unknown && blank && live.calls.is_empty() && live.readers.is_empty() && live.pending.is_empty()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Calls.

    /// Registers calls so that they can be cancelled. A session that has just ended cancels them.
    pub(super) fn register(&self, stream: StreamNo, calls: &[Arc<impl RunningCall + 'static>]) {
        let mut live = self.live();
        if live.ended {
            drop(live);
            calls.iter().for_each(|call| call.cancel(Cause::SessionEnded));
        } else {
            live.calls.extend(calls.iter().map(|call| Registered {
                stream,
                id: call.id().clone(),
                call: Arc::downgrade(call) as _,
            }));
        }
    }

    pub(super) fn unregister(&self, stream: StreamNo) {
        self.live().calls.retain(|registered| registered.stream != stream);
    }

    /// Returns `true` if a call of the stream is still wanted.
    pub(super) fn is_wanted(&self, stream: StreamNo) -> bool {
        self.calls_of(stream).iter().any(|call| call.cause().is_none())
    }

    pub(super) fn cancel(&self, stream: StreamNo, id: &RequestId) {
        if let Some(call) = self.find(|call| call.stream == stream && call.id == *id) {
            call.cancel(Cause::Client);
        }
    }

    /// Stores the client's cancellation of a call for its handler, if the call runs on this node.
    pub(super) fn explain(&self, id: &RequestId, cancellation: Cancellation) {
        if let Some(call) = self.find(|call| call.id == *id) {
            call.explain(cancellation);
        }
    }

    /// Cancels the calls of a stream that were given up, and so are already answered.
    pub(super) fn give_up(&self, stream: StreamNo) {
        self.calls_of(stream).iter().for_each(|call| call.cancel(Cause::GivenUp));
    }

    /// Cancels calls that were cancelled or given up at another node, in case the signal for it was
    /// lost.
    pub(super) async fn fetch_cancellations(&self, core: &Core, stream: StreamNo) {
        match core.engine.cancelled_calls(self.info.id, stream).await {
            Ok(ids) => ids.iter().for_each(|id| self.cancel(stream, id)),
            Err(error) if error.kind() == StoreErrorKind::NotFound => self.give_up(stream),
            // The next message checks again.
            Err(_) => {}
        }
    }

    /// Records that the reader of a stream written here took something or left.
    pub(super) fn reader_took(&self, stream: StreamNo) {
        if let Some(call) = self.find(|call| call.stream == stream) {
            call.reader_took();
        }
    }

    fn find(&self, fits: impl Fn(&Registered) -> bool) -> Option<Arc<dyn RunningCall>> {
        let live = self.live();
        live.calls.iter().filter(|registered| fits(registered)).find_map(|registered| registered.call.upgrade())
    }

    /// Returns the calls that run on this node, with their streams.
    pub(super) fn calls(&self) -> Vec<(StreamNo, Arc<dyn RunningCall>)> {
        let live = self.live();
        live.calls.iter().filter_map(|registered| Some((registered.stream, registered.call.upgrade()?))).collect()
    }

    /// Returns the calls of a stream that run on this node.
    pub(super) fn calls_of(&self, stream: StreamNo) -> Vec<Arc<dyn RunningCall>> {
        let live = self.live();
        let of_stream = live.calls.iter().filter(|registered| registered.stream == stream);
        of_stream.filter_map(|registered| registered.call.upgrade()).collect()
    }

    // Readers.

    pub(super) fn add_reader(&self, cell: Arc<ReaderCell>) {
        let readers = &mut self.live().readers;
        // Reserves exactly one, because most sessions have one reader at a time.
        readers.reserve_exact(1);
        readers.push(cell);
    }

    pub(super) fn remove_reader(&self, cell: &Arc<ReaderCell>) {
        self.live().readers.retain(|other| !Arc::ptr_eq(other, cell));
    }

    pub(super) fn wake_reader(&self, stream: StreamNo) {
        // There is rarely more than one: a replaced reader that has not left yet.
        let cells: Vec<_> = self.readers_of(stream);
        cells.iter().for_each(|cell| cell.wake());
    }

    pub(super) fn wake_all_readers(&self) {
        let cells = self.live().readers.clone();
        cells.iter().for_each(|cell| cell.wake());
    }

    pub(super) fn release_reader(&self, stream: StreamNo, generation: u32, retry: Option<Duration>) {
        let cells = self.readers_of(stream);
        cells.iter().for_each(|cell| cell.release(generation, retry));
    }

    pub(super) fn readers(&self) -> Vec<Arc<ReaderCell>> {
        self.live().readers.clone()
    }

    fn readers_of(&self, stream: StreamNo) -> Vec<Arc<ReaderCell>> {
        self.live().readers.iter().filter(|cell| cell.stream() == stream).cloned().collect()
    }

    // The session itself.

    /// Sends a notification on the standalone stream.
    pub(super) fn publish(&self, payload: Bytes) {
        let Some(member) = self.member.upgrade() else { return };
        let (core, event) = (&member.core, Event { kind: EventKind::Notification, payload });
        let session = self.info.id;
        match core.engine.publish(session, member.id, event).now() {
            Ok(published) => core.count_lost(session, &published),
            Err(step) => core.step_in_background(EngineFuture::later({
                let core = Arc::clone(core);
                async move {
                    let published = step.await;
                    core.count_lost(session, &published);
                    published
                }
            })),
        }
    }

    /// Wakes the tasks that wait for the standalone stream: it was opened at some node, or never
    /// will be again.
    pub(super) fn stream_opened(&self) {
        let opening = self.live().opening.take();
        if let Some(opening) = opening {
            opening.notify_waiters();
        }
    }

    /// Returns what wakes those tasks; `None` if the session has ended.
    fn opening(&self) -> Option<Arc<Notify>> {
        let mut live = self.live();
        (!live.ended).then(|| Arc::clone(live.opening.get_or_insert_default()))
    }

    /// Closes a session that has ended: cancels its calls, ends its readers, and ends the wait for
    /// answers of the client.
    pub(super) fn close(&self) {
        let (calls, readers, pending) = {
            let mut live = self.live();
            live.ended = true;
            live.subscriptions = None;
            (std::mem::take(&mut live.calls), live.readers.clone(), std::mem::take(&mut live.pending))
        };
        self.stream_opened();
        let calls = calls.iter().filter_map(|registered| registered.call.upgrade());
        calls.for_each(|call| call.cancel(Cause::SessionEnded));
        readers.iter().for_each(|cell| cell.end());
        drop(pending);
        // A retained handle of the session must not keep the extensions alive.
        drop(self.extensions.take());
    }
}
