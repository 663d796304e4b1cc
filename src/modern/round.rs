//! Decides what the handler of one POST can do while it runs, where there is no session behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Node;
use super::quota::Permit;
use crate::handle::McpHandle;
use crate::identity::Principal;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion, RawJson, RequestId, RequestMeta};
use crate::server::channel::{Channel, SessionAccess};
use crate::server::{ClientError, LogLevel};
use crate::settings::ResponseMode;
use crate::streams::Queue;

/// One POST of a call.
#[derive(Debug)]
pub(super) struct Round {
    node: Arc<Node>,
    id: RequestId,
    version: ProtocolVersion,
    meta: Box<RequestMeta>,
    principal: Option<Principal>,
    /// Read when first asked for.
    client: OnceLock<Option<Implementation>>,
    capabilities: OnceLock<ClientCapabilities>,
    /// There from the first message on, if what is sent goes anywhere.
    queue: OnceLock<Arc<Queue>>,
    over: AtomicBool,
    /// Wakes those who wait for the end.
    ended: Notify,
    /// In flight as long as anybody may still do something for it.
    _active: TaskTrackerToken,
    /// Given back when the handler has ended: a context may outlive it.
    permit: Mutex<Option<Permit>>,
}

/// What a round is made for.
pub(super) struct Opening {
    pub(super) id: RequestId,
    pub(super) version: ProtocolVersion,
    pub(super) meta: Box<RequestMeta>,
    pub(super) principal: Option<Principal>,
    pub(super) permit: Option<Permit>,
}

/// More severe than any message.
const NOTHING: u8 = LogLevel::Emergency as u8 + 1;

impl Round {
    pub(super) fn new(node: &Arc<Node>, opening: Opening) -> Arc<Self> {
        let Opening { id, version, meta, principal, permit } = opening;
        Arc::new(Self {
            node: Arc::clone(node),
            id,
            version,
            meta,
            principal,
            client: OnceLock::new(),
            capabilities: OnceLock::new(),
            queue: OnceLock::new(),
            over: AtomicBool::new(false),
            ended: Notify::new(),
            _active: node.hall.running.token(),
            permit: Mutex::new(permit),
        })
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// What was sent, if anything was.
    pub(super) fn streamed(&self) -> Option<&Arc<Queue>> {
        self.queue.get()
    }

    /// What is sent from now on travels as a stream, in any case.
    pub(super) fn stream(&self) -> &Arc<Queue> {
        self.queue.get_or_init(Arc::default)
    }

    /// The handler has ended, one way or another.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        let permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(permit);
        self.ended.notify_waiters();
    }

    fn has_ended(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

impl Channel for Round {
    fn version(&self) -> ProtocolVersion {
        self.version
    }

    fn client(&self) -> Option<&Implementation> {
        // It is for display, so one that cannot be read is none.
        self.client.get_or_init(|| self.meta.client.as_ref()?.read().ok()).as_ref()
    }

    fn capabilities(&self) -> Option<&ClientCapabilities> {
        let read = || self.meta.capabilities.as_ref().and_then(|raw| raw.read().ok()).unwrap_or_default();
        Some(self.capabilities.get_or_init(read))
    }

    fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    fn session(&self) -> Option<Arc<dyn SessionAccess>> {
        None
    }

    fn handle(&self) -> McpHandle {
        self.node.hall.handle()
    }

    /// Without a level in its request a client is sent no message at all (2026-07-28, Logging).
    fn log_level(&self) -> u8 {
        let level: Option<LogLevel> = self.meta.log_level.as_ref().and_then(|raw| raw.read().ok());
        level.map_or(NOTHING, |level| level as u8)
    }

    fn set_log_level(&self, _level: u8) {}

    fn send(&self, notification: Bytes) -> bool {
        let goes_nowhere = self.node.hall.settings.streams.response_mode == ResponseMode::Json;
        if goes_nowhere || self.has_ended() {
            self.node.hall.counters.dropped(1);
            return true;
        }
        self.stream().push(std::iter::once(notification), false)
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let queue = self.stream();
            let patience = self.node.hall.settings.streams.slow_reader;
            if tokio::time::timeout(patience, queue.room()).await.is_err() {
                self.node.hall.counters.slow_reader();
                tracing::warn!("a reader that was too slow was cut off");
                queue.abandon();
            }
        })
    }

    fn request(&self, method: &'static str, params: RawJson) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        let _ = (method, params);
        Box::pin(std::future::ready(Err(ClientError::NoStream)))
    }

    fn close_stream(&self, _retry: Option<Duration>) -> bool {
        false
    }

    fn is_cancelled(&self) -> bool {
        self.has_ended()
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                let ended = self.ended.notified();
                if self.has_ended() {
                    return;
                }
                ended.await;
            }
        })
    }
}
