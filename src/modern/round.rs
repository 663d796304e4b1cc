//! A round: one POST of a call while its handler runs, with its requests to the client, its task
//! and its end.
//!
//! 1. A client request without an answer is never answered in this round. Once the handler waits
//!    for it, the round ends with the requests. A request that is abandoned before then is not
//!    sent.
//! 2. A call becomes a task at most once. The task then sends all further client requests, and
//!    those that are open already.
//! 3. Its stage makes the two exclusive: no round ends with requests that a task sends, and no task
//!    begins in a round that has ended.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use serde::Deserialize;
use tokio::sync::Notify;

use super::Node;
use super::input::{self, Bounds, Inputs};
use super::task::TaskRun;
use crate::core::{Answer, Core, LogLine, Permit};
use crate::edge::BodyShare;
use crate::error::{StoreError, StoreErrorKind};
use crate::identity::{Account, Peer, Principal};
use crate::message::{
    ClientCapabilities, ErrorObject, Implementation, ProtocolVersion, RawJson, RequestId, RequestMeta,
};
use crate::server::client_request::ClientRequest;
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
    /// Parsed on first use.
    client: OnceLock<Option<Implementation>>,
    capabilities: OnceLock<ClientCapabilities>,
    /// Exists from the first message on, unless messages are dropped.
    queue: OnceLock<Arc<Queue>>,
    /// The context to which answers are bound, if the method may send requests to its client.
    asking: Option<InputScope>,
    mode: ResponseMode,
    /// Never held across an await.
    state: Mutex<State>,
    /// Wakes the task that polls the handler.
    work: AtomicWaker,
    /// Wakes those who wait for the end or for the task.
    changed: Notify,
    pub(super) progress: Mutex<f64>,
    /// The body's share of the budget for bodies. The round itself holds parts of the body.
    share: Option<Arc<BodyShare>>,
}

/// What changes while the handler runs.
#[derive(Debug)]
struct State {
    stage: Stage,
    /// Answers, and requests to the client.
    inputs: Inputs,
    /// An error that replaces the answer of the handler.
    verdict: Option<ErrorObject>,
    /// The end came before the answer.
    cancelled: bool,
    /// Released when the handler has ended, because a context may outlive it.
    permit: Option<Permit>,
}

/// How far a round has come.
#[derive(Debug)]
enum Stage {
    /// The handler runs. If it waits for answers, the round ends with its requests.
    Open,
    /// The round ends with these requests, as soon as its handler is dropped.
    Concluded,
    /// The handler runs in a task, which sends its requests.
    Task(Arc<TaskRun>),
    /// The handler has ended, in a task or not.
    Over(Option<Arc<TaskRun>>),
}

impl State {
    fn task(&self) -> Option<&Arc<TaskRun>> {
        match &self.stage {
            Stage::Task(task) | Stage::Over(Some(task)) => Some(task),
            Stage::Open | Stage::Concluded | Stage::Over(None) => None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }
}

/// The parameters of a new round.
pub(super) struct Opening {
    pub(super) id: RequestId,
    pub(super) version: ProtocolVersion,
    pub(super) meta: Box<RequestMeta>,
    pub(super) principal: Option<Principal>,
    /// The address it comes from, if it has no principal and the address is known.
    pub(super) peer: Option<Peer>,
    pub(super) permit: Option<Permit>,
    pub(super) share: Option<Arc<BodyShare>>,
    pub(super) input_scope: Option<InputScope>,
    pub(super) inputs: Inputs,
    /// The form that its answer may take.
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
        Self { id, version, meta, principal, peer: None, permit: None, share: None, input_scope: None, inputs, mode }
    }

    /// Returns the account that the call counts against.
    pub(super) fn account(&self) -> Option<Account> {
        Account::of(self.principal.as_ref(), self.peer)
    }
}

/// A call that may send requests to its client.
#[derive(Debug)]
pub(super) struct InputScope {
    pub(super) method: Cow<'static, str>,
    pub(super) params: Option<RawJson>,
    /// The server's info. Its name is the service's, unless another one is set.
    pub(super) server: Option<RawJson>,
}

impl InputScope {
    /// See [`input::purpose`].
    pub(super) fn purpose(
        &self,
        settings: &settings::InputRequests,
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
        let Opening { id, version, meta, principal, peer, permit, share, input_scope: asking, inputs, mode } = opening;
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
            mode,
            state: Mutex::new(State { stage: Stage::Open, inputs, verdict: None, cancelled: false, permit }),
            work: AtomicWaker::new(),
            changed: Notify::new(),
            progress: Mutex::new(f64::NEG_INFINITY),
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

    /// Returns the form that the answer may take.
    pub(super) fn mode(&self) -> ResponseMode {
        self.mode
    }

    /// Returns the client's program. It is for display, so `None` also means that it cannot be
    /// read.
    pub(super) fn client_info(&self) -> Option<&Implementation> {
        self.client.get_or_init(|| self.meta.client.as_ref()?.read().ok()).as_ref()
    }

    /// Returns the capabilities of the client.
    pub(super) fn client_capabilities(&self) -> &ClientCapabilities {
        let read = || self.meta.capabilities.as_ref().and_then(|raw| raw.read().ok()).unwrap_or_default();
        self.capabilities.get_or_init(read)
    }

    /// Returns the least severe level of messages that the client wants, if any.
    pub(super) fn wanted_level(&self) -> Option<LogLevel> {
        self.meta.log_level.as_ref().and_then(|raw| raw.read().ok())
    }

    /// Returns the queue of messages, if any were sent.
    pub(super) fn streamed(&self) -> Option<&Arc<Queue>> {
        self.queue.get()
    }

    /// Returns the queue of messages, and creates it on first use. Once it exists, the answer is a
    /// stream in any case.
    pub(super) fn stream(&self) -> &Arc<Queue> {
        self.queue.get_or_init(Arc::default)
    }

    pub(super) fn register_work(&self, waker: &Waker) {
        self.work.register(waker);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the task that the call became, if any.
    pub(super) fn task(&self) -> Option<Arc<TaskRun>> {
        self.state().task().cloned()
    }

    /// Returns `true` if a message can still be part of the response.
    pub(super) fn takes_messages(&self) -> bool {
        matches!(self.state().stage, Stage::Open | Stage::Concluded)
    }

    /// See [`Inputs::step`].
    pub(super) fn step(&self, key: &str) -> (String, Option<RawJson>) {
        self.state().inputs.step(key)
    }

    /// See [`Inputs::remember`].
    pub(super) fn remember(&self, step: String, value: Option<RawJson>) {
        self.state().inputs.remember(step, value);
    }

    /// Sends a request to the client.
    pub(super) async fn request(&self, request: ClientRequest) -> Result<RawJson, ClientError> {
        let ClientRequest { method, params, key } = request;
        if self.asking.is_none() {
            return Err(ClientError::NoStream);
        }
        let method = input::check(&method, self.client_capabilities())?;
        let (task, key) = {
            let mut state = self.state();
            match (state.task().cloned(), &state.stage) {
                (Some(task), _) => (Some(task), state.inputs.name(method, key.as_deref())),
                (None, Stage::Open) => match state.inputs.request(method, &params, key.as_deref()) {
                    Ok(answer) => return Ok(answer),
                    Err(key) => (None, key),
                },
                (None, _) => return Err(ClientError::Ended),
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
        task.request(key, method, params).await
    }

    /// Waits until the call is a task. Returns `None` if the call ends before.
    async fn becomes_task(&self) -> Option<Arc<TaskRun>> {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if state.task().is_some() || state.is_over() {
                    return state.task().cloned();
                }
            }
            changed.await;
        }
    }

    /// Continues the call as a task if its client supports tasks. Returns `true` if the call is a
    /// task.
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
        match TaskRun::begin(&self.node.member, &self.node.tasks, self.principal.as_ref(), self.peer).await {
            Ok(begun) => {
                // If the call is a task already, or has ended, the new task is discarded.
                let is_task = {
                    let mut state = self.state();
                    if matches!(state.stage, Stage::Open)
                        && let Some(task) = begun.keep()
                    {
                        state.stage = Stage::Task(task);
                    }
                    state.task().is_some()
                };
                self.changed.notify_waiters();
                self.work.wake();
                is_task
            }
            Err(_) if self.task().is_some() => true,
            Err(error) => {
                self.end_with(no_task(&self.node().core, &error)).await;
                false
            }
        }
    }

    /// Ends the call with an error, regardless of its handler's answer.
    pub(super) async fn end_with(&self, error: ErrorObject) {
        self.state().verdict.get_or_insert(error);
        self.work.wake();
        self.ended().await;
    }

    /// Returns the answer to the call while its handler waits: the verdict, or the requests to the
    /// client.
    pub(super) fn conclusion(&self) -> Option<Answer> {
        let (asking, request) = {
            let mut state = self.state();
            if let Some(verdict) = &state.verdict {
                return Some(Err(verdict.clone()));
            }
            let asking = self.asking.as_ref()?;
            if !matches!(state.stage, Stage::Open) || !state.inputs.has_requests() {
                return None;
            }
            state.stage = Stage::Concluded;
            (asking, std::mem::take(&mut state.inputs))
        };
        let settings = &self.node.core.settings.inputs;
        let bounds = Bounds {
            now: self.node.member.clock.unix_millis(),
            lifetime: u64::try_from(settings.lifetime.as_millis()).unwrap_or(u64::MAX),
            rounds: settings.max_rounds,
            bytes: settings.max_state_bytes,
        };
        let purpose = asking.purpose(settings, self.principal.as_ref(), self.version);
        Some(request.result(&bounds, |plain| self.node.sealer.seal(plain, &purpose)))
    }

    /// Marks the handler as ended, with or without an answer.
    pub(super) fn end(&self) {
        let permit = {
            let mut state = self.state();
            state.stage = Stage::Over(state.task().cloned());
            state.inputs = Inputs::default();
            state.permit.take()
        };
        if let (Some(permit), Some(queue)) = (permit, self.streamed()) {
            queue.hold(permit);
        }
        self.changed.notify_waiters();
    }

    /// Marks the call as cancelled: the handler ends without an answer.
    pub(super) fn cancel(&self) {
        self.state().cancelled = true;
    }

    pub(super) fn was_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Releases the permit of the call. A task counts as a task, and no longer as a call of its
    /// principal.
    pub(super) fn release(&self) {
        let permit = self.state().permit.take();
        drop(permit);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().is_over()
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

/// An open client request of the round. Dropping it withdraws the request.
struct Open<'a> {
    round: &'a Round,
    key: &'a str,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.round.state().inputs.withdraw(self.key);
    }
}

/// Tasks run for a long time, so they may hold only a part of the budget for bodies.
const TOO_LARGE: &str =
    "Too many bytes of requests that are tasks: they may hold a quarter of the limit for request bodies";

/// Returns the error for a call that cannot become a task.
fn no_task(core: &Core, error: &StoreError) -> ErrorObject {
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
            if let Some(left_out) = core.log_line(LogLine::Task) {
                tracing::error!(error = error as &dyn std::error::Error, left_out, "a task cannot be stored");
            }
            ErrorObject::internal()
        }
    }
}
