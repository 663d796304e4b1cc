//! The channel of a round: what a handler's [`Context`](crate::server::Context) can do when there
//! is no session behind it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::round::Round;
use crate::core::LogLine;
use crate::error::StoreError;
use crate::handle::McpHandle;
use crate::identity::Principal;
use crate::message::{ClientCapabilities, ErrorObject, Implementation, ProtocolVersion, RawJson, RequestId, shown};
use crate::server::channel::Channel;
use crate::server::client_request::ClientRequest;
use crate::server::session_access::SessionAccess;
use crate::server::{ClientError, LogLevel};
use crate::settings::ResponseMode;

/// Above the severity of any message.
const NOTHING: u8 = LogLevel::Emergency as u8 + 1;

impl Channel for Round {
    fn version(&self) -> ProtocolVersion {
        Self::version(self)
    }

    fn client(&self) -> Option<&Implementation> {
        self.client_info()
    }

    fn capabilities(&self) -> Option<&ClientCapabilities> {
        Some(self.client_capabilities())
    }

    fn principal(&self) -> Option<&Principal> {
        Self::principal(self)
    }

    fn request_id(&self) -> Option<&RequestId> {
        Some(self.id())
    }

    fn progress(&self) -> Option<&Mutex<f64>> {
        Some(&self.progress)
    }

    fn session(&self) -> Option<Arc<dyn SessionAccess>> {
        None
    }

    fn handle(&self) -> McpHandle {
        self.node().core.handle.clone()
    }

    /// A client receives no messages unless its request states a level (2026-07-28, Logging).
    fn log_level(&self) -> u8 {
        self.wanted_level().map_or(NOTHING, |level| level as u8)
    }

    fn set_log_level(&self, _level: u8) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn send(&self, notification: Bytes) -> bool {
        let goes_nowhere = self.mode() == ResponseMode::Json;
        if goes_nowhere || !self.takes_messages() {
            self.node().core.counters.dropped(1);
            return true;
        }
        self.stream().push(std::iter::once(notification), false)
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let queue = self.stream();
            let patience = self.node().core.settings.streams.slow_reader_timeout;
            if tokio::time::timeout(patience, queue.room()).await.is_err() {
                self.node().core.counters.slow_reader();
                if let Some(left_out) = self.node().core.log_line(LogLine::SlowReader) {
                    tracing::warn!(left_out, "a reader that was too slow was cut off");
                }
                queue.abandon();
            }
        })
    }

    fn request(&self, request: ClientRequest) -> BoxFuture<'_, Result<RawJson, ClientError>> {
        Box::pin(self.request(request))
    }

    /// The client sent the wrong answer, so the client receives the error.
    fn misread(&self, method: &'static str, error: serde_json::Error) -> BoxFuture<'_, ClientError> {
        Box::pin(async move {
            tracing::debug!(
                error = &*shown(&error.to_string()),
                method,
                "the answer of a client does not match its request"
            );
            let text = format!("Invalid params: an input response does not match its {method}");
            self.end_with(ErrorObject::invalid_params(text)).await;
            ClientError::Ended
        })
    }

    fn begin_task(&self) -> BoxFuture<'_, bool> {
        Box::pin(self.become_task())
    }

    fn takes_tasks(&self) -> bool {
        self.client_capabilities().takes_tasks()
    }

    fn set_status(&self, message: &str) {
        if let Some(task) = self.task() {
            task.say(message);
        }
    }

    fn step(&self, key: &str) -> (String, Option<RawJson>) {
        Self::step(self, key)
    }

    fn remember(&self, step: String, value: Option<RawJson>) {
        Self::remember(self, step, value);
    }

    fn close_stream(&self, _retry: Option<Duration>) -> bool {
        false
    }

    fn is_cancelled(&self) -> bool {
        self.was_cancelled()
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.ended())
    }
}
