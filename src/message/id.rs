//! Request ids and progress tokens: a JSON string or integer, bounded, kept as the text the client sent.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytestring::ByteString;
use serde::{Serialize, Serializer};

use super::RawJson;

/// The longest id accepted, in bytes of JSON text without a string's quotes. An id is kept while its
/// call is in flight, and is echoed in the answer. A UUID has 36 bytes, ids that carry a trace some
/// hundreds; 128 calls of a session keep 128 KiB of ids at most.
pub(crate) const REQUEST_ID: usize = 1_024;

/// The longest progress token accepted, measured as an id is. A token is repeated in each progress
/// notification, and kept with it: a call with 1,024 kept events keeps 256 KiB of tokens at most.
pub(crate) const PROGRESS_TOKEN: usize = 256;

/// Why a text is no id: neither a string nor an integer, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoId {
    Kind,
    Length,
}

/// Checks that a JSON value is a string or an integer of at most `most` bytes (the schemas of every
/// revision say `"type": ["string", "integer"]` for ids and progress tokens alike).
fn check(text: &str, most: usize) -> Result<(), NoId> {
    let inner = match text.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(NoId::Kind);
            }
            text
        }
    };
    if inner.len() <= most { Ok(()) } else { Err(NoId::Length) }
}

/// Says what is wrong with a progress token, for the refusal of its request.
pub(crate) fn check_progress_token(token: &str) -> Result<(), &'static str> {
    check(token, PROGRESS_TOKEN).map_err(|why| match why {
        NoId::Kind => "`progressToken` is neither a string nor an integer",
        NoId::Length => "`progressToken` has more than 256 bytes",
    })
}

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
        f.write_str("a request id is a string or an integer of at most 1,024 bytes")
    }
}

impl std::error::Error for InvalidId {}

impl RequestId {
    /// Takes the text of one JSON value, already known to be valid JSON.
    pub(crate) fn from_json(text: ByteString) -> Result<Self, InvalidId> {
        check(&text, REQUEST_ID).map(|()| Self(text)).map_err(|_| InvalidId)
    }

    /// Says what is wrong with a text that is no id, for the refusal of its message.
    pub(super) fn refusal(text: &str) -> &'static str {
        match check(text, REQUEST_ID) {
            Err(NoId::Length) => "`id` has more than 1,024 bytes",
            Ok(()) | Err(NoId::Kind) => "`id` is neither a string nor an integer",
        }
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
        assert!(id(&"1".repeat(REQUEST_ID)).is_ok());
        assert_eq!(id(&"1".repeat(REQUEST_ID + 1)), Err(InvalidId));
        let quoted = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
        assert!(id(&quoted(REQUEST_ID)).is_ok());
        assert_eq!(id(&quoted(REQUEST_ID + 1)), Err(InvalidId));
        assert_eq!(RequestId::refusal(&quoted(REQUEST_ID + 1)), "`id` has more than 1,024 bytes");
        assert_eq!(RequestId::refusal("1.5"), "`id` is neither a string nor an integer");
    }

    #[test]
    fn escapes_do_not_make_two_ids_of_one_string() {
        assert_eq!(id(r#""\u00e9""#), id("\"é\""));
        assert_ne!(id("1"), id("\"1\""));
        assert_ne!(id(r#""\n""#), id(r#""n""#));
    }
}
