//! RawJson: valid JSON that is not parsed further, as shared text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A JSON value kept as its text: known to be valid JSON, not parsed further, cheap to clone.
///
/// Parameters reach a [`Server`](crate::server::Server) in this form, and it returns results in
/// this form. So each is parsed or serialized exactly once, by the type that needs it.
///
/// ```
/// use mcp_http::message::RawJson;
///
/// let raw = RawJson::from_value(&serde_json::json!({"x": 1}))?;
/// assert_eq!(raw.as_str(), r#"{"x":1}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(ByteString);

impl RawJson {
    /// Serializes a value.
    ///
    /// # Errors
    ///
    /// If the value's own `Serialize` fails, or a map has keys that are not strings.
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self::trusted)
    }

    /// Takes a text and checks that it is one JSON value.
    ///
    /// # Errors
    ///
    /// If the text is not exactly one valid JSON value.
    pub fn parse(text: impl Into<Bytes>) -> Result<Self, serde_json::Error> {
        let text = ByteString::try_from(text.into()).map_err(serde_json::Error::custom)?;
        serde_json::from_str::<&RawValue>(&text)?;
        Ok(Self(text))
    }

    /// Takes text that this crate wrote, or cut out of a body that was already parsed.
    pub(crate) fn trusted(text: impl Into<ByteString>) -> Self {
        Self(text.into())
    }

    /// Returns a part of this text, without a copy.
    pub(crate) fn slice(&self, part: &RawValue) -> Self {
        Self(self.0.slice_ref(part.get()))
    }

    /// Returns a part of this text by its position, without a copy.
    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        Self(self.0.slice_ref(&self.0[range]))
    }

    /// Returns a copy in its own memory: a part that is kept for long must not keep its whole body
    /// alive.
    pub(crate) fn detached(&self) -> Self {
        Self::trusted(self.as_str().to_owned())
    }

    /// Returns the empty object.
    #[must_use]
    pub fn empty_object() -> Self {
        Self(ByteString::from_static("{}"))
    }

    /// Returns the JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the JSON text as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the JSON text without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }

    /// Deserializes the text.
    ///
    /// # Errors
    ///
    /// If the text does not match the type, or is nested deeper than 128 levels.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }

    /// Returns the content of a JSON string; `None` for any other value.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        let inner = self.as_str().strip_prefix('"')?.strip_suffix('"')?;
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        self.read().ok().map(Cow::Owned)
    }

    /// Deserializes the text into a type that borrows from it.
    ///
    /// # Errors
    ///
    /// The same as [`RawJson::read`].
    pub fn read_borrowed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RawJson {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get() == "{}" {
            return Ok(Self::empty_object());
        }
        Ok(Self::trusted(String::from(Box::<str>::from(raw))))
    }
}
