//! Decides what the handler of one POST can do while it runs, where there is no session behind it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Node;
use super::input::{self, Bounds, Inputs};
use super::quota::Permit;
use super::task::TaskRun;
use crate::error::{StoreError, StoreErrorKind};
use crate::handle::McpHandle;
use crate::identity::Principal;
use crate::message::{
    ClientCapabilities, ErrorObject, Implementation, ProtocolVersion, RawJson, RequestId, RequestMeta,
};
use crate::server::channel::{Channel, Question, SessionAccess};
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
    /// Where the method may ask at all: what its answers are bound to.
    asking: Option<Asking>,
    /// What was answered and what is asked; most calls have neither. Never held across an await.
    inputs: Mutex<Option<Box<Inputs>>>,
    /// What the call became, if it did.
    task: OnceLock<Arc<TaskRun>>,
    /// What the call is answered with instead of what its handler would say.
    verdict: OnceLock<ErrorObject>,
    /// The handler is to stop: it has asked, or there is a verdict.
    stopping: AtomicBool,
    /// Wakes whoever polls the handler.
    work: AtomicWaker,
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
    pub(super) asking: Option<Asking>,
    pub(super) inputs: Option<Box<Inputs>>,
}

impl Opening {
    pub(super) fn new(
        id: RequestId,
        version: ProtocolVersion,
        meta: Box<RequestMeta>,
        principal: Option<Principal>,
    ) -> Self {
        Self { id, version, meta, principal, permit: None, asking: None, inputs: None }
    }
}

/// A call that may ask its client.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) method: Cow<'static, str>,
    pub(super) params: Option<RawJson>,
}

impl Asking {
    /// See [`input::purpose`].
    pub(super) fn purpose(&self, principal: Option<&Principal>, version: ProtocolVersion) -> Vec<u8> {
        input::purpose(principal.map(Principal::as_str), version, &self.method, self.params.as_ref())
    }
}

/// More severe than any message.
const NOTHING: u8 = LogLevel::Emergency as u8 + 1;

impl Round {
    pub(super) fn new(node: &Arc<Node>, opening: Opening) -> Arc<Self> {
        let Opening { id, version, meta, principal, permit, asking, inputs } = opening;
        Arc::new(Self {
            node: Arc::clone(node),
            id,
            version,
            meta,
            principal,
            client: OnceLock::new(),
            capabilities: OnceLock::new(),
            queue: OnceLock::new(),
            asking,
            inputs: Mutex::new(inputs),
            task: OnceLock::new(),
            verdict: OnceLock::new(),
            stopping: AtomicBool::new(false),
            work: AtomicWaker::new(),
            over: AtomicBool::new(false),
            ended: Notify::new(),
            _active: node.hall.running.token(),
            permit: Mutex::new(permit),
        })
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
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

    fn inputs(&self) -> MutexGuard<'_, Option<Box<Inputs>>> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register_work(&self, waker: &Waker) {
        self.work.register(waker);
    }

    /// Whether the handler is to be polled no more.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.work.wake();
    }

    /// What the call became, if it did.
    pub(super) fn task(&self) -> Option<&Arc<TaskRun>> {
        self.task.get()
    }

    /// Ends the call with an error, whatever its handler would say.
    async fn end_with(&self, error: ErrorObject) {
        let _ = self.verdict.set(error);
        self.stop();
        self.cancelled().await;
    }

    /// What the call is answered with when its handler was stopped: what it asks.
    pub(super) fn conclusion(&self) -> Result<RawJson, ErrorObject> {
        if let Some(verdict) = self.verdict.get() {
            return Err(verdict.clone());
        }
        let Some(asking) = &self.asking else { return Err(ErrorObject::internal()) };
        let settings = &self.node.hall.settings.inputs;
        let bounds = Bounds {
            now: self.node.clock.unix_millis(),
            lifetime: u64::try_from(settings.lifetime.as_millis()).unwrap_or(u64::MAX),
            rounds: settings.rounds,
            bytes: settings.state_bytes,
        };
        let purpose = asking.purpose(self.principal.as_ref(), self.version);
        let inputs = self.inputs().take().unwrap_or_default();
        inputs.result(&bounds, |plain| self.node.sealer.seal(plain, &purpose))
    }

    /// The handler has ended, one way or another.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.give_back();
        self.ended.notify_waiters();
    }

    /// It is no call of its principal any more; a task is counted among the tasks.
    pub(super) fn give_back(&self) {
        let permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(permit);
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
        if goes_nowhere || self.task().is_some() || self.has_ended() {
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

    /// What is not answered yet is never answered in this round: it ends, and its client asks anew.
    fn request(&self, question: Question) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        Box::pin(async move {
            if self.asking.is_none() {
                return Err(ClientError::NoStream);
            }
            let Question { method, params, key } = question;
            if !input::may_be_asked(method) {
                return Err(ClientError::NotCapable(method));
            }
            if let Some(task) = self.task() {
                return task.ask(Question { method, params, key }).await;
            }
            if let Some(answer) = self.inputs().get_or_insert_default().ask(method, params, key.as_deref()) {
                return Ok(answer);
            }
            self.stop();
            self.cancelled().await;
            Err(ClientError::Ended)
        })
    }

    /// The client is at fault, so it is the client that hears of it.
    fn misread(&self, method: &'static str, error: serde_json::Error) -> BoxFuture<'_, ClientError> {
        Box::pin(async move {
            tracing::debug!(%error, method, "the answer of a client does not fit its question");
            let text = format!("Invalid params: an input response does not fit its {method}");
            self.end_with(ErrorObject::invalid_params(text)).await;
            ClientError::Ended
        })
    }

    fn begin_task(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let is_tool = self.asking.as_ref().is_some_and(|asking| asking.method == "tools/call");
            if !is_tool || !self.takes_tasks() || self.has_ended() {
                return false;
            }
            if self.task().is_some() {
                return true;
            }
            match TaskRun::begin(&self.node, self.principal.as_ref()).await {
                Ok(task) => self.task.set(task).is_ok(),
                Err(error) => {
                    self.end_with(no_task(&error)).await;
                    false
                }
            }
        })
    }

    fn takes_tasks(&self) -> bool {
        Channel::capabilities(self).is_some_and(ClientCapabilities::takes_tasks)
    }

    fn say(&self, message: &str) {
        if let Some(task) = self.task() {
            task.say(message);
        }
    }

    fn recall(&self, step: &str) -> Option<RawJson> {
        self.inputs().as_ref()?.recall(step)
    }

    fn remember(&self, step: &str, value: RawJson) {
        if self.asking.is_some() {
            self.inputs().get_or_insert_default().remember(step, value);
        }
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

/// Why a call cannot become a task.
fn no_task(error: &StoreError) -> ErrorObject {
    match error.kind() {
        StoreErrorKind::Full => ErrorObject::new(ErrorObject::INTERNAL_ERROR, "Too many tasks"),
        StoreErrorKind::FullForPrincipal => {
            ErrorObject::new(ErrorObject::INTERNAL_ERROR, "Too many tasks of this principal")
        }
        _ => {
            tracing::error!(error = error as &dyn std::error::Error, "a task cannot be kept");
            ErrorObject::internal()
        }
    }
}
