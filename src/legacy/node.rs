//! The legacy part of one service: the sessions in use here, their listeners and their calls.

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

/// The sessions of one service.
pub(crate) struct Node {
    hall: Arc<Hall>,
    pub(crate) id: NodeId,
    /// The sessions in use here. The engine stores what must survive, and decides what nodes must
    /// agree on.
    pub(super) sessions: Arc<SessionMap<Arc<LiveSession>>>,
    /// The sessions whose standalone stream was opened here. This node delivers changes to them;
    /// see [`changes`](super::changes).
    pub(super) listening: SessionMap<Listener>,
    /// The queue of those listeners that have changes to receive.
    pub(super) line: Line,
    /// The announcements that reached this node.
    pub(super) heard: Heard,
    /// Re-checks of everything; see [`resync`](super::resync).
    pub(super) looks_owed: Owed,
    /// What clients state about themselves. A program states the same in all of its sessions, so
    /// equal values are shared.
    pub(super) clients: Familiar<Implementation>,
    pub(super) capabilities: Familiar<ClientCapabilities>,
    me: Weak<Self>,
}

/// A node extends the core of the service with sessions.
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

    /// Returns `true` if sessions of this revision are served.
    pub(super) fn speaks(&self, version: ProtocolVersion) -> bool {
        version.era() == Era::Legacy && self.versions.contains(&version)
    }

    /// Returns the newest session revision that is served.
    pub(super) fn newest_version(&self) -> ProtocolVersion {
        self.versions
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
        // The node that opened the session may be gone.
        self.hall.start_reaper(self.id);
        // The session may have ended since it was loaded, when this node could not yet receive the
        // signal.
        if let Err(error) = self.engine.load(id, principal).await {
            self.forget(id);
            return Err(self.refusal(&error));
        }
        Ok(session)
    }

    /// Returns the principal of a session; `None` if there is no such session.
    pub(crate) async fn owner_of(&self, id: SessionId) -> Option<Option<Principal>> {
        if let Some(session) = self.sessions.get(&id) {
            return Some(session.info.principal.clone());
        }
        let found = self.engine.find(id).await.ok()?;
        Some(found.principal.clone())
    }

    /// Removes a session from this node, because it ended or its opening failed.
    pub(super) fn forget(&self, id: SessionId) {
        // The order matters: a stream that starts to listen now checks for the session afterwards.
        let session = self.sessions.remove(&id);
        self.listening.remove(&id);
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
            // If the receiver is gone, even after the send, the dropped value finishes the calls.
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

    /// Ends a session and notifies the application. Both continue if the caller is dropped.
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

    /// Maps an engine's error to a rejection. Details that only the operator may know are logged.
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

    /// Adds a session that is being opened. It is added before the engine creates it, so that its
    /// end is noticed however soon it comes.
    pub(super) fn know(&self, session: &Arc<LiveSession>) {
        self.sessions.insert(session.info.id, Arc::clone(session));
    }

    /// Counts a session that was opened here. Returns `false` if it ended during its opening.
    pub(super) fn opened(&self, session: &LiveSession) -> bool {
        self.counters.opened();
        self.hall.start_reaper(self.id);
        self.sessions.contains_key(&session.info.id)
    }
}

/// Calls that the engine has registered and that do not run yet. Dropping this finishes them,
/// because no other owner would.
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
