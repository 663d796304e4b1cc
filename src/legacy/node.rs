//! Decides what one service knows of its sessions: which are in use here, who listens here, what
//! runs here.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;

use super::bell::Bell;
use super::changes::{Line, Listener};
use super::familiar::Familiar;
use super::session::LiveSession;
use crate::error::{Rejection, StoreError, StoreErrorKind};
use crate::hall::{Hall, Heard, LogLine, Owed};
use crate::identity::{Principal, SessionId, SessionMap};
use crate::message::{ClientCapabilities, Era, Implementation, ProtocolVersion};
use crate::store::{Begin, Begun, EndReason, NodeId, SessionEngine, Step, StreamNo};

/// One service's share of the sessions.
pub(crate) struct Node {
    hall: Arc<Hall>,
    pub(crate) id: NodeId,
    /// The sessions in use here. What must survive, or be decided, is the engine's.
    pub(super) sessions: Arc<SessionMap<Arc<LiveSession>>>,
    /// Sessions whose standalone stream was opened here: those that are told of changes by this node. See
    /// [`changes`](super::changes).
    pub(super) listening: SessionMap<Listener>,
    /// Those of them that are to be told, in line.
    pub(super) line: Line,
    /// Which announcements were heard here.
    pub(super) heard: Heard,
    /// Re-checks of everything; see [`resync`](super::resync).
    pub(super) looks_owed: Owed,
    /// What clients say of themselves: the same program says the same in all of its sessions.
    pub(super) clients: Familiar<Implementation>,
    pub(super) capabilities: Familiar<ClientCapabilities>,
    me: Weak<Self>,
}

/// A node is the hall, with sessions.
impl Deref for Node {
    type Target = Hall;

    fn deref(&self) -> &Hall {
        &self.hall
    }
}

impl Node {
    pub(crate) fn new(hall: &Arc<Hall>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            hall: Arc::clone(hall),
            id: hall.engine.join(Arc::new(Bell::new(me.clone())), hall.settings.policy()),
            sessions: Arc::default(),
            listening: SessionMap::default(),
            line: Line::default(),
            heard: Heard::default(),
            looks_owed: Owed::default(),
            clients: Familiar::default(),
            capabilities: Familiar::default(),
            me: me.clone(),
        })
    }

    /// Whether sessions of this revision are served.
    pub(super) fn speaks(&self, version: ProtocolVersion) -> bool {
        version.era() == Era::Legacy && self.versions.contains(&version)
    }

    /// The newest session revision served.
    pub(super) fn newest_version(&self) -> ProtocolVersion {
        self.versions
            .iter()
            .copied()
            .filter(|version| version.era() == Era::Legacy)
            .max()
            .unwrap_or(ProtocolVersion::NEWEST_SESSION)
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
            if let Some(left_out) = self.log_line(LogLine::OtherPrincipal) {
                tracing::warn!(session = ?id, left_out, "a request of another principal was refused");
            }
            return Err(Rejection::SessionNotFound);
        }
        let loaded = self.engine.load(id, principal).await.map_err(|error| self.refusal(&error))?;
        let session = LiveSession::new(loaded.info, loaded.epoch, self.me.clone());
        session.restore(self).await.map_err(|error| self.refusal(&error))?;
        let session = Arc::new(session);
        let session = Arc::clone(&self.sessions.entry(id).or_insert_with(|| session));
        // Whoever opened it may be gone.
        self.hall.start_reaper(self.id);
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
        let found = self.engine.find(id).await.ok()?;
        Some(found.principal.clone())
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
    /// flight that no node runs. What changed of the session at another node is known here before they run.
    pub(super) async fn begin(
        self: &Arc<Self>,
        session: &LiveSession,
        begin: Begin<'_>,
    ) -> Result<StreamNo, StoreError> {
        let id = begin.session;
        let step = match self.engine.begin(begin).now() {
            Ok(begun) => {
                let Begun { stream, revision } = begun?;
                if revision > session.revision() {
                    let started = Started { hall: Arc::clone(&self.hall), session: id, stream, revision, kept: false };
                    session.keep_up(self, revision).await;
                    started.keep();
                }
                return Ok(stream);
            }
            Err(step) => step,
        };
        let (hall, (sender, begun)) = (Arc::clone(&self.hall), oneshot::channel());
        self.tasks.spawn(async move {
            let started = |Begun { stream, revision }| Started { hall, session: id, stream, revision, kept: false };
            // Where nobody hears it, be it sent already, it takes itself back.
            let _ = sender.send(step.await.map(started));
        });
        let started = begun.await.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Unavailable)))?;
        session.keep_up(self, started.revision).await;
        Ok(started.keep())
    }

    /// See [`Hall::give_back`].
    pub(super) fn give_back<T, F>(&self, step: F)
    where
        T: Unpin + Send + 'static,
        F: Fn(&dyn SessionEngine) -> Step<Result<T, StoreError>> + Send + 'static,
    {
        self.hall.give_back(step);
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
                if let Some(left_out) = self.log_line(LogLine::OutOfReach) {
                    let error = error as &dyn std::error::Error;
                    tracing::error!(error, left_out, "the session engine is out of reach");
                }
                Rejection::EngineUnavailable
            }
            _ => {
                if let Some(left_out) = self.log_line(LogLine::EngineFailed) {
                    tracing::error!(error = error as &dyn std::error::Error, left_out, "the session engine failed");
                }
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
        self.hall.start_reaper(self.id);
        self.sessions.contains_key(&session.info.id)
    }
}

/// Calls that were begun, on their way to whoever runs them. Dropped on the way, they are finished:
/// nobody would.
struct Started {
    hall: Arc<Hall>,
    session: SessionId,
    stream: StreamNo,
    revision: u64,
    kept: bool,
}

impl Started {
    fn keep(mut self) -> StreamNo {
        self.kept = true;
        self.stream
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.kept {
            let (session, stream) = (self.session, self.stream);
            self.hall.step_in_background(self.hall.engine.finish(session, stream));
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
