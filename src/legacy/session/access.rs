//! Access of server code to a session: its info, its state, and its client outside of any call.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;

use super::LiveSession;
use crate::error::{StoreError, StoreErrorKind, if_found};
use crate::identity::SessionInfo;
use crate::legacy::client_requests;
use crate::message::{RawJson, write};
use crate::server::session_access::SessionAccess;
use crate::server::{ClientError, Extensions};
use crate::store::{EndReason, Event, EventKind};

impl SessionAccess for LiveSession {
    fn info(&self) -> &SessionInfo {
        &self.info
    }

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn load_state(&self, key: &str) -> BoxFuture<'_, Result<(Option<RawJson>, u64), StoreError>> {
        match self.member.upgrade() {
            Some(member) => Box::pin(member.core.engine.load_state(self.info.id, key)),
            None => Box::pin(std::future::ready(Err(StoreError::new(StoreErrorKind::NotFound)))),
        }
    }

    fn store_state(&self, key: &str, value: RawJson, version: u64) -> BoxFuture<'_, Result<bool, StoreError>> {
        match self.member.upgrade() {
            Some(member) => Box::pin(member.core.engine.store_state(self.info.id, key, value, version)),
            None => Box::pin(std::future::ready(Err(StoreError::new(StoreErrorKind::NotFound)))),
        }
    }

    fn log_level(&self) -> u8 {
        self.log_level.load(Ordering::Relaxed)
    }

    fn notify(&self, method: &str, params: &RawJson) {
        self.publish(write::notification(method, params));
    }

    fn try_notify(&self, method: &str, params: &RawJson) -> BoxFuture<'_, Result<bool, StoreError>> {
        let event = Event { kind: EventKind::Notification, payload: write::notification(method, params) };
        Box::pin(async move {
            let Some(member) = self.member.upgrade() else { return Ok(false) };
            // Without a reader, an accepted event counts as unread, and a dropped one does not.
            let published = member.core.engine.publish(self.info.id, member.id, event).await;
            member.core.count_lost(self.info.id, &published);
            Ok(if_found(published)?.is_some_and(|appended| appended.read || appended.unread > 0))
        })
    }

    fn stream_opened(&self) -> BoxFuture<'static, ()> {
        match self.opening() {
            Some(opening) => Box::pin(opening.notified_owned()),
            None => Box::pin(std::future::ready(())),
        }
    }

    fn request(&self, method: Cow<'static, str>, params: RawJson) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        Box::pin(async move { client_requests::request_standalone(self, self.member.upgrade(), &method, params).await })
    }

    fn subscriptions(&self) -> Vec<String> {
        self.subscribed()
    }

    fn subscribe(&self, uri: &str, wanted: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        let uri = uri.to_owned();
        Box::pin(async move { self.change_subscription(&uri, wanted).await })
    }

    fn end(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let Some(member) = self.member.upgrade() else { return Ok(false) };
            Ok(if_found(member.core.end_session(self.info.id, EndReason::Closed).await)?.is_some())
        })
    }
}
