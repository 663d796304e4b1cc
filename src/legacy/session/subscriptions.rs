//! The subscriptions of a session: one list, stored in parts.
//!
//! Each part has its own state key, so that a change of a long list writes only a small part.
//!
//! 1. A short list is the first part alone, `mcp.subscriptions`: `{"uri": number, ..}`.
//! 2. When the first part exceeds its bounds, the list is split permanently. The first part becomes
//!    `{"salt": number, "uris": {..}}` and accepts nothing new. Each new URI is stored in one of 64
//!    other parts, `mcp.subscriptions.0` to `mcp.subscriptions.63`. The part is chosen by a hash of
//!    the URI's canonical form and the salt. Each URI therefore has one part, in which concurrent
//!    changes by two nodes meet, and no URI is ever moved.
//! 3. The hash is the first byte, modulo 64, of SHA-256 over the salt (eight bytes, little-endian)
//!    and the URI. No client knows the salt, so none can put all of its URIs into one part.
//! 4. Lists that were stored before parts existed are a first part of any length: `["uri", ..]`, or
//!    with numbers.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::StoreError;
use crate::message::{RawJson, ResourceUri};
use crate::settings::Limits;

/// The key of the first part. The key of another part has a dot and its number appended.
const FIRST: &str = "mcp.subscriptions";

/// The number of parts besides the first. A full list of 1,000 subscriptions has about 16 in each.
const PARTS: u8 = 64;

/// The bounds of the first part. It fits the URIs of most clients, and as many bytes as each other
/// part has of a full list.
const FIRST_URIS: usize = 16;
const FIRST_BYTES: usize = 4 << 10;

/// A part of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    First,
    Other(u8),
}

/// The stored content of one part: the URIs, each with a number. The number is the newest
/// announcement that the subscribing node had received; the subscription covers only later ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Content {
    /// Set in the first part once the list is split.
    pub(super) salt: Option<u64>,
    pub(super) uris: HashMap<ResourceUri, u64>,
}

/// The formats in which a part is stored.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Kept<'a> {
    Split { salt: u64, uris: Cow<'a, HashMap<ResourceUri, u64>> },
    Numbered(Cow<'a, HashMap<ResourceUri, u64>>),
    Plain(HashSet<ResourceUri>),
}

/// Everything that is known of the list.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    salt: Option<u64>,
    /// Each URI with its number and its part.
    uris: HashMap<ResourceUri, (u64, Part)>,
    /// The size of the URIs as JSON text in a list.
    bytes: usize,
}

impl Part {
    pub(super) fn key(self) -> Cow<'static, str> {
        match self {
            Self::First => Cow::Borrowed(FIRST),
            Self::Other(number) => Cow::Owned(format!("{FIRST}.{number}")),
        }
    }

    /// Returns the part that is stored under a key.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        match key.strip_prefix(FIRST)? {
            "" => Some(Self::First),
            number => Some(Self::Other(number.strip_prefix('.')?.parse().ok()?)),
        }
    }

    fn of_uri(uri: &ResourceUri, salt: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(salt.to_le_bytes());
        hash.update(uri.canonical());
        Self::Other(hash.finalize()[0] % PARTS)
    }
}

impl Content {
    pub(super) fn read(kept: &RawJson) -> Result<Self, StoreError> {
        let (salt, uris) = match kept.read().map_err(StoreError::corrupt)? {
            Kept::Split { salt, uris } => (Some(salt), uris.into_owned()),
            Kept::Numbered(uris) => (None, uris.into_owned()),
            Kept::Plain(uris) => (None, uris.into_iter().map(|uri| (uri, 0)).collect()),
        };
        Ok(Self { salt, uris })
    }

    pub(super) fn write(&self) -> Result<RawJson, StoreError> {
        let uris = Cow::Borrowed(&self.uris);
        let kept =
            self.salt.map_or_else(|| Kept::Numbered(uris.clone()), |salt| Kept::Split { salt, uris: uris.clone() });
        RawJson::from_value(&kept).map_err(StoreError::corrupt)
    }

    /// Returns `true` if the content, as a first part, cannot accept this URI.
    pub(super) fn is_full_for(&self, uri: &ResourceUri) -> bool {
        let bytes: usize = self.uris.keys().chain([uri]).map(bytes_of).sum();
        self.uris.len() >= FIRST_URIS || bytes > FIRST_BYTES
    }
}

impl Subscriptions {
    /// Replaces the known content of some parts.
    pub(super) fn learn(&mut self, parts: Vec<(Part, Content)>) {
        let (mut first, mut others) = (false, 0_u64);
        for (part, _) in &parts {
            match part {
                Part::First => first = true,
                Part::Other(number) => others |= 1 << (number % PARTS),
            }
        }
        let bytes = &mut self.bytes;
        self.uris.retain(|uri, (_, part)| {
            let is_old = match part {
                Part::First => first,
                Part::Other(number) => others & 1 << (*number % PARTS) != 0,
            };
            *bytes -= if is_old { bytes_of(uri) } else { 0 };
            !is_old
        });
        for (part, content) in parts {
            if part == Part::First {
                self.salt = content.salt;
            }
            for (uri, number) in content.uris {
                let bytes = bytes_of(&uri);
                if self.uris.insert(uri, (number, part)).is_none() {
                    self.bytes += bytes;
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.uris.is_empty() && self.salt.is_none()
    }

    /// Returns the part that has a URI, or that would receive it.
    pub(super) fn part_of(&self, uri: &ResourceUri) -> Part {
        match (self.uris.get(uri), self.salt) {
            (Some((_, part)), _) => *part,
            (None, Some(salt)) => Part::of_uri(uri, salt),
            (None, None) => Part::First,
        }
    }

    /// Returns a subscription in the client's own spelling, with its number.
    pub(super) fn get(&self, uri: &ResourceUri) -> Option<(&ResourceUri, u64)> {
        self.uris.get_key_value(uri).map(|(uri, (number, _))| (uri, *number))
    }

    pub(super) fn uris(&self) -> impl Iterator<Item = &ResourceUri> {
        self.uris.keys()
    }

    /// Returns `true` if the session may add this subscription.
    pub(super) fn has_room_for(&self, uri: &ResourceUri) -> bool {
        // The JSON list has two brackets more than this sum, and one comma less.
        self.uris.len() < Limits::MAX_SUBSCRIPTIONS && self.bytes + bytes_of(uri) < Limits::MAX_SUBSCRIPTION_BYTES
    }
}

/// Returns the size of a URI as JSON text in a list, including its comma.
fn bytes_of(uri: &ResourceUri) -> usize {
    RawJson::from_value(uri).map_or(usize::MAX >> 16, |uri| uri.as_str().len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(number: usize) -> ResourceUri {
        ResourceUri::new(format!("test://{number}"))
    }

    fn content(salt: Option<u64>, numbers: std::ops::Range<usize>) -> Content {
        Content { salt, uris: numbers.map(|number| (uri(number), number as u64)).collect() }
    }

    #[test]
    fn parts_are_read_as_they_were_written() {
        for content in [content(None, 0..0), content(None, 0..3), content(Some(u64::MAX), 0..3)] {
            assert_eq!(Content::read(&content.write().unwrap()).unwrap(), content);
        }
        let read = |text: &str| Content::read(&RawJson::parse(text.to_owned()).unwrap());
        let plain = Content { salt: None, uris: HashMap::from([(uri(1), 0), (uri(2), 0)]) };
        assert_eq!(read(r#"["test://1","test://2"]"#).unwrap(), plain, "as it was before there were numbers");
        assert_eq!(read(r#"{"salt":3,"uris":4}"#).unwrap().uris.len(), 2, "two URIs");
        assert!(read("7").is_err());
    }

    /// Nodes of other builds must choose the same part.
    #[test]
    fn each_uri_has_one_part() {
        assert_eq!(Part::of_uri(&uri(1), 0), Part::Other(10));
        assert_eq!(Part::of_uri(&uri(1), u64::MAX), Part::Other(29));
        assert_eq!(Part::of_uri(&ResourceUri::new("TEST://1"), 0), Part::of_uri(&uri(1), 0));
        for part in [Part::First, Part::Other(0), Part::Other(63)] {
            assert_eq!(Part::of_key(&part.key()), Some(part));
        }
        for other in [
            "mcp.log_level",
            "mcp.subscriptions.x",
            "mcp.subscriptions.",
            "mcp.subscriptionsx",
            "mcp.subscriptions.999",
        ] {
            assert_eq!(Part::of_key(other), None, "{other}");
        }
    }

    /// Checks the largest part of a full list for many salts.
    #[test]
    fn a_full_list_is_spread_over_its_parts() {
        for salt in 0..50 {
            let mut sizes = HashMap::new();
            for number in 0..Limits::MAX_SUBSCRIPTIONS {
                *sizes.entry(Part::of_uri(&uri(number), salt).key()).or_insert(0) += 1;
            }
            assert!(sizes.len() == 64 && *sizes.values().max().unwrap() < 50, "{sizes:?}");
        }
    }

    #[test]
    fn a_new_part_replaces_the_old_one() {
        let mut list = Subscriptions::default();
        let bytes = |list: &Subscriptions| list.uris().map(bytes_of).sum::<usize>();
        list.learn(vec![(Part::First, content(Some(1), 0..10)), (Part::Other(3), content(None, 10..20))]);
        assert_eq!((list.uris.len(), list.bytes), (20, bytes(&list)));
        list.learn(vec![(Part::Other(3), content(None, 15..16)), (Part::Other(4), content(None, 30..31))]);
        assert_eq!((list.uris.len(), list.bytes), (12, bytes(&list)));
        assert_eq!(list.get(&ResourceUri::new("TEST://15")), Some((&uri(15), 15)));
        assert_eq!((list.part_of(&uri(15)), list.part_of(&uri(5))), (Part::Other(3), Part::First));
        assert_eq!(list.part_of(&uri(99)), Part::of_uri(&uri(99), 1));
        list.learn(vec![(Part::First, Content::default()), (Part::Other(3), Content::default())]);
        list.learn(vec![(Part::Other(4), Content::default())]);
        assert_eq!((list.is_empty(), list.bytes, list.part_of(&uri(1))), (true, 0, Part::First));
    }

    #[test]
    fn the_limits_are_those_of_the_list() {
        let mut list = Subscriptions::default();
        list.learn(vec![(Part::First, content(None, 0..Limits::MAX_SUBSCRIPTIONS - 1))]);
        assert!(list.has_room_for(&uri(5_000)));
        list.learn(vec![(Part::Other(1), content(None, 5_000..5_001))]);
        assert!(!list.has_room_for(&uri(5_001)));
        let long = |length: usize| ResourceUri::new("x".repeat(length));
        list.learn(vec![(Part::First, Content::default()), (Part::Other(1), Content::default())]);
        assert!(
            list.has_room_for(&long(Limits::MAX_SUBSCRIPTION_BYTES - 4))
                && !list.has_room_for(&long(Limits::MAX_SUBSCRIPTION_BYTES - 3))
        );
        assert!(!content(None, 0..15).is_full_for(&uri(15)) && content(None, 0..16).is_full_for(&uri(16)));
        assert!(content(None, 0..0).is_full_for(&long(5_000)));
    }
}
