//! A call in flight: one request of an exchange, and the base of its handler's context. It also
//! records why the call is cancelled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::cells::{Cause, RunningCall};
use super::client_requests;
use super::exchange::Exchange;
use crate::error::StoreError;
use crate::handle::McpHandle;
use crate::identity::Principal;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion, RawJson, RequestId, write};
use crate::server::channel::Channel;
use crate::server::client_request::ClientRequest;
use crate::server::session_access::SessionAccess;
use crate::server::{Cancellation, ClientError};
use crate::store::{Event, EventKind};

/// One call of an exchange, on which its handler's context is built.
#[derive(Debug)]
pub(crate) struct InFlight {
    exchange: Arc<Exchange>,
    id: RequestId,
    cause: OnceLock<Cause>,
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
            cause: OnceLock::new(),
            cancellation: OnceLock::new(),
            over: AtomicBool::new(false),
            progress: Mutex::new(f64::NEG_INFINITY),
            ended: Notify::new(),
        })
    }

    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
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

impl RunningCall for InFlight {
    fn id(&self) -> &RequestId {
        &self.id
    }

    fn cause(&self) -> Option<Cause> {
        self.cause.get().copied()
    }

    fn cancel(&self, cause: Cause) {
        if self.cause.set(cause).is_ok() {
            self.ended.notify_waiters();
            self.exchange.wake_work();
        }
    }

    fn explain(&self, cancellation: Cancellation) {
        let _ = self.cancellation.set(Box::new(cancellation));
    }

    fn reader_took(&self) {
        self.exchange.reader_took();
    }

    fn recheck(&self) {
        self.exchange.recheck();
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
        self.exchange.node().core.handle.clone()
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
        Box::pin(async move {
            if self.has_ended() {
                return Err(ClientError::Ended);
            }
            client_requests::request(&self.exchange, self.cancelled(), &request.method, request.params).await
        })
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
