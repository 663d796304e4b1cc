//! The fork: determines once which era a request belongs to.
//!
//! Body and header decide, and must agree (2026-07-28, Versioning, "Backward Compatibility
//! with Initialization-Based Versions"):
//!
//! 1. A request is modern if its `_meta` states a later revision, or if it has the header of one. A
//!    body with that header that is not a request is modern too, and the modern rules reject it.
//! 2. `initialize` is modern only with that header, or with the complete `_meta` of a modern
//!    request. An incomplete `_meta` does not turn a handshake into another request.
//! 3. Stray keys of later revisions, a progress token, or a session revision in `_meta` do not make
//!    a request modern.
//! 4. A header that names no known revision is rejected if the body states none.
//! 5. All other requests are legacy.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;

use super::admit::Allow;
use super::compare::mismatch;
use super::headers::{McpHeaders, VersionHeader};
use crate::error::Rejection;
use crate::message::{
    Body, ClaimedVersion, Envelope, Era, Kind, MAX_VERSION, Params, ProtocolVersion, RawJson, RequestMeta, parse,
};

/// The era of a POST.
#[derive(Debug)]
enum Fork {
    Legacy,
    /// The modern era, with the request's `_meta` if it has one.
    Modern(Option<Box<RequestMeta>>),
    /// Neither: the revision is unknown.
    Unknown(String),
}

/// Returns the era of a POST.
fn fork(headers: &McpHeaders, body: &Body) -> Fork {
    let (method, params) = match body {
        Body::One(Envelope { kind: Kind::Request { method, .. } | Kind::Notification { method }, params }) => {
            (&**method, params.as_ref())
        }
        Body::One(Envelope { kind: Kind::Answer { .. }, .. }) | Body::Batch(_) => ("", None),
    };
    let by_header = headers.version.as_ref().is_some_and(VersionHeader::is_modern);
    if !by_header && !RequestMeta::may_claim(params) {
        return match &headers.version {
            Some(VersionHeader::Unknown(text)) => Fork::Unknown(text.clone()),
            Some(VersionHeader::Known(_)) | None => Fork::Legacy,
        };
    }
    let meta = RequestMeta::read(params).map(Box::new);
    let claims = meta.as_ref().is_some_and(|meta| claims_modern(meta) && (method != "initialize" || meta.is_whole()));
    match (by_header || claims, &headers.version) {
        (true, _) => Fork::Modern(meta),
        (false, Some(VersionHeader::Unknown(text))) => Fork::Unknown(text.clone()),
        (false, _) => Fork::Legacy,
    }
}

fn claims_modern(meta: &RequestMeta) -> bool {
    match &meta.version {
        None => false,
        Some(ClaimedVersion::Known(version)) => version.era() == Era::Modern,
        Some(ClaimedVersion::Unknown(_) | ClaimedVersion::Malformed) => true,
    }
}

/// Where a POST goes.
#[derive(Debug)]
pub(crate) enum Route {
    Legacy,
    /// The modern era, with the request's `_meta` if it has one.
    Modern(Option<Box<RequestMeta>>),
    /// Nowhere: a notification of an era that is not served. It expects no response, so it needs no
    /// rejection.
    Ignored,
}

/// Returns where a POST goes, or rejects it because its revision is not served. Clients of the
/// session revisions cannot discover later revisions, so the rejection of their `initialize` lists
/// the revisions that are served.
pub(crate) fn route(headers: &McpHeaders, body: &Body, served: &[ProtocolVersion]) -> Result<Route, Rejection> {
    let unsupported = |requested: String| Err(Rejection::UnsupportedVersion { requested, supported: served.to_vec() });
    match (fork(headers, body), &headers.version) {
        (Fork::Unknown(text), _) => unsupported(text),
        (Fork::Modern(meta), _) if serves(served, Era::Modern) => Ok(Route::Modern(meta)),
        (Fork::Modern(meta), header) => match meta.and_then(|meta| meta.version) {
            Some(ClaimedVersion::Known(version)) => unsupported(version.to_string()),
            Some(ClaimedVersion::Unknown(text)) => unsupported(text),
            Some(ClaimedVersion::Malformed) | None => {
                unsupported(header.as_ref().map(VersionHeader::to_string).unwrap_or_default())
            }
        },
        (Fork::Legacy, Some(VersionHeader::Known(version))) if !served.contains(version) => {
            unsupported(version.to_string())
        }
        (Fork::Legacy, _) if serves(served, Era::Legacy) => Ok(Route::Legacy),
        (Fork::Legacy, _) => match body {
            Body::One(Envelope { kind: Kind::Request { method, .. }, params }) if method == "initialize" => {
                unsupported(asked_for(params.as_ref().map(Params::text)))
            }
            Body::One(Envelope { kind: Kind::Notification { .. }, .. }) => Ok(Route::Ignored),
            Body::One(_) | Body::Batch(_) => Err(mismatch("MCP-Protocol-Version", "is required")),
        },
    }
}

/// Checks the revision of a GET or DELETE. Later revisions do not have these methods.
pub(crate) fn check_session_method(headers: &McpHeaders, served: &[ProtocolVersion]) -> Result<(), Rejection> {
    match &headers.version {
        None => Ok(()),
        Some(VersionHeader::Known(version)) if served.contains(version) => match version.era() {
            Era::Legacy => Ok(()),
            Era::Modern => Err(Rejection::MethodNotAllowed { allow: Allow::PostOnly.as_str() }),
        },
        Some(other) => Err(Rejection::UnsupportedVersion { requested: other.to_string(), supported: served.to_vec() }),
    }
}

/// Returns `true` if a POST is either of a session revision or rejected, regardless of its body.
/// Then the session in its head is looked up before the body is read. A request of 2026-07-28
/// always has its version header, and a request with an unknown version is rejected for that.
pub(crate) fn is_of_a_session(headers: &McpHeaders, served: &[ProtocolVersion]) -> bool {
    match &headers.version {
        None => serves(served, Era::Legacy),
        Some(VersionHeader::Known(version)) => version.era() == Era::Legacy && served.contains(version),
        Some(VersionHeader::Unknown(_)) => false,
    }
}

/// Returns the revision that an `initialize` requests.
fn asked_for(params: Option<&RawJson>) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Opening<'a> {
        #[serde(borrow)]
        protocol_version: Cow<'a, str>,
    }
    let opening: Option<Opening<'_>> = params.and_then(|params| params.read_borrowed().ok());
    opening.map(|opening| opening.protocol_version.chars().take(MAX_VERSION).collect()).unwrap_or_default()
}

impl fmt::Display for VersionHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(version) => version.fmt(f),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl VersionHeader {
    pub(crate) fn is_modern(&self) -> bool {
        matches!(self, Self::Known(version) if version.era() == Era::Modern)
    }
}

/// Returns the era of a POST, as [`McpService`](crate::McpService) determines it if both eras are
/// served. Returns `None` if the request belongs to neither and is rejected.
///
/// Use it in code in front of the service that routes the two eras differently. The body is read
/// and left unchanged.
///
/// ```
/// use http::HeaderMap;
/// use mcp_http::message::{Era, ProtocolVersion};
///
/// let body = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
/// assert_eq!(mcp_http::era_of(&HeaderMap::new(), &body.as_slice().into()), Some(Era::Legacy));
/// ```
#[must_use]
pub fn era_of(headers: &HeaderMap, body: &Bytes) -> Option<Era> {
    let headers = McpHeaders::read(headers).ok()?;
    match fork(&headers, &parse(body).ok()?) {
        Fork::Legacy => Some(Era::Legacy),
        Fork::Modern(_) => Some(Era::Modern),
        Fork::Unknown(_) => None,
    }
}

/// Returns `true` if a revision of this era is served.
pub(crate) fn serves(versions: &[ProtocolVersion], era: Era) -> bool {
    versions.iter().any(|version| version.era() == era)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const WHOLE: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    const HALF: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;

    #[track_caller]
    fn goes(version: Option<&'static str>, method: &str, params: &str, to: Option<Era>) {
        let mut headers = HeaderMap::new();
        if let Some(version) = version {
            headers.insert("mcp-protocol-version", HeaderValue::from_static(version));
        }
        let request = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#);
        assert_eq!(era_of(&headers, &request.into()), to, "{version:?} {method} {params}");
    }

    #[test]
    fn the_body_or_a_modern_header_decides() {
        for version in [None, Some("2025-11-25"), Some("2026-07-28"), Some("v9")] {
            goes(version, "tools/list", WHOLE, Some(Era::Modern));
            goes(version, "tools/list", HALF, Some(Era::Modern));
            goes(version, "initialize", WHOLE, Some(Era::Modern));
        }
        goes(Some("2026-07-28"), "tools/list", "", Some(Era::Modern));
        goes(Some("2026-07-28"), "initialize", HALF, Some(Era::Modern));
        goes(None, "initialize", HALF, Some(Era::Legacy));
        goes(None, "tools/list", "", Some(Era::Legacy));
        goes(Some("v9"), "tools/list", "", None);
    }

    #[test]
    fn unrelated_meta_keys_are_no_claim() {
        for stray in [
            r#""_meta":{"progressToken":1}"#,
            r#""_meta":{"io.modelcontextprotocol/clientInfo":{"name":"a","version":"1"}}"#,
            r#""_meta":{"io.modelcontextprotocol/clientCapabilities":{}}"#,
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25"}"#,
            r#""arguments":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#,
        ] {
            goes(None, "tools/list", stray, Some(Era::Legacy));
            goes(Some("2025-06-18"), "tools/list", stray, Some(Era::Legacy));
        }
    }

    #[test]
    fn other_messages_follow_the_header() {
        let modern = HeaderMap::from_iter([(
            http::HeaderName::from_static("mcp-protocol-version"),
            HeaderValue::from_static("2026-07-28"),
        )]);
        for body in [
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#,
        ] {
            assert_eq!(era_of(&modern, &Bytes::from(body)), Some(Era::Modern));
            assert_eq!(era_of(&HeaderMap::new(), &Bytes::from(body)), Some(Era::Legacy));
        }
        assert_eq!(era_of(&modern, &Bytes::from_static(b"{")), None);
    }
}
