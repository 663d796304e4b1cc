//! Decides what one service knows of its sessions: which are in use here, who listens here, what
//! runs here.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::bell::Bell;
use super::reaper;
use super::session::LiveSession;
use crate::counters::Counters;
use crate::error::{Rejection, StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId, SessionMap};
use crate::message::{ProtocolVersion, write};
use crate::server::channel::{Broadcast, Change};
use crate::settings::Settings;
use crate::store::{Begin, EndReason, Ended, Event, EventKind, NodeId, SessionEngine, Step, StreamNo};

/// One service's share of the sessions.
pub(crate) struct Node {
    pub(crate) engine: Arc<dyn SessionEngine>,
    pub(crate) id: NodeId,
    pub(crate) settings: Settings,
    pub(crate) versions: Vec<ProtocolVersion>,
    pub(crate) counters: Counters,
    /// Tasks that run for this service.
    pub(crate) tasks: TaskTracker,
    /// Calls in flight here, in a task or in a request; a drain waits for them.
    pub(super) running: TaskTracker,
    /// The sessions in use here. What must survive, or be decided, is the engine's.
    pub(super) sessions: Arc<SessionMap<Arc<LiveSession>>>,
    /// Sessions whose standalone stream was opened here: those that hear of changes.
    pub(super) listening: SessionMap<()>,
    draining: AtomicBool,
    reaper: OnceLock<()>,
    me: Weak<Self>,
}

impl Node {
    pub(crate) fn new(engine: Arc<dyn SessionEngine>, settings: Settings, versions: Vec<ProtocolVersion>) -> Arc<Self> {
        Arc::new_cyclic(|me| {
            let id = engine.join(Arc::new(Bell::new(me.clone())), settings.policy());
            Self {
                engine,
                id,
                settings,
                versions,
                counters: Counters::default(),
                tasks: TaskTracker::new(),
                running: TaskTracker::new(),
                sessions: Arc::default(),
                listening: SessionMap::default(),
                draining: AtomicBool::new(false),
                reaper: OnceLock::new(),
                me: me.clone(),
            }
        })
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// From now on nothing new is taken.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// The newest session revision served.
    pub(super) fn newest_version(&self) -> ProtocolVersion {
        self.versions.iter().copied().max().unwrap_or(ProtocolVersion::NEWEST_SESSION)
    }

    /// A session as it is used here; brought in from the engine when another node opened it.
    /// Whoever is not its principal learns nothing.
    pub(crate) async fn session(
        &self,
        id: SessionId,
        principal: Option<&Principal>,
    ) -> Result<Arc<LiveSession>, Rejection> {
        let here = self.sessions.get(&id).map(|session| Arc::clone(&session));
        if let Some(session) = here {
            if session.info.principal.as_ref() == principal {
                return Ok(session);
            }
            tracing::warn!(session = ?id, "a request of another principal was refused");
            return Err(Rejection::SessionNotFound);
        }
        let loaded = self.engine.load(id, principal).await.map_err(|error| self.refusal(&error))?;
        let session = LiveSession::new(loaded.info, loaded.epoch, self.me.clone());
        session.restore(self).await.map_err(|error| self.refusal(&error))?;
        let session = Arc::new(session);
        let session = Arc::clone(&self.sessions.entry(id).or_insert_with(|| session));
        // Whoever opened it may be gone.
        self.start_reaper();
        // It may have ended since it was loaded, when nobody here could hear of it.
        if let Err(error) = self.engine.load(id, principal).await {
            self.forget(id);
            return Err(self.refusal(&error));
        }
        Ok(session)
    }

    /// Whose a session is; `None` when there is no such session.
    pub(crate) async fn owner_of(&self, id: SessionId) -> Option<Option<Principal>> {
        if let Some(session) = self.sessions.get(&id) {
            return Some(session.info.principal.clone());
        }
        let sessions = self.engine.list().await.ok()?;
        sessions.into_iter().find(|summary| summary.info.id == id).map(|summary| summary.info.principal.clone())
    }

    /// A session is over, or never came to be: nothing of it is kept here.
    pub(super) fn forget(&self, id: SessionId) {
        // In this order: who begins to listen now looks for the session after it.
        let session = self.sessions.remove(&id);
        self.listening.remove(&id);
        if let Some((_, session)) = session {
            session.close();
        }
    }

    /// Registers calls. A client that leaves before the engine has answered must not leave calls in
    /// flight that nobody runs.
    pub(super) async fn begin(&self, begin: Begin<'_>) -> Result<StreamNo, StoreError> {
        let session = begin.session;
        let step = match self.engine.begin(begin).now() {
            Ok(begun) => return begun,
            Err(step) => step,
        };
        let (engine, (sender, begun)) = (Arc::clone(&self.engine), oneshot::channel());
        self.tasks.spawn(async move {
            let begun = step.await;
            let stream = begun.as_ref().ok().copied();
            if let (Err(_), Some(stream)) = (sender.send(begun), stream) {
                let _ = engine.finish(session, stream).await;
            }
        });
        begun.await.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Unavailable)))
    }

    /// Ends a session, and tells whoever wants to know. That goes on when the caller leaves.
    pub(crate) async fn end(&self, session: SessionId, reason: EndReason) -> Result<(), StoreError> {
        let step = match self.engine.end(session, reason).now() {
            Ok(ended) => {
                self.closed([ended?]);
                return Ok(());
            }
            Err(step) => step,
        };
        let node = self.me.clone();
        let ending = self.tasks.spawn(async move {
            let ended = step.await?;
            if let Some(node) = node.upgrade() {
                node.closed([ended]);
            }
            Ok(())
        });
        ending.await.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Unavailable)))
    }

    /// What an engine's error is to a client; what only the operator may know is logged.
    pub(super) fn refusal(&self, error: &StoreError) -> Rejection {
        match error.kind() {
            StoreErrorKind::NotFound => Rejection::SessionNotFound,
            StoreErrorKind::Unavailable => {
                tracing::error!(error = error as &dyn std::error::Error, "the session engine is out of reach");
                Rejection::EngineUnavailable
            }
            _ => {
                tracing::error!(error = error as &dyn std::error::Error, "the session engine failed");
                Rejection::Internal
            }
        }
    }

    /// A session is being opened here. Known here before the engine knows it, so that its end finds
    /// it, however soon that comes.
    pub(super) fn know(&self, session: &Arc<LiveSession>) {
        self.sessions.insert(session.info.id, Arc::clone(session));
    }

    /// A session was opened here; whether it has not ended while it was welcomed.
    pub(super) fn opened(&self, session: &LiveSession) -> bool {
        self.counters.opened();
        self.start_reaper();
        self.sessions.contains_key(&session.info.id)
    }

    fn start_reaper(&self) {
        self.reaper.get_or_init(|| reaper::start(self.me.clone(), &self.settings));
    }

    /// Sessions the engine handed to us as ended: told once to whoever wants to know.
    pub(crate) fn closed(&self, ended: impl IntoIterator<Item = Ended>) {
        for ended in ended {
            self.counters.ended(ended.reason);
            tracing::debug!(session = ?ended.info.id, reason = ?ended.reason, "session ended");
            if let Some(hook) = &self.settings.sessions.closed {
                self.in_background(hook(ended));
            }
        }
    }

    /// Runs something nobody waits for. Most such things are done at once and need no task. A
    /// panic in it stays in it.
    pub(super) fn in_background(&self, future: BoxFuture<'static, ()>) {
        let mut future = Box::pin(AssertUnwindSafe(future).catch_unwind().map(|result| {
            if result.is_err() {
                tracing::error!("a handler panicked");
            }
        }));
        // The task polls again, so nothing is lost by this waker that wakes nobody.
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.tasks.spawn(future);
        }
    }

    /// Runs a step of the engine nobody waits for.
    pub(super) fn step_in_background<T: Unpin + Send + 'static>(&self, step: Step<Result<T, StoreError>>) {
        if let Err(step) = step.now()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.tasks.spawn(async move {
                if let Err(error) = step.await
                    && error.kind() != StoreErrorKind::NotFound
                {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a step of the session engine failed");
                }
            });
        }
    }

    /// Tells the sessions that listen here of a change announced anywhere.
    pub(super) fn tell(&self, topic: &str) {
        if self.hear(topic) {
            return;
        }
        let Ok(change) = serde_json::from_str::<Change>(topic) else { return };
        let (method, params) = change.notification();
        let event = Event { kind: EventKind::Notification, payload: write::notification(method, &params) };
        let listeners: Vec<SessionId> = self.listening.iter().map(|entry| *entry.key()).collect();
        for id in listeners {
            let wants = match &change {
                Change::Resource(uri) => self.sessions.get(&id).is_some_and(|session| session.subscribes(uri)),
                Change::Tools | Change::Prompts | Change::Resources => true,
            };
            if wants {
                self.step_in_background(self.engine.publish(id, self.id, event.clone()));
            }
        }
    }
}

impl Broadcast for Node {
    fn publish(&self, change: &Change) {
        if let Ok(topic) = serde_json::to_string(change) {
            self.step_in_background(self.engine.announce(&topic));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.engine.leave(self.id);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id).field("engine", &self.engine).finish_non_exhaustive()
    }
}
