//! Change: what changed on the server, as nodes exchange it and as clients receive it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::message::{RawJson, ResourceUri, write};

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
