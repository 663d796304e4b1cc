//! Request ids and progress tokens: bounded JSON strings or integers, kept as the client's text.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytestring::ByteString;
use serde::{Serialize, Serializer};

use super::RawJson;

/// The longest accepted id, in bytes of JSON text without a string's quotes. An id is kept while
/// its call is in flight, and is echoed in the response. A UUID has 36 bytes, ids that carry a
/// trace some hundreds; 128 calls of a session keep at most 128 KiB of ids.
pub(crate) const REQUEST_ID: usize = 1_024;

/// The longest accepted progress token, measured like an id. A token is repeated in each progress
/// notification and kept with it: a call with 1,024 kept events keeps at most 256 KiB of tokens.
pub(crate) const PROGRESS_TOKEN: usize = 256;

/// The reason why a text is not an id: neither a string nor an integer, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdProblem {
    Kind,
    Length,
}

/// Checks that a JSON value is a string or an integer of at most `most` bytes. The schemas of every
/// revision have `"type": ["string", "integer"]` for both ids and progress tokens.
fn check(text: &str, most: usize) -> Result<(), IdProblem> {
    let inner = match text.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(IdProblem::Kind);
            }
            text
        }
    };
    if inner.len() <= most { Ok(()) } else { Err(IdProblem::Length) }
}

/// Checks a progress token. The error is the reason for rejecting its request.
pub(crate) fn check_progress_token(token: &str) -> Result<(), &'static str> {
    check(token, PROGRESS_TOKEN).map_err(|why| match why {
        IdProblem::Kind => "`progressToken` is neither a string nor an integer",
        IdProblem::Length => "`progressToken` has more than 256 bytes",
    })
}

/// The id of a JSON-RPC request, echoed byte for byte.
///
/// Two ids are equal if they are the same JSON value: `1` is not `"1"`, and the escapes in a string
/// make no difference.
///
/// Source: JSON-RPC 2.0, section 4; MCP restricts it to strings and integers, and forbids `null`.
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

/// The error for a JSON value that is not a valid request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request id is a string or an integer of at most 1,024 bytes")
    }
}

impl std::error::Error for InvalidId {}

impl RequestId {
    /// Takes the text of one JSON value that is already known to be valid.
    pub(crate) fn from_json(text: ByteString) -> Result<Self, InvalidId> {
        check(&text, REQUEST_ID).map(|()| Self(text)).map_err(|_| InvalidId)
    }

    /// Returns the reason why a text is not an id, for the rejection of its message.
    pub(super) fn rejection(text: &str) -> &'static str {
        match check(text, REQUEST_ID) {
            Err(IdProblem::Length) => "`id` has more than 1,024 bytes",
            Ok(()) | Err(IdProblem::Kind) => "`id` is neither a string nor an integer",
        }
    }

    /// Returns the id's JSON text, with the quotes of a string.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Returns a form in which equal values have equal text: a string without escapes.
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
    fn only_strings_and_integers_are_ids() {
        for good in ["0", "-7", "18446744073709551616", r#""""#, r#""a b""#] {
            assert_eq!(id(good).map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in ["null", "1.5", "1e3", "1.0", "true", "[]", "{}", "", "1 2", "\"open"] {
            assert_eq!(id(bad), Err(InvalidId), "{bad}");
        }
    }

    #[test]
    fn a_too_long_id_is_rejected() {
        assert!(id(&"1".repeat(REQUEST_ID)).is_ok());
        assert_eq!(id(&"1".repeat(REQUEST_ID + 1)), Err(InvalidId));
        let quoted = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
        assert!(id(&quoted(REQUEST_ID)).is_ok());
        assert_eq!(id(&quoted(REQUEST_ID + 1)), Err(InvalidId));
        assert_eq!(RequestId::rejection(&quoted(REQUEST_ID + 1)), "`id` has more than 1,024 bytes");
        assert_eq!(RequestId::rejection("1.5"), "`id` is neither a string nor an integer");
    }

    #[test]
    fn escapes_do_not_affect_equality() {
        assert_eq!(id(r#""\u00e9""#), id("\"é\""));
        assert_ne!(id("1"), id("\"1\""));
        assert_ne!(id(r#""\n""#), id(r#""n""#));
    }
}
