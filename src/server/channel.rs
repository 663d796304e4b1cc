//! Channel: the interface between a call and the transport that carries it. It hides the era and
//! the engine from handlers.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Cancellation, ClientError, Extensions};
use crate::error::StoreError;
use crate::handle::McpHandle;
use crate::identity::{Principal, SessionInfo};
use crate::message::{ClientCapabilities, Implementation, ProtocolVersion, RawJson, RequestId, ResourceUri, write};

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

/// A request to the client.
#[derive(Debug)]
pub(crate) struct ClientRequest {
    pub(crate) method: Cow<'static, str>,
    pub(crate) params: RawJson,
    /// The key of the request within its call, if the handler named one.
    pub(crate) key: Option<Cow<'static, str>>,
}

/// The most bytes of JSON in the parameters of `sampling/createMessage`. Its messages carry images.
/// It equals the default replay buffer of one stream.
pub(crate) const SAMPLING_REQUEST: usize = 1 << 20;

/// The most bytes of JSON in the parameters of any other request to a client. A person reads them,
/// and a client keeps them while it waits. They often repeat what the client itself sent.
pub(crate) const CLIENT_REQUEST: usize = 64 << 10;

/// Rejects a request to the client whose parameters are too large to be kept.
pub(super) fn check_request(method: &str, params: &RawJson) -> Result<(), ClientError> {
    let limit = if method == "sampling/createMessage" { SAMPLING_REQUEST } else { CLIENT_REQUEST };
    let bytes = params.as_bytes().len();
    if bytes <= limit { Ok(()) } else { Err(ClientError::TooLarge { bytes, limit }) }
}

/// A live session, as handlers, routes and the handle see it.
pub(crate) trait SessionAccess: fmt::Debug + Send + Sync {
    fn info(&self) -> &SessionInfo;
    fn extensions(&self) -> &Extensions;
    /// Returns the value of a key with its version; version 0 means that it does not exist yet.
    fn load_state(&self, key: &str) -> BoxFuture<'_, Result<(Option<RawJson>, u64), StoreError>>;
    /// Writes the value if its version is unchanged. Returns `false` after a concurrent write.
    fn store_state(&self, key: &str, value: RawJson, version: u64) -> BoxFuture<'_, Result<bool, StoreError>>;
    /// Returns the same as [`Channel::log_level`].
    fn log_level(&self) -> u8;
    /// Sends a notification on the session's standalone stream.
    fn notify(&self, method: &str, params: &RawJson);
    /// Sends a notification on the session's standalone stream. Returns `true` if the client has
    /// the stream open or will receive it when it opens the stream again.
    fn try_notify(&self, method: &str, params: &RawJson) -> BoxFuture<'_, Result<bool, StoreError>>;
    /// Completes when the client next opens the session's standalone stream, or the session ends.
    fn stream_opened(&self) -> BoxFuture<'static, ()>;
    /// Sends a request to the client on the session's standalone stream. Fails at once if none is
    /// open.
    fn request(&self, method: Cow<'static, str>, params: RawJson) -> BoxFuture<'_, Result<RawJson, ClientError>>;
    /// Returns the URIs of the resources that the client subscribed to, in order.
    fn subscriptions(&self) -> Vec<String>;
    /// Adds or removes a subscription of the client.
    fn subscribe(&self, uri: &str, wanted: bool) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Ends the session. Returns `false` if it has ended already.
    fn end(&self) -> BoxFuture<'_, Result<bool, StoreError>>;
}

/// See [`Limits::MAX_SUBSCRIPTION_URI_BYTES`](crate::Limits::MAX_SUBSCRIPTION_URI_BYTES).
pub(crate) const SUBSCRIPTION_URI: usize = 8_000;

/// A change on the server. Nodes exchange it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Change {
    Tools,
    Prompts,
    Resources,
    /// One resource, by its URI. Only subscribers receive it.
    Resource(ResourceUri),
}

/// The topic for more changes than could be kept: it announces every list and every resource. It is
/// separate from the topics of single changes.
pub(crate) const EVERYTHING: &str = r#""Everything""#;

impl Change {
    /// The changes that every session receives regardless of its subscriptions.
    pub(crate) const LISTS: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    pub(crate) fn resource(uri: impl Into<Box<str>>) -> Self {
        Self::Resource(ResourceUri::new(uri))
    }

    /// Returns the topic under which engines store the change: one for all spellings of a URI.
    pub(crate) fn topic(&self) -> String {
        let text = match self {
            Self::Resource(uri) => serde_json::to_string(&Self::resource(uri.canonical())),
            Self::Tools | Self::Prompts | Self::Resources => serde_json::to_string(self),
        };
        text.unwrap_or_default()
    }

    /// Returns the method of the notification for clients.
    pub(crate) fn method(&self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
            Self::Resource(_) => "notifications/resources/updated",
        }
    }

    /// Returns the URI of the resource, if the change is about one.
    pub(crate) fn uri(&self) -> Option<&str> {
        match self {
            Self::Resource(uri) => Some(uri.as_str()),
            Self::Tools | Self::Prompts | Self::Resources => None,
        }
    }

    /// Returns the serialized notification for clients.
    pub(crate) fn message(&self) -> Bytes {
        let (method, params) = self.notification();
        write::notification(method, &params)
    }

    fn notification(&self) -> (&'static str, RawJson) {
        let params = self.uri().and_then(|uri| RawJson::from_value(&serde_json::json!({ "uri": uri })).ok());
        (self.method(), params.unwrap_or_else(RawJson::empty_object))
    }
}
