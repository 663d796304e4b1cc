//! Decides which era a request belongs to.
//!
//! The session revisions are told apart from later ones once, here. No later one is served yet:
//! whoever speaks it is told what is.

use super::headers::{McpHeaders, VersionHeader};
use crate::error::Rejection;
use crate::message::ProtocolVersion;

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Era {
    /// To the session revisions.
    Session,
    /// Nowhere: its revision is unknown or switched off.
    NotServed(Rejection),
}

/// Decides by the version header; without one it is the session era, which had none at first.
pub(crate) fn era(headers: &McpHeaders, served: &[ProtocolVersion]) -> Era {
    let requested = match &headers.version {
        None => return Era::Session,
        Some(VersionHeader::Known(version)) if served.contains(version) => return Era::Session,
        Some(VersionHeader::Known(version)) => version.to_string(),
        Some(VersionHeader::Unknown(text)) => text.clone(),
    };
    Era::NotServed(Rejection::UnsupportedVersion { requested, supported: served.to_vec() })
}
