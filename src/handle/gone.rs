//! A service that is gone, for tests: a handle that reaches nothing.

use std::sync::Weak;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::request::Parts;

use super::{Control, DrainReport, McpHandle};
use crate::counters::Statistics;
use crate::error::{Rejection, StoreError};
use crate::identity::{Principal, SessionId};
use crate::server::Session;
use crate::server::change::Change;
use crate::store::SessionSummary;

enum Gone {}

impl McpHandle {
    /// Returns the handle of a service that is gone.
    pub(crate) fn nowhere() -> Self {
        Self(Weak::<Gone>::new())
    }
}

impl Control for Gone {
    fn announce(&self, _: &Change) {
        match *self {}
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SessionSummary>, StoreError>> {
        match *self {}
    }

    fn session(&self, _: SessionId) -> BoxFuture<'_, Result<Session, StoreError>> {
        match *self {}
    }

    fn session_of<'a>(&'a self, _: SessionId, _: Option<&'a Principal>) -> BoxFuture<'a, Result<Session, Rejection>> {
        match *self {}
    }

    fn sessions_of<'a>(&'a self, _: &'a Principal) -> BoxFuture<'a, Result<Vec<SessionId>, StoreError>> {
        match *self {}
    }

    fn end_listens_of(&self, _: &Principal) {
        match *self {}
    }

    fn principal_of(&self, _: &Parts) -> Option<Principal> {
        match *self {}
    }

    fn end_session(&self, _: SessionId) -> BoxFuture<'_, Result<(), StoreError>> {
        match *self {}
    }

    fn expire_sessions(&self) -> BoxFuture<'_, Result<usize, StoreError>> {
        match *self {}
    }

    fn statistics(&self) -> BoxFuture<'_, Statistics> {
        match *self {}
    }

    fn is_shutting_down(&self) -> bool {
        match *self {}
    }

    fn begin_shutdown(&self) {
        match *self {}
    }

    fn shutdown_started(&self) -> BoxFuture<'static, ()> {
        match *self {}
    }

    fn drain(&self, _: Duration) -> BoxFuture<'_, DrainReport> {
        match *self {}
    }
}
