//! Ticket: one call of an exchange, the base of its handler's context. It also records why the call
//! is cancelled.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::client_requests;
use super::exchange::Exchange;
use crate::error::{Rejection, StoreError};
use crate::handle::McpHandle;
use crate::identity::Principal;
use crate::message::{ClientCapabilities, ErrorObject, Implementation, ProtocolVersion, RawJson, RequestId, write};
use crate::server::channel::{Channel, ClientRequest, SessionAccess};
use crate::server::{Cancellation, ClientError};
use crate::store::{Event, EventKind, STANDALONE, StreamNo};

/// Why a call was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Cause {
    /// The client cancelled it.
    Client = 1,
    /// Its session ended.
    SessionEnded = 2,
    /// The service shut down and could wait no longer.
    Shutdown = 3,
    /// The response was an error of its own, for example because the call's stream found no
    /// capacity.
    Refused = 4,
    /// The engine gave the call up, because this node was away for too long.
    GivenUp = 5,
}

impl Cause {
    /// Returns the error for the client. `None` if the client cancelled the call itself, or
    /// receives its answer by other means.
    pub(super) fn error(self) -> Option<ErrorObject> {
        match self {
            Self::SessionEnded => Some(Rejection::SessionEnded.to_error()),
            Self::Shutdown => Some(ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The server is shutting down")),
            Self::Client | Self::Refused | Self::GivenUp => None,
        }
    }
}

/// One call of an exchange, on which its handler's context is built.
#[derive(Debug)]
pub(crate) struct InFlight {
    exchange: Arc<Exchange>,
    id: RequestId,
    /// 0, or a [`Cause`].
    cancelled: AtomicU8,
    /// The client's cancellation, if it arrived at this node.
    cancellation: OnceLock<Box<Cancellation>>,
    over: AtomicBool,
    progress: Mutex<f64>,
    /// Wakes the tasks that wait for cancellation or for the end.
    ended: Notify,
}

impl InFlight {
    pub(super) fn new(exchange: &Arc<Exchange>, id: RequestId) -> Arc<Self> {
        Arc::new(Self {
            exchange: Arc::clone(exchange),
            id,
            cancelled: AtomicU8::new(0),
            cancellation: OnceLock::new(),
            over: AtomicBool::new(false),
            progress: Mutex::new(f64::NEG_INFINITY),
            ended: Notify::new(),
        })
    }

    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    pub(super) fn stream(&self) -> StreamNo {
        self.exchange.stream().unwrap_or(STANDALONE)
    }

    pub(super) fn cancel(&self, cause: Cause) {
        let first = self.cancelled.compare_exchange(0, cause as u8, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.ended.notify_waiters();
            self.exchange.wake_work();
        }
    }

    /// Stores the client's cancellation, just before the call is cancelled.
    pub(super) fn explain(&self, cancellation: Cancellation) {
        let _ = self.cancellation.set(Box::new(cancellation));
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        match self.cancelled.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Cause::Client),
            2 => Some(Cause::SessionEnded),
            3 => Some(Cause::Shutdown),
            4 => Some(Cause::Refused),
            _ => Some(Cause::GivenUp),
        }
    }

    /// Returns the error for the client, if the call was stopped for another cause than the
    /// client's own cancellation.
    pub(super) fn cut_off(&self) -> Option<Bytes> {
        let error = self.cause()?.error()?;
        Some(write::answer(&self.id, &Err(error)))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Records that the handler has ended, for whatever reason.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }
}

impl Channel for InFlight {
    fn version(&self) -> ProtocolVersion {
        self.exchange.version()
    }

    fn client(&self) -> Option<&Implementation> {
        self.exchange.session().map(|session| &*session.info.client)
    }

    fn capabilities(&self) -> Option<&ClientCapabilities> {
        self.exchange.session().map(|session| &*session.info.capabilities)
    }

    fn principal(&self) -> Option<&Principal> {
        self.exchange.principal()
    }

    fn request_id(&self) -> Option<&RequestId> {
        Some(&self.id)
    }

    fn progress(&self) -> Option<&Mutex<f64>> {
        Some(&self.progress)
    }

    fn session(&self) -> Option<Arc<dyn SessionAccess>> {
        let session = self.exchange.session()?;
        Some(Arc::clone(session) as _)
    }

    fn handle(&self) -> McpHandle {
        self.exchange.node().handle()
    }

    fn log_level(&self) -> u8 {
        self.exchange.session().map_or(0, |session| session.log_level.load(Ordering::Relaxed))
    }

    fn set_log_level(&self, level: u8) -> BoxFuture<'_, Result<(), StoreError>> {
        match self.exchange.session() {
            Some(session) => Box::pin(session.set_log_level(level)),
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }

    fn send(&self, payload: Bytes) -> bool {
        self.exchange.emit(Event { kind: EventKind::Notification, payload })
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.exchange.wait_for_room())
    }

    fn request(&self, request: ClientRequest) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        Box::pin(async move { client_requests::request(self, &request.method, request.params).await })
    }

    fn close_stream(&self, retry: Option<Duration>) -> bool {
        self.exchange.close_stream(retry)
    }

    fn is_cancelled(&self) -> bool {
        self.cause().is_some()
    }

    fn cancellation(&self) -> Option<Cancellation> {
        self.cancellation.get().map(|cancellation| Cancellation::clone(cancellation))
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let ended = self.ended.notified();
                if self.is_cancelled() || self.has_ended() {
                    return;
                }
                ended.await;
            }
        })
    }
}
