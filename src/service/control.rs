//! What a service does for its handle: each verb, on the core and on both eras.

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::request::Parts;

use super::Shared;
use crate::counters::Statistics;
use crate::error::{Rejection, StoreError};
use crate::handle::{Control, DrainReport};
use crate::identity::{Principal, SessionId};
use crate::server::Session;
use crate::server::change::Change;
use crate::store::{EndReason, SessionSummary};

/// How long the responses of cut calls may take to be written.
const FLUSH_GRACE: Duration = Duration::from_secs(1);

impl<S: 'static> Control for Shared<S> {
    fn announce(&self, change: &Change) {
        self.core.publish(change);
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SessionSummary>, StoreError>> {
        Box::pin(self.core.engine.list())
    }

    fn session(&self, id: SessionId) -> BoxFuture<'_, Result<Session, StoreError>> {
        Box::pin(async move { Ok(Session::new(self.legacy.session_of_any(id).await? as _)) })
    }

    fn session_of<'a>(
        &'a self,
        id: SessionId,
        principal: Option<&'a Principal>,
    ) -> BoxFuture<'a, Result<Session, Rejection>> {
        Box::pin(async move {
            let session = self.legacy.session(id, principal).await?;
            self.core.engine.load(id, principal).await.map_err(|error| self.legacy.rejection(&error))?;
            Ok(Session::new(session as _))
        })
    }

    fn sessions_of<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, Result<Vec<SessionId>, StoreError>> {
        Box::pin(self.core.engine.sessions_of(principal))
    }

    fn end_listens_of(&self, principal: &Principal) {
        self.modern.end_listens_of(principal);
    }

    fn principal_of(&self, parts: &Parts) -> Option<Principal> {
        self.core.settings.sessions.principal_of(parts)
    }

    fn end_session(&self, id: SessionId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.core.end_session(id, EndReason::Closed))
    }

    fn expire_sessions(&self) -> BoxFuture<'_, Result<usize, StoreError>> {
        Box::pin(self.core.expire(self.legacy.id))
    }

    fn statistics(&self) -> BoxFuture<'_, Statistics> {
        Box::pin(async {
            let sessions = self.core.engine.count().await.ok();
            self.core.counters.read(sessions, self.modern.listens())
        })
    }

    fn is_shutting_down(&self) -> bool {
        self.core.lifecycle.is_shutting_down()
    }

    fn begin_shutdown(&self) {
        self.core.lifecycle.begin_shutdown();
        self.legacy.begin_shutdown();
    }

    fn shutdown_started(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.core.lifecycle.left())
    }

    fn drain(&self, timeout: Duration) -> BoxFuture<'_, DrainReport> {
        Box::pin(async move {
            let (core, legacy, modern) = (&self.core, &self.legacy, &self.modern);
            core.lifecycle.drain();
            let leaving = legacy.begin_drain();
            let mut report = DrainReport {
                closed_streams: leaving.closed_streams + modern.end_listens(),
                calls: core.running.len(),
                ..DrainReport::default()
            };
            if !core.finished_within(timeout).await {
                report.cut_calls = core.running.len();
                leaving.cut_calls();
                modern.cut_calls();
                core.finished_within(FLUSH_GRACE).await;
            }
            let ended = legacy.finish_drain(leaving).await;
            (report.ended_sessions, report.failed_sessions) = (ended.ended, ended.failed);
            report
        })
    }
}
