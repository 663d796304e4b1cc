//! Decides what is read of a request of 2026-07-28 before it is served: what it says of itself in
//! `_meta`, and what its headers repeat. One pass over its parameters; nothing is copied.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::params::{Params, Part};
use super::{ProtocolVersion, RawJson};

/// What a request says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestMeta {
    /// The revision it is written in; `None` when it does not say.
    pub(crate) version: Option<Stated>,
    pub(crate) client: Option<RawJson>,
    pub(crate) capabilities: Option<RawJson>,
    pub(crate) log_level: Option<RawJson>,
    pub(crate) progress_token: Option<RawJson>,
    /// `name`, `uri` and `taskId` of the parameters, where they are texts.
    pub(crate) name: Option<RawJson>,
    pub(crate) uri: Option<RawJson>,
    pub(crate) task: Option<RawJson>,
    pub(crate) arguments: Option<RawJson>,
    /// What the client was asked in an earlier round.
    pub(crate) input_responses: Option<RawJson>,
    pub(crate) request_state: Option<RawJson>,
}

/// A revision as a request states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stated {
    Known(ProtocolVersion),
    /// The beginning of a text that names no revision this crate knows.
    Unknown(String),
    /// No text at all.
    Malformed,
}

/// How much of an unknown version is kept, for the refusal that names it: six times the length
/// of a known one.
pub(crate) const MAX_VERSION: usize = 64;

/// Finds a member that is there in every request of 2026-07-28, and in few others.
static MARK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"/protocolVersion\""));

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion", deserialize_with = "present")]
    version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientInfo")]
    client: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities", deserialize_with = "present")]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel")]
    log_level: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

/// A member that is there, even as `null`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl RequestMeta {
    /// Reads the parameters of a request, if there is an object `_meta` in them.
    pub(crate) fn read(params: Option<&Params>) -> Option<Self> {
        let params = params?;
        let outline = params.outline()?;
        let cut = |part: Part| params.text().part(outline.range(part));
        let text = |part: Part| Some(cut(part)).filter(|cut| cut.as_str().starts_with('"'));
        let meta = cut(outline.meta?);
        // Read as a struct, an array would be the members by position.
        if !meta.as_str().starts_with('{') {
            return None;
        }
        let Meta { version, client, capabilities, log_level, progress_token } = meta.read_borrowed().ok()?;
        let inner = |raw: &RawValue| meta.slice(raw);
        Some(Self {
            version: version.map(Stated::read),
            client: client.map(inner),
            capabilities: capabilities.map(inner),
            log_level: log_level.map(inner),
            progress_token: progress_token.map(inner),
            name: outline.name.and_then(text),
            uri: outline.uri.and_then(text),
            task: outline.task.and_then(text),
            arguments: outline.arguments.map(cut).filter(is_there),
            input_responses: outline.input_responses.map(cut).filter(is_there),
            request_state: outline.request_state.map(cut).filter(is_there),
        })
    }

    /// Whether parameters can say anything of themselves at all: a look at the bytes, which is
    /// all that older revisions pay for this one.
    pub(crate) fn may_claim(params: Option<&Params>) -> bool {
        let Some(params) = params else { return false };
        let text = params.text().as_bytes();
        let within = match params.met() {
            Some(outline) => outline.meta.map(|meta| outline.range(meta)).unwrap_or_default(),
            None => 0..text.len(),
        };
        MARK.find(&text[within]).is_some()
    }

    /// Whether it says all that a request has to say of itself.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self.version, None | Some(Stated::Malformed)) && self.has_capabilities()
    }

    /// Whether the capabilities are there, and an object.
    pub(crate) fn has_capabilities(&self) -> bool {
        self.capabilities.as_ref().is_some_and(|raw| raw.as_str().starts_with('{'))
    }
}

/// Whether a member is there: `null` is absent.
fn is_there(member: &RawJson) -> bool {
    member.as_str() != "null"
}

impl Stated {
    fn read(raw: &RawValue) -> Self {
        match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
            Ok(text) => {
                text.parse().map_or_else(|_| Self::Unknown(text.chars().take(MAX_VERSION).collect()), Self::Known)
            }
            Err(_) => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Option<RequestMeta> {
        RequestMeta::read(Some(&RawJson::trusted(text).into()))
    }

    #[test]
    fn what_a_request_says_of_itself_is_cut_out_of_its_parameters() {
        let meta = read(
            r#"{"name":"e\u0063ho","arguments":{"name":"x"},"_meta":{"io.modelcontextprotocol\/protocolVersion":"2026-07-28",
            "io.modelcontextprotocol/clientCapabilities":{"roots":{}},"progressToken":7},"inputResponses":null}"#,
        )
        .unwrap();
        assert_eq!(meta.version, Some(Stated::Known(ProtocolVersion::V2026_07_28)));
        assert_eq!(meta.name.as_ref().and_then(RawJson::text).as_deref(), Some("echo"));
        assert_eq!(meta.capabilities.as_ref().map(RawJson::as_str), Some(r#"{"roots":{}}"#));
        assert_eq!(meta.progress_token.as_ref().map(RawJson::as_str), Some("7"));
        assert!(meta.is_whole() && meta.uri.is_none() && meta.request_state.is_none());
        assert!(meta.input_responses.is_none(), "`null` is absent");
    }

    #[test]
    fn parameters_without_an_object_meta_say_nothing() {
        for text in
            [r#"{"a":1}"#, r#"{"_meta":3}"#, r#"{"_meta":null}"#, r#"[{"_meta":{}}]"#, r#"{"_meta":["2026-07-28"]}"#]
        {
            assert!(read(text).is_none(), "{text}");
        }
        assert!(RequestMeta::read(None).is_none());
    }

    #[test]
    fn a_version_may_be_unknown_long_or_no_text() {
        let version = |text| read(text).unwrap().version;
        assert_eq!(version(r#"{"_meta":{}}"#), None);
        assert_eq!(version(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":null}}"#), Some(Stated::Malformed));
        let unknown = version(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"v9"}}"#);
        assert_eq!(unknown, Some(Stated::Unknown("v9".to_owned())));
    }

    #[test]
    fn a_look_at_the_bytes_finds_every_spelling_a_serialiser_writes() {
        let may = |text: &'static str| RequestMeta::may_claim(Some(&RawJson::trusted(text).into()));
        assert!(may(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"x"}}"#));
        assert!(may(r#"{"_meta":{"io.modelcontextprotocol\/protocolVersion":"x"}}"#));
        assert!(!may(r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#));
    }
}
