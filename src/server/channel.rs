//! Decides what a call needs from the transport that carries it, so that handlers never learn
//! which era or engine that is.

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
    /// The least severe log level the client wants, as an index into the eight levels of RFC 5424.
    fn log_level(&self) -> u8;
    /// Sets that level for the session, everywhere; done once every node will know it.
    fn set_log_level(&self, level: u8) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Queues a notification, already written, for the stream of this call; after the call's end
    /// it is dropped. Whether there is room for more.
    fn send(&self, notification: Bytes) -> bool;
    /// Writes and queues a notification.
    fn notify(&self, method: &str, params: &RawJson) -> bool {
        self.send(write::notification(method, params))
    }
    /// Waits until there is room again.
    fn room(&self) -> BoxFuture<'_, ()>;
    /// The id of the request, where there is one.
    fn request_id(&self) -> Option<&RequestId> {
        None
    }
    /// The progress that was sent last, where any is sent. Never held across an await.
    fn progress(&self) -> Option<&Mutex<f64>> {
        None
    }
    /// Asks the client in this call and waits for its answer, however long.
    fn request(&self, question: Question) -> BoxFuture<'_, Result<RawJson, ClientError>>;
    /// The client answered with something that does not fit its question.
    fn misread(&self, method: &'static str, error: serde_json::Error) -> BoxFuture<'_, ClientError> {
        let _ = method;
        Box::pin(std::future::ready(ClientError::Unreadable(error)))
    }
    /// From here on the call is a task, if its client takes tasks; whether it is.
    fn begin_task(&self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(false))
    }
    /// Whether the client takes tasks for answers, or is of a revision that does not know them and
    /// waits for every call.
    fn takes_tasks(&self) -> bool {
        true
    }
    /// How far the call has come, for whoever polls for it.
    fn say(&self, message: &str) {
        let _ = message;
    }
    /// What the next step of this name is called in its call, and the value it had when the call was
    /// made before.
    fn step(&self, key: &str) -> (String, Option<RawJson>) {
        let _ = key;
        (String::new(), None)
    }
    /// Keeps the value of a step for when the call is made again; `None`: it cannot be kept.
    fn remember(&self, step: String, value: Option<RawJson>) {
        let _ = (step, value);
    }
    /// Ends the response that carries this call; the client comes back for the rest. Whether it
    /// did: only revisions since 2025-11-25, and only where the stream can be resumed.
    fn close_stream(&self, retry: Option<Duration>) -> bool;
    fn is_cancelled(&self) -> bool;
    /// What the client said when it cancelled the call, if it said it here.
    fn cancellation(&self) -> Option<Cancellation> {
        None
    }
    fn cancelled(&self) -> BoxFuture<'_, ()>;
}

/// Something the client is asked.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) method: Cow<'static, str>,
    pub(crate) params: RawJson,
    /// The name of the question within its call, if the handler gave it one.
    pub(crate) key: Option<Cow<'static, str>>,
}

/// The most bytes of JSON that the parameters of `sampling/createMessage` may have. Its messages carry
/// images; it is as much as one stream keeps by default.
pub(crate) const SAMPLING_REQUEST: usize = 1 << 20;

/// The most bytes of JSON that the parameters of any other request to a client may have. A person reads
/// them, and a client keeps them while it waits; they often repeat what the client itself sent.
pub(crate) const CLIENT_REQUEST: usize = 64 << 10;

/// Refuses to ask a client with parameters that are too large to be kept for it.
pub(super) fn check_request(method: &str, params: &RawJson) -> Result<(), ClientError> {
    let limit = if method == "sampling/createMessage" { SAMPLING_REQUEST } else { CLIENT_REQUEST };
    let bytes = params.as_bytes().len();
    if bytes <= limit { Ok(()) } else { Err(ClientError::TooLarge { bytes, limit }) }
}

/// A live session as handlers, routes and the handle see it.
pub(crate) trait SessionAccess: fmt::Debug + Send + Sync {
    fn info(&self) -> &SessionInfo;
    fn extensions(&self) -> &Extensions;
    /// The value under a key with its version; version 0 is "not there yet".
    fn load_state(&self, key: &str) -> BoxFuture<'_, Result<(Option<RawJson>, u64), StoreError>>;
    /// Writes the value if its version is still the one given. `false`: somebody was faster.
    fn store_state(&self, key: &str, value: RawJson, version: u64) -> BoxFuture<'_, Result<bool, StoreError>>;
    /// As [`Channel::log_level`].
    fn log_level(&self) -> u8;
    /// Sends a notification on the session's standalone stream.
    fn notify(&self, method: &str, params: &RawJson);
    /// The same; whether the client listens, or will find it when it listens again.
    fn tell(&self, method: &str, params: &RawJson) -> BoxFuture<'_, bool>;
    /// Ready when the client next opens the session's standalone stream, or the session ends.
    fn stream_opens(&self) -> BoxFuture<'static, ()>;
    /// Asks the client on the session's standalone stream; fails at once when none is open.
    fn request(&self, method: Cow<'static, str>, params: RawJson) -> BoxFuture<'_, Result<RawJson, ClientError>>;
    /// The resources the client wants to hear of, in order.
    fn subscriptions(&self) -> Vec<String>;
    /// Remembers which resources the client wants to hear of.
    fn subscribe(&self, uri: &str, wanted: bool) -> BoxFuture<'_, Result<(), StoreError>>;
    fn end(&self) -> BoxFuture<'_, ()>;
}

/// See [`Limits::SUBSCRIPTION_URI`](crate::Limits::SUBSCRIPTION_URI).
pub(crate) const SUBSCRIPTION_URI: usize = 8_000;

/// Something that changed on the server. Its JSON is what nodes tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Change {
    Tools,
    Prompts,
    Resources,
    /// One resource, by its URI; reaches subscribers only.
    Resource(ResourceUri),
}

/// Announced where more changed than could be kept: every list, and every resource. As a topic beside those
/// that are a [`Change`].
pub(crate) const EVERYTHING: &str = r#""Everything""#;

impl Change {
    /// What every session receives, whatever it subscribes to.
    pub(crate) const LISTS: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    pub(crate) fn resource(uri: impl Into<Box<str>>) -> Self {
        Self::Resource(ResourceUri::new(uri))
    }

    /// Its text among nodes, by which engines keep it: one for all spellings of a URI.
    pub(crate) fn topic(&self) -> String {
        let text = match self {
            Self::Resource(uri) => serde_json::to_string(&Self::resource(uri.canonical())),
            Self::Tools | Self::Prompts | Self::Resources => serde_json::to_string(self),
        };
        text.unwrap_or_default()
    }

    /// The method of the notification that tells a client.
    pub(crate) fn method(&self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
            Self::Resource(_) => "notifications/resources/updated",
        }
    }

    /// The resource, where it is about one.
    pub(crate) fn uri(&self) -> Option<&str> {
        match self {
            Self::Resource(uri) => Some(uri.as_str()),
            Self::Tools | Self::Prompts | Self::Resources => None,
        }
    }

    /// The notification that tells a client, as text.
    pub(crate) fn message(&self) -> Bytes {
        let (method, params) = self.notification();
        write::notification(method, &params)
    }

    fn notification(&self) -> (&'static str, RawJson) {
        let params = self.uri().and_then(|uri| RawJson::from_value(&serde_json::json!({ "uri": uri })).ok());
        (self.method(), params.unwrap_or_else(RawJson::empty_object))
    }
}
