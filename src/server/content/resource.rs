//! Contents of resources, and the handler results that convert into them.

use std::borrow::Cow;

use axum::Json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::message::ascii;
use crate::server::{CacheHint, IntoToolError, ToolError};

/// The contents of a resource, or of one of its parts: text, or bytes in Base64.
///
/// Defaults fill in what the handler of a resource leaves open: the requested URI, and the media
/// type with which the resource was registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceContents {
    #[serde(default)]
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
    /// Makes contents from text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { uri: String::new(), mime_type: None, text: Some(text.into()), blob: None, meta: None }
    }

    /// Makes contents from bytes.
    #[must_use]
    pub fn blob(bytes: impl AsRef<[u8]>) -> Self {
        Self { uri: String::new(), mime_type: None, text: None, blob: Some(STANDARD.encode(bytes)), meta: None }
    }

    /// Makes contents from a value as JSON text, with the media type `application/json`.
    ///
    /// # Errors
    ///
    /// If the value's own `Serialize` fails, or a map has keys that are not strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::text(serde_json::to_string(value)?).mime_type("application/json"))
    }

    /// Sets the URI. A URI with characters outside of ASCII is sent percent-encoded.
    #[must_use]
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = ascii(&uri.into()).into_owned();
        self
    }

    /// Sets the media type.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<Cow<'static, str>>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Sets the `_meta` member.
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

/// The return type of a resource handler.
///
/// It can be a string, bytes, [`Json`], [`ResourceContents`] or a list of them. It can also be an
/// `Option`, whose `None` means that the resource does not exist, or a `Result` of any of these.
/// [`Cached`](crate::server::Cached) around any of them lets clients cache it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the contents of a resource",
    label = "not the contents of a resource",
    note = "return `String`, `Bytes`, `Vec<u8>`, `axum::Json<T>`, `ResourceContents`, `Vec<ResourceContents>`, or an \
            `Option` or `Result` of these"
)]
pub trait IntoResourceContents {
    /// Converts the value into contents. An empty list means that the resource does not exist.
    ///
    /// # Errors
    ///
    /// If the handler failed.
    fn into_resource_contents(self) -> Result<Vec<ResourceContents>, ToolError>;

    /// Returns a cache hint that takes precedence over the one of the resource; see
    /// [`Cached`](crate::server::Cached). Default: `None`.
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
