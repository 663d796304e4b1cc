//! Admission: checks that a request of the stateless revision is well-formed. The order of the
//! checks sets which error a client receives first: the revision is checked before the rest.

use crate::edge::{McpHeaders, VersionHeader, differs, mismatch};
use crate::error::Rejection;
use crate::message::{
    ClaimedVersion, Era, Oversized, ProtocolVersion, RawJson, RequestMeta, check_client, check_progress_token,
};
use crate::server::LogLevel;

const VERSION: &str = "MCP-Protocol-Version";

/// A request that is well-formed.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) meta: Box<RequestMeta>,
    pub(super) version: ProtocolVersion,
}

/// Checks the metadata of a request, and that its headers repeat it.
pub(super) fn admit(
    method: &str,
    meta: Option<Box<RequestMeta>>,
    headers: &McpHeaders,
    served: &[ProtocolVersion],
) -> Result<Admitted, Rejection> {
    let Some((meta, stated)) = meta.and_then(|meta| meta.version.clone().map(|stated| (meta, stated))) else {
        // A handshake of the session revisions under the wrong header, rather than a request with a
        // missing member.
        return Err(if method == "initialize" {
            differs(VERSION, &stated_version(headers), None)
        } else {
            Rejection::InvalidMeta("`_meta` must have `io.modelcontextprotocol/protocolVersion`")
        });
    };
    let version = check_version(&stated, headers, served)?;
    if !meta.has_capabilities() {
        return Err(Rejection::InvalidMeta(
            "`_meta` must have `io.modelcontextprotocol/clientCapabilities`, an object",
        ));
    }
    check_sizes(&meta)?;
    if meta.log_level.as_ref().is_some_and(|level| level.read::<LogLevel>().is_err()) {
        return Err(Rejection::InvalidMeta("`io.modelcontextprotocol/logLevel` is no log level"));
    }
    super::mirror::check_standard(headers, method, &meta)?;
    Ok(Admitted { meta, version })
}

/// Rejects `_meta` members that are longer than a call may keep or repeat.
fn check_sizes(meta: &RequestMeta) -> Result<(), Rejection> {
    let (client, capabilities) = (meta.client.as_ref(), meta.capabilities.as_ref());
    check_client(client.map(RawJson::as_str), capabilities.map(RawJson::as_str)).map_err(|oversized| {
        Rejection::InvalidMeta(match oversized {
            Oversized::ClientInfo => "`io.modelcontextprotocol/clientInfo` has more than 8 KiB",
            Oversized::Capabilities => "`io.modelcontextprotocol/clientCapabilities` has more than 16 KiB",
        })
    })?;
    match &meta.progress_token {
        Some(token) => check_progress_token(token.as_str()).map_err(Rejection::InvalidMeta),
        None => Ok(()),
    }
}

/// Checks a notification. It may omit everything, but what it states must be right. It has no
/// effect.
pub(super) fn admit_notification(
    meta: Option<&RequestMeta>,
    headers: &McpHeaders,
    served: &[ProtocolVersion],
) -> Result<(), Rejection> {
    match meta.and_then(|meta| meta.version.as_ref()) {
        Some(stated) => check_version(stated, headers, served).map(drop),
        None => headers.doubled().map_or(Ok(()), |header| Err(mismatch(header, "is there more than once"))),
    }
}

fn check_version(
    stated: &ClaimedVersion,
    headers: &McpHeaders,
    served: &[ProtocolVersion],
) -> Result<ProtocolVersion, Rejection> {
    if let Some(header) = headers.doubled() {
        return Err(mismatch(header, "is there more than once"));
    }
    let (body, known) = match stated {
        ClaimedVersion::Known(version) => (version.as_str(), Some(*version)),
        ClaimedVersion::Unknown(text) => (&**text, None),
        ClaimedVersion::Malformed => {
            return Err(Rejection::InvalidMeta("`io.modelcontextprotocol/protocolVersion` must be a string"));
        }
    };
    let same = match &headers.version {
        None => return Err(mismatch(VERSION, "is required")),
        Some(VersionHeader::Known(header)) => known == Some(*header),
        Some(VersionHeader::Unknown(header)) => known.is_none() && header == body,
    };
    if !same {
        return Err(differs(VERSION, &stated_version(headers), Some(body)));
    }
    known
        .filter(|version| version.era() == Era::Modern && served.contains(version))
        .ok_or_else(|| Rejection::UnsupportedVersion { requested: body.to_owned(), supported: served.to_vec() })
}

/// Returns the value of `MCP-Protocol-Version`.
fn stated_version(headers: &McpHeaders) -> String {
    headers.version.as_ref().map(VersionHeader::to_string).unwrap_or_default()
}
