//! Content blocks: text, image, audio, a resource or a link to one.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Annotations, ResourceContents};
use crate::message::{ProtocolVersion, ascii, serialize_ascii};

/// A block of content, in the result of a tool or the message of a prompt.
///
/// ```
/// use mcp_http::server::{Annotations, Content, Role};
///
/// let blocks = vec![
///     Content::text("A red dot:"),
///     Content::image(b"\x89PNG..", "image/png")
///         .annotations(Annotations::new().audience(Role::User)),
/// ];
/// # let _ = blocks;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    #[serde(flatten)]
    block: Block,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
    #[serde(default, rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Block {
    Text { text: Cow<'static, str> },
    Image { data: String, mime_type: Cow<'static, str> },
    Audio { data: String, mime_type: Cow<'static, str> },
    Resource { resource: ResourceContents },
    ResourceLink(ResourceLink),
}

/// A link to a resource that the client may read, without its contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLink {
    #[serde(serialize_with = "serialize_ascii")]
    uri: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl Content {
    /// Makes a text block.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Block::Text { text: text.into() })
    }

    /// Makes an image block from its bytes.
    #[must_use]
    pub fn image(bytes: impl AsRef<[u8]>, mime_type: impl Into<Cow<'static, str>>) -> Self {
        Self::image_base64(STANDARD.encode(bytes), mime_type)
    }

    /// Makes an image block from Base64 text, which is not checked.
    #[must_use]
    pub fn image_base64(data: impl Into<String>, mime_type: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Block::Image { data: data.into(), mime_type: mime_type.into() })
    }

    /// Makes an audio block from its bytes.
    #[must_use]
    pub fn audio(bytes: impl AsRef<[u8]>, mime_type: impl Into<Cow<'static, str>>) -> Self {
        Self::audio_base64(STANDARD.encode(bytes), mime_type)
    }

    /// Makes an audio block from Base64 text, which is not checked.
    #[must_use]
    pub fn audio_base64(data: impl Into<String>, mime_type: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Block::Audio { data: data.into(), mime_type: mime_type.into() })
    }

    /// Makes a block with the contents of a resource. They should have a URI
    /// ([`ResourceContents::uri`]).
    #[must_use]
    pub fn resource(resource: ResourceContents) -> Self {
        Self::new(Block::Resource { resource })
    }

    /// Makes a block with a link to a resource. Clients of 2025-03-26, which has no links, receive
    /// its URI as text.
    #[must_use]
    pub fn link(link: ResourceLink) -> Self {
        Self::new(Block::ResourceLink(link))
    }

    /// Sets hints for the client.
    #[must_use]
    pub fn annotations(mut self, annotations: Annotations) -> Self {
        self.annotations = Some(annotations);
        self
    }

    /// Sets the `_meta` member.
    #[must_use]
    pub fn meta(mut self, meta: Map<String, Value>) -> Self {
        self.meta = Some(meta);
        self
    }

    /// Returns the text of a text block.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.block {
            Block::Text { text } => Some(text),
            _ => None,
        }
    }

    /// Converts the block for clients of this revision, whose schema allows only its own kinds.
    pub(crate) fn fit(&mut self, version: ProtocolVersion) {
        if let Block::ResourceLink(link) = &self.block
            && version < ProtocolVersion::V2025_06_18
        {
            self.block = Block::Text { text: format!("{}: {}", link.name, ascii(&link.uri)).into() };
        }
    }

    fn new(block: Block) -> Self {
        Self { block, annotations: None, meta: None }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&'static str> for Content {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}

impl ResourceLink {
    /// Makes a link from the resource's URI and name. A URI with characters outside of ASCII is
    /// sent percent-encoded.
    #[must_use]
    pub fn new(uri: impl Into<String>, name: impl Into<String>) -> Self {
        Self { uri: uri.into(), name: name.into(), title: None, description: None, mime_type: None, size: None }
    }

    /// Sets the display name.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the media type.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Sets the size in bytes.
    #[must_use]
    pub fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Role;
    use super::*;

    #[test]
    fn each_kind_matches_the_schema() {
        let rows = [
            (Content::text("a"), json!({"type": "text", "text": "a"})),
            (Content::image([0xff], "image/png"), json!({"type": "image", "data": "/w==", "mimeType": "image/png"})),
            (
                Content::audio_base64("AA==", "audio/wav"),
                json!({"type": "audio", "data": "AA==", "mimeType": "audio/wav"}),
            ),
            (
                Content::resource(ResourceContents::text("x").uri("a:b")),
                json!({"type": "resource", "resource": {"uri": "a:b", "text": "x"}}),
            ),
            (
                Content::link(ResourceLink::new("a:b", "b").size(3)),
                json!({"type": "resource_link", "uri": "a:b", "name": "b", "size": 3}),
            ),
            (
                Content::text("a").annotations(Annotations::new().audience(Role::User).priority(7.0)),
                json!({"type": "text", "text": "a", "annotations": {"audience": ["user"], "priority": 1.0}}),
            ),
        ];
        for (content, wanted) in rows {
            assert_eq!(serde_json::to_value(&content).unwrap(), wanted);
            assert_eq!(serde_json::from_value::<Content>(wanted).unwrap(), content);
        }
    }

    #[test]
    fn clients_without_links_get_the_uri_as_text() {
        let mut old = Content::link(ResourceLink::new("a:b", "b"));
        let mut new = old.clone();
        old.fit(ProtocolVersion::V2025_03_26);
        new.fit(ProtocolVersion::V2025_06_18);
        assert_eq!(old, Content::text("b: a:b"));
        assert_eq!(new.as_text(), None);
    }
}
