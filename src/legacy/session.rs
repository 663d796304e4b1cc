//! A session as this node uses it: its calls, its readers and its requests to the client. The
//! engine stores what must survive or be agreed between nodes.

mod pending;
mod preferences;
mod subscriptions;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

pub(super) use self::pending::Answer;
use self::pending::PendingRequest;
use self::preferences::Versions;
use self::subscriptions::Subscriptions;

use super::Node;
use super::client_requests;
use super::in_flight::{Cause, InFlight};
use super::reader::ReaderCell;
use crate::error::{StoreError, StoreErrorKind, if_found};
use crate::handle::McpHandle;
use crate::identity::{SessionId, SessionInfo};
use crate::message::{ProtocolVersion, RawJson, RequestId, write};
use crate::server::channel::SessionAccess;
use crate::server::{Cancellation, ClientError, Extensions};
use crate::store::{EndReason, EngineFuture, Event, EventKind, StreamNo};

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
    node: Weak<Node>,
    /// Never held across an await, and never while an engine or another session is called.
    live: Mutex<Live>,
}

/// The mutable state of a session. Each list is short: calls in flight, open streams.
#[derive(Debug, Default)]
struct Live {
    tickets: Vec<Arc<InFlight>>,
    readers: Vec<Arc<ReaderCell>>,
    waiting: Vec<PendingRequest>,
    /// Boxed, because most sessions have none.
    subscriptions: Option<Box<Subscriptions>>,
    /// Wakes the tasks that wait for the standalone stream to be opened. `None` if no task waits.
    opening: Option<Arc<Notify>>,
    versions: Versions,
    ended: bool,
}

impl LiveSession {
    pub(super) fn new(info: Arc<SessionInfo>, epoch: u32, node: Weak<Node>) -> Self {
        Self {
            info,
            epoch,
            log_level: AtomicU8::new(0),
            revision: AtomicU64::new(0),
            stale: AtomicU32::new(0),
            requests_opened: AtomicU32::new(0),
            extensions: Extensions::default(),
            node,
            live: Mutex::default(),
        }
    }

    /// Creates a session that is being opened. Its epoch is as random as its id.
    pub(super) fn draft(info: SessionInfo, node: &Arc<Node>) -> Self {
        let [.., a, b, c, d] = *SessionId::random().as_bytes();
        Self::new(Arc::new(info), u32::from_be_bytes([a, b, c, d]), Arc::downgrade(node))
    }

    /// Returns the same draft with another revision.
    pub(super) fn with_version(self: &Arc<Self>, version: ProtocolVersion) -> Arc<Self> {
        let info = SessionInfo { version, ..(*self.info).clone() };
        let extensions = self.extensions.take();
        Arc::new(Self { extensions, ..Self::new(Arc::new(info), self.epoch, self.node.clone()) })
    }

    /// Returns `true` if only the node's map refers to the session, and nothing is lost if it is
    /// loaded again at its next use. The caller holds the lock of the map, so that no new reference
    /// appears meanwhile.
    pub(super) fn is_at_rest(session: &Arc<Self>) -> bool {
        let unknown = Arc::strong_count(session) == 1 && Arc::weak_count(session) == 0;
        // Requests on the standalone stream are counted here, and each needs a unique id.
        let blank = session.extensions.is_empty() && session.requests_opened.load(Ordering::Relaxed) == 0;
        let live = session.live();
        unknown && blank && live.tickets.is_empty() && live.readers.is_empty() && live.waiting.is_empty()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handle(&self) -> McpHandle {
        self.node.upgrade().map_or_else(McpHandle::nowhere, |node| node.handle())
    }

    // Calls.

    /// Registers calls so that they can be cancelled. A session that has just ended cancels them.
    pub(super) fn register(&self, tickets: impl Iterator<Item = Arc<InFlight>>) {
        let mut live = self.live();
        if live.ended {
            drop(live);
            tickets.for_each(|in_flight| in_flight.cancel(Cause::SessionEnded));
        } else {
            live.tickets.extend(tickets);
        }
    }

    pub(super) fn unregister(&self, stream: StreamNo) {
        self.live().tickets.retain(|in_flight| in_flight.stream() != stream);
    }

    /// Returns `true` if a call of the stream is still wanted.
    pub(super) fn is_wanted(&self, stream: StreamNo) -> bool {
        let live = self.live();
        live.tickets.iter().any(|in_flight| in_flight.stream() == stream && in_flight.cause().is_none())
    }

    pub(super) fn cancel(&self, stream: StreamNo, id: &RequestId) {
        let in_flight = {
            let live = self.live();
            live.tickets.iter().find(|in_flight| in_flight.stream() == stream && *in_flight.id() == *id).cloned()
        };
        if let Some(in_flight) = in_flight {
            in_flight.cancel(Cause::Client);
        }
    }

    /// Stores the client's cancellation of a call for its handler, if the call runs on this node.
    pub(super) fn explain(&self, id: &RequestId, cancellation: Cancellation) {
        let in_flight = self.live().tickets.iter().find(|in_flight| *in_flight.id() == *id).cloned();
        if let Some(in_flight) = in_flight {
            in_flight.explain(cancellation);
        }
    }

    /// Cancels the calls of a stream that were given up, and so are already answered.
    pub(super) fn give_up(&self, stream: StreamNo) {
        self.tickets_of(stream).iter().for_each(|in_flight| in_flight.cancel(Cause::GivenUp));
    }

    /// Cancels calls that were cancelled or given up at another node, in case the signal for it was
    /// lost.
    pub(super) async fn fetch_cancellations(&self, node: &Node, stream: StreamNo) {
        match node.engine.cancelled_calls(self.info.id, stream).await {
            Ok(ids) => ids.iter().for_each(|id| self.cancel(stream, id)),
            Err(error) if error.kind() == StoreErrorKind::NotFound => self.give_up(stream),
            // The next message checks again.
            Err(_) => {}
        }
    }

    /// Records that the reader of a stream written here took something or left.
    pub(super) fn reader_took(&self, stream: StreamNo) {
        let in_flight = self.live().tickets.iter().find(|in_flight| in_flight.stream() == stream).cloned();
        if let Some(in_flight) = in_flight {
            in_flight.exchange().reader_took();
        }
    }

    pub(super) fn tickets(&self) -> Vec<Arc<InFlight>> {
        self.live().tickets.clone()
    }

    /// Returns the calls of a stream that run on this node.
    pub(super) fn tickets_of(&self, stream: StreamNo) -> Vec<Arc<InFlight>> {
        self.live().tickets.iter().filter(|in_flight| in_flight.stream() == stream).cloned().collect()
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
        let Some(node) = self.node.upgrade() else { return };
        let event = Event { kind: EventKind::Notification, payload };
        let session = self.info.id;
        match node.engine.publish(session, node.id, event).now() {
            Ok(published) => node.count_lost(session, &published),
            Err(step) => node.step_in_background(EngineFuture::later({
                let node = Arc::clone(&node);
                async move {
                    let published = step.await;
                    node.count_lost(session, &published);
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

    /// Closes a session that has ended: cancels its calls, ends its readers, and ends the wait for
    /// answers of the client.
    pub(super) fn close(&self) {
        let (tickets, readers, waiting) = {
            let mut live = self.live();
            live.ended = true;
            live.subscriptions = None;
            (std::mem::take(&mut live.tickets), live.readers.clone(), std::mem::take(&mut live.waiting))
        };
        self.stream_opened();
        tickets.iter().for_each(|in_flight| in_flight.cancel(Cause::SessionEnded));
        readers.iter().for_each(|cell| cell.end());
        drop(waiting);
        // A retained handle of the session must not keep the extensions alive.
        drop(self.extensions.take());
    }
}

impl SessionAccess for LiveSession {
    fn info(&self) -> &SessionInfo {
        &self.info
    }

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn load_state(&self, key: &str) -> BoxFuture<'_, Result<(Option<RawJson>, u64), StoreError>> {
        match self.node.upgrade() {
            Some(node) => Box::pin(node.engine.load_state(self.info.id, key)),
            None => Box::pin(std::future::ready(Err(StoreError::new(StoreErrorKind::NotFound)))),
        }
    }

    fn store_state(&self, key: &str, value: RawJson, version: u64) -> BoxFuture<'_, Result<bool, StoreError>> {
        match self.node.upgrade() {
            Some(node) => Box::pin(node.engine.store_state(self.info.id, key, value, version)),
            None => Box::pin(std::future::ready(Err(StoreError::new(StoreErrorKind::NotFound)))),
        }
    }

    fn log_level(&self) -> u8 {
        self.log_level.load(Ordering::Relaxed)
    }

    fn notify(&self, method: &str, params: &RawJson) {
        self.publish(write::notification(method, params));
    }

    fn try_notify(&self, method: &str, params: &RawJson) -> BoxFuture<'_, Result<bool, StoreError>> {
        let event = Event { kind: EventKind::Notification, payload: write::notification(method, params) };
        Box::pin(async move {
            let Some(node) = self.node.upgrade() else { return Ok(false) };
            // Without a reader, an accepted event counts as unread, and a dropped one does not.
            let published = node.engine.publish(self.info.id, node.id, event).await;
            node.count_lost(self.info.id, &published);
            Ok(if_found(published)?.is_some_and(|appended| appended.read || appended.unread > 0))
        })
    }

    fn stream_opened(&self) -> BoxFuture<'static, ()> {
        let mut live = self.live();
        if live.ended {
            return Box::pin(std::future::ready(()));
        }
        Box::pin(Arc::clone(live.opening.get_or_insert_default()).notified_owned())
    }

    fn request(&self, method: Cow<'static, str>, params: RawJson) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        Box::pin(async move { client_requests::request_standalone(self, self.node.upgrade(), &method, params).await })
    }

    fn subscriptions(&self) -> Vec<String> {
        self.subscribed()
    }

    fn subscribe(&self, uri: &str, wanted: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        let uri = uri.to_owned();
        Box::pin(async move { self.change_subscription(&uri, wanted).await })
    }

    fn end(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let Some(node) = self.node.upgrade() else { return Ok(false) };
            Ok(if_found(node.end(self.info.id, EndReason::Closed).await)?.is_some())
        })
    }
}
