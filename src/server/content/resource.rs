//! Decides what a resource's contents are, and which results of a handler become them.

use std::borrow::Cow;

use axum::Json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::message::serialize_ascii;
use crate::server::{CacheHint, IntoToolError, ToolError};

/// The contents of a resource, or of one of its parts: a text, or bytes in base64.
///
/// What a handler of a resource leaves open is filled in: the URI is the one that was asked for,
/// the media type the one the resource was registered with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceContents {
    #[serde(default, serialize_with = "serialize_ascii")]
    uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mime_type: Option<Cow<'static, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
    #[serde(default, rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Map<String, Value>>,
}

impl ResourceContents {
    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { uri: String::new(), mime_type: None, text: Some(text.into()), blob: None, meta: None }
    }

    /// Bytes.
    #[must_use]
    pub fn blob(bytes: impl AsRef<[u8]>) -> Self {
        Self { uri: String::new(), mime_type: None, text: None, blob: Some(STANDARD.encode(bytes)), meta: None }
    }

    /// A value as JSON text, with the media type `application/json`.
    ///
    /// # Errors
    ///
    /// When the value's own `Serialize` fails, or a map has keys that are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::text(serde_json::to_string(value)?).mime_type("application/json"))
    }

    /// Under a URI of its own. One with characters outside of ASCII is sent percent-encoded.
    #[must_use]
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = uri.into();
        self
    }

    /// Of a media type.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<Cow<'static, str>>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// With a `_meta` member.
    #[must_use]
    pub fn meta(mut self, meta: Map<String, Value>) -> Self {
        self.meta = Some(meta);
        self
    }

    /// Fills in what the handler left open.
    pub(crate) fn complete(&mut self, uri: &str, mime_type: Option<&str>) {
        if self.uri.is_empty() {
            uri.clone_into(&mut self.uri);
        }
        if let (None, Some(mime_type)) = (&self.mime_type, mime_type) {
            self.mime_type = Some(Cow::Owned(mime_type.to_owned()));
        }
    }
}

/// What a handler of a resource may return.
///
/// Texts, bytes, [`Json`], [`ResourceContents`] and lists of them; an `Option`, whose `None` says
/// that there is no such resource; a `Result` of any of these. Within [`Cached`](crate::server::Cached),
/// any of them may be kept by clients for a while.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the contents of a resource",
    label = "not the contents of a resource",
    note = "return `String`, `Bytes`, `Vec<u8>`, `axum::Json<T>`, `ResourceContents`, `Vec<ResourceContents>`, or an \
            `Option` or `Result` of these"
)]
pub trait IntoResourceContents {
    /// Makes the contents; no part at all means that there is no such resource.
    ///
    /// # Errors
    ///
    /// When the handler failed.
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError>;

    /// How long the contents may be kept, where they know it better than what the resource was
    /// registered with; see [`Cached`](crate::server::Cached). Nothing by default.
    fn cache_hint(&self) -> Option<CacheHint> {
        None
    }
}

impl IntoResourceContents for String {
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError> {
        Ok(vec![ResourceContents::text(self)])
    }
}

impl IntoResourceContents for &'static str {
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError> {
        Ok(vec![ResourceContents::text(self)])
    }
}

impl IntoResourceContents for Bytes {
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError> {
        Ok(vec![ResourceContents::blob(self)])
    }
}

impl IntoResourceContents for Vec<u8> {
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError> {
        Ok(vec![ResourceContents::blob(self)])
    }
}

impl<T: Serialize> IntoResourceContents for Json<T> {
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError> {
        Ok(vec![ResourceContents::json(&self.0)?])
    }
}

impl IntoResourceContents for ResourceContents {
    fn into_resource_contents(self) -> Result<Vec<Self>, ToolError> {
        Ok(vec![self])
    }
}

impl IntoResourceContents for Vec<ResourceContents> {
    fn into_resource_contents(self) -> Result<Self, ToolError> {
        Ok(self)
    }
}

impl<T: IntoResourceContents> IntoResourceContents for Option<T> {
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError> {
        self.map_or_else(|| Ok(Vec::new()), T::into_resource_contents)
    }

    fn cache_hint(&self) -> Option<CacheHint> {
        self.as_ref()?.cache_hint()
    }
}

impl<T: IntoResourceContents, E: IntoToolError> IntoResourceContents for Result<T, E> {
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError> {
        self.map_err(E::into_tool_error)?.into_resource_contents()
    }

    fn cache_hint(&self) -> Option<CacheHint> {
        self.as_ref().ok()?.cache_hint()
    }
}
