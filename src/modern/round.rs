//! Decides what becomes of one POST of a call while its handler runs: who is asked, whether it is a
//! task, and when it is over.
//!
//! 1. A question that nobody has answered yet is never answered in this round. Once the handler waits
//!    for it, the round ends with what is asked; one that is given up before is not asked.
//! 2. A call becomes a task once, and what it asks from then on, or asks already, the task asks.
//! 3. Which of the two it is, is decided under one lock: no round ends with questions that a task
//!    asks, and no task begins in a round that has ended.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use serde::Deserialize;
use tokio::sync::Notify;

use super::Node;
use super::handler::Answer;
use super::input::{self, Bounds, Inputs};
use super::task::TaskRun;
use crate::edge::BodyShare;
use crate::error::{StoreError, StoreErrorKind};
use crate::hall::{Hall, LogLine, Permit};
use crate::identity::{Account, Peer, Principal};
use crate::message::{
    ClientCapabilities, ErrorObject, Implementation, ProtocolVersion, RawJson, RequestId, RequestMeta,
};
use crate::server::channel::Question;
use crate::server::{ClientError, LogLevel};
use crate::settings::{self, ResponseMode};
use crate::streams::Queue;

/// One POST of a call.
#[derive(Debug)]
pub(super) struct Round {
    node: Arc<Node>,
    id: RequestId,
    version: ProtocolVersion,
    meta: Box<RequestMeta>,
    principal: Option<Principal>,
    peer: Option<Peer>,
    /// Read when first asked for.
    client: OnceLock<Option<Implementation>>,
    capabilities: OnceLock<ClientCapabilities>,
    /// There from the first message on, if what is sent goes anywhere.
    queue: OnceLock<Arc<Queue>>,
    /// Where the method may ask at all: what its answers are bound to.
    asking: Option<Asking>,
    /// What was answered and what is asked. Never held across an await.
    inputs: Mutex<Inputs>,
    mode: ResponseMode,
    /// What the call became, if it did. Set while the inputs are held and not closed.
    task: OnceLock<Arc<TaskRun>>,
    /// What the call is answered with instead of what its handler would say.
    verdict: OnceLock<ErrorObject>,
    /// Wakes whoever polls the handler.
    work: AtomicWaker,
    over: AtomicBool,
    /// The end came before the answer.
    cancelled: AtomicBool,
    /// Wakes those who wait for the end, or for the task.
    changed: Notify,
    pub(super) progress: Mutex<f64>,
    /// Given back when the handler has ended: a context may outlive it.
    permit: Mutex<Option<Permit>>,
    /// What the request's body holds of the budget for bodies. The round holds parts of the body itself.
    share: Option<Arc<BodyShare>>,
}

/// What a round is made for.
pub(super) struct Opening {
    pub(super) id: RequestId,
    pub(super) version: ProtocolVersion,
    pub(super) meta: Box<RequestMeta>,
    pub(super) principal: Option<Principal>,
    /// Where it comes from, if it has no principal and this is known.
    pub(super) peer: Option<Peer>,
    pub(super) permit: Option<Permit>,
    pub(super) share: Option<Arc<BodyShare>>,
    pub(super) asking: Option<Asking>,
    pub(super) inputs: Inputs,
    /// What form its answer may take.
    pub(super) mode: ResponseMode,
}

impl Opening {
    pub(super) fn new(
        id: RequestId,
        version: ProtocolVersion,
        meta: Box<RequestMeta>,
        principal: Option<Principal>,
        mode: ResponseMode,
    ) -> Self {
        let inputs = Inputs::default();
        Self { id, version, meta, principal, peer: None, permit: None, share: None, asking: None, inputs, mode }
    }

    /// In whose share of the limits it counts.
    pub(super) fn account(&self) -> Option<Account> {
        Account::of(self.principal.as_ref(), self.peer)
    }
}

/// A call that may ask its client.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) method: Cow<'static, str>,
    pub(super) params: Option<RawJson>,
    /// What the server says of itself: its name is the service's, unless another one is set.
    pub(super) server: Option<RawJson>,
}

impl Asking {
    /// See [`input::purpose`].
    pub(super) fn purpose(
        &self,
        settings: &settings::Inputs,
        principal: Option<&Principal>,
        version: ProtocolVersion,
    ) -> Vec<u8> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let named = || Some(self.server.as_ref()?.read::<Named>().ok()?.name);
        let service = settings.service.clone().or_else(named);
        let principal = principal.map(Principal::as_str);
        input::purpose(service.as_deref(), principal, version, &self.method, self.params.as_ref())
    }
}

impl Round {
    pub(super) fn new(node: &Arc<Node>, opening: Opening) -> Arc<Self> {
        let Opening { id, version, meta, principal, peer, permit, share, asking, inputs, mode } = opening;
        Arc::new(Self {
            node: Arc::clone(node),
            id,
            version,
            meta,
            principal,
            peer,
            client: OnceLock::new(),
            capabilities: OnceLock::new(),
            queue: OnceLock::new(),
            asking,
            inputs: Mutex::new(inputs),
            mode,
            task: OnceLock::new(),
            verdict: OnceLock::new(),
            work: AtomicWaker::new(),
            over: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            changed: Notify::new(),
            progress: Mutex::new(f64::NEG_INFINITY),
            permit: Mutex::new(permit),
            share,
        })
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    pub(super) fn version(&self) -> ProtocolVersion {
        self.version
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// What form the answer may take.
    pub(super) fn mode(&self) -> ResponseMode {
        self.mode
    }

    /// Which program the client is. It is for display, so one that cannot be read is none.
    pub(super) fn client_info(&self) -> Option<&Implementation> {
        self.client.get_or_init(|| self.meta.client.as_ref()?.read().ok()).as_ref()
    }

    /// What the client can be asked for.
    pub(super) fn client_capabilities(&self) -> &ClientCapabilities {
        let read = || self.meta.capabilities.as_ref().and_then(|raw| raw.read().ok()).unwrap_or_default();
        self.capabilities.get_or_init(read)
    }

    /// The least severe message the client wants, if it wants any.
    pub(super) fn wanted_level(&self) -> Option<LogLevel> {
        self.meta.log_level.as_ref().and_then(|raw| raw.read().ok())
    }

    /// What was sent, if anything was.
    pub(super) fn streamed(&self) -> Option<&Arc<Queue>> {
        self.queue.get()
    }

    /// What is sent from now on travels as a stream, in any case.
    pub(super) fn stream(&self) -> &Arc<Queue> {
        self.queue.get_or_init(Arc::default)
    }

    pub(super) fn inputs(&self) -> MutexGuard<'_, Inputs> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register_work(&self, waker: &Waker) {
        self.work.register(waker);
    }

    /// What the call became, if it did.
    pub(super) fn task(&self) -> Option<&Arc<TaskRun>> {
        self.task.get()
    }

    /// Asks the client.
    pub(super) async fn ask(&self, question: Question) -> Result<RawJson, ClientError> {
        let Question { method, params, key } = question;
        if self.asking.is_none() {
            return Err(ClientError::NoStream);
        }
        let method = input::check(&method, self.client_capabilities())?;
        let (task, key) = {
            let mut inputs = self.inputs();
            match self.task() {
                Some(task) => (Some(task), inputs.name(method, key.as_deref())),
                None if inputs.is_closed() => return Err(ClientError::Ended),
                None => match inputs.ask(method, &params, key.as_deref()) {
                    Ok(answer) => return Ok(answer),
                    Err(key) => (None, key),
                },
            }
        };
        let task = match task {
            Some(task) => task,
            None => {
                let _open = Open { round: self, key: &key };
                self.work.wake();
                self.becomes_task().await.ok_or(ClientError::Ended)?
            }
        };
        task.ask(key, method, params).await
    }

    /// Waits until the call is a task; `None` when it ends before.
    async fn becomes_task(&self) -> Option<&Arc<TaskRun>> {
        loop {
            let changed = self.changed.notified();
            if self.task().is_some() || self.has_ended() {
                return self.task();
            }
            changed.await;
        }
    }

    /// Goes on as a task, if its client takes tasks; whether it does.
    pub(super) async fn become_task(&self) -> bool {
        let is_tool = self.asking.as_ref().is_some_and(|asking| asking.method == "tools/call");
        if !is_tool || !self.client_capabilities().takes_tasks() || self.has_ended() {
            return false;
        }
        if self.task().is_some() {
            return true;
        }
        if self.share.as_ref().is_some_and(|share| !share.become_task()) {
            self.end_with(ErrorObject::new(ErrorObject::INTERNAL_ERROR, TOO_LARGE)).await;
            return false;
        }
        match TaskRun::begin(&self.node, self.principal.as_ref(), self.peer).await {
            Ok(begun) => {
                // Where it is a task already, or has ended, this one was begun for nothing.
                let is_task = {
                    let inputs = self.inputs();
                    if !inputs.is_closed()
                        && self.task().is_none()
                        && let Some(task) = begun.keep()
                    {
                        let _ = self.task.set(task);
                    }
                    self.task().is_some()
                };
                self.changed.notify_waiters();
                self.work.wake();
                is_task
            }
            Err(_) if self.task().is_some() => true,
            Err(error) => {
                self.end_with(no_task(&self.node().hall, &error)).await;
                false
            }
        }
    }

    /// Ends the call with an error, whatever its handler would say.
    pub(super) async fn end_with(&self, error: ErrorObject) {
        let _ = self.verdict.set(error);
        self.work.wake();
        self.ended().await;
    }

    /// What the call is answered with while its handler waits: the verdict, or what is asked.
    pub(super) fn conclusion(&self) -> Option<Answer> {
        if let Some(verdict) = self.verdict.get() {
            return Some(Err(verdict.clone()));
        }
        let asking = self.asking.as_ref()?;
        let asked = {
            let mut inputs = self.inputs();
            if self.task().is_some() || !inputs.asks() {
                return None;
            }
            inputs.close()
        };
        let settings = &self.node.hall.settings.inputs;
        let bounds = Bounds {
            now: self.node.clock.unix_millis(),
            lifetime: u64::try_from(settings.lifetime.as_millis()).unwrap_or(u64::MAX),
            rounds: settings.rounds,
            bytes: settings.state_bytes,
        };
        let purpose = asking.purpose(settings, self.principal.as_ref(), self.version);
        Some(asked.result(&bounds, |plain| self.node.sealer.seal(plain, &purpose)))
    }

    /// The handler has ended, one way or another.
    pub(super) fn end(&self) {
        self.inputs().close();
        self.over.store(true, Ordering::Release);
        let permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(permit), Some(queue)) = (permit, self.streamed()) {
            queue.hold(permit);
        }
        self.changed.notify_waiters();
    }

    /// The handler ends without an answer.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    pub(super) fn was_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// It is no call of its principal any more; a task is counted among the tasks.
    pub(super) fn give_back(&self) {
        let permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(permit);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Waits until the handler has ended.
    pub(super) async fn ended(&self) {
        loop {
            let changed = self.changed.notified();
            if self.has_ended() {
                return;
            }
            changed.await;
        }
    }
}

/// A question of the round. Whoever gives up waiting takes it back.
struct Open<'a> {
    round: &'a Round,
    key: &'a str,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.round.inputs().withdraw(self.key);
    }
}

/// Tasks run for long, so they hold a part of the budget for bodies only.
const TOO_LARGE: &str =
    "Too many bytes of requests that are tasks: they may hold a quarter of the limit for request bodies";

/// Why a call cannot become a task.
fn no_task(hall: &Hall, error: &StoreError) -> ErrorObject {
    match error.kind() {
        StoreErrorKind::Full => ErrorObject::new(ErrorObject::INTERNAL_ERROR, "Too many tasks"),
        StoreErrorKind::FullForPrincipal => {
            ErrorObject::new(ErrorObject::INTERNAL_ERROR, "Too many tasks of this principal")
        }
        StoreErrorKind::FullForPeer => ErrorObject::new(
            ErrorObject::INTERNAL_ERROR,
            "Too many tasks from this address; the server's settings `max_per_peer` and `bytes_per_peer` of tasks bound them",
        ),
        _ => {
            if let Some(left_out) = hall.log_line(LogLine::Task) {
                tracing::error!(error = error as &dyn std::error::Error, left_out, "a task cannot be kept");
            }
            ErrorObject::internal()
        }
    }
}
