//! The legacy part of one service: the sessions in use here, their listeners and their calls.

use std::fmt;
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;

use super::interner::Interner;
use super::listeners::{DeliveryQueue, Listener};
use super::member::Member;
use super::session::LiveSession;
use crate::core::{Core, LogLine, Received, Recheck};
use crate::error::{Rejection, StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId, SessionMap};
use crate::message::{ClientCapabilities, Era, Implementation, ProtocolVersion};
use crate::store::{Begin, Begun, NodeId, SignalHandler, StreamNo};

/// The sessions of one service.
pub(crate) struct Node {
    pub(crate) core: Arc<Core>,
    pub(crate) id: NodeId,
    /// What sessions know of this node.
    pub(super) member: Arc<Member>,
    /// The sessions in use here. The engine stores what must survive, and decides what nodes must
    /// agree on.
    pub(super) sessions: Arc<SessionMap<Arc<LiveSession>>>,
    /// The sessions whose standalone stream was opened here. This node delivers changes to them;
    /// see [`delivery`](super::delivery).
    pub(super) listeners: SessionMap<Listener>,
    /// The queue of those listeners that have changes to receive.
    pub(super) delivery_queue: DeliveryQueue,
    /// Re-checks of everything; see [`resync`](super::resync).
    pub(super) rechecks: Recheck,
    /// What clients state about themselves. A program states the same in all of its sessions, so
    /// equal values are shared.
    pub(super) clients: Interner<Implementation>,
    pub(super) capabilities: Interner<ClientCapabilities>,
}

impl Node {
    /// Creates a node, whose signals the engine gives to the handler.
    pub(super) fn new(core: &Arc<Core>, handler: impl FnOnce(&Weak<Self>) -> Arc<dyn SignalHandler>) -> Arc<Self> {
        Arc::new_cyclic(|me| {
            let id = core.engine.join(handler(me), core.settings.policy());
            Self {
                core: Arc::clone(core),
                id,
                member: Arc::new(Member { core: Arc::clone(core), id, received: Received::default() }),
                sessions: Arc::default(),
                listeners: SessionMap::default(),
                delivery_queue: DeliveryQueue::default(),
                rechecks: Recheck::default(),
                clients: Interner::default(),
                capabilities: Interner::default(),
            }
        })
    }

    /// Returns `true` if sessions of this revision are served.
    pub(super) fn speaks(&self, version: ProtocolVersion) -> bool {
        version.era() == Era::Legacy && self.core.versions.contains(&version)
    }

    /// Returns the newest session revision that is served.
    pub(super) fn newest_version(&self) -> ProtocolVersion {
        self.core
            .versions
            .iter()
            .copied()
            .filter(|version| version.era() == Era::Legacy)
            .max()
            .unwrap_or(ProtocolVersion::NEWEST_SESSION)
    }

    /// Returns a session for use on this node, and loads it from the engine if another node opened
    /// it. To any other principal the session does not exist.
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
            if let Some(left_out) = self.core.log_line(LogLine::OtherPrincipal) {
                tracing::warn!(session = ?id, left_out, "a request of another principal was rejected");
            }
            return Err(Rejection::SessionNotFound);
        }
        self.load_session(id, principal).await.map_err(|error| self.rejection(&error))
    }

    /// Returns a session for use on this node, regardless of its principal.
    pub(crate) async fn session_of_any(&self, id: SessionId) -> Result<Arc<LiveSession>, StoreError> {
        let here = self.sessions.get(&id).map(|session| Arc::clone(&session));
        if let Some(session) = here {
            return Ok(session);
        }
        let principal = self.core.engine.peek(id).await?.principal.clone();
        self.load_session(id, principal.as_ref()).await
    }

    async fn load_session(&self, id: SessionId, principal: Option<&Principal>) -> Result<Arc<LiveSession>, StoreError> {
        let loaded = self.core.engine.load(id, principal).await?;
        let session = LiveSession::new(loaded.info, loaded.epoch, Arc::downgrade(&self.member));
        session.restore(&self.core).await?;
        let session = Arc::new(session);
        let session = Arc::clone(&self.sessions.entry(id).or_insert_with(|| session));
        // The node that opened the session may be gone.
        self.core.start_reaper(self.id);
        // The session may have ended since it was loaded, when this node could not yet receive the
        // signal.
        if let Err(error) = self.core.engine.load(id, principal).await {
            self.forget(id);
            return Err(error);
        }
        Ok(session)
    }

    /// Removes a session from this node, because it ended or its opening failed.
    pub(super) fn forget(&self, id: SessionId) {
        // The order matters: a stream that starts to listen now checks for the session afterwards.
        let session = self.sessions.remove(&id);
        self.listeners.remove(&id);
        if let Some((_, session)) = session {
            session.close();
        }
    }

    /// Registers calls with the engine. If the client disconnects before the engine has answered,
    /// the calls are finished again, because no node would run them. Changes of the session at
    /// other nodes are read before the calls run.
    pub(super) async fn begin(
        self: &Arc<Self>,
        session: &LiveSession,
        begin: Begin<'_>,
    ) -> Result<StreamNo, StoreError> {
        let id = begin.session;
        let step = match self.core.engine.begin(begin).now() {
            Ok(begun) => {
                let Begun { stream, revision } = begun?;
                if revision > session.revision() {
                    let started = Started { core: Arc::clone(&self.core), session: id, stream, revision, kept: false };
                    self.keep_up(session, revision).await;
                    started.keep();
                }
                return Ok(stream);
            }
            Err(step) => step,
        };
        let (core, (sender, begun)) = (Arc::clone(&self.core), oneshot::channel());
        self.core.tasks.spawn(async move {
            let started = |Begun { stream, revision }| Started { core, session: id, stream, revision, kept: false };
            // If the receiver is gone, even after the send, the dropped value finishes the calls.
            let _ = sender.send(step.await.map(started));
        });
        let started = begun.await.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Unavailable)))?;
        self.keep_up(session, started.revision).await;
        Ok(started.keep())
    }

    /// Maps an engine's error to a rejection. Details that only the operator may know are logged.
    pub(crate) fn rejection(&self, error: &StoreError) -> Rejection {
        match error.kind() {
            StoreErrorKind::NotFound => Rejection::SessionNotFound,
            StoreErrorKind::Unavailable => {
                if let Some(left_out) = self.core.log_line(LogLine::OutOfReach) {
                    let error = error as &dyn std::error::Error;
                    tracing::error!(error, left_out, "the session engine cannot be reached");
                }
                Rejection::EngineUnavailable
            }
            _ => {
                if let Some(left_out) = self.core.log_line(LogLine::EngineFailed) {
                    tracing::error!(error = error as &dyn std::error::Error, left_out, "the session engine failed");
                }
                Rejection::Internal
            }
        }
    }

    /// Adds a session that is being opened. It is added before the engine creates it, so that its
    /// end is noticed however soon it comes.
    pub(super) fn share_client(&self, session: &Arc<LiveSession>) {
        self.sessions.insert(session.info.id, Arc::clone(session));
    }

    /// Counts a session that was opened here. Returns `false` if it ended during its opening.
    pub(super) fn opened(&self, session: &LiveSession) -> bool {
        self.core.counters.opened();
        self.core.start_reaper(self.id);
        self.sessions.contains_key(&session.info.id)
    }
}

/// Calls that the engine has registered and that do not run yet. Dropping this finishes them,
/// because no other owner would.
struct Started {
    core: Arc<Core>,
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
            self.core.step_in_background(self.core.engine.finish(session, stream));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.core.engine.leave(self.id);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id).field("engine", &self.core.engine).finish_non_exhaustive()
    }
}
