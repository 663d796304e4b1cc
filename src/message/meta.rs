//! Request metadata of 2026-07-28: the members of `_meta`, and the parameters that headers repeat.
//! They are found in one pass over the parameters, without copies, before the request is served.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::params::{Params, Span};
use super::{ProtocolVersion, RawJson};

/// The metadata of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestMeta {
    /// The revision of the request; `None` if it names none.
    pub(crate) version: Option<ClaimedVersion>,
    pub(crate) client: Option<RawJson>,
    pub(crate) capabilities: Option<RawJson>,
    pub(crate) log_level: Option<RawJson>,
    pub(crate) progress_token: Option<RawJson>,
    /// `name`, `uri` and `taskId` of the parameters, if they are strings.
    pub(crate) name: Option<RawJson>,
    pub(crate) uri: Option<RawJson>,
    pub(crate) task: Option<RawJson>,
    pub(crate) arguments: Option<RawJson>,
    /// The client's answers to the requests of an earlier round.
    pub(crate) input_responses: Option<RawJson>,
    pub(crate) request_state: Option<RawJson>,
}

/// The revision that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClaimedVersion {
    Known(ProtocolVersion),
    /// The start of a string that is not a known revision.
    Unknown(String),
    /// Not a string.
    Malformed,
}

/// The number of characters of an unknown version that are kept for the rejection: six times the
/// length of a known one.
pub(crate) const MAX_VERSION: usize = 64;

/// Finds a member that every request of 2026-07-28 has, and few others.
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

/// Deserializes a member that is present, even as `null`.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl RequestMeta {
    /// Reads the parameters of a request, if they have an object `_meta`.
    pub(crate) fn read(params: Option<&Params>) -> Option<Self> {
        let params = params?;
        let spans = params.spans()?;
        let cut = |span: Span| params.text().part(spans.range(span));
        let text = |span: Span| Some(cut(span)).filter(|cut| cut.as_str().starts_with('"'));
        let meta = cut(spans.meta?);
        // Deserialized as a struct, an array would be the members by position.
        if !meta.as_str().starts_with('{') {
            return None;
        }
        let Meta { version, client, capabilities, log_level, progress_token } = meta.read_borrowed().ok()?;
        let inner = |raw: &RawValue| meta.slice(raw);
        Some(Self {
            version: version.map(ClaimedVersion::read),
            client: client.map(inner),
            capabilities: capabilities.map(inner),
            log_level: log_level.map(inner),
            progress_token: progress_token.map(inner),
            name: spans.name.and_then(text),
            uri: spans.uri.and_then(text),
            task: spans.task.and_then(text),
            arguments: spans.arguments.map(cut).filter(is_there),
            input_responses: spans.input_responses.map(cut).filter(is_there),
            request_state: spans.request_state.map(cut).filter(is_there),
        })
    }

    /// Returns `true` if parameters may have metadata. It only searches the bytes, which is the
    /// whole cost of this revision for older ones.
    pub(crate) fn may_claim(params: Option<&Params>) -> bool {
        let Some(params) = params else { return false };
        let text = params.text().as_bytes();
        let within = match params.scanned() {
            Some(spans) => spans.meta.map(|meta| spans.range(meta)).unwrap_or_default(),
            None => 0..text.len(),
        };
        MARK.find(&text[within]).is_some()
    }

    /// Returns `true` if all required metadata is present.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self.version, None | Some(ClaimedVersion::Malformed)) && self.has_capabilities()
    }

    /// Returns `true` if the capabilities are present and an object.
    pub(crate) fn has_capabilities(&self) -> bool {
        self.capabilities.as_ref().is_some_and(|raw| raw.as_str().starts_with('{'))
    }
}

/// Returns `true` if a member is present: `null` counts as absent.
fn is_there(member: &RawJson) -> bool {
    member.as_str() != "null"
}

impl ClaimedVersion {
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
    fn metadata_is_cut_out_of_the_parameters() {
        let meta = read(
            r#"{"name":"e\u0063ho","arguments":{"name":"x"},"_meta":{"io.modelcontextprotocol\/protocolVersion":"2026-07-28",
            "io.modelcontextprotocol/clientCapabilities":{"roots":{}},"progressToken":7},"inputResponses":null}"#,
        )
        .unwrap();
        assert_eq!(meta.version, Some(ClaimedVersion::Known(ProtocolVersion::V2026_07_28)));
        assert_eq!(meta.name.as_ref().and_then(RawJson::text).as_deref(), Some("echo"));
        assert_eq!(meta.capabilities.as_ref().map(RawJson::as_str), Some(r#"{"roots":{}}"#));
        assert_eq!(meta.progress_token.as_ref().map(RawJson::as_str), Some("7"));
        assert!(meta.is_whole() && meta.uri.is_none() && meta.request_state.is_none());
        assert!(meta.input_responses.is_none(), "`null` is absent");
    }

    #[test]
    fn parameters_without_meta_have_no_metadata() {
        for text in
            [r#"{"a":1}"#, r#"{"_meta":3}"#, r#"{"_meta":null}"#, r#"[{"_meta":{}}]"#, r#"{"_meta":["2026-07-28"]}"#]
        {
            assert!(read(text).is_none(), "{text}");
        }
        assert!(RequestMeta::read(None).is_none());
    }

    #[test]
    fn a_version_may_be_unknown_or_malformed() {
        let version = |text| read(text).unwrap().version;
        assert_eq!(version(r#"{"_meta":{}}"#), None);
        assert_eq!(
            version(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":null}}"#),
            Some(ClaimedVersion::Malformed)
        );
        let unknown = version(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"v9"}}"#);
        assert_eq!(unknown, Some(ClaimedVersion::Unknown("v9".to_owned())));
    }

    #[test]
    fn the_byte_search_finds_every_usual_spelling() {
        let may = |text: &'static str| RequestMeta::may_claim(Some(&RawJson::trusted(text).into()));
        assert!(may(r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"x"}}"#));
        assert!(may(r#"{"_meta":{"io.modelcontextprotocol\/protocolVersion":"x"}}"#));
        assert!(!may(r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#));
    }
}
