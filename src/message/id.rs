//! Decides what a request id is: a JSON string or integer, kept as the text the client sent.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytestring::ByteString;
use serde::{Serialize, Serializer};

use super::RawJson;

/// The longest id accepted, in bytes of JSON text. Ids are kept for each call in flight and
/// echoed in its answer; no client needs more than a UUID, and a megabyte would be an attack.
pub(crate) const MAX_ID_LENGTH: usize = 256;

/// The id of a JSON-RPC request, echoed byte for byte.
///
/// Two ids are equal when they are the same JSON value: `1` is not `"1"`, and a string is equal
/// to itself however it is escaped.
///
/// Source: JSON-RPC 2.0, section 4; MCP narrows it to strings and integers, and forbids `null`.
///
/// ```
/// use mcp_http::message::RequestId;
///
/// let big: RequestId = "9007199254740993".parse().unwrap();
/// assert_eq!(big.to_string(), "9007199254740993");
/// assert_ne!("1".parse::<RequestId>().unwrap(), "\"1\"".parse::<RequestId>().unwrap());
/// assert!("1.5".parse::<RequestId>().is_err());
/// ```
#[derive(Clone)]
pub struct RequestId(ByteString);

/// Why a JSON value cannot be a request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a request id is a string or an integer of at most {MAX_ID_LENGTH} bytes")
    }
}

impl std::error::Error for InvalidId {}

impl RequestId {
    /// Takes the text of one JSON value, already known to be valid JSON.
    pub(crate) fn from_json(text: ByteString) -> Result<Self, InvalidId> {
        let fits = text.len() <= MAX_ID_LENGTH;
        let integer = || {
            let digits = text.strip_prefix('-').unwrap_or(&text);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        if fits && (text.starts_with('"') || integer()) { Ok(Self(text)) } else { Err(InvalidId) }
    }

    /// The id's JSON text, a string's quotes included.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// A form in which equal values have equal text: escapes of a string undone.
    pub(crate) fn canonical(&self) -> Cow<'_, str> {
        if memchr::memchr(b'\\', self.0.as_bytes()).is_none() {
            return Cow::Borrowed(&self.0);
        }
        let decoded: Option<String> = serde_json::from_str(&self.0).ok();
        decoded.map_or(Cow::Borrowed(&*self.0), |text| Cow::Owned(format!("\"{text}\"")))
    }
}

impl std::str::FromStr for RequestId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let raw = RawJson::parse(text.to_owned()).map_err(|_| InvalidId)?;
        Self::from_json(raw.as_str().trim().into())
    }
}

impl From<i64> for RequestId {
    fn from(id: i64) -> Self {
        Self(id.to_string().into())
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.canonical() == other.canonical()
    }
}

impl Eq for RequestId {}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawJson::trusted(self.0.clone()).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Result<RequestId, InvalidId> {
        text.parse()
    }

    #[test]
    fn strings_and_integers_are_ids_and_nothing_else_is() {
        for good in ["0", "-7", "18446744073709551616", r#""""#, r#""a b""#] {
            assert_eq!(id(good).map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in ["null", "1.5", "1e3", "1.0", "true", "[]", "{}", "", "1 2", "\"open"] {
            assert_eq!(id(bad), Err(InvalidId), "{bad}");
        }
    }

    #[test]
    fn an_id_longer_than_the_bound_is_refused() {
        assert!(id(&"1".repeat(MAX_ID_LENGTH)).is_ok());
        assert_eq!(id(&"1".repeat(MAX_ID_LENGTH + 1)), Err(InvalidId));
    }

    #[test]
    fn escapes_do_not_make_two_ids_of_one_string() {
        assert_eq!(id(r#""\u00e9""#), id("\"é\""));
        assert_ne!(id("1"), id("\"1\""));
        assert_ne!(id(r#""\n""#), id(r#""n""#));
    }
}
