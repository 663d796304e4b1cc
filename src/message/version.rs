//! Protocol versions: the supported revisions, their names, and their features.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A revision of the Model Context Protocol that this crate supports.
///
/// Revisions are ordered by time, so `version >= ProtocolVersion::V2025_11_25` checks whether a
/// client supports priming events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProtocolVersion {
    /// 2025-03-26: the first with Streamable HTTP, the only one with batches.
    V2025_03_26,
    /// 2025-06-18: structured results, elicitation, the version header.
    V2025_06_18,
    /// 2025-11-25: priming events and server-side close of a stream.
    V2025_11_25,
    /// 2026-07-28: no sessions; each request is self-contained.
    V2026_07_28,
}

/// The two ways in which the protocol works over HTTP, by the specification's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// `initialize` opens a session: 2025-03-26 to 2025-11-25.
    Legacy,
    /// Each request is self-contained: since 2026-07-28.
    Modern,
}

impl ProtocolVersion {
    /// All revisions, oldest first.
    pub const ALL: [Self; 4] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The session revisions (the specification calls them legacy), oldest first.
    pub const SESSION_ERA: [Self; 3] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];

    /// The newest session revision.
    pub const NEWEST_SESSION: Self = Self::V2025_11_25;

    /// Returns the revision as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Returns the era of the revision.
    #[must_use]
    pub const fn era(self) -> Era {
        match self {
            Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
            Self::V2026_07_28 => Era::Modern,
        }
    }

    /// Returns `true` if a body may be a JSON array of messages: 2025-03-26 only, later revisions
    /// removed batches.
    pub(crate) fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }

    /// Returns `true` if a client supports the empty priming event and the early close of streams
    /// (SEP-1699, since 2025-11-25). Older clients try to parse the empty data.
    pub(crate) fn has_priming(self) -> bool {
        self == Self::V2025_11_25
    }
}

/// The error for a version string that is not a supported revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownVersion;

impl fmt::Display for UnknownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown protocol version")
    }
}

impl std::error::Error for UnknownVersion {}

impl FromStr for ProtocolVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or(UnknownVersion)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ProtocolVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProtocolVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
