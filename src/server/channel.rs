//! Channel: the interface between a call and the transport that carries it. It hides the era and
//! the engine from handlers.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::client_request::ClientRequest;
use super::session_access::SessionAccess;
use super::{Cancellation, ClientError};
use crate::error::StoreError;
use crate::handle::McpHandle;
use crate::identity::Principal;
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion, RawJson, RequestId, write};

/// The transport as one call sees it.
pub(crate) trait Channel: fmt::Debug + Send + Sync {
    fn version(&self) -> ProtocolVersion;
    fn client(&self) -> Option<&Implementation>;
    fn capabilities(&self) -> Option<&ClientCapabilities>;
    fn principal(&self) -> Option<&Principal>;
    fn session(&self) -> Option<Arc<dyn SessionAccess>>;
    fn handle(&self) -> McpHandle;
    /// Returns the least severe log level that the client wants, as an index into the eight levels
    /// of RFC 5424.
    fn log_level(&self) -> u8;
    /// Sets that level for the session on every node. Completes once every node will use it.
    fn set_log_level(&self, level: u8) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Queues a serialized notification for the stream of this call. After the call has ended it is
    /// dropped. Returns `true` if the queue has capacity for more.
    fn send(&self, notification: Bytes) -> bool;
    /// Serializes and queues a notification.
    fn notify(&self, method: &str, params: &RawJson) -> bool {
        self.send(write::notification(method, params))
    }
    /// Waits until the queue has capacity again.
    fn ready(&self) -> BoxFuture<'_, ()>;
    /// Returns the id of the request, if there is one.
    fn request_id(&self) -> Option<&RequestId> {
        None
    }
    /// Returns the last progress figure, if progress is sent. Never held across an await.
    fn progress(&self) -> Option<&Mutex<f64>> {
        None
    }
    /// Sends a request to the client within this call and waits for its answer without a timeout.
    fn request(&self, request: ClientRequest) -> BoxFuture<'_, Result<RawJson, ClientError>>;
    /// Reports that the client's answer does not match the request.
    fn misread(&self, method: &'static str, error: serde_json::Error) -> BoxFuture<'_, ClientError> {
        let _ = method;
        Box::pin(std::future::ready(ClientError::Unreadable(error)))
    }
    /// Turns the call into a task if the client supports tasks. Returns `true` if it is now a task.
    fn begin_task(&self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(false))
    }
    /// Returns `true` if the client accepts tasks as results, or if its revision has no tasks and
    /// it waits for every call.
    fn takes_tasks(&self) -> bool {
        true
    }
    /// Sets the status message of a task, for clients that poll it.
    fn set_status(&self, message: &str) {
        let _ = message;
    }
    /// Returns the key of the next step with this name, and the value it returned when the client
    /// made this call before.
    fn step(&self, key: &str) -> (String, Option<RawJson>) {
        let _ = key;
        (String::new(), None)
    }
    /// Stores the value of a step for the next time the client makes this call. `None`: it cannot
    /// be stored.
    fn remember(&self, step: String, value: Option<RawJson>) {
        let _ = (step, value);
    }
    /// Ends the response that carries this call; the client reconnects for the rest. Returns
    /// `false` if the stream cannot be resumed, and always before revision 2025-11-25.
    fn close_stream(&self, retry: Option<Duration>) -> bool;
    fn is_cancelled(&self) -> bool;
    /// Returns what the client sent to cancel the call, if this node received it.
    fn cancellation(&self) -> Option<Cancellation> {
        None
    }
    fn cancelled(&self) -> BoxFuture<'_, ()>;
}
